//! Where the messages of a lane lie, for whoever reads their records: told from the index, a slice at a time. No disk is touched here.

use std::collections::HashMap;
use std::rc::Rc;

use crate::limits;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::answer::detail::{own_lane, text};
use crate::shard::answer::rest;
use crate::shard::ask::{IndexPage, Keys, Reply, ReplyRange, StoredAt};
use crate::spool::Lane;

/// A part of the index. None: nobody waits for it.
pub(super) async fn index<R: Runtime, T>(
    shard: &Rc<Shard<R>>,
    lane: u16,
    keys: Keys,
    replies: bool,
    reply: &Reply<T>,
) -> Option<IndexPage> {
    let mut page = IndexPage::default();
    let Some(writer) = own_lane(shard, lane) else { return Some(page) };
    let (mut at, end) = match &keys {
        Keys::From(first) => (*first, writer.lane().keys()),
        Keys::These(these) => (0, u32::try_from(these.len().min(limits::INDEX_PAGE_MAX)).unwrap_or(0)),
    };
    page.entries.reserve((end.saturating_sub(at) as usize).min(limits::INDEX_PAGE_MAX));
    while at < end && page.entries.len().max(page.said.len()) < limits::INDEX_PAGE_MAX {
        if !reply.is_wanted() {
            return None;
        }
        let begun = shard.runtime.now();
        let (mut looks, mut texts) = (0, HashMap::new());
        while at < end && looks < limits::ASK_LOOKS && page.entries.len() < limits::INDEX_PAGE_MAX {
            let key = match &keys {
                Keys::From(_) => at,
                Keys::These(these) => these[at as usize],
            };
            let ranges = tell(&mut page, &writer.lane(), key, replies.then_some(&mut texts));
            looks += 1 + ranges;
            at += 1;
        }
        rest::slice(shard, begun).await;
    }
    page.next = (at < end && matches!(keys, Keys::From(_))).then_some(at);
    Some(page)
}

/// Tells of a message; `texts` has the place of each text that was told in this turn: after it their numbers may mean something else. How
/// many ranges were looked at.
fn tell(page: &mut IndexPage, lane: &Lane, key: u32, texts: Option<&mut HashMap<u16, Option<u32>>>) -> usize {
    let (Some(entry), Some(id)) = (lane.entry(key), lane.id(key)) else { return 0 };
    let stored = StoredAt { key, id, at: (entry.slot, entry.offset), told: entry.told() };
    let Some(texts) = texts else {
        page.entries.push(stored);
        return 0;
    };
    let ranges = entry.live();
    let said = page.said.len();
    for range in ranges.iter() {
        let place = *texts.entry(range.reply).or_insert_with(|| {
            let words = text(lane.said(range).0.as_bytes());
            (!words.is_empty()).then(|| {
                page.texts.push(words);
                (page.texts.len() - 1) as u32
            })
        });
        let entry = page.entries.len() as u32;
        let said = place.map(|text| ReplyRange { entry, first: range.first, count: range.count, text });
        page.said.extend(said);
    }
    if page.said.len() > said {
        page.entries.push(stored);
    } else {
        page.passed += 1;
    }
    ranges.len()
}
