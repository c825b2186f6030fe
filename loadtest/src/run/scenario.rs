//! The file of a scenario: what mail is sent, what the internet behind the relay is like, when the relay is killed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::receiver::{DOMAINS_MAX, SiteFile};
pub use super::receiver::{DomainNames, Names, SiteSpec};
use crate::attack;
use crate::send::{Slow, Tls, Until};
use crate::unfit::Unfit;
use crate::units::{self, Plan};
use crate::{Domains, Recipients, Sizes};

/// The scenarios that come with the program, by name.
pub const SHIPPED: [(&str, &str); 14] = [
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
    ("isp", include_str!("../../scenarios/isp.toml")),
    ("attack-clients", include_str!("../../scenarios/attack-clients.toml")),
    ("attack-names", include_str!("../../scenarios/attack-names.toml")),
    ("attack-hops", include_str!("../../scenarios/attack-hops.toml")),
];

/// Sites of a scenario; one more receives the bounces.
const SITES_MAX: usize = 500;
/// Attacks of a scenario.
const ATTACKS_MAX: usize = 20;
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
    /// What is asked of a relay whose receivers take only so much.
    pub throttling: Option<Throttling>,
    /// A shaping file for the relay; empty: none.
    pub shaping: String,
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

/// What is asked of a relay whose receivers take only so much.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttling {
    /// The least share of what limited receivers would have taken in time that they were given in time.
    pub taken: f64,
    /// The largest share of attempts that was deferred because too many came in a time.
    pub deferred: f64,
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
    shaping: String,
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
    throttling: Option<Throttling>,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
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
pub(super) fn at<T>(key: &str, result: Result<T, Unfit>) -> Result<T, Unfit> {
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
        for file in self.sites {
            for site in file.check()? {
                if sites.iter().any(|other| other.name == site.name) {
                    return Err(Unfit::new(format!("site {0}: there are two of that name", site.name)));
                }
                domains += site.domains.count();
                sites.push(site);
            }
        }
        if sites.len() > SITES_MAX {
            return Err(Unfit::new(format!(
                "site: at most {SITES_MAX} of them, each `count` of one counted"
            )));
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
            throttling: self.end.throttling,
            shaping: self.shaping,
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
