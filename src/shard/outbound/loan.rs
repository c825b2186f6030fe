//! Jobs that shards lend each other arrive, or come home.

use std::rc::Rc;

use crate::limits;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::message::{Loan, Returned};
use crate::shard::outbound::dispatch::carry_out;
use crate::shard::outbound::pump::pump;
use crate::shard::outbound::{borrow, lend, sites};

/// Jobs of another shard: they are delivered as if they were this shard's own.
pub(in crate::shard) fn borrow<R: Runtime>(shard: &Rc<Shard<R>>, loan: Loan) {
    if loan.generation < shard.live.generation() {
        // It was lent by what says no more where mail goes.
        borrow::refuse(shard, loan.jobs);
        return;
    }
    let (key, site) = sites::site(shard, Rc::new(loan.hop));
    let count = loan.jobs.len();
    let lending = &shard.outbound.lending;
    if site.borrowed.waiting() == 0 {
        site.borrowed.touched.set(shard.timers.recent());
    }
    site.borrowed.jobs.borrow_mut().extend(loan.jobs);
    lending.waiting.set(lending.waiting.get() + count);
    lending.watch(&site);
    if shard.outbound.destinations.borrow().is_closed(key, shard.seconds()) {
        borrow::give_back(shard, &site);
        return;
    }
    for _ in 0..count {
        pump(shard, key);
    }
}

/// Lent jobs come home; a borrower that worked them off gets more.
pub(in crate::shard) fn returned<R: Runtime>(shard: &Rc<Shard<R>>, from: u16, what: Returned) {
    let from = usize::from(from);
    let now = shard.timers.recent();
    let seconds = shard.seconds();
    let mut site = None;
    {
        let mut lent = shard.outbound.lending.lent.borrow_mut();
        lent[from].jobs -= what.attempted.len() + what.untouched.len();
        if !what.untouched.is_empty() {
            lent[from].rests_until = now + limits::LEND_PAUSE;
        }
    }
    for (job, again) in what.attempted {
        if shard.runtime.planted(Defect::LentDoneTwice) {
            let _ = shard.outbound.destinations.borrow_mut().put_back(job.domain, job.group);
            continue;
        }
        let mut destinations = shard.outbound.destinations.borrow_mut();
        site = destinations.site_of(job.domain).or(site);
        destinations.attempted(job.domain, &job.group, &again, seconds);
    }
    let untouched = !what.untouched.is_empty();
    for job in what.untouched.into_iter().rev() {
        let effect = shard.outbound.destinations.borrow_mut().put_back(job.domain, job.group);
        if let Some(effect) = effect {
            carry_out(shard, effect);
        }
    }
    let Some(key) = site.filter(|_| !untouched && !shard.draining.get()) else { return };
    let ready = shard.outbound.destinations.borrow().ready(key, seconds);
    let found = shard.outbound.sites.borrow().get(&key).cloned();
    if let Some(site) = found
        && ready >= shard.mesh.lend_at() / 4
    {
        lend::again(shard, key, &site, from, ready.div_ceil(2));
    }
}
