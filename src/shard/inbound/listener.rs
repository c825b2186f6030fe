//! A listener of the node: what its sessions share, its socket on one shard, and why there may be none.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::config::{ListenAddress, ListenerConfig};
use crate::shard::counts::ClientCounts;
use crate::shard::live::InForce;
use crate::smtp::server::SessionConfig;

/// What one listener's sessions share. Those that begin when the configuration has changed share another.
pub struct Listener {
    /// What the configuration says of it. It is known by its address.
    pub config: ListenerConfig,
    /// Protocol limits and offers.
    pub session: Rc<SessionConfig>,
    /// What its sessions go by until they hear of another.
    pub live: Rc<InForce>,
    /// Its place among the listeners of that, as rules call it.
    pub place: u16,
    /// Connections that are open: of its address, also what began before the configuration changed.
    pub clients: Arc<ClientCounts>,
    /// The certificate, when STARTTLS is offered.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// An open socket, as others than the task that accepts there see it.
pub struct ListeningSocket {
    /// What holds for the next connection.
    listener: RefCell<Rc<Listener>>,
    closing: Cell<bool>,
    accepting: RefCell<Option<Waker>>,
}

impl ListeningSocket {
    /// A socket that was just opened.
    pub fn new(listener: Rc<Listener>) -> ListeningSocket {
        ListeningSocket {
            listener: RefCell::new(listener),
            closing: Cell::new(false),
            accepting: RefCell::default(),
        }
    }

    /// What holds for a connection that comes now.
    pub fn listener(&self) -> Rc<Listener> {
        self.listener.borrow().clone()
    }

    /// Something else holds from the next connection on.
    pub fn change(&self, listener: Rc<Listener>) {
        *self.listener.borrow_mut() = listener;
    }

    /// What waits there is the last that it takes.
    pub fn close(&self) {
        self.closing.set(true);
        if let Some(waker) = self.accepting.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether that was said.
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// The same, for the task that accepts.
    pub fn poll_closing(&self, context: &Context<'_>) -> Poll<()> {
        if self.closing.get() {
            return Poll::Ready(());
        }
        *self.accepting.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    /// Which.
    pub address: ListenAddress,
    /// What the kernel says.
    pub error: io::Error,
}

impl ListenError {
    /// What an operator does about it.
    pub fn fix(&self) -> &'static str {
        match self.error.raw_os_error() {
            Some(libc::EMFILE) => {
                return "this process has all the files open that it may: raise RLIMIT_NOFILE (LimitNOFILE in the systemd unit) and restart";
            }
            Some(libc::ENFILE) => {
                return "the whole machine has all the files open that it may: raise fs.file-max (sysctl), LimitNOFILE does not help";
            }
            Some(libc::ENOBUFS | libc::ENOMEM) => return "the kernel has no memory for it: free some",
            _ => {}
        }
        if matches!(self.address, ListenAddress::Path(_)) {
            return self.fix_of_path();
        }
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there: stop it, or change the listener's address"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE (see deploy/relevo.service)"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address: change the listener's address"
            }
            _ => "change the listener's address",
        }
    }

    fn fix_of_path(&self) -> &'static str {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                "another process serves it: stop it, or change the listener's address"
            }
            io::ErrorKind::NotFound => "make its directory (RuntimeDirectory= in deploy/relevo.service)",
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "let the relay's user write its directory, as /run/relevo of deploy/relevo.service"
            }
            _ => "change the listener's address",
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot listen on {}: {}; {}", self.address, self.error, self.fix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two limits on open files, and one is not raised by raising the other.
    #[test]
    fn it_says_which_limit_is_reached() {
        let address: ListenAddress = "127.0.0.1:25".parse().unwrap();
        let of = |code| {
            ListenError { address: address.clone(), error: io::Error::from_raw_os_error(code) }.to_string()
        };
        assert!(
            of(libc::EMFILE).contains("this process") && of(libc::EMFILE).contains("raise RLIMIT_NOFILE")
        );
        assert!(
            of(libc::ENFILE).contains("raise fs.file-max") && !of(libc::ENFILE).contains("RLIMIT_NOFILE")
        );
    }
}
