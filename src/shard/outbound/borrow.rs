//! How busy this shard is, and what it borrowed of others: what becomes of it here and on the way home.

use std::rc::Rc;

use crate::limits;
use crate::queue::Group;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::message::{Job, ShardMessage};
use crate::shard::outbound::site::{Site, Work};

/// Whether this shard works most of its time.
pub(super) fn is_busy<R: Runtime>(shard: &Shard<R>) -> bool {
    shard.outbound.lending.busy.get()
}

/// Whether this shard should leave further connections to those who have work of it.
pub(super) fn leaves_room<R: Runtime>(shard: &Shard<R>, site: &Site) -> bool {
    is_lending(shard) && site.connections.get() >= share(shard, site).max(1)
}

/// Whether others work for this shard, as it has no time.
pub(super) fn is_lending<R: Runtime>(shard: &Shard<R>) -> bool {
    // Not by what is out just now: connections would go to and fro with every batch.
    shard.outbound.lending.busy.get() && shard.timers.recent() < shard.outbound.lending.lent_until.get()
}

/// Connections to a site this shard may hold when others want some: half of its share while others work for it, as it has the
/// queue to keep besides.
pub(super) fn share<R: Runtime>(shard: &Shard<R>, site: &Site) -> usize {
    let share = site.connections_max() / shard.mesh.shards();
    if is_lending(shard) { share / 2 } else { share }
}

/// The next borrowed job of a site.
pub(super) fn take<R: Runtime>(shard: &Shard<R>, site: &Site) -> Option<Work> {
    let job = site.borrowed.jobs.borrow_mut().pop_front()?;
    site.borrowed.touched.set(shard.timers.recent());
    shard.outbound.lending.waiting.set(shard.outbound.lending.waiting.get() - 1);
    let expired = job.group.is_expired(shard.seconds());
    Some(if expired { Work::Expired(job) } else { Work::Job(job) })
}

/// The attempt never began: another connection makes it.
pub(super) fn put_back<R: Runtime>(shard: &Shard<R>, site: &Rc<Site>, job: Job) {
    shard.outbound.lending.waiting.set(shard.outbound.lending.waiting.get() + 1);
    site.borrowed.jobs.borrow_mut().push_front(job);
    // All of it may have been under way, and the site no longer watched.
    shard.outbound.lending.watch(site);
}

/// An attempt ended, and these parts are to be tried again: the home shard's queue hears of it.
pub(super) fn attempted<R: Runtime>(shard: &Shard<R>, job: &Job, again: Vec<Group>) {
    let home = usize::from(job.home);
    if home == shard.index {
        let now = shard.seconds();
        shard.outbound.destinations.borrow_mut().attempted(job.domain, &job.group, &again, now);
        return;
    }
    let full = {
        let attempted = &mut shard.outbound.lending.returns.borrow_mut()[home].attempted;
        attempted.push((*job, again));
        attempted.len() >= limits::RETURN_AT
    };
    if full || shard.outbound.lending.waiting.get() == 0 {
        send_home(shard, home);
    }
}

/// Nobody can work on what a site borrowed.
pub(super) fn give_back<R: Runtime>(shard: &Shard<R>, site: &Site) {
    let jobs = std::mem::take(&mut *site.borrowed.jobs.borrow_mut());
    if jobs.is_empty() {
        return;
    }
    let lending = &shard.outbound.lending;
    lending.waiting.set(lending.waiting.get() - jobs.len());
    shard.instruments.counters.jobs_given_back.add(jobs.len() as u64);
    for job in jobs {
        lending.returns.borrow_mut()[usize::from(job.home)].untouched.push(job);
    }
    for home in 0..shard.mesh.shards() {
        send_home(shard, home);
    }
}

/// All that other shards lent goes home: they know where it leads now.
pub(in crate::shard) fn give_all_back<R: Runtime>(shard: &Shard<R>) {
    for site in shard.outbound.lending.borrowing.take() {
        give_back(shard, &site);
    }
}

/// Nor is this taken.
pub(super) fn refuse<R: Runtime>(shard: &Shard<R>, jobs: Vec<Job>) {
    let Some(home) = jobs.first().map(|job| usize::from(job.home)) else { return };
    shard.instruments.counters.jobs_given_back.add(jobs.len() as u64);
    shard.outbound.lending.returns.borrow_mut()[home].untouched.extend(jobs);
    send_home(shard, home);
}

fn send_home<R: Runtime>(shard: &Shard<R>, home: usize) {
    let what = std::mem::take(&mut shard.outbound.lending.returns.borrow_mut()[home]);
    if !what.attempted.is_empty() || !what.untouched.is_empty() {
        shard.mesh.send(home, ShardMessage::Returned { from: shard.index as u16, what: Box::new(what) });
    }
}

/// How much of its time the shard has worked of late.
pub(super) fn measure<R: Runtime>(shard: &Shard<R>) {
    let lending = &shard.outbound.lending;
    let (now, worked) = (shard.runtime.now(), shard.runtime.worked());
    let (since, before) = lending.measured.get();
    let span = now.since(since);
    if span < limits::LOAD_MEASURED {
        return;
    }
    lending.measured.set((now, worked));
    let share = (worked.saturating_sub(before).as_micros() * 100 / span.as_micros().max(1)) as u64;
    shard.instruments.counters.busy_percent.set(share);
    if !lending.busy.replace(share >= limits::LEND_LOAD) {
        lending.busy_since.set(now);
    }
    let jobs = shard.outbound.destinations.borrow().waiting_groups() + lending.waiting.get();
    shard.mesh.set_load(shard.index, jobs, lending.busy.get());
}

/// Four times a second: how busy this shard is, and what it has borrowed in vain.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Shard<R>) {
    measure(shard);
    let lending = &shard.outbound.lending;
    let now = shard.runtime.now();
    for home in 0..shard.mesh.shards() {
        send_home(shard, home);
    }
    let borrowing = std::mem::take(&mut *lending.borrowing.borrow_mut());
    for site in borrowing {
        if site.borrowed.waiting() == 0 {
            continue;
        }
        if site.borrowed.touched.get() + limits::LOAN_IDLE < now {
            give_back(shard, &site);
        } else {
            lending.borrowing.borrow_mut().push(site);
        }
    }
}
