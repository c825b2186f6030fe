//! The nodes of a cluster, and what they answered, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::why::Why;
use super::{Count, Row, ScanProgress};
use crate::limits;

/// A node in a few numbers, as it tells others of its cluster. What is not known is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodeSummary {
    /// Its number, by which it is known again: 16 digits.
    pub id: String,
    /// Its name.
    pub node: String,
    /// What it runs.
    pub version: String,
    /// Seconds since it began.
    pub uptime_seconds: u64,
    /// `starting`, `ready`, `draining`, or `refusing`: it takes no mail.
    pub state: String,
    /// Why it is not ready.
    pub words: Option<String>,
    /// Recipients queued, those under way included.
    pub queued: u64,
    /// Of these, those that wait for their next attempt.
    pub deferred: Option<u64>,
    /// The oldest of these have waited for so many seconds at the least; 0: for less than a minute.
    pub oldest_seconds: Option<u64>,
    /// Recipients of messages answered 250, a second: the mean of the last minute.
    pub accepted: Option<f64>,
    /// Recipients taken by next hops, a second: the mean of the last minute.
    pub delivered: Option<f64>,
    /// Bytes that are free where its spool is.
    pub disk_free: Option<u64>,
    /// `leased`: limits are shared by Redis; `kept`: it cannot be asked, and leases go on until they end; `share`: the node has its share of each limit.
    /// Null: no limits are shared.
    pub redis: Option<String>,
    /// How many things are wrong, by its own account.
    pub warnings: u64,
}

/// The nodes of a cluster, as one of them sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterNodes {
    /// The cluster; null: this node is on its own.
    pub cluster: Option<String>,
    /// When they were asked.
    pub as_of: String,
    /// Why Redis could not be asked which nodes there are: those of before are told.
    pub trouble: Option<String>,
    /// This one, then the others by their names.
    pub nodes: Vec<ClusterNode>,
    /// So many more there are that were not asked.
    pub more: u64,
}

/// A node of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterNode {
    /// Its name; its address, where that is all that is known.
    pub node: String,
    /// Its number; null: it never answered.
    pub id: Option<String>,
    /// Where it is asked.
    pub url: Option<String>,
    /// It is the one that tells.
    pub own: bool,
    /// `answers`; `slow`: not in time; `away`: nobody answers there; `refuses`: not with this token; `unfit`: something else answers there, or a version
    /// that does not know the question; `unasked`: the configuration does not let it be asked.
    pub reach: String,
    /// Why it does not answer.
    pub words: Option<String>,
    /// Since when that has been so, as far as somebody looked.
    pub since: Option<String>,
    /// When it answered last.
    pub answered: Option<String>,
    /// When it said to Redis last that it is there.
    pub registered: Option<String>,
    /// What it runs, as it or Redis says.
    pub version: Option<String>,
    /// What it answered.
    pub summary: Option<NodeSummary>,
}

/// A node whose mail is not in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingNode {
    /// Which.
    pub node: String,
    /// Where it is asked.
    pub url: Option<String>,
    /// Why.
    pub words: String,
}

/// A page of the queues of all nodes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ClusterPage {
    /// Its rows, node by node.
    pub rows: Vec<ClusterRow>,
    /// Groups of the domains gone through that a connection has just now: they are in no row.
    pub under_way: u64,
    /// Nodes whose mail is not among the rows, of this page and those that come.
    pub missing: Vec<MissingNode>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<String>,
    /// How far nodes looked through records, of those that do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<ScanProgress>,
}

/// Recipients of one message in one domain that wait at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterRow {
    /// Which node.
    pub node: String,
    /// Where it is asked; null: it is the one that tells.
    pub url: Option<String>,
    /// What waits.
    #[serde(flatten)]
    pub row: Row,
}

/// A count over all nodes, or a part of one that took long.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ClusterCount {
    /// How much in all.
    #[serde(flatten)]
    pub count: Count,
    /// How much at each node that was counted.
    pub nodes: Vec<NodeCount>,
    /// Nodes whose mail was not counted.
    pub missing: Vec<MissingNode>,
    /// Where the next part begins; none: this was the last.
    pub next: Option<String>,
    /// How far nodes looked through records, of those that do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<ScanProgress>,
}

/// How much waits at a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeCount {
    /// Which.
    pub node: String,
    /// How much.
    #[serde(flatten)]
    pub count: Count,
}

/// What mail waits for, at each node that has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ClusterWhy {
    /// Those that have such mail.
    pub nodes: Vec<NodeWhy>,
    /// Nodes that were not asked, or did not answer.
    pub missing: Vec<MissingNode>,
    /// Where to go on; none: that was all.
    pub next: Option<String>,
}

/// What mail waits for at a node.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct NodeWhy {
    /// Which.
    pub node: String,
    /// What for.
    pub why: Why,
}

/// Where a node is in its life.
pub const STATES: [&str; 4] = ["starting", "ready", "draining", "refusing"];

impl NodeSummary {
    /// What a node answered. None: no node answers that.
    pub fn read(text: &[u8]) -> Option<NodeSummary> {
        let mut all: NodeSummary = serde_json::from_slice(text).ok()?;
        let is_id = all.id.len() == 16 && all.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id || all.node.is_empty() || !STATES.contains(&&*all.state) {
            return None;
        }
        all.id.make_ascii_lowercase();
        all.node = tidy(&all.node, limits::FLEET_NAME_MAX);
        all.version = tidy(&all.version, limits::FLEET_WORD_MAX);
        all.words = all.words.map(|words| tidy(&words, limits::FLEET_WORDS_MAX));
        all.redis = all.redis.map(|redis| tidy(&redis, limits::FLEET_WORD_MAX));
        Some(all)
    }
}

/// What another node says, in one line of at most so many bytes.
pub fn tidy(words: &str, most: usize) -> String {
    let mut text = String::new();
    for letter in words.chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if text.len() + letter.len_utf8() > most {
            break;
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_read_within_bounds() {
        let read = |text: &str| NodeSummary::read(text.as_bytes());
        let least = r#"{"id":"00000000000000AB","node":"mx1","state":"ready","news":{}}"#;
        let one = read(least).expect("of a newer version");
        assert_eq!((&*one.id, &*one.node, one.queued, one.accepted), ("00000000000000ab", "mx1", 0, None));
        let long = "\u{7}é".repeat(1_000);
        let text =
            serde_json::json!({"id": "0000000000000001", "node": long, "state": "draining", "words": long});
        let one = NodeSummary::read(text.to_string().as_bytes()).expect("it is tidied");
        assert!(one.node.len() <= limits::FLEET_NAME_MAX && !one.node.contains('\u{7}'));
        assert!(one.words.is_some_and(|words| words.len() <= limits::FLEET_WORDS_MAX));
        for wrong in [
            "",
            "[]",
            r#"{"id":"1","node":"a","state":"ready"}"#,
            r#"{"id":"0000000000000001","node":"","state":"ready"}"#,
            r#"{"id":"0000000000000001","node":"a","state":"asleep"}"#,
            r#"{"id":"0000000000000001","node":"a","state":"ready","queued":-1}"#,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
