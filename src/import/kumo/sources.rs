//! sources.toml: egress sources and pools.

use super::reader::Reader;
use super::values::{Entry, Value};
use crate::import::ImportError;
use crate::import::words::{name, quoted};
use crate::limits;

pub(super) fn sources(reader: &mut Reader<'_, '_>, file: &str, entries: &[Entry]) -> Result<(), ImportError> {
    let of = |kind: &'static str| {
        entries.iter().filter(move |one| one.key == kind).flat_map(|one| one.value.table())
    };
    for source in of("source") {
        self::source(reader, file, source)?;
    }
    for pool in of("pool") {
        self::members(reader, file, pool)?;
    }
    for entry in entries.iter().filter(|one| !matches!(one.key.as_str(), "source" | "pool")) {
        super::reader::enter(reader, file, "", entry)?;
    }
    Ok(())
}

/// A source or a pool that code makes of literals alone. False: nothing was made.
pub(super) fn literal(reader: &mut Reader<'_, '_>, call: &super::lua::Call) -> Result<bool, ImportError> {
    let all = call.argument.table();
    let name = all.iter().find(|one| one.key == "name").and_then(|one| match &one.value {
        Value::Text(name) => Some(name.clone()),
        _ => None,
    });
    let has_code = all.iter().any(|one| one.value == Value::Code);
    let (Some(key), false) = (name, has_code) else { return Ok(false) };
    let head = if call.name.ends_with("pool") { "[[pool]]" } else { "[[source]]" };
    let taken = quoted(&super::super::words::name(&key));
    if reader.out.relevo.sections.iter().any(|one| one.head == head && one.value("name") == Some(&taken)) {
        return Ok(false);
    }
    let others = |one: &&Entry| one.key != "name";
    if head == "[[source]]" {
        let value = Value::Table(all.iter().filter(others).cloned().collect());
        self::source(reader, "init.lua", &Entry { key, line: call.line, value })?;
        return Ok(true);
    }
    let Some(Value::List(entries)) = all.iter().find(|one| one.key == "entries").map(|one| &one.value) else {
        return Ok(false);
    };
    let member = |one: &Value| {
        let name = one.table().iter().find(|entry| entry.key == "name")?;
        let value = Value::Table(one.table().iter().filter(others).cloned().collect());
        Some(Entry { key: name.value.text()?.to_owned(), line: name.line, value })
    };
    let value = Value::Table(entries.iter().filter_map(member).collect());
    self::members(reader, "init.lua", &Entry { key, line: call.line, value })?;
    Ok(true)
}

fn source(reader: &mut Reader<'_, '_>, file: &str, source: &Entry) -> Result<(), ImportError> {
    let base = format!("source.{}", quoted(&source.key));
    let mut lines = Vec::new();
    for entry in source.value.table() {
        let id = super::reader::enter(reader, file, &base, entry)?;
        let text = entry.value.text().unwrap_or_default();
        let line = match entry.key.as_str() {
            "source_address" | "ha_proxy_source_address" => {
                let key = if text.contains(':') { "address6" } else { "address" };
                (key, quoted(text))
            }
            "ehlo_domain" => ("ehlo", quoted(text)),
            "socks5_proxy_server" => ("proxy", quoted(&format!("socks5://{text}"))),
            "ha_proxy_server" => ("proxy", quoted(&format!("haproxy://{text}"))),
            "socks5_proxy_source_address" => {
                reader.out.ledger.none(
                    id,
                    "a SOCKS5 proxy chooses its own address; an haproxy is told by which to connect",
                );
                continue;
            }
            "socks5_proxy_username" | "socks5_proxy_password" => {
                reader.out.ledger.none(id, "proxy = \"socks5://user:password@address:port\"");
                continue;
            }
            "remote_port" => {
                reader
                    .out
                    .ledger
                    .none(id, "delivery.mx_port is of all MX hosts, and a [[route]] names its port");
                continue;
            }
            "ttl" => {
                reader.out.ledger.usual(id, "a reload is in force at once");
                continue;
            }
            _ => continue,
        };
        reader.out.ledger.translated(id);
        lines.push((line, id));
    }
    let section = reader.out.relevo.push("[[source]]", &[]);
    section.set("name", &quoted(&name(&source.key)), &[]);
    for ((key, value), id) in lines {
        section.set(key, &value, &[id]);
    }
    Ok(())
}

fn members(reader: &mut Reader<'_, '_>, file: &str, pool: &Entry) -> Result<(), ImportError> {
    let mut members = Vec::new();
    let mut from = Vec::new();
    for member in pool.value.table() {
        let base = format!("pool.{}.{}", quoted(&pool.key), quoted(&member.key));
        if !matches!(member.value, Value::Table(_)) {
            let id = super::reader::enter(reader, file, &base, member)?;
            reader.out.ledger.usual(id, "a reload is in force at once");
            continue;
        }
        if member.value.table().is_empty() {
            let id = reader.out.ledger.add(file, member.line, &format!("[{base}]"))?;
            reader.out.ledger.translated(id);
            from.push(id);
        }
        let mut weight = None;
        for entry in member.value.table() {
            let id = super::reader::enter(reader, file, &base, entry)?;
            if entry.key == "weight" {
                weight = entry.value.text().and_then(|text| text.parse::<u64>().ok());
                from.push(id);
                match weight {
                    Some(0) => reader.out.ledger.differs(id, "a source without weight is not in the pool"),
                    Some(1..=limits::SOURCE_WEIGHT_MAX) => reader.out.ledger.translated(id),
                    _ => reader.out.ledger.differs(id, "a weight is 1 to 10000: a source that is to rest is suspended, relevo suspend --source NAME"),
                }
            }
        }
        if weight == Some(0) {
            continue;
        }
        let source = quoted(&name(&member.key));
        members.push(match weight {
            Some(weight) => {
                format!("{{ source = {source}, weight = {} }}", weight.clamp(1, limits::SOURCE_WEIGHT_MAX))
            }
            None => source,
        });
    }
    let section = reader.out.relevo.push("[[pool]]", &[]);
    section.set("name", &quoted(&name(&pool.key)), &[]);
    section.set("sources", &format!("[{}]", members.join(", ")), &from);
    Ok(())
}
