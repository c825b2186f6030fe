//! dkim_data.toml: who signs.

use super::reader::Reader;
use super::values::{Entry, Value};
use crate::import::library::Missing;
use crate::import::words::{is_domain, quoted, shown};
use crate::import::{Id, ImportError};
use crate::mail::dkim::PrivateKey;

const PLACE: &str = "/opt/kumomta/etc/dkim";

pub(super) fn keys(reader: &mut Reader<'_, '_>, file: &str, entries: &[Entry]) -> Result<(), ImportError> {
    let mut base = (None, Vec::new());
    for entry in entries.iter().filter(|one| one.key == "base").flat_map(|one| one.value.table()) {
        let id = super::reader::enter(reader, file, "base", entry)?;
        match entry.key.as_str() {
            "selector" => {
                base = (entry.value.text().map(str::to_owned), vec![id]);
                reader.out.ledger.usual(id, "the selector of domains that name none");
            }
            "additional_signatures" => {
                reader.out.ledger.none(id, "relay_domain of [dkim] signs all mail, too")
            }
            "headers" | "over_sign" | "header_canonicalization" | "body_canonicalization" | "expiration" => {
                reader.out.ledger.usual(
                    id,
                    "the usual fields are signed, and once more than they are there (docs/dkim.md)",
                );
            }
            _ => reader.out.ledger.none(id, "keys are files DOMAIN/SELECTOR.pem of [dkim] keys"),
        }
    }
    for domain in entries.iter().filter(|one| one.key == "domain").flat_map(|one| one.value.table()) {
        key_of(reader, file, domain, base.0.as_deref())?;
    }
    for entry in entries.iter().filter(|one| !matches!(one.key.as_str(), "base" | "domain")) {
        let id = super::reader::enter(reader, file, "", entry)?;
        reader.out.ledger.none(id, "relay_domain of [dkim] signs all mail with a domain of its own, too");
    }
    Ok(())
}

fn key_of(
    reader: &mut Reader<'_, '_>,
    file: &str,
    domain: &Entry,
    usual: Option<&str>,
) -> Result<(), ImportError> {
    let section = format!("domain.{}", quoted(&domain.key));
    let head = reader.out.ledger.add(file, domain.line, &format!("[{section}]"))?;
    let mut whole: Vec<(Option<String>, Option<String>, Vec<Id>)> = Vec::new();
    let mut own = (None, None, Vec::new());
    for entry in domain.value.table() {
        let id = super::reader::enter(reader, file, &section, entry)?;
        match (entry.key.as_str(), &entry.value) {
            ("selector", Value::Text(text)) => own.0 = Some(text.clone()),
            ("filename", Value::Text(text)) => own.1 = Some(text.clone()),
            ("signature", Value::List(all)) => {
                for one in all {
                    let of = |key: &str| {
                        one.table()
                            .iter()
                            .find(|entry| entry.key == key)
                            .and_then(|entry| entry.value.text())
                            .map(str::to_owned)
                    };
                    whole.push((of("selector"), of("filename"), vec![id]));
                }
                continue;
            }
            ("policy", _) => {
                reader.out.ledger.usual(id, "what is from the domain is signed");
                continue;
            }
            ("algo" | "headers" | "over_sign", _) => {
                reader
                    .out
                    .ledger
                    .usual(id, "the key says it, and the usual fields are signed (docs/dkim.md)");
                continue;
            }
            _ => {
                reader.out.ledger.none(id, "keys are files DOMAIN/SELECTOR.pem of [dkim] keys");
                continue;
            }
        }
        own.2.push(id);
    }
    if own.0.is_some() || own.1.is_some() || whole.is_empty() {
        whole.push(own);
    }
    for (selector, path, mut from) in whole {
        from.push(head);
        let selector = selector.or_else(|| usual.map(str::to_owned)).unwrap_or_default();
        let path = path.unwrap_or_else(|| format!("{PLACE}/{}/{selector}.key", domain.key));
        self::copy(reader, &domain.key, &selector.to_ascii_lowercase(), &path, &from);
    }
    Ok(())
}

/// `kumo.dkim.rsa_sha256_signer { … }`
pub(super) fn signer(
    reader: &mut Reader<'_, '_>,
    call: &super::lua::Call,
    id: Id,
) -> Result<(), ImportError> {
    let text = |key: &str| {
        let found = call.argument.table().iter().find(|one| one.key == key).map(|one| &one.value);
        match found {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    };
    let mut from = vec![id];
    for entry in call.argument.table() {
        let own = super::reader::enter(reader, "init.lua", &call.name, entry)?;
        match entry.key.as_str() {
            "domain" | "selector" | "key" => from.push(own),
            _ => reader.out.ledger.usual(own, "the usual fields are signed (docs/dkim.md)"),
        }
    }
    match (text("domain"), text("selector"), text("key")) {
        (Some(domain), Some(selector), Some(path)) => {
            self::copy(reader, &domain, &selector.to_ascii_lowercase(), &path, &from);
        }
        _ => {
            let words = "code says which key: copy each to DOMAIN/SELECTOR.pem below [dkim] keys; the domain in From says which one signs (docs/dkim.md)";
            from.iter().for_each(|id| reader.out.ledger.none(*id, words));
        }
    }
    Ok(())
}

fn copy(reader: &mut Reader<'_, '_>, domain: &str, selector: &str, path: &str, from: &[Id]) {
    let domain = domain.to_ascii_lowercase();
    let found = match is_domain(&domain) && is_domain(selector) {
        true => reader.library.text(path).map_err(|missing| match missing {
            Missing::Unread(why) => why,
            Missing::Broken(error) => error.problem,
        }),
        false => Err("no domain or no selector".to_owned()),
    };
    let sound = found.and_then(|text| match PrivateKey::from_pem(&text) {
        Ok(_) => Ok(text),
        Err(flaw) => Err(flaw.to_string()),
    });
    match sound {
        Ok(text) => {
            reader.out.files.push((format!("dkim/{domain}/{selector}.pem"), text));
            let keys = quoted(&format!("{}/dkim", reader.terms.at));
            reader.out.relevo.set("[dkim]", "keys", &keys, &[]);
            let section = reader.out.relevo.push("[[dkim.key]]", from);
            section.set("domain", &quoted(&domain), &[]);
            section.set("selector", &quoted(selector), &[]);
            from.iter().for_each(|id| reader.out.ledger.translated(*id));
        }
        Err(why) => {
            let words = format!(
                "{}: the key cannot be used ({}): copy it to {}/dkim/{}/{}.pem and set [dkim] keys",
                shown(path),
                shown(&why),
                reader.terms.at,
                shown(&domain),
                shown(selector)
            );
            from.iter().for_each(|id| reader.out.ledger.none(*id, &words));
        }
    }
}
