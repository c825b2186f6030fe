//! Filters by what only records tell: the recipients that they mean are looked for here, and shards are asked about these.
//!
//! A search goes on while somebody asks for it: each request does a part of it, and the cursor that it gives names the search. When it is over,
//! pages, counts and changes are answered from memory as all others are, of what still waits by then.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::control::api::shape::ScanProgress;
use crate::control::asker::Asker;
use crate::limits;
use crate::queue::select::Filter;
use crate::runtime::process;
use scan::{Pace, Scan};

pub(in crate::control) mod content;
mod read;
mod scan;

pub(super) use scan::Unfinished;

/// All searches of commands that have not ended.
pub(super) struct Searches {
    data_dir: PathBuf,
    lanes: usize,
    kept: Mutex<Vec<Search>>,
    /// All read at this pace together.
    pace: Arc<Pace>,
    /// So many at one time.
    most: usize,
}

struct Search {
    id: u32,
    /// What was asked.
    filter: Arc<Filter>,
    used: Instant,
    state: SearchState,
}

enum SearchState {
    Reading(Box<Scan>),
    /// A request goes on with it.
    Taken,
    /// The filter with what was found.
    Over(Arc<Filter>, ScanProgress),
}

/// Why a search does not go on.
#[derive(Debug)]
pub(super) enum NoSearch {
    /// It was given up since, or was never.
    Gone,
    /// It was for another filter.
    Other,
    /// Another request goes on with it, or there are too many.
    Busy,
    /// See there.
    Unfinished(Unfinished),
}

/// How far a search is.
pub(super) struct Searched {
    pub scanned: ScanProgress,
    /// The filter as shards want it; None: it is not over.
    pub filter: Option<Arc<Filter>>,
}

impl Searches {
    pub(super) fn new(data_dir: PathBuf, lanes: usize) -> Searches {
        Searches {
            data_dir,
            lanes,
            kept: Mutex::default(),
            pace: Arc::new(Pace::new(Instant::now())),
            most: limits::SEARCHES_MAX,
        }
    }

    /// For others, so many of them at one time: what they search for takes no place of these.
    pub(super) fn beside(&self, most: usize) -> Searches {
        let (data_dir, pace) = (self.data_dir.clone(), self.pace.clone());
        Searches { data_dir, lanes: self.lanes, kept: Mutex::default(), pace, most }
    }

    /// Begins a search among so many messages.
    pub(super) fn begin(self: &Arc<Searches>, filter: &Arc<Filter>, messages: u64) -> Result<u32, NoSearch> {
        let now = Instant::now();
        let scan = Scan::new(filter.clone(), self.data_dir.clone(), self.lanes, messages);
        let id = u32::from_le_bytes(process::random_bytes());
        let mut kept = self.kept();
        kept.retain(|search| search.is_wanted(now));
        if kept.len() >= self.most {
            let idle = |search: &&Search| !matches!(search.state, SearchState::Taken);
            let oldest = kept.iter().filter(idle).min_by_key(|search| search.used).map(|search| search.id);
            let oldest = oldest.ok_or(NoSearch::Busy)?;
            kept.retain(|search| search.id != oldest);
        }
        kept.push(Search {
            id,
            filter: filter.clone(),
            used: now,
            state: SearchState::Reading(Box::new(scan)),
        });
        drop(kept);
        tokio::spawn(forget(Arc::downgrade(self), id));
        Ok(id)
    }

    /// Goes on with a search until then, at the most.
    pub(super) async fn go_on(
        &self,
        asker: &Asker,
        id: u32,
        filter: &Filter,
        until: Instant,
    ) -> Result<Searched, NoSearch> {
        let mut scan = {
            let mut kept = self.kept();
            let search = kept.iter_mut().find(|search| search.id == id).ok_or(NoSearch::Gone)?;
            if !search.filter.same_question_as(filter) {
                return Err(NoSearch::Other);
            }
            search.used = Instant::now();
            match std::mem::replace(&mut search.state, SearchState::Taken) {
                SearchState::Reading(scan) => scan,
                SearchState::Taken => return Err(NoSearch::Busy),
                SearchState::Over(filter, scanned) => {
                    search.state = SearchState::Over(filter.clone(), scanned);
                    return Ok(Searched { scanned, filter: Some(filter) });
                }
            }
        };
        // A request that is given up, or fails, ends the search.
        let mut taken = SearchLease { searches: self, id, state: None };
        let found = scan.go_on(asker, &self.pace, until).await.map_err(NoSearch::Unfinished)?;
        let scanned = scan.scanned;
        let filter = found.map(|found| Arc::new(Filter { found: Some(Arc::new(found)), ..filter.clone() }));
        taken.state = Some(match &filter {
            Some(filter) => SearchState::Over(filter.clone(), scanned),
            None => SearchState::Reading(scan),
        });
        Ok(Searched { scanned, filter })
    }

    /// Nobody asks for it any more.
    pub(super) fn end(&self, id: u32) {
        self.kept().retain(|search| search.id != id);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Search>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Search {
    fn is_wanted(&self, now: Instant) -> bool {
        matches!(self.state, SearchState::Taken) || now < self.used + limits::SEARCH_KEPT
    }
}

/// A search whose asker went away is let go.
async fn forget(searches: std::sync::Weak<Searches>, id: u32) {
    loop {
        tokio::time::sleep(limits::SEARCH_KEPT).await;
        let Some(searches) = searches.upgrade() else { return };
        let now = Instant::now();
        let mut kept = searches.kept();
        kept.retain(|search| search.id != id || search.is_wanted(now));
        if kept.iter().all(|search| search.id != id) {
            return;
        }
    }
}

/// The right to go on with a search.
struct SearchLease<'a> {
    searches: &'a Searches,
    id: u32,
    state: Option<SearchState>,
}

impl Drop for SearchLease<'_> {
    fn drop(&mut self) {
        let Some(state) = self.state.take() else { return self.searches.end(self.id) };
        if let Some(search) = self.searches.kept().iter_mut().find(|search| search.id == self.id) {
            (search.state, search.used) = (state, Instant::now());
        }
    }
}
