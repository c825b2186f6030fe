//! Quotas of accounts and tenants: how many recipients their mail has had in the periods of the calendar. Pure.
//!
//! Recipients are given out in blocks, and a block counts as used from the moment on at which it is given: whoever got it may take mail at once,
//! and what a kill leaves of it is wasted. So no quota is ever exceeded. A block is of all periods at one time, and ends with the shortest.

use std::fmt;

use crate::config::quota::{Period, Quotas};
use crate::limits;
use crate::time::UnixMillis;

/// Whose a quota is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// An account's.
    Account,
    /// A tenant's.
    Tenant,
}

impl Owner {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Owner::Account => "account",
            Owner::Tenant => "tenant",
        }
    }
}

/// What is known of one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// How long it is.
    pub period: Period,
    /// Which of these it is ([`Period::at`]).
    pub number: u32,
    /// What was given out of it.
    pub used: u32,
    /// Percent that were told to be used: 0, 80 or 100.
    pub told: u8,
}

/// What was given out, to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spare {
    /// By which quotas.
    pub quotas: Quotas,
    /// Which of their shortest periods it was of.
    pub number: u32,
    /// How much.
    pub left: u32,
}

/// What is given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// So many recipients.
    pub block: u32,
    /// There are no more in this period; it is the one that ends last of those.
    pub over: Option<Period>,
}

/// A share of a quota is used for the first time in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// In which.
    pub spent: Spent,
    /// Of so many.
    pub most: u32,
}

/// A quota, by the name under which nodes of a cluster count it together.
pub fn count_name(owner: Owner, name: &str, period: Period) -> String {
    let of = match owner {
        Owner::Account => 'a',
        Owner::Tenant => 't',
    };
    format!("q{of} {} {name}", period.unit())
}

/// What was given out to one account, or tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaBook(Vec<Spent>);

/// Recipients of a block.
pub fn block(quotas: &Quotas) -> u32 {
    (quotas.least() / limits::QUOTA_BLOCK_PART).clamp(1, limits::QUOTA_BLOCK_MAX)
}

impl QuotaBook {
    /// With what was kept; the rows that were written last come last.
    pub fn of(mut rows: Vec<Spent>) -> QuotaBook {
        let mut book = QuotaBook::default();
        rows.drain(..).for_each(|row| *book.at(row.period, row.number) = row);
        book
    }

    /// What is known of a period so far.
    pub fn spent(&self, period: Period, number: u32) -> Spent {
        self.find(period, number).copied().unwrap_or(Spent { period, number, used: 0, told: 0 })
    }

    fn find(&self, period: Period, number: u32) -> Option<&Spent> {
        self.0.iter().find(|one| (one.period, one.number) == (period, number))
    }

    fn at(&mut self, period: Period, number: u32) -> &mut Spent {
        let is_it = |one: &Spent| (one.period, one.number) == (period, number);
        let place = self.0.iter().position(is_it).unwrap_or_else(|| {
            if self.0.iter().filter(|one| one.period == period).count() >= limits::QUOTA_PERIODS_KEPT {
                // The one that was written longest ago: a clock that was wrong once costs one.
                let oldest = self.0.iter().position(|one| one.period == period).unwrap_or_default();
                self.0.remove(oldest);
            }
            self.0.push(Spent { period, number, used: 0, told: 0 });
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    /// All that is known, the periods of each length that were written last behind others.
    pub fn rows(&self) -> &[Spent] {
        &self.0
    }

    /// Gives out the next block, of so many at least if there are as many, and not more than that. It is to be on disk before anybody uses it.
    pub fn give(&mut self, quotas: &Quotas, now: UnixMillis, (wanted, most): (u32, u32)) -> Grant {
        let left = |(period, most): (Period, u32)| {
            (most.saturating_sub(self.spent(period, period.at(now)).used), period)
        };
        let left: Vec<(u32, Period)> = quotas.each().map(left).collect();
        let Some(room) = left.iter().map(|(left, _)| *left).min() else { return Grant::default() };
        let wish = block(quotas).max(wanted);
        let block = room.min(wish).min(most);
        if block > 0 {
            quotas.each().for_each(|(period, _)| self.at(period, period.at(now)).used += block);
        }
        let is_over = room == block;
        let over = left.iter().filter(|(left, _)| is_over && *left == room).map(|(_, period)| *period).max();
        Grant { block, over }
    }

    /// So much of what was given out was not used, and will not be.
    pub fn take_back(&mut self, spare: &Spare) {
        let Some(shortest) = spare.quotas.shortest() else { return };
        let time = shortest.begin(spare.number);
        for (period, _) in spare.quotas.each() {
            let number = period.at(time);
            // What is not known any more is none that anything is given of.
            if self.find(period, number).is_some() {
                let spent = self.at(period, number);
                spent.used = spent.used.saturating_sub(spare.left);
            }
        }
    }

    /// What is to be told for the first time, and is by that; `unused` of the block that was given out last is left, in this period more was wanted
    /// than there was, and so much was given out by other nodes.
    pub fn warn(
        &mut self,
        quotas: &Quotas,
        now: UnixMillis,
        (unused, refused, others): (u32, Option<Period>, impl Fn(Period) -> u32),
    ) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (period, most) in quotas.each() {
            let number = period.at(now);
            let Some(known) = self.find(period, number) else { continue };
            let used = known.used.saturating_sub(unused).saturating_add(others(period));
            let used = u64::from(used.min(most.max(known.used)));
            let told = if used >= u64::from(most) || refused == Some(period) {
                100
            } else if used * 100 >= u64::from(most) * limits::QUOTA_WARNED {
                limits::QUOTA_WARNED as u8
            } else {
                0
            };
            if told > known.told {
                let spent = self.at(period, number);
                spent.told = told;
                warnings.push(Warning { spent: Spent { used: used as u32, ..*spent }, most });
            }
        }
        warnings
    }
}

/// A point of time, to the minute.
struct Minute(UnixMillis);

impl fmt::Display for Minute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.0.civil();
        let (year, month, day, hour, minute) = (civil.year, civil.month, civil.day, civil.hour, civil.minute);
        write!(formatter, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
    }
}

impl Warning {
    /// When the next period begins.
    pub fn until(&self) -> UnixMillis {
        self.spent.period.begin(self.spent.number.saturating_add(1))
    }

    /// As an operator reads it.
    pub fn words(&self) -> String {
        let Warning { spent: Spent { period, used, told, .. }, most } = *self;
        let anew = Minute(self.until());
        let words = period.words();
        if told >= 100 {
            return format!("{most} recipients {words} are used; more are refused until {anew}");
        }
        format!("{used} of {most} recipients {words} are used, {told} % or more; they begin anew at {anew}")
    }
}

/// Whose it is, in a reply: a name that cannot stand there is left out.
struct Whose<'a>(Owner, &'a str);

impl fmt::Display for Whose<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Whose(owner, name) = self;
        if name.bytes().all(|byte| byte.is_ascii_graphic()) {
            write!(formatter, "{} {name}", owner.word())
        } else {
            write!(formatter, "the {}", owner.word())
        }
    }
}

/// The reply to a message with more recipients than are left in a period. It comes again by itself, unless there can never be as many.
pub fn refusal(
    (owner, name): (Owner, &str),
    quotas: &Quotas,
    (period, now): (Period, UnixMillis),
    wanted: u32,
) -> String {
    let whose = Whose(owner, name);
    if let Some((period, most)) = quotas.each().find(|(_, most)| *most < wanted) {
        let words = period.words();
        return format!(
            "550 5.7.1 {wanted} recipients are more than the quota of {whose}: {most} {words}\r\n"
        );
    }
    let (most, words) = (quotas.of(period).unwrap_or_default(), period.words());
    let anew = Minute(period.begin(period.at(now).saturating_add(1)));
    format!("451 4.7.1 The quota of {whose} is used: {most} recipients {words}; it begins anew at {anew}\r\n")
}

/// The reply to one that could not be counted.
pub fn uncounted((owner, name): (Owner, &str)) -> String {
    let whose = Whose(owner, name);
    format!("451 4.3.0 Recipients of {whose} cannot be counted now; try again later\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Civil;

    fn at(text: &str) -> UnixMillis {
        Civil::time_named(text).expect("a time")
    }

    fn quotas(all: &[&str]) -> Quotas {
        Quotas::parse(all.iter().copied()).expect("quotas")
    }

    /// All that is given out at a time.
    fn all(book: &mut QuotaBook, quotas: &Quotas, now: UnixMillis) -> (u32, Option<Period>) {
        let mut sum = 0;
        loop {
            let Grant { block, over } = book.give(quotas, now, (0, u32::MAX));
            sum += block;
            if over.is_some() || block == 0 {
                return (sum, over);
            }
        }
    }

    #[test]
    fn no_period_has_more_than_its_quota() {
        let (mut book, by) = (QuotaBook::default(), quotas(&["300/h", "500/d", "800/month"]));
        let mut give = |time: &str| all(&mut book, &by, at(time));
        assert_eq!(give("2026-12-30T09:00:00Z"), (300, Some(Period::Hour)));
        assert_eq!(give("2026-12-30T10:59:59Z"), (200, Some(Period::Day)));
        assert_eq!(give("2026-12-30T11:00:00Z"), (0, Some(Period::Day)));
        assert_eq!(give("2026-12-31T00:00:00Z"), (300, Some(Period::Month)), "the longest of those that are");
        assert_eq!(give("2026-12-31T23:59:59Z"), (0, Some(Period::Month)));
        assert_eq!(give("2027-01-01T00:00:00Z"), (300, Some(Period::Hour)));
        // The clock is set back: what was used is.
        assert_eq!(give("2026-12-31T00:00:00Z").0, 0);
    }

    #[test]
    fn a_message_with_many_gets_them_or_all_that_is_left() {
        let (mut book, by, now) = (QuotaBook::default(), quotas(&["100/d"]), at("2026-12-30"));
        assert_eq!(book.give(&by, now, (40, u32::MAX)), Grant { block: 40, over: None });
        assert_eq!(book.give(&by, now, (70, u32::MAX)), Grant { block: 60, over: Some(Period::Day) });
        assert_eq!(book.give(&by, now, (1, u32::MAX)), Grant { block: 0, over: Some(Period::Day) });
        book.take_back(&Spare { quotas: by, number: Period::Day.at(now), left: 7 });
        assert_eq!(book.give(&by, now, (7, u32::MAX)), Grant { block: 7, over: Some(Period::Day) });
        assert_eq!(
            (block(&by), block(&quotas(&["9/h", "9000000/d"])), block(&quotas(&["9000000/d"]))),
            (1, 1, 1000)
        );
    }

    /// What was left of an hour that is over is the day's still.
    #[test]
    fn what_is_left_of_a_block_goes_back_to_the_periods_it_is_of() {
        let (mut book, by) = (QuotaBook::default(), quotas(&["300/h", "310/d"]));
        let (nine, ten) = (at("2026-12-30T09:00:00Z"), at("2026-12-30T10:00:00Z"));
        assert_eq!(book.give(&by, nine, (300, u32::MAX)).block, 300);
        book.take_back(&Spare { quotas: by, number: Period::Hour.at(nine), left: 20 });
        assert_eq!(all(&mut book, &by, ten), (30, Some(Period::Day)));
        // Of a longer period that was none then nothing comes back.
        let short = Spare { quotas: quotas(&["300/h"]), number: Period::Hour.at(ten), left: 30 };
        book.take_back(&short);
        assert_eq!(all(&mut book, &by, ten).0, 0);
        assert_eq!(book.spent(Period::Hour, Period::Hour.at(ten)).used, 0);
    }

    #[test]
    fn it_is_told_once_a_period() {
        let (mut book, by, now) = (QuotaBook::default(), quotas(&["10/h", "40/d"]), at("2026-12-30"));
        let warn = |book: &mut QuotaBook, block: u32, of: (u32, Option<Period>)| {
            book.give(&by, now, (block, u32::MAX));
            book.warn(&by, now, (of.0, of.1, |_| 0))
                .iter()
                .map(|one| (one.spent.period, one.spent.told))
                .collect::<Vec<_>>()
        };
        assert!(warn(&mut book, 8, (1, None)).is_empty());
        assert_eq!(warn(&mut book, 1, (1, None)), [(Period::Hour, 80)]);
        let mut again = QuotaBook::of(book.rows().to_vec());
        assert_eq!(again, book);
        assert!(warn(&mut again, 1, (1, None)).is_empty(), "also behind a restart");
        assert_eq!(warn(&mut again, 1, (0, None)), [(Period::Hour, 100)]);
        assert_eq!(warn(&mut book, 1, (1, Some(Period::Hour))), [(Period::Hour, 100)], "somebody wanted two");
        assert!(warn(&mut book, 1, (0, Some(Period::Hour))).is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut book, by) = (QuotaBook::default(), quotas(&["10/min"]));
        for minute in 0..100 {
            assert_eq!(book.give(&by, Period::Minute.begin(minute), (10, u32::MAX)).block, 10);
            assert!(book.rows().len() <= limits::QUOTA_PERIODS_KEPT);
        }
        for back in 0..limits::QUOTA_PERIODS_KEPT as u32 {
            assert_eq!(book.give(&by, Period::Minute.begin(99 - back), (10, u32::MAX)).block, 0);
        }
    }

    #[test]
    fn replies_say_whose_how_many_and_until_when() {
        let (by, now) = (quotas(&["10/h", "40/month"]), at("2026-12-30T09:10:00Z"));
        let shop = (Owner::Account, "shop");
        assert_eq!(
            refusal(shop, &by, (Period::Hour, now), 3),
            "451 4.7.1 The quota of account shop is used: 10 recipients an hour; it begins anew at 2026-12-30 10:00 UTC\r\n"
        );
        assert!(refusal(shop, &by, (Period::Month, now), 3).ends_with("anew at 2027-01-01 00:00 UTC\r\n"));
        assert_eq!(
            refusal((Owner::Tenant, "b\u{e4}r"), &by, (Period::Month, now), 11),
            "550 5.7.1 11 recipients are more than the quota of the tenant: 10 an hour\r\n"
        );
        let spent = Spent { period: Period::Month, number: Period::Month.at(now), used: 33, told: 80 };
        let words = Warning { spent, most: 40 }.words();
        assert_eq!(
            words,
            "33 of 40 recipients a month are used, 80 % or more; they begin anew at 2027-01-01 00:00 UTC"
        );
        assert!(uncounted(shop).starts_with("451 4.3.0 Recipients of account shop "));
    }
}
