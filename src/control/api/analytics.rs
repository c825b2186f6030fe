//! `GET /control/v1/analytics`: what became of mail, by provider, tenant, campaign, category, source or class.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::answers::{Api, Problem, json};
use super::veil::Veil;
use crate::control::analytics::{By, Question, Step, Unanswered};
use crate::limits;
use crate::policy::suppression::exchange::moment;
use crate::runtime::process;

/// Sums, and what was said.
pub(super) async fn analytics(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let question = asked(&query.unwrap_or_default(), process::wall().0 / 1000)?;
    let Some(analytics) = &api.analytics else {
        let words = "nothing is counted: control.analytics is false, or nothing else reads the journal of events, which a [[log]] or [suppression] auto does";
        return Err(Problem::NotFound(words.to_owned()));
    };
    let told = analytics.ask(question).await.ok_or(Problem::Undecided)?;
    let mut told = told.map_err(|why| match why {
        Unanswered::Apart(_) => Problem::Wrong(why.to_string()),
        Unanswered::Store(_) => Problem::Damaged(why.to_string()),
    })?;
    for said in &mut told.texts {
        veil.words(&mut said.text);
    }
    Ok(json(&told))
}

/// Reads a question. The last hour is meant where no time is named; of hours the last day, and of days the last thirty.
fn asked(query: &str, now: u64) -> Result<Question, Problem> {
    let wrong = |words: String| Err(Problem::Wrong(words));
    let mut asked = Question { limit: limits::ANALYTICS_ROWS, now, ..Question::default() };
    let (mut since, mut until) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let time = || {
            let known = moment(&value).map(|at| at.0 / 1000);
            let words = format!("{value} is no time: write it as 2027-01-31T12:00:00Z");
            known.ok_or(Problem::Wrong(words))
        };
        match &*name {
            "by" => match By::ALL.into_iter().find(|by| by.word() == value) {
                Some(by) => asked.by = by,
                None => return wrong(format!("by is one of {}", words(By::ALL.map(By::word)))),
            },
            "step" => match Step::ALL.into_iter().find(|step| step.word() == value) {
                Some(step) => asked.step = Some(step),
                None => return wrong(format!("step is one of {}", words(Step::ALL.map(Step::word)))),
            },
            "since" => since = Some(time()?),
            "until" => until = Some(time()?),
            "limit" => match value.parse() {
                Ok(limit) if (1..=limits::ANALYTICS_ROWS).contains(&limit) => asked.limit = limit,
                _ => return wrong(format!("limit is a number from 1 to {}", limits::ANALYTICS_ROWS)),
            },
            "cursor" if value.is_empty() => {}
            "cursor" => match value.parse() {
                Ok(behind) => asked.behind = behind,
                Err(_) => {
                    return wrong("that is no cursor: give `next` of the page before as it is".to_owned());
                }
            },
            other => match By::ALL.into_iter().find(|by| by.word() == other) {
                Some(by) if value.len() <= limits::ANALYTICS_NAME => {
                    asked.only.push((by, vec![value.into_owned()]))
                }
                Some(_) => return wrong(format!("{other} is too long a name")),
                None => {
                    let names = By::ALL.map(By::word).join(", ");
                    let words = format!("there are by, step, since, until, {names}, cursor and limit");
                    return wrong(format!("{other} is nothing to ask by: {words}"));
                }
            },
        }
    }
    asked.until = until.unwrap_or(now).min(now + 1);
    let usual = match asked.step {
        None | Some(Step::Minute) => 3600,
        Some(Step::Hour) => Step::Day.seconds(),
        Some(Step::Day) => 30 * Step::Day.seconds(),
    };
    asked.since = since.unwrap_or(asked.until.saturating_sub(usual));
    if asked.since >= asked.until {
        return wrong("since is not before until, or not over yet".to_owned());
    }
    asked.since = asked.since.max(now.saturating_sub(limits::ANALYTICS_DAYS.as_secs()));
    Ok(asked)
}

fn words<const N: usize>(all: [&str; N]) -> String {
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read() {
        let now = 1_796_014_800;
        let usual = asked("", now).unwrap();
        assert_eq!((usual.by, usual.since, usual.until), (By::Provider, now - 3600, now));
        let one = asked("by=class&tenant=a+b&since=2026-11-30T00:00:00Z&limit=7&cursor=14", now).unwrap();
        assert_eq!((one.by, one.limit, one.behind), (By::Class, 7, 14));
        assert_eq!(one.only, [(By::Tenant, vec!["a b".to_owned()])]);
        let days = asked("by=source&step=day", now).unwrap();
        assert_eq!((days.step, days.since), (Some(Step::Day), now - 30 * 86_400));
        for bad in [
            "by=domain",
            "step=week",
            "limit=0",
            "limit=999",
            "cursor=x",
            "since=never",
            "sender=a",
            "since=2999-01-01",
        ] {
            assert!(asked(bad, now).is_err(), "{bad}");
        }
    }
}
