//! The node at a glance, as JSON: what it does, what waits, where it goes, what went before.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The node at a glance. What is not known yet is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// When this was so.
    pub as_of: String,
    /// The node's name.
    pub node: String,
    /// What it runs.
    pub version: String,
    /// Seconds since it began.
    pub uptime_seconds: u64,
    /// It stops.
    pub draining: bool,
    /// It takes mail.
    pub ready: bool,
    /// Why it takes none.
    pub not_ready: Option<String>,
    /// What it does.
    pub rates: Rates,
    /// What waits.
    pub queue: QueueTotals,
    /// For how long that has waited.
    pub ages: Option<Vec<Age>>,
    /// What waits for each provider of the shaping files: the largest 64, and the rest as `other`.
    pub providers: Option<Vec<ProviderTotals>>,
    /// What waits for each domain: the largest 64, and the rest as `other`.
    pub domains: Option<Vec<DomainTotals>>,
    /// What replies said since the start, most first.
    pub classes: Vec<ClassTotals>,
    /// The shards.
    pub shards: Vec<ShardTotals>,
    /// What an operator should look at, and mend.
    pub warnings: Vec<String>,
    /// What was said on standard error of late, warnings and errors, the latest first.
    #[serde(default)]
    pub said: Vec<Said>,
}

/// A line for the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Said {
    /// When.
    pub time: String,
    /// `warning` or `error`.
    pub level: String,
    /// What.
    pub words: String,
}

/// What the node does: recipients a second, over the last five seconds, and connections that are open now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// Recipients of messages answered 250; null: nothing is known yet.
    pub accepted: Option<f64>,
    /// Taken by next hops.
    pub delivered: Option<f64>,
    /// Attempts that will be repeated.
    pub deferred: Option<f64>,
    /// Refused for good, or given up for age.
    pub bounced: Option<f64>,
    /// Refusals of clients' recipients, senders, logins, bodies and sessions.
    pub rejected: Option<f64>,
    /// Connections of clients.
    pub connections_in: u64,
    /// Connections to next hops.
    pub connections_out: u64,
}

/// What waits in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueTotals {
    /// When the queues were summed up; all but `recipients` is of then.
    pub as_of: Option<String>,
    /// Recipients queued now, those under way included.
    pub recipients: u64,
    /// Those that wait for a connection.
    pub ready: Option<u64>,
    /// Those that wait for their next attempt.
    pub deferred: Option<u64>,
    /// Those that wait for a suspension to end.
    pub suspended: Option<u64>,
    /// Those that wait for the time at which they are to go.
    pub held: Option<u64>,
    /// Groups that a connection has: the recipients of one message in one domain.
    pub under_way: Option<u64>,
    /// Domains with mail.
    pub domains: Option<u64>,
}

/// Recipients of an age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Age {
    /// Up to so many seconds, and more than the one before; null: older than all of these.
    pub up_to_seconds: Option<u64>,
    /// How many.
    pub recipients: u64,
}

/// What waits for a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderTotals {
    /// Its name in the shaping files, or `other`.
    pub name: String,
    /// Recipients that wait.
    pub recipients: u64,
    /// Of them, those that wait for a connection.
    pub ready: u64,
    /// And those that wait for their next attempt.
    pub deferred: u64,
    /// And those that wait for a suspension to end.
    pub suspended: u64,
    /// Its sites that mail goes to.
    pub sites: u64,
    /// Connections to these.
    pub connections: u64,
    /// Those of these that refused something, and get less than they might.
    pub narrowed: u64,
}

/// What waits for a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DomainTotals {
    /// The domain, or `other`.
    pub name: String,
    /// Recipients that wait.
    pub recipients: u64,
    /// Of them, those that wait for a connection.
    pub ready: u64,
    /// And those that wait for their next attempt.
    pub deferred: u64,
}

/// What replies of a class did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClassTotals {
    /// The class, as events name it.
    pub class: String,
    /// Recipients that got such a reply since the start, each time.
    pub recipients: u64,
    /// The latest of these replies, where it was seen.
    pub text: Option<String>,
}

/// How a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShardTotals {
    /// Its number.
    pub shard: usize,
    /// Part of its time that it worked of late, 0 to 1.
    pub busy_ratio: f64,
    /// Longest time that one task kept it from all others, of the last half minute or more.
    pub longest_turn_seconds: f64,
    /// Connections of clients.
    pub connections_in: u64,
    /// Connections to next hops.
    pub connections_out: u64,
    /// Recipients queued, those under way included.
    pub queued: u64,
    /// Bytes of the live messages in its lanes.
    pub spool_bytes: u64,
}

/// What went before, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// Seconds between two points.
    pub step_seconds: u64,
    /// When the last point was.
    pub until: String,
    /// The points.
    pub series: Series,
}

/// Points of each kind; null: not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// Recipients of messages answered 250, a second.
    pub accepted: Vec<Option<f64>>,
    /// Recipients taken by next hops, a second.
    pub delivered: Vec<Option<f64>>,
    /// Attempts that will be repeated, a second.
    pub deferred: Vec<Option<f64>>,
    /// Recipients refused for good or given up, a second.
    pub bounced: Vec<Option<f64>>,
    /// Refusals of clients, a second.
    pub rejected: Vec<Option<f64>>,
    /// Recipients queued then.
    pub queued: Vec<Option<f64>>,
}

/// A page of sites, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SitesPage {
    /// The sites.
    pub rows: Vec<SiteTotals>,
    /// Where to go on; null: that was all.
    pub next: Option<String>,
}

/// A site, and what holds for it now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SiteTotals {
    /// Its first host.
    pub site: String,
    /// Its whole name, by which filters know it.
    pub name: String,
    /// Who runs it, by the shaping files.
    pub provider: Option<String>,
    /// The source that its mail leaves by; null: the node's own addresses.
    pub source: Option<String>,
    /// Connections of the node to it.
    pub connections: usize,
    /// How many the operator allows.
    pub connection_limit: usize,
    /// How many it takes, where it refused more.
    pub window: Option<usize>,
    /// It refused something, and gets less than it might.
    pub narrowed: bool,
    /// Messages that it gets at the most, as `100/s`; null: any number.
    pub message_rate: Option<String>,
    /// Groups that are ready there.
    pub ready: usize,
    /// Nothing is begun there before this time, as it failed.
    pub closed_until: Option<String>,
    /// Why it is closed; else the reply that narrowed its window; else why a connection failed last.
    pub last_reply: Option<String>,
    /// The suspension that it waits for: its number, who made it, and why.
    pub suspended: Option<String>,
}
