//! Back-off mode: what replies bring a queue into it, and what holds there, as rules of shaping files.

use super::parse::Node;
use super::reader::Reader;
use super::scope::Scope;
use super::values::{pattern, rate, time};
use crate::import::Id;
use crate::import::words::{self, quoted};
use crate::limits;
use crate::shaping::pattern::Pattern;

/// One rule that is being put together: patterns with the same action stand in one.
#[derive(Clone, PartialEq, Eq)]
struct Deed {
    lines: Vec<(&'static str, String)>,
}

/// What holds in back-off mode, and until when.
struct Mode {
    settings: Vec<String>,
    duration: String,
    from: Vec<Id>,
}

/// Patterns are looked for in any case of letters.
pub(super) fn regex(pattern: &str) -> Result<String, String> {
    let pattern = match pattern.starts_with("(?i)") {
        true => pattern.to_owned(),
        false => format!("(?i){pattern}"),
    };
    match Pattern::new(&pattern) {
        Ok(_) => Ok(pattern),
        Err(bad) => Err(words::shown(&bad.to_string())),
    }
}

pub(super) fn backoff(reader: &mut Reader<'_, '_>, scope: &Scope<'_>) {
    let Some(named) = scope.block.last("smtp-pattern-list").cloned() else { return };
    let mode = self::mode(reader, scope);
    let mut used = false;
    for name in named.words() {
        let Some(list) = reader.lists.get(&name.to_ascii_lowercase()).cloned() else {
            reader.out.ledger.none(named.id, "there is no <smtp-pattern-list> of this name");
            continue;
        };
        reader.out.ledger.translated(named.id);
        reader.out.ledger.translated(list.id);
        if !scope.sources.is_empty() {
            let words = "rules are of a site, whatever virtual MTA got the reply; a source alone rests by them, limits change for all";
            reader.out.ledger.differs(named.id, words);
        }
        let of_all = reader.defaults.iter().find_map(|one| one.last("smtp-pattern-list"));
        if !scope.is_all()
            && of_all.is_some_and(|one| !one.words().iter().any(|one| one.eq_ignore_ascii_case(name)))
        {
            reader.out.ledger.differs(named.id, "beside the rules of <domain *>, which hold here, too");
        }
        // Several virtual MTAs name the same list for the same domain, and rules of all mail hold for each domain anyway.
        let what =
            format!("{} {} {}", list.value.to_ascii_lowercase(), mode.settings.join(" "), mode.duration);
        let everywhere = reader.taken.contains(&(quoted("default"), what.clone()));
        let taken = &mut reader.taken;
        let fresh =
            scope.spots.iter().filter(|spot| !everywhere && taken.insert((spot.base.clone(), what.clone())));
        let bases: Vec<String> = fresh.map(|spot| spot.base.clone()).collect();
        if !bases.is_empty() {
            self::list(reader, &bases, &list, &mode);
        }
        used |= list.children.iter().any(|entry| entry.value.to_ascii_lowercase().contains("mode=backoff"));
    }
    for id in mode.from.iter().filter(|_| used) {
        if !reader.out.ledger.is_marked(*id) {
            reader.out.ledger.translated(*id);
        }
    }
}

/// A directive of the block, or of `<domain *>`.
fn setting_of(reader: &Reader<'_, '_>, scope: &Scope<'_>, name: &str) -> Option<Node> {
    let all = reader.defaults.iter().rev().find_map(|one| one.last(name));
    scope.block.last(name).or(all).cloned()
}

fn mode(reader: &mut Reader<'_, '_>, scope: &Scope<'_>) -> Mode {
    let mut mode = Mode { settings: Vec::new(), duration: "1d".to_owned(), from: Vec::new() };
    let set =
        |key: &str, value: String| format!("{{ SetConfig = {{ name = {}, value = {value} }} }}", quoted(key));
    for (name, key) in [
        ("backoff-max-msg-rate", "max_message_rate"),
        ("backoff-max-connect-rate", "max_connection_rate"),
        ("backoff-max-msg-per-hour", "max_message_rate"),
        ("backoff-max-smtp-out", "connection_limit"),
        ("backoff-retry-after", "retry_interval"),
    ] {
        let Some(node) = setting_of(reader, scope, name) else { continue };
        let value = match name {
            "backoff-max-smtp-out" => {
                node.value.parse::<u64>().ok().filter(|count| *count > 0).map(|count| count.to_string())
            }
            "backoff-max-msg-per-hour" => node
                .value
                .parse::<u64>()
                .ok()
                .filter(|count| *count > 0)
                .map(|count| quoted(&format!("{count}/h"))),
            "backoff-retry-after" => {
                node.words().first().and_then(|word| time(word)).map(|span| quoted(&span))
            }
            _ => rate(&node.value).map(|rate| quoted(&rate)),
        };
        match value {
            Some(value) => {
                mode.settings.push(set(key, value));
                if key == "retry_interval" && node.words().len() > 1 {
                    reader.out.ledger.differs(node.id, "the first of these waits, twice as long each time");
                }
                mode.from.push(node.id);
            }
            None => reader.out.ledger.usual(node.id, "no limit"),
        }
    }
    if mode.settings.is_empty() {
        mode.settings.push(set("retry_interval", quoted("1h")));
    }
    match setting_of(reader, scope, "backoff-to-normal-after") {
        Some(node) => match time(&node.value) {
            Some(span) => {
                mode.duration = span;
                mode.from.push(node.id);
            }
            None => reader
                .out
                .ledger
                .differs(node.id, "a rule holds for a time: a day, unless relevo resume ends it"),
        },
        None => reader.out.ledger.differs(
            scope.block.id,
            "without backoff-to-normal-after back-off lasts a day here, or until relevo resume",
        ),
    }
    if let Some(node) =
        setting_of(reader, scope, "backoff-to-normal-after-delivery").filter(|node| words::yes(&node.value))
    {
        let words = "a rule holds for its duration, whatever is delivered meanwhile; adaptive windows (docs/shaping.md) grow again with what a site takes";
        reader.out.ledger.none(node.id, words);
    }
    mode
}

fn list(reader: &mut Reader<'_, '_>, bases: &[String], list: &Node, mode: &Mode) {
    let mut rules: Vec<(Deed, Vec<String>, Vec<Id>)> = Vec::new();
    for entry in &list.children {
        if !matches!(
            entry.name.as_str(),
            "reply" | "greeting" | "connect" | "connection" | "smtp-reply" | "banner"
        ) {
            continue;
        }
        let Some((found, actions)) = pattern(&entry.value) else {
            reader.out.ledger.none(entry.id, "no /pattern/");
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
        for deed in self::deeds(reader, actions, entry, mode) {
            match rules.last_mut().filter(|last| last.0 == deed) {
                Some(last) => {
                    last.1.push(found.clone());
                    last.2.push(entry.id);
                }
                None => rules.push((deed, vec![found.clone()], vec![entry.id])),
            }
        }
    }
    let many = rules.iter().map(|rule| rule.1.len()).sum::<usize>()
        > limits::SHAPING_PATTERNS_SECTION_MAX / 2
        || rules.iter().any(|rule| rule.1.len() > limits::SHAPING_PATTERNS_MAX);
    if many {
        rules.iter_mut().for_each(|rule| rule.1 = super::merged::together(&rule.1));
    }
    for base in bases {
        for (at, (deed, patterns, from)) in rules.iter().enumerate() {
            if at >= limits::SHAPING_RULES_MAX {
                from.iter().for_each(|id| reader.out.ledger.none(*id, "a section has at most 64 rules"));
                continue;
            }
            let section = reader.out.shaping.push(&format!("[[{base}.automation]]"), &[]);
            section.set("regex", &words::list(patterns), from);
            let of_mode = deed.lines.iter().any(|(_, value)| value.contains("SetConfig"));
            for (key, value) in &deed.lines {
                let empty = Vec::new();
                section.set(key, value, if of_mode { &mode.from } else { &empty });
            }
        }
    }
}

/// What an entry has done.
fn deeds(reader: &mut Reader<'_, '_>, actions: &str, entry: &Node, mode: &Mode) -> Vec<Deed> {
    let words: Vec<String> = actions
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let option =
        |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).and_then(time);
    let mut deeds = Vec::new();
    for word in &words {
        let lines = match word.as_str() {
            "mode=backoff" => {
                let duration = option("backoff-to-normal-after").unwrap_or_else(|| mode.duration.clone());
                let action = format!("[{}]", mode.settings.join(", "));
                vec![("action", action), ("duration", quoted(&duration))]
            }
            "disable-source-ip" => {
                let span = option("reenable-after").or_else(|| {
                    let all = reader.defaults.iter().find_map(|one| one.last("reenable-source-ip-after"));
                    all.and_then(|node| time(&node.value))
                });
                if span.is_none() {
                    reader.out.ledger.differs(entry.id, "the source rests at this site for a day, as a rule holds for a time; relevo resume ends it");
                }
                vec![
                    ("action", quoted("Suspend")),
                    ("duration", quoted(&span.unwrap_or_else(|| "1d".to_owned()))),
                ]
            }
            "bounce-queue" => {
                reader.out.ledger.differs(
                    entry.id,
                    "what waits for the domain goes back, and what comes within five minutes",
                );
                vec![("action", quoted("Bounce")), ("duration", quoted("5m"))]
            }
            "bounce-rcpt" => vec![("permanent", "true".to_owned())],
            "skip-mx" => {
                reader.out.ledger.usual(entry.id, "the next host is tried where one takes no session");
                continue;
            }
            "mode=normal" => {
                reader.out.ledger.none(entry.id, "no reply ends a rule: its duration does, or relevo resume");
                continue;
            }
            word if word.starts_with("reenable-after=") || word.starts_with("backoff-to-normal-after=") => {
                continue;
            }
            other => {
                reader.out.ledger.none(entry.id, &format!("{}: no such action", words::shown(other)));
                continue;
            }
        };
        reader.out.ledger.translated(entry.id);
        deeds.push(Deed { lines });
    }
    deeds
}
