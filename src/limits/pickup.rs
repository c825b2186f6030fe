//! A directory that programs of this machine drop mail into.

use std::time::Duration;

/// How often the directory is looked at: some system calls while nothing is there.
pub const PICKUP_LOOK: Duration = Duration::from_millis(500);
/// A file that was written to within this time may not be whole yet.
pub const PICKUP_SETTLE: Duration = Duration::from_secs(1);
/// Files that are being taken at one time: so many may be sent again where the relay is killed meanwhile.
pub const PICKUP_AT_ONCE: usize = 64;
/// Bytes of these files in memory; one that is larger is taken alone.
pub const PICKUP_MEMORY: u64 = 64 * 1024 * 1024;
/// Between two tries of a message that is refused for now.
pub const PICKUP_LATER: Duration = Duration::from_secs(60);
/// How long nothing is taken after the node took nothing, or could not keep it, or the directory could not be used.
pub const PICKUP_REST: Duration = Duration::from_secs(2);
/// How long an answer is waited for before it is looked whether the node stops; also before a shard is asked again that was asked too much.
pub const PICKUP_WAIT: Duration = Duration::from_millis(20);
/// Bytes of a file's name that are kept where it is put aside, behind which more is put: a name has 255 at most.
pub const PICKUP_NAME_MAX: usize = 200;
/// Bytes of what is wrong that are repeated.
pub const PICKUP_SHOWN_MAX: usize = 120;
/// Recipients of one merge in a file: each becomes a file of its own.
pub const PICKUP_RECIPIENTS_MAX: usize = 100_000;

const _: () = assert!(
    PICKUP_NAME_MAX + 2 * (1 + 16) + ".error".len() <= 255,
    "a number and an ending fit behind the name"
);
