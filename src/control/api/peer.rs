//! Who asks.

use std::fmt;

use crate::runtime::process;

/// Who asks, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub(in crate::control) struct Peer {
    /// None: it is not known.
    user: Option<u32>,
    process: Option<i32>,
}

impl Peer {
    pub(in crate::control) fn of(stream: &tokio::net::UnixStream) -> Peer {
        match stream.peer_cred() {
            Ok(credentials) => Peer { user: Some(credentials.uid()), process: credentials.pid() },
            Err(_) => Peer { user: None, process: None },
        }
    }

    /// The relay's own user and root.
    pub(in crate::control) fn may(self) -> bool {
        self.user.is_some_and(|user| user == 0 || user == process::user().0)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.user, self.process) {
            (Some(user), Some(process)) => write!(formatter, "user {user}, process {process}"),
            (Some(user), None) => write!(formatter, "user {user}"),
            (None, _) => formatter.write_str("somebody"),
        }
    }
}
