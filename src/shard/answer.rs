//! What control asks is answered here: one ask after the other, each a slice at a time, between everything else the shard does.
//!
//! Each ask is a task of its own that the shard can do without: what goes wrong in it ends it alone, and nothing that it set aside is
//! lost.

use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::queue::destinations::aside::next_domain;
use crate::queue::destinations::walk::{Slice, Walk};
use crate::queue::outcome::NO_END;
use crate::queue::select::{Filter, ScanPosition, WaitingGroup};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::answer::change::{Change, Returns};
use crate::shard::answer::clock::times;
use crate::shard::answer::hold::Holding;
use crate::shard::answer::rebind::Rebinding;
use crate::shard::ask::{Ask, Part, Reply, Row};
use crate::shard::inbound::submit;
use crate::shard::outbound::why::share;
use crate::shard::promise::{Fulfil, promise};
use crate::shard::swap;

pub(in crate::shard) mod change;
mod clock;
mod detail;
mod hold;
mod index;
mod overview;
mod rebind;
mod rest;
mod why;
mod written;

/// The immortal task behind all answers.
pub async fn answer<R: Runtime>(shard: Rc<Shard<R>>) {
    loop {
        let ask = shard.say.answering.next(shard.mesh.asks(), shard.index).await;
        if !ask.is_wanted() {
            continue;
        }
        let is_small = ask.is_small();
        let (done, end) = promise();
        let (own, done) = (shard.clone(), TurnGuard(Some(done)));
        shard.runtime.spawn(async move {
            let _done = done;
            answer_one(&own, ask).await;
        });
        end.await;
        // Where one ended in the middle, nobody stands there any more.
        Walk::abandon(&mut shard.outbound.destinations.borrow_mut());
        if is_small {
            shard.runtime.yield_now().await;
        } else {
            rest::answer(&shard).await;
        }
    }
}

/// However a task ends, the next has its turn.
struct TurnGuard(Option<Fulfil<()>>);

impl Drop for TurnGuard {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done.fulfil(());
        }
    }
}

async fn answer_one<R: Runtime>(shard: &Rc<Shard<R>>, ask: Ask) {
    match ask {
        Ask::Count(filter, from, reply) => walk(shard, filter, from, None, reply).await,
        Ask::List(filter, from, most, reply) => {
            walk(shard, filter, from, Some(most.min(limits::PAGE_ROWS)), reply).await;
        }
        Ask::Retry(filter, from, reply) => change(shard, &filter, from, &Change::Retry, reply).await,
        Ask::Bounce(filter, from, reason, reply) => {
            change(shard, &filter, from, &Change::Bounce(Returns::new(reason)), reply).await;
        }
        Ask::Hold(filter, from, (until, words), reply) => {
            change(shard, &filter, from, &Change::Hold(Holding::until(until, words)), reply).await;
        }
        Ask::Release(filter, from, reply) => {
            change(shard, &filter, from, &Change::Hold(Holding::release()), reply).await;
        }
        Ask::Rebind(filter, from, set, reply) => {
            change(shard, &filter, from, &Change::Rebind(Rebinding::new(set)), reply).await;
        }
        Ask::Index(lane, keys, replies, reply) => {
            if let Some(page) = index::index(shard, lane, keys, replies, &reply).await {
                reply.answer(page);
            }
        }
        Ask::Find(id, reply) => {
            if let Some(found) = detail::find(shard, id, &reply).await {
                reply.answer(found);
            }
        }
        Ask::Details(places, reply) => {
            if let Some(details) = detail::details(shard, &places, &reply).await {
                reply.answer(details);
            }
        }
        Ask::Prepare(live, reply) => swap::prepare(shard, live, reply).await,
        Ask::Generation(reply) => reply.answer(shard.live.generation()),
        Ask::Why(domain, reply) => why::why(shard, domain, reply).await,
        Ask::Share(site, reply) => reply.answer(share(shard, &site)),
        Ask::Forget(meant, dry, reply) => {
            reply.answer(shard.say.dialogues.borrow_mut().forget(|text| meant.is(text), dry));
        }
        Ask::Dialogues(id, reply) => reply.answer(shard.say.dialogues.borrow().of(id)),
        Ask::Trace(tracing, reply) => {
            shard.say.trace.watch(tracing);
            reply.answer(());
        }
        Ask::Summary(reply) => overview::summary(shard, reply).await,
        Ask::Sites(wanted, reply) => overview::sites(shard, wanted, reply).await,
        Ask::Store(letter, reply) => {
            let stored = submit::own(shard, *letter).await;
            reply.answer(stored.map(|_| ()));
        }
        Ask::Submit(parcel, reply) => {
            // Others are taken meanwhile, and are in one commit with it.
            let own = shard.clone();
            shard.runtime.spawn(async move {
                let taken = submit::parcel(&own, *parcel).await;
                reply.answer(taken);
            });
        }
        Ask::Show(lane, key, id, reply) => {
            let shown = detail::show(shard, lane, key, id).await;
            reply.answer(shown);
        }
    }
}

async fn walk<R: Runtime>(
    shard: &Rc<Shard<R>>,
    filter: Arc<Filter>,
    from: ScanPosition,
    most: Option<usize>,
    reply: Reply<Part>,
) {
    let looks = limits::ASK_LOOKS / filter.cost();
    let mut walk = Walk::new(filter, from, most, limits::ASK_BUDGET);
    let next = loop {
        let begun = shard.runtime.now();
        let slice = walk.step(&mut shard.outbound.destinations.borrow_mut(), times(shard), looks);
        match slice {
            Slice::Over(next) => break next,
            Slice::Unfinished if !reply.is_wanted() => return,
            Slice::Unfinished => rest::slice(shard, begun).await,
        }
    };
    let skips = u32::from(shard.runtime.planted(Defect::PageSkips));
    let next = next.map(|from| ScanPosition { domain: from.domain + skips, ..from });
    let row = |seen: WaitingGroup| {
        let group = &seen.group;
        Row {
            next: (group.not_before > 0 && group.not_before < NO_END)
                .then(|| shard.wall_of(group.not_before)),
            closed_until: seen.closed_until.map(|until| shard.wall_of(until)),
            expiry: shard.wall_of(group.expiry),
            now: shard.seconds(),
            seen,
        }
    };
    let rows = walk.rows.into_iter().map(row).collect();
    reply.answer(Part { rows, tally: walk.tally, next, ..Part::default() });
}

/// Goes through the domains and changes what is meant in them, until there are none, or it lasts too long, or nobody waits for it.
async fn change<R: Runtime>(
    shard: &Rc<Shard<R>>,
    filter: &Filter,
    from: ScanPosition,
    change: &Change,
    reply: Reply<Part>,
) {
    let until = shard.runtime.now() + limits::CHANGE_TIME;
    let mut part = Part { next: Some(from), ..Part::default() };
    while let Some(ScanPosition { domain, .. }) = part.next {
        if !reply.is_wanted() || shard.draining.get() {
            return;
        }
        if shard.runtime.now() >= until {
            break;
        }
        let found = next_domain(&shard.outbound.destinations.borrow(), filter, domain, limits::ASK_LOOKS);
        let next = match found {
            None => None,
            Some(Err(next)) => {
                shard.runtime.yield_now().await;
                Some(next)
            }
            Some(Ok(key)) => {
                let whole = change.domain(shard, key, filter, until, &mut part, || reply.is_wanted()).await;
                if !whole {
                    break;
                }
                Some(key.next())
            }
        };
        part.next = next.map(|domain| ScanPosition { domain, after: None });
    }
    part.unwritten = change.unwritten(shard, || reply.is_wanted()).await;
    reply.answer(part);
}
