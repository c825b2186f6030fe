//! Counts in the shapes that Mailtrap's clients read: of days, all together, by category, by provider, or day by day.

use rusqlite::Connection;
use serde::Serialize;

use super::ask::{Question, Unanswered, answer};
use super::roll_up::{By, Step};
use crate::control::api::shape::analytics::Outcomes;
use crate::limits;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct StatsQuestion {
    /// Whose mail; none: everybody's.
    pub tenant: Option<String>,
    /// The first second of the first day, and of the day behind the last.
    pub since: u64,
    pub until: u64,
    pub now: u64,
    /// Of one of these alone; none: of all.
    pub categories: Vec<String>,
    pub providers: Vec<String>,
    pub group: StatsGroup,
}

/// By what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) enum StatsGroup {
    #[default]
    All,
    Category,
    Provider,
    Date,
}

/// Counts, as those clients call them. Rates are parts of one. Opens and clicks are not counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(in crate::control) struct SendingStats {
    pub delivery_count: u64,
    pub delivery_rate: f64,
    pub bounce_count: u64,
    pub bounce_rate: f64,
    pub open_count: u64,
    pub open_rate: f64,
    pub click_count: u64,
    pub click_rate: f64,
    pub spam_count: u64,
    pub spam_rate: f64,
}

impl SendingStats {
    fn of(counts: &Outcomes) -> SendingStats {
        let ended = counts.delivered + counts.bounced + counts.expired;
        SendingStats {
            delivery_count: counts.delivered,
            delivery_rate: if ended > 0 { counts.delivered as f64 / ended as f64 } else { 0.0 },
            bounce_count: counts.bounced + counts.expired + counts.returned,
            bounce_rate: counts.bounce_rate.unwrap_or_default(),
            spam_count: counts.complaints,
            spam_rate: counts.complaint_rate.unwrap_or_default(),
            ..SendingStats::default()
        }
    }
}

/// Answers one: a name and its counts each; all together has no name.
pub(super) fn stats(
    connection: &Connection,
    asked: &StatsQuestion,
) -> Result<Vec<(String, SendingStats)>, Unanswered> {
    let mut only: Vec<(By, Vec<String>)> = Vec::new();
    only.extend(asked.tenant.iter().map(|tenant| (By::Tenant, vec![tenant.clone()])));
    for (by, names) in [(By::Category, &asked.categories), (By::Provider, &asked.providers)] {
        if !names.is_empty() {
            only.push((by, names.clone()));
        }
    }
    let by = match asked.group {
        StatsGroup::Category => By::Category,
        StatsGroup::Provider => By::Provider,
        // No rows are wanted.
        StatsGroup::All | StatsGroup::Date => By::Class,
    };
    let question = Question {
        by,
        step: Some(Step::Day),
        since: asked.since,
        until: asked.until,
        now: asked.now,
        only,
        behind: 0,
        limit: limits::ANALYTICS_NAMES,
    };
    let told = answer(connection, &question)?;
    Ok(match asked.group {
        StatsGroup::All => vec![(String::new(), SendingStats::of(&told.total))],
        StatsGroup::Category | StatsGroup::Provider => {
            told.rows.into_iter().map(|row| (row.name, SendingStats::of(&row.counts))).collect()
        }
        StatsGroup::Date => {
            let date = |at: &str| at.split('T').next().unwrap_or_default().to_owned();
            let points = told.series.unwrap_or_default().into_iter();
            points.map(|point| (date(&point.at), SendingStats::of(&point.counts))).collect()
        }
    })
}
