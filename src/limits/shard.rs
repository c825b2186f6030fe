//! A shard: its inbox, its turns, its connections.

use std::time::Duration;

/// Handoffs waiting in one shard's inbox.
pub const HANDOFF_INBOX: usize = 4096;
/// Times in a row that a connection is received from without a wait before other tasks have a turn.
pub const RECEIVES_AT_ONCE: u32 = 16;
/// Records of TLS that cost as much as a receive: one of a single byte is decrypted like any other.
pub const RECORDS_OF_RECEIVE: u32 = 64;
/// Bytes of ciphertext taken from a socket at once: two records and their frames.
pub const CIPHERTEXT: usize = 33 * 1024;
/// Bytes of ciphertext that may bring no data before the peer is taken for hostile.
pub const BARREN_MAX: usize = 256 * 1024;

/// Shard messages taken from an inbox in one turn before other tasks run.
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

/// About what a step of background work takes, twice: it gets a third of a busy shard.
pub const BACKGROUND_STEP: Duration = Duration::from_micros(100);

/// What a shard takes of clients' memory, and gives back, at one time.
pub const MEMORY_STEP: usize = 256 * 1024;
/// The part of that memory (in percent) above which bodies go to the spool early, so that what is left is for envelopes.
pub const MEMORY_SHORT: usize = 75;

/// How long a start waits for its first segments to be zero-written.
pub const FIRST_SEGMENTS_WAIT: Duration = Duration::from_secs(10);
/// How long it waits until the mail that it found is in its queues: that of a hundred thousand messages is. Then it listens all the same.
pub const REPLAY_WAIT: Duration = Duration::from_millis(250);
/// How often a start looks whether it is to end.
pub const STOP_ASKED_LOOK: Duration = Duration::from_millis(200);

/// Resolution of waits.
pub const TIMER_GRAIN: Duration = Duration::from_millis(20);
/// Resolution of deadlines, which are many and seldom come.
pub const TIMER_SWEEP: Duration = Duration::from_secs(1);

/// How long a long turn is remembered at least, so that whoever reads the metrics every half minute misses none; at most twice as long.
pub const TURNS_REMEMBERED: Duration = Duration::from_secs(30);

/// Counts of connections that are kept, of sites and of addresses each, before unused ones are dropped.
pub const COUNTS_KEPT: usize = 10_000;

/// Steps of background work in one round at most.
pub const BACKGROUND_STEPS: u128 = 32;

/// How often a shard that has read its lanes looks whether all others have, before mail is taken.
pub const OPENED_LOOK: Duration = Duration::from_millis(2);
/// How often a shard looks at a start whether its lanes can write.
pub const READY_LOOK: Duration = Duration::from_millis(5);
/// How often a shard that stops looks whether its lanes are closed, and all is told.
pub const CLOSED_LOOK: Duration = Duration::from_millis(5);
