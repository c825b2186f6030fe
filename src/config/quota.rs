//! `quota` of an account or a tenant: how many recipients its mail may have in a minute, an hour, a day and a month of the calendar, in UTC.

use std::fmt;

use toml::de::DeValue;

use crate::config::literal::{Wrong, kind, quoted, quoted_list};
use crate::limits;
use crate::shaping::value::limit;
use crate::time::{Civil, UnixMillis};

/// A part of the calendar, in UTC. Each ends where some of the shorter ones do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
}

impl Period {
    /// All of them, the shortest first.
    pub const ALL: [Period; 4] = [Period::Minute, Period::Hour, Period::Day, Period::Month];

    /// That of a number, which is its place in them.
    pub fn of_number(number: u8) -> Option<Period> {
        Period::ALL.get(usize::from(number)).copied()
    }

    /// As it stands behind the slash.
    pub fn unit(self) -> &'static str {
        match self {
            Period::Minute => "min",
            Period::Hour => "h",
            Period::Day => "d",
            Period::Month => "month",
        }
    }

    /// With its article.
    pub fn words(self) -> &'static str {
        match self {
            Period::Minute => "a minute",
            Period::Hour => "an hour",
            Period::Day => "a day",
            Period::Month => "a month",
        }
    }

    fn named(unit: &str) -> Option<Period> {
        Some(match unit {
            "m" | "min" | "minute" => Period::Minute,
            "h" | "hr" | "hour" => Period::Hour,
            "d" | "day" => Period::Day,
            "month" => Period::Month,
            _ => return None,
        })
    }

    /// Which one it is at a time, counted from 1970.
    pub fn at(self, time: UnixMillis) -> u32 {
        let seconds = time.0 / 1000;
        let number = match self {
            Period::Minute => seconds / 60,
            Period::Hour => seconds / 3_600,
            Period::Day => u64::from(time.day()),
            Period::Month => {
                let Civil { year, month, .. } = time.civil();
                (12 * year + month - 1).saturating_sub(12 * 1970)
            }
        };
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// When that one begins.
    pub fn begin(self, number: u32) -> UnixMillis {
        let number = u64::from(number);
        match self {
            Period::Minute => UnixMillis(number * 60_000),
            Period::Hour => UnixMillis(number * 3_600_000),
            Period::Day => UnixMillis(number * 86_400_000),
            Period::Month => {
                let name = format!("{:04}-{:02}-01", 1970 + number / 12, number % 12 + 1);
                Civil::day_named(&name).map_or(UnixMillis(u64::MAX), UnixMillis::of_day)
            }
        }
    }
}

/// How many recipients there may be in each; 0: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas([u32; 4]);

impl Quotas {
    /// Reads `1000/h`, several with blanks between them. None: it is none, or one period stands there twice.
    pub fn parse<'a>(all: impl IntoIterator<Item = &'a str>) -> Option<Quotas> {
        let mut quotas = Quotas::default();
        for one in all {
            let (most, unit) = one.split_once('/')?;
            let period = Period::named(unit.trim())?;
            let most = limit(most.trim()).filter(|most| !most.local && most.most <= limits::QUOTA_MAX)?.most;
            let place = &mut quotas.0[period as usize];
            if *place != 0 {
                return None;
            }
            *place = u32::try_from(most).ok()?;
        }
        Some(quotas).filter(|quotas| !quotas.is_none())
    }

    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Quotas::default()
    }

    /// Each, the shortest period first.
    pub fn each(&self) -> impl Iterator<Item = (Period, u32)> {
        let all = *self;
        Period::ALL.into_iter().zip(all.0).filter(|(_, most)| *most > 0)
    }

    /// That of a period, if there is one.
    pub fn of(&self, period: Period) -> Option<u32> {
        Some(self.0[period as usize]).filter(|most| *most > 0)
    }

    /// The shortest period that has one.
    pub fn shortest(&self) -> Option<Period> {
        self.each().next().map(|(period, _)| period)
    }

    /// The smallest of them.
    pub fn least(&self) -> u32 {
        self.each().map(|(_, most)| most).min().unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Quotas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (period, most)) in self.each().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(formatter, "{comma}{most}/{}", period.unit())?;
        }
        Ok(())
    }
}

const USUAL: [&str; 2] = ["50000/d", "1000000/month"];

/// A list of them, or one.
pub(super) fn read(value: &DeValue<'_>) -> Result<Quotas, Wrong> {
    let more = ", each with another number from 1 and one of /min, /h, /d, /month, none of them twice";
    let wrong = |problem: String, fit: String| Wrong::write(problem, fit, more);
    let Some(array) = value.as_array() else {
        let one = value.as_str().filter(|one| Quotas::parse([*one]).is_some());
        let fit = one.map_or_else(|| quoted_list(&USUAL), |one| quoted_list(&[one]));
        return Err(wrong(format!("this is {}, not a list", kind(value)), fit));
    };
    let all: Option<Vec<&str>> = array.iter().map(|one| one.get_ref().as_str()).collect();
    let usual = || quoted_list(&USUAL);
    let Some(all) = all else { return Err(wrong("this is no list of texts".to_owned(), usual())) };
    if let Some(bad) = all.iter().find(|one| Quotas::parse([**one]).is_none()) {
        return Err(wrong(format!("{} is no quota", quoted(bad)), usual()));
    }
    Quotas::parse(all.iter().copied())
        .ok_or_else(|| wrong("there is none in it, or one period twice".to_owned(), usual()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn quotas_are_read() {
        let all = Quotas::parse(["1,000/h", "50000/d", "1_000_000 / month", "20/min"]).unwrap();
        assert_eq!(all.to_string(), "20/min, 1000/h, 50000/d, 1000000/month");
        assert_eq!(
            (all.shortest(), all.least(), all.of(Period::Hour)),
            (Some(Period::Minute), 20, Some(1000))
        );
        for wrong in ["", "7", "7/s", "0/d", "x/d", "7/2h", "local:7/d", "9999999999/d", "7/months"] {
            assert_eq!(Quotas::parse([wrong]), None, "{wrong}");
        }
        assert!(Quotas::parse(["1/d", "2/day"]).is_none() && Quotas::parse([]).is_none());
    }

    #[test]
    fn a_tenant_has_one() {
        let read = |quota: &str| {
            let text = format!("[[tenant]]\nname = \"shop\"\nquota = {quota}\n");
            Config::parse(&text, Path::new("a.toml")).map(|config| config.tenants[0].quota)
        };
        assert_eq!(read("[\"10/h\"]").unwrap().to_string(), "10/h");
        for wrong in ["[]", "7", "[7]", "[\"7/s\"]", "[\"1/d\", \"2/d\"]", "\"10/h\""] {
            let errors = read(wrong).unwrap_err();
            assert!(errors[0].to_string().contains("quota = ["), "{}", errors[0]);
        }
    }

    /// Each period begins where it says, and those that are longer begin with one that is shorter.
    #[test]
    fn periods_are_those_of_the_calendar() {
        for time in (0..5_000u64).map(|step| UnixMillis(step * 987_654_321)) {
            for (place, period) in Period::ALL.into_iter().enumerate() {
                let number = period.at(time);
                assert!(
                    period.begin(number) <= time && time < period.begin(number + 1),
                    "{period:?} {time:?}"
                );
                for shorter in &Period::ALL[..place] {
                    let begin = shorter.begin(shorter.at(time));
                    assert!(begin >= period.begin(number));
                    assert_eq!(period.at(begin), number);
                }
            }
        }
        let leap = Civil::time_named("2028-02-29T23:59:59Z").unwrap();
        let month = Period::Month.at(leap);
        assert_eq!(Period::Month.begin(month + 1), Civil::time_named("2028-03-01").unwrap());
    }
}
