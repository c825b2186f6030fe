//! The messages of one connection: what is under way, what is next, and when it ends.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::queue::lifetimes::Times;
use crate::queue::{Group, GroupPhase};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::message::Job;
use crate::shard::outbound::address::AddressPermit;
use crate::shard::outbound::bucket::{RateKind, Token};
use crate::shard::outbound::provider::ConnectionPlaces;
use crate::shard::outbound::session::Connection;
use crate::shard::outbound::site::{Site, Work};
use crate::shard::outbound::{borrow, node_order, pump, rates, settle, sites, spare, tally};
use crate::time::Instant;

/// What is to become of a connection after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    Close,
    /// It had been closed by the hop while it was idle; nothing was attempted.
    Stale,
}

/// The messages of one connection, one after the other.
pub(super) struct Run<'a, R: Runtime> {
    pub(super) shard: &'a Rc<Shard<R>>,
    pub(super) key: SiteKey,
    pub(super) site: &'a Rc<Site>,
    pub(super) place: Option<&'a AddressPermit>,
    pub(super) places: Option<&'a ConnectionPlaces>,
    /// Transactions a connection may carry; 0: any number.
    pub(super) most: usize,
    /// When it is no longer used for another: its host may have other addresses by then, or others are preferred to it.
    pub(super) ends: Instant,
    /// Its connection was passed on to another shard.
    pub(super) yields: &'a Cell<bool>,
    /// The era of its site in which it was begun.
    pub(super) era: u32,
    /// When its session had come up.
    pub(super) begun: Instant,
    /// When the commands of the transaction under way were sent, or a little before.
    pub(super) begun_at: Instant,
    /// Transactions begun.
    pub(super) done: usize,
    /// A message was taken over it.
    pub(super) took: Cell<bool>,
    pub(super) ahead: Option<NextJob<'a, R>>,
    /// The right to the transaction that is next, until something of it was heard.
    pub(super) token: Option<Token<R>>,
    /// Since when there was nothing to do.
    pub(super) idle_since: Option<Instant>,
}

/// A group that is next on a connection.
pub(super) struct NextJob<'a, R: Runtime> {
    pub(super) under_way: GroupUnderWay<'a, R>,
    /// Its MAIL, RCPT and DATA went out behind the body of the message before.
    pub(super) opened: bool,
    /// When it was taken.
    pub(super) at: Instant,
    /// The right to it, where there is a rate.
    pub(super) token: Option<Token<R>>,
}

impl<'a, R: Runtime> Run<'a, R> {
    /// Whether another transaction may be begun now.
    pub(super) fn goes_on(&self) -> bool {
        let Run { shard, site, most, ends, era, done, .. } = self;
        let has_turn = *done < limits::ADDRESS_TURN || !site.must_share(self.places, shard.index);
        let old = *done > 0 && shard.timers.recent() >= *ends;
        has_turn
            && !shard.draining.get()
            && !shard.mesh.stages().rests()
            && !site.is_over()
            && *done < site.shown.messages(shard.timers.recent())
            && (*most == 0 || done < most)
            && !old
            && *era == site.era.get()
            && !must_pass_on(shard, self.place, site, *done)
            && !self.must_yield()
    }

    /// Whether its connection is another shard's, which is promised to it once.
    fn must_yield(&self) -> bool {
        let yields = self.yields.get() || node_order::must_yield(self.shard, self.key, self.site, self.done);
        self.yields.set(yields);
        yields
    }

    /// The next group of the site's queue, if a message may be begun now; what is too old is settled.
    pub(super) fn take(&self) -> Option<NextJob<'a, R>> {
        let Run { shard, key, site, .. } = *self;
        sites::heed(shard, key, site);
        if site.buckets(RateKind::Messages).is_some() && !pump::has_work(shard, key, site) {
            return None;
        }
        if spare::is_this(shard, key, site) {
            return None;
        }
        let token = self.next_token()?;
        let max_age = site.policy.borrow().max_age;
        loop {
            match pump::take(shard, key, site) {
                // The site is reached now: what it once failed of is not what this message was told last.
                Work::Expired(job) => settle::expired(shard, &job),
                Work::Job(job) if tally::is_too_old(shard, max_age, &job.group) => {
                    settle::expired(shard, &job)
                }
                Work::Job(job) => {
                    let (under_way, at) = (GroupUnderWay::new(shard, site, job), shard.timers.recent());
                    // More work than connections: one more connection, if the limits let it.
                    pump::pump(shard, key);
                    return Some(NextJob { under_way, opened: false, at, token });
                }
                Work::Nothing => return None,
            }
        }
    }

    /// What was begun is one of the rate.
    pub(super) fn spend_token(&mut self) {
        if let Some(token) = self.token.take() {
            token.spend();
        }
    }

    /// The right to one more transaction, where there is a rate; None: not now.
    pub(super) fn next_token(&self) -> Option<Option<Token<R>>> {
        rates::take_next(self.shard, (self.key, self.site)).ok()
    }
}

/// A group under way. If its task panics it goes back to its queue: a bug costs a connection, not mail.
pub(super) struct GroupUnderWay<'a, R: Runtime> {
    pub(super) shard: Rc<Shard<R>>,
    pub(super) site: &'a Rc<Site>,
    pub(super) job: Job,
    is_settled: Cell<bool>,
}

impl<'a, R: Runtime> GroupUnderWay<'a, R> {
    pub(super) fn new(shard: &Rc<Shard<R>>, site: &'a Rc<Site>, job: Job) -> GroupUnderWay<'a, R> {
        GroupUnderWay { shard: shard.clone(), site, job, is_settled: Cell::new(false) }
    }

    /// What became of it is told now.
    pub(super) fn settled(&self) {
        self.is_settled.set(true);
    }
}

impl<R: Runtime> Drop for GroupUnderWay<'_, R> {
    fn drop(&mut self) {
        // The pump that follows the end of the connection finds it, or the next tick where its domain leads elsewhere by now.
        if self.is_settled.get() {
        } else if usize::from(self.job.home) != self.shard.index {
            borrow::put_back(&self.shard, self.site, self.job);
        } else if let Ok(mut destinations) = self.shard.outbound.destinations.try_borrow_mut() {
            destinations.put_back_unheard(self.job.domain, self.job.group);
        }
    }
}

/// Recipients of one transaction with a hop: what it offers (RFC 9422 RCPTMAX), or what it took when it was asked for more.
pub(super) fn recipients_max<R: Runtime>(run: &Run<'_, R>, connection: &Connection<R>) -> u16 {
    let offered = connection.capabilities.recipients_max.unwrap_or(u32::MAX);
    let offered = usize::try_from(offered).unwrap_or(usize::MAX);
    let taken = run.site.shown.recipients(run.shard.timers.recent());
    offered.min(taken).min(run.site.policy.borrow().recipients).clamp(1, limits::TRANSACTION_RECIPIENTS_MAX)
        as u16
}

/// Whether the message's pages are surely still in memory: it came in a moment ago. A page that is not would stall the shard.
pub(super) fn is_resident<R: Runtime>(shard: &Shard<R>, group: &Group) -> bool {
    let times = Times { now: shard.seconds(), lifetimes: shard.mesh.lifetimes() };
    group.standing == GroupPhase::Resident && times.age(group) < limits::RESIDENT_FOR
}

/// How a transaction stands to those before and after it on its connection.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// The connection carried mail before.
    pub(super) reused: bool,
    /// No other part of the group follows.
    pub(super) last: bool,
    /// Its commands were sent already.
    pub(super) opened: bool,
}

/// Whether a connection ends its turn, as another site waits for its place.
fn must_pass_on<R: Runtime>(
    shard: &Shard<R>,
    place: Option<&AddressPermit>,
    site: &Site,
    done: usize,
) -> bool {
    done >= limits::ADDRESS_TURN
        && place.is_some_and(|place| place.is_wanted(site) && !shard.runtime.planted(Defect::PlaceKept))
}
