//! `[[warmup]]`: how much of each provider's mail a new source gets, day by day, until it is known there.

use std::fmt;

use toml::de::DeValue;

use crate::config::literal::{Fix, Wrong, kind, quoted, text};
use crate::config::section::Section;
use crate::limits;
use crate::time::{Civil, UnixMillis};

/// `[[warmup]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmupConfig {
    /// The source that is new.
    pub source: Box<str>,
    /// Its first day, counted from 1970-01-01 in UTC.
    pub start: u32,
    /// From which day of the plan on which volume holds. Behind the last of these days there is no limit.
    pub plan: Vec<Step>,
    /// The pool or source that takes what is more than the day's volume; None: the warm sources of its pool.
    pub overflow: Option<Box<str>>,
}

/// `{ day = 1, per_provider = "50/d" }`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which day of the plan, from 1 on.
    pub day: u32,
    /// Messages a day, to each provider.
    pub volume: u32,
}

/// `plan = "standard"`. Public guides of sending services agree on its shape: about 50 on the first day, about twice as many each day in the
/// first weeks, more slowly once they are many, for about 30 days in all.
const STANDARD: [(u32, u32); 18] = [
    (1, 50),
    (2, 100),
    (3, 200),
    (4, 400),
    (5, 800),
    (6, 1_500),
    (7, 3_000),
    (8, 6_000),
    (9, 12_000),
    (10, 20_000),
    (11, 40_000),
    (12, 70_000),
    (14, 100_000),
    (16, 200_000),
    (19, 400_000),
    (22, 800_000),
    (26, 1_500_000),
    (30, 3_000_000),
];

const PLAN: &str = "[{ day = 1, per_provider = \"50/d\" }, { day = 2, per_provider = \"100/d\" }]";
const NAMED: &str = ", or \"standard\"";

/// Reads every `[[warmup]]`.
pub(super) fn read(root: &Section<'_>) -> Vec<WarmupConfig> {
    let sections = root.sections("warmup");
    if let Some(first) = sections.get(limits::SOURCES_MAX) {
        let problem = format!("there are more than {} plans", limits::SOURCES_MAX);
        first.fail("source", "", &problem, Fix::Do("leave out those of sources that are warm".to_owned()));
    }
    let mut all: Vec<WarmupConfig> = Vec::new();
    for section in sections.iter().take(limits::SOURCES_MAX) {
        let source = section.read("source", None, |value| name(value, "ip9"));
        let start = section.read("start", None, |value| start(value).map(Some));
        let plan = section.read("plan", standard(), plan);
        let overflow = section.read("overflow", None, |value| name(value, "bulk"));
        for (key, usual) in [("source", quoted("ip9")), ("start", "2026-12-01".to_owned())] {
            if section.lacks(key) {
                section.fail(key, "", "this key is missing", Fix::Write(usual, String::new()));
            }
        }
        if source.is_some() && all.iter().any(|other| Some(&other.source) == source.as_ref()) {
            let fix = Fix::Do("remove one of the two".to_owned());
            section.fail("source", "", "there is a plan for this source already", fix);
        }
        section.finish();
        if let (Some(source), Some(start)) = (source, start) {
            all.push(WarmupConfig { source, start, plan, overflow });
        }
    }
    all
}

/// The plan by this name.
pub fn standard() -> Vec<Step> {
    STANDARD.into_iter().map(|(day, volume)| Step { day, volume }).collect()
}

fn name(value: &DeValue<'_>, usual: &str) -> Result<Option<Box<str>>, Wrong> {
    let name = text(value, usual)?;
    Ok(Some(name).filter(|name| !name.is_empty()).map(Into::into))
}

/// A date of TOML, or the same as a text.
fn start(value: &DeValue<'_>) -> Result<u32, Wrong> {
    const USUAL: &str = "2026-12-01";
    let written = match value {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(text) => text.to_string(),
        other => return Err(Wrong::write(format!("this is {}, not a date", kind(other)), USUAL, "")),
    };
    if let Some(day) = Civil::day_named(&written) {
        return Ok(day);
    }
    // Of a time the day is meant.
    let day = written.get(..10).filter(|day| Civil::day_named(day).is_some()).unwrap_or(USUAL);
    let problem = format!("{} is no date", quoted(&written));
    Err(Wrong::write(problem, day, ": year-month-day, and the day begins at midnight UTC"))
}

fn plan(value: &DeValue<'_>) -> Result<Vec<Step>, Wrong> {
    if let Some(name) = value.as_str() {
        return match name {
            "standard" => Ok(standard()),
            other => {
                let problem = format!("no plan is called {}", quoted(other));
                Err(Wrong::write(problem, quoted("standard"), ", or a list of days and volumes"))
            }
        };
    }
    let Some(list) = value.as_array() else {
        return Err(Wrong::write(format!("this is {}, not a plan", kind(value)), PLAN, NAMED));
    };
    if list.is_empty() || list.len() > limits::WARMUP_STEPS_MAX {
        let most = limits::WARMUP_STEPS_MAX;
        let problem = format!("the plan has {} days, and is to have 1 to {most}", list.len());
        return Err(Wrong::write(problem, PLAN, NAMED));
    }
    let mut steps: Vec<Step> = Vec::new();
    for (number, item) in list.iter().enumerate() {
        let wrong = |problem: BadStep| {
            let fix = "write { day = 1, per_provider = \"50/d\" }".to_owned();
            Wrong::act(format!("entry {} of the plan: {problem}", number + 1), fix)
        };
        let last = steps.last().map_or(0, |step| step.day);
        steps.push(step(item.get_ref(), last).map_err(wrong)?);
    }
    Ok(steps)
}

/// Why an entry is no step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
enum BadStep {
    /// What it is in place of a table.
    Kind(&'static str),
    Key(String),
    Day,
    Volume,
    /// Its day, and that of the step before; 0: it is the first.
    Order(u32, u32),
}

impl fmt::Display for BadStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadStep::Kind(kind) => write!(formatter, "this is {kind}"),
            BadStep::Key(name) => {
                write!(formatter, "unknown key {}; known here: day, per_provider", quoted(name))
            }
            BadStep::Day => write!(formatter, "day is to be a number from 1 to {}", limits::WARMUP_DAY_MAX),
            BadStep::Volume => {
                write!(formatter, "per_provider is to be 1/d to {}/d", limits::WARMUP_VOLUME_MAX)
            }
            BadStep::Order(day, 0) => write!(formatter, "day {day} is out of order: the first day is 1"),
            BadStep::Order(day, last) => {
                write!(formatter, "day {day} is out of order: it comes after day {last}")
            }
        }
    }
}

/// The step behind that of the day `last`; 0: the first.
fn step(value: &DeValue<'_>, last: u32) -> Result<Step, BadStep> {
    let DeValue::Table(table) = value else { return Err(BadStep::Kind(kind(value))) };
    let unknown = table.keys().find(|key| !["day", "per_provider"].contains(&&**key.get_ref()));
    if let Some(key) = unknown {
        return Err(BadStep::Key(key.get_ref().to_string()));
    }
    let number = |value: &DeValue<'_>| match value {
        DeValue::Integer(number) => u32::try_from(number.to_string().parse::<i64>().ok()?).ok(),
        _ => None,
    };
    let day = table.get("day").and_then(|value| number(value.get_ref()));
    let day = day.filter(|day| (1..=limits::WARMUP_DAY_MAX).contains(day));
    let day = day.ok_or(BadStep::Day)?;
    let written = table.get("per_provider").map(|value| value.get_ref());
    let volume = written.and_then(|value| number(value).or_else(|| value.as_str().and_then(a_day)));
    let volume = volume.filter(|volume| (1..=limits::WARMUP_VOLUME_MAX).contains(volume));
    let volume = volume.ok_or(BadStep::Volume)?;
    if day <= last || (last == 0 && day != 1) {
        return Err(BadStep::Order(day, last));
    }
    Ok(Step { day, volume })
}

/// `50/d`, as rates are written in shaping files.
fn a_day(text: &str) -> Option<u32> {
    let (count, per) = text.split_once('/')?;
    let a_day = matches!(per.trim(), "d" | "day" | "1d" | "24h");
    a_day.then(|| count.trim().replace(['_', ','], "").parse().ok()).flatten()
}

impl WarmupConfig {
    /// The first day of its plan, as it is written.
    pub fn first_day(&self) -> String {
        written(self.start)
    }
}

/// A day, counted from 1970-01-01, as it is written.
pub fn written(day: u32) -> String {
    let mut out = Vec::new();
    UnixMillis::of_day(day).write_iso(&mut out);
    out.truncate("2026-12-01".len());
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn warmups(text: &str) -> Result<Vec<WarmupConfig>, String> {
        let config = Config::parse(text, Path::new("relevo.toml"));
        config.map(|config| config.warmups).map_err(|errors| errors[0].to_string())
    }

    #[test]
    fn a_plan_is_read() {
        let head = "[[warmup]]\nsource = \"ip9\"\nstart = 2026-12-01\n";
        let read = warmups(&format!(
            "{head}plan = [{{ day = 1, per_provider = \"50/d\" }}, {{ day = 3, per_provider = \"1_000/day\" }}]\noverflow = \"warm\"\n"
        ));
        let plan = vec![Step { day: 1, volume: 50 }, Step { day: 3, volume: 1_000 }];
        let one = WarmupConfig { source: "ip9".into(), start: 20_788, plan, overflow: Some("warm".into()) };
        assert_eq!(one.first_day(), "2026-12-01");
        assert_eq!(read, Ok(vec![one]));
        for usual in ["", "plan = \"standard\"\n"] {
            assert_eq!(warmups(&format!("{head}{usual}")).expect(usual)[0].plan, standard());
        }
        assert!(STANDARD.is_sorted_by(|one, other| one.0 < other.0 && one.1 < other.1));
    }

    #[test]
    fn what_is_wrong_with_it_is_told() {
        let twice = "source = \"ip9\"\nstart = 2026-12-01\n[[warmup]]\nsource = \"ip9\"\nstart = 2026-12-01";
        let start = |start: &str| format!("source = \"ip9\"\nstart = {start}");
        let plan = |plan: &str| format!("source = \"ip9\"\nstart = 2026-12-01\nplan = {plan}");
        for (text, wanted) in [
            ("start = 2026-12-01".to_owned(), "add source = \"ip9\""),
            ("source = \"ip9\"".to_owned(), "add start = 2026-12-01"),
            (twice.to_owned(), "a plan for this source already"),
            (start("2026-12-24T10:00:00Z"), "write start = 2026-12-24: year-month-day"),
            (start("2026-02-30"), "date"),
            (start("\"soon\""), "\"soon\" is no date; write start = 2026-12-01"),
            (start("7"), "this is a number, not a date"),
            (plan("\"fast\""), "write plan = \"standard\""),
            (plan("7"), "write plan = [{ day = 1, per_provider = \"50/d\" }"),
            (plan("[]"), "has 0 days"),
            (plan("[7]"), "entry 1 of the plan: this is a number; write { day = 1"),
            (plan("[{ day = 2, per_provider = \"50/d\" }]"), "day 2 is out of order: the first day is 1"),
            (plan("[{ day = 1, per_provider = 1 }, { day = 1, per_provider = 2 }]"), "it comes after day 1"),
            (plan("[{ day = 1, per_provider = \"50/h\" }]"), "per_provider is to be 1/d to"),
            (plan("[{ day = 1, per_provider = 0 }]"), "per_provider is to be 1/d to"),
            (plan("[{ day = 0, per_provider = 1 }]"), "day is to be a number from 1 to"),
            (plan("[{ day = 1, volume = 1 }]"), "unknown key \"volume\""),
        ] {
            let error = warmups(&format!("[[warmup]]\n{text}\n")).expect_err(&text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
