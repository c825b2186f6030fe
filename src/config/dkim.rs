//! `[dkim]` and `[[dkim.key]]`: how mail is signed, and which key of a domain signs when.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::literal::{Fix, Wrong, kind, path, quoted, span, text, word};
use crate::config::section::Section;
use crate::limits;
use crate::mail::address::{self, international};
use crate::mail::dkim::Canonicalization;
use crate::time::{Civil, UnixMillis};

/// `[dkim]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimConfig {
    /// `keys`: the directory with a file `DOMAIN/SELECTOR.pem` for each key; None: nothing is signed.
    pub keys: Option<PathBuf>,
    /// `relay_domain`: who signs all mail beside its own domain, in lower case.
    pub relay_domain: Option<Box<str>>,
    /// `canonicalization`, its first half.
    pub header: Canonicalization,
    /// Its second half.
    pub body: Canonicalization,
    /// `lifetime`: how long a signature holds; None: it has no end.
    pub lifetime: Option<Duration>,
    /// `eight_bit`
    pub eight_bit: EightBit,
    /// `[[dkim.key]]`
    pub named: Vec<NamedKey>,
}

/// `eight_bit`: what becomes of text beyond ASCII in mail that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EightBit {
    /// It is encoded before the message is signed: no hop has to, and break the signature.
    Encode,
    /// It is signed as it is.
    Keep,
}

/// `[[dkim.key]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// Whose it is, in lower case.
    pub domain: Box<str>,
    /// The name of its file, and of its record, in lower case.
    pub selector: Box<str>,
    /// It signs from then on.
    pub from: UnixMillis,
    /// And no more from then on.
    pub until: UnixMillis,
}

/// Without a time, from ever and for ever.
const ALWAYS: (UnixMillis, UnixMillis) = (UnixMillis(0), UnixMillis(u64::MAX));

impl Default for DkimConfig {
    fn default() -> DkimConfig {
        DkimConfig {
            keys: None,
            relay_domain: None,
            header: Canonicalization::Relaxed,
            body: Canonicalization::Relaxed,
            lifetime: None,
            eight_bit: EightBit::Encode,
            named: Vec::new(),
        }
    }
}

pub(super) fn read(section: &Section<'_>) -> DkimConfig {
    let keys = section.read("keys", None, |value| path(value, "/etc/relevo/dkim"));
    let relay_domain = section.read("relay_domain", None, |value| match value.as_str() {
        Some("") => Ok(None),
        _ => domain(value, "relay.example.net").map(Some),
    });
    let forms = (Canonicalization::Relaxed, Canonicalization::Relaxed);
    let (header, body) = section.read("canonicalization", forms, canonicalization);
    let lifetime = section.read("lifetime", None, |value| match value.as_str() {
        Some("") => Ok(None),
        _ => lifetime(value).map(Some),
    });
    let eight_bit = section.read("eight_bit", EightBit::Encode, |value| {
        word(value, [("encode", EightBit::Encode), ("keep", EightBit::Keep)])
    });
    let named = named(section);
    if keys.is_none() && (relay_domain.is_some() || !named.is_empty()) {
        let beside = if relay_domain.is_some() { "relay_domain" } else { "key" };
        let fix = Fix::Write(quoted("/etc/relevo/dkim"), ", the directory of the keys".to_owned());
        section.fail("keys", beside, "nothing is signed without keys", fix);
    }
    section.finish();
    DkimConfig { keys, relay_domain, header, body, lifetime, eight_bit, named }
}

fn canonicalization(value: &DeValue<'_>) -> Result<(Canonicalization, Canonicalization), Wrong> {
    use Canonicalization::{Relaxed, Simple};
    let words = [
        ("relaxed/relaxed", (Relaxed, Relaxed)),
        ("relaxed/simple", (Relaxed, Simple)),
        ("simple/relaxed", (Simple, Relaxed)),
        ("simple/simple", (Simple, Simple)),
    ];
    // RFC 6376 3.5: one word is that of the header, and then the body is simple.
    match text(value, words[0].0)? {
        "relaxed" => Ok((Relaxed, Simple)),
        "simple" => Ok((Simple, Simple)),
        _ => word(value, words),
    }
}

fn lifetime(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    span(value, limits::DKIM_LIFETIME_MIN..=limits::CONFIG_TIME_MAX, limits::DKIM_LIFETIME_USUAL)
}

/// A domain that can sign, in lower case.
fn domain(value: &DeValue<'_>, usual: &str) -> Result<Box<str>, Wrong> {
    let written = text(value, usual)?;
    let named = |name: &str| international::domain_of(name).filter(|domain| !address::is_numeric(domain));
    if let Some(domain) = named(written) {
        return Ok(domain.into());
    }
    let meant = named(written.trim().trim_start_matches('@').trim_end_matches('.'));
    let instead = quoted(meant.as_deref().unwrap_or(usual));
    Err(Wrong::write(format!("{} is no domain", quoted(written)), instead, ""))
}

fn selector(value: &DeValue<'_>, usual: &str) -> Result<Box<str>, Wrong> {
    let written = text(value, usual)?;
    let selector = written.strip_suffix(".pem").unwrap_or(written).to_ascii_lowercase();
    let wrong = |problem: String, instead: &str| Wrong::write(problem, quoted(instead), "");
    if !address::is_domain(selector.as_bytes()) {
        let problem =
            format!("{} is no selector: letters, digits, hyphens, with dots between", quoted(written));
        return Err(wrong(problem, usual));
    }
    if selector.len() != written.len() {
        return Err(wrong(format!("{} is a file, not a selector", quoted(written)), &selector));
    }
    Ok(selector.into())
}

fn named(section: &Section<'_>) -> Vec<NamedKey> {
    let sections = section.sections("key");
    if let Some(first) = sections.get(limits::DKIM_NAMED_MAX) {
        let problem = format!("there are more than {} keys", limits::DKIM_NAMED_MAX);
        let fix = "leave out those of domains whose newest key is to sign: that one does anyway";
        first.fail("domain", "", &problem, Fix::Do(fix.to_owned()));
    }
    let (mut all, mut known) = (Vec::new(), HashSet::new());
    for section in sections.iter().take(limits::DKIM_NAMED_MAX) {
        let domain = section.read("domain", None, |value| domain(value, "example.com").map(Some));
        let selector = section.read("selector", None, |value| selector(value, "r20261201").map(Some));
        let from = section.read("from", ALWAYS.0, |value| point(value, "2026-12-01"));
        let until = section.read("until", ALWAYS.1, |value| point(value, "2027-03-01"));
        for (key, usual) in [("domain", "example.com"), ("selector", "r20261201")] {
            if section.lacks(key) {
                section.fail(key, "", "this key is missing", Fix::Write(quoted(usual), String::new()));
            }
        }
        if until <= from {
            let fix = Fix::Do("write a later one, or leave it out: then the key has no end".to_owned());
            section.fail("until", "", "this is not later than from: the key would never sign", fix);
        }
        section.finish();
        let (Some(domain), Some(selector)) = (domain, selector) else { continue };
        if !known.insert((domain.clone(), selector.clone())) {
            let fix = Fix::Do("remove one of the two".to_owned());
            section.fail("selector", "", "this key of the domain is there already", fix);
        }
        all.push(NamedKey { domain, selector, from, until });
    }
    all
}

/// A date or a time of TOML, or the same as a text; of a date its midnight, in UTC.
fn point(value: &DeValue<'_>, usual: &str) -> Result<UnixMillis, Wrong> {
    let written = match value {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(text) => text.to_string(),
        other => return Err(Wrong::write(format!("this is {}, not a date", kind(other)), usual, "")),
    };
    if let Some(point) = Civil::time_named(&written) {
        return Ok(point);
    }
    let meant = written.get(..10).filter(|day| Civil::day_named(day).is_some()).unwrap_or(usual);
    let (problem, more) =
        (format!("{} is no date", quoted(&written)), format!(", or a time in UTC: {meant}T09:00:00Z"));
    Err(Wrong::write(problem, meant, &more))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn dkim(text: &str) -> Result<DkimConfig, String> {
        let config = Config::parse(text, Path::new("relevo.toml"));
        config.map(|config| config.dkim).map_err(|errors| errors[0].to_string())
    }

    #[test]
    fn signing_is_read() {
        assert_eq!(dkim(""), Ok(DkimConfig::default()));
        assert_eq!(
            dkim("[dkim]\nkeys = \"\"\nrelay_domain = \"\"\nlifetime = \"\"\n"),
            Ok(DkimConfig::default())
        );
        let text = "[dkim]\nkeys = \"/keys\"\nrelay_domain = \"Relay.Example.net\"\ncanonicalization = \"relaxed/simple\"\n\
                    lifetime = \"7d\"\neight_bit = \"keep\"\n\
                    [[dkim.key]]\ndomain = \"Example.com\"\nselector = \"R1\"\n\
                    [[dkim.key]]\ndomain = \"example.com\"\nselector = \"r2\"\nfrom = 2026-12-01\nuntil = \"2026-12-02T12:00:00Z\"\n";
        let day = 20_788 * 86_400_000;
        let key = |selector: &str, from, until| NamedKey {
            domain: "example.com".into(),
            selector: selector.into(),
            from: UnixMillis(from),
            until: UnixMillis(until),
        };
        assert_eq!(
            dkim(text),
            Ok(DkimConfig {
                keys: Some("/keys".into()),
                relay_domain: Some("relay.example.net".into()),
                header: Canonicalization::Relaxed,
                body: Canonicalization::Simple,
                lifetime: Some(limits::DKIM_LIFETIME_USUAL),
                eight_bit: EightBit::Keep,
                named: vec![key("r1", 0, u64::MAX), key("r2", day, day + 86_400_000 * 3 / 2)],
            })
        );
        for (word, body) in
            [("relaxed", Canonicalization::Simple), ("relaxed/relaxed", Canonicalization::Relaxed)]
        {
            let read = dkim(&format!("[dkim]\ncanonicalization = \"{word}\"\n")).expect(word);
            assert_eq!((read.header, read.body), (Canonicalization::Relaxed, body), "RFC 6376 3.5");
        }
    }

    #[test]
    fn what_is_wrong_with_it_is_told() {
        let key = |more: &str| format!("keys = \"/keys\"\n[[dkim.key]]\n{more}");
        let named = "domain = \"example.com\"\nselector = \"r1\"\n";
        for (text, wanted) in [
            ("key = \"/keys\"".to_owned(), "write each as [[dkim.key]] with its keys below"),
            (
                "relay_domain = \"example.net\"".to_owned(),
                "nothing is signed without keys; add keys = \"/etc/relevo/dkim\"",
            ),
            ("keys = 7".to_owned(), "write keys = \"/etc/relevo/dkim\""),
            ("keyss = \"/keys\"".to_owned(), "did you mean keys = \"/keys\"?"),
            (
                "keys = \"/k\"\nrelay_domain = \"@Example.net.\"".to_owned(),
                "write relay_domain = \"example.net\"",
            ),
            ("keys = \"/k\"\nrelay_domain = \"192.0.2.1\"".to_owned(), "\"192.0.2.1\" is no domain"),
            (
                "canonicalization = \"relaxd/relaxed\"".to_owned(),
                "write canonicalization = \"relaxed/relaxed\"",
            ),
            ("lifetime = \"10s\"".to_owned(), "\"10s\" is too short; write lifetime = "),
            ("eight_bit = \"encod\"".to_owned(), "write eight_bit = \"encode\", or \"keep\""),
            (key("selector = \"r1\"\n"), "add domain = \"example.com\""),
            (key("domain = \"example.com\"\n"), "add selector = \"r20261201\""),
            (key(&format!("{named}fron = 2026-12-01\n")), "did you mean from = 2026-12-01?"),
            (key("domain = \"example.com\"\nselector = \"r1.pem\"\n"), "write selector = \"r1\""),
            (key("domain = \"example.com\"\nselector = \"r 1\"\n"), "is no selector"),
            (key(&format!("{named}from = 2026-02-30\n")), "date"),
            (key(&format!("{named}from = \"soon\"\n")), "write from = 2026-12-01, or a time in UTC"),
            (
                key(&format!("{named}from = 2026-12-05T09:00:00+02:00\n")),
                "write from = 2026-12-05, or a time in UTC: 2026-12-05T09:00:00Z",
            ),
            (key(&format!("{named}from = 2026-12-05\nuntil = 2026-12-05\n")), "the key would never sign"),
            (key(&format!("{named}[[dkim.key]]\n{named}")), "this key of the domain is there already"),
            (key(&format!("{named}colour = 1\n")), "known here: domain, from, selector, until"),
        ] {
            let error = dkim(&format!("[dkim]\n{text}\n")).expect_err(&text);
            assert!(error.starts_with("relevo.toml:") && error.contains(wanted), "{text}: {error}");
        }
    }
}
