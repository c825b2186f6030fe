//! Limits that several nodes share.

use std::time::Duration;

/// How long a lease lasts: so long nodes go on when nobody can be asked, and so long the part of a node that died is nobody's.
pub const CLUSTER_LEASE: Duration = Duration::from_secs(15);
/// A lease ends here so much earlier than there: clocks do not run alike.
pub const CLUSTER_MARGIN: Duration = Duration::from_millis(100);
/// How often it is seen whether a lease is to be asked for: what is new waits so long for more than it begins with.
pub const CLUSTER_ROUND: Duration = Duration::from_millis(500);
/// A lease is asked for anew after this where it is not what the node should have.
pub const CLUSTER_SOON: Duration = Duration::from_secs(1);
/// And after this where it is: what another node begins to want it has so much later at the latest.
pub const CLUSTER_RENEW: Duration = Duration::from_secs(5);
/// How long after a failure it is tried again.
pub const CLUSTER_AGAIN: Duration = Duration::from_secs(1);
/// So long after the last answer nobody is waited for: what has no lease has the node's share.
pub const CLUSTER_SILENCE: Duration = Duration::from_secs(2);
/// How long one batch may take.
pub const CLUSTER_TIME: Duration = Duration::from_secs(2);
/// Keys of a batch: it is worked on in a millisecond or two, and whoever else asks waits no longer.
pub const CLUSTER_BATCH: usize = 256;
/// Batches of a round. What is beyond is asked for in the next; until then it has what it begins with.
pub const CLUSTER_BATCHES: usize = 16;
/// Limits that are leased at one time; of others a node has its share.
pub const CLUSTER_KEYS_MAX: usize = 50_000;
/// Bytes of a key.
pub const CLUSTER_KEY_MAX: usize = 256;
/// A rate is leased in so many parts.
pub const CLUSTER_PARTS: u64 = 10_000;
/// A key that is new begins with one part in so many of the node's share, until that is answered.
pub const CLUSTER_START: u64 = 10;
/// A site whose rate is bounded by a lease looks again after this: the lease may be larger by then.
pub const CLUSTER_LOOK: Duration = Duration::from_millis(250);
/// A node is leased one part in so many more than it used last, where others want the rest.
pub const CLUSTER_SPARE: u64 = 32;
/// More of a rate is wanted than a node has where so much mail waits for it as its part lets begin in this time.
pub const CLUSTER_BEHIND: Duration = Duration::from_millis(500);
/// Who had his turn of what is too small for all leaves it to others for so long.
pub const CLUSTER_REST: Duration = Duration::from_secs(3);
/// Counts (quotas, volumes of warm-up) that are asked for at one time; of others a node has its share.
pub const COUNTS_MAX: usize = 50_000;
/// What waits for an answer about a count waits no longer than this: then the node has its share. Behind one that came later nothing waits, until one is in time.
pub const COUNT_WAIT: Duration = Duration::from_millis(250);
/// What a node has of a count before it is needed is so many blocks at most,
pub const COUNT_AHEAD: u32 = 4;
/// and all nodes have no more than one part in so many of what is left.
pub const COUNT_AHEAD_PART: u64 = 4;
/// What was not used for so long goes back.
pub const COUNT_IDLE: Duration = CLUSTER_LEASE;
/// So long after a node could ask nobody it tells what it gave out, as others do, and is granted nothing.
pub const COUNT_TOLD: Duration = Duration::from_secs(3);
/// How often it is asked anew what others have of a count that is in use.
pub const COUNT_RENEW: Duration = Duration::from_secs(10);
/// So long before a period ends that is in use, the next is asked for.
pub const COUNT_NEXT: Duration = Duration::from_secs(5);
/// The server keeps a count as long behind its end as its period is, and so long at the least,
pub const COUNT_KEPT_LEAST: Duration = Duration::from_secs(600);
/// and at the most.
pub const COUNT_KEPT_MOST: Duration = Duration::from_secs(86_400);
/// How often those are looked at again of which others have all.
pub const COUNT_LOOK: Duration = Duration::from_millis(500);
/// Those of which others have all, and that are looked at.
pub const COUNTS_SHORT: usize = 4_096;
/// Bytes that are answered to a batch.
pub const CLUSTER_ANSWER_MAX: usize = 1024 * 1024;
/// Lists in lists of it.
pub const CLUSTER_DEPTH: usize = 4;
/// How often a node says that it is there.
pub const CLUSTER_HERE: Duration = Duration::from_secs(5);
/// How often other nodes are told what changed in the suppression list, and what they tell is heard: all of it is to be so within a second.
pub const CLUSTER_LIST_ROUND: Duration = Duration::from_millis(300);
/// Changes that are told, or heard, at once.
pub const CLUSTER_LIST_BATCH: usize = 250;
/// Changes that the server keeps, about: a node that was away for longer than these took has missed some.
pub const CLUSTER_LIST_LENGTH: &str = "1000000";
/// How often other nodes are told what sites take, and what they tell is heard.
pub const CLUSTER_WINDOWS_ROUND: Duration = Duration::from_secs(5);
/// Windows that are told in a round: a fifth of a second's commands where all sites change theirs.
pub const CLUSTER_WINDOWS_TOLD: usize = 50;
/// Batches of windows that are heard in a round.
pub const CLUSTER_WINDOWS_BATCHES: usize = 64;
/// Windows that the server keeps, about.
pub const CLUSTER_WINDOWS_LENGTH: &str = "10000";
/// Nodes that are told of.
pub const CLUSTER_NODES_MAX: usize = 1_024;
/// Bytes of a cluster's name.
pub const CLUSTER_NAME_MAX: usize = 64;

const _: () = assert!(
    CLUSTER_RENEW.as_millis() * 3 <= CLUSTER_LEASE.as_millis(),
    "two may fail before a lease has ended"
);
