//! Beside dispatch: a home shard that has no time for a hot destination lends some of its queue.
//!
//! A loan is a batch of jobs, taken from the queue in its order and with their credits, and where they go. The borrower
//! delivers them over connections of its own, which count against the site's limit like all others; outcomes go from there to
//! the shards of the lanes, and what is to be tried again comes home. So order, retries, back-off and limits stay with the home
//! shard, and a message costs it a place in two messages.
//!
//! A loan is small and the next one comes when the last is worked off, so a borrower takes as much as it has time for. One
//! that cannot connect, or does not get to it, gives the jobs back untouched and is left alone for a while.

use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::{SiteKey, Take};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::message::{Loan, ShardMessage};
use crate::shard::outbound::borrow::measure;
use crate::shard::outbound::site::Site;
use crate::shard::outbound::{settle, tenants};
use crate::time::Instant;

/// Lends what a site has more than this shard gets to, if it has more to do than time.
pub(super) fn lend<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>) {
    let lending = &shard.outbound.lending;
    let now = shard.timers.recent();
    if now < lending.next_look.get() || shard.draining.get() {
        return;
    }
    lending.next_look.set(now + limits::LEND_LOOK);
    measure(shard);
    if !lending.busy.get() || (is_shared(shard, key, site) && !is_long_busy(shard)) {
        return;
    }
    let ready = shard.outbound.destinations.borrow().ready(key, shard.seconds());
    let borrowers = borrowers(shard, site, ready, now);
    let share = ready / (borrowers.len() + 1);
    for borrower in borrowers {
        grant(shard, key, site, borrower, share);
    }
}

/// The shards that have more time than this one: those first that have something of ours, as they are connected.
fn borrowers<R: Runtime>(shard: &Shard<R>, site: &Site, ready: usize, now: Instant) -> Vec<usize> {
    // A borrower needs a connection, and so does the home shard.
    let most = site.connections_max().saturating_sub(1);
    let lent = shard.outbound.lending.lent.borrow();
    let mesh = &shard.mesh;
    let has_time = |other: usize| !mesh.is_busy(other) || mesh.load(other) < ready / 2;
    let mut borrowers: Vec<usize> = (0..mesh.shards())
        .filter(|other| *other != shard.index && lent[*other].rests_until <= now && has_time(*other))
        .collect();
    borrowers.sort_by_key(|other| (lent[*other].jobs == 0, mesh.load(*other)));
    borrowers.truncate(most);
    borrowers.retain(|other| lent[*other].jobs < limits::LOANED_MAX);
    borrowers
}

/// Another loan, for one that was worked off.
pub(super) fn again<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    site: &Site,
    borrower: usize,
    share: usize,
) {
    if !is_shared(shard, key, site) || is_long_busy(shard) {
        grant(shard, key, site, borrower, share);
    }
}

fn is_long_busy<R: Runtime>(shard: &Shard<R>) -> bool {
    let lending = &shard.outbound.lending;
    lending.busy.get() && shard.timers.recent().since(lending.busy_since.get()) >= limits::LEND_SHARED_AFTER
}

/// Whether several tenants share what the site takes, on this shard or over the node. A borrower has no order of its own for what it was lent: no
/// more goes ahead of theirs than is soon done, and nothing where this shard has time itself, or has none for a moment only.
fn is_shared<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    site.count.shares().is_some_and(|shares| shares.has_several())
        || shard.outbound.destinations.borrow_mut().over_node(key).has_several()
}

/// A batch of jobs goes to a borrower.
fn grant<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Site, borrower: usize, share: usize) {
    let most = if is_shared(shard, key, site) {
        limits::LOANED_MAX.min(limits::JOBS_A_CONNECTION * site.connections_max())
    } else {
        limits::LOANED_MAX
    };
    let room = most.saturating_sub(shard.outbound.lending.lent.borrow()[borrower].jobs);
    let bound = share.min(room);
    let mut jobs = Vec::with_capacity(bound);
    while jobs.len() < bound {
        match tenants::take(shard, key) {
            Take::Job(domain, group) | Take::Last(domain, group) => jobs.push(shard.own_job(domain, group)),
            Take::Expired(domain, group) => settle::expired(shard, &shard.own_job(domain, group)),
            Take::Nothing => break,
        }
    }
    if jobs.is_empty() {
        return;
    }
    shard.outbound.lending.lent.borrow_mut()[borrower].jobs += jobs.len();
    shard.outbound.lending.lent_until.set(shard.timers.recent() + limits::LENDER_KEPT);
    shard.instruments.counters.jobs_lent.add(jobs.len() as u64);
    let hop = site.hop.borrow().as_ref().clone();
    shard.mesh.send(
        borrower,
        ShardMessage::Loan(Box::new(Loan { generation: shard.live.generation(), hop, jobs })),
    );
}
