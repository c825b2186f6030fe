//! The spool: segments, commits, recovery, compaction.

use std::time::Duration;

use super::shard::SHARDS_MAX;

/// Default bytes of one spool segment.
pub const SEGMENT_SIZE_DEFAULT: u64 = 64 * 1024 * 1024;
/// Smallest and largest segment a configuration may ask for.
pub const SEGMENT_SIZE_MIN: u64 = 4 * 1024 * 1024;
/// Offsets inside a segment are 32 bits.
pub const SEGMENT_SIZE_MAX: u64 = 1024 * 1024 * 1024;
/// Segments of one lane: slots are 16 bits.
pub const SEGMENTS_MAX: usize = 16_384;
/// The unit a commit starts on, so that no synced block is ever rewritten.
pub const BLOCK: u64 = 4096;
/// Bytes of one commit; what does not fit waits for the next.
pub const COMMIT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Messages, chunks and outcomes of one commit. Also bounds the vectored write (IOV_MAX is 1024).
pub const COMMIT_ITEMS_MAX: usize = 900;
/// Segments a lane keeps for outcomes, bounces and compaction; MAIL closes with 452 before they are touched.
pub const SEGMENTS_RESERVED: usize = 2;
/// Messages of a lane that can be moved: the table that tells other shards where a moved message lies has so many places.
/// Above what a lane holds unless several lanes became one shard's.
pub const MOVABLE_KEYS: u32 = 16 * 1024 * 1024;
/// Bytes of moved messages queued at one time: half a commit, so that compaction never takes more than mail does.
pub const COMPACTION_BYTES_MAX: usize = COMMIT_BYTES_MAX / 2;
/// Entries of the index looked at in one go for messages to move: well below a millisecond.
pub const COMPACTION_SCAN: u32 = 50_000;
/// An outcome waits at most this long for a commit to ride on before it forces one.
pub const OUTCOME_DELAY_MAX: Duration = Duration::from_millis(100);
/// Outcomes of one lane in flight from all home shards: the bound on duplicates after a crash.
pub const OUTCOME_CREDITS: usize = 4096;
/// Of these, what each home shard has at least: hops that hang hold some for minutes, and others must be served meanwhile.
pub const OUTCOME_CREDITS_EACH: usize = 256;

/// Messages of damaged segments that are kept in mind at start though their records are gone.
pub const MISSING_MAX: usize = 10_000;

/// Longest time a commit may be held back for more clients: every client waits it for its 250.
pub const COMMIT_DELAY_MAX: Duration = Duration::from_millis(50);

/// Segments that one shard has waiting to be made: more than its lanes ask for at one time.
pub const FILLS_WAITING_MAX: usize = 4 * SHARDS_MAX;
