//! MTA-STS (RFC 8461): what a domain says of the hosts that take its mail, and how long that holds. Pure; control fetches (`control::sts`), and
//! shards obey (`shard::outbound::resolve`).

pub mod response;

use std::fmt;
use std::time::Duration;

use crate::limits;
use crate::mail::address;
use crate::time::UnixMillis;

/// What is to be done where a host does not fit (RFC 8461 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is given no mail.
    Enforce,
    /// It is given mail all the same.
    Testing,
    /// Nothing: the domain has no policy any more.
    None,
}

impl Mode {
    /// As a policy has it.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is to be done.
    pub mode: Mode,
    /// Names of hosts in lower case, and `*.` before what may have one more label.
    pub hosts: Vec<Box<str>>,
    /// How long it holds.
    pub max_age: Duration,
}

/// Why a text is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPolicy {
    /// It is no text.
    NotUtf8,
    /// A line has no colon.
    NoColon,
    /// It is of no version that is known.
    Version,
    /// It has no mode that is known.
    Mode,
    /// It does not say how long it holds.
    MaxAge,
    /// It names no host, or one that is none.
    Hosts,
    /// It names more than [`limits::STS_HOSTS_MAX`].
    ManyHosts,
}

impl fmt::Display for BadPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            BadPolicy::NotUtf8 => "the policy is no text",
            BadPolicy::NoColon => "a line of the policy has no colon",
            BadPolicy::Version => "the policy has no \"version: STSv1\"",
            BadPolicy::Mode => "the policy has no mode enforce, testing or none",
            BadPolicy::MaxAge => "the policy has no max_age in seconds",
            BadPolicy::Hosts => "the policy has no mx, or one that is no name of hosts",
            BadPolicy::ManyHosts => "the policy names too many hosts",
        })
    }
}

/// The id in the records of `_mta-sts.DOMAIN` (RFC 8461 section 3.1). None: the domain has no policy.
pub fn record_id(texts: &[Vec<u8>]) -> Option<Box<str>> {
    let mut of_version = texts.iter().filter(|text| is_of_version(text));
    let record = str::from_utf8(of_version.next()?).ok()?;
    // More than one is none.
    if of_version.next().is_some() {
        return None;
    }
    let mut id = None;
    for field in record.split(';').skip(1).map(|field| field.trim_matches([' ', '\t'])) {
        if field.is_empty() {
            continue;
        }
        let (name, value) = field.split_once('=')?;
        if name == "id" && id.is_none() {
            id = Some(value).filter(|value| is_id(value));
            id?;
        }
    }
    id.map(Box::from)
}

fn is_of_version(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"v=STSv1").unwrap_or_default();
    rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')) == Some(&b';')
}

/// Whether it can be the id of a policy.
pub fn is_id(text: &str) -> bool {
    (1..=limits::STS_ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Policy {
    /// Reads a policy (RFC 8461 section 3.2). Of a key that stands there twice the first counts, but for `mx`; unknown ones are ignored.
    pub fn parse(text: &[u8]) -> Result<Policy, BadPolicy> {
        let text = str::from_utf8(text).map_err(|_| BadPolicy::NotUtf8)?;
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut hosts: Vec<Box<str>> = Vec::new();
        for line in text.split('\n').map(|line| line.trim_matches([' ', '\t', '\r'])) {
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or(BadPolicy::NoColon)?;
            let value = value.trim_matches([' ', '\t']);
            match key.trim_end_matches([' ', '\t']) {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if hosts.len() >= limits::STS_HOSTS_MAX => return Err(BadPolicy::ManyHosts),
                "mx" => hosts.push(host(value).ok_or(BadPolicy::Hosts)?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(BadPolicy::Version);
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(BadPolicy::Mode),
        };
        let max_age = max_age.and_then(seconds).ok_or(BadPolicy::MaxAge)?.min(limits::STS_AGE_MAX);
        if hosts.is_empty() && mode != Mode::None {
            return Err(BadPolicy::Hosts);
        }
        Ok(Policy { mode, hosts, max_age })
    }

    /// Whether mail may go to a host of this name (RFC 8461 section 4.1): a wildcard stands for one label.
    pub fn names(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
            }
            None => **pattern == *host,
        })
    }
}

/// A host of a policy, in lower case.
fn host(text: &str) -> Option<Box<str>> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let name = text.strip_prefix("*.").unwrap_or(&text);
    (address::is_domain(name.as_bytes()) && !address::is_numeric(name)).then(|| text.into())
}

fn seconds(text: &str) -> Option<Duration> {
    let digits =
        (1..=limits::STS_AGE_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().map(Duration::from_secs).ok()).flatten()
}

/// A policy as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPolicy {
    /// What it says.
    pub policy: Policy,
    /// The id in the record by which it was fetched.
    pub id: Box<str>,
    /// When that was.
    pub fetched: UnixMillis,
}

/// What a file of a kept policy begins with.
const HEAD: &str = "relevo mta-sts 1";

impl KeptPolicy {
    /// Whether it still holds.
    pub fn holds(&self, now: UnixMillis) -> bool {
        now < self.fetched.after(self.policy.max_age)
    }

    /// Whether it is to be fetched again beside all else: it does not end while somebody sends there (RFC 8461 section 10.2).
    pub fn is_stale(&self, now: UnixMillis) -> bool {
        let half = self.policy.max_age / 2;
        now >= self.fetched.after(half.min(limits::STS_REFRESH))
    }

    /// As a file.
    pub fn write(&self) -> String {
        let KeptPolicy { policy: Policy { mode, hosts, max_age }, id, fetched } = self;
        let head = format!("{HEAD}\nid: {id}\nfetched: {}\n\n", fetched.0);
        let policy = format!("version: STSv1\nmode: {}\nmax_age: {}\n", mode.word(), max_age.as_secs());
        let hosts: String = hosts.iter().map(|host| format!("mx: {host}\n")).collect();
        head + &policy + &hosts
    }

    /// Reads one. None: it is none, or not whole.
    pub fn read(bytes: &[u8]) -> Option<KeptPolicy> {
        let text = str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let (head, policy) = text.split_once("\n\n")?;
        let mut lines = head.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let id = lines.next()?.strip_prefix("id: ").filter(|id| is_id(id))?;
        let fetched = lines.next()?.strip_prefix("fetched: ")?.parse().ok()?;
        let policy = Policy::parse(policy.as_bytes()).ok()?;
        Some(KeptPolicy { policy, id: id.into(), fetched: UnixMillis(fetched) })
    }
}

#[cfg(test)]
mod tests;
