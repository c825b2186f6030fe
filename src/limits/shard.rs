//! A shard: its inbox, its turns, its connections.

use std::time::Duration;

/// Handoffs waiting in one shard's inbox.
pub const HANDOFF_INBOX: usize = 4096;
/// Messages found at start that go to their queues before other tasks have a turn.
pub const REPLAYED_AT_ONCE: usize = 128;
/// Times in a row that a connection is received from without a wait before other tasks have a turn.
pub const RECEIVES_AT_ONCE: u32 = 16;
/// Records of TLS that cost as much as a receive: one of a single byte is decrypted like any other.
pub const RECORDS_OF_RECEIVE: u32 = 64;
/// Bytes of ciphertext taken from a socket at once: two records and their frames.
pub const CIPHERTEXT: usize = 33 * 1024;
/// Bytes of ciphertext that may bring no data before the peer is taken for hostile.
pub const BARREN_MAX: usize = 256 * 1024;

/// Letters taken from an inbox in one turn before other tasks run.
pub const INBOX_BATCH: usize = 256;
/// Domains of one message that go to their queues before other tasks have a turn.
pub const DOMAINS_AT_ONCE: usize = 64;

/// Recipients queued on one shard before MAIL closes with 452.
pub const QUEUED_RECIPIENTS_MAX: usize = 4_000_000;
/// Shards of one node and lanes of one data directory.
pub const SHARDS_MAX: usize = 256;

/// Outbound connections of one shard.
pub const OUTBOUND_CONNECTIONS_MAX: usize = 4_000;
/// Inbound connections of one shard.
pub const INBOUND_CONNECTIONS_MAX: usize = 30_000;
/// The most a configuration may ask for, of each: about what the descriptors of a process (fs.nr_open) and its ports carry.
pub const INBOUND_CONNECTIONS_LIMIT: u64 = 1_000_000;
/// See [`INBOUND_CONNECTIONS_LIMIT`].
pub const OUTBOUND_CONNECTIONS_LIMIT: u64 = 100_000;

/// How long a task that has much to do keeps a shard before all others have a turn: longer than a commit's work for what
/// is handed to us in one, and short enough that what is begun within it ends within a millisecond.
pub const TURN: Duration = Duration::from_micros(400);
