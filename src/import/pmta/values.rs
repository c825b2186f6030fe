//! Times, rates and patterns as PowerMTA writes them.

use crate::import::words;
use crate::limits;

/// Seconds of `4d12h`, `10m`, `90`; None: `never`, or no time.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (mut total, mut number) = (0u64, None::<u64>);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            number = Some(rest[..end].parse().ok()?);
            rest = &rest[end..];
        } else if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else {
            let end = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
            let span = number.take()?.checked_mul(unit(&rest[..end])?)?;
            total = total.checked_add(span)?;
            rest = rest.get(end.max(first.len_utf8())..)?;
        }
    }
    match number {
        Some(number) => total.checked_add(number),
        None => Some(total).filter(|_| !text.is_empty()),
    }
}

fn unit(name: &str) -> Option<u64> {
    match name {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(3_600),
        "d" | "day" | "days" => Some(86_400),
        "w" | "week" | "weeks" => Some(7 * 86_400),
        _ => None,
    }
}

/// A time in our words.
pub(super) fn time(text: &str) -> Option<String> {
    seconds(text).filter(|seconds| *seconds > 0).map(words::time)
}

/// `100/h`, `5/10min`, in our words; None: `unlimited`, `0`, or no rate.
pub(super) fn rate(text: &str) -> Option<String> {
    let (count, each) = text.trim().split_once('/')?;
    let count: u64 = count.trim().replace(',', "").parse().ok().filter(|count| *count > 0)?;
    let each = each.trim().to_ascii_lowercase();
    let span = match each.starts_with(|letter: char| letter.is_ascii_digit()) {
        true => seconds(&each)?,
        false => unit(&each)?,
    };
    match span {
        0 => None,
        1 => Some(format!("{count}/s")),
        60 => Some(format!("{count}/min")),
        3_600 => Some(format!("{count}/h")),
        86_400 => Some(format!("{count}/d")),
        span => Some(format!("{count}/{}", words::time(span))),
    }
}

/// `unlimited`, `0`
pub(super) fn is_unlimited(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "unlimited" | "0" | "never" | "")
}

/// Bytes of `500M`, `10k`, `0`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// A network as ours: `0/0`, `10.0.0/24`, `127.0.0.1`.
pub(super) fn network(text: &str) -> Option<String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let mut address = address.trim_matches(['[', ']']).to_owned();
    if !address.contains(':') {
        let parts = address.split('.').count();
        if parts > 4 {
            return None;
        }
        (parts..4).for_each(|_| address.push_str(".0"));
    }
    let network = match bits {
        Some(bits) => format!("{address}/{bits}"),
        None => address,
    };
    crate::config::value::network(&network).ok().map(|_| network)
}

/// `/pattern/flags`, and what follows it.
pub(super) fn pattern(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let inner = text.strip_prefix('/')?;
    let mut escaped = false;
    for (at, letter) in inner.char_indices() {
        if letter == '/' && !escaped {
            let rest = &inner[at + 1..];
            let flags = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
            return Some((inner[..at].replace("\\/", "/"), rest[flags..].trim()));
        }
        escaped = letter == '\\' && !escaped;
    }
    None
}

/// Addresses or domains that a pattern of senders or recipients means, where it is a list of these; and whether it means these alone: one that
/// does not say where it begins or ends is found in longer ones, too.
pub(super) fn addresses(pattern: &str) -> Option<(Vec<String>, bool)> {
    let all: Option<Vec<String>> = alternatives(pattern)?.iter().map(|one| address(one)).collect();
    let all = all.filter(|all| !all.is_empty())?;
    let begins = pattern.starts_with('^') || all.iter().all(|one| one.starts_with('@'));
    Some((all, begins && pattern.ends_with('$')))
}

/// `@(a|b)\.example` as what it stands for.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let mut left = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(one) = left.pop() {
        if left.len() + done.len() > limits::SHAPING_MATCHES_MAX {
            return None;
        }
        let Some((before, rest)) = one.split_once('(') else {
            done.push(one);
            continue;
        };
        let (inner, after) = rest.split_once(')')?;
        let inner = inner.strip_prefix("?:").unwrap_or(inner);
        if inner.contains('(') || before.ends_with('\\') || after.starts_with(['?', '*', '+', '{']) {
            return None;
        }
        left.extend(inner.split('|').rev().map(|each| format!("{before}{each}{after}")));
    }
    Some(done)
}

fn address(pattern: &str) -> Option<String> {
    let text =
        pattern.trim_start_matches('^').trim_end_matches('$').replace("\\.", "\u{1}").replace("\\@", "@");
    let text = text.strip_prefix(".*").or_else(|| text.strip_prefix(".+")).unwrap_or(&text).to_owned();
    // A dot that nobody escaped is meant as one, unless it is repeated.
    let is_repeated = text.match_indices('.').any(|(at, _)| text[at + 1..].starts_with(['*', '+', '?', '{']));
    if is_repeated || text.contains(|letter: char| "\\*+?()[]{}|^$".contains(letter)) {
        return None;
    }
    let text = text.replace('\u{1}', ".");
    let (_, domain) = text.rsplit_once('@')?;
    words::is_domain(domain).then_some(text)
}
