//! The file of a scenario: what mail is sent, what the internet behind the relay is like, when the relay is killed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::attack;
use crate::send::{Slow, Tls, Until};
use crate::unfit::Unfit;
use crate::units::{self, Plan};
use crate::{Behaviour, Domains, Recipients, Sizes};

/// The scenarios that come with the program, by name.
pub const SHIPPED: [(&str, &str); 13] = [
    ("steady", include_str!("../../scenarios/steady.toml")),
    ("burst", include_str!("../../scenarios/burst.toml")),
    ("bulk", include_str!("../../scenarios/bulk.toml")),
    ("hot-domain", include_str!("../../scenarios/hot-domain.toml")),
    ("tempfail-storm", include_str!("../../scenarios/tempfail-storm.toml")),
    ("slow-internet", include_str!("../../scenarios/slow-internet.toml")),
    ("dead-domains", include_str!("../../scenarios/dead-domains.toml")),
    ("million-queued", include_str!("../../scenarios/million-queued.toml")),
    ("crash-loop", include_str!("../../scenarios/crash-loop.toml")),
    ("tls", include_str!("../../scenarios/tls.toml")),
    ("attack-clients", include_str!("../../scenarios/attack-clients.toml")),
    ("attack-names", include_str!("../../scenarios/attack-names.toml")),
    ("attack-hops", include_str!("../../scenarios/attack-hops.toml")),
];

/// Sites of a scenario; one more receives the bounces.
const SITES_MAX: usize = 60;
/// Hosts of a site.
const HOSTS_MAX: u32 = 20;
/// Attacks of a scenario.
const ATTACKS_MAX: usize = 20;
/// Domains of all sites.
const DOMAINS_MAX: usize = 1_000_000;

/// What is wrong with a scenario, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError(pub String);

impl fmt::Display for ScenarioError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for ScenarioError {}

/// A scenario, checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, a sentence or two.
    pub about: String,
    /// The mail.
    pub load: Load,
    /// The receiving internet.
    pub sites: Vec<SiteSpec>,
    /// More lines for the name server.
    pub zone: String,
    /// When the relay is killed.
    pub kills: Kills,
    /// Hostile clients.
    pub attacks: Vec<attack::Spec>,
    /// How long deliveries may take after the last message was sent.
    pub patience: Duration,
    /// Whether whatever the sites refuse for good is to be told to its sender.
    pub bounces: bool,
    /// Settings of the relay, laid over those the run makes.
    pub relay: toml::Table,
}

/// The mail of a scenario.
#[derive(Clone, Debug)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// Threads of the sender, and as many of the sink.
    pub threads: usize,
    /// Open loop; None is a closed one.
    pub rate: Option<Plan>,
    /// When to stop.
    pub until: Until,
    /// Sending before anything is measured.
    pub warmup: Duration,
    /// Of messages.
    pub sizes: Sizes,
    /// Of each message.
    pub recipients: Recipients,
    /// As the sender's settings.
    pub pipelining: bool,
    /// See there.
    pub chunking: bool,
    /// See there.
    pub per_connection: Option<u64>,
    /// See there.
    pub tls: Tls,
    /// See there.
    pub slow: Option<Slow>,
    /// See there.
    pub messages: Option<PathBuf>,
}

/// What the names of a site lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// Its hosts.
    #[default]
    Ok,
    /// "No such name".
    Nxdomain,
    /// "The server failed".
    Servfail,
    /// No answer.
    Silent,
    /// A null MX (RFC 7505).
    Nullmx,
    /// No MX, but the address of the first host: each name is a destination of its own, at one address.
    Address,
    /// Hosts where nothing listens.
    Closed,
    /// Answers that only fit over TCP.
    Truncated,
}

/// One receiver.
#[derive(Clone, Debug)]
pub struct SiteSpec {
    /// Its name; hosts are named after it.
    pub name: String,
    /// Its share of the recipients.
    pub share: f64,
    /// Its domains.
    pub domains: DomainNames,
    /// MX hosts.
    pub hosts: u32,
    /// What its names lead to.
    pub names: Names,
    /// How it behaves at first.
    pub behaviour: Behaviour,
    /// And from some moments of the run on.
    pub later: Vec<(Duration, Behaviour)>,
}

/// The domains of a site.
#[derive(Clone, Debug, PartialEq)]
pub enum DomainNames {
    /// These, equally often.
    Listed(Vec<String>),
    /// `d0.SITE.example` and so on, so many, the k-th 1/k^exponent as often as the first.
    Many(usize, f64),
}

/// When the relay is killed with SIGKILL, and started again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kills {
    /// After the start of the load, each time.
    pub at: Vec<Duration>,
    /// How long it stays dead.
    pub pause: Duration,
}

impl Kills {
    /// Every so often, so many times.
    pub fn every(time: Duration, count: u32) -> Kills {
        Kills { at: (1..=count).map(|nth| time * nth).collect(), pause: Duration::ZERO }
    }
}

/// As written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    about: String,
    load: LoadFile,
    #[serde(default, rename = "site")]
    sites: Vec<SiteFile>,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    kill: KillFile,
    #[serde(default, rename = "attack")]
    attacks: Vec<AttackFile>,
    #[serde(default)]
    end: EndFile,
    #[serde(default)]
    relay: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadFile {
    connections: usize,
    #[serde(default = "one")]
    threads: usize,
    rate: Option<String>,
    count: Option<u64>,
    time: Option<String>,
    #[serde(default)]
    warmup: Option<String>,
    size: Option<String>,
    recipients: Option<String>,
    #[serde(default = "yes")]
    pipelining: bool,
    #[serde(default)]
    bdat: bool,
    per_connection: Option<u64>,
    #[serde(default)]
    tls: TlsFile,
    slow: Option<String>,
    messages: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TlsFile {
    #[default]
    Off,
    Starttls,
    Implicit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteFile {
    name: String,
    share: f64,
    #[serde(default)]
    domains: Vec<String>,
    many: Option<usize>,
    #[serde(default = "zipf")]
    exponent: f64,
    #[serde(default = "one_host")]
    hosts: u32,
    #[serde(default)]
    names: Names,
    #[serde(default)]
    behaviour: String,
    #[serde(default)]
    later: Vec<LaterFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaterFile {
    after: String,
    behaviour: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KillFile {
    every: Option<String>,
    times: Option<u32>,
    #[serde(default)]
    at: Vec<String>,
    pause: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttackFile {
    kind: String,
    connections: usize,
    sources: Option<usize>,
    after: Option<String>,
    time: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndFile {
    patience: Option<String>,
    #[serde(default)]
    bounces: bool,
}

fn one() -> usize {
    1
}

fn one_host() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn zipf() -> f64 {
    1.0
}

impl Scenario {
    /// One that comes with the program.
    pub fn shipped(name: &str) -> Option<Result<Scenario, ScenarioError>> {
        SHIPPED.iter().find(|(other, _)| *other == name).map(|(_, text)| Scenario::parse(text))
    }

    /// Reads the text of a file. The error says which key, and for mistakes of form which line.
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let file: File =
            toml::from_str(text).map_err(|error| ScenarioError(error.to_string().trim_end().to_owned()))?;
        file.check().map_err(|error| ScenarioError(error.to_string()))
    }

    /// The same with so many times the mail.
    pub fn scaled(mut self, factor: f64) -> Scenario {
        self.load.until = match self.load.until {
            Until::Count(count) => Until::Count(((count as f64 * factor) as u64).max(1)),
            Until::Time(time) => Until::Time(time.mul_f64(factor)),
            Until::Stopped => Until::Stopped,
        };
        self
    }

    /// Where recipients are: the domains of all sites, by their shares.
    pub fn domains(&self) -> Result<Domains, ScenarioError> {
        let mut list = Vec::new();
        for site in &self.sites {
            match &site.domains {
                DomainNames::Listed(names) => {
                    list.extend(names.iter().map(|name| (name.clone(), site.share / names.len() as f64)));
                }
                DomainNames::Many(count, exponent) => {
                    let weight = |k: usize| ((k + 1) as f64).powf(-exponent);
                    let sum: f64 = (0..*count).map(weight).sum();
                    let name = |k: usize| format!("d{k}.{}.example", site.name);
                    list.extend((0..*count).map(|k| (name(k), site.share * weight(k) / sum)));
                }
            }
        }
        Domains::shares(&list)
            .ok_or_else(|| ScenarioError("site: no share is positive, or a domain is none".to_owned()))
    }
}

/// Prefixes an error with the key it is about.
fn at<T>(key: &str, result: Result<T, Unfit>) -> Result<T, Unfit> {
    result.map_err(|error| error.at(key))
}

fn optional<T: std::str::FromStr<Err = Unfit>>(key: &str, text: Option<String>) -> Result<Option<T>, Unfit> {
    text.map(|text| at(key, text.parse())).transpose()
}

fn time(key: &str, text: Option<String>) -> Result<Option<Duration>, Unfit> {
    text.map(|text| at(key, units::time(&text))).transpose()
}

impl File {
    fn check(self) -> Result<Scenario, Unfit> {
        if self.sites.is_empty() || self.sites.len() > SITES_MAX {
            return Err(Unfit::new(format!("site: a scenario has 1 to {SITES_MAX} of them")));
        }
        let mut sites: Vec<SiteSpec> = Vec::new();
        let mut domains = 0;
        for site in self.sites {
            let site = site.check()?;
            if sites.iter().any(|other| other.name == site.name) {
                return Err(Unfit::new(format!("site {0}: there are two of that name", site.name)));
            }
            domains += match &site.domains {
                DomainNames::Listed(names) => names.len(),
                DomainNames::Many(count, _) => *count,
            };
            sites.push(site);
        }
        if self.attacks.len() > ATTACKS_MAX {
            return Err(Unfit::new(format!("attack: at most {ATTACKS_MAX} of them")));
        }
        if domains > DOMAINS_MAX {
            return Err(Unfit::new(format!("site: at most {DOMAINS_MAX} domains in all")));
        }
        let mut attacks = self.attacks.into_iter().map(AttackFile::check).collect::<Result<Vec<_>, _>>()?;
        attacks.sort_by_key(|attack| attack.after);
        let scenario = Scenario {
            name: self.name,
            about: self.about.trim().to_owned(),
            load: self.load.check()?,
            sites,
            zone: self.zone,
            kills: self.kill.check()?,
            attacks,
            patience: time("end.patience", self.end.patience)?.unwrap_or(Duration::from_secs(60)),
            bounces: self.end.bounces,
            relay: self.relay,
        };
        scenario.domains().map_err(|error| Unfit::new(error.0))?;
        crate::dns::Zone::parse(&scenario.zone).map_err(|error| Unfit::new(error.to_string()).at("zone"))?;
        Ok(scenario)
    }
}

impl LoadFile {
    fn check(self) -> Result<Load, Unfit> {
        let until = match (self.count, time("load.time", self.time)?) {
            (Some(count), None) if count > 0 => Until::Count(count),
            (None, Some(time)) if !time.is_zero() => Until::Time(time),
            _ => return Err(Unfit::new("load: give either `count` or `time`")),
        };
        if !(1..=100_000).contains(&self.connections) || !(1..=64).contains(&self.threads) {
            return Err(Unfit::new("load: 1 to 100000 connections, 1 to 64 threads"));
        }
        Ok(Load {
            connections: self.connections,
            threads: self.threads,
            rate: optional("load.rate", self.rate)?,
            until,
            warmup: time("load.warmup", self.warmup)?.unwrap_or(Duration::ZERO),
            sizes: optional("load.size", self.size)?.unwrap_or(Sizes::Mix),
            recipients: optional("load.recipients", self.recipients)?.unwrap_or(Recipients::between(1, 1)),
            pipelining: self.pipelining,
            chunking: self.bdat,
            per_connection: self.per_connection,
            tls: match self.tls {
                TlsFile::Off => Tls::Off,
                TlsFile::Starttls => Tls::StartTls,
                TlsFile::Implicit => Tls::Implicit,
            },
            slow: optional("load.slow", self.slow)?,
            messages: self.messages,
        })
    }
}

impl SiteFile {
    fn check(self) -> Result<SiteSpec, Unfit> {
        let key = format!("site {}", self.name);
        let label = |name: &str| {
            let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=40).contains(&name.len()) && name.bytes().all(sound)
        };
        if !label(&self.name) || self.name == "return" {
            return Err(Unfit::new(format!(
                "{key}: a name is small letters, digits and `-`, and not `return`"
            )));
        }
        if !self.share.is_finite() || self.share < 0.0 || !(0.0..=10.0).contains(&self.exponent) {
            return Err(Unfit::new(format!(
                "{key}: share and exponent are numbers from 0 on, the exponent up to 10"
            )));
        }
        if !(1..=HOSTS_MAX).contains(&self.hosts) {
            return Err(Unfit::new(format!("{key}: 1 to {HOSTS_MAX} hosts")));
        }
        let domains = match (self.many, self.domains.is_empty()) {
            (None, false) => {
                let lower = self.domains.iter().map(|name| name.to_ascii_lowercase()).collect();
                DomainNames::Listed(lower)
            }
            (Some(count), true) if (1..=DOMAINS_MAX).contains(&count) => {
                DomainNames::Many(count, self.exponent)
            }
            _ => {
                return Err(Unfit::new(format!(
                    "{key}: give either `domains` or `many`, at most {DOMAINS_MAX}"
                )));
            }
        };
        let mut later = Vec::new();
        for change in self.later {
            later.push((
                at(&format!("{key}: later.after"), units::time(&change.after))?,
                at(&format!("{key}: later.behaviour"), change.behaviour.parse())?,
            ));
        }
        later.sort_by_key(|(after, _)| *after);
        Ok(SiteSpec {
            share: self.share,
            domains,
            hosts: self.hosts,
            names: self.names,
            behaviour: at(&format!("{key}: behaviour"), self.behaviour.parse())?,
            later,
            name: self.name,
        })
    }
}

impl AttackFile {
    fn check(self) -> Result<attack::Spec, Unfit> {
        let kind = at("attack.kind", self.kind.parse())?;
        let sources = self.sources.unwrap_or(self.connections.min(attack::SOURCES_MAX));
        if !(1..=attack::CONNECTIONS_MAX).contains(&self.connections)
            || !(1..=attack::SOURCES_MAX).contains(&sources)
        {
            return Err(Unfit::new(format!(
                "attack: 1 to {} connections, from 1 to {} addresses (sources)",
                attack::CONNECTIONS_MAX,
                attack::SOURCES_MAX
            )));
        }
        Ok(attack::Spec {
            kind,
            connections: self.connections,
            sources,
            after: time("attack.after", self.after)?.unwrap_or(Duration::ZERO),
            time: time("attack.time", self.time)?,
        })
    }
}

impl KillFile {
    fn check(self) -> Result<Kills, Unfit> {
        let mut kills = Kills::default();
        match (time("kill.every", self.every)?, self.times) {
            (Some(every), Some(times)) if !every.is_zero() && times <= 1000 => {
                kills = Kills::every(every, times)
            }
            (None, None) => {}
            _ => return Err(Unfit::new("kill: `every` and `times` (up to 1000) go together")),
        }
        for text in &self.at {
            kills.at.push(at("kill.at", units::time(text))?);
        }
        kills.at.sort_unstable();
        kills.pause = time("kill.pause", self.pause)?.unwrap_or(Duration::ZERO);
        Ok(kills)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shipped_ones_are_sound() {
        for (name, text) in SHIPPED {
            let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(scenario.name, name);
            assert!(scenario.about.len() > 40, "{name} says what it shows");
        }
        assert!(Scenario::shipped("nothing").is_none());
    }

    fn problem(text: &str) -> String {
        Scenario::parse(text).map(|_| String::new()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn mistakes_are_named() {
        const GOOD: &str = "name = 'x'\nabout = 'y'\n[load]\nconnections = 1\ncount = 5\n\
            [[site]]\nname = 'a'\nshare = 1\ndomains = ['a.example']\n";
        assert_eq!(problem(GOOD), "");
        let cases = [
            ("count = 5", "coumt = 5", "coumt"),
            ("count = 5", "", "`count` or `time`"),
            ("count = 5", "count = 5\nrate = 'fast'", "load.rate: `fast`"),
            ("count = 5", "count = 5\nsize = '1x'", "load.size: `1x`"),
            ("connections = 1", "connections = 0", "connections"),
            ("share = 1", "share = 0", "share"),
            ("share = 1", "share = 'much'", "line 8"),
            ("share = 1", "share = 1\nbehaviour = 'rcpt=9'", "site a: behaviour: `9`"),
            ("share = 1", "share = 1\nmany = 3", "either `domains` or `many`"),
            ("share = 1", "share = 1\nnames = 'gone'", "gone"),
            ("'a.example'", "'a b'", "domain"),
            ("name = 'a'", "name = 'return'", "return"),
            ("name = 'a'", "name = 'A B'", "small letters"),
        ];
        for (from, to, wanted) in cases {
            let found = problem(&GOOD.replace(from, to));
            assert!(found.contains(wanted), "{to}: {found}");
        }
        for (more, wanted) in [
            ("[kill]\nevery = '5s'\n", "go together"),
            ("[kill]\nat = ['x']\n", "kill.at"),
            ("[end]\npatience = '1 year'\n", "end.patience"),
            ("[[attack]]\nkind = 'flood'\nconnections = 1\n", "attack.kind: there is no attack `flood`"),
            ("[[attack]]\nkind = 'idle'\nconnections = 0\n", "1 to 20000 connections"),
            ("[nonsense]\n", "nonsense"),
        ] {
            assert!(problem(&format!("{GOOD}{more}")).contains(wanted), "{more}");
        }
        assert!(problem(&format!("zone = 'x y'\n{GOOD}")).contains("zone: line 1"));
    }
}
