//! Look-up tables: those that are text are read, each entry a directive.

use super::Reader;
use super::parameters::{items, logical_lines};
use crate::import::library::Missing;
use crate::import::{Id, ImportError};

/// One line of a map.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub value: String,
    pub id: Id,
}

/// Kinds that are made of a text file of keys and values.
const TEXTS: [&str; 7] = ["hash", "btree", "lmdb", "texthash", "cdb", "dbm", "sdbm"];

impl Reader<'_, '_> {
    /// The entries of a list of maps that a parameter names. What cannot be read is said of the parameter; `secret`: values are not shown.
    pub(super) fn entries(&mut self, value: &str, id: Id, secret: bool) -> Result<Vec<Entry>, ImportError> {
        let mut all = Vec::new();
        let value = value.trim();
        if value.starts_with("inline:") || value.starts_with("static:") {
            self.out.ledger.none(id, "a map in the line itself is not read: put its entries into a file, and import again");
            return Ok(all);
        }
        for map in items(value) {
            let map = map.strip_prefix("proxy:").unwrap_or(&map);
            let (kind, path) = map.split_once(':').unwrap_or(("hash", map));
            match kind {
                kind if TEXTS.contains(&kind) => all.extend(self.entries_of(path, id, secret, false)?),
                "regexp" | "pcre" | "cidr" => {
                    for entry in self.entries_of(path, id, secret, true)? {
                        let words = "an entry by pattern: relevo knows domains, so write one [[route]] or [[rule]] for each that is meant";
                        self.out.ledger.none(entry.id, words);
                    }
                }
                kind => {
                    let words = format!("{kind}: it is looked up elsewhere, and relevo reads files: write what it says into relevo.toml");
                    self.out.ledger.none(id, &words);
                }
            }
        }
        Ok(all)
    }

    /// A file beside main.cf, also where the directory was copied from /etc/postfix.
    pub(super) fn place_of(&self, path: &str) -> String {
        let within = path.strip_prefix("/etc/postfix/").or_else(|| path.strip_prefix(&format!("{}/", self.directory)));
        match within {
            Some(within) => format!("{}/{within}", self.directory),
            None if path.starts_with('/') => path.to_owned(),
            None => format!("{}/{path}", self.directory),
        }
    }

    /// What can be read of it, lines from 1.
    pub(super) fn file(&mut self, path: &str, id: Id) -> Result<Option<(String, String)>, ImportError> {
        let place = self.place_of(path);
        match self.library.text(&place) {
            Ok(text) => {
                let shown = place.strip_prefix(&format!("{}/", self.directory)).unwrap_or(&place);
                Ok(Some((shown.to_owned(), text)))
            }
            Err(Missing::Unread(words)) => {
                let words = format!("{place} cannot be read ({words}): import again where it can");
                self.out.ledger.none(id, &words);
                Ok(None)
            }
            Err(Missing::Broken(error)) => Err(error),
        }
    }

    fn entries_of(&mut self, path: &str, id: Id, secret: bool, patterns: bool) -> Result<Vec<Entry>, ImportError> {
        let Some((shown, text)) = self.file(path, id)? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for line in logical_lines(&text) {
            let text = line.text();
            let (key, value) = match text.split_once(char::is_whitespace) {
                Some((key, value)) => (key.to_owned(), value.trim().to_owned()),
                None => (text.clone(), String::new()),
            };
            let told = if secret { format!("{key} ***") } else { text };
            let id = self.out.ledger.add(&shown, line.line(), &told)?;
            let key = if patterns { key } else { key.to_ascii_lowercase() };
            all.push(Entry { key, value, id });
        }
        self.out.ledger.translated(id);
        Ok(all)
    }
}
