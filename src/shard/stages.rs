//! How far the node is on its way out: whether it stops, or hands over to another process.

use std::sync::atomic::{AtomicBool, Ordering};

/// What shards are told of it. All of it is read often and written once.
#[derive(Debug, Default)]
pub struct Stages {
    leaving: AtomicBool,
    resting: AtomicBool,
    handing: AtomicBool,
    stop: AtomicBool,
}

impl Stages {
    /// The node is about to stop: balancers that look are told, and nobody else.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    /// Whether that was said.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Nothing more is begun with next hops, or all is again; mail is taken all the while.
    pub fn rest(&self, rests: bool) {
        self.resting.store(rests, Ordering::SeqCst);
    }

    /// Whether next hops are to be left alone.
    pub fn rests(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    /// Another process has the listening sockets too: who comes from now on waits for it.
    pub fn hand_over(&self) {
        self.handing.store(true, Ordering::SeqCst);
    }

    /// Whether that was said.
    pub fn hands_over(&self) -> bool {
        self.handing.load(Ordering::Relaxed)
    }

    /// The node stops.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether it does.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
