//! The machine: rings, threads, sockets.

use std::time::Duration;

/// Longest time an idle shard may look for work before it sleeps: above this it burns a core and gains nothing.
pub const SPIN_MAX: Duration = Duration::from_millis(1);
/// Entries of a shard's io_uring, which only files, timers and one poll use; a power of two in this range.
pub const RING_DEPTH_DEFAULT: u64 = 128;
/// Fewest entries: a handful of timers, files and polls at one time.
pub const RING_DEPTH_MIN: u64 = 32;
/// Most entries a kernel gives to a ring by default is 32,768; nothing here needs an eighth of it.
pub const RING_DEPTH_MAX: u64 = 4096;
