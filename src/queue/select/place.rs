//! Where mail goes, and how filters name that.

use std::fmt;

use crate::limits;
use crate::mail::address::{self, international};
use crate::shaping::provider::{self, Match};

/// Where mail goes, as far as queues know.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its domain, in lower case.
    pub domain: &'a str,
    /// The site that the domain leads to, while that is known.
    pub site: Option<&'a str>,
}

impl Place<'_> {
    /// Whether it is a site of the provider that is known by these.
    pub fn is_of(&self, matches: &[Match]) -> bool {
        let Some(site) = self.site else { return false };
        let mut hosts: Vec<String> = hosts(site).map(provider::canonical).collect();
        hosts.sort_unstable();
        hosts.dedup();
        provider::is_of(matches, self.domain, &hosts)
    }
}

/// A name, or `*.` and a domain: all names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Whole(Box<str>),
    /// Those that end so; it begins with a dot.
    Below(Box<str>),
}

impl Pattern {
    /// `None`: it is no such text. A name in letters means its A-labels.
    pub fn parse(text: &str) -> Option<Pattern> {
        let text = text.trim();
        let (mark, name) = text.strip_prefix("*.").map_or(("", text), |name| ("*.", name));
        let text =
            format!("{mark}{}", international::of_name(name).unwrap_or(name.into())).to_ascii_lowercase();
        let plain =
            |name: &str| !name.is_empty() && name.len() <= limits::FILTER_TEXT_MAX && !name.contains('*');
        match text.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') && plain(&rest[1..]) => Some(Pattern::Below(rest.into())),
            None if plain(&text) => Some(Pattern::Whole(text.into())),
            _ => None,
        }
    }

    /// The same of what is a domain of an address, or would be without the dot of the root behind it: no mail has another.
    pub fn of_domain(text: &str) -> Option<Pattern> {
        let text = text.trim();
        let text = text.strip_suffix('.').unwrap_or(text);
        let (mark, name) = text.strip_prefix("*.").map_or(("", text), |name| ("*.", name));
        let pattern = Pattern::parse(&format!("{mark}{}", international::of_name(name)?))?;
        let name = match &pattern {
            Pattern::Whole(name) => name,
            Pattern::Below(end) => end.strip_prefix('.')?,
        };
        (address::is_domain(name.as_bytes()) || address::is_literal(name.as_bytes())).then_some(pattern)
    }

    /// Whether this name, in lower case, is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Pattern::Whole(whole) => **whole == *name,
            Pattern::Below(end) => name.len() > end.len() && name.ends_with(&**end),
        }
    }

    /// Whether this site is meant: by its whole name, or by one of the hosts in it. The names are those that `route` makes: of an MX with the
    /// rank in front of each host, of a list with order and weight, of an MX with more hosts behind it.
    pub fn matches_site(&self, site: &str) -> bool {
        let whole = matches!(self, Pattern::Whole(whole) if site.eq_ignore_ascii_case(whole));
        whole || hosts(site).any(|host| self.matches(host))
    }
}

/// The hosts in a site's name.
pub fn hosts(site: &str) -> impl Iterator<Item = &str> {
    let pieces = site.split(" then ").flat_map(|part| part.split(','));
    pieces.filter(|piece| !piece.is_empty()).map(host)
}

/// The host in a piece of a site's name: without what it is reached by, its rank, its port and its brackets.
fn host(piece: &str) -> &str {
    // The site of one domain alone says so behind its last host.
    let piece = piece.split_once(" of ").map_or(piece, |(hosts, _)| hosts);
    let piece = piece.strip_prefix("mx:").unwrap_or(piece);
    let piece = piece.rsplit_once(' ').map_or(piece, |(_, host)| host);
    let piece = piece.split_once("://").map_or(piece, |(_, host)| host);
    let is_port = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    let piece = piece.rsplit_once(':').filter(|(_, rest)| is_port(rest)).map_or(piece, |(host, _)| host);
    piece.trim_matches(['[', ']'])
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Whole(name) => formatter.write_str(name),
            Pattern::Below(end) => write!(formatter, "*{end}"),
        }
    }
}
