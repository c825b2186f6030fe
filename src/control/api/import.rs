//! A table comes on the suppression list: read as it comes, sorted on a thread that may block, and merged with the list at its end. Nothing of it is
//! in force before all of it is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{RawQuery, Request, State};
use axum::response::Response;

use super::actor::Actor;
use super::answers::{Api, Problem, json};
use super::lasting::Working;
use super::shape::suppression::{SuppressionImported, WrongLine};
use super::suppression::{expires, reason};
use crate::control::suppression::{KeepError, Runs, Trouble};
use crate::limits;
use crate::observe::event::{Admin, ListChange};
use crate::policy::suppression::entry::{Entry, Reason};
use crate::policy::suppression::exchange::{Defaults, Import, Summary};
use crate::policy::suppression::merge::Counts;
use crate::runtime::process;
use crate::time::UnixMillis;

/// Where it is asked for.
pub(in crate::control) const PATH: &str = "/control/v1/suppressions/import";

/// One imports, or has an address forgotten, at a time.
pub(super) struct Turn(Arc<AtomicBool>);

impl Turn {
    pub fn take(importing: &Arc<AtomicBool>) -> Result<Turn, Problem> {
        if importing.swap(true, Ordering::SeqCst) {
            return Err(Problem::Busy(
                "somebody else imports or erases just now: try again when that is over",
            ));
        }
        Ok(Turn(importing.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Imports a table.
pub(super) async fn import(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Extension(working): Extension<Working>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let (defaults, until) = asked(query)?;
    let turn = Turn::take(&api.importing)?;
    let runs = api.lists.sort().await.ok_or(Problem::Undecided)?.map_err(Problem::List)?;
    let (pieces, given) = sync_channel(limits::SUPPRESSION_PIECES_MAX);
    // It has the turn until it ends, also where whoever asked has gone.
    let sorting = tokio::task::spawn_blocking(move || (sort(runs, (defaults, until), &given), turn));
    let read = take_in(request.into_body(), &pieces, &working).await;
    drop(pieces);
    let (sorted, turn) = sorting.await.map_err(|_| Problem::Broken)?;
    read?;
    let (runs, summary) =
        sorted.map_err(|trouble| Problem::List(KeepError::File("suppression".into(), trouble)))?;
    let counts = if runs.offered() == 0 { Counts::default() } else { merged(&api, runs, &working).await? };
    drop(turn);
    if counts.added > 0
        && let Some(teller) = &api.admin
    {
        let by = actor.to_string();
        teller.tell(Admin::Suppress(ListChange {
            by: &by,
            filter: "",
            reason: "import",
            entries: counts.added,
        }));
        api.journal().await;
    }
    let Summary { entries: lines, wrong, told, over, undated } = summary;
    let told = told.into_iter().map(|(line, bad)| WrongLine { line, problem: bad.to_string() }).collect();
    let Counts { entries, added, known, .. } = counts;
    Ok(json(&SuppressionImported { lines, added, known, over, undated, wrong, told, entries }))
}

fn asked(query: Option<String>) -> Result<(Defaults, Option<UnixMillis>), Problem> {
    let mut defaults = Defaults { tenant: None, reason: Reason::Imported, now: process::wall() };
    let mut until = None;
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "tenant" => defaults.tenant = Some(value.into_owned()).filter(|tenant| !tenant.is_empty()),
            "reason" => defaults.reason = reason(&value)?,
            "expires" => until = Some(expires(&value)?),
            other => {
                let words =
                    format!("{other} is nothing that an import is told: tenant, reason and expires are");
                return Err(Problem::Wrong(words));
            }
        }
    }
    let probe = Entry {
        tenant: defaults.tenant.as_deref(),
        address: "a@b",
        reason: defaults.reason,
        added: defaults.now,
        expires: None,
        note: "",
    };
    if probe.is_sound() { Ok((defaults, until)) } else { Err(Problem::List(KeepError::Text)) }
}

/// Passes on what comes.
async fn take_in(mut body: Body, pieces: &SyncSender<Bytes>, working: &Working) -> Result<(), Problem> {
    let mut bytes = 0;
    loop {
        let next = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let next = tokio::time::timeout(limits::SUPPRESSION_IMPORT_SILENCE, next).await;
        let frame = match next {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) | Err(_) => {
                let words = "the table broke off in the middle: nothing of it is on the list";
                return Err(Problem::Wrong(words.to_owned()));
            }
        };
        working.goes_on();
        let Ok(mut piece) = frame.into_data() else { continue };
        bytes += piece.len() as u64;
        if bytes > limits::SUPPRESSION_IMPORT_MAX {
            return Err(Problem::Wrong("the table is too large: nothing of it is on the list".to_owned()));
        }
        while let Err(TrySendError::Full(back)) = pieces.try_send(piece) {
            piece = back;
            tokio::time::sleep(limits::CONTROL_ROUND / 20).await;
        }
    }
}

/// Sorts what comes, to its end.
fn sort(
    mut runs: Runs,
    (defaults, until): (Defaults, Option<UnixMillis>),
    given: &Receiver<Bytes>,
) -> Result<(Runs, Summary), Trouble> {
    process::stand_back();
    let mut table = Import::new(defaults);
    let mut offer = |entry: &Entry<'_>| runs.offer(&Entry { expires: entry.expires.or(until), ..*entry });
    let mut failed = None;
    // Whoever sends is heard to the end: then he reads why it failed.
    for piece in given {
        if failed.is_none() {
            failed = table.feed(&piece, &mut offer).err();
        }
    }
    match failed {
        Some(trouble) => Err(trouble),
        None => table.finish(&mut offer).map(|summary| (runs, summary)),
    }
}

/// Waits until it is on the list.
pub(super) async fn merged(api: &Api, runs: Runs, working: &Working) -> Result<Counts, Problem> {
    let mut told = api.lists.merge(runs).ok_or(Problem::Undecided)?;
    loop {
        match tokio::time::timeout(limits::HTTP_REQUEST / 4, &mut told).await {
            Ok(Ok(made)) => return made.map_err(Problem::List),
            Ok(Err(_)) => return Err(Problem::Undecided),
            Err(_) => working.goes_on(),
        }
    }
}
