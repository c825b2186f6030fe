//! What a next hop took, and whether the relay knows.

use std::cell::Cell;

use relevo::time::Instant;

/// A hop took something.
#[derive(Debug)]
pub struct Seen {
    /// When its MAIL was there: the order of the relay's attempts, whenever the rest of what was under way arrived.
    pub began: Instant,
    /// When its dot was there.
    pub at: Instant,
    /// When its 250 was sent.
    pub answered: Cell<Option<Instant>>,
    /// The relay went on after it: it knows.
    pub sure: Cell<bool>,
}

impl Seen {
    /// Of a MAIL and a dot that came then.
    pub fn new(began: Instant, at: Instant) -> Seen {
        Seen { began, at, answered: Cell::new(None), sure: Cell::new(false) }
    }

    pub fn answered(&self, at: Instant) {
        self.answered.set(Some(at));
    }

    pub fn known(&self) {
        self.sure.set(self.answered.get().is_some());
    }
}
