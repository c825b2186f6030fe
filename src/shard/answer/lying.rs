//! Where the messages of a lane lie, for whoever reads their records: told from the index, a slice at a time. No disk is touched here.

use std::collections::HashMap;
use std::rc::Rc;

use crate::limits;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::answer::detail::{own_lane, text};
use crate::shard::ask::{Keys, Lies, Lying, Reply, Said};
use crate::spool::Lane;

/// A part of the index. None: nobody waits for it.
pub(super) async fn lying<R: Runtime, T>(
    shard: &Rc<Shard<R>>,
    lane: u16,
    keys: Keys,
    replies: bool,
    reply: &Reply<T>,
) -> Option<Lying> {
    let mut lying = Lying::default();
    let Some(writer) = own_lane(shard, lane) else { return Some(lying) };
    let (mut at, end) = match &keys {
        Keys::From(first) => (*first, writer.lane.borrow().keys()),
        Keys::These(these) => (0, u32::try_from(these.len().min(limits::LYING_MAX)).unwrap_or(0)),
    };
    lying.entries.reserve((end.saturating_sub(at) as usize).min(limits::LYING_MAX));
    while at < end && lying.entries.len().max(lying.said.len()) < limits::LYING_MAX {
        if !reply.is_wanted() {
            return None;
        }
        let (mut looks, mut texts) = (0, HashMap::new());
        while at < end && looks < limits::ASK_LOOKS && lying.entries.len() < limits::LYING_MAX {
            let key = match &keys {
                Keys::From(_) => at,
                Keys::These(these) => these[at as usize],
            };
            let ranges = tell(&mut lying, &writer.lane.borrow(), key, replies.then_some(&mut texts));
            looks += 1 + ranges;
            at += 1;
        }
        shard.runtime.yield_now().await;
    }
    lying.next = (at < end && matches!(keys, Keys::From(_))).then_some(at);
    Some(lying)
}

/// Tells of a message; `texts` has the place of each text that was told in this turn: after it their numbers may mean something else. How
/// many ranges were looked at.
fn tell(lying: &mut Lying, lane: &Lane, key: u32, texts: Option<&mut HashMap<u16, Option<u32>>>) -> usize {
    let (Some(entry), Some(id)) = (lane.entry(key), lane.id(key)) else { return 0 };
    let lies = Lies { key, id, at: (entry.slot, entry.offset), told: entry.told() };
    let Some(texts) = texts else {
        lying.entries.push(lies);
        return 0;
    };
    let ranges = entry.live();
    let said = lying.said.len();
    for range in ranges.iter() {
        let place = *texts.entry(range.reply).or_insert_with(|| {
            let words = text(lane.reply(range.reply).as_bytes());
            (!words.is_empty()).then(|| {
                lying.texts.push(words);
                (lying.texts.len() - 1) as u32
            })
        });
        let entry = lying.entries.len() as u32;
        let said = place.map(|text| Said { entry, first: range.first, count: range.count, text });
        lying.said.extend(said);
    }
    if lying.said.len() > said {
        lying.entries.push(lies);
    } else {
        lying.passed += 1;
    }
    ranges.len()
}
