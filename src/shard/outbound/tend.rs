//! Beside dispatch: what becomes of mail that no connection takes. It is told that its site is closed, given up in time, or settled as its
//! domain leads nowhere.
//!
//! Two tasks a shard at most, each while there is something to do. Each does a little at a time, so that no turn is long, and reads one
//! record at a time, so that no delivery waits for its own behind many of these.

use std::rc::Rc;

use crate::limits;
use crate::queue::Group;
use crate::queue::destinations::{DomainKey, SiteKey};
use crate::queue::outcome::{Ended, Failure};
use crate::queue::schedule;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::resolve::Unroutable;
use crate::shard::outbound::settle::{self, Way};
use crate::shard::outbound::site::NO_ANSWER;
use crate::shard::outbound::tally;
use crate::smtp::client;

/// How much may still be done, in this turn and in all.
pub(super) struct Pace {
    turn: usize,
    looks: usize,
    settled: usize,
}

impl Pace {
    pub(super) fn new(looks: usize, settled: usize) -> Pace {
        Pace { turn: limits::TEND_TURN, looks, settled }
    }

    /// So many looks that may be taken now.
    pub(super) fn left(&self) -> usize {
        self.turn.min(self.looks)
    }

    pub(super) fn looked(&mut self, looks: usize) {
        self.turn = self.turn.saturating_sub(looks);
        self.looks = self.looks.saturating_sub(looks);
    }

    pub(super) fn settled(&mut self) {
        self.turn = self.turn.saturating_sub(limits::TEND_SETTLED);
        self.settled = self.settled.saturating_sub(1);
    }

    pub(super) fn is_over(&self) -> bool {
        self.looks == 0 || self.settled == 0
    }

    /// Where the turn was long enough, it is that of others.
    pub(super) async fn rest<R: Runtime>(&mut self, runtime: &R) {
        if self.turn == 0 {
            runtime.yield_now().await;
            self.turn = limits::TEND_TURN;
        }
    }
}

/// A second is over: the sites are gone through, unless they are still.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    if shard.draining.get()
        || shard.outbound.sites.borrow().is_empty()
        || shard.outbound.tending.tends.replace(true)
    {
        return;
    }
    let own = shard.clone();
    shard.runtime.spawn_vital("tend", async move {
        tend(&own).await;
        own.outbound.tending.tends.set(false);
    });
}

/// Goes through the sites, on from where it was, for those whose mail no connection looks at.
async fn tend<R: Runtime>(shard: &Rc<Shard<R>>) {
    let room = limits::TOLD_AT_ONCE.saturating_sub(shard.outbound.settling.get());
    let mut pace = Pace::new(limits::TELL_LOOKS, room);
    let slots = shard.outbound.destinations.borrow().site_slots();
    for _ in 0..slots {
        pace.rest(&shard.runtime).await;
        if pace.is_over() || shard.draining.get() {
            return;
        }
        let place = shard.outbound.tending.place.get() % slots;
        shard.outbound.tending.place.set(place + 1);
        pace.looked(1);
        let key = shard.outbound.destinations.borrow().site_at(place);
        // Also where its connections have work: what is at the end of a long line would be given up when its turn comes.
        let waits = shard.outbound.destinations.borrow().ready(key, shard.seconds()) > 0;
        if waits || fails(shard, key) {
            look_at(shard, key, &mut pace).await;
        }
    }
}

/// Whether a site is closed, or is only being tried: one that rests for no longer than a second is hardly ever found closed.
fn fails<R: Runtime>(shard: &Shard<R>, key: SiteKey) -> bool {
    let destinations = shard.outbound.destinations.borrow();
    destinations.is_closed(key, shard.seconds()) || destinations.failures(key) > 0
}

/// What is too old is given up. Where the site fails the rest is told why it waits, so that the log and the spool tell it.
async fn look_at<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, pace: &mut Pace) {
    for tells in [false, true] {
        while !pace.is_over() {
            pace.rest(&shard.runtime).await;
            let now = shard.seconds();
            let closed = fails(shard, key);
            if shard.draining.get() || (tells && !closed) {
                return;
            }
            let given = pace.left();
            let mut looks = given;
            let site = shard.outbound.sites.borrow().get(&key).cloned();
            let own = site.as_ref().map(|site| site.policy.borrow().clone());
            let policy = shard.live.get();
            let retry = own.as_ref().map_or(&policy.config.retry, |own| &own.retry);
            let next = |attempts| schedule::next_attempt(retry, attempts, now, shard.runtime.random());
            let found = if tells {
                shard.outbound.destinations.borrow_mut().tell(key, now, &mut looks, next)
            } else {
                let max_age = own.as_ref().and_then(|own| own.max_age);
                let is_too_old =
                    |group: &Group| group.is_expired(now) || tally::is_too_old(shard, max_age, group);
                shard.outbound.destinations.borrow_mut().expire(key, &mut looks, is_too_old)
            };
            pace.looked(given - looks);
            let Some((domain, mut group)) = found else {
                if looks > 0 {
                    break;
                }
                continue;
            };
            pace.settled();
            let (status, words) = match &site {
                Some(site) if closed => site.last_error.borrow().clone(),
                _ => (NO_ANSWER, String::new()),
            };
            // Its turn came, and the site was tried for it in vain: had it time left, it would be told so and that counted.
            if !tells && closed && group.not_before <= now {
                group.attempts = group.attempts.saturating_add(1);
            }
            let job = shard.own_job(domain, group);
            if tells {
                let hop = site.map(|site| site.hop.borrow().clone());
                let label = hop.as_ref().map_or("", |hop| &hop.label);
                let way = hop.as_ref().zip(own.as_ref());
                let way = way.map_or_else(Way::default, |(hop, policy)| Way::to(hop, policy));
                let answers = own.as_ref().and_then(|own| own.answers.as_ref());
                settle::told(shard, &job, (status, &words), (label, way, answers)).await;
            } else {
                settle::whole_now(shard, &job, settle::too_late(&words)).await;
            }
        }
    }
}

/// Mail for this domain leads nowhere (now, or for good).
pub(super) fn unroutable<R: Runtime>(shard: &Rc<Shard<R>>, key: DomainKey, why: Unroutable) {
    shard.outbound.tending.unroutable.borrow_mut().push_back((key, why));
    if shard.outbound.tending.settles.replace(true) {
        return;
    }
    let own = shard.clone();
    shard.outbound.settling.set(shard.outbound.settling.get() + 1);
    shard.runtime.spawn_vital("unroutable", async move {
        settle_unroutable(&own).await;
        own.outbound.tending.settles.set(false);
        own.outbound.settling.set(own.outbound.settling.get() - 1);
    });
}

async fn settle_unroutable<R: Runtime>(shard: &Rc<Shard<R>>) {
    let mut pace = Pace::new(usize::MAX, usize::MAX);
    loop {
        let first = shard.outbound.tending.unroutable.borrow_mut().pop_front();
        let Some((key, why)) = first else { return };
        // What comes meanwhile asks anew.
        let waiting = shard.outbound.destinations.borrow().unrouted(key);
        for _ in 0..waiting {
            pace.rest(&shard.runtime).await;
            if shard.draining.get() {
                shard.outbound.tending.unroutable.borrow_mut().clear();
                return;
            }
            let group = shard.outbound.destinations.borrow_mut().take_unresolved(key);
            let Some(mut group) = group else { break };
            pace.settled();
            let ended = end_of(shard, &group, &why);
            // The look-up counts, as it does where the mail is tried again.
            if matches!(ended, Ended::Expired(_)) {
                group.attempts = group.attempts.saturating_add(1);
            }
            settle::whole_now(shard, &shard.own_job(key, group), ended).await;
        }
        shard.outbound.destinations.borrow_mut().unresolved(key, shard.seconds(), limits::DOMAIN_ASKED_AGAIN);
    }
}

fn end_of<R: Runtime>(shard: &Shard<R>, group: &Group, why: &Unroutable) -> Ended {
    let now = shard.seconds();
    if why.permanent {
        return Ended::Bounced(Failure::ours(why.status, why.text.clone()));
    }
    if group.is_expired(now) {
        return Ended::Expired(Failure::ours(settle::TIME_EXPIRED, why.text.clone()));
    }
    let attempts = group.attempts.saturating_add(1);
    let random = shard.runtime.random();
    let next =
        schedule::next_attempt(&shard.live.get().config.retry, attempts, now.saturating_add(1), random);
    let reply = client::local(451, why.status, &why.text).describe().into();
    // A last try that could not even be looked up goes on for one wait.
    let next = if group.is_last_try() { next } else { next.min(group.expiry) };
    tally::deferred((attempts, next), reply, true)
}
