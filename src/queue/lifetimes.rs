//! How long mail lives: most as the configuration says, some as a rule or its sender does. A group knows when it is given up and, by a
//! number, how long it lives, and so how old it is.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::limits;
use crate::queue::group::{ANY_LIFETIME, Group};

/// The lifetimes in use on the node, by number. They are never taken out: each is a value of the configuration, or of an application.
#[derive(Debug)]
pub struct Lifetimes([AtomicU32; limits::LIFETIMES_MAX]);

const _: () = assert!(limits::LIFETIMES_MAX <= ANY_LIFETIME as usize);

impl Default for Lifetimes {
    fn default() -> Lifetimes {
        Lifetimes::new()
    }
}

impl Lifetimes {
    /// None in use.
    pub const fn new() -> Lifetimes {
        Lifetimes([const { AtomicU32::new(0) }; limits::LIFETIMES_MAX])
    }

    /// The number of a lifetime, in seconds. Nearly all mail has the first.
    pub fn number(&self, seconds: u32) -> u8 {
        if seconds == 0 {
            return ANY_LIFETIME;
        }
        for (number, place) in (0u8..).zip(&self.0) {
            let known = match place.load(Ordering::Relaxed) {
                0 => place
                    .compare_exchange(0, seconds, Ordering::Relaxed, Ordering::Relaxed)
                    .err()
                    .unwrap_or(seconds),
                known => known,
            };
            if known == seconds {
                return number;
            }
        }
        ANY_LIFETIME
    }

    /// The lifetime of this number, seconds; None: it had no room.
    pub fn seconds(&self, number: u8) -> Option<u32> {
        self.0.get(usize::from(number)).map(|place| place.load(Ordering::Relaxed))
    }
}

/// What ages are told by: the queues' clock, and the lifetimes.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    /// Seconds of the queues' clock.
    pub now: u32,
    /// Those in use.
    pub lifetimes: &'a Lifetimes,
}

impl Times<'_> {
    /// How long ago a group came, seconds. Where its lifetime found no room it is as old as it can be.
    pub fn age(&self, group: &Group) -> u32 {
        let longest = || u32::try_from(limits::CONFIG_TIME_MAX.as_secs()).unwrap_or(u32::MAX);
        let lives = self.lifetimes.seconds(group.life).unwrap_or_else(longest);
        self.now.saturating_add(lives).saturating_sub(group.expiry)
    }

    /// When a group is so old, if it is given up then: not if it is tried for the last time, nor if it was so old before `begun`, when this
    /// process had its queues, and was not put off since. It is to be tried once more then.
    pub fn too_old_at(&self, group: &Group, most: u32, begun: u32) -> Option<u32> {
        let at = self.end_at(group, most)?;
        (at > begun || group.not_before > begun).then_some(at)
    }

    /// When a group is so old. It was tried now: that was the attempt that it was to have, if it was so old before.
    pub fn end_at(&self, group: &Group, most: u32) -> Option<u32> {
        let lives = self.lifetimes.seconds(group.life).filter(|_| !group.is_last_try())?;
        Some(group.expiry.saturating_sub(lives).saturating_add(most))
    }

    /// The same where the record of the message says how long it lives, for groups whose lifetime found no room.
    pub fn age_by_record(&self, group: &Group, lives: u32) -> u32 {
        self.lifetimes
            .seconds(group.life)
            .map_or_else(|| age_by_record(group, self.now, lives), |_| self.age(group))
    }
}

/// How long ago a group came whose lifetime found no room, by that of its record. When it came by the wall clock says nothing: that may have been
/// set since.
pub fn age_by_record(group: &Group, now: u32, lives: u32) -> u32 {
    let age = now.saturating_add(lives).saturating_sub(group.expiry);
    // It was past its life when it was given more time.
    if group.is_last_try() { age.max(lives) } else { age }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Location;
    use crate::queue::group::GroupPhase;

    #[test]
    fn a_group_is_as_old_as_its_message_however_long_that_lives() {
        let lifetimes = Lifetimes::default();
        for lives in [432_000, 60, 432_000, 7_200, 366 * 86_400] {
            let life = lifetimes.number(lives);
            assert_eq!(lifetimes.seconds(life), Some(lives));
            let here = Location { lane: 0, slot: 0, offset: 0 };
            // It came at 1,000,000.
            let group = Group { life, expiry: 1_000_000 + lives, ..Group::bare(here, 1) };
            for age in [0, 1, 59, 100_000] {
                let times = Times { now: 1_000_000 + age, lifetimes: &lifetimes };
                assert_eq!(times.age(&group), age, "{lives}");
            }
        }
        assert_eq!(lifetimes.number(60), lifetimes.number(60));
    }

    #[test]
    fn what_is_too_old_is_given_up_but_for_its_last_try() {
        let lifetimes = Lifetimes::default();
        let here = Location { lane: 0, slot: 0, offset: 0 };
        // It came at 1,000.
        let group = Group { life: lifetimes.number(500), expiry: 1_500, ..Group::bare(here, 1) };
        let at = |group: &Group, begun| Times { now: 0, lifetimes: &lifetimes }.too_old_at(group, 100, begun);
        assert_eq!((at(&group, 900), at(&group, 1_099), at(&group, 1_100)), (Some(1_100), Some(1_100), None));
        assert_eq!(at(&Group { not_before: 1_300, ..group }, 1_200), Some(1_100), "it was put off since");
        assert_eq!(at(&Group { standing: GroupPhase::LastTry, ..group }, 900), None);
        assert_eq!(at(&Group { life: ANY_LIFETIME, ..group }, 900), None, "nobody knows");
        let times = Times { now: 0, lifetimes: &lifetimes };
        assert_eq!(times.end_at(&group, 100), Some(1_100), "however long it was down");
    }

    #[test]
    fn what_finds_no_room_is_as_old_as_it_can_be() {
        let lifetimes = Lifetimes::default();
        for lives in 1..=limits::LIFETIMES_MAX as u32 {
            assert_ne!(lifetimes.number(lives), ANY_LIFETIME);
        }
        for lives in [0, limits::LIFETIMES_MAX as u32 + 1] {
            assert_eq!(lifetimes.number(lives), ANY_LIFETIME);
        }
        assert_eq!(lifetimes.seconds(ANY_LIFETIME), None);
        let here = Location { lane: 0, slot: 0, offset: 0 };
        let group = Group { life: ANY_LIFETIME, expiry: 2_000_000_000, ..Group::bare(here, 1) };
        let times = Times { now: 2_000_000_000 - 60, lifetimes: &lifetimes };
        assert_eq!(times.age(&group), 366 * 86_400 - 60);
        assert_eq!(times.age_by_record(&group, 100), 40, "its record knows better");
        let last = Group { standing: GroupPhase::LastTry, ..group };
        assert_eq!(times.age_by_record(&last, 100), 100, "it is past its life");
        let known = Group { life: lifetimes.number(200), ..group };
        assert_eq!(times.age_by_record(&known, 100), 140, "its queue knows");
    }
}
