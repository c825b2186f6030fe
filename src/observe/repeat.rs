//! When to say again what goes on: at once, after a minute, after two, and so on up to an hour. Who looks at a trouble wants to find it in the latest
//! log, and not in every line of it.

use std::time::Duration;

use crate::limits;

/// One kind of trouble at one place. Times are of any clock that does not go back.
#[derive(Debug, Default)]
pub struct Repeat {
    /// How long it must last before it is said at all.
    patience: Duration,
    /// Since when it lasts.
    since: Option<Duration>,
    /// It was said since it began.
    said: bool,
    /// Nothing is said before that. It outlives the trouble: one that comes and goes is not said each time.
    next: Duration,
    /// The time after that. Zero: it has not been said lately.
    pause: Duration,
    left_out: u64,
}

impl Repeat {
    /// Of what is no trouble before it has lasted this long.
    pub fn after(patience: Duration) -> Repeat {
        Repeat { patience, ..Repeat::default() }
    }

    /// It goes on, or happened again. Some: it is to be said now, and was left out so many times since it was said last.
    pub fn happened(&mut self, now: Duration) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        if now < self.next || now < since + self.patience {
            self.left_out += 1;
            return None;
        }
        if now >= self.next + self.pause {
            self.pause = Duration::ZERO;
        }
        self.pause = (2 * self.pause).clamp(limits::SAID_AGAIN, limits::SAID_AGAIN_MAX);
        (self.said, self.next) = (true, now + self.pause);
        Some(std::mem::take(&mut self.left_out))
    }

    /// The same of what lasts: whether it is to be said now.
    pub fn lasts(&mut self, now: Duration) -> bool {
        self.happened(now).is_some()
    }

    /// It is over. Some: that is to be said, and it lasted so long.
    pub fn ended(&mut self, now: Duration) -> Option<Duration> {
        let since = self.since.take()?;
        self.left_out = 0;
        std::mem::take(&mut self.said).then(|| now.saturating_sub(since))
    }

    /// Whether it lasts, and longer than is no trouble.
    pub fn is_trouble(&self, now: Duration) -> bool {
        self.since.is_some_and(|since| now >= since + self.patience)
    }
}

/// How often it was left out, in words that follow others.
pub fn more(times: u64) -> String {
    if times == 0 { String::new() } else { format!(" (and {times} times more since this was said last)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_lasts_is_said_ever_more_seldom_and_once_when_it_ends() {
        let mut repeat = Repeat::default();
        let said: Vec<u64> = (0..20_000).filter(|now| repeat.lasts(seconds(*now))).collect();
        let pauses: Vec<u64> = said.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!((said[0], &pauses[..9]), (0, &[60, 120, 240, 480, 960, 1920, 3600, 3600, 3600][..]));
        assert_eq!(
            (repeat.ended(seconds(20_000)), repeat.ended(seconds(20_001))),
            (Some(seconds(20_000)), None)
        );
    }

    #[test]
    fn what_comes_and_goes_is_not_said_each_time() {
        let mut repeat = Repeat::default();
        let (mut said, mut ended) = (0, 0);
        for now in (0..36_000).step_by(2) {
            said += u32::from(repeat.lasts(seconds(now)));
            ended += u32::from(repeat.ended(seconds(now + 1)).is_some());
        }
        assert!(said < 20 && said == ended, "{said} {ended}");
        // Well for long, it is news again.
        assert!(repeat.lasts(seconds(50_000)) && repeat.lasts(seconds(50_060)));
    }

    #[test]
    fn what_passes_soon_is_not_said_and_what_happens_is_counted() {
        let mut patient = Repeat::after(seconds(5));
        assert!(!patient.lasts(seconds(0)) && !patient.lasts(seconds(4)));
        assert_eq!((patient.is_trouble(seconds(4)), patient.ended(seconds(4))), (false, None));
        assert!(!patient.lasts(seconds(10)) && patient.lasts(seconds(15)) && patient.is_trouble(seconds(15)));
        let mut often = Repeat::default();
        let said: Vec<u64> = (0..120).filter_map(|now| often.happened(seconds(now))).collect();
        assert_eq!(said, [0, 59]);
        assert!(more(59).contains("59 times") && more(0).is_empty());
    }
}
