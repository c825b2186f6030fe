//! `GET /control/v1/node`, `/control/v1/cluster…`: this node in a few numbers, the nodes of its cluster, and what waits at all of them.
//!
//! A node is asked by others only what is of itself: no question here that goes to other nodes is asked by them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::answers::{Api, Problem, json};
use super::queue::{self, QueueQuery};
use super::shape::cluster::{
    ClusterCount, ClusterNode, ClusterNodes, ClusterPage, ClusterRow, ClusterWhy, NodeCount, NodeSummary,
    NodeWhy, tidy,
};
use super::shape::overview::Overview;
use super::shape::why::Why;
use super::shape::{Count, CountPage, Page, Row, ScanProgress};
use super::veil::Veil;
use super::why;
use crate::control::fleet::Fleet;
use crate::control::fleet::search::{Part, Question, Round, round};
use crate::id::MessageId;
use crate::limits;
use crate::queue::select::GroupState;

impl Part for Page {
    fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

impl Part for CountPage {
    fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

impl Part for Why {
    fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

/// This node.
pub(super) async fn node(State(api): State<Arc<Api>>, Extension(veil): Extension<Veil>) -> Response {
    let mut summary = summary(&api).await;
    summary.words.iter_mut().for_each(|words| veil.words(words));
    json(&summary)
}

async fn summary(api: &Api) -> NodeSummary {
    let shown = api.overviews.latest();
    let overview = &shown.overview;
    let (accepted, delivered) = api.overviews.last_minute();
    let second = (api.second)();
    let words = api.health.takes_mail(second).1;
    let words = words.trim_end();
    let state = match words {
        "ok" => "ready",
        "starting" => "starting",
        "draining" => "draining",
        _ => "refusing",
    };
    NodeSummary {
        id: api.id.clone(),
        node: api.hostname.clone(),
        version: env!("RELEVO_VERSION").to_owned(),
        uptime_seconds: second,
        state: state.to_owned(),
        words: (state != "ready").then(|| words.to_owned()),
        queued: api.instruments.iter().map(|shard| shard.counters.queued_recipients.get()).sum(),
        deferred: overview.queue.deferred,
        oldest_seconds: oldest(overview),
        accepted,
        delivered,
        disk_free: api.room.free(&api.data_dir).await,
        redis: api.mesh.cluster.desk().map(|desk| redis(&desk.told())),
        warnings: overview.warnings.len() as u64,
    }
}

/// For how long the oldest have waited at the least.
fn oldest(overview: &Overview) -> Option<u64> {
    let ages = overview.ages.as_ref()?;
    let at = ages.iter().rposition(|age| age.recipients > 0)?;
    Some(at.checked_sub(1).and_then(|before| ages[before].up_to_seconds).unwrap_or_default())
}

/// How limits are shared.
fn redis(news: &crate::shard::cluster::ClusterNews) -> String {
    let is_asked = news.trouble.is_none() && !news.nodes.is_empty();
    match (is_asked, news.standing.leased) {
        (true, _) => "leased",
        (false, 0) => "share",
        (false, _) => "kept",
    }
    .to_owned()
}

/// All nodes.
pub(super) async fn nodes(State(api): State<Arc<Api>>, Extension(veil): Extension<Veil>) -> Response {
    let summary = summary(&api).await;
    let own = ClusterNode {
        node: summary.node.clone(),
        id: Some(summary.id.clone()),
        own: true,
        reach: "answers".to_owned(),
        version: Some(summary.version.clone()),
        summary: Some(summary),
        ..ClusterNode::default()
    };
    let mut told = match &api.fleet {
        Some(fleet) => fleet.view().await.told(fleet.name(), own),
        None => ClusterNodes { nodes: vec![own], ..ClusterNodes::default() },
    };
    for node in &mut told.nodes {
        let said = node.summary.iter_mut().filter_map(|summary| summary.words.as_mut());
        node.words.iter_mut().chain(said).for_each(|words| veil.words(words));
    }
    json(&told)
}

fn fleet(api: &Api) -> Result<&Fleet, Problem> {
    api.fleet.as_deref().ok_or_else(|| {
        Problem::NotFound("this node is in no cluster: its configuration has no [cluster]".to_owned())
    })
}

/// What was asked, with what is for the other nodes of it.
struct Asked {
    query: String,
    cursor: Option<String>,
    limit: usize,
}

/// What is asked of the queue: anything wrong in it is told before anybody else is asked.
fn asked(query: Option<String>) -> Result<Asked, Problem> {
    let QueueQuery { cursor, limit, .. } = queue::asked(query.clone())?;
    let text = query.unwrap_or_default();
    let rest =
        form_urlencoded::parse(text.as_bytes()).filter(|(name, _)| name != "cursor" && name != "limit");
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
    Ok(Asked { query, cursor, limit })
}

/// The same question of this node alone.
fn own(query: &str, (cursor, limit): (Option<String>, Option<usize>)) -> Result<QueueQuery, Problem> {
    let asked = queue::asked(Some(query.to_owned()))?;
    Ok(QueueQuery { cursor, limit: limit.unwrap_or(asked.limit), ..asked })
}

fn no_cursor() -> Problem {
    Problem::Wrong("that is no cursor: give `next` of the page before as it is".to_owned())
}

/// A page of all queues.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = asked(query)?;
    let (node, query) = (&*api, &*asked.query);
    let question = asked.of("/control/v1/queue", true);
    let round: Round<Page> = round(fleet(&api)?, question, |cursor, limit| async move {
        queue::page(node, own(query, (cursor, limit))?).await.map(Some)
    })
    .await
    .ok_or_else(no_cursor)??;
    let mut told = ClusterPage { missing: round.missing, next: round.next, ..ClusterPage::default() };
    for (who, mut page) in round.answers {
        page.rows.truncate(limits::PAGE_ROWS);
        page.rows.retain_mut(is_row);
        let page = veil.page(page);
        told.under_way = told.under_way.saturating_add(page.under_way);
        told.scanned = sum(told.scanned, page.scanned);
        let rows = page.rows.into_iter();
        told.rows.extend(rows.map(|row| ClusterRow { node: who.node.clone(), url: who.url.clone(), row }));
    }
    Ok(json(&told))
}

/// Whether another node's row is one; what should be a word or a time is in one line.
fn is_row(row: &mut Row) -> bool {
    let is_state = GroupState::ALL.iter().any(|state| state.name() == row.state);
    let times = [&mut row.next_attempt, &mut row.site_closed_until].into_iter().flatten();
    times
        .chain([&mut row.accepted, &mut row.expires])
        .for_each(|time| *time = tidy(time, limits::FLEET_WORD_MAX));
    is_state && row.id.parse::<MessageId>().is_ok_and(|id| id.to_string() == row.id)
}

impl Asked {
    fn of<'a>(&'a self, path: &'a str, has_rows: bool) -> Question<'a> {
        let limit = has_rows.then_some(self.limit);
        Question { path, query: self.query.clone(), cursor: self.cursor.as_deref(), limit }
    }
}

fn sum(one: Option<ScanProgress>, other: Option<ScanProgress>) -> Option<ScanProgress> {
    let (Some(one), Some(other)) = (one, other) else { return one.or(other) };
    Some(ScanProgress {
        messages: one.messages.saturating_add(other.messages),
        of: one.of.saturating_add(other.of),
        unreadable: one.unreadable.saturating_add(other.unreadable),
    })
}

/// How much waits at all nodes.
pub(super) async fn count(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = asked(query)?;
    let (node, query) = (&*api, &*asked.query);
    let question = asked.of("/control/v1/queue/count", false);
    let round: Round<CountPage> = round(fleet(&api)?, question, |cursor, limit| async move {
        queue::counted(node, own(query, (cursor, limit))?).await.map(Some)
    })
    .await
    .ok_or_else(no_cursor)??;
    let mut told = ClusterCount { missing: round.missing, next: round.next, ..ClusterCount::default() };
    for (who, part) in round.answers {
        told.count = plus(told.count, part.count);
        told.scanned = sum(told.scanned, part.scanned);
        told.nodes.push(NodeCount { node: who.node, count: part.count });
    }
    Ok(json(&told))
}

fn plus(one: Count, other: Count) -> Count {
    Count {
        recipients: one.recipients.saturating_add(other.recipients),
        deferred: one.deferred.saturating_add(other.deferred),
        ready: one.ready.saturating_add(other.ready),
        suspended: one.suspended.saturating_add(other.suspended),
        held: one.held.saturating_add(other.held),
        groups: one.groups.saturating_add(other.groups),
        under_way: one.under_way.saturating_add(other.under_way),
    }
}

/// What mail waits for, at the nodes that have it.
pub(super) async fn why(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = asked(query)?;
    let (node, query) = (&*api, &*asked.query);
    let round: Round<Why> =
        round(fleet(&api)?, asked.of("/control/v1/why", false), |cursor, limit| async move {
            match why::of(node, own(query, (cursor, limit))?).await {
                Ok(why) => Ok(Some(why)),
                Err(Problem::NotFound(_)) => Ok(None),
                Err(problem) => Err(problem),
            }
        })
        .await
        .ok_or_else(no_cursor)??;
    let nodes = round.answers.into_iter();
    let nodes = nodes.map(|(who, why)| NodeWhy { node: who.node, why: veil.why(why) }).collect();
    Ok(json(&ClusterWhy { nodes, missing: round.missing, next: round.next }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::shape::overview::Age;

    #[test]
    fn what_is_for_others_has_no_cursor_of_ours() {
        let text = "domain=a.example&limit=7&cursor=0000000000000001%2F&older=2h";
        let asked = asked(Some(text.to_owned())).unwrap();
        assert_eq!((&*asked.query, asked.limit), ("domain=a.example&older=2h", 7));
        assert_eq!(asked.cursor.as_deref(), Some("0000000000000001/"));
        let own = own(&asked.query, (Some("0-4-17".to_owned()), Some(3))).unwrap();
        assert_eq!((own.cursor.as_deref(), own.limit), (Some("0-4-17"), 3));
        assert!(super::asked(Some("colour=red".to_owned())).is_err(), "nobody else is asked that");
    }

    #[test]
    fn a_row_of_another_node_is_one() {
        let row = |id: &str, state: &str| {
            let text = serde_json::json!({"id": id, "state": state, "domain": "a.example", "site": null, "sender": "", "count": 1, "recipients": [],
                "accepted": "2026\u{1b}[2J", "size": 1, "attempts": 0, "next_attempt": null, "site_closed_until": null, "expires": "", "last_reply": null});
            serde_json::from_value::<Row>(text).unwrap()
        };
        let mut fine = row("00000000G0000102", "deferred");
        assert!(is_row(&mut fine) && fine.accepted == "2026 [2J");
        assert!(
            !is_row(&mut row("\u{1b}[2J", "deferred")) && !is_row(&mut row("00000000G0000102", "\u{1b}"))
        );
    }

    #[test]
    fn the_oldest_are_as_old_as_their_step_begins() {
        let age = |up_to_seconds, recipients| Age { up_to_seconds, recipients };
        let of = |ages: Vec<Age>| oldest(&Overview { ages: Some(ages), ..Overview::default() });
        assert_eq!(of(vec![age(Some(60), 0), age(None, 0)]), None);
        assert_eq!(of(vec![age(Some(60), 1), age(None, 0)]), Some(0));
        assert_eq!(of(vec![age(Some(60), 1), age(Some(600), 1), age(None, 2)]), Some(600));
    }
}
