//! Control's part of warm-up: who gets which block, and that it is on disk before anybody has it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{AnnouncedStage, WarmCount, WarmCounts};
use crate::limits;
use crate::shaping::warmup::{Account, Complaint, Grant, Names, WarmDay, WarmupStage};

/// Where days are kept over a start.
pub trait Keeps {
    /// Those of a source at a provider that it has; None: it cannot be read.
    fn days(&mut self, names: (&str, &str)) -> Option<Vec<crate::shaping::warmup::Day>>;
    /// These days are as they are now, on disk: all of them, or none. False: none.
    fn keep(&mut self, days: &[WarmDay]) -> bool;
}

/// All accounts that are known.
#[derive(Debug, Default)]
pub struct Ledger(HashMap<Names, Account>);

/// What is to be said of a provider that complained: from which day of the plan on it goes on when.
pub type Slowed = (Arc<WarmCount>, Complaint, WarmupStage);

impl Ledger {
    /// Answers those that ask. False: nothing can be kept, and they will ask again.
    pub fn serve(&mut self, counts: &WarmCounts, today: u32, keeps: &mut impl Keeps) -> bool {
        let asks = std::iter::from_fn(|| counts.next_ask()).take(limits::WARMUPS_ASKED);
        let (mut answers, mut days, mut works) = (Vec::new(), Vec::new(), true);
        for count in asks {
            let plan = count.plan();
            let Some(account) = self.account(&count, keeps) else {
                count.answered();
                works = false;
                continue;
            };
            let mut next = account.clone();
            let given = next.give(&plan, today);
            if let Grant::Block(_) = given {
                days.push(day_of(&count, &next, today));
                // What it gives next in this round follows from this.
                *account = next.clone();
            }
            let told = AnnouncedStage { day: next.day(today), standing: Some(next.standing(&plan, today)) };
            answers.push((count, given, told));
        }
        let kept = days.is_empty() || keeps.keep(&days);
        for (count, given, told) in answers {
            if !kept && matches!(given, Grant::Block(_)) {
                // It may be on disk all the same: what is there counts.
                self.0.remove(&key(&count));
                count.answered();
                continue;
            }
            count.tell(told);
            match given {
                Grant::Block(block) => count.give(today, block),
                Grant::All => count.give_all(today),
                Grant::Nothing => count.give_nothing(today),
            }
        }
        kept && works
    }

    /// Keeps what overflowed and what providers said since it was called last. Who complained for the first time of the day.
    pub fn note(&mut self, counts: &WarmCounts, today: u32, keeps: &mut impl Keeps) -> Vec<Slowed> {
        let (mut days, mut heard, mut slowed) = (Vec::new(), Vec::new(), Vec::new());
        for count in counts.all() {
            let news @ (overflowed, complaint) = count.take_news();
            if news == (0, Complaint::None) {
                continue;
            }
            let plan = count.plan();
            let Some(account) = self.account(&count, keeps) else {
                count.put_back_news(news);
                continue;
            };
            let before = account.day(today).complaint;
            if account.note(&plan, today, overflowed, complaint) {
                days.push(day_of(&count, account, today));
                let told = AnnouncedStage {
                    day: account.day(today),
                    standing: Some(account.standing(&plan, today)),
                };
                if told.day.complaint > before {
                    slowed.push((count.clone(), told.day.complaint, account.standing(&plan, today + 1)));
                }
                count.tell(told);
                heard.push((count, news));
            }
        }
        if !days.is_empty() && !keeps.keep(&days) {
            for (count, news) in heard {
                self.0.remove(&key(&count));
                count.put_back_news(news);
            }
            slowed.clear();
        }
        slowed
    }

    /// The node stops: what nobody used goes back.
    pub fn finish(&mut self, counts: &WarmCounts, today: u32, keeps: &mut impl Keeps) {
        self.note(counts, today, keeps);
        let mut days = Vec::new();
        for count in counts.all() {
            let Some((day, left)) = count.empty() else { continue };
            count.give_nothing(day);
            let plan = count.plan();
            if let Some(account) = self.account(&count, keeps) {
                account.take_back(&plan, day, left);
                days.push(day_of(&count, account, day));
            }
        }
        if !days.is_empty() {
            keeps.keep(&days);
        }
    }

    /// An account; None: what is kept of it cannot be read.
    fn account(&mut self, count: &WarmCount, keeps: &mut impl Keeps) -> Option<&mut Account> {
        if !self.0.contains_key(&key(count)) {
            let days = keeps.days((&count.source, &count.provider))?;
            if self.0.len() >= limits::WARMUPS_KNOWN {
                // All of it is on disk.
                self.0.clear();
            }
            self.0.insert(key(count), Account::of(days));
        }
        self.0.get_mut(&key(count))
    }

    /// Has what is kept of a source at a provider shown before mail asks for it.
    pub fn show(&mut self, count: &WarmCount, today: u32, keeps: &mut impl Keeps) {
        let plan = count.plan();
        if let Some(account) = self.account(count, keeps) {
            count.tell(AnnouncedStage {
                day: account.day(today),
                standing: Some(account.standing(&plan, today)),
            });
        }
    }
}

fn key(count: &WarmCount) -> Names {
    (count.source.clone(), count.provider.clone())
}

fn day_of(count: &WarmCount, account: &Account, today: u32) -> WarmDay {
    WarmDay { source: count.source.clone(), provider: count.provider.clone(), day: account.day(today) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WarmupConfig;
    use crate::config::warmup::Step;
    use crate::shaping::warmup::Day;
    use crate::shard::warm::Empty;

    #[derive(Default)]
    struct Disk {
        days: Vec<WarmDay>,
        full: bool,
    }

    impl Keeps for Disk {
        fn days(&mut self, (source, provider): (&str, &str)) -> Option<Vec<Day>> {
            let of = |one: &&WarmDay| *one.source == *source && *one.provider == *provider;
            Some(self.days.iter().filter(of).map(|one| one.day).collect())
        }

        fn keep(&mut self, days: &[WarmDay]) -> bool {
            for new in days.iter().filter(|_| !self.full) {
                let same = |one: &WarmDay| {
                    (&one.source, &one.provider, one.day.day) == (&new.source, &new.provider, new.day.day)
                };
                self.days.retain(|one| !same(one));
                self.days.push(new.clone());
            }
            !self.full
        }
    }

    fn plan() -> Arc<WarmupConfig> {
        let plan = [(1, 50), (2, 100), (3, 200)].map(|(day, volume)| Step { day, volume }).to_vec();
        Arc::new(WarmupConfig { source: "ip9".into(), start: 100, plan, overflow: None })
    }

    /// Takes all there is of a day, up to so many, with control at hand.
    fn take(counts: &WarmCounts, ledger: &mut Ledger, disk: &mut Disk, (today, most): (u32, usize)) -> usize {
        let count = counts.get(("ip9", "a"), &plan());
        for taken in 0..most {
            while let Err(empty) = counts.take(&count, today) {
                if empty == Empty::Over || !ledger.serve(counts, today, disk) {
                    return taken;
                }
            }
        }
        most
    }

    #[test]
    fn kills_waste_a_block_each_and_exceed_nothing() {
        let mut disk = Disk::default();
        let mut taken = 0;
        for _ in 0..4 {
            taken += take(&WarmCounts::default(), &mut Ledger::default(), &mut disk, (100, 7));
        }
        assert_eq!(taken, 28);
        let rest = take(&WarmCounts::default(), &mut Ledger::default(), &mut disk, (100, 999));
        assert_eq!(rest, 50 - 4 * 10, "each killed had two blocks of five");
        assert_eq!(take(&WarmCounts::default(), &mut Ledger::default(), &mut disk, (101, 999)), 100);
    }

    #[test]
    fn a_stop_in_order_wastes_nothing() {
        let mut disk = Disk::default();
        let mut taken = 0;
        for _ in 0..3 {
            let (counts, mut ledger) = (WarmCounts::default(), Ledger::default());
            taken += take(&counts, &mut ledger, &mut disk, (100, 7));
            ledger.finish(&counts, 100, &mut disk);
            assert_eq!(take(&counts, &mut ledger, &mut disk, (100, 7)), 0, "it stops");
        }
        taken += take(&WarmCounts::default(), &mut Ledger::default(), &mut disk, (100, 999));
        assert_eq!(taken, 50);
    }

    #[test]
    fn what_cannot_be_kept_is_not_given() {
        let (counts, mut ledger, mut disk) = Default::default();
        assert_eq!(take(&counts, &mut ledger, &mut disk, (100, 7)), 7);
        disk.full = true;
        assert_eq!(take(&counts, &mut ledger, &mut disk, (100, 999)), 3);
        disk.full = false;
        assert_eq!(take(&counts, &mut ledger, &mut disk, (100, 999)), 40);
    }

    #[test]
    fn a_complaint_is_remembered() {
        let (counts, mut ledger, mut disk): (WarmCounts, Ledger, Disk) = Default::default();
        assert_eq!(take(&counts, &mut ledger, &mut disk, (100, 60)), 50);
        let count = counts.get(("ip9", "a"), &plan());
        count.overflows(9);
        count.complains(Complaint::Throttled);
        disk.full = true;
        assert!(ledger.note(&counts, 100, &mut disk).is_empty());
        disk.full = false;
        let slowed = ledger.note(&counts, 100, &mut disk);
        assert_eq!((slowed[0].1, slowed[0].2), (Complaint::Throttled, WarmupStage::Day(1, 50)));
        assert!(ledger.note(&counts, 100, &mut disk).is_empty());
        assert_eq!((count.told().day.used, count.told().day.overflowed), (50, 9));
        assert_eq!(take(&WarmCounts::default(), &mut Ledger::default(), &mut disk, (101, 999)), 50);
        let shown = WarmCounts::default().get(("ip9", "a"), &plan());
        Ledger::default().show(&shown, 101, &mut disk);
        assert_eq!((shown.told().standing, shown.told().day.used), (Some(WarmupStage::Day(1, 50)), 50));
    }
}
