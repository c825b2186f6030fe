//! `GET /control/v1/why`: what the mail of a domain, a message, an address or an account waits for.
//!
//! Rows of the queue say which recipients are meant; the home shard of each domain says what holds it up.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use tokio::time::Instant;

use super::answers::{Api, Problem, iso, json};
use super::queue::{QueueQuery, asked, details, hold, why as suspended_by};
use super::quotas;
use super::searching::{PreparedQuestion, Question, ready};
use super::shape::why::{Because, Domain, LastReply, Provider, RateLines, Share, Site, Why};
use super::veil::Veil;
use crate::control::asker::AskFailure;
use crate::limits;
use crate::queue::select::{Filter, GroupState, Pattern};
use crate::route::home_shard;
use crate::runtime::process;
use crate::shard::ask::why::{Cause, DomainWait, SiteState};
use crate::shard::ask::{self, Ask, Untold};
use crate::time::UnixMillis;

mod later;
mod words;

use later::{DueMail, Later};

/// What of a domain is meant.
#[derive(Clone, Debug, Default)]
struct Meant {
    deferred: u64,
    /// When the first of these is due.
    next: Option<UnixMillis>,
    suspended: u64,
    /// When the first of these goes on, and by what the first is suspended.
    resumes: Option<UnixMillis>,
    by: Option<String>,
    held: u64,
    /// When the first of these is to go.
    released: Option<UnixMillis>,
    kept: u64,
    /// Until when an operator holds the first of these, and who the first.
    let_go: Option<UnixMillis>,
    keeps: Option<String>,
    ready: u64,
    /// What is looked at of those that wait for a point of time.
    due: Vec<DueMail>,
}

impl Meant {
    fn add(&mut self, row: &ask::Row, recipients: u64) {
        let (amount, first) = match row.seen.state {
            GroupState::Ready => {
                self.ready += recipients;
                return;
            }
            GroupState::Suspended => (&mut self.suspended, &mut self.resumes),
            GroupState::Held if row.seen.group.is_kept() => {
                self.kept += recipients;
                self.let_go = self.let_go.into_iter().chain(row.next).min();
                return;
            }
            GroupState::Held => (&mut self.held, &mut self.released),
            GroupState::Deferred => (&mut self.deferred, &mut self.next),
        };
        *amount += recipients;
        let due = row.next.unwrap_or(UnixMillis(0));
        *first = Some(first.map_or(due, |first| first.min(due)));
    }

    fn recipients(&self) -> u64 {
        self.deferred + self.suspended + self.held + self.kept + self.ready
    }
}

/// What mail waits for.
pub(super) async fn why(
    State(api): State<Arc<Api>>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Ok(json(&veil.why(of(&api, asked(query)?).await?)))
}

/// The same before addresses are shortened.
pub(super) async fn of(api: &Api, asked: QueueQuery) -> Result<Why, Problem> {
    let whole = match &asked.filter.domain {
        Some(Pattern::Whole(name)) => Some(name.to_ascii_lowercase()),
        Some(Pattern::Below(_)) => return Err(Problem::Wrong("why wants one domain".to_owned())),
        None => None,
    };
    if asked.filter.is_empty() {
        return Err(Problem::Wrong("why wants an id, a domain, a recipient or an account".to_owned()));
    }
    let words = asked.filter.to_string();
    let quotas = quotas::of(api, &asked.filter);
    let gone = || Problem::NotFound(format!("nothing of {words} waits; the log tells what became of it"));
    let question = match ready(api, asked.filter, asked.cursor.as_deref()).await? {
        PreparedQuestion::Nothing if quotas.is_empty() => return Err(gone()),
        PreparedQuestion::Nothing => {
            let now = iso(process::wall());
            return Ok(Why { asked: words, now, complete: true, quotas, ..Why::default() });
        }
        PreparedQuestion::Searching(scanned, next) => {
            return Ok(Why { next: Some(next), scanned: Some(scanned), ..Why::default() });
        }
        PreparedQuestion::Go(question) => question,
    };
    let (rows, complete) = rows(api, &question, whole.as_deref()).await?;
    question.next(api, None);
    let filter = &question.filter;
    let of_domain = filter.is_of_domains();
    let mut meant: BTreeMap<String, Meant> = BTreeMap::new();
    for row in &rows {
        meant.entry(row.seen.domain.to_string()).or_default().add(row, filter.meant(&row.seen.group).into());
    }
    if let Some(name) = whole.filter(|_| of_domain) {
        meant.entry(name).or_default();
    }
    let mut told = Why { asked: words.clone(), complete: complete || of_domain, ..Why::default() };
    let heard = replies(api, filter, &rows).await?;
    for (name, words) in heard.by {
        meant.entry(name).or_default().by = Some(words);
    }
    for (name, words) in heard.keeps {
        meant.entry(name).or_default().keeps = Some(words);
    }
    for (name, due) in heard.due {
        meant.entry(name).or_default().due = due;
    }
    told.replies = heard.replies;
    told.under_way = under_way(api, filter, &meant, complete).await?;
    tell(api, meant, of_domain, &mut told).await?;
    told.quotas = quotas;
    let is_nothing = told.recipients == 0 && told.under_way == 0 && told.quotas.is_empty();
    if is_nothing { Err(gone()) } else { Ok(told) }
}

/// The first groups that are meant, and whether these are all.
async fn rows(
    api: &Api,
    question: &Question,
    domain: Option<&str>,
) -> Result<(Vec<ask::Row>, bool), AskFailure> {
    let most = if question.filter.is_of_domains() { limits::PAGE_ROWS } else { limits::WHY_ROWS };
    let until = Instant::now() + limits::REQUEST_TIME;
    let home = domain.map(|name| home_shard(name.as_bytes(), api.asker.shards()));
    let mut next = Some((home.unwrap_or(0), Default::default()));
    let mut rows = Vec::new();
    while let Some((shard, from)) = next
        && rows.len() < most
        && Instant::now() < until
    {
        let filter = question.filter.clone();
        let page = limits::PAGE_ROWS.min(most - rows.len());
        let part = api.asker.ask(shard, |reply| Ask::List(filter, from, page, reply)).await?;
        rows.extend(part.rows);
        next = match home {
            Some(home) => part.next.map(|from| (home, from)),
            None => api.asker.follow(shard, part.next),
        };
    }
    Ok((rows, next.is_none()))
}

/// What lanes know of the first of them.
#[derive(Default)]
struct LaneDetails {
    /// What was said last, that which most heard first.
    replies: Vec<LastReply>,
    /// By what mail of domains is suspended.
    by: BTreeMap<String, String>,
    /// Who holds mail of domains.
    keeps: BTreeMap<String, String>,
    /// What waits in domains for a point of time.
    due: BTreeMap<String, Vec<DueMail>>,
}

async fn replies(api: &Api, filter: &Filter, rows: &[ask::Row]) -> Result<LaneDetails, AskFailure> {
    let rows = &rows[..rows.len().min(limits::PAGE_ROWS)];
    let mut heard: BTreeMap<String, u64> = BTreeMap::new();
    let (mut known, suspensions) = (LaneDetails::default(), api.mesh.suspensions());
    for (row, detail) in rows.iter().zip(details(api, filter, rows).await?) {
        if let Some(words) = suspended_by(&suspensions, row, &detail) {
            known.by.entry(row.seen.domain.to_string()).or_insert(words);
        }
        if let Some(words) = detail.as_ref().ok().and_then(|detail| hold(detail.hold.as_deref(), row.next)) {
            known.keeps.entry(row.seen.domain.to_string()).or_insert(words);
        }
        if let Some(due) = detail.as_ref().ok().and_then(|detail| DueMail::of(row, &detail.whose)) {
            known.due.entry(row.seen.domain.to_string()).or_default().push(due);
        }
        let reply = match detail {
            Ok(detail) => detail.reply,
            Err(Untold::Unreadable(_, reply)) => reply,
            Err(Untold::Gone) => continue,
        };
        if !reply.is_empty() {
            *heard.entry(reply).or_default() += u64::from(filter.meant(&row.seen.group));
        }
    }
    let mut heard: Vec<LastReply> =
        heard.into_iter().map(|(reply, recipients)| LastReply { reply, recipients }).collect();
    heard.sort_by_key(|one| std::cmp::Reverse(one.recipients));
    heard.truncate(limits::WHY_REPLIES);
    Ok(LaneDetails { replies: heard, ..known })
}

/// Recipients of a message that are in no queue.
async fn under_way(
    api: &Api,
    filter: &Filter,
    meant: &BTreeMap<String, Meant>,
    complete: bool,
) -> Result<u64, AskFailure> {
    let (Some(id), Some((lane, key))) = (filter.id, filter.entries.first().copied()) else { return Ok(0) };
    let shown = api.asker.ask(api.asker.shard_of(lane), |reply| Ask::Show(lane, key, id, reply)).await?;
    let queued = meant.values().map(Meant::recipients).sum();
    Ok(shown.map_or(0, |shown| if complete { u64::from(shown.left).saturating_sub(queued) } else { 0 }))
}

/// What holds up these domains.
async fn tell(
    api: &Api,
    meant: BTreeMap<String, Meant>,
    of_domain: bool,
    told: &mut Why,
) -> Result<(), AskFailure> {
    let mut meant: Vec<(String, Meant)> = meant.into_iter().collect();
    meant.sort_by_key(|(_, of)| std::cmp::Reverse(of.recipients()));
    told.more_domains = meant.len().saturating_sub(limits::WHY_DOMAINS) as u64;
    let mut causes = Vec::new();
    let (now, suspensions) = (process::wall(), api.mesh.suspensions());
    told.now = iso(now);
    for (place, (name, of)) in meant.into_iter().enumerate() {
        let mut waits = Vec::new();
        if place < limits::WHY_DOMAINS {
            let home = home_shard(name.as_bytes(), api.asker.shards());
            waits = api.asker.ask(home, |reply| Ask::Why(name.as_str().into(), reply)).await?;
        }
        let parts = match of_domain {
            true => waits.iter().map(|wait| by_queue(wait, &of)).collect(),
            false => vec![(of, &waits[..])],
        };
        for (of, waits) in parts {
            told.recipients += of.recipients();
            let later = [GroupState::Deferred, GroupState::Held]
                .map(|state| Later::of(state, (&name, &of.due), waits, &suspensions));
            causes.extend(reasons(&of, waits, &later, now));
        }
        for wait in &waits {
            if of_domain {
                told.under_way += u64::from(wait.under_way);
            }
            told.domains.push(domain(api, &name, wait, now).await?);
        }
    }
    told.causes = together(causes);
    Ok(())
}

/// All that waits in a queue.
fn by_queue<'a>(wait: &'a DomainWait, of: &Meant) -> (Meant, &'a [DomainWait]) {
    let DomainWait { deferred, next, suspended, resumes, held, released, kept, let_go, ready, .. } = wait;
    let meant = Meant {
        deferred: deferred.recipients,
        next: *next,
        suspended: suspended.recipients,
        resumes: *resumes,
        by: of.by.clone(),
        due: of.due.clone(),
        held: held.recipients,
        released: *released,
        kept: kept.recipients,
        let_go: *let_go,
        keeps: of.keeps.clone(),
        ready: ready.recipients,
    };
    (meant, std::slice::from_ref(wait))
}

/// Why these wait, in queues of their domain of which this is known.
fn reasons(
    of: &Meant,
    waits: &[DomainWait],
    [deferred, held]: &[Later; 2],
    now: UnixMillis,
) -> Vec<(Because, Option<UnixMillis>)> {
    let mut reasons = Vec::new();
    if of.deferred > 0 {
        // Of several sites the one that is tried first counts.
        let closed = |wait: &DomainWait| match &wait.way {
            Some(Ok(site)) => site.closed.as_ref().map_or(UnixMillis(0), |(until, ..)| *until),
            _ => UnixMillis(0),
        };
        let opens = waits.iter().map(closed).min().unwrap_or(UnixMillis(0));
        let next = of.next.map(|next| next.max(opens));
        let deaf = waits.iter().filter_map(|wait| wait.cause.as_ref());
        reasons.push(
            match deaf.map(|(cause, _)| cause).find(|cause| matches!(cause, Cause::LookUp { deaf: true, .. }))
            {
                Some(cause) => (words::ready((cause, None), None, of.deferred, now), next),
                None => words::later(words::next_try, of.deferred, next, deferred, now),
            },
        );
    }
    if of.suspended > 0 {
        let told = words::suspended(of.suspended, of.resumes, of.by.as_deref(), now);
        reasons.push((told, of.resumes));
    }
    if of.held > 0 {
        reasons.push(words::later(words::held, of.held, of.released, held, now));
    }
    if of.kept > 0 {
        reasons.push((words::kept(of.kept, of.keeps.as_deref()), of.let_go));
    }
    if of.ready > 0 {
        let held = waits.iter().find_map(|wait| Some((wait.cause.as_ref()?, wait)));
        reasons.push(match held {
            Some(((cause, until), wait)) => {
                let site = wait.way.as_ref().and_then(|way| way.as_deref().ok());
                (words::ready((cause, *until), site, of.ready, now), *until)
            }
            None => (words::because("unknown", "that is not known: ask again".to_owned(), of.ready), None),
        });
    }
    reasons
}

/// Like causes of several domains as one, that of most recipients first.
fn together(all: Vec<(Because, Option<UnixMillis>)>) -> Vec<Because> {
    let mut by_cause: BTreeMap<String, Vec<(Because, Option<UnixMillis>)>> = BTreeMap::new();
    for one in all {
        by_cause.entry(one.0.cause.clone()).or_default().push(one);
    }
    let one = |mut of: Vec<(Because, Option<UnixMillis>)>| {
        // The words are those of what ends first, and else of most of them.
        of.sort_by_key(|(one, until)| {
            (until.map_or(u64::MAX, |until| until.0), std::cmp::Reverse(one.recipients))
        });
        let (recipients, domains) = (of.iter().map(|(one, _)| one.recipients).sum(), of.len() as u64);
        let (first, until) = of.swap_remove(0);
        Because { recipients, domains, until: until.map(iso), ..first }
    };
    let mut causes: Vec<Because> = by_cause.into_values().map(one).collect();
    causes.sort_by_key(|one| std::cmp::Reverse(one.recipients));
    causes
}

async fn domain(api: &Api, name: &str, wait: &DomainWait, now: UnixMillis) -> Result<Domain, AskFailure> {
    let (site, no_site) = match &wait.way {
        Some(Ok(site)) => (Some(self::site(api, site).await?), None),
        Some(Err(why)) => (None, Some(why.to_string())),
        None => (None, None),
    };
    let state = wait.way.as_ref().and_then(|way| way.as_deref().ok());
    let because = wait.cause.as_ref().map(|(cause, until)| {
        let told = words::ready((cause, *until), state, wait.ready.recipients, now);
        Because { until: until.map(iso), ..told }
    });
    Ok(Domain {
        domain: name.to_owned(),
        pool: wait.egress.as_ref().map(|(pool, _)| pool.to_string()),
        source: wait.egress.as_ref().map(|(_, source)| source.to_string()),
        source_down: wait.source_down.as_ref().map(|(why, _)| why.to_string()),
        source_next_look: wait.source_down.as_ref().map(|(_, look)| iso(*look)),
        deferred: wait.deferred.recipients,
        next_try: wait.next.map(iso),
        suspended: wait.suspended.recipients,
        held: wait.held.recipients,
        ready: wait.ready.recipients,
        under_way: wait.under_way,
        because,
        site,
        no_site,
    })
}

/// A site, and which shards have connections to it.
async fn site(api: &Api, state: &SiteState) -> Result<Site, AskFailure> {
    let name: Arc<str> = state.name.as_str().into();
    let mut shards = Vec::new();
    for shard in (0..api.asker.shards()).filter(|_| state.used > 0) {
        let share = api.asker.ask(shard, |reply| Ask::Share(name.clone(), reply)).await?;
        if share.connections > 0 {
            shards.push(Share { shard, connections: share.connections, idle: share.idle });
        }
    }
    let (closed_until, failures, error) = match &state.closed {
        Some((until, failures, error)) => (Some(iso(*until)), *failures, Some(error.to_string())),
        None => (None, 0, None),
    };
    let provider = |of: &ask::why::ProviderState| Provider {
        provider: of.name.to_string(),
        connections: of.used,
        connections_max: of.limit.as_ref().map(|limit| limit.most),
        limit: of.limit.as_ref().map(|limit| limit.words.to_string()),
        rates: RateLines::of(&of.rates),
    };
    Ok(Site {
        site: state.name.clone(),
        route: state.route.clone(),
        hosts: state.hosts.clone(),
        connections: state.used,
        connections_max: state.most,
        limit: state.limit.words.to_string(),
        shards,
        rates: RateLines::of(&state.rates),
        window_rate: state.window_rate,
        ready: state.ready,
        closed_until,
        failures,
        error,
        providers: state.providers.iter().map(provider).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::destinations::known::Amount;

    const NOW: UnixMillis = UnixMillis(1_795_867_200_000);
    const NOTHING: [Later; 2] = [const { Later { free: None, suspended: None } }; 2];

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(NOW.0 + 1000 * seconds)
    }

    fn closed(until: u64) -> Option<Result<Box<SiteState>, ask::why::NoWay>> {
        let closed = Some((at(until), 2, "connection refused".into()));
        Some(Ok(Box::new(SiteState { closed, ..SiteState::default() })))
    }

    #[test]
    fn what_is_due_before_its_site_opens_waits_for_that() {
        let of = Meant { deferred: 3, next: Some(at(10)), ..Meant::default() };
        for (until, next) in [(5, 10), (60, 60)] {
            let wait = DomainWait { way: closed(until), ..DomainWait::default() };
            let [(because, found)] = &reasons(&of, &[wait], &NOTHING, NOW)[..] else { panic!("one cause") };
            assert_eq!((&*because.cause, because.recipients, *found), ("next_try", 3, Some(at(next))));
        }
        let two = [5, 60].map(|until| DomainWait { way: closed(until), ..DomainWait::default() });
        assert_eq!(reasons(&of, &two, &NOTHING, NOW)[0].1, Some(at(10)), "one of them is tried before");
    }

    #[test]
    fn what_is_put_off_as_no_name_server_answers_says_so() {
        let of = Meant { deferred: 3, next: Some(at(10)), ..Meant::default() };
        for (deaf, cause) in [(true, "name_servers"), (false, "next_try")] {
            let asked = Some((Cause::LookUp { seconds: 1, line: 0, deaf }, None));
            let wait = DomainWait { cause: asked, ..DomainWait::default() };
            let [(because, found)] = &reasons(&of, &[wait], &NOTHING, NOW)[..] else { panic!("one cause") };
            assert_eq!((&*because.cause, because.recipients, *found), (cause, 3, Some(at(10))));
        }
    }

    #[test]
    fn like_causes_are_one_with_their_number() {
        let wait = |ready, until| DomainWait {
            ready: Amount { groups: ready, recipients: ready },
            cause: Some((Cause::Closed { failures: 1, error: "refused".into() }, Some(at(until)))),
            way: closed(until),
            ..DomainWait::default()
        };
        let (waits, none) = ([wait(4, 50), wait(6, 20)], Meant::default());
        let mut all: Vec<_> = waits
            .iter()
            .flat_map(|wait| reasons(&by_queue(wait, &none).0, by_queue(wait, &none).1, &NOTHING, NOW))
            .collect();
        all.extend(reasons(
            &Meant { deferred: 400, next: Some(at(7)), ..Meant::default() },
            &[],
            &NOTHING,
            NOW,
        ));
        let causes = together(all);
        let told: Vec<_> = causes.iter().map(|one| (&*one.cause, one.recipients, one.domains)).collect();
        assert_eq!(told, [("next_try", 400, 1), ("site_closed", 10, 2)]);
        assert_eq!(causes[1].until, Some(iso(at(20))), "the first of them");
        let unknown = reasons(&Meant { ready: 1, ..Meant::default() }, &[], &NOTHING, NOW);
        assert_eq!(unknown[0].0.cause, "unknown");
    }
}
