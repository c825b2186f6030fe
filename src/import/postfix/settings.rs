//! Parameters that are one line of ours.

use super::parameters::seconds;
use super::reader::Reader;
use crate::import::words::{quoted, time};
use crate::import::{Id, ImportError};
use crate::limits;

/// Timeouts of the client, as keys of `["default"]`.
const TIMEOUTS: [(&str, &[&str]); 9] = [
    ("smtp_connect_timeout", &["connect_timeout"]),
    ("smtp_helo_timeout", &["banner_timeout", "ehlo_timeout"]),
    ("smtp_starttls_timeout", &["starttls_timeout"]),
    ("smtp_mail_timeout", &["mail_from_timeout"]),
    ("smtp_rcpt_timeout", &["rcpt_to_timeout"]),
    ("smtp_data_init_timeout", &["data_timeout"]),
    ("smtp_data_done_timeout", &["data_dot_timeout"]),
    ("smtp_rset_timeout", &["rset_timeout"]),
    ("smtp_connection_cache_time_limit", &["idle_timeout"]),
];

pub(super) fn settings(reader: &mut Reader<'_, '_>) -> Result<(), ImportError> {
    names(reader);
    times(reader);
    pace(reader);
    timeouts(reader);
    Ok(())
}

fn names(reader: &mut Reader<'_, '_>) {
    match reader.main.get("myhostname") {
        Some((value, id)) => put(reader, ("[node]", "hostname"), &quoted(&value), id),
        None => {
            let from = reader.main.get("mydomain");
            if let Some((domain, id)) = from {
                reader
                    .out
                    .ledger
                    .differs(id, "without myhostname relevo uses this machine's name; set node.hostname");
                let _ = domain;
            }
        }
    }
}

/// A line of relevo.toml from one parameter.
pub(super) fn put(reader: &mut Reader<'_, '_>, (head, key): (&str, &str), value: &str, id: Id) {
    reader.out.relevo.set(head, key, value, &[id]);
    reader.out.ledger.translated(id);
}

/// A parameter that is a time; `unit`: of a bare number.
fn time_of(reader: &mut Reader<'_, '_>, name: &str, unit: u64) -> Option<(u64, Id)> {
    let (value, id) = reader.main.get(name)?;
    let span = seconds(&value, unit);
    if span.is_none() {
        reader.out.ledger.none(id, "it is no time as Postfix has them");
    }
    Some((span?, id))
}

fn times(reader: &mut Reader<'_, '_>) {
    if let Some((span, id)) = time_of(reader, "maximal_queue_lifetime", 86_400) {
        match span {
            0 => reader
                .out
                .ledger
                .none(id, "one attempt and no more: relevo tries until retry.expire; set it short"),
            _ => put(reader, ("[retry]", "expire"), &quoted(&time(span)), id),
        }
    }
    if let Some((span, id)) = time_of(reader, "minimal_backoff_time", 1) {
        put(reader, ("[retry]", "first"), &quoted(&time(span.max(1))), id);
    }
    if let Some((span, id)) = time_of(reader, "maximal_backoff_time", 1) {
        put(reader, ("[retry]", "max"), &quoted(&time(span.max(1))), id);
    }
    if let Some((span, id)) = time_of(reader, "delay_warning_time", 3_600) {
        match span {
            0 => reader.out.ledger.usual(id, "off here too"),
            _ => put(reader, ("[bounces]", "delay_warning"), &quoted(&time(span)), id),
        }
    }
}

fn pace(reader: &mut Reader<'_, '_>) {
    let concurrency = reader
        .main
        .get("smtp_destination_concurrency_limit")
        .or_else(|| reader.main.get("default_destination_concurrency_limit"));
    for (of_client, of_all) in [
        ("smtp_destination_concurrency_limit", "default_destination_concurrency_limit"),
        ("smtp_destination_rate_delay", "default_destination_rate_delay"),
        ("smtp_destination_recipient_limit", "default_destination_recipient_limit"),
    ] {
        if let (Some(_), Some((_, id))) = (reader.main.get(of_client), reader.main.get(of_all)) {
            reader.out.ledger.usual(id, &format!("{of_client} overrules it for mail that goes by SMTP"));
        }
    }
    if let Some((value, id)) = concurrency {
        match value.trim().parse::<u64>() {
            Ok(0) => reader.out.ledger.differs(
                id,
                "there is always a limit: delivery.connections_per_destination, 20 unless it is said",
            ),
            Ok(count) => put(reader, ("[delivery]", "connections_per_destination"), &count.to_string(), id),
            Err(_) => reader.out.ledger.none(id, "it is no number"),
        }
    }
    let delay = time_of(reader, "smtp_destination_rate_delay", 1)
        .or_else(|| time_of(reader, "default_destination_rate_delay", 1));
    if let Some((span, id)) = delay {
        match span {
            0 => reader.out.ledger.usual(id, "no delay"),
            span => {
                reader.out.shaping.set(
                    "[\"default\"]",
                    "max_message_rate",
                    &quoted(&if span == 1 { "1/s".to_owned() } else { format!("1/{}", time(span)) }),
                    &[id],
                );
                reader.out.shaping.set("[\"default\"]", "connection_limit", "1", &[id]);
                reader.out.ledger.differs(
                    id,
                    "one message in that time to each site, by one connection; no pause behind each delivery",
                );
            }
        }
    }
    let recipients = reader
        .main
        .get("smtp_destination_recipient_limit")
        .or_else(|| reader.main.get("default_destination_recipient_limit"));
    if let Some((value, id)) = recipients {
        match value.trim().parse::<u64>() {
            Ok(count @ 1..=limits::SHAPING_NUMBER_MAX) => {
                reader.out.shaping.set(
                    "[\"default\"]",
                    "max_recipients_per_batch",
                    &count.to_string(),
                    &[id],
                );
                reader.out.ledger.translated(id);
            }
            _ => reader.out.ledger.usual(id, "no limit"),
        }
    }
    if let Some((value, id)) = reader.main.get("smtp_connection_reuse_count_limit") {
        put(reader, ("[delivery]", "messages_per_connection"), value.trim(), id);
    }
}

fn timeouts(reader: &mut Reader<'_, '_>) {
    for (name, keys) in TIMEOUTS {
        let Some((span, id)) = time_of(reader, name, 1) else { continue };
        if span == 0 {
            reader.out.ledger.differs(id, "each step has a timeout here; the usual one holds");
            continue;
        }
        for key in keys {
            reader.out.shaping.set("[\"default\"]", key, &quoted(&time(span)), &[id]);
        }
        reader.out.ledger.translated(id);
    }
}

/// Whether a name in this list means what is below it, too (`parent_domain_matches_subdomains`).
pub(super) fn has_subdomains(reader: &mut Reader<'_, '_>, list: &str) -> bool {
    match reader.main.get("parent_domain_matches_subdomains") {
        Some((value, id)) => {
            reader.out.ledger.differs(id, "of relay_domains and transport_maps; domains elsewhere mean themselves, *.domain what is below");
            super::parameters::items(&value).iter().any(|one| one == list)
        }
        // As it is where nothing is said (postconf(5)).
        None => list == "relay_domains",
    }
}
