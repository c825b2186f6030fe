//! Bounds without a name: a number where something is taken, made room for, repeated, or compared with is a bound, and stands among the limits.

use crate::imports::without_tests;
use crate::source::{Source, is_word, words};

/// From here on a number of places, bytes or times is a bound; what is smaller is a shape.
const COUNTED: u64 = 64;
/// The same where it is only compared, added or taken away: codes and units are smaller.
const COMPARED: u64 = 1_000;

/// Numbers that are none: where, which, and what they are.
const MAY: &[(&str, &[u64], &str)] = &[
    ("src/runtime/os/probe.rs", &[120], "a structure of the kernel's"),
    ("src/commands/domain/sources.rs", &[64, 128], "a network: RFC 6598"),
    ("src/commands/cluster.rs", &[119, 120, 7_199, 7_200, 172_799, 10_240], "units for eyes"),
    ("src/commands/words.rs", &[10_240, 10_485_760], "units for eyes"),
    ("src/commands/top/draw.rs", &[3_600, 86_400], "units for eyes"),
    ("src/commands/top/rows.rs", &[10_000, 1_000_000], "units for eyes"),
    ("src/mail/dsn.rs", &[1_000], "digits (RFC 3463 2)"),
    ("src/mail/dsn/words.rs", &[120, 2_880], "units for eyes"),
    ("src/mail/dsn/text.rs", &[127], "printable ASCII"),
    ("src/mail/trace.rs", &[126], "printable ASCII"),
    ("src/mail/address.rs", &[127], "printable ASCII"),
    ("src/mail/encoding.rs", &[126], "printable ASCII (RFC 2045 6.7)"),
    ("src/mail/seven_bit/survey.rs", &[127], "printable ASCII"),
    ("src/smtp/reply.rs", &[127], "printable ASCII"),
    ("src/config/value.rs", &[60_000_000], "a unit of time"),
    ("src/policy/certificate.rs", &[253_402_300_799], "the last second of a year of four digits"),
    ("src/time.rs", &[719_468], "days between two dates"),
    ("src/mail/release.rs", &[1_970], "the year with which Unix time begins"),
    ("src/shard/outbound/connect.rs", &[1_000], "a planted defect"),
    ("src/shard/outbound/state.rs", &[1_000], "a planted defect"),
    ("src/shard/inbound/allowance.rs", &[1_000], "thousandths of one"),
];

/// Where a number behind, or in front, is how many.
const TAKES: [&str; 7] =
    ["take", "with_capacity", "reserve", "reserve_exact", "shrink_to", "truncate", "min"];

fn entry(place: &str, number: u64) -> Option<usize> {
    MAY.iter().position(|(at, numbers, _)| {
        place.starts_with(at) && (numbers.is_empty() || numbers.contains(&number))
    })
}

/// The whole numbers of a piece of code, each with where it begins and ends.
fn numbers(code: &str) -> Vec<(u64, usize, usize)> {
    let bytes = code.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let begins = bytes[at].is_ascii_digit() && (at == 0 || !is_word(bytes[at - 1]));
        let length = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
        if begins {
            let text = code[at..at + length].replace('_', "");
            let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
            // A radix is one of bits; `1.5` is none.
            if !text.starts_with("0x") && !text.starts_with("0b") {
                found.extend(text[..digits].parse().ok().map(|number| (number, at, at + length)));
            }
        }
        at += length.max(1);
    }
    found
}

/// A product or a shift of numbers that begins, or ends, there: all of it is one.
fn product(code: &str, at: usize, end: usize) -> (u64, usize, usize) {
    let all = numbers(code);
    let mut from = all.iter().position(|one| one.1 == at).unwrap_or(0);
    let joins = |one: &(u64, usize, usize), next: &(u64, usize, usize)| {
        matches!(code[one.2..next.1].trim(), "*" | "<<")
    };
    while from > 0 && joins(&all[from - 1], &all[from]) {
        from -= 1;
    }
    let (mut value, begin, mut end) = (all[from].0, all[from].1, end.max(all[from].2));
    for pair in all[from..].windows(2).take_while(|pair| joins(&pair[0], &pair[1])) {
        let is_shift = code[pair[0].2..pair[1].1].trim() == "<<";
        value = if is_shift { value << pair[1].0.min(63) } else { value.saturating_mul(pair[1].0) };
        end = pair[1].2;
    }
    (value, begin, end)
}

/// Whether a number that stands there is how many of something, or is compared, added or taken away.
fn is_bound(code: &str, value: u64, begin: usize, end: usize) -> bool {
    let (before, behind) = (code[..begin].trim_end(), code[end..].trim_start());
    let called = before.strip_suffix('(').is_some_and(|head| {
        let name = head.rsplit(|c: char| !is_word(c as u8)).next().unwrap_or_default();
        TAKES.contains(&name)
    });
    let repeated = before.ends_with(';') && behind.starts_with(']');
    let in_range = before.ends_with("..") || before.ends_with("..=") || behind.starts_with("..");
    let alone = before.strip_suffix('(').is_some_and(|head| !head.ends_with(|c: char| is_word(c as u8)));
    let asked = alone && behind.strip_prefix(')').is_some_and(|rest| rest.starts_with(".min("));
    if value >= COUNTED && (called || repeated || in_range || asked) {
        return true;
    }
    let is_operator = |operators: &[&str]| operators.iter().any(|operator| before.ends_with(operator));
    // `=>`, `->`, shifts and generics are none of these.
    let compared =
        is_operator(&["> ", ">", ">=", "<", "<=", "+", "-"]) && !is_operator(&["=>", "->", "<<", ">>"]);
    value >= COMPARED && compared
}

/// Bounds without a name in one file of `src`.
fn inline(source: &Source, used: &mut [bool]) -> Vec<String> {
    if source.place.starts_with("src/limits") || source.place.contains("/tests") {
        return Vec::new();
    }
    let code = without_tests(&source.code);
    let mut complaints = Vec::new();
    let mut line_at = 0;
    for line in code.split_inclusive('\n') {
        let at = line_at;
        line_at += line.len();
        // Constants have a rule of their own.
        if words(line, "const").next().is_some() {
            continue;
        }
        let mut seen = 0;
        for (_, begin, end) in numbers(line) {
            if begin < seen {
                continue;
            }
            let (value, begin, end) = product(line, begin, end);
            seen = end;
            if !is_bound(line, value, begin, end) {
                continue;
            }
            match entry(&source.place, value) {
                Some(entry) => used[entry] = true,
                None => complaints.push(source.complaint(
                    at,
                    &format!("{value} is a bound: name it in src/limits, with its reason; what is none, in tests/tidy/inline.rs"),
                )),
            }
        }
    }
    complaints
}

pub fn assert_bounds_have_names(sources: &[Source]) {
    let mut used = vec![false; MAY.len()];
    let complaints: Vec<_> = sources.iter().flat_map(|source| inline(source, &mut used)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    let stale: Vec<_> = MAY.iter().zip(used).filter(|(_, used)| !used).map(|(entry, _)| entry).collect();
    assert!(stale.is_empty(), "nothing of this is there any more: {stale:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_without_a_name_are_noticed() {
        let count =
            |place: &str, text: &str| inline(&Source::new(place, text), &mut vec![false; MAY.len()]).len();
        for text in [
            "text.chars().take(200)",
            "Vec::with_capacity(2048 + more)",
            "let buffer = [0; 4096];",
            "let buffer = [0u8; 64];",
            "integer(value, 1..=10_000, usual)",
            "bytes(value, least..=1 << 50, usual)",
            "(64 * 1024..=most).contains(&size)",
            "((64 * 1024).min(end - at)) as usize",
            "end.min(65_536)",
            "if self.open.capacity() > 1024 {}",
            "2 * names.len() + 1024",
            "limits::REPLIES - 1000",
            "(1..=64).contains(&label.len())",
        ] {
            assert_eq!(count("src/a.rs", text), 1, "{text}");
            assert_eq!(count("src/limits/a.rs", text), 0, "{text}");
        }
        for text in [
            "take(limits::A)",
            "text.take(3)",
            "[0; 32]",
            "core[34..38]",
            "let a = 4096;",
            "1000 => 5,",
            "fn f() -> u64 { 86_400 }",
            "value << 32",
            "reply.code >= 400",
            "a.mistake(200)",
            "const A: [u8; 4096] = B;",
            "#[cfg(test)] mod tests { fn f() { g.take(200) } }",
            "\"take(200)\"",
            "a == 0x10000 + b",
            "size.next_multiple_of(1 << 20).min(most)",
            "(now / 1000).min(NEVER)",
        ] {
            assert_eq!(count("src/a.rs", text), 0, "{text}");
        }
    }
}
