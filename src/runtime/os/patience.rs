//! How a shard's thread behaves where cores are short. Where the kernel refuses it, nothing changes; [`refusal`] is asked once for all.

use std::{io, thread};

/// The calling thread does not push another one off its core when something comes for it (SCHED_BATCH): it waits until that one sleeps
/// or has had its slice, and finds more to do at once. On a core of its own nothing changes. Threads that it starts do the same,
/// those of its io_uring rings among them.
pub(in crate::runtime) fn be_patient() {
    let _ = schedule(libc::SCHED_BATCH);
}

/// The calling thread runs where nobody else wants the core (SCHED_IDLE), and leaves it at once to whoever comes. It cannot go back.
pub(in crate::runtime) fn be_idle() {
    let _ = schedule(libc::SCHED_IDLE);
}

/// The calling thread has a smaller share of a core than others that want it, about a tenth of theirs.
pub(in crate::runtime) fn stand_back() {
    let _ = lower_share();
}

/// Why some of this is refused here, tried on a thread that ends with it. None: it is not.
pub(super) fn refusal() -> Option<(&'static str, io::Error)> {
    let tried = thread::Builder::new().name("relevo-probe".into()).spawn(|| {
        let share = lower_share().map_err(|error| ("setpriority", error));
        let policy = |policy| schedule(policy).map_err(|error| ("sched_setscheduler", error));
        share.and_then(|()| policy(libc::SCHED_BATCH)).and_then(|()| policy(libc::SCHED_IDLE)).err()
    });
    // Without one thread more there are worse things to say, and they are said.
    tried.ok()?.join().ok()?
}

fn schedule(policy: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads one struct that lives until it returns; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn lower_share() -> io::Result<()> {
    // Linux knows the number of a thread where POSIX knows one of a process.
    Ok(rustix::process::setpriority_process(None, 10)?)
}
