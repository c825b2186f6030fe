//! Beside compact: recipients of a stored message get other parameters. Its record is written once more, as when it moves, and its body stays where it
//! is; then its recipients go home again, by what the record says. Whatever fails, they go home as they were.

use std::io;
use std::rc::Rc;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::message::Rebound;
use crate::shard::outbound::{handoff, pump};
use crate::shard::promise::promise;
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::{self, StoredRecord};
use crate::spool::batch::Moved;
use crate::spool::rebind::differs;
use crate::spool::record::Extent;

/// A group that an operator wants something else of, on the shard of its lane.
pub(in crate::shard) fn take<R: Runtime>(shard: &Rc<Shard<R>>, rebound: Box<Rebound>) {
    let own = shard.clone();
    // Counted from here on: a drain waits for it.
    shard.outbound.settling.set(shard.outbound.settling.get() + 1);
    shard.runtime.spawn_vital("rebind", async move {
        rebind(&own, &rebound).await;
        own.outbound.settling.set(own.outbound.settling.get() - 1);
    });
}

async fn rebind<R: Runtime>(shard: &Rc<Shard<R>>, rebound: &Rebound) {
    let group = &rebound.group;
    let mut left = limits::REBINDS_TRIED;
    let end = loop {
        match write(shard, rebound).await {
            Ok(true) => break Ok(()),
            Ok(false) if left == 0 => break Err(io::Error::other("it moves again and again")),
            Ok(false) => left -= 1,
            Err(error) => break Err(error),
        }
    };
    match end {
        Ok(()) => rebound.receipt.written(),
        Err(error) => {
            let id = shard.writer(group.location.lane).lane().id(group.key);
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            shard.say(
                Level::Warning,
                format_args!("message {id} cannot be rebound: {error}; it stays as it was"),
            );
        }
    }
    let place = Pinned::new(shard, group.key, group.location);
    let source = StoredRecord::read(shard, place.location).await;
    match source.as_ref().ok().and_then(|source| source.view().ok()) {
        Some(view) => handoff::rebound(shard, group, &view),
        // Whoever tries it says that it cannot be read.
        None => handoff::back(shard, rebound),
    }
    pump::give_credit(shard, usize::from(rebound.home), group.location.lane, 1);
}

/// Writes the record anew. True: it says what is wanted. False: it is to be looked at again, as it moved, or was written.
async fn write<R: Runtime>(shard: &Rc<Shard<R>>, rebound: &Rebound) -> io::Result<bool> {
    let Rebound { group, set, .. } = rebound;
    let writer = shard.writer(group.location.lane);
    let moved = {
        let place = Pinned::new(shard, group.key, group.location);
        let sequence = writer.lane().segment(place.location.slot).map(|(_, sequence)| sequence);
        let source = StoredRecord::read(shard, place.location).await?;
        let view = source.view()?;
        if !differs(&view, (group.first, group.count), set) {
            return Ok(true);
        }
        if group.key >= limits::MOVABLE_KEYS {
            return Err(io::Error::other("its lane has more messages than can be written anew"));
        }
        // As what clients bring: the segments that are kept aside are for outcomes.
        if !writer.lane().may_accept() {
            return Err(io::Error::other("its lane has no room for another record"));
        }
        let extents: Vec<Extent> = view.extents().collect();
        let from = (group.key, place.location, sequence.ok_or_else(load::damaged)?);
        let mut moved = Moved::new(from, source.payload()?, extents, Vec::new(), Vec::new())
            .map_err(|_| load::damaged())?;
        moved
            .rebind((group.first, group.count), set)
            .map_err(|_| io::Error::other("its recipients would have too many parameters"))?;
        moved
    };
    if shard.runtime.planted(Defect::RebindForgotten) {
        return Ok(true);
    }
    let (fulfil, written) = promise();
    writer.push_moves(shard.runtime.now(), vec![moved], fulfil);
    written.await;
    Ok(false)
}
