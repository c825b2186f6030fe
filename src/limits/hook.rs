//! The service that is asked about each message (`[hook]`).

use std::time::Duration;

/// Bytes of its URL.
pub const HOOK_URL_MAX: usize = 1_024;
/// How long an answer may be waited for: clients wait for minutes (RFC 5321 4.5.3.2.6), and those that give up bring the message again.
pub const HOOK_DEADLINE_MAX: Duration = Duration::from_secs(60);
/// The shortest wait that it may be.
pub const HOOK_DEADLINE_MIN: Duration = Duration::from_millis(50);
/// Questions that wait for their turn, over all shards: beyond it nobody is asked, and what `fail` says holds.
pub const HOOK_WAITING: usize = 512;
/// Questions, and connections, that the service has at one time.
pub const HOOK_AT_ONCE: usize = 32;
/// Bytes of a header section that it is shown: usual ones have 2 to 20 KiB.
pub const HOOK_HEADER_MAX: usize = 64 * 1024;
/// Recipients that it is shown, the first ones; how many there are it is told in any case.
pub const HOOK_RECIPIENTS_MAX: usize = 100;
/// Bytes of its answer.
pub const HOOK_ANSWER_MAX: usize = 64 * 1024;
/// Bytes of the head of that.
pub const HOOK_HEAD_MAX: usize = 16 * 1024;
/// Header fields that it may add to a message.
pub const HOOK_FIELDS_MAX: usize = 32;
/// Failures in a row after which it is left alone for a while: nobody waits for a service that is gone.
pub const HOOK_FAILURES: u32 = 5;
/// For so long; then one message tries it.
pub const HOOK_REST: Duration = Duration::from_secs(5);
/// How soon a shard looks for the answer, and then at twice the time.
pub const HOOK_LOOK: Duration = Duration::from_millis(1);
/// At the latest after this.
pub const HOOK_LOOK_MAX: Duration = Duration::from_millis(20);
/// How much longer than its deadline a shard waits, which hears of that by others.
pub const HOOK_LATE: Duration = Duration::from_millis(250);
/// How often the thread that asks looks whether it is over.
pub const HOOK_ROUND: Duration = Duration::from_millis(100);

const _: () = assert!(HOOK_DEADLINE_MIN.as_millis() < HOOK_DEADLINE_MAX.as_millis());
/// Letters of what a reader of JSON says is wrong in an answer: names that somebody else made up may be in it.
pub const HOOK_WORDS: usize = 200;
