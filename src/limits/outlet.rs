//! Bounds of what is told of mail to others: logs, their rotation, the commands that read them, webhooks.

use std::time::Duration;

/// Bytes of a site's name in an event: those of a provider with a dozen hosts have more, and the first ones tell.
pub const EVENT_SITE_MAX: usize = 160;

/// Bytes of the key that makes addresses in logs unreadable, as many as its hash has.
pub const REDACT_SECRET: usize = 32;
/// Bytes of that hash that stand for an address: among a million people of one domain and first letter two share a name once in five hundred nodes, and it
/// stays short enough to be read.
pub const REDACTED_BYTES: usize = 6;

/// Bytes of a log after which it may be moved aside, at the least: files are to be few.
pub const LOG_ROTATE_MIN: u64 = 64 * 1024;
/// And at the most: what is compressed is read at once by nobody.
pub const LOG_ROTATE_MAX: u64 = 1 << 40;
/// Time after which it may be, at the least.
pub const LOG_ROTATE_SPAN_MIN: Duration = Duration::from_secs(60);
/// And at the most: a year.
pub const LOG_ROTATE_SPAN_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Files that are kept of a log at the most: each is looked at at each rotation.
pub const LOG_KEPT_MAX: u64 = 5_000;
/// How often a log that cannot be moved aside tries again.
pub const LOG_ROTATED_AGAIN: Duration = Duration::from_secs(60);
/// How often it is seen whether there is something to compress.
pub const PACK_LOOK: Duration = Duration::from_millis(200);
/// How often files that are kept for a time are looked at, and those that could not be compressed.
pub const PACKED_AGAIN: Duration = Duration::from_secs(3600);
/// How hard zstd tries: its own default, a gigabyte in some seconds of one core.
pub const PACK_LEVEL: i32 = 3;
/// Bytes that are compressed at once: a stop waits for one of these.
pub const PACK_BUFFER: usize = 256 * 1024;

/// Bytes of a log that a command reads at once: a gigabyte takes a few seconds, most of it in looking for what is meant.
pub const LOG_READ: usize = 1024 * 1024;
/// Bytes of its beginning that are looked at for what a file of a log is known by: the first fields of its first event.
pub const LOG_HEAD: usize = 4 * 1024;
/// And of those where that is no event.
pub const LOG_HEAD_PLAIN: usize = 64;
/// Bytes of logs, unpacked, that one answer of the API reads at the most; and for how long: then it says where to go on.
pub const LOG_PART: u64 = 512 * 1024 * 1024;
/// See there.
pub const LOG_PART_TIME: Duration = Duration::from_secs(2);
/// Events of a page where nothing is said.
pub const LOG_PAGE: usize = 100;
/// And at the most.
pub const LOG_PAGE_MAX: usize = 1000;
/// Bytes of events after which a page ends.
pub const LOG_PAGE_BYTES: usize = 1024 * 1024;
/// How long such an answer unpacks what it passes over, to go on behind it; what is longer is told as unread.
pub const LOG_SKIP_TIME: Duration = Duration::from_secs(15);
/// Answers of the API that read logs at one time: each has a thread of those that wait for files.
pub const LOG_READERS: usize = 2;
/// The same of those that read what a configuration names, or change accounts.
pub const FILE_READERS: usize = 2;
/// Files that cannot be read of which one answer tells.
pub const LOG_TROUBLES_TOLD: usize = 8;
/// Bytes at the end of a log among which its last events are looked for.
pub const LOG_TAIL: u64 = 4 * 1024 * 1024;
/// Events that are shown of the end of a log where nothing is said.
pub const LOG_TAIL_EVENTS: usize = 10;
/// And at the most.
pub const LOG_TAIL_EVENTS_MAX: usize = 10_000;
/// How often a log that is followed is looked at.
pub const LOG_FOLLOWED: Duration = Duration::from_millis(200);
/// Rows of a count over a log; what else there is goes into one.
pub const LOG_STATS_ROWS: usize = 10_000;
/// Rows that are printed of it where nothing is said.
pub const LOG_STATS_SHOWN: usize = 20;

/// Webhooks: each has a thread, and a batch in memory.
pub const WEBHOOKS_MAX: usize = 8;
/// Events that go at once where nothing is said: as Mailtrap sends them.
pub const WEBHOOK_BATCH: usize = 500;
/// And at the most.
pub const WEBHOOK_BATCH_MAX: usize = 1000;
/// How long after the first of them a batch goes at the latest, where nothing is said.
pub const WEBHOOK_SPAN: Duration = Duration::from_secs(30);
/// And at the most.
pub const WEBHOOK_SPAN_MAX: Duration = Duration::from_secs(300);
/// Bytes of a batch after which nothing is added to it: what most web servers take.
pub const WEBHOOK_BODY: usize = 1024 * 1024;
/// How long a batch may take to be sent and answered.
pub const WEBHOOK_TIME: Duration = Duration::from_secs(30);
/// How often it is seen whether there is something to send.
pub const WEBHOOK_ROUND: Duration = Duration::from_millis(200);
/// How long after the first failure a batch is sent again; twice that after the next, and so on.
pub const WEBHOOK_AGAIN: Duration = Duration::from_secs(1);
/// And at the latest after this: who mends his server has his events soon.
pub const WEBHOOK_AGAIN_MAX: Duration = Duration::from_secs(600);
/// Addresses of a host that are tried for a batch.
pub const WEBHOOK_ADDRESSES_MAX: usize = 4;
/// Bytes of an answer that are looked at: its status line.
pub const WEBHOOK_STATUS: usize = 1024;

/// So long after its last change a file of a log may still have events that a command looks for: clocks are set, and a writer may be behind.
pub const LOG_TIME_SLACK: Duration = Duration::from_secs(600);

/// Streams of events: each has a thread and a connection.
pub const STREAMS_OUT_MAX: usize = 8;
/// Entries that a stream keeps, about, where nothing is said.
pub const STREAM_LENGTH: u64 = 1_000_000;
/// And at the most.
pub const STREAM_LENGTH_MAX: u64 = 1_000_000_000;
/// Bytes of a key.
pub const STREAM_KEY_MAX: usize = 256;
/// Events that go at once: a server that is asked by others, too, has them in a millisecond.
pub const STREAM_EVENTS: usize = 500;
/// Bytes after which nothing is added to these.
pub const STREAM_BYTES: usize = 512 * 1024;
/// How long they may take to be sent and answered.
pub const STREAM_TIME: Duration = Duration::from_secs(15);
/// How often it is seen whether there is something to send.
pub const STREAM_OUT_ROUND: Duration = Duration::from_millis(200);
/// How long after the first failure they are sent again; twice that after the next, and so on.
pub const STREAM_FAILED_AGAIN: Duration = Duration::from_millis(500);
/// And at the latest after this.
pub const STREAM_AGAIN_MAX: Duration = Duration::from_secs(60);
/// A connection to NATS that was quiet for so long is not used again.
pub const NATS_IDLE: Duration = Duration::from_secs(10);
/// Bytes of one line that a server answers.
pub const STREAM_LINE_MAX: usize = 64 * 1024;
