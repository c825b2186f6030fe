//! The io_urings of one executor, for the epoll set.
//!
//! glommio keeps its rings to itself, but their descriptors are among those of the process: one executor is made at a time, and the
//! rings that appear meanwhile are its own. Where they cannot be told for certain there are none, and the shard parks for its syncs.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rings of one executor: for sockets and timers, for files, for polled disks.
const RINGS: usize = 3;

static STARTING: Mutex<()> = Mutex::new(());

/// While one lives, no other executor is made.
pub(super) fn one_at_a_time() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rings of this process.
pub(super) fn open() -> BTreeSet<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let rings = entries.filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:[io_uring]")
    });
    rings.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Duplicates of those that were opened since; none if they are not those of one executor.
pub(super) fn since(before: &BTreeSet<RawFd>) -> io::Result<Vec<OwnedFd>> {
    let new: Vec<RawFd> = open().difference(before).copied().collect();
    if new.len() != RINGS {
        return Ok(Vec::new());
    }
    let duplicate = |fd| {
        // SAFETY: the executor that opened it runs the caller, so it is open for longer than this call.
        unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
    };
    new.into_iter().map(duplicate).collect()
}
