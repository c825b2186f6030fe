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
    /// What is peculiar about it.
    pub standing: GroupPhase,
    /// How long its message lives, from the first to its expiry: a number of [`Lifetimes`](crate::queue::lifetimes::Lifetimes).
    pub life: u8,
    /// Not before this time (seconds of the queues' clock); 0 is at once. In the queue of a closed site: when it is said again that
    /// it waits.
    pub not_before: u32,
    /// When it is given up (seconds of the queues' clock).
    pub expiry: u32,
}

/// The number of a lifetime that found no room among those.
pub const ANY_LIFETIME: u8 = u8::MAX;

/// What few groups are, or none for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupPhase {
    /// Nothing peculiar.
    Usual,
    /// The record was written just now, so that its pages are in memory.
    Resident,
    /// It waits for a suspension to end.
    Suspended,
    /// It waits for the time at which its sender or a rule wants it to go.
    Held,
    /// An operator holds it, until he lets it go or for so long: nothing else does.
    Kept,
    /// It was past its expiry when it was found at start: it is tried once more before it is given up, as the clock may be wrong.
    LastTry,
}

impl Group {
    /// One recipient of a message of this place, who was never tried, is due and lasts for ever.
    pub fn bare(location: Location, key: u32) -> Group {
        Group {
            location,
            key,
            first: 0,
            count: 1,
            attempts: 0,
            standing: GroupPhase::Usual,
            life: ANY_LIFETIME,
            not_before: 0,
            expiry: u32::MAX,
        }
    }

    /// These recipients of it, and those before and behind them.
    pub fn cut(self, first: u16, count: u16) -> (Group, impl Iterator<Item = Group>) {
        let (start, end) = (u32::from(self.first), u32::from(self.first) + u32::from(self.count));
        let from = u32::from(first).clamp(start, end);
        let to = (u32::from(first) + u32::from(count)).clamp(from, end);
        let part = move |from: u32, to: u32| Group { first: from as u16, count: (to - from) as u16, ..self };
        let rest = [part(start, from), part(to, end)];
        (part(from, to), rest.into_iter().filter(|part| part.count > 0))
    }

    /// Whether it is tried for the last time.
    pub fn is_last_try(&self) -> bool {
        self.standing == GroupPhase::LastTry
    }

    /// Whether an operator holds it.
    pub fn is_kept(&self) -> bool {
        self.standing == GroupPhase::Kept
    }

    /// Whether it is given up without another attempt.
    pub fn is_expired(&self, now: u32) -> bool {
        self.expiry <= now && !self.is_last_try()
    }

    /// It is told that it waits for somebody who cannot be reached, and again at `next`. A last try lasts until then: who cannot be reached
    /// now may be in a moment, as after a boot that is faster than the network.
    pub fn told(&mut self, next: u32) {
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = next;
        if self.is_last_try() {
            self.standing = GroupPhase::Usual;
            self.lasts_until(self.expiry.max(next));
        }
    }

    /// It is to be tried as soon as may be, and waits neither for a suspension nor for its hour nor for an operator any more.
    pub fn resume(&mut self) {
        self.not_before = 0;
        if matches!(self.standing, GroupPhase::Suspended | GroupPhase::Held | GroupPhase::Kept) {
            self.standing = GroupPhase::Usual;
        }
    }

    /// It is given up at this time, whenever it came.
    pub fn lasts_until(&mut self, expiry: u32) {
        if self.expiry != expiry {
            (self.expiry, self.life) = (expiry, ANY_LIFETIME);
        }
    }

    /// The next time something is to be done about it while it waits.
    pub fn due(&self) -> u32 {
        self.not_before.min(self.expiry)
    }
}

const _: () = assert!(size_of::<Group>() <= 28, "one of these for each queued recipient");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_cut_into_what_is_meant_and_the_rest() {
        let group = Group { first: 10, count: 5, ..Group::bare(Location { lane: 0, slot: 0, offset: 0 }, 1) };
        let cut = |first, count| {
            let (part, rest) = group.cut(first, count);
            ((part.first, part.count), rest.map(|part| (part.first, part.count)).collect::<Vec<_>>())
        };
        assert_eq!(cut(10, 5), ((10, 5), vec![]));
        assert_eq!(cut(10, 1), ((10, 1), vec![(11, 4)]));
        assert_eq!(cut(12, 2), ((12, 2), vec![(10, 2), (14, 1)]));
        assert_eq!(cut(14, 1), ((14, 1), vec![(10, 4)]));
        assert_eq!(cut(0, u16::MAX), ((10, 5), vec![]));
    }
}
