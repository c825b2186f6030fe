//! The clock that queues wait by: it reads like the wall clock of the start, and runs like the monotonic one.
//!
//! The wall clock may be set, by years and in both directions. What waits in memory does not notice: its times are of this clock.
//! What is stored, logged or mailed has wall time; this is where one becomes the other.

use std::time::Duration;

use crate::time::{Instant, UnixMillis};

/// A start after this time (the year 2075) counts from it: every wait must fit behind it into 32 bits of seconds.
const LATEST: UnixMillis = UnixMillis(3_313_000_000_000);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// What it read at [`Instant`] zero, milliseconds.
    origin: u64,
    /// What it read when it was set, seconds.
    begun: u32,
}

impl Clock {
    /// A clock that reads like the wall clock now.
    pub fn new(wall: UnixMillis, now: Instant) -> Clock {
        let wall = wall.min(LATEST);
        Clock { origin: wall.0.saturating_sub(now.0 / 1_000_000), begun: wall.seconds() }
    }

    /// What it read when it was set, seconds: as this process began.
    pub fn begun(self) -> u32 {
        self.begun
    }

    /// What it reads.
    pub fn read(self, now: Instant) -> UnixMillis {
        UnixMillis(self.origin.saturating_add(now.0 / 1_000_000))
    }

    /// When it reads so many seconds.
    pub fn when(self, at: u32) -> Instant {
        Instant((u64::from(at) * 1000).saturating_sub(self.origin).saturating_mul(1_000_000))
    }

    /// How far the wall clock is ahead of it, milliseconds.
    pub fn wall_ahead(self, now: Instant, wall: UnixMillis) -> i64 {
        wall.0.wrapping_sub(self.read(now).0) as i64
    }

    /// The wall-clock time of a point of this clock: as far from now as that is.
    pub fn to_wall(self, at: u32, now: Instant, wall: UnixMillis) -> UnixMillis {
        UnixMillis((u64::from(at) * 1000).saturating_add_signed(self.wall_ahead(now, wall)))
    }

    /// When mail that is held is to go, in seconds of this clock, which has just been set: at its hour by the wall clock. Where that was set back
    /// since the mail came, so long from now as it was to be held.
    pub fn released(now: u32, arrival: UnixMillis, release: UnixMillis) -> u32 {
        let held = UnixMillis(release.0.saturating_sub(arrival.0)).seconds_up();
        if arrival.seconds() > now { now.saturating_add(held) } else { release.seconds_up() }
    }

    /// When what is found in the spool is due and when it is given up, in seconds of this clock, which has just been set. The wall
    /// clock it was written by may have been set since. So nothing waits for longer than the longest wait, `wait_max` (what
    /// would is spread over that by `random`), and what arrives in the future arrives now. Nothing is given up early, by a part of a second.
    pub fn found(
        now: u32,
        next: u32,
        (arrival, expiry): (UnixMillis, UnixMillis),
        wait_max: Duration,
        random: u64,
    ) -> (u32, u32) {
        let wait_max = u32::try_from(wait_max.as_secs()).unwrap_or(u32::MAX).max(1);
        let wait = next.saturating_sub(now);
        let due =
            if wait > wait_max { now.saturating_add((random % u64::from(wait_max)) as u32) } else { next };
        let lives = UnixMillis(expiry.0.saturating_sub(arrival.0)).seconds_up();
        let expiry = if arrival.seconds() > now { now.saturating_add(lives) } else { expiry.seconds_up() };
        (due, expiry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;
    const WALL: UnixMillis = UnixMillis(1_767_225_600_000);

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn waits_do_not_follow_the_wall_clock() {
        let clock = Clock::new(WALL, at(5));
        let due = clock.read(at(65)).seconds();
        assert_eq!(due, WALL.seconds() + 60);
        assert_eq!(clock.when(due), at(65));
        assert_eq!(clock.when(0), Instant(0), "before the machine was");
        for days in [-400i64, -1, 0, 1, 400] {
            let wall = UnixMillis(WALL.0.saturating_add_signed(days * DAY as i64 + 10_000));
            assert_eq!(clock.wall_ahead(at(15), wall), days * DAY as i64);
            // 50 s are left, whatever the wall clock says now.
            assert_eq!(clock.to_wall(due, at(15), wall).0, wall.0 + 50_000);
        }
    }

    #[test]
    fn no_wall_clock_breaks_it() {
        for wall in [0, 1, DAY, LATEST.0 + 1, u64::from(u32::MAX) * 1000, u64::MAX] {
            let clock = Clock::new(UnixMillis(wall), at(1_000_000));
            let now = clock.read(at(1_000_000)).seconds();
            assert!(now < u32::MAX - 30 * 365 * 86_400, "{wall}");
            assert_eq!(clock.read(at(1_000_060)).seconds(), now + 60);
            let _ = clock.to_wall(now + 60, at(1_000_000), UnixMillis(wall));
            let _ = clock.to_wall(u32::MAX, at(1_000_000), UnixMillis(0));
        }
    }

    #[test]
    fn what_is_held_goes_at_its_hour_or_as_long_after_as_it_was_to_be_held() {
        let now = WALL.seconds();
        let released =
            |arrival: u64, held: u64| Clock::released(now, UnixMillis(arrival), UnixMillis(arrival + held));
        assert_eq!(released(WALL.0 - DAY, 2 * DAY), now + 86_400);
        assert_eq!(released(WALL.0 - 2 * DAY, DAY), now - 86_400, "its hour has come");
        assert_eq!(released(WALL.0 + 400 * DAY, DAY), now + 86_400, "the clock was set back since");
    }

    #[test]
    fn what_is_found_is_neither_stranded_nor_given_up_for_the_clock() {
        let (now, max) = (WALL.seconds(), Duration::from_secs(7200));
        let lives = UnixMillis(5 * DAY);
        let found = |next: u32, arrival: UnixMillis| {
            Clock::found(now, next, (arrival, UnixMillis(arrival.0 + lives.0)), max, 77)
        };
        // An ordinary start.
        let arrival = UnixMillis(WALL.0 - DAY);
        assert_eq!(found(now + 300, arrival), (now + 300, arrival.seconds() + lives.seconds()));
        assert_eq!(found(now + 7200, arrival).0, now + 7200);
        assert_eq!(found(0, arrival).0, 0);
        // Part of a second is the message's.
        assert_eq!(found(0, UnixMillis(arrival.0 + 1)).1, arrival.seconds() + lives.seconds() + 1);
        // The clock was set back by 400 days since.
        let (due, expiry) = found(now + 400 * 86_400, UnixMillis(WALL.0 + 400 * DAY));
        assert!((now..=now + 7200).contains(&due), "{due}");
        assert_eq!(expiry, now + lives.seconds());
        // Forward: it is past its time, and whoever takes it up gives it a last try.
        assert!(found(now - 400 * 86_400, UnixMillis(WALL.0 - 400 * DAY)).1 < now);
    }
}
