//! Warm-up: how much of a provider's mail a new source gets in a day. Pure.
//!
//! What counts are messages whose transaction was begun, whatever became of them, from midnight to midnight UTC, for each source at each
//! provider by itself. The volume is given out in blocks, and a block counts as used from the moment on at which it is given: whoever got it
//! may send at once, and what a kill leaves of it is wasted. So no day's volume is ever exceeded.
//!
//! A provider that complains is given time: the day after one on which it throttled has the same volume, and after one on which it blocked
//! the source that of the day before.

use crate::config::WarmupConfig;
use crate::limits;

/// What a provider said against a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// Nothing.
    #[default]
    None,
    /// That it sends too much.
    Throttled,
    /// That it is not wanted.
    Blocked,
}

impl Complaint {
    /// As a number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// That of a number.
    pub fn of_number(number: u8) -> Complaint {
        match number {
            0 => Complaint::None,
            1 => Complaint::Throttled,
            _ => Complaint::Blocked,
        }
    }

    /// How many days the plan is behind for it.
    fn days(self) -> u32 {
        u32::from(self.number())
    }
}

/// What happened on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Which, counted from 1970-01-01 in UTC.
    pub day: u32,
    /// How many days the plan was behind.
    pub behind: u32,
    /// What was given out of its volume.
    pub used: u32,
    /// Messages that were more than that, and went by other sources.
    pub overflowed: u32,
    /// What the provider said.
    pub complaint: Complaint,
}

/// A source, and a provider.
pub type Names = (Box<str>, Box<str>);

/// The same of a source at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmDay {
    /// The source.
    pub source: Box<str>,
    /// The provider.
    pub provider: Box<str>,
    /// What happened.
    pub day: Day,
}

/// Where a source stands at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmupStage {
    /// Its plan has not begun: it gets nothing.
    Before,
    /// A day of the plan, and its volume.
    Day(u32, u32),
    /// It is warm: it gets all there is.
    Warm,
}

impl WarmupStage {
    /// That of a plan which is so many days behind.
    pub fn of(plan: &WarmupConfig, today: u32, behind: u32) -> WarmupStage {
        let Some(since) = today.checked_sub(plan.start) else { return WarmupStage::Before };
        let day = since.saturating_sub(behind).saturating_add(1);
        match plan.plan.iter().rposition(|step| step.day <= day) {
            Some(place) if day <= plan.plan.last().map_or(0, |last| last.day) => {
                WarmupStage::Day(day, plan.plan[place].volume)
            }
            _ => WarmupStage::Warm,
        }
    }
}

/// What is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many messages.
    Block(u32),
    /// Any number: the source is warm.
    All,
    /// Nothing any more today.
    Nothing,
}

/// A source at a provider: what happened on the last days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account(Vec<Day>);

impl Account {
    /// With these days.
    pub fn of(mut days: Vec<Day>) -> Account {
        days.sort_by_key(|one| one.day);
        days.dedup_by_key(|one| one.day);
        Account(days)
    }

    /// How many days the plan is behind on this one.
    fn behind(&self, plan: &WarmupConfig, today: u32) -> u32 {
        // What was before its start was another plan.
        let before = self.0.iter().rev().find(|one| one.day < today && one.day >= plan.start);
        before.map_or(0, |one| {
            let since = one.day - plan.start;
            one.behind.saturating_add(one.complaint.days()).min(since + 1)
        })
    }

    /// Where it stands.
    pub fn standing(&self, plan: &WarmupConfig, today: u32) -> WarmupStage {
        WarmupStage::of(plan, today, self.behind(plan, today))
    }

    /// What happened on this day so far.
    pub fn day(&self, today: u32) -> Day {
        self.find(today).copied().unwrap_or(Day { day: today, ..Day::default() })
    }

    fn find(&self, today: u32) -> Option<&Day> {
        self.0.iter().find(|one| one.day == today)
    }

    fn of_day(&mut self, plan: &WarmupConfig, today: u32) -> &mut Day {
        let behind = self.behind(plan, today);
        let place = match self.0.iter().position(|one| one.day == today) {
            Some(place) => place,
            None => {
                self.0.push(Day { day: today, ..Day::default() });
                if self.0.len() > limits::WARMUP_DAYS_KEPT {
                    // The one that was written longest ago: a clock that was wrong once costs one day.
                    self.0.remove(0);
                }
                self.0.len() - 1
            }
        };
        let day = &mut self.0[place];
        day.behind = behind;
        day
    }

    /// What nodes know of the day is to be as bad as the worst that any of them does. True: that is news.
    pub fn join(&mut self, plan: &WarmupConfig, day: u32, (behind, said): (u32, Complaint)) -> bool {
        let known = self.day(day);
        if behind <= known.behind && said <= known.complaint {
            return false;
        }
        let own = self.of_day(plan, day);
        own.behind = own.behind.max(known.behind).max(behind);
        own.complaint = own.complaint.max(said);
        true
    }

    /// How many days the plan is behind on a day, and what was said on it.
    pub fn marks(&self, plan: &WarmupConfig, day: u32) -> (u32, Complaint) {
        let known = self.day(day);
        (self.behind(plan, day).max(known.behind), known.complaint)
    }

    /// Gives out the next block of a day, of so many at most. It is to be on disk before anybody uses it.
    pub fn give(&mut self, plan: &WarmupConfig, today: u32, most: u32) -> Grant {
        let volume = match self.standing(plan, today) {
            WarmupStage::Before => return Grant::Nothing,
            WarmupStage::Warm => return Grant::All,
            WarmupStage::Day(_, volume) => volume,
        };
        let day = self.of_day(plan, today);
        let left = volume.saturating_sub(day.used);
        let block = left.min(block(volume)).min(most);
        day.used += block;
        if block == 0 { Grant::Nothing } else { Grant::Block(block) }
    }

    /// So much of what was given out on a day was not used and will not be.
    pub fn take_back(&mut self, plan: &WarmupConfig, today: u32, left: u32) {
        let day = self.of_day(plan, today);
        day.used = day.used.saturating_sub(left);
    }

    /// So many more messages went by other sources, and the provider said this. True: that is news.
    pub fn note(&mut self, plan: &WarmupConfig, today: u32, overflowed: u32, complaint: Complaint) -> bool {
        let known = self.day(today).complaint;
        let limited = matches!(self.standing(plan, today), WarmupStage::Day(..));
        let complaint = if limited { complaint } else { Complaint::None };
        if overflowed == 0 && complaint <= known {
            return false;
        }
        let day = self.of_day(plan, today);
        day.overflowed = day.overflowed.saturating_add(overflowed);
        day.complaint = day.complaint.max(complaint);
        true
    }
}

/// A source at a provider, by the name under which nodes of a cluster count its days together.
pub fn count_name(source: &str, provider: &str) -> String {
    format!("w {source} {provider}")
}

/// Messages of a block of such a day.
pub fn block(volume: u32) -> u32 {
    (volume / limits::WARMUP_BLOCK_PART).clamp(1, limits::WARMUP_BLOCK_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::warmup::Step;

    fn plan() -> WarmupConfig {
        let plan = [(1, 50), (2, 100), (3, 200), (5, 400)];
        let plan = plan.into_iter().map(|(day, volume)| Step { day, volume }).collect();
        WarmupConfig { source: "ip9".into(), start: 100, plan, overflow: None }
    }

    /// All that an account gives out on a day.
    fn all(account: &mut Account, today: u32) -> (u32, usize) {
        let (mut sum, mut blocks) = (0, 0);
        while let Grant::Block(block) = account.give(&plan(), today, u32::MAX) {
            sum += block;
            blocks += 1;
        }
        (sum, blocks)
    }

    #[test]
    fn each_day_has_its_volume_and_no_more() {
        let mut account = Account::default();
        assert_eq!(account.give(&plan(), 99, u32::MAX), Grant::Nothing, "it has not begun");
        assert_eq!(all(&mut account, 100), (50, 10), "blocks of 5");
        assert_eq!([101, 102, 103, 104].map(|day| all(&mut account, day).0), [100, 200, 200, 400]);
        assert_eq!(account.give(&plan(), 105, u32::MAX), Grant::All);
        assert_eq!(account.standing(&plan(), 105), WarmupStage::Warm);
        assert_eq!((block(1), block(9), block(3_000_000)), (1, 1, 1_000));
    }

    #[test]
    fn a_day_that_repeats_has_what_was_used() {
        let mut account = Account::default();
        assert_eq!(account.give(&plan(), 100, u32::MAX), Grant::Block(5));
        assert_eq!(all(&mut account, 3_000), (0, 0), "warm by then");
        assert_eq!(all(&mut account, 101).0, 100, "the clock was set back");
        assert_eq!((all(&mut account, 100).0, all(&mut account, 101).0), (45, 0));
        account.take_back(&plan(), 101, 7);
        assert_eq!(all(&mut account, 101).0, 7);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut account = Account::default();
        let long =
            WarmupConfig { plan: vec![Step { day: 1, volume: 9 }, Step { day: 700, volume: 10 }], ..plan() };
        assert_eq!(account.give(&long, 500, u32::MAX), Grant::Block(1));
        for day in 100..400 {
            assert_eq!(account.give(&long, day, u32::MAX), Grant::Block(1), "{day}");
            assert!(account.0.len() <= limits::WARMUP_DAYS_KEPT);
        }
    }

    #[test]
    fn a_provider_that_complains_gets_no_more_the_next_day() {
        let mut account = Account::default();
        all(&mut account, 100);
        all(&mut account, 101);
        assert!(account.note(&plan(), 101, 0, Complaint::Throttled));
        assert!(!account.note(&plan(), 101, 0, Complaint::Throttled), "it is known");
        assert_eq!(all(&mut account, 102).0, 100, "as on the day before");
        assert_eq!(all(&mut account, 103).0, 200);
        assert!(account.note(&plan(), 103, 3, Complaint::Blocked));
        assert!(account.note(&plan(), 103, 2, Complaint::Throttled));
        assert_eq!((account.day(103).overflowed, account.day(103).complaint), (5, Complaint::Blocked));
        // The day after is the second again, and the plan goes on from there, whether or not mail goes out each day.
        assert_eq!(account.standing(&plan(), 104), WarmupStage::Day(2, 100));
        assert_eq!(account.standing(&plan(), 107), WarmupStage::Day(5, 400));
        assert_eq!(account.standing(&plan(), 108), WarmupStage::Warm);
    }

    #[test]
    fn a_plan_never_falls_behind_its_first_day() {
        let mut account = Account::default();
        for day in 100..110 {
            assert_eq!(account.standing(&plan(), day), WarmupStage::Day(1, 50), "{day}");
            account.note(&plan(), day, 0, Complaint::Blocked);
        }
        assert_eq!(account.standing(&plan(), 111), WarmupStage::Day(2, 100), "it goes on when that is over");
        let later = WarmupConfig { start: 109, ..plan() };
        assert_eq!(account.standing(&later, 110), WarmupStage::Day(1, 50), "that of the last day counts");
        assert_eq!(Account::default().standing(&later, 110), WarmupStage::Day(2, 100));
        account.note(&plan(), 120, 0, Complaint::Blocked);
        assert_eq!(account.standing(&plan(), 121), WarmupStage::Warm, "who is warm is not slowed by it");
    }

    #[test]
    fn what_other_nodes_know_of_a_day_counts() {
        let mut account = Account::default();
        assert!(!account.join(&plan(), 101, (0, Complaint::None)));
        assert!(account.join(&plan(), 101, (1, Complaint::Throttled)));
        assert!(!account.join(&plan(), 101, (1, Complaint::Throttled)));
        assert_eq!(account.marks(&plan(), 101), (1, Complaint::Throttled));
        assert_eq!(account.standing(&plan(), 102), WarmupStage::Day(1, 50), "two days behind");
        assert_eq!(account.marks(&plan(), 102), (2, Complaint::None));
    }

    #[test]
    fn days_are_found_as_they_were_kept() {
        let days =
            vec![Day { day: 101, used: 7, ..Day::default() }, Day { day: 100, used: 50, ..Day::default() }];
        let mut account = Account::of(days);
        assert_eq!((all(&mut account, 101).0, all(&mut account, 100).0), (93, 0));
        assert_eq!([0, 1, 2, 9].map(|number| Complaint::of_number(number).number()), [0, 1, 2, 2]);
    }
}
