//! Limits and timeouts of a `<domain>`, each a key of a shaping file.

use super::parse::Node;
use super::reader::Reader;
use super::scope::Scope;
use super::values::{is_unlimited, rate, time};
use crate::import::words::quoted;

/// What a number of a directive is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Count,
    Rate,
    /// Messages an hour.
    PerHour,
}

/// Directive, our key, that of a shared queue, what its number is.
const LIMITS: [(&str, &str, &str, Number); 13] = [
    ("max-smtp-out", "connection_limit", "provider_connection_limit", Number::Count),
    ("max-smtp-out-per-source-ip", "connection_limit", "provider_connection_limit", Number::Count),
    ("source-ip-max-smtp-out", "connection_limit", "provider_connection_limit", Number::Count),
    ("max-msg-rate", "max_message_rate", "provider_max_message_rate", Number::Rate),
    ("source-ip-max-msg-rate", "max_message_rate", "provider_max_message_rate", Number::Rate),
    ("max-msg-per-hour", "max_message_rate", "provider_max_message_rate", Number::PerHour),
    ("max-rcpt-rate", "max_message_rate", "provider_max_message_rate", Number::Rate),
    ("max-connect-rate", "max_connection_rate", "max_connection_rate", Number::Rate),
    ("source-ip-max-connect-rate", "max_connection_rate", "max_connection_rate", Number::Rate),
    (
        "max-msg-per-connection",
        "max_deliveries_per_connection",
        "max_deliveries_per_connection",
        Number::Count,
    ),
    ("max-rcpt-per-message", "max_recipients_per_batch", "max_recipients_per_batch", Number::Count),
    ("max-rcpt-per-transaction", "max_recipients_per_batch", "max_recipients_per_batch", Number::Count),
    ("smtp-out-rampup-interval", "max_connection_rate", "max_connection_rate", Number::Rate),
];

const TIMEOUTS: [(&str, &str); 11] = [
    ("connect-timeout", "connect_timeout"),
    ("smtp-greeting-timeout", "banner_timeout"),
    ("ehlo-timeout", "ehlo_timeout"),
    ("mail-from-timeout", "mail_from_timeout"),
    ("smtp-mail-timeout", "mail_from_timeout"),
    ("rcpt-to-timeout", "rcpt_to_timeout"),
    ("smtp-rcpt-timeout", "rcpt_to_timeout"),
    ("data-timeout", "data_timeout"),
    ("smtp-data-termination-timeout", "data_dot_timeout"),
    ("connection-idle-timeout", "idle_timeout"),
    ("idle-timeout", "idle_timeout"),
];

/// Whether it is a limit.
pub(super) fn limit(reader: &mut Reader<'_, '_>, scope: &Scope<'_>, node: &Node) -> bool {
    let Some((_, key, shared, number)) = LIMITS.iter().find(|(name, ..)| *name == node.name) else {
        return false;
    };
    let words = node.words();
    let by_source = node.name.starts_with("source-ip-max-");
    let text = match by_source {
        true => words.get(1).copied().unwrap_or_default(),
        false => node.value.as_str(),
    };
    if is_unlimited(text) {
        let most = matches!(*key, "connection_limit");
        match most {
            true => reader.out.ledger.differs(
                node.id,
                "there is always a limit of connections: delivery.connections_per_destination",
            ),
            false => reader.out.ledger.usual(node.id, "no limit, as here"),
        }
        return true;
    }
    let value = match (number, node.name.as_str()) {
        (_, "smtp-out-rampup-interval") => time(text).map(|span| quoted(&format!("1/{span}"))),
        (Number::Count, _) => text.replace(',', "").parse::<u64>().ok().map(|count| count.to_string()),
        (Number::Rate, _) => rate(text).map(|rate| quoted(&rate)),
        (Number::PerHour, _) => text.parse::<u64>().ok().map(|count| quoted(&format!("{count}/h"))),
    };
    let Some(value) = value else {
        reader
            .out
            .ledger
            .none(node.id, "it is no number or rate: shaping.toml has 10, \"100/s\", \"5000/h\"");
        return true;
    };
    let only = words
        .first()
        .filter(|network| by_source && !network.starts_with("0/0"))
        .map(|one| within(reader, one, &scope.sources));
    if only.as_ref().is_some_and(Vec::is_empty) {
        reader.out.ledger.none(node.id, "no source has an address in this network");
        return true;
    }
    if node.name == "smtp-out-rampup-interval" && scope.block.last("max-connect-rate").is_some() {
        reader
            .out
            .ledger
            .none(node.id, "max_connection_rate is that of max-connect-rate: write the smaller of both");
        return true;
    }
    for spot in &scope.spots {
        let key = if spot.shared { shared } else { key };
        let sources = match &only {
            Some(only) => only.clone(),
            None => scope.sources.clone(),
        };
        let one = Scope { block: scope.block, spots: vec![spot.clone()], sources, astray: false };
        for head in one.heads() {
            reader.say(one.block, (&head, key), &value, node.id);
        }
    }
    if *number != Number::Count && *key == "max_message_rate" {
        reader.out.ledger.differs(node.id, "messages are counted here, where PowerMTA counts recipients");
    } else {
        reader.out.ledger.translated(node.id);
    }
    true
}

/// Sources that have an address in a network.
fn within(reader: &Reader<'_, '_>, network: &str, of: &[String]) -> Vec<String> {
    let network = super::values::network(network).and_then(|one| crate::config::value::network(&one).ok());
    let Some(network) = network else { return Vec::new() };
    let is_in = |name: &&String| {
        reader.addresses.get(*name).is_some_and(|all| all.iter().any(|address| network.contains(*address)))
    };
    match of {
        [] => reader.addresses.keys().filter(is_in).cloned().collect(),
        of => of.iter().filter(is_in).cloned().collect(),
    }
}

/// Whether it is a timeout.
pub(super) fn timeout(reader: &mut Reader<'_, '_>, scope: &Scope<'_>, node: &Node) -> bool {
    let Some((_, key)) = TIMEOUTS.iter().find(|(name, _)| *name == node.name) else { return false };
    match time(&node.value) {
        Some(span) => {
            for head in scope.heads() {
                reader.say(scope.block, (&head, key), &quoted(&span), node.id);
            }
            reader.out.ledger.translated(node.id);
        }
        None => reader.out.ledger.usual(node.id, "the usual time holds"),
    }
    true
}
