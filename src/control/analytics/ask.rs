//! Questions of what was counted. Each is answered from one roll-up, or two: the rows from the smallest that tells them apart, the total from the
//! smallest that has what it is of, so that it is exact whatever is among the rows' others.

use std::collections::HashMap;
use std::fmt;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::file::number;
use super::roll_up::{By, OTHER, RollUp, Step};
use super::scan::{Scan, Sums};
use crate::control::api::shape::analytics::{Analytics, AnalyticsPoint, AnalyticsRow, ClassCount, SaidText};
use crate::control::store::StoreError;
use crate::limits;
use crate::names::CLASSES;
use crate::time::UnixMillis;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Question {
    pub by: By,
    /// With sums of each such step.
    pub step: Option<Step>,
    /// Seconds since 1970, from and to.
    pub since: u64,
    pub until: u64,
    /// Now.
    pub now: u64,
    /// Those of one of these names alone.
    pub only: Vec<(By, Vec<String>)>,
    /// Rows that were given before.
    pub behind: usize,
    pub limit: usize,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(in crate::control) enum Unanswered {
    /// That is not counted together.
    Apart(Vec<By>),
    /// The file does not say.
    Store(StoreError),
}

impl From<StoreError> for Unanswered {
    fn from(error: StoreError) -> Unanswered {
        Unanswered::Store(error)
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::Store(error) => write!(formatter, "analytics.db: {error}"),
            Unanswered::Apart(wanted) => {
                let words: Vec<_> = wanted.iter().map(|by| by.word()).collect();
                write!(
                    formatter,
                    "{} are not counted together; tenant and class are with each of provider, campaign, category and source, and campaign is with provider",
                    words.join(" and ")
                )
            }
        }
    }
}

impl Question {
    /// By what steps, from and to.
    fn steps(&self) -> (Step, u64, u64) {
        let span = self.until.saturating_sub(self.since);
        let is_kept = |step: Step| self.since + step.kept().as_secs() >= self.now + Step::Hour.seconds();
        let is_short = span <= limits::ANALYTICS_BY_MINUTES.as_secs();
        let step = self.step.unwrap_or_else(|| match () {
            () if is_short && is_kept(Step::Minute) => Step::Minute,
            () if is_kept(Step::Hour) => Step::Hour,
            () => Step::Day,
        });
        let each = step.seconds();
        let oldest = (self.now.saturating_sub(step.kept().as_secs())).div_ceil(each) * each;
        let since = (self.since / each * each).max(oldest);
        (step, since, (self.until.div_ceil(each) * each).max(since))
    }

    /// What the total is from, and what the rows.
    fn roll_ups(&self) -> Result<(RollUp, RollUp), Unanswered> {
        let only = self.only.iter().map(|(by, _)| *by);
        let rows = only.clone().chain([self.by]);
        match (RollUp::with(only), RollUp::with(rows.clone())) {
            (Some(total), Some(of_rows)) => Ok((total, of_rows)),
            _ => {
                let mut apart: Vec<By> = Vec::new();
                for by in rows.filter(|by| !matches!(by, By::Tenant | By::Class)) {
                    if !apart.contains(&by) {
                        apart.push(by);
                    }
                }
                Err(Unanswered::Apart(apart))
            }
        }
    }
}

/// Answers one.
pub(super) fn answer(connection: &Connection, question: &Question) -> Result<Analytics, Unanswered> {
    let (step, since, until) = question.steps();
    let (of_total, of_rows) = question.roll_ups()?;
    let scan = |roll_up| Scan::new(connection, (roll_up, step), (since, until), &question.only);
    let points = scan(of_total).by_time()?;
    let mut total = Sums::default();
    points.iter().for_each(|(_, sums)| total.merge(sums));
    let mut rows = match question.by {
        By::Class => by_class(&total),
        by => named(scan(of_rows).by_name(by)?, &total),
    };
    rows.sort_by(|one, other| {
        let order = other.counts.all().cmp(&one.counts.all());
        order.then_with(|| one.name.cmp(&other.name))
    });
    let end = question.behind.saturating_add(question.limit);
    let next = (rows.len() > end).then(|| end.to_string());
    let rows = rows.into_iter().skip(question.behind).take(question.limit).collect();
    let is_first = question.behind == 0;
    let texts = if is_first { texts(connection, question, (since, until))? } else { Vec::new() };
    let series = question.step.filter(|_| is_first).map(|_| {
        let point = |(at, sums): &(u64, Sums)| AnalyticsPoint { at: iso(*at), counts: sums.outcomes() };
        points.iter().map(point).collect()
    });
    Ok(Analytics {
        by: question.by.word().to_owned(),
        since: iso(since),
        until: iso(until),
        step_seconds: step.seconds(),
        total: total.outcomes(),
        rows,
        texts,
        series,
        next,
    })
}

/// Rows of names, and what of the total none of them has.
fn named(mut found: HashMap<String, Sums>, total: &Sums) -> Vec<AnalyticsRow> {
    let mut rest = total.clone();
    found.values().for_each(|sums| rest.take(sums));
    if !rest.is_empty() {
        found.entry(OTHER.to_owned()).or_default().merge(&rest);
    }
    let row = |(name, sums): (String, Sums)| AnalyticsRow {
        name,
        counts: sums.outcomes(),
        classes: classes(&sums),
    };
    found.into_iter().map(row).collect()
}

/// Rows of classes: what nothing was said of is of none.
fn by_class(total: &Sums) -> Vec<AnalyticsRow> {
    let one = |(place, class): (usize, &str)| {
        let sums = total.of_class(place);
        let of_it = classes(&sums);
        (!of_it.is_empty()).then(|| AnalyticsRow {
            name: class.to_owned(),
            counts: sums.outcomes(),
            classes: of_it,
        })
    };
    (1..).zip(CLASSES).filter_map(|(place, class)| one((place, class))).collect()
}

fn classes(sums: &Sums) -> Vec<ClassCount> {
    let of = |(place, class): (usize, &str)| {
        let of_it = sums.of_class(place).outcomes();
        let recipients = of_it.all();
        (recipients > 0).then(|| ClassCount {
            class: class.to_owned(),
            recipients,
            deferred: of_it.deferred,
            bounced: of_it.bounced + of_it.expired + of_it.returned,
        })
    };
    let mut classes: Vec<_> = (1..).zip(CLASSES).filter_map(of).collect();
    classes.sort_by(|one, other| {
        other.recipients.cmp(&one.recipients).then_with(|| one.class.cmp(&other.class))
    });
    classes
}

/// What was said in that time. No text is known by category or source.
fn texts(
    connection: &Connection,
    question: &Question,
    (since, until): (u64, u64),
) -> Result<Vec<SaidText>, StoreError> {
    if question.only.iter().any(|(by, _)| matches!(by, By::Category | By::Source)) {
        return Ok(Vec::new());
    }
    let mut sql =
        "SELECT class, text, times, at, provider, tenant, campaign FROM text WHERE at >= ? AND at < ?"
            .to_owned();
    let mut values: Vec<Value> = [since, until].map(|at| Value::Integer(number(at))).into();
    for (by, names) in &question.only {
        let places = vec!["?"; names.len()].join(", ");
        sql.push_str(&format!(" AND {} IN ({places})", by.word()));
        values.extend(names.iter().cloned().map(Value::Text));
    }
    sql.push_str(" ORDER BY at DESC, class, form");
    let mut statement = connection.prepare(&sql)?;
    let found = statement.query_map(params_from_iter(values), |row| {
        let unsigned = |place| row.get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or(0));
        Ok(SaidText {
            class: row.get(0)?,
            text: row.get(1)?,
            times: unsigned(2)?,
            last: iso(unsigned(3)?),
            provider: row.get(4)?,
            tenant: row.get(5)?,
            campaign: row.get(6)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn iso(second: u64) -> String {
    let mut text = Vec::new();
    UnixMillis(second.saturating_mul(1000)).write_iso(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
