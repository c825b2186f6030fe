//! Beside deliver: mail that is captured. A thread of control keeps it (`shard/capturing`), many messages in one write; when that is on disk, and not
//! before, its recipients have their end.

use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::names::ends::End;
use crate::queue::destinations::SiteKey;
use crate::queue::outcome::Ended;
use crate::queue::schedule;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::capturing::{Capture, Captured};
use crate::shard::message::Job;
use crate::shard::outbound::settle::Way;
use crate::shard::outbound::site::{Site, Work};
use crate::shard::outbound::work::GroupUnderWay;
use crate::shard::outbound::{pump, settle, tally};
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::{self, StoredRecord};
use crate::time::Instant;

/// Groups that were handed to the thread, and those that it could not be asked about.
struct Batch<'a, R: Runtime> {
    asked: Vec<(GroupUnderWay<'a, R>, Arc<Capture>)>,
    /// Some had no room.
    is_full: bool,
}

/// All that is ready is kept. `proven` hears of each message that was.
pub(super) async fn end<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>, proven: impl Fn()) {
    while !shard.draining.get() {
        let batch = take(shard, key, site).await;
        if batch.asked.is_empty() && !batch.is_full {
            return;
        }
        let until = shard.runtime.now() + limits::CAPTURE_KEPT;
        for (under_way, capture) in batch.asked {
            let job = under_way.job;
            let is_early = shard.runtime.planted(Defect::CaptureSettledFirst);
            let kept = if is_early { Some(true) } else { answer(shard, &capture, until).await };
            match kept {
                Some(true) => {
                    let ended = Ended::Local(End::Captured);
                    let told = || under_way.settled();
                    settle::whole_by(shard, &job, ended, ("", Way::default(), told)).await;
                    proven();
                }
                Some(false) => defer(shard, site, &under_way, "451 4.3.0 the sandbox cannot keep it now"),
                // Dropping it puts it back: what the thread keeps of it yet is the same when it comes again.
                None => {}
            }
        }
        if batch.is_full && !shard.draining.get() {
            shard.timers.sleep_until(shard.runtime.now() + limits::CAPTURE_AGAIN).await;
        }
    }
}

/// Hands over some of what is ready.
async fn take<'a, R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &'a Rc<Site>) -> Batch<'a, R> {
    let mut batch = Batch { asked: Vec::new(), is_full: false };
    while batch.asked.len() < limits::CAPTURES_AT_ONCE && !shard.draining.get() {
        match pump::take(shard, key, site) {
            Work::Expired(job) => settle::expired(shard, &job),
            Work::Job(job) => {
                let under_way = GroupUnderWay::new(shard, site, job);
                match ask(shard, &job).await {
                    Ok(Some(capture)) => batch.asked.push((under_way, capture)),
                    // Dropping it puts it back.
                    Ok(None) => {
                        batch.is_full = true;
                        break;
                    }
                    Err(_) => defer(shard, site, &under_way, "451 4.3.0 the message cannot be read"),
                }
            }
            Work::Nothing => break,
        }
    }
    batch
}

/// Asks for one group to be kept. None: not now. An error: the spool cannot give it back.
async fn ask<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job) -> std::io::Result<Option<Arc<Capture>>> {
    let group = &job.group;
    let place = Pinned::new(shard, group.key, group.location);
    let record = StoredRecord::read(shard, place.location).await?;
    let view = record.view()?;
    let capturing = &shard.mesh.capturing;
    let size = usize::try_from(view.size).map_err(|_| load::damaged())?;
    let Some(room) = capturing.room(size) else { return Ok(None) };
    let recipients: Vec<(u16, Box<[u8]>)> = view
        .recipients()
        .enumerate()
        .skip(group.first.into())
        .take(group.count.into())
        .map(|(ordinal, (address, _))| (ordinal as u16, address.into()))
        .collect();
    let single = recipients.first().filter(|_| view.count == 1).map(|(_, address)| &address[..]);
    let mut bytes = Vec::new();
    view.front(&shard.boot.node.hostname, single).write(&mut bytes);
    bytes.reserve_exact(size);
    for extent in view.extents() {
        bytes.extend_from_slice(&load::read_extent(shard, group.location.lane, extent).await?);
    }
    let message = Captured {
        id: view.id,
        arrival: view.arrival,
        account: view.account.unwrap_or_default().into(),
        sender: view.sender.into(),
        recipients,
        bytes,
    };
    Ok(capturing.ask(message, room))
}

/// Waits until the thread says what became of one. None: it takes too long, or the node stops.
async fn answer<R: Runtime>(shard: &Rc<Shard<R>>, capture: &Capture, until: Instant) -> Option<bool> {
    while !shard.draining.get() && shard.runtime.now() < until {
        if let Some(kept) = capture.kept() {
            return Some(kept);
        }
        shard.timers.sleep_until(shard.runtime.now() + limits::CAPTURE_LOOK).await;
    }
    capture.kept()
}

/// It is tried again later, as where a host does not take it.
fn defer<R: Runtime>(shard: &Rc<Shard<R>>, site: &Site, under_way: &GroupUnderWay<'_, R>, reply: &str) {
    let job = under_way.job;
    let attempts = job.group.attempts.saturating_add(1);
    let retry = &site.policy.borrow().retry.clone();
    let next = schedule::next_attempt(retry, attempts, shard.seconds_up(), shard.runtime.random());
    under_way.settled();
    settle::whole(shard, &job, tally::deferred((attempts, next), reply.into(), true));
}
