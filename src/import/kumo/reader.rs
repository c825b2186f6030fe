//! What all parts share: the original, and what is made of it.

use super::values::Entry;
use crate::import::library::Missing;
use crate::import::words::{name as name_of, quoted};
use crate::import::{Id, ImportError, Imported, Library, Terms};

/// All of the original, and what is made of it.
pub(super) struct Reader<'a, 'f> {
    pub directory: String,
    pub library: &'a mut Library<'f>,
    pub terms: &'a Terms,
    /// Lines that every listener has.
    pub intake: Vec<(&'static str, Vec<String>, Vec<Id>)>,
    pub out: Imported,
}

/// A file of the directory, if it is there.
pub(super) fn text(reader: &mut Reader<'_, '_>, name: &str) -> Result<Option<String>, ImportError> {
    let within = format!("{}/{name}", reader.directory);
    match reader.library.text(&within) {
        Ok(text) => Ok(Some(text)),
        Err(Missing::Unread(_)) => Ok(None),
        Err(Missing::Broken(error)) => Err(error),
    }
}

/// Enters a line in the ledger, with the section that it stands in.
pub(super) fn enter(
    reader: &mut Reader<'_, '_>,
    file: &str,
    section: &str,
    entry: &Entry,
) -> Result<Id, ImportError> {
    let secret = entry.key.contains("password") || entry.key.contains("secret");
    let value = if secret { "***".to_owned() } else { entry.value.to_toml() };
    let text = if section.is_empty() {
        format!("{} = {value}", entry.key)
    } else {
        format!("[{section}] {} = {value}", entry.key)
    };
    reader.out.ledger.add(file, entry.line, &text)
}

/// Says of all that stands in an entry that there is nothing like it.
pub(super) fn refuse(
    reader: &mut Reader<'_, '_>,
    file: &str,
    section: &str,
    entry: &Entry,
    words: &str,
) -> Result<(), ImportError> {
    let id = enter(reader, file, section, entry)?;
    reader.out.ledger.none(id, words);
    Ok(())
}

/// A rule of relevo.toml.
pub(super) fn rule(reader: &mut Reader<'_, '_>, matched: &str, set: &str, id: Id) {
    let section = reader.out.relevo.push("[[rule]]", &[id]);
    section.set("match", matched, &[]);
    section.set("set", set, &[]);
    reader.out.ledger.translated(id);
}

/// A pool or source as a value.
pub(super) fn pool(name: &str) -> String {
    quoted(&name_of(name))
}
