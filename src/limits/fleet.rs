//! Nodes of a cluster that are looked at together.

use std::time::Duration;

/// Other nodes that are listed, or asked at one look.
pub const FLEET_NODES_MAX: usize = 256;
/// Networks in which they are.
pub const FLEET_NETWORKS_MAX: usize = 64;
/// Those that are asked at one time; and as many more are asked for pages of their queues, by however many who search.
pub const FLEET_AT_ONCE: usize = 32;
/// How long each is waited for: a node that takes longer for a few numbers is in trouble.
pub const FLEET_ANSWER: Duration = Duration::from_secs(2);
/// What was seen is told again for so long, to however many look.
pub const FLEET_FRESH: Duration = Duration::from_secs(3);
/// Names of nodes that are looked up at one time; a name server that is silent holds up no more of the service's threads.
pub const FLEET_LOOKUPS: usize = 4;
/// Addresses of a name that are tried.
pub const FLEET_ADDRESSES_MAX: usize = 4;
/// Bytes of what a node says of itself.
pub const FLEET_SUMMARY_MAX: usize = 16 * 1024;
/// Bytes of a page of its queue.
pub const FLEET_PAGE_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the header section of its answers.
pub const FLEET_HEAD_MAX: usize = 16 * 1024;
/// Nodes whose queues are searched at one time; the next begin as these end.
pub const FLEET_SEARCHED: usize = 8;
/// How long a node is waited for that searches its queue.
pub const FLEET_SEARCH: Duration = Duration::from_secs(20);
/// Bytes of where a node goes on with a search.
pub const FLEET_CURSOR_MAX: usize = 200;
/// Bytes of a node's name.
pub const FLEET_NAME_MAX: usize = 255;
/// Bytes of a version, and of what else is a word or a time.
pub const FLEET_WORD_MAX: usize = 64;
/// Bytes of what a node says of why it takes no mail, and of why it does not answer.
pub const FLEET_WORDS_MAX: usize = 400;
/// Bytes of what a node says of itself to Redis.
pub const FLEET_SAID_MAX: usize = 700;
