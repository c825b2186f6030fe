//! Bounds of forgetting an address.

use std::time::Duration;

/// Bytes of a log that are looked through at once: whole lines.
pub const ERASE_READ: usize = 1024 * 1024;
/// The longest that is read as one where no line ends.
pub const ERASE_LINE_MAX: usize = 16 * 1024 * 1024;
/// How often logs are looked through until nothing new is found: files are moved aside and compressed meanwhile.
pub const ERASE_PASSES: usize = 4;
/// How long logs have to catch up before they are looked through, and the journal to let go of what all have read.
pub const ERASE_WAIT: Duration = Duration::from_secs(15);
/// How often it is seen whether they have.
pub const ERASE_LOOK: Duration = Duration::from_millis(100);
/// How long queued mail is searched for the address; what is longer is told as unknown.
pub const ERASE_SEARCH: Duration = Duration::from_secs(60);
/// Bytes of the hash that stands for the address.
pub const ERASE_HASH: usize = 8;
