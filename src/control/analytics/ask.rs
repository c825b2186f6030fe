//! Questions of what was counted.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::roll::OUTCOMES;
use super::store::{Step, number};
use crate::control::api::shape::analytics::{Analytics, AnalyticsRow, ClassCount, Outcomes, SaidText};
use crate::control::store::StoreError;
use crate::limits;
use crate::time::UnixMillis;

/// By what it is summed up: each is a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) enum By {
    #[default]
    Provider,
    Tenant,
    Campaign,
    Class,
}

impl By {
    pub const ALL: [By; 4] = [By::Provider, By::Tenant, By::Campaign, By::Class];

    pub fn word(self) -> &'static str {
        match self {
            By::Provider => "provider",
            By::Tenant => "tenant",
            By::Campaign => "campaign",
            By::Class => "class",
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Question {
    pub by: By,
    /// Seconds since 1970, from and to.
    pub since: u64,
    pub until: u64,
    /// Now.
    pub now: u64,
    /// Those of this name alone.
    pub only: Vec<(By, String)>,
    /// Rows that were given before.
    pub behind: usize,
    pub limit: usize,
}

impl Question {
    /// By what steps, from and to.
    fn steps(&self) -> (Step, u64, u64) {
        let span = self.until.saturating_sub(self.since);
        let oldest = self.now.saturating_sub(limits::ANALYTICS_MINUTES.as_secs()) + Step::Hour.seconds();
        let is_short = span <= limits::ANALYTICS_BY_MINUTES.as_secs() && self.since >= oldest;
        let step = if is_short { Step::Minute } else { Step::Hour };
        let since = self.since / step.seconds() * step.seconds();
        (step, since, self.until.div_ceil(step.seconds()) * step.seconds())
    }

    /// What of `only` is a condition of SQL, with its values behind so many others.
    fn conditions(&self, behind: usize) -> (String, Vec<Value>) {
        let mut sql = String::new();
        let mut values = Vec::new();
        for (at, (by, name)) in self.only.iter().enumerate() {
            sql.push_str(&format!(" AND {} = ?{}", by.word(), behind + at + 1));
            values.push(Value::Text(name.clone()));
        }
        (sql, values)
    }
}

/// Sums of a name.
#[derive(Default)]
struct Sums {
    counts: Outcomes,
    classes: HashMap<String, u64>,
}

impl Sums {
    fn add(&mut self, outcome: &str, class: &str, recipients: u64) {
        let counts = &mut self.counts;
        let [delivered, deferred, bounced, expired, suppressed, returned, complaints] = [
            &mut counts.delivered,
            &mut counts.deferred,
            &mut counts.bounced,
            &mut counts.expired,
            &mut counts.suppressed,
            &mut counts.returned,
            &mut counts.complaints,
        ];
        let places = [delivered, deferred, bounced, expired, suppressed, returned, complaints];
        for (_, place) in OUTCOMES.iter().zip(places).filter(|(name, _)| **name == outcome) {
            *place += recipients;
        }
        if !class.is_empty() {
            *self.classes.entry(class.to_owned()).or_default() += recipients;
        }
    }
}

/// Answers one.
pub(super) fn answer(connection: &Connection, question: &Question) -> Result<Analytics, StoreError> {
    let (step, since, until) = question.steps();
    let (total, mut rows) = sum_up(connection, question, (step, since, until))?;
    rows.sort_by(|one, other| {
        let order = other.counts.all().cmp(&one.counts.all());
        order.then_with(|| one.name.cmp(&other.name))
    });
    let end = question.behind.saturating_add(question.limit);
    let next = (rows.len() > end).then(|| end.to_string());
    let rows = rows.into_iter().skip(question.behind).take(question.limit).collect();
    let texts = if question.behind == 0 { texts(connection, question, (since, until))? } else { Vec::new() };
    let (by, step_seconds) = (question.by.word().to_owned(), step.seconds());
    Ok(Analytics { by, since: iso(since), until: iso(until), step_seconds, total, rows, texts, next })
}

fn sum_up(
    connection: &Connection,
    question: &Question,
    (step, since, until): (Step, u64, u64),
) -> Result<(Outcomes, Vec<AnalyticsRow>), StoreError> {
    let (conditions, only) = question.conditions(2);
    let sql = format!(
        "SELECT {}, outcome, class, sum(number) FROM \
         (SELECT key, sum(recipients) AS number FROM {} WHERE at >= ?1 AND at < ?2 GROUP BY key) JOIN key ON id = key \
         WHERE true{conditions} GROUP BY 1, 2, 3",
        question.by.word(),
        step.table()
    );
    let values = [since, until].map(|at| Value::Integer(number(at))).into_iter().chain(only);
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let (mut total, mut sums) = (Sums::default(), HashMap::<String, Sums>::new());
    while let Some(row) = found.next()? {
        let (name, outcome, class) = (row.get_ref(0)?, row.get_ref(1)?, row.get_ref(2)?);
        let text = |value: rusqlite::types::ValueRef<'_>| value.as_str().unwrap_or_default().to_owned();
        let (name, outcome, class) = (text(name), text(outcome), text(class));
        let recipients = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
        total.add(&outcome, &class, recipients);
        // What nothing was said of is of no class, and of all mail.
        if question.by == By::Class && name.is_empty() {
            continue;
        }
        let is_known = sums.len() < limits::ANALYTICS_NAMES || sums.contains_key(&name);
        let name = if is_known { name } else { "other".to_owned() };
        sums.entry(name).or_default().add(&outcome, &class, recipients);
    }
    let rows = sums.into_iter().map(|(name, sums)| {
        let mut classes: Vec<ClassCount> =
            sums.classes.into_iter().map(|(class, recipients)| ClassCount { class, recipients }).collect();
        classes.sort_by(|one, other| {
            other.recipients.cmp(&one.recipients).then_with(|| one.class.cmp(&other.class))
        });
        AnalyticsRow { name, counts: sums.counts.rated(), classes }
    });
    Ok((total.counts.rated(), rows.collect()))
}

/// What was said in that time.
fn texts(
    connection: &Connection,
    question: &Question,
    (since, until): (u64, u64),
) -> Result<Vec<SaidText>, StoreError> {
    let (conditions, only) = question.conditions(2);
    let sql = format!(
        "SELECT class, text, times, at, provider, tenant, campaign FROM text WHERE at >= ?1 AND at < ?2{conditions} ORDER BY at DESC, class, form"
    );
    let values = [since, until].map(|at| Value::Integer(number(at))).into_iter().chain(only);
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
