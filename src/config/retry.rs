//! `[retry]`, and `retry` of a route or a tenant: when what failed is tried again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::literal::{Fix, Wrong, factor, kind, quoted, quoted_list, span};
use crate::config::section::Section;
use crate::config::value;
use crate::limits;

const SECOND: Duration = Duration::from_secs(1);

/// The n-th retry waits `first * factor^(n-1)`, at most `max`, or what `schedule` says, with jitter.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Before the first retry.
    pub first: Duration,
    /// Growth.
    pub factor: f64,
    /// Longest wait.
    pub max: Duration,
    /// In place of growth. `first` and `max` are its first and its longest wait.
    pub schedule: Option<Schedule>,
    /// Age at which a recipient is given up and bounced.
    pub expire: Duration,
}

impl Retry {
    /// The wait behind so many attempts (from 1), seconds, before jitter.
    pub fn wait(&self, attempts: u16) -> f64 {
        let max = self.max.as_secs_f64();
        match &self.schedule {
            Some(schedule) => schedule.wait(attempts).as_secs_f64().min(max),
            None => {
                let exponent = i32::from(attempts.max(1)) - 1;
                // A factor that shrinks waits, or is no number, counts as one. An overflow to infinity ends at the bound.
                (self.first.as_secs_f64() * self.factor.max(1.0).powi(exponent)).min(max)
            }
        }
    }

    /// The same with these waits in place of its own.
    pub fn by(&self, schedule: Schedule) -> Retry {
        let (first, max) = (schedule.wait(1), schedule.longest());
        Retry { first, max, schedule: Some(schedule), ..self.clone() }
    }
}

/// The waits before each retry; the last one holds for all further ones. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Arc<[Duration]>);

impl Schedule {
    fn new(waits: Vec<Duration>) -> Option<Schedule> {
        let fits = (1..=limits::RETRY_STEPS_MAX).contains(&waits.len());
        let sound = waits.iter().all(|wait| (SECOND..=limits::CONFIG_TIME_MAX).contains(wait));
        (fits && sound).then(|| Schedule(waits.into()))
    }

    /// As it is shown, `10m 30m 1h`; None: it is none.
    pub fn parse(text: &str) -> Option<Schedule> {
        let waits = text.split(' ').take(limits::RETRY_STEPS_MAX + 1);
        Schedule::new(waits.map(value::duration).collect::<Result<_, _>>().ok()?)
    }

    /// The wait behind so many attempts (from 1).
    pub fn wait(&self, attempts: u16) -> Duration {
        let step = usize::from(attempts.max(1)) - 1;
        self.0[step.min(self.0.len() - 1)]
    }

    /// The longest of them.
    pub fn longest(&self) -> Duration {
        self.0.iter().copied().max().unwrap_or(SECOND)
    }

    /// Reads one.
    pub(super) fn read(found: &DeValue<'_>) -> Result<Schedule, Wrong> {
        let usual = || quoted_list(&["10m", "30m", "1h", "4h"]);
        let Some(array) = found.as_array() else {
            // One wait is a list of one.
            let one = span(found, SECOND..=limits::CONFIG_TIME_MAX, 10 * 60 * SECOND);
            let literal = one.map_or_else(|_| usual(), |wait| quoted_list(&[value::show_duration(wait)]));
            return Err(Wrong::write(format!("this is {}, not a list of waits", kind(found)), literal, ""));
        };
        let (mut waits, mut shown, mut first) = (Vec::new(), Vec::new(), None);
        for item in array.iter().take(limits::RETRY_STEPS_MAX) {
            let before = waits.last().copied().unwrap_or(10 * 60 * SECOND);
            match span(item.get_ref(), SECOND..=limits::CONFIG_TIME_MAX, before) {
                Ok(wait) => {
                    waits.push(wait);
                    shown.push(quoted(&value::show_duration(wait)));
                }
                Err(Wrong { problem, fix }) => {
                    first.get_or_insert(problem);
                    shown.extend(match fix {
                        Fix::Write(literal, _) => Some(literal),
                        Fix::Do(_) => None,
                    });
                }
            }
        }
        let too_many = array.len() > limits::RETRY_STEPS_MAX;
        let first = first.or_else(|| too_many.then(|| format!("these are {} waits", array.len())));
        let first = first.or_else(|| array.is_empty().then(|| "there is no wait in it".to_owned()));
        if let Some(problem) = first {
            let literal = if shown.is_empty() { usual() } else { format!("[{}]", shown.join(", ")) };
            let more = format!(
                ", at most {} waits; the last one holds for all further retries",
                limits::RETRY_STEPS_MAX
            );
            return Err(Wrong::write(problem, literal, &more));
        }
        Schedule::new(waits).ok_or_else(|| Wrong::write("these are no waits", usual(), ""))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, wait) in self.0.iter().enumerate() {
            let gap = if number > 0 { " " } else { "" };
            write!(formatter, "{gap}{}", value::show_duration(*wait))?;
        }
        Ok(())
    }
}

/// `[retry]`
pub(super) fn read(section: &Section<'_>) -> Retry {
    let usual = Retry {
        first: 60 * SECOND,
        factor: 2.0,
        max: 7200 * SECOND,
        schedule: None,
        expire: 432_000 * SECOND,
    };
    let expire = section.read("expire", usual.expire, |value| time(value, usual.expire));
    let retry = Retry { expire, ..waits(section, &usual) };
    section.finish();
    retry
}

/// `retry` of a route or a tenant: what it leaves out is as in `[retry]`. None: it says nothing.
pub(super) fn read_own(section: &Section<'_>, of_all: &Retry) -> Option<Arc<Retry>> {
    let own = section.section("retry");
    let retry = waits(&own, of_all);
    own.finish();
    (retry != *of_all).then(|| Arc::new(retry))
}

fn waits(section: &Section<'_>, usual: &Retry) -> Retry {
    let first = section.read("first", usual.first, |value| time(value, usual.first));
    let max = section.read("max", usual.max, |value| time(value, usual.max));
    let grows = section.read("factor", usual.factor, |value| factor(value, usual.factor));
    let schedule = section.read("schedule", None, |value| Schedule::read(value).map(Some));
    let beside = ["first", "factor", "max"].into_iter().find(|key| section.line(key).is_some());
    if let (Some(schedule), None) = (&schedule, beside) {
        return usual.by(schedule.clone());
    }
    if let (Some(_), Some(beside)) = (&schedule, beside) {
        let problem = format!("{beside} says when mail is tried again, and so does schedule");
        section.fail(beside, "", &problem, Fix::Do(format!("remove one of {beside} and schedule")));
    }
    if max < first {
        let shown = value::show_duration(first);
        let problem = format!("max ({}) is shorter than first ({shown})", value::show_duration(max));
        section.fail("max", "first", &problem, Fix::Write(quoted(&shown), " or longer".to_owned()));
    }
    // Who says one of them alone means growth, whatever holds for all.
    let schedule = if beside.is_some() { None } else { usual.schedule.clone() };
    Retry { first, factor: grows, max, schedule, expire: usual.expire }
}

fn time(value: &DeValue<'_>, usual: Duration) -> Result<Duration, Wrong> {
    span(value, SECOND..=limits::CONFIG_TIME_MAX, usual)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("a.toml")).map_err(|errors| errors[0].to_string())
    }

    fn minutes(retry: &Retry) -> Vec<u64> {
        (1..=5).map(|attempts| retry.wait(attempts) as u64 / 60).collect()
    }

    #[test]
    fn a_schedule_stands_in_place_of_growth() {
        let config = read(
            "[retry]\nschedule = [\"10m\", \"30m\", \"1h\", \"20m\"]\n\
             [[route]]\ndomain = \"a.example\"\nto = \"mx\"\nretry = { first = \"5m\", max = \"15m\" }\n\
             [[route]]\ndomain = \"b.example\"\nto = \"mx\"\nretry = { schedule = [\"7m\"] }\n\
             [[route]]\ndomain = \"c.example\"\nto = \"mx\"\n\
             [[tenant]]\nname = \"shop\"\nmax_age = \"2d\"\nretry = { schedule = [\"1m\", \"2m\"] }\n",
        )
        .unwrap();
        assert_eq!(minutes(&config.retry), [10, 30, 60, 20, 20]);
        assert_eq!((config.retry.first, config.retry.max), (600 * SECOND, 3600 * SECOND));
        let of = |place: usize| config.routes[place].retry.as_deref().map(minutes);
        assert_eq!(of(0), Some(vec![5, 10, 15, 15, 15]));
        assert_eq!(of(1), Some(vec![7; 5]));
        assert_eq!(of(2), None);
        let tenant = &config.tenants[0];
        assert_eq!(tenant.retry.as_deref().map(minutes), Some(vec![1, 2, 2, 2, 2]));
        assert_eq!((&*tenant.name, tenant.max_age), ("shop", Some(2 * 86_400 * SECOND)));
        let schedule = config.retry.schedule.as_ref().unwrap();
        assert_eq!(schedule.to_string(), "10m 30m 1h 20m");
        assert_eq!(Schedule::parse(&schedule.to_string()).as_ref(), Some(schedule));
    }

    #[test]
    fn what_is_no_schedule() {
        for text in ["", " ", "10m  30m", "10", "0s", "10m 30m x", &"1m ".repeat(40), "400d"] {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
        for (keys, words) in [
            ("schedule = []", "there is no wait in it; write schedule = [\"10m\", "),
            ("schedule = \"10m\"", "not a list of waits; write schedule = [\"10m\"]"),
            ("schedule = [\"10m\", 30]", "write schedule = [\"10m\", \"30m\"]"),
            ("schedule = [\"10m\"]\nfirst = \"1m\"", "remove one of first and schedule"),
            ("schedule = [\"10m\"]\nfactor = 2.0", "remove one of factor and schedule"),
        ] {
            let said = read(&format!("[retry]\n{keys}\n")).unwrap_err();
            assert!(said.contains(words), "{keys}: {said}");
        }
        let many = vec!["\"10m\""; limits::RETRY_STEPS_MAX + 1].join(", ");
        assert!(read(&format!("[retry]\nschedule = [{many}]\n")).is_err());
    }
}
