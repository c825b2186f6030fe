//! Patterns of messages that choose a virtual MTA, and of replies that say what a bounce is.

use super::backoff::regex;
use super::parse::Node;
use super::reader::Reader;
use super::values::{addresses, pattern};
use crate::import::Id;
use crate::import::words::{self, quoted};
use crate::limits;

/// bounceCat, and our class.
const CLASSES: [(&str, &str); 17] = [
    ("bad-mailbox", "bad_mailbox"),
    ("inactive-mailbox", "inactive_mailbox"),
    ("quota-issues", "mailbox_full"),
    ("bad-domain", "bad_domain"),
    ("routing-errors", "no_mx"),
    ("invalid-sender", "bad_sender"),
    ("relaying-issues", "relaying_denied"),
    ("bad-configuration", "auth_required"),
    ("content-related", "content"),
    ("spam-related", "spam"),
    ("virus-related", "virus"),
    ("policy-related", "policy"),
    ("protocol-errors", "protocol"),
    ("no-answer-from-host", "no_answer"),
    ("bad-connection", "connection"),
    ("message-expired", "expired"),
    ("other", "other"),
];

pub(super) fn patterns(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    for list in tree.iter().filter(|node| node.is("<pattern-list")) {
        let names = |one: &&Node| one.is("pattern-list") && one.words().contains(&list.value.as_str());
        let mut named: Vec<(Id, Option<Vec<String>>)> =
            tree.iter().filter(names).map(|one| (one.id, Some(vec![String::new()]))).collect();
        for source in tree.iter().filter(|node| matches!(node.name.as_str(), "<source" | "<smtp-user")) {
            let whose = super::intake::whose(source, tree);
            named.extend(source.children.iter().filter(names).map(|one| (one.id, whose.clone())));
        }
        if named.is_empty() {
            reader.out.ledger.none(list.id, "no source names it");
            list.children
                .iter()
                .for_each(|one| reader.out.ledger.none(one.id, "of a list that no source names"));
            continue;
        }
        for (id, whose) in &named {
            match whose {
                Some(_) => reader.out.ledger.translated(*id),
                None => reader
                    .out
                    .ledger
                    .none(*id, "of what comes neither by SMTP from a network nor from an account"),
            }
        }
        reader.out.ledger.translated(list.id);
        let whose = together(named.into_iter().filter_map(|(_, whose)| whose).flatten());
        // There the first that matches holds, and here each sets over those before.
        for entry in list.children.iter().rev() {
            choice(reader, entry, &whose);
        }
    }
    for block in tree.iter().filter(|node| node.is("<bounce-category-patterns")) {
        categories(reader, block);
    }
    let unnamed: Vec<Node> =
        reader.lists.values().filter(|list| !reader.out.ledger.is_marked(list.id)).cloned().collect();
    for list in unnamed {
        reader.out.ledger.none(list.id, "no <domain> names it");
        list.children
            .iter()
            .for_each(|one| reader.out.ledger.none(one.id, "of a list that no <domain> names"));
    }
}

/// Networks are put into one condition; empty: everybody.
fn together(all: impl Iterator<Item = String>) -> Vec<String> {
    let (mut networks, mut accounts) = (Vec::new(), Vec::new());
    for one in all {
        match one.strip_prefix("clients = [").and_then(|one| one.strip_suffix(']')) {
            Some(network) => networks.push(network.to_owned()),
            None if one.is_empty() => return vec![String::new()],
            None => accounts.push(one),
        }
    }
    networks.dedup();
    accounts.dedup();
    if !networks.is_empty() {
        accounts.push(format!("clients = [{}]", networks.join(", ")));
    }
    accounts
}

fn choice(reader: &mut Reader<'_, '_>, entry: &Node, whose: &[String]) {
    let (header, rest) = match entry.name.as_str() {
        "header" => {
            let (name, rest) =
                entry.value.split_once(char::is_whitespace).unwrap_or((entry.value.as_str(), ""));
            (Some(name.trim_end_matches(':').to_owned()), rest.to_owned())
        }
        "mail-from" | "rcpt-to" => (None, entry.value.clone()),
        _ => {
            return reader
                .out
                .ledger
                .none(entry.id, "a [[rule]] matches sender, recipient, account, listener or a header field");
        }
    };
    let Some((found, actions)) = pattern(&rest) else {
        return reader.out.ledger.none(entry.id, "no /pattern/");
    };
    let to = actions
        .split_whitespace()
        .find_map(|word| word.strip_prefix("virtual-mta=").or_else(|| word.strip_prefix("set-virtual-mta=")));
    let Some(to) = to else {
        return reader
            .out
            .ledger
            .none(entry.id, "only virtual-mta=NAME is known: a [[rule]] sets what else there is");
    };
    let Some(pool) = reader.known(to).map(|to| words::name(&to)) else {
        let words = "there is no virtual MTA or pool of this name: the default's is taken";
        return reader.out.ledger.none(entry.id, words);
    };
    let conditions: Vec<String> = match (&header, entry.name.as_str()) {
        (Some(name), _) => match regex(&found) {
            Ok(found) => {
                vec![format!("header = {{ name = {}, pattern = {} }}", quoted(name), quoted(&found))]
            }
            Err(problem) => {
                return reader.out.ledger.none(entry.id, &format!("the pattern cannot be used: {problem}"));
            }
        },
        (None, kind) => {
            let Some((all, exact)) = addresses(&found) else {
                let words = "senders and recipients are matched by domain or address, not by pattern: @example.com, *.example.com; a header field by pattern";
                return reader.out.ledger.none(entry.id, words);
            };
            if !exact {
                reader.out.ledger.differs(
                    entry.id,
                    "the address or domain itself; the pattern is found in longer ones, too",
                );
            }
            let key = if kind == "mail-from" { "sender" } else { "recipient" };
            all.iter().map(|address| format!("{key} = {}", quoted(address))).collect()
        }
    };
    let both = whose.iter().flat_map(|whose| conditions.iter().map(move |matched| (whose, matched)));
    for (whose, matched) in both.take(limits::RULES_MAX) {
        let comma = if whose.is_empty() { "" } else { ", " };
        let section = reader.out.relevo.push("[[rule]]", &[entry.id]);
        section.set("match", &format!("{{ {whose}{comma}{matched} }}"), &[]);
        section.set("set", &format!("{{ pool = {} }}", quoted(&pool)), &[]);
    }
    reader.out.ledger.translated(entry.id);
}

/// `<bounce-category-patterns>`: `/pattern/ category`, the first that matches.
fn categories(reader: &mut Reader<'_, '_>, block: &Node) {
    let mut rules: Vec<(&'static str, Vec<String>, Vec<Id>)> = Vec::new();
    for entry in &block.children {
        // The parser took the pattern, which may have blanks in it, for a name and a value.
        let text = match entry.value.is_empty() {
            true => entry.name.clone(),
            false => format!("{} {}", entry.name, entry.value),
        };
        let Some((found, category)) = pattern(&text) else {
            reader.out.ledger.none(entry.id, "no /pattern/ category");
            continue;
        };
        let category = category.trim_matches('"').to_ascii_lowercase();
        if ["", ".", ".*", ".+", "^.*$", "[\\s\\S]*"].contains(&found.as_str()) {
            let words = "it fits every reply: what no pattern before it fits has the class that relevo knows for it (docs/replies.md)";
            reader.out.ledger.usual(entry.id, words);
            continue;
        }
        // What is only put off has no category there; here its class says how it is tried again.
        // A pattern that says where it begins is about the enhanced status code, which stands in front there.
        let found = match found.strip_prefix('^') {
            Some(found) => format!("^5\\d\\d[ -](?:{found})"),
            None => format!("^5.*(?:{found})"),
        };
        if category == "success" {
            reader.out.ledger.usual(entry.id, "what was delivered has no class");
            continue;
        }
        let Some((_, class)) = CLASSES.iter().find(|(name, _)| *name == category) else {
            let words = format!("{}: classes are fixed (docs/replies.md)", words::shown(&category));
            reader.out.ledger.none(entry.id, &words);
            continue;
        };
        let found = match regex(&found) {
            Ok(found) => found,
            Err(problem) => {
                reader.out.ledger.none(
                    entry.id,
                    &format!("the pattern cannot be used, as patterns are matched in linear time: {problem}"),
                );
                continue;
            }
        };
        reader.out.ledger.translated(entry.id);
        match rules.last_mut().filter(|last| last.0 == *class) {
            Some(last) => {
                last.1.push(found);
                last.2.push(entry.id);
            }
            None => rules.push((class, vec![found], vec![entry.id])),
        }
    }
    self::classes(reader, &rules);
    reader.out.ledger.differs(
        block.id,
        "rules for the classes of replies; what none of them fits is as relevo knows it (docs/replies.md)",
    );
}

fn classes(reader: &mut Reader<'_, '_>, rules: &[(&'static str, Vec<String>, Vec<Id>)]) {
    let mut room = limits::SHAPING_PATTERNS_SECTION_MAX / 2;
    for (at, (class, patterns, from)) in rules.iter().enumerate() {
        let patterns = super::merged::together(patterns);
        let fits = patterns.len() <= room.min(limits::SHAPING_PATTERNS_MAX);
        room = room.saturating_sub(patterns.len());
        if at >= limits::SHAPING_RULES_MAX / 2 || !fits {
            let words = "relevo knows most replies by itself (docs/replies.md), and a section has room for so many rules: add one with class where it is wrong";
            from.iter().for_each(|id| reader.out.ledger.withdraw(*id, words));
            continue;
        }
        let section = reader.out.shaping.push("[[\"default\".automation]]", &[]);
        section.set("regex", &words::list(&patterns), from);
        section.set("class", &quoted(class), &[]);
    }
}
