//! `shaping:setup { … }` and its kin: helpers that read the files which are read here.

use std::collections::BTreeMap;

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

/// The files that a helper is called with are for that one, whatever they are called: by their names without directories.
pub(super) fn kinds(call: &Call, kinds: &mut BTreeMap<String, u8>) {
    let module = call.name.split_once(':').map(|(module, _)| module).filter(|_| is_one(&call.name));
    let kind = match module {
        Some("sources") => 0,
        Some("queue") => 1,
        Some("shaping") => 2,
        Some("dkim_sign") => 3,
        Some("listener_domains") => 4,
        _ => return,
    };
    let mut values = vec![&call.argument];
    while let Some(value) = values.pop() {
        match value {
            Value::List(all) => values.extend(all),
            Value::Table(all) => values.extend(all.iter().map(|entry| &entry.value)),
            other => {
                let name = other.text().and_then(|text| text.rsplit('/').next()).unwrap_or_default();
                if name.ends_with(".toml") || name.ends_with(".json") {
                    kinds.insert(name.to_owned(), kind);
                }
            }
        }
    }
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
