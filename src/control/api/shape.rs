//! What is asked and answered, as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::ConfigError;

pub mod accounts;
pub mod analytics;
pub mod check;
pub mod cluster;
pub mod drain;
pub mod erase;
pub mod logged;
pub mod me;
pub mod overview;
pub mod quota;
pub mod shaping;
pub mod suppression;
pub mod templates;
pub mod tokens;
pub mod trace;
pub mod upgrade;
pub mod warmup;
pub mod why;

/// Why there is no answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// In words: what is wrong, and what to do.
    pub error: String,
    /// For programs.
    pub code: String,
}

/// A page of the queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// Its rows.
    pub rows: Vec<Row>,
    /// Groups of the domains gone through that a connection has just now: they are in no row.
    pub under_way: u64,
    /// Where the next page begins; none: this was the last.
    pub next: Option<String>,
    /// Where records are looked through first: until that is over there are no rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<ScanProgress>,
}

/// How far records were looked through for what only they tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanProgress {
    /// Messages that were looked at.
    pub messages: u64,
    /// About how many there are; when it is over, how many were looked at.
    pub of: u64,
    /// Of those, how many cannot be read: they may be meant too.
    pub unreadable: u64,
}

/// Recipients of one message in one domain that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Row {
    /// The message.
    pub id: String,
    /// `deferred`: they wait for their next attempt; `ready`: for a connection; `suspended`: for a suspension to end; `held`: for the time
    /// at which they are to go, or for an operator who holds them.
    pub state: String,
    /// Their domain.
    pub domain: String,
    /// Where that leads, while it is known.
    pub site: Option<String>,
    /// The sender.
    pub sender: String,
    /// How many they are.
    pub count: u16,
    /// The first few.
    pub recipients: Vec<String>,
    /// When the message came.
    pub accepted: String,
    /// Its size in bytes.
    pub size: u64,
    /// Attempts so far.
    pub attempts: u16,
    /// Not before this time.
    pub next_attempt: Option<String>,
    /// Nothing is started at the site before this time, as it failed.
    pub site_closed_until: Option<String>,
    /// When it is given up.
    pub expires: String,
    /// Which suspension holds it back, and why: `12 by user 0, process 7: TEXT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    /// Which operator holds it, why and until when: `by user 0, process 7: TEXT, until it is released`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// What was said last.
    pub last_reply: Option<String>,
    /// Its record cannot be read: nothing is known of its sender, recipients, size and time.
    #[serde(default)]
    pub damaged: bool,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// Recipients.
    pub recipients: u64,
    /// Of these, those that wait for their next attempt.
    pub deferred: u64,
    /// And those that wait for a connection.
    pub ready: u64,
    /// And those that wait for a suspension to end.
    #[serde(default)]
    pub suspended: u64,
    /// And those that wait for the time at which they are to go, or for an operator who holds them.
    #[serde(default)]
    pub held: u64,
    /// Groups: the recipients of one message in one domain.
    pub groups: u64,
    /// Groups that a connection has just now, which are not in the numbers above.
    pub under_way: u64,
}

/// A count, or a part of one that took long.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CountPage {
    /// How much.
    #[serde(flatten)]
    pub count: Count,
    /// Where to go on; none: that was all.
    pub next: Option<String>,
    /// As in a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<ScanProgress>,
}

/// A change of what waits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// By name.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// All mail is meant, where there is no filter.
    #[serde(default)]
    pub all: bool,
    /// Why: the sender of what goes back is told.
    #[serde(default)]
    pub reason: String,
    /// What it is rebound to: tenant, campaign, pool (or source) and priority, by these names. For `rebind` alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// For how long it is held, seconds; none: until it is let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Until when, in Unix seconds: as the answer to the request before this one says, where this goes on behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u32>,
    /// Where to go on.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// That mail is to be suspended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspend {
    /// Which, by name.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// All mail is meant, where there is no filter.
    #[serde(default)]
    pub all: bool,
    /// For how long, seconds.
    pub seconds: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// That mail is to be led elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Which, by name: its domain, site or provider.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// All mail is meant, where there is no filter.
    #[serde(default)]
    pub all: bool,
    /// Where: `smtp://host:port`.
    pub to: String,
    /// For how long, seconds.
    pub seconds: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// That suspensions are to end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Those of which all this holds, by name.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// All of them.
    #[serde(default)]
    pub all: bool,
    /// This one.
    #[serde(default)]
    pub id: Option<u64>,
}

/// Suspensions: all there are, or those that were made or ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Suspensions {
    /// In the order in which they were made.
    pub suspensions: Vec<SuspensionEntry>,
    /// That they are so is in memory alone: the disk does not take it, and the next start would not know.
    #[serde(default)]
    pub unkept: bool,
}

/// A suspension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuspensionEntry {
    /// Its number.
    pub id: u64,
    /// `wait`, `return`, `set` or `redirect`.
    pub effect: String,
    /// Where mail is led.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The key that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Which mail is meant: its domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Its site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Who runs the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Its tenant; empty: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The same in words.
    pub mail: String,
    /// Since when.
    pub since: String,
    /// Until when.
    pub until: String,
    /// An operator, or the line of a rule.
    pub by: String,
    /// Why: his words, or the reply.
    pub reason: String,
}

/// What was changed, or a part of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Recipients that were changed.
    pub recipients: u64,
    /// Their groups.
    pub groups: u64,
    /// Groups that a connection has just now: they are left alone.
    pub under_way: u64,
    /// The spool took no more outcomes just now.
    pub waits_for_spool: bool,
    /// Groups of these whose end is not on disk yet: a kill now would leave them in the queue.
    #[serde(default)]
    pub unwritten: u64,
    /// Until when it is held, in Unix seconds: for the request that goes on behind this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u32>,
    /// Where to go on; none: that was all.
    pub next: Option<String>,
    /// As in a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<ScanProgress>,
}

/// All about a message that is not settled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// What it was called first, at the node that handed it over: that node's id, a slash, and its id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The lane it lies in.
    pub lane: u16,
    /// The sender.
    pub sender: String,
    /// When it came.
    pub accepted: String,
    /// When it is given up.
    pub expires: String,
    /// Its size in bytes.
    pub size: u64,
    /// Recipients it came with.
    pub recipients: u16,
    /// Those that are not settled.
    pub left: u32,
    /// The first of these.
    pub live: Vec<Recipient>,
    /// What waits in queues.
    pub waiting: Vec<QueuedPart>,
    /// Recipients that are under way: a connection has them, or they are on the way to their queue.
    pub under_way: u32,
}

/// A recipient that is not settled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Recipient {
    /// Its address.
    pub address: String,
    /// Attempts so far.
    pub attempts: u16,
    /// Not before this time.
    pub next_attempt: Option<String>,
    /// What was said last.
    pub last_reply: Option<String>,
    /// As in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// What was said in the last attempt that failed, as far as it is kept in memory: `> ` in front of what the relay said, `< ` of what it was
    /// told; of good replies only the code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dialogue: Vec<String>,
}

/// A part of it that waits in a queue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueuedPart {
    /// Its domain.
    pub domain: String,
    /// Where that leads, while it is known.
    pub site: Option<String>,
    /// As in a row.
    pub state: String,
    /// Recipients.
    pub count: u16,
    /// Not before this time.
    pub next_attempt: Option<String>,
    /// Nothing is started at the site before this time.
    pub site_closed_until: Option<String>,
}

/// How the node is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Its name.
    pub node: String,
    /// What it runs.
    pub version: String,
    /// What the shards run on.
    pub runtime: String,
    /// Seconds since it began.
    pub seconds: u64,
    /// Whether it still reads its spool: until then the shards do not know what they have, and count nothing.
    #[serde(default)]
    pub starting: bool,
    /// Whether it takes mail.
    pub takes_mail: bool,
    /// `ok`, or why it does not.
    pub words: String,
    /// Which configuration is in force: 0 is that of the start, and each reload counts on.
    #[serde(default)]
    pub generation: u64,
    /// Keys that say something else in the file by now, and wait for a restart.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// Sources by which nothing leaves now.
    #[serde(default)]
    pub suspended_sources: Vec<SuspendedSource>,
    /// What is wrong besides, until it is mended.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was said on standard error of late, warnings and errors, the latest first.
    #[serde(default)]
    pub said: Vec<overview::Said>,
    /// Each shard.
    pub shards: Vec<ShardStatus>,
}

/// Which configuration is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigStatus {
    /// 0 is that of the start.
    pub generation: u64,
    /// Keys that wait for a restart.
    pub needs_restart: Vec<String>,
    /// Sources by which nothing leaves now.
    pub suspended_sources: Vec<SuspendedSource>,
}

/// A source by which nothing leaves, as it does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuspendedSource {
    /// Its name.
    pub source: String,
    /// What was found.
    pub why: String,
}

/// That the configuration is to be read again.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Only what would come of it is to be told.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// It is in force, or would be. If not nothing changed.
    pub ok: bool,
    /// Nothing was changed, as only that was asked for.
    pub dry_run: bool,
    /// The file that was read.
    pub file: String,
    /// Which configuration is in force now.
    pub generation: u64,
    /// What is another now, in words.
    pub changes: Vec<String>,
    /// Keys that say something else by now, and wait for a restart.
    pub needs_restart: Vec<Finding>,
    /// What should not be so.
    pub warnings: Vec<Finding>,
    /// Why it was refused.
    pub errors: Vec<Finding>,
    /// How much of the mail that waits would be led elsewhere; only where that is asked, and routes differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led_elsewhere: Option<LedElsewhere>,
    /// Shards that have not said in time that they go by it. They do before anything new begins there.
    pub late: Vec<usize>,
}

/// Mail that waits in domains whose routes would be others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedElsewhere {
    /// Recipients.
    pub recipients: u64,
    /// That is all of them. If not the time was over, or a shard did not answer.
    pub counted: bool,
}

/// Something about a key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// None: about something the file does not say.
    pub line: Option<usize>,
    /// The key, as in `listener[0].address`.
    pub key: String,
    /// What stands there.
    pub value: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl From<&ConfigError> for Finding {
    fn from(error: &ConfigError) -> Finding {
        let ConfigError { file, line, key, value, problem, fix } = error.clone();
        let (file, line) = (file.display().to_string(), Some(line).filter(|line| *line > 0));
        Finding { file, line, key, value, problem, fix }
    }
}

impl fmt::Display for Finding {
    /// As `relevo check` says it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { file, line, key, value, problem, fix } = self.clone();
        let (file, line) = (file.into(), line.unwrap_or_default());
        ConfigError { file, line, key, value, problem, fix }.fmt(formatter)
    }
}

/// How a shard is, of late.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShardStatus {
    /// Its number.
    pub shard: usize,
    /// Recipients queued, those under way included.
    pub queued: u64,
    /// Messages in its lanes.
    pub messages: u64,
    /// Clients connected.
    pub clients: u64,
    /// Connections to next hops.
    pub connections: u64,
    /// Recipients delivered since the start.
    pub delivered: u64,
    /// Of these, those that another node took over as they were (`relevo drain`).
    #[serde(default)]
    pub handed_over: u64,
    /// And those that it, or another relay, took as any mail.
    #[serde(default)]
    pub handed_anew: u64,
    /// Recipients deferred, each time.
    pub deferred: u64,
    /// Recipients returned.
    pub bounced: u64,
    /// Bytes of its lanes that are live.
    pub live_bytes: u64,
    /// Whether its lane takes mail.
    pub takes_mail: bool,
}
