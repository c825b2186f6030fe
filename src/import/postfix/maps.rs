//! Look-up tables: those that are text are read, each entry a directive.

use super::parameters::{items, logical_lines};
use super::reader::Reader;
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

/// The entries of a list of maps that a parameter names. What cannot be read is said of the parameter; `secret`: values are not shown.
pub(super) fn entries(
    reader: &mut Reader<'_, '_>,
    value: &str,
    id: Id,
    secret: bool,
) -> Result<Vec<Entry>, ImportError> {
    let mut all = Vec::new();
    let value = value.trim();
    if value.starts_with("inline:") || value.starts_with("static:") {
        reader
            .out
            .ledger
            .none(id, "a map in the line itself is not read: put its entries into a file, and import again");
        return Ok(all);
    }
    for map in items(value) {
        let map = map.strip_prefix("proxy:").unwrap_or(&map);
        let (kind, path) = map.split_once(':').unwrap_or(("hash", map));
        match kind {
            kind if TEXTS.contains(&kind) => all.extend(entries_of(reader, path, id, secret, false)?),
            "regexp" | "pcre" | "cidr" => {
                for entry in entries_of(reader, path, id, secret, true)? {
                    let words = "an entry by pattern: relevo knows domains, so write one [[route]] or [[rule]] for each that is meant";
                    reader.out.ledger.none(entry.id, words);
                }
            }
            kind => {
                let words = format!(
                    "{kind}: it is looked up elsewhere, and relevo reads files: write what it says into relevo.toml"
                );
                reader.out.ledger.none(id, &words);
            }
        }
    }
    Ok(all)
}

/// A file beside main.cf, also where the directory was copied from /etc/postfix.
pub(super) fn place_of(reader: &Reader<'_, '_>, path: &str) -> String {
    let within =
        path.strip_prefix("/etc/postfix/").or_else(|| path.strip_prefix(&format!("{}/", reader.directory)));
    match within {
        Some(within) => format!("{}/{within}", reader.directory),
        None if path.starts_with('/') => path.to_owned(),
        None => format!("{}/{path}", reader.directory),
    }
}

/// What can be read of it, lines from 1.
pub(super) fn file(
    reader: &mut Reader<'_, '_>,
    path: &str,
    id: Id,
) -> Result<Option<(String, String)>, ImportError> {
    let place = place_of(reader, path);
    match reader.library.text(&place) {
        Ok(text) => {
            let shown = place.strip_prefix(&format!("{}/", reader.directory)).unwrap_or(&place);
            Ok(Some((shown.to_owned(), text)))
        }
        Err(Missing::Unread(words)) => {
            let words = format!("{place} cannot be read ({words}): import again where it can");
            reader.out.ledger.none(id, &words);
            Ok(None)
        }
        Err(Missing::Broken(error)) => Err(error),
    }
}

fn entries_of(
    reader: &mut Reader<'_, '_>,
    path: &str,
    id: Id,
    secret: bool,
    patterns: bool,
) -> Result<Vec<Entry>, ImportError> {
    let Some((shown, text)) = self::file(reader, path, id)? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for line in logical_lines(&text) {
        let text = line.text();
        let (key, value) = match text.split_once(char::is_whitespace) {
            Some((key, value)) => (key.to_owned(), value.trim().to_owned()),
            None => (text.clone(), String::new()),
        };
        let told = if secret { format!("{key} ***") } else { text };
        let id = reader.out.ledger.add(&shown, line.line(), &told)?;
        let key = if patterns { key } else { key.to_ascii_lowercase() };
        all.push(Entry { key, value, id });
    }
    reader.out.ledger.translated(id);
    Ok(all)
}
