//! Options of sockets that `rustix` does not know.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// IP_BIND_ADDRESS_NO_PORT (ip(7)): the port of a socket that is bound to an address is chosen when it is connected. So each of its hosts may be
/// connected to from each port of an address; else all of them would share these.
pub(super) fn choose_port_late(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the value is read for the length that is said.
    let set = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// SIOCOUTQ (tcp(7)): bytes in the send queue that the other side has not acknowledged.
pub(super) fn unacknowledged(socket: &impl AsFd) -> Option<usize> {
    let mut queued: libc::c_int = 0;
    // SAFETY: the descriptor is open, and one int is written.
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    usize::try_from(queued).ok().filter(|_| asked == 0)
}
