//! How a shard's thread behaves where cores are short.

/// The calling thread does not push another one off its core when something comes for it (SCHED_BATCH): it waits until that one sleeps
/// or has had its slice, and finds more to do at once. On a core of its own nothing changes. Threads that it starts do the same,
/// those of its io_uring rings among them.
pub(in crate::runtime) fn be_patient() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads one struct that lives until it returns; 0 is the calling thread. It changes nothing where it is refused.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters) };
}

/// The calling thread runs where nobody else wants the core (SCHED_IDLE), and leaves it at once to whoever comes. It cannot go back.
pub(in crate::runtime) fn be_idle() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: as above.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) };
}

/// The calling thread has a smaller share of a core than others that want it, about a tenth of theirs.
pub(in crate::runtime) fn stand_back() {
    // Linux knows the number of a thread where POSIX knows one of a process.
    let _ = rustix::process::setpriority_process(None, 10);
}
