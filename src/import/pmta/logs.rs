//! `<acct-file>`, and what takes bounces and complaints that come back.

use super::parse::Node;
use super::reader::Reader;
use super::values::{bytes, seconds};
use crate::import::words::{list, quoted, time};
use crate::limits;

/// Types of records, and our events.
const RECORDS: [(&str, &[&str]); 15] = [
    ("d", &["delivered"]),
    ("b", &["bounced", "expired", "suppressed"]),
    ("t", &["deferred"]),
    ("tq", &["deferred"]),
    ("r", &["received"]),
    ("rb", &["oob_bounce"]),
    ("f", &["feedback"]),
    ("rs", &[]),
    ("delivery", &["delivered"]),
    ("bounce", &["bounced", "expired", "suppressed"]),
    ("transient", &["deferred"]),
    ("transient-queue", &["deferred"]),
    ("receipt", &["received"]),
    ("remote-bounce", &["oob_bounce"]),
    ("feedback-loop", &["feedback"]),
];

/// Columns that are there.
const COLUMNS: &str = "type timeLogged timeQueued orig rcpt orcpt dsnAction dsnStatus dsnDiag dsnMta bounceCat srcType srcMta dlvType dlvSourceIp \
    dlvDestinationIp dlvEsmtpAvailable dlvSize vmta jobId envId queue vmtaPool userString dlvTlsProtocol dlvTlsCipher rcvSmtpUser \
    feedbackType format userAgent reportingMTA reportedDomain repSourceIp";

pub(super) fn logs(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    for (at, node) in tree.iter().filter(|node| node.is("<acct-file")).enumerate() {
        acct_file(reader, at, node);
    }
    let mut addresses = Vec::new();
    let mut domains = Vec::new();
    let mut from = Vec::new();
    for block in tree
        .iter()
        .filter(|node| matches!(node.name.as_str(), "<bounce-processor" | "<feedback-loop-processor"))
    {
        reader.out.ledger.translated(block.id);
        let deeper = block.children.iter().filter(|node| node.is("<address-list"));
        deeper.clone().for_each(|node| reader.out.ledger.translated(node.id));
        for node in block.children.iter().chain(deeper.flat_map(|node| &node.children)) {
            let value = node.value.trim_matches('/').replace("\\.", ".").to_ascii_lowercase();
            let value = value.trim_start_matches('^').trim_end_matches('$').trim_start_matches(".*");
            match node.name.as_str() {
                "domain" if crate::import::words::is_domain(value) => domains.push(value.to_owned()),
                "address"
                    if value.split_once('@').is_some_and(|(local, domain)| {
                        !local.is_empty()
                            && crate::import::words::is_domain(domain)
                            && !local.contains(['(', '[', '*', '+', '\\', '?'])
                    }) =>
                {
                    addresses.push(value.to_owned());
                }
                "domain" | "address" => {
                    reader.out.ledger.none(node.id, "[feedback] has addresses and domains, and no patterns: give what comes back a domain of its own, or use bounces.verp_domain");
                    continue;
                }
                "<address-list" => continue,
                "deliver-unmatched-email" | "deliver-matched-email" => {
                    reader.out.ledger.usual(
                        node.id,
                        "what comes to [feedback] is read, recorded as an event, and goes no further",
                    );
                    continue;
                }
                "forward-errors-to" | "forward-unmatched-to" | "forward-to" => {
                    reader.out.ledger.none(
                        node.id,
                        "nothing is passed on: the log has each as an event, and [[webhook]] tells of it",
                    );
                    continue;
                }
                _ => {
                    reader.out.ledger.none(node.id, "what comes to [feedback] is read as a notification, a report or by its words (docs/feedback.md)");
                    continue;
                }
            }
            reader.out.ledger.translated(node.id);
            from.push(node.id);
        }
    }
    for (key, mut all) in [("addresses", addresses), ("domains", domains)] {
        all.sort();
        all.dedup();
        if !all.is_empty() {
            reader.out.relevo.set("[feedback]", key, &list(&all), &from);
        }
    }
}

fn acct_file(reader: &mut Reader<'_, '_>, at: usize, node: &Node) {
    if node.value.trim_matches('"').trim_start().starts_with('|') {
        let words = "no program is run: [[webhook]] has a web server told, [[stream]] a stream of Redis, and relevo log tail prints events";
        reader.out.ledger.none(node.id, words);
        return node
            .children
            .iter()
            .for_each(|one| reader.out.ledger.none(one.id, "of a log that was not made"));
    }
    let path = node.value.trim_matches('"').replace('\\', "/");
    let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("acct.csv");
    if at >= 8 {
        return reader.out.ledger.none(node.id, "there are at most 8 logs");
    }
    let section = reader.out.relevo.push("[[log]]", &[node.id]);
    section.set("path", &quoted(&format!("/var/log/relevo/{name}")), &[]);
    section.set("format", &quoted("pmta-csv"), &[]);
    let here = reader.out.relevo.sections.len() - 1;
    reader.out.ledger.differs(node.id, "in /var/log/relevo, with the same columns (docs/formats.md)");
    let rotate = rotation(reader, node);
    if let Some((value, from)) = rotate {
        reader.out.relevo.sections[here].set("rotate", &quoted(&value), &from);
    }
    let mut fields = Vec::new();
    let mut of_fields = Vec::new();
    for child in &node.children {
        match child.name.as_str() {
            "records" => self::records(reader, here, child),
            "record-fields" => {
                of_fields.push(child.id);
                for field in self::fields(reader, child) {
                    if !fields.contains(&field) {
                        fields.push(field);
                    }
                }
            }
            "delete-after" => match seconds(&child.value).filter(|span| *span >= 60) {
                Some(span) => {
                    reader.out.relevo.sections[here].set("keep", &quoted(&time(span)), &[child.id]);
                    reader.out.ledger.translated(child.id);
                }
                None => reader.out.ledger.usual(child.id, "all files stay"),
            },
            "max-size" | "move-interval" => {}
            "move-to" => reader.out.ledger.none(child.id, "what was rotated stays beside the log, with its time behind its name: relevo log reads it there"),
            "iso-times" | "write-headers" | "sync" | "header" => reader.out.ledger.usual(child.id, "times are 2026-11-30 05:00:00+0000, and each file has its columns in the first line"),
            _ => reader.out.ledger.none(child.id, "not of a [[log]] (docs/formats.md)"),
        }
    }
    if !fields.is_empty() {
        // What one type of record leaves out another may have.
        let all = fields.iter().any(|field| field == "*");
        let one = of_fields.len() == 1;
        fields.retain(|field| !all || field == "*" || (one && field.starts_with('!')));
        fields.sort_by_key(|field| field != "*");
        reader.out.relevo.sections[here].set("fields", &list(&fields), &of_fields);
    }
}

fn rotation(reader: &mut Reader<'_, '_>, node: &Node) -> Option<(String, Vec<usize>)> {
    let (mut parts, mut from) = (Vec::new(), Vec::new());
    if let Some(one) = node.last("max-size") {
        match bytes(&one.value).filter(|size| *size >= limits::LOG_ROTATE_MIN) {
            Some(size) => {
                parts.push(crate::config::value::show_size(size));
                from.push(one.id);
                reader.out.ledger.translated(one.id);
            }
            None => reader.out.ledger.usual(one.id, "a file has no bound of its own"),
        }
    }
    if let Some(one) = node.last("move-interval") {
        match seconds(&one.value).filter(|span| *span >= 60) {
            Some(span) => {
                parts.push(time(span));
                from.push(one.id);
                reader.out.ledger.translated(one.id);
            }
            None => reader.out.ledger.usual(one.id, "a file has no bound of its own"),
        }
    }
    (!parts.is_empty()).then(|| (parts.join("/"), from))
}

fn records(reader: &mut Reader<'_, '_>, here: usize, node: &Node) {
    if node.words().iter().any(|word| matches!(*word, "*" | "all")) {
        return reader.out.ledger.usual(node.id, "a log has events of all kinds");
    }
    let mut events: Vec<&str> = Vec::new();
    for word in node.words() {
        match RECORDS.iter().find(|(name, _)| *name == word.to_ascii_lowercase()) {
            Some((_, found)) if !found.is_empty() => events.extend(*found),
            _ => reader
                .out
                .ledger
                .differs(node.id, &format!("{}: there is no such record", crate::import::words::shown(word))),
        }
    }
    events.sort_unstable();
    events.dedup();
    if events.is_empty() {
        return reader.out.ledger.none(node.id, "none of these records");
    }
    reader.out.relevo.sections[here].set("events", &list(&events), &[node.id]);
    reader.out.ledger.translated(node.id);
}

/// `record-fields TYPES FIELDS`
fn fields(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<String> {
    let mut words = node.words();
    let is_type = |word: &&str| RECORDS.iter().any(|(name, _)| name == word);
    while words.first().is_some_and(&is_type) {
        words.remove(0);
    }
    let known = |word: &str| {
        word == "*" || COLUMNS.split_whitespace().any(|column| column == word.trim_start_matches('!'))
    };
    let (kept, lost): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|word| known(word));
    let words = match lost.is_empty() {
        true => "the same columns in records of all types".to_owned(),
        false => format!(
            "the same columns in records of all types; without {}",
            crate::import::words::shown(&lost.join(", "))
        ),
    };
    reader.out.ledger.differs(node.id, &words);
    kept.into_iter().map(str::to_owned).collect()
}
