//! What a home shard tells of a domain, for whoever asks why its mail waits.

use std::fmt;

use crate::limits;
use crate::queue::destinations::known::Amount;
use crate::shaping::rated::{EachRate, Rated};
use crate::time::UnixMillis;

/// The mail of a domain by one egress: how much waits, and for what.
#[derive(Clone, Debug, Default)]
pub struct DomainWait {
    /// The pool and the source that it leaves by; None: the node's own addresses.
    pub egress: Option<(Box<str>, Box<str>)>,
    /// Nothing leaves by that source now: why, and when it is looked at next.
    pub source_down: Option<(Box<str>, UnixMillis)>,
    /// What waits for its next attempt.
    pub deferred: Amount,
    /// When the first of that is tried.
    pub next: Option<UnixMillis>,
    /// What waits for a suspension to end.
    pub suspended: Amount,
    /// When the first of that does.
    pub resumes: Option<UnixMillis>,
    /// What waits for the time at which it is to go.
    pub held: Amount,
    /// When the first of that is.
    pub released: Option<UnixMillis>,
    /// What an operator holds.
    pub kept: Amount,
    /// Until when he holds the first of that.
    pub let_go: Option<UnixMillis>,
    /// What waits for a connection, or to hear where the domain leads.
    pub ready: Amount,
    /// Groups that a connection has.
    pub under_way: u32,
    /// What holds up that which is ready, and until when, as far as that can be told.
    pub cause: Option<(Cause, Option<UnixMillis>)>,
    /// Where it goes, or why that is not known.
    pub way: Option<Result<Box<SiteState>, NoWay>>,
}

/// Why it is not known where a domain leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWay {
    /// It leads nowhere, or that could not be found out: in the words of the resolver.
    Unroutable(Box<str>),
    /// The name servers did not say it as soon as the question wants to know.
    Late,
}

impl fmt::Display for NoWay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoWay::Unroutable(why) => formatter.write_str(why),
            NoWay::Late => {
                write!(formatter, "the name servers did not say within {} s", limits::WHY_LOOK_UP.as_secs())
            }
        }
    }
}

/// Why mail waits whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// It is asked where the domain leads.
    LookUp {
        /// Seconds since that is so.
        seconds: u32,
        /// Other domains that wait to be asked for on this shard.
        line: usize,
        /// No name server answers.
        deaf: bool,
    },
    /// The site failed, and rests.
    Closed {
        /// Times in a row.
        failures: u32,
        /// What the last one was.
        error: Box<str>,
    },
    /// The source that it leaves by is suspended.
    Source {
        /// Why.
        why: Box<str>,
    },
    /// A rate: whose, and which.
    Rate {
        /// What it is of.
        of: RateOf,
        /// The line that says so, or the rate.
        words: Box<str>,
    },
    /// All connections that the site may have are in use.
    Connections,
    /// All those of a provider are: its place among those of the site.
    ProviderConnections(usize),
    /// The source is in warm-up, and had its day at the provider.
    WarmUp {
        /// The provider, or the site.
        provider: Box<str>,
        /// Messages that left today.
        used: u32,
        /// How many may.
        volume: u32,
        /// Control is still to say what there is.
        asked: bool,
    },
    /// Another source, or pool, sends in place of its own.
    Elsewhere(Box<str>),
    /// All connections to an address are.
    Address {
        /// The address.
        address: Box<str>,
        /// Connections of the node to it.
        used: usize,
        /// How many there may be.
        most: usize,
    },
    /// The shard may not open another connection, or not to a site that never took mail.
    Opening {
        /// Connections of the shard.
        used: usize,
        /// How many there may be.
        most: usize,
    },
    /// Outcomes of earlier attempts are not on disk.
    Credits,
    /// Nothing: connections are at work, or one is on its way.
    Turn,
    /// The relay stops.
    Stopping,
}

/// What a rate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateOf {
    /// A rate of the site.
    Site(Rated),
    /// Messages of the tenant.
    Tenant,
    /// The site's messages, as its adaptive window has them.
    Window,
    /// A rate of a provider: its place among those of the site.
    Provider(usize),
}

/// A site, and what holds for it now.
#[derive(Clone, Debug, Default)]
pub struct SiteState {
    /// Its canonical name.
    pub name: String,
    /// `mx`, or the target of the route.
    pub route: String,
    /// Its hosts in the order of preference, as `10 mx.example.net`.
    pub hosts: Vec<String>,
    /// Connections of the node to it.
    pub used: usize,
    /// How many there may be now.
    pub most: usize,
    /// How many the operator allows: the line that says so.
    pub limit: Limit,
    /// Messages a second that its adaptive window allows, where that is narrow.
    pub window_rate: Option<f64>,
    /// The lines that set its rates.
    pub rates: EachRate<Option<Box<str>>>,
    /// Groups that are ready there, on the shard that tells this.
    pub ready: usize,
    /// It failed and rests: until when, times in a row, and the last error.
    pub closed: Option<(UnixMillis, u32, Box<str>)>,
    /// Its providers that have limits.
    pub providers: Vec<ProviderState>,
}

/// A number, and who says so.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    /// The number.
    pub most: usize,
    /// File, line and key.
    pub words: Box<str>,
}

/// A provider, and what holds for all of its sites together.
#[derive(Clone, Debug, Default)]
pub struct ProviderState {
    /// Its name in the shaping files.
    pub name: Box<str>,
    /// Connections of the node to its sites.
    pub used: usize,
    /// How many there may be.
    pub limit: Option<Limit>,
    /// The lines that set its rates.
    pub rates: EachRate<Option<Box<str>>>,
}

/// What a shard has of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteShare {
    /// Its connections, those that are being opened included.
    pub connections: usize,
    /// Those that have nothing to do.
    pub idle: usize,
}
