//! Control's part of warm-up: who gets which block, and that it is on disk before anybody has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{AnnouncedStage, WarmCount, WarmCounts};
use crate::config::WarmupConfig;
use crate::limits;
use crate::policy::cluster::count_script::Marks;
use crate::policy::cluster::counts::{Count, Credits, NoOthers, Then};
use crate::shaping::warmup::{Account, Complaint, Grant, Names, WarmDay, WarmupStage, block, count_name};
use crate::time::UnixMillis;

/// Where days are kept over a start.
pub trait Keeps {
    /// Those of a source at a provider that it has; None: it cannot be read.
    fn days(&mut self, names: (&str, &str)) -> Option<Vec<crate::shaping::warmup::Day>>;
    /// These days are as they are now, on disk: all of them, or none. False: none.
    fn keep(&mut self, days: &[WarmDay]) -> bool;
}

/// All accounts that are known.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<Names, Account>,
    /// Those of which other nodes have all for now.
    short: Vec<Arc<WarmCount>>,
    /// What other nodes know of the day before this one is known here.
    joined: HashMap<Names, u32>,
}

/// What is to be said of a provider that complained: from which day of the plan on it goes on when.
pub type Slowed = (Arc<WarmCount>, Complaint, WarmupStage);

impl Ledger {
    /// Answers those that ask. False: nothing can be kept, and they will ask again.
    pub fn serve(&mut self, counts: &WarmCounts, today: u32, keeps: &mut impl Keeps) -> bool {
        self.serve_within(counts, (UnixMillis::of_day(today), false), keeps, &mut NoOthers)
    }

    /// The same for one node of several. `looks`: it is seen whether there is more of what there was no more of.
    pub fn serve_within(
        &mut self,
        counts: &WarmCounts,
        (now, looks): (UnixMillis, bool),
        keeps: &mut impl Keeps,
        credits: &mut impl Credits,
    ) -> bool {
        let today = now.day();
        let mut asks: Vec<_> = std::iter::from_fn(|| counts.next_ask()).take(limits::WARMUPS_ASKED).collect();
        if looks {
            self.short.retain(|count| count.is_short(today));
            asks.extend(self.short.iter().filter(|count| count.take_wanted()).cloned());
        }
        let (mut answers, mut days, mut works) = (Vec::new(), Vec::new(), true);
        for count in asks {
            match self.answer(&count, now, keeps, credits) {
                Some((answer, changed)) => {
                    days.extend(changed);
                    answers.extend(answer);
                }
                None => {
                    count.answered();
                    works = false;
                }
            }
        }
        let kept = days.is_empty() || keeps.keep(&days);
        for answer in answers {
            self.settle(answer, today, kept);
        }
        kept && works
    }

    /// What one gets, and days that are to be kept for it. None: what is kept cannot be read.
    fn answer(
        &mut self,
        count: &Arc<WarmCount>,
        now: UnixMillis,
        keeps: &mut impl Keeps,
        credits: &mut impl Credits,
    ) -> Option<(Option<Answer>, Vec<WarmDay>)> {
        let (plan, today, name) = (count.plan(), now.day(), count_name(&count.source, &count.provider));
        let is_joined = self.joined.get(&key(count)) == Some(&today);
        let mut joined = false;
        let account = self.account(count, keeps)?;
        let mut days = Vec::new();
        let yesterday = today.saturating_sub(1);
        if !is_joined && yesterday >= plan.start {
            let Some((is_news, is_known)) = join(account, &plan, (&name, yesterday, now), credits) else {
                // That is known in a moment: whoever waits looks again.
                count.answered();
                return Some((None, days));
            };
            if is_news {
                days.push(day_of(count, account, yesterday));
            }
            joined = is_known;
        }
        let mut next = account.clone();
        let (mut given, mut short) = (next.standing(&plan, today), None);
        let room = match given {
            WarmupStage::Day(_, volume) => {
                let one = one_day(&next, (today, volume), now);
                let room = credits.room(&name, today, one, 1);
                short = Some(room.then).filter(|_| room.left == 0);
                room.left
            }
            WarmupStage::Before | WarmupStage::Warm => u32::MAX,
        };
        let grant = next.give(&plan, today, room);
        given = next.standing(&plan, today);
        if let WarmupStage::Day(..) = given {
            credits.gave(&name, today, next.day(today).used);
        }
        if let Grant::Block(_) = grant {
            days.push(day_of(count, &next, today));
            // What it gives next in this round follows from this.
            *account = next.clone();
        }
        if joined {
            if self.joined.len() >= limits::WARMUPS_KNOWN {
                self.joined.clear();
            }
            self.joined.insert(key(count), today);
        }
        if short == Some(Then::Wait) {
            count.answered();
            return Some((None, days));
        }
        let told = AnnouncedStage { day: next.day(today), standing: Some(given) };
        let answer = Answer { count: count.clone(), grant, told, for_now: short.is_some() };
        Some((Some(answer), days))
    }

    fn settle(&mut self, Answer { count, grant, told, for_now }: Answer, today: u32, kept: bool) {
        if !kept && matches!(grant, Grant::Block(_)) {
            // It may be on disk all the same: what is there counts.
            self.accounts.remove(&key(&count));
            count.answered();
            return;
        }
        count.tell(told);
        match grant {
            Grant::Block(block) => {
                if count.is_short(today) {
                    count.reopen();
                }
                count.give(today, block);
            }
            Grant::All => count.give_all(today),
            Grant::Nothing => {
                count.give_nothing(today);
                let is_known = self.short.iter().any(|known| Arc::ptr_eq(known, &count));
                if for_now && !is_known && self.short.len() < limits::COUNTS_SHORT {
                    self.short.push(count);
                }
            }
        }
    }

    /// Keeps what overflowed and what providers said since it was called last. Who complained for the first time of the day.
    pub fn note(&mut self, counts: &WarmCounts, today: u32, keeps: &mut impl Keeps) -> Vec<Slowed> {
        self.note_within(counts, UnixMillis::of_day(today), keeps, &mut NoOthers)
    }

    /// The same for one node of several: others are told.
    pub fn note_within(
        &mut self,
        counts: &WarmCounts,
        now: UnixMillis,
        keeps: &mut impl Keeps,
        credits: &mut impl Credits,
    ) -> Vec<Slowed> {
        let today = now.day();
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
                if let WarmupStage::Day(_, volume) = account.standing(&plan, today) {
                    let name = count_name(&count.source, &count.provider);
                    let (behind, said) = account.marks(&plan, today);
                    let own = Marks { behind, said: said.number().into() };
                    credits.marks(&name, today, one_day(account, (today, volume), now), own);
                }
                if told.day.complaint > before {
                    slowed.push((count.clone(), told.day.complaint, account.standing(&plan, today + 1)));
                }
                count.tell(told);
                heard.push((count, news));
            }
        }
        if !days.is_empty() && !keeps.keep(&days) {
            for (count, news) in heard {
                self.accounts.remove(&key(&count));
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
        if !self.accounts.contains_key(&key(count)) {
            let days = keeps.days((&count.source, &count.provider))?;
            if self.accounts.len() >= limits::WARMUPS_KNOWN {
                // All of it is on disk.
                self.accounts.clear();
            }
            self.accounts.insert(key(count), Account::of(days));
        }
        self.accounts.get_mut(&key(count))
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

/// What is given to one that asked.
struct Answer {
    count: Arc<WarmCount>,
    grant: Grant,
    told: AnnouncedStage,
    /// Where that is nothing: others may give back what they have.
    for_now: bool,
}

/// A day of so many messages, as it stands.
fn one_day(account: &Account, (day, volume): (u32, u32), now: UnixMillis) -> Count {
    let end = UnixMillis::of_day(day.saturating_add(1));
    Count {
        most: volume,
        used: account.day(day).used,
        block: block(volume),
        length: Duration::from_secs(86_400),
        left: Duration::from_millis(end.0.saturating_sub(now.0)),
        recurs: false,
    }
}

/// What other nodes know of a day counts. Whether that is news, and whether they were asked; None: they are.
fn join(
    account: &mut Account,
    plan: &WarmupConfig,
    (name, day, now): (&str, u32, UnixMillis),
    credits: &mut impl Credits,
) -> Option<(bool, bool)> {
    let (behind, said) = account.marks(plan, day);
    let own = Marks { behind, said: said.number().into() };
    let (all, is_known) = credits.marks(name, day, one_day(account, (day, u32::MAX), now), own)?;
    let said = Complaint::of_number(u8::try_from(all.said).unwrap_or(u8::MAX));
    // No plan is behind by more than its days.
    let behind = all.behind.min(limits::WARMUP_DAY_MAX);
    let is_news = (behind, said) != account.marks(plan, day) && account.join(plan, day, (behind, said));
    Some((is_news, is_known))
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
