//! Mail that waits is tried at once, goes back to its sender, is held, or gets other parameters.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::queue::destinations::aside::{AsideGroups, NextGroup};
use crate::queue::destinations::{DomainKey, Effect};
use crate::queue::group::Group;
use crate::queue::lifetimes::Times;
use crate::queue::outcome::{Ended, Failure, Outcomes, RangeOutcome};
use crate::queue::select::{Filter, GroupState};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::answer::clock::times;
use crate::shard::answer::hold::Holding;
use crate::shard::answer::rebind::Rebinding;
use crate::shard::answer::written::Written;
use crate::shard::ask::Part;
use crate::shard::message::Job;
use crate::shard::outbound::settle::{self, Scene, Settling};
use crate::shard::outbound::tally::Tally;
use crate::shard::outbound::{dispatch, pump, suspended};
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::StoredRecord;
use crate::spool::record::MessageView;
use crate::time::Instant;

/// What is to be done.
pub(super) enum Change {
    /// It is due now.
    Retry,
    /// It goes back to its sender.
    Bounce(Returns),
    /// An operator holds it, or lets it go.
    Hold(Holding),
    /// It has other parameters.
    Rebind(Rebinding),
}

/// What goes back, and how much of it is on disk.
pub(super) struct Returns {
    /// What the operator says of it.
    reason: Arc<str>,
    written: Written,
}

impl Returns {
    pub(super) fn new(reason: Arc<str>) -> Returns {
        Returns { reason, written: Written::default() }
    }
}

/// A group that left its queue. However its task ends, it goes back unless it is told what became of it.
struct GroupGuard<R: Runtime> {
    shard: Rc<Shard<R>>,
    job: Job,
    is_settled: Cell<bool>,
}

impl<R: Runtime> Drop for GroupGuard<R> {
    fn drop(&mut self) {
        if !self.is_settled.get()
            && let Ok(mut queues) = self.shard.outbound.destinations.try_borrow_mut()
        {
            queues.put_back_unheard(self.job.domain, self.job.group);
        }
    }
}

/// What is set aside of a domain goes back, however this ends.
struct AsideGuard<R: Runtime> {
    shard: Rc<Shard<R>>,
    aside: Option<AsideGroups>,
}

impl<R: Runtime> AsideGuard<R> {
    /// What is left goes back a slice at a time.
    async fn end(mut self) {
        while let Some(aside) = &mut self.aside {
            let times = times(&self.shard);
            let (all, effect) =
                aside.end(&mut self.shard.outbound.destinations.borrow_mut(), times, limits::ASK_LOOKS);
            if all {
                self.aside = None;
            }
            rest(&self.shard, effect).await;
        }
    }
}

impl<R: Runtime> Drop for AsideGuard<R> {
    fn drop(&mut self) {
        let Some(mut aside) = self.aside.take() else { return };
        // Its task ended in the middle: better one long turn than mail that waits for the next start.
        let times = times(&self.shard);
        let effect = match self.shard.outbound.destinations.try_borrow_mut() {
            Ok(mut queues) => loop {
                if let (true, effect) = aside.end(&mut queues, times, usize::MAX) {
                    break effect;
                }
            },
            Err(_) => None,
        };
        if let Some(effect) = effect {
            dispatch::carry_out(&self.shard, effect);
        }
    }
}

/// After a slice all others have their turn, and before that what it brought is carried out.
async fn rest<R: Runtime>(shard: &Rc<Shard<R>>, effect: Option<Effect>) {
    if let Some(effect) = effect {
        dispatch::carry_out(shard, effect);
    }
    shard.runtime.yield_now().await;
}

/// What of this domain was put aside for a suspension is due now.
pub(in crate::shard) async fn resume<R: Runtime>(shard: &Rc<Shard<R>>, key: DomainKey) {
    let taken = AsideGroups::take(&mut shard.outbound.destinations.borrow_mut(), key, false);
    let Some((aside, _)) = taken else { return };
    let mut held = AsideGuard { shard: shard.clone(), aside: Some(aside) };
    while let Some(aside) = &mut held.aside {
        let now = shard.seconds();
        let (all, effect) =
            aside.resume(&mut shard.outbound.destinations.borrow_mut(), now, limits::ASK_LOOKS);
        rest(shard, effect).await;
        if all {
            break;
        }
    }
    held.end().await;
}

/// What of this domain waits for its next attempt, and is to go back as its record tells, does; others stay.
pub(in crate::shard) async fn give_back<R: Runtime>(shard: &Rc<Shard<R>>, key: DomainKey) {
    let taken = AsideGroups::take(&mut shard.outbound.destinations.borrow_mut(), key, false);
    let Some((aside, _)) = taken else { return };
    let mut held = AsideGuard { shard: shard.clone(), aside: Some(aside) };
    let all = Filter::default();
    while let Some(aside) = &mut held.aside
        && !shard.draining.get()
    {
        let mut starved = shard.outbound.settling.get() >= limits::BOUNCE_STEP;
        let (mut effect, mut found) = (None, None);
        if !starved {
            let next = aside.next_of(
                &mut shard.outbound.destinations.borrow_mut(),
                (&all, |group: &Group| !group.is_kept()),
                times(shard),
                limits::ASK_LOOKS,
                &mut effect,
            );
            match next {
                NextGroup::Nothing => break,
                NextGroup::Unfinished => {}
                NextGroup::Starved => starved = true,
                NextGroup::Taken(domain, group) => {
                    let job = shard.own_job(domain, group);
                    found = Some(GroupGuard { shard: shard.clone(), job, is_settled: Cell::new(false) });
                }
            }
        }
        effect.into_iter().for_each(|effect| dispatch::carry_out(shard, effect));
        if let Some(taken) = found {
            sort_out(shard, &taken).await;
        }
        if starved {
            shard.timers.sleep_until(shard.runtime.now() + limits::CHANGE_PAUSE).await;
        } else if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
    held.end().await;
}

/// One group: what of it is suspended, and what is not.
async fn sort_out<R: Runtime>(shard: &Rc<Shard<R>>, taken: &GroupGuard<R>) {
    let (job, group) = (&taken.job, &taken.job.group);
    let _settling = Settling::new(shard);
    let place = Pinned::new(shard, group.key, group.location);
    let source = StoredRecord::read(shard, place.location).await;
    let Some(view) = source.as_ref().ok().and_then(|source| source.view().ok()) else { return };
    let mut sorted = Tally::default();
    suspended::sort_out(shard, None, group, &view, &mut sorted);
    taken.is_settled.set(true);
    let again = sorted.again(group);
    settle::report(shard, job, sorted.take_outcomes(), again, Some(&Scene::without_hop(&view)));
}

impl Change {
    /// Changes what is meant of one domain. False: not all of it.
    pub(super) async fn domain<R: Runtime>(
        &self,
        shard: &Rc<Shard<R>>,
        key: DomainKey,
        filter: &Filter,
        until: Instant,
        part: &mut Part,
        is_wanted: impl Fn() -> bool,
    ) -> bool {
        let ready = match self {
            Change::Retry => false,
            Change::Bounce(_) => true,
            Change::Hold(holding) => holding.takes_ready(),
            Change::Rebind(_) => true,
        };
        let taken = AsideGroups::take(&mut shard.outbound.destinations.borrow_mut(), key, ready);
        let Some((aside, under_way)) = taken else { return true };
        let mut held = AsideGuard { shard: shard.clone(), aside: Some(aside) };
        let whole = match self {
            Change::Retry => {
                retry(shard, &mut held, filter, part).await;
                true
            }
            Change::Bounce(_) | Change::Hold(_) | Change::Rebind(_) => {
                self.each(shard, &mut held, (filter, until), part, is_wanted).await
            }
        };
        held.end().await;
        if whole && filter.is_of_domains() {
            part.tally.under_way += u64::from(under_way);
        }
        whole
    }

    /// What is meant leaves the queue, one group after the other, and is settled. True: that was all.
    async fn each<R: Runtime>(
        &self,
        shard: &Rc<Shard<R>>,
        held: &mut AsideGuard<R>,
        (filter, until): (&Filter, Instant),
        part: &mut Part,
        is_wanted: impl Fn() -> bool,
    ) -> bool {
        let Some(aside) = &mut held.aside else { return true };
        loop {
            if shard.runtime.now() >= until || shard.draining.get() || !is_wanted() {
                return false;
            }
            part.starved = shard.outbound.settling.get() >= limits::BOUNCE_STEP;
            if !part.starved {
                let mut effect = None;
                let next = aside.next_of(
                    &mut shard.outbound.destinations.borrow_mut(),
                    (filter, |group: &Group| self.takes(shard, group)),
                    times(shard),
                    limits::ASK_LOOKS / filter.cost(),
                    &mut effect,
                );
                if let Some(effect) = effect {
                    dispatch::carry_out(shard, effect);
                }
                match next {
                    NextGroup::Nothing => return true,
                    NextGroup::Unfinished => {}
                    NextGroup::Starved => part.starved = true,
                    NextGroup::Taken(domain, group) => {
                        let job = shard.own_job(domain, group);
                        let taken = GroupGuard { shard: shard.clone(), job, is_settled: Cell::new(false) };
                        assert!(!shard.runtime.planted(Defect::AnswerBreaksOff), "as planted");
                        if self.settle(shard, &taken, filter).await {
                            part.tally.add(group.count, GroupState::Ready);
                        }
                    }
                }
            }
            if part.starved {
                shard.timers.sleep_until(shard.runtime.now() + limits::CHANGE_PAUSE).await;
            } else if shard.runtime.should_yield() {
                shard.runtime.yield_now().await;
            }
        }
    }

    /// Whether a group may be meant that its filter wants.
    fn takes<R: Runtime>(&self, shard: &Shard<R>, group: &Group) -> bool {
        match self {
            Change::Retry | Change::Bounce(_) | Change::Rebind(_) => true,
            Change::Hold(holding) => holding.takes(shard, group),
        }
    }

    /// Settles one group, if its record says that it is meant: the queue goes by the life that is left to it, and by a key that may be
    /// used again.
    async fn settle<R: Runtime>(&self, shard: &Rc<Shard<R>>, taken: &GroupGuard<R>, filter: &Filter) -> bool {
        let job = &taken.job;
        let group = &job.group;
        let _settling = Settling::new(shard);
        let place = Pinned::new(shard, group.key, group.location);
        let source = StoredRecord::read(shard, place.location).await;
        let view = source.as_ref().ok().and_then(|source| source.view().ok());
        let mut meant = is_meant(times(shard), filter, group, view.as_ref());
        if let Change::Rebind(rebinding) = self {
            meant &= rebinding.takes(job, view.as_ref());
        }
        taken.is_settled.set(true);
        match self {
            Change::Bounce(returns) if meant => give_up(shard, job, view.as_ref(), returns),
            Change::Hold(holding) if meant => holding.settle(shard, job, view.as_ref()),
            Change::Rebind(rebinding) if meant => rebinding.settle(shard, job),
            _ => {
                let now = shard.seconds();
                shard.outbound.destinations.borrow_mut().attempted(job.domain, group, &[*group], now);
                pump::give_credit(shard, shard.index, group.location.lane, 1);
            }
        }
        meant
    }

    /// Waits until all of it is on disk, for a while. How many groups are not.
    pub(super) async fn unwritten<R: Runtime>(&self, shard: &Shard<R>, is_wanted: impl Fn() -> bool) -> u64 {
        match self {
            Change::Retry => 0,
            Change::Bounce(Returns { written, .. })
            | Change::Hold(Holding { written, .. })
            | Change::Rebind(Rebinding { written, .. }) => written.unwritten(shard, is_wanted).await,
        }
    }
}

async fn retry<R: Runtime>(shard: &Rc<Shard<R>>, held: &mut AsideGuard<R>, filter: &Filter, part: &mut Part) {
    let Some(aside) = &mut held.aside else { return };
    // What is ready already is counted before more of it is.
    let ready = aside.ready(&shard.outbound.destinations.borrow());
    let looks = limits::ASK_LOOKS / filter.cost();
    for from in (0..ready).step_by(looks) {
        let places = from..ready.min(from + looks);
        let effect = aside.hurry_ready(
            &mut shard.outbound.destinations.borrow_mut(),
            filter,
            times(shard),
            places,
            &mut part.tally,
        );
        rest(shard, effect).await;
    }
    loop {
        let (all, effect) = aside.hurry(
            &mut shard.outbound.destinations.borrow_mut(),
            filter,
            times(shard),
            looks,
            &mut part.tally,
        );
        rest(shard, effect).await;
        if all {
            return;
        }
    }
}

/// Returns one group.
fn give_up<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job, view: Option<&MessageView<'_>>, returns: &Returns) {
    let group = &job.group;
    // RFC 3463 3.8: refused for a reason of policy, which is ours and no next hop's.
    let words = format!("the operator of this relay ended the delivery: {}", returns.reason);
    let mut failure = Failure::unattempted((5, 7, 1), words);
    failure.receipt = Some(returns.written.receipt());
    let disposition = Ended::Bounced(failure);
    let outcomes = Outcomes::One(RangeOutcome::new(group.first, group.count, disposition));
    let scene = view.map(Scene::without_hop);
    settle::report(shard, job, outcomes, Vec::new(), scene.as_ref());
}

fn is_meant(times: Times<'_>, filter: &Filter, group: &Group, view: Option<&MessageView<'_>>) -> bool {
    let Some(view) = view else { return filter.id.is_none() && filter.older.is_none() };
    let age = times.age_by_record(group, view.lives().seconds());
    filter.id.is_none_or(|id| id == view.id) && filter.older.is_none_or(|older| age >= older)
}
