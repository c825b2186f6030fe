//! `smtpd_*_restrictions` and the checks of what messages say: what of them the relay does by itself, and what it does not.

use super::parameters::items;
use super::reader::Reader;
use crate::import::words;
use crate::import::{Id, ImportError};

/// What holds here without being said.
const USUAL: [&str; 22] = [
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
    "reject_unknown_recipient_domain",
    "reject_unlisted_recipient",
    "reject_multi_recipient_bounce",
    "reject_plaintext_session",
    "warn_if_reject",
    "sleep",
];

pub(super) fn restrictions(reader: &mut Reader<'_, '_>) -> Result<(), ImportError> {
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
    for name in
        ["header_checks", "body_checks", "mime_header_checks", "nested_header_checks", "smtp_header_checks"]
    {
        if let Some((value, id)) = reader.main.get(name) {
            self::checks(reader, name, &value, id)?;
        }
    }
    Ok(())
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
            other if other.contains('.') && words::is_domain(other) => continue,
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

/// Each entry is told: what a pattern of Postfix's does is for a rule's author to say anew.
fn checks(reader: &mut Reader<'_, '_>, name: &str, value: &str, id: Id) -> Result<(), ImportError> {
    for map in items(value) {
        let Some((kind, path)) = map.split_once(':') else { continue };
        if !matches!(kind, "regexp" | "pcre") {
            reader.out.ledger.none(id, "no patterns in a file");
            continue;
        }
        let Some((shown, text)) = super::maps::file(reader, path, id)? else { continue };
        reader.out.ledger.usual(id, "its entries are told one by one");
        for line in super::parameters::logical_lines(&text) {
            let text = line.text();
            let entry = reader.out.ledger.add(&shown, line.line(), &text)?;
            let body = name == "body_checks" || name == "nested_header_checks";
            let does = |word: &str| text.to_ascii_uppercase().contains(&format!(" {word}"));
            let words = match () {
                () if body => "bodies are not looked at: ask a filter by [hook]",
                () if does("IGNORE") => {
                    "set = { header_remove = [\"X-Name\"] } in a [[rule]]; hide_trace = true for Received"
                }
                () if does("REJECT") => {
                    "[[rule]] with match = { header = { name, pattern } } and action = \"reject 550 5.7.1 text\""
                }
                () if does("DISCARD") => {
                    "[[rule]] with match = { header = { name, pattern } } and action = \"discard\""
                }
                () if does("PREPEND") => "set = { header_add = { \"X-Name\" = \"text\" } } in a [[rule]]",
                () => "a [[rule]] matches a header field by pattern, and sets or refuses",
            };
            reader.out.ledger.none(entry, words);
        }
    }
    Ok(())
}
