//! How one process takes over from another, and what supervisors give.

use std::time::Duration;

/// Listening sockets that a supervisor may pass.
pub const SOCKETS_GIVEN_MAX: u64 = 1024;
/// Descriptors in one message between the two processes; the kernel lets 253 pass (SCM_MAX_FD).
pub const SOCKETS_AT_ONCE: usize = 128;
/// Bytes of such a message: a path, or words of an error.
pub const SUCCESSION_MESSAGE_MAX: usize = 8192;
/// How long what is said to the other process may wait to be taken.
pub const SUCCESSION_SAY: Duration = Duration::from_secs(5);
/// How often a process that takes over or is taken over from looks around while it waits.
pub const SUCCESSION_LOOK: Duration = Duration::from_millis(20);

/// How long the new binary may take to look at the configuration.
pub const UPGRADE_CHECK: Duration = Duration::from_secs(60);
/// Bytes of what it says of that which are told.
pub const UPGRADE_WORDS: u64 = 4096;
/// How long the new process may take to get ready as far as it can beside the old one.
pub const UPGRADE_PREPARED: Duration = Duration::from_secs(60);
/// How long the old one waits for what is under way at next hops, while mail is taken as before.
pub const UPGRADE_REST: Duration = Duration::from_secs(10);
/// How long it waits at least: how much is under way is told once a second.
pub const UPGRADE_REST_LEAST: Duration = Duration::from_millis(1100);
/// How long its sessions then may take to end. Clients that come meanwhile wait, so that it is less than a stop's.
pub const UPGRADE_DRAIN: Duration = Duration::from_secs(10);
/// How long the new one waits for the old one to let go of the spool: all the above, and its last writes.
pub const UPGRADE_LET_GO: Duration = Duration::from_secs(120);
/// How often `relevo upgrade` looks how far it is.
pub const UPGRADE_FOLLOW: Duration = Duration::from_millis(100);
/// And for how long.
pub const UPGRADE_FOLLOWED: Duration = Duration::from_secs(600);
/// How often `relevo drain` looks what is left.
pub const DRAIN_FOLLOW: Duration = Duration::from_millis(500);
/// And how often it says so.
pub const DRAIN_TOLD: Duration = Duration::from_secs(10);
/// Looks in a row that find nothing left but what is held, after which nobody waits any more.
pub const DRAIN_HELD_LOOKS: u32 = 20;
/// How long the last word to a supervisor may take.
pub const SUPERVISOR_BARRIER: Duration = Duration::from_secs(5);
