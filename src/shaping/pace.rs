//! Rates as buckets of tokens: what may begin now, and when the next may. Pure: the state of a bucket is a number that somebody else keeps.

use super::value::Rate;
use crate::limits;
use crate::time::Instant;

/// So many in a time, evenly. A bucket holds what may begin at once; it is full at some point of time if nothing begins until then, and that
/// point says all of it. What begins moves it by the span that belongs to one.
///
/// In any time of a length so many begin as the rate says of it, and what fits into the bucket. That is kept small: it makes up for being
/// late, and is no right to many at once. A `max_burst` is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Nanoseconds that belong to one.
    each: u64,
    /// What fits into the bucket, in nanoseconds: one at least.
    room: u64,
}

impl Pace {
    /// That of a rate.
    pub fn of(rate: &Rate) -> Pace {
        let period = u64::try_from(rate.period.as_nanos()).unwrap_or(u64::MAX);
        let each = period.div_ceil(rate.count.max(1)).max(1);
        let room = match rate.burst {
            Some(burst) => each.saturating_mul(burst.max(1)),
            None => {
                // Half of what a window may hold more: the way to whoever counts makes the spans between them uneven, too.
                let more = (rate.count / 100).max(1);
                let late = each.saturating_mul(more) / 2;
                each + late.min(limits::RATE_LATE_MAX.as_nanos() as u64)
            }
        };
        Pace { each, room }
    }

    /// One each of so many nanoseconds.
    pub fn every(each: u64) -> Pace {
        let each = each.max(1);
        let more = (1_000_000_000 / each / 100).max(1);
        let late = each.saturating_mul(more) / 2;
        Pace { each, room: each + late.min(limits::RATE_LATE_MAX.as_nanos() as u64) }
    }

    /// What belongs to one, in nanoseconds.
    pub fn each(self) -> u64 {
        self.each
    }

    /// So many parts of it; None: there are none. What may begin at once is a part, too, but for what makes up for being late.
    pub fn part(self, parts: u64, of: u64) -> Option<Pace> {
        if parts >= of {
            return Some(self);
        }
        let each = (u128::from(self.each) * u128::from(of)).checked_div(u128::from(parts))?;
        let each = u64::try_from(each).unwrap_or(u64::MAX / 4);
        let room = self.room.max(each.saturating_add(self.late().min(each / 2)));
        Some(Pace { each, room })
    }

    /// How many a second.
    pub fn a_second(self) -> f64 {
        1e9 / self.each as f64
    }

    /// When a bucket is full that is empty now.
    pub fn empty(self, now: Instant) -> u64 {
        now.0.saturating_add(self.room)
    }

    /// When a bucket is full that this is all of: no emptier than empty. What another rate left of it, before a reload, is to be put right by
    /// this before anything else is asked, and holds up nobody for longer than one of this rate.
    pub fn right(self, full_at: u64, now: Instant) -> u64 {
        full_at.min(now.0.saturating_add(self.room))
    }

    /// When the bucket is full once another begins now; else when it may. `full_at`: when it is without that.
    pub fn take(self, full_at: u64, now: Instant) -> Result<u64, Instant> {
        let next = full_at.max(now.0).saturating_add(self.each);
        let most = now.0.saturating_add(self.room);
        if next <= most { Ok(next) } else { Err(Instant(next - self.room)) }
    }

    /// How many may begin now.
    pub fn free(self, full_at: u64, now: Instant) -> usize {
        let room = now.0.saturating_add(self.room).saturating_sub(full_at.max(now.0));
        usize::try_from(room / self.each).unwrap_or(usize::MAX)
    }

    /// Whether one that began then may be undone now as if it never had: later others may have begun that would have found a full bucket.
    pub fn can_undo(self, began: Instant, now: Instant) -> bool {
        now.0 < began.0.saturating_add(self.each)
    }

    /// The same bucket without one of those that began.
    pub fn undo(self, full_at: u64) -> u64 {
        full_at.saturating_sub(self.each)
    }

    /// How late one may be taken with none lost.
    pub fn late(self) -> u64 {
        self.room - self.each
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::value::rate;

    const SECOND: u64 = 1_000_000_000;

    fn pace(text: &str) -> Pace {
        Pace::of(&rate(text).expect("a rate"))
    }

    /// When each begins that is asked for at every step, beginning with a full bucket.
    fn begun(pace: Pace, step: u64, until: u64) -> Vec<u64> {
        let mut full_at = 0;
        let mut begun = Vec::new();
        for now in (0..until).step_by(step as usize) {
            while let Ok(next) = pace.take(full_at, Instant(now)) {
                full_at = next;
                begun.push(now);
            }
        }
        begun
    }

    fn most_within(begun: &[u64], period: u64) -> usize {
        let within = |from: usize| begun[from..].iter().take_while(|at| **at < begun[from] + period).count();
        (0..begun.len()).map(within).max().unwrap_or_default()
    }

    #[test]
    fn in_any_period_there_are_as_many_as_the_rate_says_and_few_more() {
        for (text, count, period) in
            [("100/s", 100, 1), ("7/s", 7, 1), ("5000/min", 5_000, 60), ("3/min", 3, 60), ("1/10s", 1, 10)]
        {
            let begun = begun(pace(text), 1_700_000, 3 * period * SECOND);
            let most = most_within(&begun, period * SECOND);
            assert!((count..=count + (count / 100).max(1)).contains(&most), "{text}: {most}");
            assert!(begun.len() >= 3 * count, "{text}: {} of {}", begun.len(), 3 * count);
        }
        // So many at once are wanted.
        let begun = begun(pace("100/s,max_burst=30"), 1_000_000, 2 * SECOND);
        assert_eq!((begun.iter().filter(|at| **at == 0).count(), most_within(&begun, SECOND)), (30, 129));
    }

    /// As late as somebody is who is woken for each, nothing of the rate is lost.
    #[test]
    fn who_comes_late_loses_nothing() {
        for text in ["100/s", "1000/s", "10/s"] {
            let pace = pace(text);
            let (mut full_at, mut now, mut begun) = (0, Instant(0), 0);
            while now.0 < 10 * SECOND {
                match pace.take(full_at, now) {
                    Ok(next) => (full_at, begun) = (next, begun + 1),
                    Err(when) => now = Instant(when.0 + pace.late() * 3 / 4),
                }
            }
            let wanted = 10.0 * SECOND as f64 / pace.each as f64;
            assert!(f64::from(begun) >= 0.99 * wanted, "{text}: {begun} of {wanted}");
        }
    }

    #[test]
    fn it_says_when_the_next_may_begin_and_how_many_may() {
        let pace = pace("10/s,max_burst=3");
        let now = Instant(50 * SECOND);
        assert_eq!(pace.free(7, now), 3);
        let full_at = (0..3).fold(0, |full_at, _| pace.take(full_at, now).expect("the bucket is full"));
        assert_eq!(pace.free(full_at, now), 0);
        let when = pace.take(full_at, now).expect_err("it is empty");
        assert_eq!(when.0 - now.0, SECOND / 10);
        assert_eq!(pace.free(full_at, when), 1);
        assert!(pace.take(full_at, Instant(when.0 - 1)).is_err() && pace.take(full_at, when).is_ok());
        // One was not used.
        assert!(pace.can_undo(now, Instant(when.0 - 1)) && !pace.can_undo(now, when));
        assert!(pace.take(pace.undo(full_at), now).is_ok());
    }

    /// Parts of a rate are together no more than the rate, and hardly more at once.
    #[test]
    fn parts_of_a_rate_are_a_rate() {
        for text in ["1000/s", "7/s", "100/s,max_burst=30", "1/min"] {
            let whole = pace(text);
            let parts: Vec<Pace> = (0..4).filter_map(|_| whole.part(2_500, 10_000)).collect();
            let sum: f64 = parts.iter().map(|part| part.a_second()).sum();
            assert!((0.999..=1.0001).contains(&(sum / whole.a_second())), "{text}");
            let at_once: usize = parts.iter().map(|part| part.free(0, Instant(0))).sum();
            assert!(at_once <= whole.free(0, Instant(0)) + 4, "{text}: {at_once}");
        }
        assert_eq!((pace("7/s").part(0, 9), pace("7/s").part(9, 9)), (None, Some(pace("7/s"))));
    }

    #[test]
    fn another_rate_is_in_force_at_once() {
        let now = Instant(50 * SECOND);
        let hourly = pace("1/h");
        let full_at = hourly.take(0, now).unwrap();
        let when = hourly.take(full_at, now).expect_err("one an hour");
        assert!(when.0 > now.0 + 3_599 * SECOND);
        let often = pace("10/s");
        let full_at = often.right(full_at, now);
        let when = often.take(full_at, now).expect_err("the bucket is empty");
        assert!(when.0 <= now.0 + SECOND / 10, "{}", when.0 - now.0);
        assert!(often.take(often.right(full_at, when), when).is_ok());
    }
}
