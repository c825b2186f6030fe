//! What waits: pages, counts, one message.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use tokio::time::Instant;

use super::answers::{Api, Problem, iso, json};
use super::searching::{PreparedQuestion, ready};
use super::shape::{Count, CountPage, Message, Page, QueuedPart, Recipient, Row};
use super::veil::Veil;
use crate::control::asker::AskFailure;
use crate::id::MessageId;
use crate::limits;
use crate::queue::group::ANY_LIFETIME;
use crate::queue::lifetimes::age_by_record;
use crate::queue::outcome::NO_END;
use crate::queue::select::{Filter, GroupState, Place, ScanPosition, Tally};
use crate::queue::suspension::{Suspension, Suspensions, Whose};
use crate::shard::ask::{self, Ask, Detail, FailedDialogue, StoredRecipients, Untold};
use crate::time::UnixMillis;

/// What a question has behind its `?`.
pub(super) struct QueueQuery {
    pub filter: Filter,
    pub cursor: Option<String>,
    pub limit: usize,
}

/// Reads it.
pub(super) fn asked(query: Option<String>) -> Result<QueueQuery, Problem> {
    let mut asked = QueueQuery { filter: Filter::default(), cursor: None, limit: limits::PAGE_ROWS };
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "cursor" => asked.cursor = Some(value.into_owned()),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=limits::PAGE_ROWS).contains(limit));
                let words = || format!("limit is a number from 1 to {}", limits::PAGE_ROWS);
                asked.limit = limit.ok_or_else(|| Problem::Wrong(words()))?;
            }
            _ => asked.filter.set(&name, &value)?,
        }
    }
    Ok(asked)
}

/// A page.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Ok(json(&veil.page(page(&api, asked(query)?).await?)))
}

/// The same before addresses are shortened.
pub(super) async fn page(api: &Api, asked: QueueQuery) -> Result<Page, Problem> {
    let QueueQuery { filter, cursor, limit } = asked;
    let question = match ready(api, filter, cursor.as_deref()).await? {
        PreparedQuestion::Nothing => return Ok(Page::default()),
        PreparedQuestion::Searching(scanned, next) => {
            return Ok(Page { next: Some(next), scanned: Some(scanned), ..Page::default() });
        }
        PreparedQuestion::Go(question) => question,
    };
    let filter = &question.filter;
    let (mut shard, mut from) = question.place;
    let until = Instant::now() + limits::REQUEST_TIME;
    let (mut rows, mut under_way) = (Vec::new(), 0);
    let mut next = Some((shard, from));
    while let Some(place) = next
        && rows.len() < limit
        && Instant::now() < until
    {
        (shard, from) = place;
        let most = limit - rows.len();
        let part = api.asker.ask(shard, |reply| Ask::List(filter.clone(), from, most, reply)).await?;
        rows.extend(part.rows);
        under_way += part.tally.under_way;
        next = api.asker.follow(shard, part.next);
    }
    let details = details(api, filter, &rows).await?;
    let suspensions = api.mesh.suspensions();
    let told = |(row, detail)| {
        let why = why(&suspensions, row, &detail);
        told(row, filter, detail).map(|told| Row { suspended: why, ..told })
    };
    let rows = rows.iter().zip(details).filter_map(told).collect();
    let next = question.next(api, next);
    Ok(Page { rows, under_way, next, scanned: question.scanned })
}

/// What the lanes know of these rows, in their order.
pub(super) async fn details(
    api: &Api,
    filter: &Filter,
    rows: &[ask::Row],
) -> Result<Vec<Result<Detail, Untold>>, AskFailure> {
    let mut details = vec![Err(Untold::Gone); rows.len()];
    let mut by_shard: BTreeMap<usize, Vec<(usize, StoredRecipients)>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let group = &row.seen.group;
        let (first, count) = filter.first(group).unwrap_or((group.first, group.count));
        let place = StoredRecipients { location: group.location, key: group.key, first, count };
        by_shard.entry(api.asker.shard_of(group.location.lane)).or_default().push((at, place));
    }
    for (shard, of) in by_shard {
        let places = of.iter().map(|(_, place)| *place).collect();
        let found = api.asker.ask(shard, |reply| Ask::Details(places, reply)).await?;
        for ((at, _), detail) in of.into_iter().zip(found) {
            details[at] = detail;
        }
    }
    Ok(details)
}

/// A row of the page; None: it is settled by now, or not as old as its queue had to take it for.
fn told(row: &ask::Row, filter: &Filter, detail: Result<Detail, Untold>) -> Option<Row> {
    let (seen, group) = (&row.seen, &row.seen.group);
    let (id, detail, reply) = match detail {
        Ok(detail) => (detail.id, Some(detail), String::new()),
        Err(Untold::Unreadable(id, reply)) => (id, None, reply),
        Err(Untold::Gone) => return None,
    };
    if let (Some(older), Some(detail), ANY_LIFETIME) = (filter.older, &detail, group.life)
        && age_by_record(group, row.now, detail.lives) < older
    {
        return None;
    }
    let damaged = detail.is_none();
    let known = detail.as_ref();
    Some(Row {
        id: id.to_string(),
        state: seen.state.name().to_owned(),
        domain: seen.domain.to_string(),
        site: seen.site.as_deref().map(str::to_owned),
        count: filter.meant(group),
        accepted: known.map(|detail| iso(detail.arrival)).unwrap_or_default(),
        size: known.map_or(0, |detail| detail.size),
        attempts: group.attempts,
        next_attempt: row.next.map(iso),
        site_closed_until: row.closed_until.map(iso),
        expires: iso(row.expiry),
        suspended: None,
        hold: known.and_then(|detail| hold(detail.hold.as_deref(), row.next)).filter(|_| group.is_kept()),
        last_reply: Some(known.map_or(reply, |detail| detail.reply.clone()))
            .filter(|reply| !reply.is_empty()),
        damaged,
        sender: detail.as_ref().map(|detail| detail.sender.clone()).unwrap_or_default(),
        recipients: detail.map(|detail| detail.recipients).unwrap_or_default(),
    })
}

/// Who holds mail, in words.
pub(super) fn hold(words: Option<&str>, until: Option<UnixMillis>) -> Option<String> {
    let words = words.map(|words| if words.is_empty() { "by an operator" } else { words })?;
    let until = until.map_or_else(|| "it is released".to_owned(), iso);
    Some(format!("{words}, until {until}"))
}

/// Which suspension holds a row back.
pub(super) fn why(all: &Suspensions, row: &ask::Row, detail: &Result<Detail, Untold>) -> Option<String> {
    let seen = &row.seen;
    if seen.state != GroupState::Suspended {
        return None;
    }
    let place = Place { domain: &seen.domain, site: seen.site.as_deref() };
    let [tenant, campaign, pool] = detail.as_ref().ok().map(|detail| &detail.whose)?;
    let one = all.why(place, Whose { tenant, campaign, pool }, row.next.unwrap_or_default())?;
    Some(told_as(one))
}

/// A suspension in words.
pub(super) fn told_as(one: &Suspension) -> String {
    format!("{} by {}: {}", one.id, one.by, one.reason)
}

/// How much waits.
pub(super) async fn count(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Ok(json(&counted(&api, asked(query)?).await?))
}

/// The same, to be put together with others.
pub(super) async fn counted(api: &Api, asked: QueueQuery) -> Result<CountPage, Problem> {
    let QueueQuery { filter, cursor, .. } = asked;
    let question = match ready(api, filter, cursor.as_deref()).await? {
        PreparedQuestion::Nothing => return Ok(CountPage::default()),
        PreparedQuestion::Searching(scanned, next) => {
            return Ok(CountPage { next: Some(next), scanned: Some(scanned), ..CountPage::default() });
        }
        PreparedQuestion::Go(question) => question,
    };
    let until = Instant::now() + limits::REQUEST_TIME;
    let (mut tally, mut next) = (Tally::default(), Some(question.place));
    while let Some((shard, from)) = next
        && Instant::now() < until
    {
        let part = api.asker.ask(shard, |reply| Ask::Count(question.filter.clone(), from, reply)).await?;
        tally = tally.plus(part.tally);
        next = api.asker.follow(shard, part.next);
    }
    let count = Count {
        recipients: tally.recipients,
        deferred: tally.deferred,
        ready: tally.recipients - tally.deferred - tally.suspended - tally.held,
        suspended: tally.suspended,
        held: tally.held,
        groups: tally.groups,
        under_way: tally.under_way,
    };
    Ok(CountPage { count, next: question.next(api, next), scanned: question.scanned })
}

/// One message.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|wrong| Problem::Wrong(wrong.body_text()))?;
    let mut filter = Filter::default();
    filter.set("id", &id)?;
    let id = filter.id.unwrap_or(MessageId { lane: 0, sequence: 0, offset: 0 });
    let gone = || {
        Problem::NotFound(format!(
            "message {id} is settled, or was never here; the log tells what became of it"
        ))
    };
    let filter = api.asker.prepared(filter).await?.ok_or_else(gone)?;
    // Adopted lanes may have one of the same id; the first is told, and how to see the others is `relevo spool show`.
    let (lane, key) = filter.entries.first().copied().ok_or_else(gone)?;
    let shard = api.asker.shard_of(lane);
    let shown = api.asker.ask(shard, |reply| Ask::Show(lane, key, id, reply)).await?;
    let shown = shown.map_err(|why| match why {
        Untold::Gone => gone(),
        Untold::Unreadable(id, _) => Problem::Damaged(format!(
            "the record of message {id}, in lane {lane}, cannot be read; `relevo spool verify` says what is wrong"
        )),
    })?;
    let mut said = Vec::new();
    for shard in 0..api.asker.shards() {
        said.extend(api.asker.ask(shard, |reply| Ask::Dialogues(id, reply)).await?);
    }
    said.sort_by_key(|one: &FailedDialogue| std::cmp::Reverse(one.at));
    let only = Arc::new(Filter { entries: vec![(lane, key)], ..Filter::clone(&filter) });
    let mut waiting = Vec::new();
    let mut next = Some((0, ScanPosition::default()));
    while let Some((shard, from)) = next
        && waiting.len() < limits::PAGE_ROWS
    {
        let most = limits::PAGE_ROWS - waiting.len();
        let part = api.asker.ask(shard, |reply| Ask::List(only.clone(), from, most, reply)).await?;
        waiting.extend(part.rows);
        next = api.asker.follow(shard, part.next);
    }
    let queued: u32 = waiting.iter().map(|row| u32::from(row.seen.group.count)).sum();
    Ok(json(&veil.message(Message {
        id: id.to_string(),
        origin: shown.origin,
        lane,
        sender: shown.detail.sender,
        accepted: iso(shown.detail.arrival),
        expires: iso(shown.expiry),
        size: shown.detail.size,
        recipients: shown.recipients,
        left: shown.left,
        live: shown.live.into_iter().map(|live| recipient(live, &said)).collect(),
        waiting: waiting.iter().map(waits).collect(),
        under_way: if next.is_none() { shown.left.saturating_sub(queued) } else { 0 },
    })))
}

fn recipient(live: ask::UnsettledRecipient, said: &[FailedDialogue]) -> Recipient {
    let next = (live.next > 0 && live.next < NO_END).then(|| UnixMillis(u64::from(live.next) * 1000));
    let of_it =
        |one: &&FailedDialogue| (one.first..one.first.saturating_add(one.count)).contains(&live.ordinal);
    let dialogue = said.iter().find(of_it).map(|one| {
        let head = format!("* {} {}", iso(one.at), one.hop);
        std::iter::once(head).chain(one.lines.iter().cloned()).collect()
    });
    Recipient {
        dialogue: dialogue.unwrap_or_default(),
        address: live.address,
        attempts: live.attempts,
        next_attempt: next.map(iso),
        hold: hold(live.hold.as_deref(), next),
        last_reply: Some(live.reply).filter(|reply| !reply.is_empty()),
    }
}

fn waits(row: &ask::Row) -> QueuedPart {
    QueuedPart {
        domain: row.seen.domain.to_string(),
        site: row.seen.site.as_deref().map(str::to_owned),
        state: row.seen.state.name().to_owned(),
        count: row.seen.group.count,
        next_attempt: row.next.map(iso),
        site_closed_until: row.closed_until.map(iso),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Location;
    use crate::queue::group::Group;
    use crate::queue::select::WaitingGroup;

    /// The wall clock has been set by years since it came.
    #[test]
    fn a_row_is_as_old_as_its_queue_says() {
        let group = Group { expiry: 1_000_000, ..Group::bare(Location { lane: 0, slot: 0, offset: 0 }, 1) };
        let seen = WaitingGroup {
            domain: "d.example".into(),
            site: None,
            group,
            state: GroupState::Ready,
            closed_until: None,
        };
        let row = ask::Row { seen, next: None, closed_until: None, expiry: UnixMillis(0), now: 999_600 };
        let id = MessageId { lane: 0, sequence: 1, offset: 0 };
        for arrival in [UnixMillis(0), UnixMillis(1_900_000_000_000)] {
            let detail = Detail {
                id,
                sender: String::new(),
                arrival,
                lives: 1000,
                size: 0,
                whose: Default::default(),
                recipients: Vec::new(),
                reply: String::new(),
                hold: None,
            };
            let told = |older: &str| {
                let mut filter = Filter::default();
                filter.set("older", older).unwrap();
                told(&row, &filter, Ok(detail.clone())).is_some()
            };
            assert!(told("10m") && !told("11m"), "{arrival:?}");
        }
    }
}
