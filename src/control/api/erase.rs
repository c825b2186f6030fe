//! `POST /control/v1/erase`: an address is forgotten.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Bytes, to_bytes};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use tokio::time::Instant;

use super::actor::Actor;
use super::answers::{Api, Problem, json, read};
use super::import::Turn;
use super::lasting::Working;
use super::queue;
use super::shape::CountPage;
use super::shape::erase::{Erase, Erased, ErasedPlace};
use crate::control::erase::{Asked, Needle};
use crate::limits;
use crate::observe::event::{Admin, ListChange};
use crate::policy::suppression::canonical::{Kind, canonical};
use crate::policy::suppression::entry::OwnedEntry;
use crate::shard::ask::{Ask, Meant};

/// Forgets one.
pub(super) async fn erase(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Extension(working): Extension<Working>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: Erase = read(&body)?;
    let wrong = || Problem::Wrong("which address? give one, as ada@example.org".to_owned());
    let needle = Needle::new(&asked.address).ok_or_else(wrong)?;
    let Some(eraser) = api.eraser.clone() else {
        return Err(Problem::NotFound(
            "no journal of events is kept, so no log and nothing else names people".to_owned(),
        ));
    };
    let _turn = Turn::take(&api.importing)?;
    let queued = waiting(&api, &asked.address, &working).await;
    // What was told before is written.
    api.journal().await;
    let last = eraser.end_segment(asked.dry_run);
    let order = Arc::new(Asked::new(needle.clone(), asked.dry_run));
    let (own, of_logs) = (eraser.clone(), order.clone());
    let mut places = patiently(&working, move || own.erase(&of_logs)).await?;
    places.push(suppressed(&api, &asked, &working).await?);
    places.push(dialogues(&api, &needle, asked.dry_run).await?);
    let name = eraser.hash(&asked.address);
    let count = places.iter().map(|place| place.erased).sum();
    if let Some(teller) = &api.admin
        && !asked.dry_run
    {
        let by = actor.to_string();
        let reason = if asked.suppression { "suppression" } else { "" };
        // It begins the segment behind which all can go.
        teller.tell(Admin::Erase(ListChange { by: &by, filter: &name, reason, entries: count }));
        api.journal().await;
    }
    let journal = patiently(&working, move || eraser.let_go(last, &order)).await?;
    places.extend(journal);
    places.push(ErasedPlace::left(
        "spool",
        "mail that waits is untouched; of mail that has left, records stay in segments of lanes until these are used again or removed",
    ));
    Ok(json(&Erased { dry_run: asked.dry_run, name, places, queued }))
}

/// Does something that waits for disks, however long that takes.
pub(super) async fn patiently<T: Send + 'static>(
    working: &Working,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let mut done = tokio::task::spawn_blocking(work);
    loop {
        match tokio::time::timeout(limits::HTTP_REQUEST / 4, &mut done).await {
            Ok(done) => return done.map_err(|_| Problem::Broken),
            Err(_) => working.goes_on(),
        }
    }
}

/// Recipients of the address whose mail waits.
async fn waiting(api: &Arc<Api>, address: &str, working: &Working) -> Option<u64> {
    let until = Instant::now() + limits::ERASE_SEARCH;
    let (mut found, mut cursor) = (0, String::new());
    while Instant::now() < until {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("recipient", address)
            .append_pair("cursor", &cursor)
            .finish();
        let answer = queue::count(State(api.clone()), RawQuery(Some(query))).await.ok()?;
        let text = to_bytes(answer.into_body(), limits::HTTP_BODY_MAX).await.ok()?;
        let page: CountPage = serde_json::from_slice(&text).ok()?;
        working.goes_on();
        found += page.count.recipients;
        match page.next {
            Some(next) => cursor = next,
            None => return Some(found),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

/// Takes it from the suppression list where that is asked for, and from what is counted for it.
async fn suppressed(api: &Api, asked: &Erase, working: &Working) -> Result<ErasedPlace, Problem> {
    const NAME: &str = "suppression list";
    let address = canonical(&asked.address).unwrap_or_default();
    let mut tenants: Vec<String> = api.reload.iter().flat_map(|reload| reload.tenants()).collect();
    tenants.extend(api.mesh.known_tenants().behind(0).iter().map(|name| name.to_string()));
    tenants.sort();
    tenants.dedup();
    let entries = api.lists.check(address.clone(), tenants).await.ok_or(Problem::Undecided)?;
    let entries = entries.map_err(Problem::List)?;
    let of_it = entries.iter().filter_map(|record| record.entry());
    let of_it = of_it.filter(|entry| entry.kind() == Kind::Address && entry.address == address);
    let of_it: Vec<OwnedEntry> = of_it
        .map(|entry| OwnedEntry {
            tenant: entry.tenant.map(str::to_owned),
            address: entry.address.to_owned(),
            reason: entry.reason,
            added: entry.added,
            expires: entry.expires,
            note: String::new(),
        })
        .collect();
    let found = of_it.len() as u64;
    if asked.dry_run {
        return Ok(ErasedPlace::found(NAME, found, true));
    }
    if !asked.suppression {
        let left = "it stays there, so that no mail goes to it; --suppression takes it off";
        let left = (found > 0).then(|| left.to_owned());
        return Ok(ErasedPlace { found, left, ..ErasedPlace::found(NAME, 0, false) });
    }
    let counted = api.lists.forget(address).await.ok_or(Problem::Undecided)?.map_err(Problem::List)?;
    if found > 0 {
        api.lists.remove(of_it).await.ok_or(Problem::Undecided)?.map_err(Problem::List)?;
        // What was taken off stands in changes, and in the file, until another one is made.
        let runs = api.lists.sort().await.ok_or(Problem::Undecided)?.map_err(Problem::List)?;
        super::import::merged(api, runs, working).await?;
    }
    Ok(ErasedPlace::found(NAME, found + counted, false))
}

/// Forgets what was said in attempts of late.
async fn dialogues(api: &Api, needle: &Needle, dry: bool) -> Result<ErasedPlace, Problem> {
    let mut found = 0;
    for shard in 0..api.mesh.shards() {
        let needle = needle.clone();
        let meant = Meant::new(move |text| needle.is_in(text));
        found += api.asker.ask(shard, |reply| Ask::Forget(meant, dry, reply)).await? as u64;
    }
    Ok(ErasedPlace::found("dialogues of failed attempts", found, dry))
}
