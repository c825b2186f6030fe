//! The spool: segments, commits, recovery, compaction.

use std::time::Duration;

use super::outbound::REPLY_TEXT_MAX;
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

/// Bytes of one snapshot record.
pub const SNAPSHOT_MAX: usize = 1024 * 1024;
/// Bytes of a last reply that go with a moved recipient: more than a reply that is kept has.
pub const REPLY_MOVED_MAX: usize = 2 * REPLY_TEXT_MAX;

/// Bytes that are searched for commit headers at one time.
pub const HEADERS_SOUGHT_AT_ONCE: u64 = 1 << 20;

/// Bytes of a damaged commit that are searched for records at one time.
pub const SALVAGED_AT_ONCE: u64 = COMMIT_BYTES_MAX as u64;

/// Compaction starts when the sealed segments hold more than this many tenths of the live bytes, and two segments. Twice the live
/// bytes is what they may grow to; the rest is the time compaction has.
pub const COMPACTION_TENTHS: u64 = 17;
/// Segments more than that: what was sealed a moment ago dies by itself.
pub const COMPACTION_SLACK: u64 = 2;
/// Segments emptied in one go: one scan of the index serves all of them.
pub const COMPACTION_SEGMENTS_MAX: usize = 64;
/// Snapshots of segments taken in one go.
pub const SNAPSHOTS_AT_ONCE: usize = 16;
/// Segments held by outcomes alone before a snapshot is taken.
pub const SNAPSHOT_AT: usize = 4;

/// Sequence numbers passed over when some cannot be read: more than a lane of the usual size can have begun since the highest known one.
pub const UNREADABLE_GAP: u32 = 1 << 16;

/// Distinct texts of last replies that a lane keeps; the last thousand places are for bare codes.
pub const REPLIES_KEPT_MAX: usize = 20_000;
/// Entries of one block of a lane's index: 40 KiB, so that a growing table is neither copied nor twice as large as it must be.
pub const INDEX_BLOCK: usize = 1024;

/// Segments that a lane makes before it takes mail, and may have whatever the bound on its bytes: its reserve, the one it writes, and the next.
pub const SEGMENTS_LEAST: usize = SEGMENTS_RESERVED + 2;
/// How often a segment is tried to be freed in one life of the process.
pub const FREE_TRIES: u8 = 8;

/// Messages of a segment out of reach that are named.
pub const NAMED_MAX: usize = 1000;

/// Bytes of a record that a tool reads at first: nearly every record is shorter.
pub const RECORD_FIRST_READ: u64 = 4096;

/// Damaged places of one lane that are told one by one; more are counted.
pub const ROT_TOLD_MAX: usize = 10_000;

/// Bytes of a commit's records that are read: no writer makes larger commits.
pub const RECORDS_MAX: u32 = COMMIT_BYTES_MAX as u32;

/// Looks at a lane that changes under us before it is taken as it is.
pub const INSPECTION_LOOKS_MAX: usize = 4;

/// How often it is looked whether there is something to compact.
pub const COMPACTION_PAUSE: Duration = Duration::from_millis(250);
/// Longer than a message is read through the map after it came.
pub const MAPPED_READ_MAX: Duration = Duration::from_secs(90);
/// Moves of messages queued at one time.
pub const MOVES_QUEUED_MAX: usize = COMMIT_ITEMS_MAX / 2;

/// How long a lane that could not make a segment waits before it tries again: clients that got 452 come back, and find the room that
/// was made meanwhile.
pub const SEGMENT_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of a record that a shard reads at first, likewise.
pub const LOADED_FIRST: usize = 4096;

/// Segments freed between two commits: each costs a sync.
pub const FREES_AT_ONCE: usize = 4;
/// How long a lane waits before it tries again to free segments, when it could not.
pub const FREE_PAUSE: Duration = Duration::from_secs(1);

/// Counters a shard has for the segments of a lane. Segments that share one wait for each other, which costs nothing but time.
pub const PIN_COUNTERS: usize = 256;
/// Keys of one block of the table of moved messages. A block is made when the first of its messages moves.
pub const PLACES_BLOCK: usize = 4096;
/// Blocks of that table.
pub const PLACES_BLOCKS: usize = MOVABLE_KEYS as usize / PLACES_BLOCK;

/// How long a lane waits between two tries to secure what a start found.
pub const SECURE_PAUSE: Duration = Duration::from_secs(1);

/// Outcomes that start a commit before their delay is over: enough to be worth one.
pub const OUTCOMES_AT: usize = 256;

/// How long a lane has nothing to do before it says on the disk that its last commit was synced.
pub const LANE_REST: Duration = Duration::from_secs(1);

/// Records of all lanes that a start tells again: many times what shards, control and its journal hold that is not on the disk, and 200 MB of
/// memory. More is only where a journal was not kept for long.
pub const RECORDED_SINCE_MAX: usize = 4_000_000;
/// Of these, what a lane has in any case where there are many: more than a second of a shard at its fastest.
pub const RECORDED_SINCE_LEAST: usize = 100_000;
/// Records that are looked through for those of one message, which is read once for all of them.
pub const RETOLD_TOGETHER: usize = 4_096;
/// Segments that a bound on the spool's size must leave room for, of all shards.
pub const SPOOL_SEGMENTS_LEAST: u64 = 8;
/// Those that it leaves room for where somebody has to be given an example.
pub const SPOOL_SEGMENTS_USUAL: u64 = 256;
/// Bytes that a bound on the spool or the journal may be: more than any file system has, and sums of them fit in 64 bits.
pub const DISK_BYTES_MAX: u64 = 1 << 50;
/// Bytes of a commit that are read at first: a usual one's header and records, which then need no second read.
pub const COMMIT_READ: usize = 64 * 1024;
/// Bytes of a file of one line in the data directory: what is longer is none of ours.
pub const LINE_FILE_MAX: u64 = 64;
