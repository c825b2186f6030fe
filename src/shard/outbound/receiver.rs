//! Beside sites: receivers. Sites that lead to the same hosts by the same source, each in its own way (TLS, credentials, the order of its hosts), have
//! connections of their own. What bounds them holds for the hosts: the node has one count for all of them.
//!
//! Between shards that is as if they were one site. Within a shard one may wait while others have all: their connections are given up for it as
//! those of a provider's sites are.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::limits;
use crate::shard::counts::ConnectionCount;

/// What sites of this shard lead to.
pub struct Receiver {
    /// What its count is kept by.
    pub name: Box<str>,
    /// The node's.
    pub count: Arc<ConnectionCount>,
    /// Its sites that have connections with nothing to do.
    idle: Cell<usize>,
    /// Those that wait for a connection.
    waiting: Cell<usize>,
}

impl Receiver {
    /// Whether a site waits for a connection, another than the one that asks.
    pub fn is_wanted(&self, own: Option<&WaitingForHosts>) -> bool {
        self.waiting.get() > usize::from(own.is_some())
    }

    /// One of its sites has connections with nothing to do, or has none any more.
    pub fn set_idle(&self, shard: usize, idle: bool) {
        let before = self.idle.get();
        self.idle.set(if idle { before + 1 } else { before - 1 });
        self.count.set_idle(shard, self.idle.get() > 0);
    }

    /// Whether any of its sites has such.
    pub fn has_idle(&self) -> bool {
        self.idle.get() > 0
    }

    /// One of its sites waits for a connection.
    pub fn wait(self: &Rc<Receiver>) -> WaitingForHosts {
        self.waiting.set(self.waiting.get() + 1);
        WaitingForHosts(self.clone())
    }
}

/// A site waits for a connection that the limit of its hosts does not let it have.
pub struct WaitingForHosts(Rc<Receiver>);

impl Drop for WaitingForHosts {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// Those that sites of this shard have.
#[derive(Default)]
pub struct Receivers {
    by_name: RefCell<HashMap<Box<str>, Weak<Receiver>>>,
    /// How many there were when those that are gone were looked for last.
    kept: Cell<usize>,
}

impl Receivers {
    /// The receiver of a name, with the count of the node.
    pub fn get(&self, name: &str, count: impl FnOnce() -> Arc<ConnectionCount>) -> Rc<Receiver> {
        let mut known = self.by_name.borrow_mut();
        if let Some(receiver) = known.get(name).and_then(Weak::upgrade) {
            return receiver;
        }
        if known.len() >= limits::COUNTS_KEPT.max(2 * self.kept.get()) {
            known.retain(|_, receiver| receiver.strong_count() > 0);
            self.kept.set(known.len());
        }
        let (idle, waiting) = (Cell::new(0), Cell::new(0));
        let receiver = Rc::new(Receiver { name: name.into(), count: count(), idle, waiting });
        known.insert(name.into(), Rc::downgrade(&receiver));
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_not_asked_by_itself() {
        let receivers = Receivers::default();
        let one = receivers.get("mx.example:25", Arc::default);
        assert!(Rc::ptr_eq(&one, &receivers.get("mx.example:25", Arc::default)));
        assert!(!Rc::ptr_eq(&one, &receivers.get("mx.example:465", Arc::default)));
        let own = one.wait();
        assert!(!one.is_wanted(Some(&own)) && one.is_wanted(None));
        let other = one.wait();
        assert!(one.is_wanted(Some(&own)));
        drop((own, other));
        assert!(!one.is_wanted(None));
    }

    #[test]
    fn those_that_are_gone_are_forgotten() {
        let receivers = Receivers::default();
        let kept = receivers.get("kept", Arc::default);
        (0..5 * limits::COUNTS_KEPT)
            .for_each(|number| drop(receivers.get(&number.to_string(), Arc::default)));
        assert!(receivers.by_name.borrow().len() <= 2 * limits::COUNTS_KEPT);
        assert!(Rc::ptr_eq(&kept, &receivers.get("kept", Arc::default)));
    }
}
