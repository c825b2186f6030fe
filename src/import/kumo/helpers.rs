//! `shaping:setup { … }` and its kin: helpers that read the files which are read here.

use super::lua::Call;
use super::reader::Reader;
use super::values::Value;
use crate::import::{Id, ImportError};

/// Helpers whose files are read.
const KNOWN: [&str; 6] = ["shaping", "queue", "sources", "listener_domains", "dkim_sign", "rollup"];

pub(super) fn is_one(name: &str) -> bool {
    name.split_once(':')
        .is_some_and(|(module, method)| KNOWN.contains(&module) && method.starts_with("setup"))
}

pub(super) fn helper(reader: &mut Reader<'_, '_>, call: &Call, id: Id) -> Result<(), ImportError> {
    match &call.argument {
        Value::Code => reader
            .out
            .ledger
            .none(id, "code says which files: name them in a table of literals and import again"),
        _ => reader.out.ledger.usual(id, "what its files say is read"),
    }
    for entry in call.argument.table() {
        let id = super::reader::enter(reader, "init.lua", &call.name, entry)?;
        match (entry.key.as_str(), &entry.value) {
            ("no_default_files", value) if value.is_true() => {
                reader.out.relevo.set("[shaping]", "defaults", "false", &[id]);
                reader.out.ledger.translated(id);
            }
            ("publish" | "subscribe" | "cache_ttl" | "back_pressure", _) => {
                reader.out.ledger.usual(id, "rules act in the relay itself: there is no second daemon");
            }
            ("extra_files" | "files" | "no_default_files", _) => {
                reader.out.ledger.usual(id, "what its files say is read");
            }
            _ => {}
        }
    }
    Ok(())
}
