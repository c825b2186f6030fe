//! `smtpd_*_restrictions`: what of them the relay does by itself, and what it does not.

use super::parameters::items;
use super::reader::Reader;
use crate::import::Id;
use crate::import::words;

/// What holds here without being said.
const USUAL: [&str; 21] = [
    "permit",
    "reject",
    "defer",
    "permit_mynetworks",
    "permit_sasl_authenticated",
    "permit_inet_interfaces",
    "permit_auth_destination",
    "reject_unauth_destination",
    "defer_unauth_destination",
    "reject_unauth_pipelining",
    "reject_non_fqdn_recipient",
    "reject_non_fqdn_sender",
    "reject_invalid_helo_hostname",
    "reject_invalid_hostname",
    "reject_non_fqdn_helo_hostname",
    "reject_non_fqdn_hostname",
    "reject_unlisted_recipient",
    "reject_multi_recipient_bounce",
    "reject_plaintext_session",
    "warn_if_reject",
    "sleep",
];

pub(super) fn restrictions(reader: &mut Reader<'_, '_>) {
    let is_one = |name: &str| name.starts_with("smtpd_") && name.ends_with("_restrictions");
    let mut all: Vec<(String, Id)> = reader
        .main
        .all()
        .filter(|(name, _)| is_one(name))
        .map(|(_, one)| (one.value.clone(), one.id))
        .collect();
    for service in &reader.services {
        let own = service.options.iter().filter(|(name, _)| is_one(name));
        all.extend(own.map(|(_, one)| (one.value.clone(), one.id)));
    }
    for (value, id) in all {
        let value = reader.main.expand(&value);
        restriction(reader, &value, id);
    }
}

fn restriction(reader: &mut Reader<'_, '_>, value: &str, id: Id) {
    let all = items(value);
    let foreign: Vec<&String> =
        all.iter().filter(|item| !USUAL.contains(&item.as_str()) && !item.contains(":/")).collect();
    if foreign.is_empty() && !all.iter().any(|item| item.contains(":/")) {
        return reader
            .out
            .ledger
            .usual(id, "relay_from, accounts and relay_to say the same: all others are refused");
    }
    let mut words: Vec<String> = Vec::new();
    for item in foreign {
        words.push(match item.as_str() {
            "reject_rbl_client" | "reject_rhsbl_client" | "reject_rhsbl_sender" | "reject_rhsbl_helo" => {
                "block lists of clients: put a filter in front, or ask one by [hook]".to_owned()
            }
            "check_policy_service" => "policy service: [hook] asks about each message by HTTP".to_owned(),
            "check_sender_access"
            | "check_recipient_access"
            | "check_client_access"
            | "check_helo_access" => {
                format!("{item}: write a [[rule]] with match and action for each entry")
            }
            other
                if other.contains([':', '=', '{', '}'])
                    || (other.contains('.') && words::is_domain(other)) =>
            {
                continue;
            }
            other => format!("{}: not checked here", words::shown(other)),
        });
    }
    words.dedup();
    let words = if words.is_empty() {
        "look-ups of its own: write a [[rule]] for each entry".to_owned()
    } else {
        words.join("; ")
    };
    reader.out.ledger.none(id, &words);
}
