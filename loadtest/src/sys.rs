//! What this crate asks of the kernel beyond sockets. All its `unsafe` is here.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The relay to test where none is named: the binary beside this one, or whatever PATH has.
pub fn relevo() -> std::path::PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("relevo")));
    beside.filter(|path| path.exists()).unwrap_or_else(|| "relevo".into())
}

/// Nanoseconds of the machine's monotonic clock, the same in every process; never 0.
pub fn now() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC).max(1)
}

/// Processor time this thread has used, user and system.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(read_clock(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// Processor time all threads of this process have used, ended ones included.
pub fn process_cpu() -> Duration {
    Duration::from_nanos(read_clock(libc::CLOCK_PROCESS_CPUTIME_ID))
}

fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the whole call, and the call writes nothing else. The clocks used
    // here exist on every Linux; were one missing, `time` would stay zero.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Raises the soft limit on open files to the hard one and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that the call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a valid rlimit that the call only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// Columns of the terminal that standard output is; None: it is none.
pub fn columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a valid winsize that the call fills, where standard output is a terminal.
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    (done == 0 && size.ws_col > 0).then_some(size.ws_col.into())
}

/// Whether there is something to read, or an end, within a time. True also where a signal came: the caller looks again.
pub fn is_readable_within(file: &impl AsRawFd, time: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = libc::c_int::try_from(time.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `poll` is one valid pollfd for the length of the call, and the descriptor is open.
    match unsafe { libc::poll(&mut poll, 1, milliseconds) } {
        -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => Ok(true),
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}

/// The kernel is to choose this socket's port when it knows the target, not at `bind`: then each source address has
/// all ports for each target.
pub fn bind_address_without_port(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for the length of the call; the value is read from a valid int of the given size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            std::ptr::from_ref(&on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: takes no pointers. The caller names one process: 0 and negative numbers, which mean groups, cannot come out
    // of a process number.
    let result = if pid > 0 { unsafe { libc::kill(pid, signal) } } else { 0 };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Units of processor time in `/proc`, a second.
pub fn ticks_per_second() -> f64 {
    // SAFETY: takes no pointers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_interrupt(_signal: libc::c_int) {
    // A store to an atomic is all that a signal handler may do here.
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM only set the flag this returns. For binaries: it changes the whole process.
pub fn catch_interrupts() -> &'static AtomicBool {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler has the signature `signal` asks for, lives for ever and does only an atomic store,
        // which is async-signal-safe.
        unsafe { libc::signal(signal, note_interrupt as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
    &INTERRUPTED
}

/// A timer that becomes readable: `epoll` itself counts in milliseconds, too coarse for an open loop.
#[derive(Debug)]
pub struct Timer {
    descriptor: OwnedFd,
    armed_for: u64,
}

impl Timer {
    /// An unarmed timer.
    pub fn new() -> io::Result<Timer> {
        // SAFETY: takes no pointers; a non-negative result is a descriptor nobody else owns.
        let descriptor = unsafe {
            let descriptor =
                libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(descriptor)
        };
        Ok(Timer { descriptor, armed_for: 0 })
    }

    /// Readable from `at` ([`now`]'s clock) on. Replaces an earlier arming; arming for the same moment is free.
    pub fn arm(&mut self, at: u64) -> io::Result<()> {
        if self.armed_for == at {
            return Ok(());
        }
        let mut setting: libc::itimerspec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        };
        setting.it_value.tv_sec = (at / 1_000_000_000) as libc::time_t;
        setting.it_value.tv_nsec = (at % 1_000_000_000) as libc::c_long;
        // SAFETY: the descriptor is open, `setting` is valid for the call, and the old setting is not asked for.
        let result = unsafe {
            libc::timerfd_settime(
                self.descriptor.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &setting,
                std::ptr::null_mut(),
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        self.armed_for = at;
        Ok(())
    }

    /// Takes note that it fired; the next [`Timer::arm`] is not skipped.
    pub fn fired(&mut self) {
        self.armed_for = 0;
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move_forward() {
        let (before, cpu) = (now(), thread_cpu());
        let mut sum = 0u64;
        while now() - before < 5_000_000 {
            sum = sum.wrapping_add(before);
        }
        assert!(thread_cpu() > cpu && process_cpu() >= thread_cpu(), "{sum}");
    }
}
