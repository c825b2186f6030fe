//! Control's part of quotas: who gets which block, and that it is on disk before anybody has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{AWAY, FOR_NOW, QuotaCount, QuotaDesk, QuotaTable};
use crate::config::quota::{Period, Quotas};
use crate::limits;
use crate::policy::cluster::counts::{Count, Credits, NoOthers, Then};
use crate::policy::quota::{Grant, Owner, QuotaBook, Spare, Spent, Warning, block, count_name};
use crate::time::UnixMillis;

/// All that is kept of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaRows {
    /// Whose it is.
    pub owner: Owner,
    /// The name of that.
    pub name: Box<str>,
    /// The periods that are known, in the order in which they were first written.
    pub rows: Vec<Spent>,
}

/// Where they are kept over a start.
pub trait Keeps {
    /// What it has of one; None: it cannot be read.
    fn rows(&mut self, owner: Owner, name: &str) -> Option<Vec<Spent>>;
    /// This is what is to be kept of these, and nothing else: all of it is on disk, or none. False: none.
    fn keep(&mut self, all: &[QuotaRows]) -> bool;
}

type Key = (Owner, Box<str>);

/// What is known of all.
#[derive(Debug, Default)]
pub struct Ledger {
    books: HashMap<Key, QuotaBook>,
    /// Those of which there is no more for now.
    short: Vec<Arc<QuotaCount>>,
}

/// What is to be told of one.
pub type Told = (Arc<QuotaCount>, Warning);

/// What is given to one that asked.
struct Answer {
    count: Arc<QuotaCount>,
    quotas: Quotas,
    given: Grant,
    /// There are no more of this period, with the flags of that.
    over: Option<(Period, u8)>,
    spares: Vec<Spare>,
    warnings: Vec<Warning>,
    /// How much of this was wanted and is not given if it cannot be kept.
    wanted: u32,
}

impl Ledger {
    /// Answers those that ask, and says what is to be told. False: nothing can be kept, and they will ask again.
    pub fn serve(&mut self, desk: &QuotaDesk, now: UnixMillis, keeps: &mut impl Keeps) -> (bool, Vec<Told>) {
        self.serve_within(desk, (now, false), keeps, &mut NoOthers)
    }

    /// The same for one node of several. `looks`: it is seen whether there is more of what there was no more of.
    pub fn serve_within(
        &mut self,
        desk: &QuotaDesk,
        (now, looks): (UnixMillis, bool),
        keeps: &mut impl Keeps,
        credits: &mut impl Credits,
    ) -> (bool, Vec<Told>) {
        let mut asks: Vec<_> = std::iter::from_fn(|| desk.next_ask()).take(limits::QUOTAS_ASKED).collect();
        if looks {
            asks.extend(self.wanted_again(now));
        }
        let (mut answers, mut changed, mut works) = (Vec::new(), Vec::new(), true);
        for count in asks {
            match self.answer(&count, now, keeps, credits) {
                Some((answer, rows)) => {
                    answers.push(answer);
                    changed.extend(rows);
                }
                None => {
                    count.answered();
                    works = false;
                }
            }
        }
        let kept = changed.is_empty() || keeps.keep(&changed);
        let mut told = Vec::new();
        for answer in answers {
            told.extend(self.settle(answer, now, kept));
        }
        (kept && works, told)
    }

    /// Whether there are any of which there is no more for now.
    pub fn is_short(&self) -> bool {
        !self.short.is_empty()
    }

    /// Those of which there was no more, and somebody wants some.
    fn wanted_again(&mut self, now: UnixMillis) -> Vec<Arc<QuotaCount>> {
        self.short.retain(|count| count.is_short(count.number(now)));
        self.short.iter().filter(|count| count.wanted.load(Ordering::Relaxed) > 0).cloned().collect()
    }

    /// What one gets, and what is to be kept of it if that is news. None: what is kept cannot be read.
    fn answer(
        &mut self,
        count: &Arc<QuotaCount>,
        now: UnixMillis,
        keeps: &mut impl Keeps,
        credits: &mut impl Credits,
    ) -> Option<(Answer, Option<QuotaRows>)> {
        let quotas = count.quotas();
        let book = self.book(count, keeps)?;
        let before = book.clone();
        let mut spares = count.spares();
        let number = quotas.shortest().map(|period| period.at(now));
        // What is left of a period that is over.
        let (of, left) = super::unpacked(count.left.load(Ordering::SeqCst));
        if left > 0 && Some(of) != number {
            spares.extend(count.take_out());
        }
        spares.iter().for_each(|spare| book.take_back(spare));
        let mut wanted = count.wanted.swap(0, Ordering::SeqCst);
        let low = count.low.load(Ordering::Relaxed);
        let unused = count.free(now);
        let (mut given, mut over) = (Grant::default(), None);
        if number.is_some() && (unused <= low || wanted > unused) {
            let lack = wanted.saturating_sub(unused);
            let (most, short) = room(book, (count, &quotas), (now, lack), credits);
            given = book.give(&quotas, now, (lack, most));
            gave(book, (count, &quotas), now, credits);
            over = given.over.map(|period| (period, 0));
            match short.filter(|_| over.is_none() && given.block < lack.max(1)) {
                // That is known in a moment: whoever waits looks again.
                Some((_, Then::Wait)) => {
                    count.wanted.fetch_add(std::mem::take(&mut wanted), Ordering::SeqCst)
                }
                Some((period, Then::Away)) => {
                    over = Some((period, FOR_NOW | AWAY));
                    // As soon as others can be asked there may be more.
                    count.wanted.fetch_max(1, Ordering::SeqCst)
                }
                Some((period, Then::Over)) => {
                    over = Some((period, FOR_NOW));
                    0
                }
                None => 0,
            };
        }
        let is_over = number.and_then(|number| over.or_else(|| count.over(number)));
        let is_refused = given.block == 0 && Some(count.refused.load(Ordering::Relaxed)) == number;
        let refused = is_over.filter(|(_, flags)| is_refused && flags & AWAY == 0).map(|(period, _)| period);
        let others = |period: Period| {
            let name = count_name(count.owner, &count.name, period);
            credits.others(&name, period.at(now)).unwrap_or(0)
        };
        let warnings = book.warn(&quotas, now, (unused.saturating_add(given.block), refused, others));
        let rows = (*book != before).then(|| QuotaRows {
            owner: count.owner,
            name: count.name.clone(),
            rows: book.rows().to_vec(),
        });
        let count = count.clone();
        Some((Answer { count, quotas, given, over, spares, warnings, wanted }, rows))
    }

    fn settle(&mut self, answer: Answer, now: UnixMillis, kept: bool) -> Vec<Told> {
        let Answer { count, quotas, given, over, spares, warnings, wanted } = answer;
        count.answered();
        if !kept {
            // It may be on disk all the same: what is there counts.
            self.books.remove(&key(&count));
            count.wanted.fetch_add(wanted, Ordering::SeqCst);
            count.keep(spares);
            return Vec::new();
        }
        if let Some(book) = self.books.get(&key(&count)) {
            count.tell(book.rows().to_vec());
        }
        if let Some(number) = quotas.shortest().map(|period| period.at(now)) {
            if given.block > 0 {
                count.give(&quotas, number, given.block);
            }
            if given.block > 0 && count.is_short(Some(number)) {
                count.reopen();
            }
            if let Some(over) = over {
                count.end(&quotas, number, over);
                let is_known = self.short.iter().any(|known| Arc::ptr_eq(known, &count));
                if over.1 & FOR_NOW != 0 && !is_known && self.short.len() < limits::COUNTS_SHORT {
                    self.short.push(count.clone());
                }
            }
        }
        warnings.into_iter().map(|warning| (count.clone(), warning)).collect()
    }

    /// The node stops: what nobody used goes back.
    pub fn finish(&mut self, desk: &QuotaDesk, now: UnixMillis, keeps: &mut impl Keeps) {
        let mut changed = Vec::new();
        let asks: Vec<_> = std::iter::from_fn(|| desk.next_ask()).take(limits::QUOTAS_ASKED).collect();
        for count in desk.in_force().all().chain(&asks) {
            let quotas = count.quotas();
            let spares: Vec<Spare> = count.spares().into_iter().chain(count.take_out()).collect();
            if let Some(shortest) = quotas.shortest() {
                count.end(&quotas, shortest.at(now), (shortest, 0));
            }
            if !spares.is_empty()
                && let Some(book) = self.book(count, keeps)
            {
                spares.iter().for_each(|spare| book.take_back(spare));
                let (owner, name, rows) = (count.owner, count.name.clone(), book.rows().to_vec());
                changed.push(QuotaRows { owner, name, rows });
            }
        }
        if !changed.is_empty() {
            keeps.keep(&changed);
        }
    }

    /// Has what is kept of some shown before mail asks for it.
    pub fn show(
        &mut self,
        table: &QuotaTable,
        now: UnixMillis,
        keeps: &mut impl Keeps,
        credits: &mut impl Credits,
    ) {
        let mut all: Vec<_> = table.all().collect();
        all.sort_by(|one, other| (one.owner, &one.name).cmp(&(other.owner, &other.name)));
        for count in all.into_iter().take(limits::QUOTAS_SHOWN) {
            if let Some(book) = self.book(count, keeps) {
                count.tell(book.rows().to_vec());
                for (period, one) in each(&count.quotas(), book, now).filter(|(_, one)| one.used > 0) {
                    let name = count_name(count.owner, &count.name, period);
                    credits.note(&name, period.at(now), one);
                }
            }
        }
    }

    fn book(&mut self, count: &QuotaCount, keeps: &mut impl Keeps) -> Option<&mut QuotaBook> {
        if !self.books.contains_key(&key(count)) {
            let rows = keeps.rows(count.owner, &count.name)?;
            if self.books.len() >= limits::QUOTAS_KNOWN {
                // All of it is on disk.
                self.books.clear();
            }
            self.books.insert(key(count), QuotaBook::of(rows));
        }
        self.books.get_mut(&key(count))
    }
}

/// Each of these quotas, as it stands.
fn each(quotas: &Quotas, book: &QuotaBook, now: UnixMillis) -> impl Iterator<Item = (Period, Count)> {
    let block = block(quotas);
    quotas.each().map(move |(period, most)| {
        let number = period.at(now);
        let used = book.spent(period, number).used;
        let (begin, end) = (period.begin(number), period.begin(number.saturating_add(1)));
        let span = |from: UnixMillis| Duration::from_millis(end.0.saturating_sub(from.0));
        (period, Count { most, used, block, length: span(begin), left: span(now), recurs: true })
    })
}

/// What one node may give out of all these quotas now, and what is to be said of the one that has less than is wanted.
fn room(
    book: &QuotaBook,
    (count, quotas): (&QuotaCount, &Quotas),
    (now, wanted): (UnixMillis, u32),
    credits: &mut impl Credits,
) -> (u32, Option<(Period, Then)>) {
    let (mut most, mut short) = (u32::MAX, None);
    for (period, one) in each(quotas, book, now) {
        let name = count_name(count.owner, &count.name, period);
        let room = credits.room(&name, period.at(now), one, wanted);
        most = most.min(room.left);
        let is_worse = |of: Then| short.is_none_or(|(_, known)| of == Then::Over || known == Then::Wait);
        if room.left < wanted.max(1) && is_worse(room.then) {
            short = Some((period, room.then));
        }
    }
    (most, short)
}

/// That is what is given out now.
fn gave(
    book: &QuotaBook,
    (count, quotas): (&QuotaCount, &Quotas),
    now: UnixMillis,
    credits: &mut impl Credits,
) {
    for (period, one) in each(quotas, book, now) {
        credits.gave(&count_name(count.owner, &count.name, period), period.at(now), one.used);
    }
}

fn key(count: &QuotaCount) -> Key {
    (count.owner, count.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::accounts::Accounts;
    use crate::shard::quota::{Empty, Taken};
    use crate::time::Civil;

    #[derive(Default)]
    struct Disk {
        all: Vec<QuotaRows>,
        full: bool,
    }

    impl Keeps for Disk {
        fn rows(&mut self, owner: Owner, name: &str) -> Option<Vec<Spent>> {
            let is_it = |one: &&QuotaRows| one.owner == owner && *one.name == *name;
            Some(self.all.iter().find(is_it).map(|one| one.rows.clone()).unwrap_or_default())
        }

        fn keep(&mut self, all: &[QuotaRows]) -> bool {
            for new in all.iter().filter(|_| !self.full) {
                self.all.retain(|one| (one.owner, &one.name) != (new.owner, &new.name));
                self.all.push(new.clone());
            }
            !self.full
        }
    }

    fn at(text: &str) -> UnixMillis {
        Civil::time_named(text).expect("a time")
    }

    /// A process, whose account has these quotas.
    struct Process {
        desk: QuotaDesk,
        ledger: Ledger,
        told: Vec<u8>,
        generation: u64,
    }

    impl Process {
        fn new(quota: &str) -> Process {
            let (desk, ledger) = Default::default();
            let mut process = Process { desk, ledger, told: Vec::new(), generation: 0 };
            process.reload(quota);
            process
        }

        fn reload(&mut self, quota: &str) {
            let least = limits::client::ITERATIONS_MIN.try_into().expect("some");
            let hash = crate::policy::accounts::verifier(b"x", [7; limits::SCRAM_SALT], least);
            let quota = if quota.is_empty() { String::new() } else { format!("quota = {quota}\n") };
            let text = format!("[[account]]\nname = \"shop\"\nscram = \"{}\"\n{quota}", hash.unwrap());
            let accounts = Accounts::parse(&text).expect("accounts");
            let table = QuotaTable::new(&[], Some(&accounts)).after(&self.desk.in_force());
            self.generation += 1;
            self.desk.put_in_force(self.generation, &Arc::new(table));
        }

        fn count(&self) -> Arc<QuotaCount> {
            self.desk.in_force().get(Owner::Account, "shop").expect("it has a quota").clone()
        }

        fn serve(&mut self, now: UnixMillis, disk: &mut Disk) -> bool {
            let (works, told) = self.ledger.serve(&self.desk, now, disk);
            self.told.extend(told.iter().map(|(_, warning)| warning.spent.told));
            works
        }

        fn take(&mut self, wanted: u32, now: UnixMillis, disk: &mut Disk) -> Result<Taken, Empty> {
            for look in 0..3 {
                match self.desk.take(&self.count(), (wanted, look > 0), now) {
                    Err(Empty::Asked) if self.serve(now, disk) => {}
                    other => return other,
                }
            }
            Err(Empty::Asked)
        }

        /// Takes one by one all there is, up to so many.
        fn drain(&mut self, most: usize, now: UnixMillis, disk: &mut Disk) -> usize {
            (0..most).take_while(|_| self.take(1, now, disk).is_ok()).count()
        }
    }

    #[test]
    fn kills_waste_a_block_each_and_exceed_nothing() {
        let (mut disk, now) = (Disk::default(), at("2026-12-30"));
        let quota = "[\"500/d\", \"900/month\"]";
        let mut taken = 0;
        for _ in 0..4 {
            taken += Process::new(quota).drain(7, now, &mut disk);
        }
        assert_eq!(taken, 28);
        let rest = Process::new(quota).drain(9_999, now, &mut disk);
        assert_eq!(rest, 500 - 4 * 10, "each killed had two blocks of five");
        let mut process = Process::new(quota);
        assert_eq!(process.drain(9_999, now, &mut disk), 0);
        assert_eq!(process.drain(9_999, at("2026-12-31"), &mut disk), 400, "what the month has");
        assert_eq!(process.drain(9_999, now, &mut disk), 0, "the clock is set back");
        assert_eq!(process.drain(9_999, at("2027-01-01"), &mut disk), 500);
    }

    #[test]
    fn a_stop_in_order_wastes_nothing() {
        let (mut disk, now) = (Disk::default(), at("2026-12-30"));
        let mut taken = 0;
        for _ in 0..3 {
            let mut process = Process::new("[\"500/d\"]");
            taken += process.drain(7, now, &mut disk);
            process.ledger.finish(&process.desk, now, &mut disk);
            assert_eq!(process.drain(7, now, &mut disk), 0, "it stops");
        }
        taken += Process::new("[\"500/d\"]").drain(9_999, now, &mut disk);
        assert_eq!(taken, 500);
    }

    #[test]
    fn what_cannot_be_kept_is_not_given() {
        let (mut process, mut disk, now) = (Process::new("[\"500/d\"]"), Disk::default(), at("2026-12-30"));
        assert_eq!(process.drain(7, now, &mut disk), 7);
        disk.full = true;
        assert_eq!(process.drain(999, now, &mut disk), 3);
        disk.full = false;
        assert_eq!(process.drain(999, now, &mut disk), 490);
    }

    /// The hour's rest is the day's still, and no message gets a part of what it needs.
    #[test]
    fn messages_get_all_or_nothing() {
        let quota = "[\"100/h\", \"150/d\"]";
        let (mut process, mut disk) = (Process::new(quota), Disk::default());
        let (nine, ten) = (at("2026-12-30T09:00:00Z"), at("2026-12-30T10:00:00Z"));
        assert!(process.take(60, nine, &mut disk).is_ok());
        let taken = process.take(30, nine, &mut disk).expect("thirty of forty");
        assert_eq!(process.take(20, nine, &mut disk), Err(Empty::Over(Period::Hour)));
        process.count().give_back(taken);
        assert!(process.take(20, nine, &mut disk).is_ok());
        assert!(process.take(20, nine, &mut disk).is_ok(), "it was given back");
        assert_eq!(process.take(1, nine, &mut disk), Err(Empty::Over(Period::Hour)));
        assert!(process.take(50, ten, &mut disk).is_ok());
        assert_eq!(process.take(1, ten, &mut disk), Err(Empty::Over(Period::Day)));
        let standing = process.count().standing(ten);
        assert_eq!(standing, [(Period::Hour, 50, 100), (Period::Day, 150, 150)]);
        assert_eq!(process.take(151, at("2026-12-31"), &mut disk), Err(Empty::Over(Period::Hour)));
    }

    #[test]
    fn a_reload_holds_at_once_and_what_is_used_stays() {
        let (mut process, mut disk, now) = (Process::new("[\"50000/d\"]"), Disk::default(), at("2026-12-30"));
        assert_eq!(process.drain(700, now, &mut disk), 700);
        process.reload("[\"710/d\"]");
        assert_eq!(process.drain(999, now, &mut disk), 10, "what was given out by the old one went back");
        process.reload("[\"720/d\", \"5/h\"]");
        assert_eq!(process.drain(999, now, &mut disk), 5);
        process.reload("");
        process.serve(now, &mut disk);
        process.reload("[\"730/d\"]");
        assert_eq!(process.drain(999, now, &mut disk), 15, "it had none in between");
    }

    #[test]
    fn it_is_told_once_a_period_and_not_again_behind_a_restart() {
        let (mut process, mut disk, now) = (Process::new("[\"100/d\"]"), Disk::default(), at("2026-12-30"));
        process.drain(79, now, &mut disk);
        process.serve(now, &mut disk);
        assert_eq!(process.told, [0u8; 0]);
        process.drain(5, now, &mut disk);
        process.serve(now, &mut disk);
        assert_eq!(process.told, [80]);
        let mut process = Process::new("[\"100/d\"]");
        process.drain(999, now, &mut disk);
        process.serve(now, &mut disk);
        assert_eq!(process.told, [100], "the first is told already");
        assert!(process.take(1, now, &mut disk).is_err());
        process.serve(now, &mut disk);
        assert_eq!(process.told, [100]);
        process.drain(100, at("2026-12-31"), &mut disk);
        process.serve(at("2026-12-31"), &mut disk);
        assert_eq!(process.told, [100, 80, 100]);
        // Nobody takes the last three, and more is wanted.
        let mut process = Process::new("[\"100/d\"]");
        let now = at("2027-01-01");
        assert!(process.take(97, now, &mut disk).is_ok() && process.take(4, now, &mut disk).is_err());
        process.serve(now, &mut disk);
        assert_eq!(process.told, [80, 100]);
    }

    #[test]
    fn shards_take_no_more_than_there_is() {
        let (process, now) = (Process::new("[\"5000/d\"]"), at("2026-12-30"));
        let (desk, count) = (&process.desk, process.count());
        let mut ledger = Ledger::default();
        let take = || {
            let mut taken = 0;
            loop {
                match desk.take(&count, (3, false), now) {
                    Ok(_) => taken += 3,
                    Err(Empty::Over(_)) => return taken,
                    Err(Empty::Asked | Empty::Away) => std::thread::yield_now(),
                }
            }
        };
        let all: u32 = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            while shards.iter().any(|shard| !shard.is_finished()) {
                ledger.serve(desk, now, &mut Disk::default());
            }
            shards.into_iter().map(|shard| shard.join().expect("no panic")).sum()
        });
        assert_eq!(all, 4_998);
    }
}
