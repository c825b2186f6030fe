//! The unit of queueing: the recipients of one message at one domain.

use crate::id::Location;

/// A group of recipients of one message that share a domain and a fate so far: a reference, never a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where the message record lay when it was handed out; it may have moved.
    pub location: Location,
    /// The message's entry in its lane's index.
    pub key: u32,
    /// First recipient ordinal.
    pub first: u16,
    /// Recipients, all of one domain.
    pub count: u16,
    /// Attempts so far.
    pub attempts: u16,
    /// Whether the record was written or read just now, so that its pages are in memory.
    pub resident: bool,
    /// It was past its expiry when it was found at start: it is tried once more before it is given up, as the clock may be wrong.
    pub last_try: bool,
    /// Not before this time (seconds of the queues' clock); 0 is at once. In the queue of a closed site: when it is said again that
    /// it waits.
    pub not_before: u32,
    /// When it is given up (seconds of the queues' clock).
    pub expiry: u32,
}

impl Group {
    /// Whether it is given up without another attempt.
    pub fn is_expired(&self, now: u32) -> bool {
        self.expiry <= now && !self.last_try
    }

    /// It is told that it waits for somebody who cannot be reached, and again at `next`. A last try lasts until then: who cannot be reached
    /// now may be in a moment, as after a boot that is faster than the network.
    pub fn told(&mut self, next: u32) {
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = next;
        if std::mem::take(&mut self.last_try) {
            self.expiry = self.expiry.max(next);
        }
    }

    /// The next time something is to be done about it while it waits.
    pub fn due(&self) -> u32 {
        self.not_before.min(self.expiry)
    }
}

const _: () = assert!(size_of::<Group>() <= 28, "one of these for each queued recipient");
