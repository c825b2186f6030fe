//! What waits is tried at once, goes back, is held, or gets other parameters. Each change is said, with who asked for it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use tokio::time::Instant;

use super::actor::Actor;
use super::answers::{self, Api, Problem, json};
use super::rebinding;
use super::searching::{self, PreparedQuestion, ready};
use super::shape::{Change, Changed};
use crate::control::asker::AskFailure;
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::event::{self, Admin};
use crate::queue::outcome::NO_END;
use crate::queue::select::{Filter, ScanPosition, Tally};
use crate::runtime::process;
use crate::shard::ask::{Ask, Part, Reply};

/// It is due now.
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let change = read(&body)?;
    change_all(&api, actor, (Verb::Retry, None), change, |filter, _| {
        let filter = filter.clone();
        Box::new(move |from, reply| Ask::Retry(filter.clone(), from, reply))
    })
    .await
}

/// It goes back to its sender.
pub(super) async fn bounce(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let change = read(&body)?;
    change_all(&api, actor, (Verb::Bounce, None), change, |filter, reason| {
        let (filter, reason): (_, Arc<str>) = (filter.clone(), reason.into());
        Box::new(move |from, reply| Ask::Bounce(filter.clone(), from, reason.clone(), reply))
    })
    .await
}

/// An operator holds it: until he lets it go, or for so long.
pub(super) async fn hold(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let change = read(&body)?;
    let until = until(&change);
    let words = format!("by {actor}: {}", reason(&change));
    let held = change_all(&api, actor, (Verb::Hold, Some(until)), change, |filter, _| {
        let (filter, words): (_, Arc<str>) = (filter.clone(), words.into());
        Box::new(move |from, reply| Ask::Hold(filter.clone(), from, (until, words.clone()), reply))
    });
    held.await
}

/// It goes on.
pub(super) async fn release(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let change = read(&body)?;
    change_all(&api, actor, (Verb::Release, None), change, |filter, _| {
        let filter = filter.clone();
        Box::new(move |from, reply| Ask::Release(filter.clone(), from, reply))
    })
    .await
}

/// It has other parameters from now on.
pub(super) async fn rebind(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let change = read(&body)?;
    let set = rebinding::changes(&api, &change.set)?;
    change_all(&api, actor, (Verb::Rebind, None), change, |filter, _| {
        let filter = filter.clone();
        Box::new(move |from, reply| Ask::Rebind(filter.clone(), from, set.clone(), reply))
    })
    .await
}

/// Until when it is held: what goes on behind another request, as that said.
fn until(change: &Change) -> u32 {
    let now = process::wall().seconds();
    match (change.seconds, change.until) {
        (None, None) => NO_END,
        (_, Some(until)) => until.max(1),
        (Some(seconds), None) => {
            now.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX)).min(NO_END - 1)
        }
    }
}

/// What is done.
#[derive(Clone, Copy)]
enum Verb {
    Retry,
    Bounce,
    Hold,
    Release,
    Rebind,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Retry => "retry",
            Verb::Bounce => "bounce",
            Verb::Hold => "hold",
            Verb::Release => "release",
            Verb::Rebind => "rebind",
        }
    }
}

type Question = Box<dyn Fn(ScanPosition, Reply<Part>) -> Ask + Send + Sync>;

fn read(body: &[u8]) -> Result<Change, Problem> {
    let change: Change = answers::read(body)?;
    let words = |problem: &str| Problem::Wrong(problem.to_owned());
    if change.reason.len() > limits::REASON_MAX || change.reason.chars().any(char::is_control) {
        return Err(words("a reason is one line of printable text, at most 400 bytes"));
    }
    let most = limits::CONFIG_TIME_MAX.as_secs();
    if change.seconds.is_some_and(|seconds| !(1..=most).contains(&seconds)) {
        let rest = "or, where nothing is said, until it is released";
        return Err(words(&format!("mail is held for 1 to {most} seconds, {rest}")));
    }
    match (change.filter.is_empty(), change.all) {
        (true, false) => {
            Err(words("all mail would be meant: say which by a filter, or say that all is (all, --all)"))
        }
        (false, true) => Err(words("all mail is meant, or what a filter says, not both")),
        _ => Ok(change),
    }
}

/// As the operator says it.
fn reason(change: &Change) -> &str {
    if change.reason.is_empty() { "no reason was given" } else { &change.reason }
}

async fn change_all(
    api: &Api,
    actor: Actor,
    (verb, until): (Verb, Option<u32>),
    change: Change,
    question: impl FnOnce(&Arc<Filter>, &str) -> Question,
) -> Result<Response, Problem> {
    let mut filter = Filter::default();
    change.filter.iter().try_for_each(|(name, value)| filter.set(name, value))?;
    let asked = match ready(api, filter, change.cursor.as_deref()).await? {
        PreparedQuestion::Nothing => return Ok(json(&Changed::default())),
        PreparedQuestion::Searching(scanned, next) => {
            let next = Some(next);
            return Ok(json(&Changed { next, until, scanned: Some(scanned), ..Changed::default() }));
        }
        PreparedQuestion::Go(asked) => asked,
    };
    let filter = &asked.filter;
    let question = question(filter, reason(&change));
    // Also where the asker goes away, and the request ends, in the middle.
    let set = rebinding::words(&change.set);
    let report =
        Report { api, actor, verb, filter, reason: &change.reason, set: &set, tally: Tally::default() };
    let done = change_part(report, &asked, &question).await;
    // Also where a shard did not answer: others have changed something by then.
    api.journal().await;
    Ok(json(&Changed { until, ..done? }))
}

/// As much as one request may. What was done is told when this ends.
async fn change_part(
    mut report: Report<'_>,
    asked: &searching::Question,
    question: &Question,
) -> Result<Changed, AskFailure> {
    let (api, until) = (report.api, Instant::now() + limits::REQUEST_TIME);
    let (mut next, mut starved, mut unwritten) = (Some(asked.place), false, 0);
    while let Some((shard, from)) = next
        && Instant::now() < until
        && !starved
    {
        let part = api.asker.ask(shard, |reply| question(from, reply)).await?;
        report.tally = report.tally.plus(part.tally);
        unwritten += part.unwritten;
        starved = part.starved && part.tally.groups == 0;
        next = api.asker.follow(shard, part.next);
    }
    Ok(Changed {
        recipients: report.tally.recipients,
        groups: report.tally.groups,
        under_way: report.tally.under_way,
        waits_for_spool: starved,
        unwritten,
        until: None,
        next: asked.next(api, next),
        scanned: asked.scanned,
    })
}

/// Says what was done, whatever the end.
struct Report<'a> {
    api: &'a Api,
    actor: Actor,
    verb: Verb,
    filter: &'a Filter,
    reason: &'a str,
    /// What it gets, in words; empty: nothing.
    set: &'a str,
    tally: Tally,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        let Report { api, actor, verb, filter, reason, set, tally } = self;
        let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let to = if set.is_empty() { String::new() } else { format!(" to {set}") };
        let word = verb.word();
        say(
            Level::Info,
            format_args!("queue {word} ({filter}){to} by {actor}: {} recipients{because}", tally.recipients),
        );
        let (by, filter) = (actor.to_string(), filter.to_string());
        let change = event::Change { by: &by, filter: &filter, reason, recipients: tally.recipients };
        if let Some(teller) = &api.admin {
            teller.tell(match verb {
                Verb::Retry => Admin::Retry(change),
                Verb::Bounce => Admin::Bounce(change),
                Verb::Hold => Admin::Hold(change),
                Verb::Release => Admin::Release(change),
                Verb::Rebind => Admin::Rebind(change, set),
            });
        }
    }
}
