//! Bounds of dialogues that are shown: those of sessions as they go, and those of attempts that failed.

use std::time::Duration;

/// People who watch sessions at one time.
pub const TRACES_MAX: usize = 4;
/// How long one of them may, before he asks again.
pub const TRACE_LASTS: Duration = Duration::from_secs(3600);
/// Ticks of a shard without a word of who watches, after which he has gone: ten seconds.
pub const TRACE_LEASE_TICKS: u32 = 40;
/// How often it is looked for lines, and said that somebody is there.
pub const TRACE_LOOK: Duration = Duration::from_millis(100);
/// Looks without a line behind which a blank one is sent: a connection that broke shows by that.
pub const TRACE_IDLE_LOOKS: u32 = 100;
/// Lines that wait on one shard to be passed on; more are dropped, and counted.
pub const TRACE_LINES: usize = 4096;
/// Lines that are passed on together.
pub const TRACE_LINES_AT_ONCE: usize = 512;
/// Bytes of a line that are shown.
pub const TRACE_TEXT: usize = 512;
/// Bytes of a line that is not whole yet.
pub const TRACE_LINE_HELD: usize = 1024;
/// Sessions of one shard that are kept in mind while somebody watches.
pub const TRACE_SESSIONS: usize = 1024;
/// Bytes of one of them that are kept until it is known whether it is meant.
pub const TRACE_SESSION: usize = 8 * 1024;
/// Lines of that.
pub const TRACE_SESSION_LINES: usize = 256;
/// Recipients of a transaction that are kept in mind.
pub const TRACE_RECIPIENTS: usize = 100;
/// Bytes of a message that are shown.
pub const TRACE_BODY: u64 = 16 * 1024;

/// Attempts that failed whose dialogue a shard keeps.
pub const DIALOGUES_KEPT: usize = 2048;
/// Lines of one.
pub const DIALOGUE_LINES: usize = 24;
/// Bytes of a line of one.
pub const DIALOGUE_TEXT: usize = 256;
