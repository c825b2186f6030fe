//! queues.toml: tenants, campaigns, and what domains have of their own.

use super::reader::Reader;
use super::values::{Entry, Value};
use crate::import::ImportError;
use crate::import::words::{quoted, time};
use crate::limits;
use crate::shaping::value;

pub(super) fn queues(reader: &mut Reader<'_, '_>, file: &str, entries: &[Entry]) -> Result<(), ImportError> {
    // What holds where nothing else is named comes first: later rules set over it.
    let first = entries.iter().filter(|entry| entry.key == "default_tenant");
    for entry in first.chain(entries.iter().filter(|entry| entry.key != "default_tenant")) {
        match (entry.key.as_str(), &entry.value) {
            ("tenant", Value::Table(all)) => {
                for tenant in all {
                    self::tenant(reader, file, tenant)?;
                }
            }
            ("queue", Value::Table(all)) => {
                for queue in all {
                    self::queue(reader, file, queue)?;
                }
            }
            ("tenant_header" | "campaign_header", Value::Text(name)) => {
                let id = super::reader::enter(reader, file, "", entry)?;
                let parameter = entry.key.trim_end_matches("_header");
                let matched =
                    format!("{{ header = {{ name = {}, pattern = \"^\\\\s*(\\\\S+)\" }} }}", quoted(name));
                super::reader::rule(reader, &matched, &format!("{{ {parameter} = \"$1\" }}"), id);
                let own = if parameter == "tenant" { "X-Relevo-Tenant" } else { "X-Relevo-Campaign" };
                reader
                    .out
                    .ledger
                    .differs(id, &format!("of all clients that may relay; {own} says it without a rule"));
            }
            ("remove_tenant_header" | "remove_campaign_header", value) if value.is_true() => {
                let id = super::reader::enter(reader, file, "", entry)?;
                let of = entry.key.trim_start_matches("remove_");
                match entries.iter().find(|one| one.key == of).and_then(|one| one.value.text()) {
                    Some(name) => super::reader::rule(
                        reader,
                        "{ sender = \"*\" }",
                        &format!("{{ header_remove = [{}] }}", quoted(name)),
                        id,
                    ),
                    None => reader.out.ledger.usual(id, "there is no such field"),
                }
            }
            ("default_tenant", Value::Text(name)) => {
                let id = super::reader::enter(reader, file, "", entry)?;
                super::reader::rule(
                    reader,
                    "{ sender = \"*\" }",
                    &format!("{{ tenant = {} }}", quoted(name)),
                    id,
                );
            }
            ("scheduling_header", _) => {
                super::reader::refuse(
                    reader,
                    file,
                    "",
                    entry,
                    "X-Relevo-Send-At has \"+2h\" or 2026-12-01T08:00:00Z, and HOLDUNTIL of MAIL the same (docs/receiving.md)",
                )?;
            }
            _ => {
                let id = super::reader::enter(reader, file, "", entry)?;
                if !matches!(entry.value, Value::Table(_)) && entry.value.text() == Some("false") {
                    reader.out.ledger.usual(id, "as here");
                }
            }
        }
    }
    Ok(())
}

fn tenant(reader: &mut Reader<'_, '_>, file: &str, tenant: &Entry) -> Result<(), ImportError> {
    let base = format!("tenant.{}", quoted(&tenant.key));
    let mut lines = Vec::new();
    let mut retry = (Vec::new(), Vec::new());
    for entry in tenant.value.table() {
        let id = super::reader::enter(reader, file, &base, entry)?;
        match entry.key.as_str() {
            "egress_pool" => {
                lines.push(("pool", super::reader::pool(entry.value.text().unwrap_or_default()), id))
            }
            "max_message_rate" => lines.push(("max_message_rate", rate(&entry.value), id)),
            "max_age" => lines.push(("max_age", span(&entry.value), id)),
            "retry_interval" | "max_retry_interval" => {
                let key = if entry.key == "retry_interval" { "first" } else { "max" };
                retry.0.push(format!("{key} = {}", span(&entry.value)));
                retry.1.push(id);
            }
            "require_authz" => {
                reader.out.ledger.none(
                    id,
                    "an account has a tenant: tenant = \"NAME\" in accounts.toml (relevo account add)",
                );
                continue;
            }
            _ => continue,
        }
        reader.out.ledger.translated(id);
    }
    let name = if tenant.key == "default" { return default_of_tenants(reader, lines) } else { &tenant.key };
    let section = reader.out.relevo.push("[[tenant]]", &[]);
    section.set("name", &quoted(name), &[]);
    for (key, value, id) in lines {
        section.set(key, &value, &[id]);
    }
    if !retry.0.is_empty() {
        section.set("retry", &format!("{{ {} }}", retry.0.join(", ")), &retry.1);
    }
    Ok(())
}

/// `[tenant.default]`: all that have no section.
fn default_of_tenants(
    reader: &mut Reader<'_, '_>,
    lines: Vec<(&'static str, String, usize)>,
) -> Result<(), ImportError> {
    for (key, value, id) in lines {
        match key {
            "pool" => reader.out.relevo.set("[delivery]", "pool", &value, &[id]),
            "max_age" => reader.out.relevo.set("[retry]", "expire", &value, &[id]),
            _ => reader.out.ledger.withdraw(id, "each tenant has a section of its own: [[tenant]]"),
        }
    }
    Ok(())
}

fn queue(reader: &mut Reader<'_, '_>, file: &str, queue: &Entry) -> Result<(), ImportError> {
    let base = format!("queue.{}", quoted(&queue.key));
    let is_default = queue.key == "default";
    let domain = queue.key.trim_start_matches("*.");
    for entry in queue.value.table() {
        let id = super::reader::enter(reader, file, &base, entry)?;
        let head = format!("[{}]", quoted(domain));
        match (entry.key.as_str(), is_default) {
            (_, _) if matches!(entry.value, Value::Table(_)) && entry.key != "protocol" => {
                reader.out.ledger.none(id, "of one campaign or tenant at one domain: a [[rule]] with match.recipient sets what mail has, a [[tenant]] what its owner has");
                continue;
            }
            ("egress_pool", _) if entry.value.text() == Some("unspecified") => {
                reader.out.ledger.usual(id, "no pool: the machine's own address");
                continue;
            }
            ("egress_pool", true) => {
                let pool = super::reader::pool(entry.value.text().unwrap_or_default());
                reader.out.relevo.set("[delivery]", "pool", &pool, &[id]);
            }
            ("egress_pool", false) => {
                let pool = super::reader::pool(entry.value.text().unwrap_or_default());
                let recipient =
                    if queue.key.starts_with("*.") { queue.key.clone() } else { format!("@{domain}") };
                super::reader::rule(
                    reader,
                    &format!("{{ recipient = {} }}", quoted(&recipient)),
                    &format!("{{ pool = {pool} }}"),
                    id,
                );
            }
            ("max_age", true) => reader.out.relevo.set("[retry]", "expire", &span(&entry.value), &[id]),
            ("retry_interval", true) => reader.out.relevo.set("[retry]", "first", &span(&entry.value), &[id]),
            ("max_retry_interval", true) => {
                reader.out.relevo.set("[retry]", "max", &span(&entry.value), &[id])
            }
            ("max_message_rate", true) => {
                reader.out.shaping.set("[\"default\"]", "max_message_rate", &rate(&entry.value), &[id])
            }
            ("max_age" | "retry_interval" | "max_retry_interval", false) => {
                reader.out.shaping.set(&head, &entry.key, &span(&entry.value), &[id]);
            }
            ("max_message_rate", false) => {
                reader.out.shaping.set(&head, &entry.key, &rate(&entry.value), &[id])
            }
            ("routing_domain", false) => {
                let to = quoted(&format!(
                    "smtp://{}",
                    entry.value.text().unwrap_or_default().trim_matches(['[', ']'])
                ));
                self::route(reader, &queue.key, &to, id);
                reader
                    .out
                    .ledger
                    .differs(id, "a route goes to the host itself, and does not look for its MX records");
            }
            ("protocol", _) => {
                self::protocol(reader, &queue.key, entry, id);
                continue;
            }
            _ => continue,
        }
        reader.out.ledger.translated(id);
    }
    Ok(())
}

fn protocol(reader: &mut Reader<'_, '_>, domain: &str, entry: &Entry, id: usize) {
    let smtp = entry.value.table().iter().find(|one| one.key == "smtp");
    let list = smtp.and_then(|smtp| smtp.value.table().iter().find(|one| one.key == "mx_list"));
    let host = |one: &Value| match one {
        Value::Text(host) => Some(host.clone()),
        table => {
            let of = |key: &str| {
                table.table().iter().find(|entry| entry.key == key)?.value.text().map(str::to_owned)
            };
            of("addr").or_else(|| of("name"))
        }
    };
    let hosts: Option<Vec<String>> = list.and_then(|list| match &list.value {
        Value::List(all) => all.iter().take(limits::IMPORT_LIST_MAX).map(host).collect(),
        one => Some(vec![host(one)?]),
    });
    let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty() && hosts.len() <= 16) else {
        return reader.out.ledger.none(id, "a [[route]] by SMTP or LMTP: to = \"smtp://host:port\", \"lmtp:/path\"; code of the policy has no place here");
    };
    let each: Vec<String> =
        hosts.iter().map(|host| format!("{{ to = {} }}", quoted(&format!("smtp://{host}")))).collect();
    let to = match &each[..] {
        [_] => quoted(&format!("smtp://{}", hosts[0])),
        _ => format!("[{}]", each.join(", ")),
    };
    self::route(reader, if domain == "default" { "*" } else { domain }, &to, id);
    reader.out.ledger.translated(id);
}

fn route(reader: &mut Reader<'_, '_>, domain: &str, to: &str, id: usize) {
    let section = reader.out.relevo.push("[[route]]", &[id]);
    section.set("domain", &quoted(domain), &[]);
    section.set("to", to, &[]);
}

/// A time of KumoMTA's, `10 hours`, as ours.
fn span(value: &Value) -> String {
    let text = value.text().unwrap_or_default();
    value::time(text).map_or_else(|| quoted(text), |span| quoted(&time(span.as_secs())))
}

/// A rate.
fn rate(value: &Value) -> String {
    let text = value.text().unwrap_or_default();
    value::rate(text).map_or_else(|| quoted(text), |rate| quoted(&rate.to_string()))
}
