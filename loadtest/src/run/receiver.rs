//! The receivers of a scenario, as its file has them.

use std::time::Duration;

use serde::Deserialize;

use super::scenario::at;
use crate::Behaviour;
use crate::unfit::Unfit;
use crate::units;

/// Hosts of a site.
const HOSTS_MAX: u32 = 20;
/// Sites that one table of a file may stand for.
const COUNT_MAX: usize = 400;
/// Domains of all sites.
pub(super) const DOMAINS_MAX: usize = 1_000_000;

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
    /// The relay's shaping file names its limits, so that none is ever exceeded.
    pub named: bool,
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

impl DomainNames {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        match self {
            DomainNames::Listed(names) => names.len(),
            DomainNames::Many(count, _) => *count,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteFile {
    name: String,
    share: f64,
    count: Option<usize>,
    #[serde(default)]
    named: bool,
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

fn one_host() -> u32 {
    1
}

fn zipf() -> f64 {
    1.0
}

impl SiteFile {
    /// The sites that it stands for: `count` of them, numbered, with their part of its share each.
    pub(super) fn check(self) -> Result<Vec<SiteSpec>, Unfit> {
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
        let one = SiteSpec {
            share: self.share,
            named: self.named,
            domains,
            hosts: self.hosts,
            names: self.names,
            behaviour: at(&format!("{key}: behaviour"), self.behaviour.parse())?,
            later,
            name: self.name,
        };
        let Some(count) = self.count else { return Ok(vec![one]) };
        if !(1..=COUNT_MAX).contains(&count) || matches!(one.domains, DomainNames::Listed(_)) {
            return Err(Unfit::new(format!("{key}: 1 to {COUNT_MAX} alike, with `many` domains each")));
        }
        let numbered = |number: usize| SiteSpec {
            name: format!("{}{number}", one.name),
            share: one.share / count as f64,
            ..one.clone()
        };
        Ok((0..count).map(numbered).collect())
    }
}
