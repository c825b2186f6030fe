//! Whether a domain lets an address send its mail (SPF, RFC 7208).

use std::fmt;
use std::net::IpAddr;

use crate::config::Network;
use crate::dns::{Answer, LookupError, QueryType};
use crate::limits;

/// Asks the DNS.
pub type Ask<'a> = dyn Fn(QueryType, &str) -> Result<Answer, LookupError> + 'a;

/// What came of it (RFC 7208 2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The domain says nothing.
    None,
    /// It says that it says nothing of this address.
    Neutral,
    /// It may.
    Pass,
    /// It may not.
    Fail,
    /// It hardly may.
    SoftFail,
    /// The DNS did not answer.
    Unknown(LookupError),
    /// The record is wrong.
    Broken(Flaw),
}

/// Why a record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A name has more than one.
    Several(String),
    /// This word of the record of a name is not understood.
    Word(String, String),
    /// It takes more look-ups than receivers make.
    ManyLookups,
    /// More of them than receivers bear lead to nothing.
    ManyVoid,
    /// A record that is included is not there.
    NoInclude(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Several(name) => write!(formatter, "{name} has more than one SPF record"),
            Flaw::Word(name, word) => write!(formatter, "{word:?} in the record of {name} is not understood"),
            Flaw::ManyLookups => {
                write!(formatter, "it takes more than {} look-ups (RFC 7208 4.6.4)", limits::SPF_LOOKUPS_MAX)
            }
            Flaw::ManyVoid => {
                write!(formatter, "more than {} of its look-ups lead to nothing", limits::SPF_VOID_MAX)
            }
            Flaw::NoInclude(name) => write!(formatter, "it includes {name}, which has no SPF record"),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What a receiver makes of it.
    pub verdict: Verdict,
    /// Look-ups that count, up to where it was decided.
    pub lookups: usize,
    /// Of them, those that led to nothing.
    pub void: usize,
}

/// What a receiver makes of mail from `postmaster@domain` that comes from this address.
pub fn judge(ask: &Ask<'_>, address: IpAddr, domain: &str) -> Outcome {
    let mut walk = Walk { ask, address: address.to_canonical(), sender: domain, lookups: 0, void: 0 };
    let verdict = walk.check(domain, 0).unwrap_or_else(|stop| match stop {
        Stop::Broken(flaw) => Verdict::Broken(flaw),
        Stop::Unknown(error) => Verdict::Unknown(error),
    });
    Outcome { verdict, lookups: walk.lookups, void: walk.void }
}

/// The SPF record of a name; an error: there is more than one, or nobody says.
pub fn record(ask: &Ask<'_>, name: &str) -> Result<Option<String>, Verdict> {
    let texts = match ask(QueryType::Txt, name) {
        Ok(Answer::Texts(texts)) => texts,
        Ok(_) => return Ok(None),
        Err(error) => return Err(Verdict::Unknown(error)),
    };
    let texts: Vec<String> = texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    let is_spf = |text: &&String| {
        let version = text.split(' ').next().unwrap_or_default();
        version.eq_ignore_ascii_case("v=spf1")
    };
    let mut records = texts.iter().filter(is_spf);
    match (records.next(), records.next()) {
        (_, Some(_)) => Err(Verdict::Broken(Flaw::Several(name.to_owned()))),
        (one, None) => Ok(one.cloned()),
    }
}

enum Stop {
    Broken(Flaw),
    Unknown(LookupError),
}

struct Walk<'a> {
    ask: &'a Ask<'a>,
    address: IpAddr,
    sender: &'a str,
    lookups: usize,
    void: usize,
}

impl Walk<'_> {
    /// RFC 7208 4: `check_host`.
    fn check(&mut self, domain: &str, depth: usize) -> Result<Verdict, Stop> {
        // Each level is a look-up that counts.
        if depth > limits::SPF_LOOKUPS_MAX {
            return Err(Stop::Broken(Flaw::ManyLookups));
        }
        let record = match record(self.ask, domain) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Verdict::None),
            Err(Verdict::Broken(flaw)) => return Err(Stop::Broken(flaw)),
            Err(Verdict::Unknown(error)) => return Err(Stop::Unknown(error)),
            Err(other) => return Ok(other),
        };
        let wrong = |word: &str| Stop::Broken(Flaw::Word(domain.to_owned(), word.to_owned()));
        let words: Vec<&str> = record.split(' ').skip(1).filter(|word| !word.is_empty()).collect();
        // RFC 7208 4.6: a wrong word anywhere spoils all.
        if let Some(word) = words.iter().find(|word| !is_term(word)) {
            return Err(wrong(word));
        }
        let mut redirect = None;
        for word in words {
            if let Some((name, value)) = modifier(word) {
                if name.eq_ignore_ascii_case("redirect") {
                    redirect = Some(value);
                }
                continue;
            }
            let (qualifier, mechanism) = match word.split_at(1) {
                ("+" | "-" | "~" | "?", rest) => (&word[..1], rest),
                _ => ("+", word),
            };
            if self.matches(mechanism, domain, depth).map_err(|stop| stop.unwrap_or_else(|| wrong(word)))? {
                return Ok(match qualifier {
                    "-" => Verdict::Fail,
                    "~" => Verdict::SoftFail,
                    "?" => Verdict::Neutral,
                    _ => Verdict::Pass,
                });
            }
        }
        let Some(redirect) = redirect else { return Ok(Verdict::Neutral) };
        let target = self.expand(redirect, domain).ok_or_else(|| wrong(redirect))?;
        self.count()?;
        match self.check(&target, depth + 1)? {
            Verdict::None => Err(Stop::Broken(Flaw::NoInclude(target))),
            verdict => Ok(verdict),
        }
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > limits::SPF_LOOKUPS_MAX { Err(Stop::Broken(Flaw::ManyLookups)) } else { Ok(()) }
    }

    fn look(&mut self, kind: QueryType, name: &str) -> Result<Answer, Stop> {
        let answer = (self.ask)(kind, name).map_err(Stop::Unknown)?;
        if matches!(answer, Answer::NoData | Answer::NoDomain) {
            self.void += 1;
            if self.void > limits::SPF_VOID_MAX {
                return Err(Stop::Broken(Flaw::ManyVoid));
            }
        }
        Ok(answer)
    }

    /// Whether the address is one of those that a mechanism means. None: it is not understood.
    fn matches(&mut self, mechanism: &str, domain: &str, depth: usize) -> Result<bool, Option<Stop>> {
        let end = mechanism.find([':', '/']).unwrap_or(mechanism.len());
        let (name, rest) = mechanism.split_at(end);
        let (argument, bits) = match (rest.strip_prefix(':'), rest.find('/')) {
            (Some(argument), None) => (Some(argument), ""),
            (Some(_), Some(slash)) => (Some(&rest[1..slash]), &rest[slash..]),
            (None, _) => (None, rest),
        };
        let target = match argument {
            Some(argument) => self.expand(argument, domain).ok_or(None::<Stop>)?,
            None => domain.to_owned(),
        };
        match name.to_ascii_lowercase().as_str() {
            "all" => Ok(true),
            "ip4" | "ip6" => Ok(loose(rest).ok_or(None::<Stop>)?.contains(self.address)),
            "include" => {
                self.count()?;
                match self.check(&target, depth + 1)? {
                    Verdict::Pass => Ok(true),
                    Verdict::None => Err(Some(Stop::Broken(Flaw::NoInclude(target)))),
                    _ => Ok(false),
                }
            }
            "a" => {
                self.count()?;
                self.is_address_of(&target, bits)
            }
            "mx" => {
                self.count()?;
                let Answer::Mx { hosts, .. } = self.look(QueryType::Mx, &target)? else { return Ok(false) };
                for (_, host) in hosts.iter().take(limits::SPF_LOOKUPS_MAX) {
                    if self.is_address_of(host, bits)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            "exists" => {
                self.count()?;
                Ok(matches!(self.look(QueryType::A, &target)?, Answer::Addresses(_)))
            }
            // RFC 7208 5.5 says not to use it; it counts, and what it would find is not looked for.
            "ptr" => {
                self.count()?;
                Ok(false)
            }
            _ => Err(None),
        }
    }

    fn is_address_of(&mut self, host: &str, bits: &str) -> Result<bool, Option<Stop>> {
        let kind = if self.address.is_ipv4() { QueryType::A } else { QueryType::Aaaa };
        let bits = prefix(bits, self.address).ok_or(None::<Stop>)?;
        let Answer::Addresses(all) = self.look(kind, host)? else { return Ok(false) };
        Ok(all.into_iter().any(|one| covers(one, bits, self.address)))
    }

    /// RFC 7208 7: a name with macros. None: it is not understood.
    fn expand(&self, text: &str, domain: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            out.push_str(before);
            rest = match behind.split_at_checked(1)? {
                ("%", rest) => {
                    out.push('%');
                    rest
                }
                ("_", rest) => {
                    out.push(' ');
                    rest
                }
                ("-", rest) => {
                    out.push_str("%20");
                    rest
                }
                ("{", rest) => {
                    let (inner, rest) = rest.split_once('}')?;
                    out.push_str(&self.macro_value(inner, domain)?);
                    rest
                }
                _ => return None,
            };
        }
        out.push_str(rest);
        // RFC 7208 7.3: what is too long loses labels on the left.
        let mut name = out.as_str();
        while name.len() > limits::DOMAIN_MAX {
            name = name.split_once('.')?.1;
        }
        Some(name.trim_end_matches('.').to_owned())
    }

    fn macro_value(&self, inner: &str, domain: &str) -> Option<String> {
        let (letter, rest) = inner.split_at_checked(1)?;
        let value = match letter.to_ascii_lowercase().as_str() {
            "s" => format!("postmaster@{}", self.sender),
            "l" => "postmaster".to_owned(),
            "o" | "h" => self.sender.to_owned(),
            "d" => domain.to_owned(),
            "p" => "unknown".to_owned(),
            "v" => if self.address.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            "i" => match self.address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => {
                    let nibbles = address
                        .octets()
                        .iter()
                        .flat_map(|byte| [byte >> 4, byte & 15])
                        .map(|four| format!("{four:x}"))
                        .collect::<Vec<_>>();
                    nibbles.join(".")
                }
            },
            _ => return None,
        };
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (count, rest) = rest.split_at(digits);
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(delimiters) => (true, delimiters),
            None => (false, rest),
        };
        if !delimiters.chars().all(|one| ".-+,/_=".contains(one)) {
            return None;
        }
        let delimiters = if delimiters.is_empty() { "." } else { delimiters };
        let mut parts: Vec<&str> = value.split(|letter: char| delimiters.contains(letter)).collect();
        if reverse {
            parts.reverse();
        }
        let kept = match count {
            "" => parts.len(),
            count => count.parse::<usize>().ok().filter(|count| *count > 0)?.min(parts.len()),
        };
        Some(parts[parts.len() - kept..].join("."))
    }
}

/// `redirect=…`, `exp=…` and others that nobody knows yet (RFC 7208 6).
fn modifier(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_name.then_some((name, value))
}

/// Whether a word has the form of a mechanism or a modifier.
fn is_term(word: &str) -> bool {
    if modifier(word).is_some() {
        return true;
    }
    let mechanism = word.strip_prefix(['+', '-', '~', '?']).unwrap_or(word);
    let end = mechanism.find([':', '/']).unwrap_or(mechanism.len());
    let (name, rest) = mechanism.split_at(end);
    let named = rest.len() > 1 && rest.starts_with(':');
    match name.to_ascii_lowercase().as_str() {
        "all" => rest.is_empty(),
        "include" | "exists" => named,
        "ip4" | "ip6" => loose(rest).is_some(),
        "a" | "mx" | "ptr" => rest.is_empty() || named || rest.starts_with('/'),
        _ => false,
    }
}

/// `:192.0.2.1/24`, also with bits behind the prefix.
fn loose(rest: &str) -> Option<Network> {
    let text = rest.strip_prefix(':')?;
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(widest), |bits| bits.parse().ok()).filter(|bits| *bits <= widest)?;
    Some(network(address, bits))
}

/// The prefix of an address.
fn network(address: IpAddr, bits: u8) -> Network {
    let address = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::from((address.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::from((address.to_bits() & mask).to_be_bytes())
        }
    };
    Network { address, bits }
}

/// `/24`, `//64` or `/24//64`: how many bits count of an address of this family.
fn prefix(bits: &str, address: IpAddr) -> Option<u8> {
    let (four, six) = match bits.split_once("//") {
        Some((four, six)) => (four, Some(six)),
        None => (bits, None),
    };
    let number = |text: &str, widest: u8| text.parse::<u8>().ok().filter(|bits| *bits <= widest);
    let four = if four.is_empty() { 32 } else { number(four.strip_prefix('/')?, 32)? };
    let six = six.map_or(Some(128), |six| number(six, 128))?;
    Some(if address.is_ipv4() { four } else { six })
}

fn covers(of: IpAddr, bits: u8, address: IpAddr) -> bool {
    of.is_ipv4() == address.is_ipv4() && network(of, bits).contains(address)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A DNS with these texts, addresses and MX hosts; all else is not there.
    fn judged(zone: &[(&str, &str)], address: &str) -> Outcome {
        let zone: HashMap<&str, &str> = zone.iter().copied().collect();
        let ask = |kind, name: &str| {
            let key = match kind {
                QueryType::Txt => format!("TXT {name}"),
                QueryType::Mx => format!("MX {name}"),
                _ => format!("A {name}"),
            };
            let Some(value) = zone.get(key.as_str()) else { return Ok(Answer::NoDomain) };
            Ok(match kind {
                QueryType::Txt => Answer::Texts(value.split('|').map(|text| text.into()).collect()),
                QueryType::Mx => Answer::Mx { hosts: vec![(10, value.to_string())], cut: false },
                _ => {
                    let all: Vec<IpAddr> = value.split(' ').map(|one| one.parse().unwrap()).collect();
                    let of = all.into_iter().filter(|one| one.is_ipv4() == (kind == QueryType::A));
                    Answer::Addresses(of.collect())
                }
            })
        };
        judge(&ask, address.parse().unwrap(), "d.example")
    }

    #[test]
    fn records_are_followed() {
        let zone = [
            (
                "TXT d.example",
                "other|v=spf1 ip4:192.0.2.0/24 a mx:mail.example include:p.example ?exists:%{ir}.%{v}.%{d2}.x.example ~all",
            ),
            ("A d.example", "198.51.100.7 2001:db8::7"),
            ("MX mail.example", "h.mail.example"),
            ("A h.mail.example", "203.0.113.9"),
            ("TXT p.example", "v=spf1 ip6:2001:db8:1::/48 redirect=q.example"),
            ("TXT q.example", "v=spf1 -ip4:100.64.0.1 ip4:100.64.0.0/10 -all"),
            ("A 1.2.0.10.in-addr.d.example.x.example", "127.0.0.2"),
        ];
        for (address, verdict, lookups) in [
            ("192.0.2.77", Verdict::Pass, 0),
            ("198.51.100.7", Verdict::Pass, 1),
            ("2001:db8::7", Verdict::Pass, 1),
            ("::ffff:198.51.100.7", Verdict::Pass, 1),
            ("203.0.113.9", Verdict::Pass, 2),
            ("2001:db8:1::5", Verdict::Pass, 3),
            ("100.64.0.2", Verdict::Pass, 4),
            ("100.64.0.1", Verdict::SoftFail, 5),
            ("10.0.2.1", Verdict::Neutral, 5),
            ("203.0.113.10", Verdict::SoftFail, 5),
        ] {
            let found = judged(&zone, address);
            assert_eq!((found.verdict, found.lookups), (verdict, lookups), "{address}");
        }
        assert_eq!(judged(&[], "192.0.2.1").verdict, Verdict::None);
        assert_eq!(judged(&[("TXT d.example", "v=spf1")], "192.0.2.1").verdict, Verdict::Neutral);
        assert_eq!(judged(&[("TXT d.example", "v=spf10 -all")], "192.0.2.1").verdict, Verdict::None);
    }

    #[test]
    fn what_is_broken_is_told() {
        let of = |record: &str| judged(&[("TXT d.example", record)], "192.0.2.1").verdict;
        let word = |word: &str| Verdict::Broken(Flaw::Word("d.example".to_owned(), word.to_owned()));
        for (record, bad) in [
            ("v=spf1 ip4:192.0.2.1 ipv4:192.0.2.2 -all", "ipv4:192.0.2.2"),
            ("v=spf1 ip4:192.0.2.300 -all", "ip4:192.0.2.300"),
            ("v=spf1 ip4:192.0.2.0/33", "ip4:192.0.2.0/33"),
            ("v=spf1 include: -all", "include:"),
            ("v=spf1 all:d.example", "all:d.example"),
            ("v=spf1 exists:%{x}.d.example", "exists:%{x}.d.example"),
            ("v=spf1 exists:%d", "exists:%d"),
        ] {
            assert_eq!(of(record), word(bad), "{record}");
        }
        assert_eq!(of("v=spf1 -all|v=spf1 ~all"), Verdict::Broken(Flaw::Several("d.example".to_owned())));
        let gone = Verdict::Broken(Flaw::NoInclude("x.example".to_owned()));
        assert_eq!(
            (of("v=spf1 include:x.example -all"), of("v=spf1 redirect=x.example")),
            (gone.clone(), gone)
        );
        assert_eq!(of("v=spf1 include:d.example -all"), Verdict::Broken(Flaw::ManyLookups), "a circle");
        assert_eq!(of("v=spf1 a:x mx:y exists:z -all"), Verdict::Broken(Flaw::ManyVoid));
        assert_eq!(of("v=spf1 a:x mx:y -all"), Verdict::Fail);
        let many = format!("v=spf1{} -all", " ptr".repeat(11));
        assert_eq!(of(&many), Verdict::Broken(Flaw::ManyLookups));
        assert_eq!(of("v=spf1 ip4:192.0.2.9/24 -all"), Verdict::Pass, "bits behind the prefix are no fault");
    }
}
