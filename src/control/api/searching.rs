//! Filters by what records tell are searched for before shards are asked. Every answer meanwhile says how far that is, and where to go on.

use std::sync::Arc;

use tokio::time::Instant;

use super::answers::{Api, Problem};
use super::shape::ScanProgress;
use crate::control::asker::AskFailure;
use crate::limits;
use crate::queue::select::{Filter, ScanPosition};

/// What is asked for, as shards want it.
pub(super) enum PreparedQuestion {
    /// There is no such mail.
    Nothing,
    /// It is looked for: where to go on.
    Searching(ScanProgress, String),
    /// Ask.
    Go(Question),
}

/// What shards are asked, and from where on.
pub(super) struct Question {
    pub filter: Arc<Filter>,
    pub place: (usize, ScanPosition),
    /// The search it comes from.
    search: Option<u32>,
    pub scanned: Option<ScanProgress>,
}

/// Between the number of a search and the cursor among what it found.
const OF_SEARCH: char = '~';

/// Searches, if that is wanted, for as long as an answer may be waited for.
pub(super) async fn ready(
    api: &Api,
    filter: Filter,
    cursor: Option<&str>,
) -> Result<PreparedQuestion, Problem> {
    let cursor = cursor.unwrap_or_default();
    let (search, cursor) = match cursor.split_once(OF_SEARCH) {
        Some((search, rest)) => (u32::from_str_radix(search, 16).ok(), rest),
        None => (None, cursor),
    };
    let place = api.asker.place(Some(cursor))?;
    let mut filter = filter;
    if filter.wants_judge() {
        let reload = api.reload.as_ref().ok_or(Problem::Unanswered(AskFailure::NotServing))?;
        filter.judged = Some(reload.judge(&filter)?);
    }
    let Some(filter) = api.asker.prepared(filter).await? else { return Ok(PreparedQuestion::Nothing) };
    if !filter.wants_search() {
        return Ok(PreparedQuestion::Go(Question { filter, place, search: None, scanned: None }));
    }
    let messages = || api.instruments.iter().map(|shard| shard.counters.spool_messages.get()).sum();
    let id = match search {
        Some(id) => id,
        None => api.searches.begin(&filter, messages())?,
    };
    let until = Instant::now() + limits::SEARCH_TURN;
    let searched = api.searches.go_on(&api.asker, id, &filter, until).await?;
    let scanned = searched.scanned;
    Ok(match searched.filter {
        Some(filter) => {
            PreparedQuestion::Go(Question { filter, place, search: Some(id), scanned: Some(scanned) })
        }
        None => PreparedQuestion::Searching(scanned, format!("{id:x}{OF_SEARCH}")),
    })
}

impl Question {
    /// The text of where to go on. Where there is nothing more, the search is over too.
    pub(super) fn next(&self, api: &Api, next: Option<(usize, ScanPosition)>) -> Option<String> {
        match (next, self.search) {
            (None, search) => {
                search.inspect(|id| api.searches.end(*id));
                None
            }
            (Some((shard, from)), None) => Some(api.asker.cursor(shard, from)),
            (Some((shard, from)), Some(id)) => {
                Some(format!("{id:x}{OF_SEARCH}{}", api.asker.cursor(shard, from)))
            }
        }
    }
}
