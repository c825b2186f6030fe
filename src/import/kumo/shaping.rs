//! Shaping files: the format is ours as well, so what has a meaning here stands as it is.

use super::reader::Reader;
use super::values::{Entry, Value};
use crate::import::ImportError;
use crate::import::words::quoted;
use crate::shaping::key::{Key, without_meaning};

/// Keys of a section that set no limit.
const OF_SECTIONS: [&str; 3] = ["mx_rollup", "replace_base", "match"];
/// Keys of a rule.
const OF_RULES: [&str; 5] = ["regex", "action", "trigger", "duration", "match_internal"];

pub(super) fn shaping(reader: &mut Reader<'_, '_>, file: &str, entries: &[Entry]) -> Result<(), ImportError> {
    for entry in entries {
        if entry.key == "provider" {
            for provider in entry.value.table() {
                self::section(reader, file, &format!("provider.{}", quoted(&provider.key)), provider)?;
            }
            continue;
        }
        self::section(reader, file, &quoted(&entry.key), entry)?;
    }
    Ok(())
}

fn section(reader: &mut Reader<'_, '_>, file: &str, base: &str, section: &Entry) -> Result<(), ImportError> {
    if !matches!(section.value, Value::Table(_)) {
        return super::reader::refuse(reader, file, "", section, "no section of a domain or a provider");
    }
    let of_kumo = section.key.ends_with(".kumomta.internal") || section.key.ends_with(".tsa.kumomta");
    for entry in section.value.table() {
        match entry.key.as_str() {
            _ if of_kumo => {
                let id = super::reader::enter(reader, file, base, entry)?;
                reader.out.ledger.usual(id, "of KumoMTA's own daemons");
            }
            "sources" => {
                for source in entry.value.table() {
                    let head = format!("{base}.sources.{}", quoted(&source.key));
                    for one in source.value.table() {
                        self::key(reader, file, &head, one)?;
                    }
                }
            }
            "automation" => {
                let all = match &entry.value {
                    Value::List(all) => all.as_slice(),
                    _ => std::slice::from_ref(&entry.value),
                };
                for rule in all {
                    self::automation(reader, file, base, entry, rule)?;
                }
            }
            _ => self::key(reader, file, base, entry)?,
        }
    }
    Ok(())
}

fn key(reader: &mut Reader<'_, '_>, file: &str, base: &str, entry: &Entry) -> Result<(), ImportError> {
    let id = super::reader::enter(reader, file, base, entry)?;
    if Key::named(&entry.key).is_some() || OF_SECTIONS.contains(&entry.key.as_str()) {
        reader.out.shaping.set(&format!("[{base}]"), &entry.key, &entry.value.to_toml(), &[id]);
        match entry.key == "enable_tls" && entry.value.text() == Some("Opportunistic") {
            true => reader
                .out
                .ledger
                .differs(id, "any certificate will do, as with OpportunisticInsecure (docs/shaping.md)"),
            false => reader.out.ledger.translated(id),
        }
    } else if let Some(why) = without_meaning(&entry.key) {
        reader.out.ledger.none(id, why);
    }
    Ok(())
}

fn automation(
    reader: &mut Reader<'_, '_>,
    file: &str,
    base: &str,
    entry: &Entry,
    rule: &Value,
) -> Result<(), ImportError> {
    let line = rule.table().first().map_or(entry.line, |first| first.line);
    let keys: Vec<&Entry> = rule.table().iter().collect();
    let text: Vec<String> = keys.iter().map(|one| format!("{} = {}", one.key, one.value.to_toml())).collect();
    let id = reader.out.ledger.add(file, line, &format!("[[{base}.automation]] {}", text.join(", ")))?;
    let section = reader.out.shaping.push(&format!("[[{base}.automation]]"), &[id]);
    for one in keys {
        if OF_RULES.contains(&one.key.as_str()) {
            section.set(&one.key, &one.value.to_toml(), &[]);
        } else {
            reader.out.ledger.differs(
                id,
                &format!("without {}, which has no meaning here", crate::import::words::shown(&one.key)),
            );
        }
    }
    reader.out.ledger.translated(id);
    Ok(())
}
