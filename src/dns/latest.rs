//! What the machine's own files say of name servers and hosts, when that changes while the relay runs.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Addresses of hosts, by name in lower case.
pub type Hosts = Arc<HashMap<Box<str>, Vec<IpAddr>>>;

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolverFiles {
    /// Name servers in their order.
    pub servers: Vec<SocketAddr>,
    /// What the hosts file says.
    pub hosts: Hosts,
}

/// Handed from the one thread that reads the files to the shards, which look for it once a second.
#[derive(Debug, Default)]
pub struct Latest {
    /// How often it changed: a look that finds nothing new costs one load.
    changes: AtomicU64,
    known: Mutex<ResolverFiles>,
}

impl Latest {
    /// It is this from now on.
    pub fn publish(&self, known: ResolverFiles) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// What it is, if it changed since `seen` changes, and how many there were. None: it did not.
    pub fn newer(&self, seen: u64) -> Option<(u64, ResolverFiles)> {
        let changes = self.changes.load(Ordering::Acquire);
        (changes != seen)
            .then(|| (changes, self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}
