//! listener_domains.toml: what is taken from anybody, and what comes back.

use super::reader::Reader;
use super::values::{Entry, Value};
use crate::config::value;
use crate::import::words::{list, shown};
use crate::import::{Id, ImportError};

pub(super) fn domains(reader: &mut Reader<'_, '_>, file: &str, entries: &[Entry]) -> Result<(), ImportError> {
    let mut back: (Vec<String>, Vec<Id>) = Default::default();
    for entry in entries {
        let is_listener = entry.value.table().iter().all(|one| matches!(one.value, Value::Table(_)));
        if entry.key == "listener" {
            for one in entry.value.table().iter().flat_map(|listener| listener.value.table()) {
                self::domain(reader, file, one, true, &mut back)?;
            }
            continue;
        }
        if is_listener && !entry.value.table().is_empty() {
            for one in entry.value.table() {
                self::domain(reader, file, one, true, &mut back)?;
            }
            continue;
        }
        self::domain(reader, file, entry, false, &mut back)?;
    }
    if !back.0.is_empty() {
        back.0.sort();
        back.0.dedup();
        reader.out.relevo.set("[feedback]", "domains", &list(&back.0), &back.1);
    }
    Ok(())
}

fn domain(
    reader: &mut Reader<'_, '_>,
    file: &str,
    domain: &Entry,
    of_one: bool,
    back: &mut (Vec<String>, Vec<Id>),
) -> Result<(), ImportError> {
    for entry in domain.value.table() {
        let id = super::reader::enter(reader, file, &crate::import::words::quoted(&domain.key), entry)?;
        match entry.key.as_str() {
            "relay_to" | "log_oob" | "log_arf"
                if !entry.value.is_true() && entry.value.text() == Some("false") =>
            {
                reader.out.ledger.usual(id, "nothing is taken that is not named");
                continue;
            }
            "relay_to" if value::pattern(&domain.key).is_ok() && domain.key != "*" => {
                reader.intake.push(("relay_to", vec![domain.key.clone()], vec![id]))
            }
            "log_oob" | "log_arf" if crate::import::words::is_domain(&domain.key) => {
                back.0.push(domain.key.clone());
                back.1.push(id);
                let words = "both returning bounces and complaints are read there (docs/feedback.md)";
                reader.out.ledger.differs(id, words);
            }
            "relay_from" => {
                let (networks, others): (Vec<String>, Vec<String>) =
                    entry.value.texts().into_iter().partition(|one| value::network(one).is_ok());
                for other in others {
                    reader.out.ledger.differs(id, &format!("{}: no network", shown(&other)));
                }
                reader.intake.push(("relay_from", networks, vec![id]));
                reader.out.ledger.differs(
                    id,
                    "these networks may relay from any domain: a [[rule]] refuses other senders",
                );
            }
            "relay_from_authz" => {
                reader
                    .out
                    .ledger
                    .none(id, "accounts may relay: senders = [\"@domain\"] of the account says as whom");
                continue;
            }
            _ => {
                if matches!(entry.key.as_str(), "relay_to" | "log_oob" | "log_arf") {
                    reader
                        .out
                        .ledger
                        .none(id, "no domain that can be named: relay_to has example.org and *.example.org");
                }
                continue;
            }
        }
        reader.out.ledger.translated(id);
        if of_one {
            reader.out.ledger.differs(id, "of all listeners, not of one");
        }
    }
    Ok(())
}
