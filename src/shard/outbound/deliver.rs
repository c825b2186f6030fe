//! Stage 7: one task for each connection to a next hop. It takes work from the site's queue until there is none.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::queue::destinations::SiteKey;
use crate::queue::outcome::{Failure, Fate};
use crate::queue::schedule;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::address::{self, Place};
use crate::shard::outbound::attempt::{UnderWay, attempt};
use crate::shard::outbound::connect::{self, Connection, HopError};
use crate::shard::outbound::dispatch::{self, Nap, Site, Take};
use crate::shard::outbound::opening::{self, Unproven};
use crate::shard::outbound::transact::write_ahead;
use crate::shard::outbound::{lend, settle};
use crate::smtp::reply::Reply;
use crate::time::Instant;

/// What is to become of a connection after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum After {
    Keep,
    Close,
    /// It had been closed by the hop while it was idle; nothing was attempted.
    Stale,
}

/// Opens a connection and works until there is nothing to do.
pub async fn deliver<R: Runtime>(
    shard: Rc<Shard<R>>,
    key: SiteKey,
    site: Rc<Site>,
    unproven: Option<Unproven<R>>,
) {
    let lease = Lease {
        shard: shard.clone(),
        site: site.clone(),
        key,
        opening: Cell::new(true),
        answered: Cell::new(false),
        unproven: RefCell::new(unproven),
    };
    let hop = site.hop.borrow().clone();
    let connected = connect::connect(&shard, &hop).await;
    let mut given_up = None;
    lease.opened();
    match connected {
        Ok(mut connection) => {
            shard.instruments.counters.outbound_connections_opened.add(1);
            let place = connection.place.take();
            if work(&shard, key, (&site, place.as_ref(), &lease), &mut connection).await {
                connection.quit(&shard).await;
            } else {
                connection.leave(&shard).await;
            }
            // Its place is free when the connection is gone, not before.
            drop(connection);
            given_up = place;
        }
        Err(HopError::Full(address)) => address::park(&shard, key, &site, address),
        Err(HopError::TakesNone(reply, named)) => {
            shard.instruments.counters.outbound_connections_failed.add(1);
            return_all(&shard, key, &site, (&reply, &named)).await;
        }
        Err(error) => {
            shard.instruments.counters.outbound_connections_failed.add(1);
            failed(&shard, key, &site, &error);
        }
    }
    drop(lease);
    if let Some(place) = given_up {
        place.pass_on(key, &site);
    }
    dispatch::pump(&shard, key);
    opening::admit(&shard);
}

/// The connection's place in the counts, given back when its task ends or panics.
struct Lease<R: Runtime> {
    shard: Rc<Shard<R>>,
    site: Rc<Site>,
    key: SiteKey,
    opening: Cell<bool>,
    answered: Cell<bool>,
    unproven: RefCell<Option<Unproven<R>>>,
}

impl<R: Runtime> Lease<R> {
    /// The attempt to connect is over.
    fn opened(&self) {
        if self.opening.replace(false) {
            self.site.opening.set(self.site.opening.get() - 1);
        }
    }

    /// A message was answered over it.
    fn proven(&self) {
        // Not when the session comes up: a host may refuse every MAIL, and its site rests longer each time.
        if !self.answered.replace(true) {
            self.shard.destinations.borrow_mut().open_site(self.key);
        }
        self.site.proven.set(true);
        if self.unproven.take().is_some() {
            opening::admit(&self.shard);
        }
    }
}

impl<R: Runtime> Drop for Lease<R> {
    fn drop(&mut self) {
        self.opened();
        self.site.connections.set(self.site.connections.get() - 1);
        self.shard.outbound.set(self.shard.outbound.get() - 1);
        self.shard.mesh.release(&self.site.slots);
    }
}

/// Nobody takes mail there, ever (RFC 7504 section 4): what is ready is returned, and what comes later asks again.
async fn return_all<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    site: &Rc<Site>,
    (reply, named): (&Reply, &str),
) {
    while !shard.draining.get() {
        match dispatch::take(shard, key, site) {
            Take::Expired(job) => settle::expired(shard, &job),
            Take::Job(job) => {
                let under_way = UnderWay::new(shard, site, job);
                let failure = Failure {
                    expired: false,
                    status: reply.enhanced.or(Some((5, 3, 2))),
                    remote: Some(named.to_owned()),
                    diagnostic: reply.describe(),
                    record: Vec::new(),
                };
                let fate = Fate::Failed(Box::new(failure));
                let told = || {
                    assert!(!shard.runtime.planted("a task panics over what it returns"), "as planted");
                    under_way.settled();
                };
                settle::whole_by(shard, &job, fate, (named, told)).await;
            }
            Take::Nothing => return,
        }
    }
}

/// No session came up. While others work that only bounds how many we open; otherwise the site rests.
fn failed<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Site, error: &HopError) {
    *site.last_error.borrow_mut() = error.to_string();
    // A host that refuses the session for good speaks of us: nobody has named a recipient yet.
    let refuses_us = matches!(error, HopError::Refused(reply) if reply.is_permanent());
    if refuses_us {
        shard.instruments.counters.hop_refuses_us.add(1);
    }
    site.proven.set(false);
    if site.connections.get() > site.opening.get() + 1 {
        site.hold(shard.runtime.now());
        return;
    }
    let level =
        if refuses_us || matches!(error, HopError::Ourselves(_)) { Level::Error } else { Level::Warning };
    rest(shard, key, site, level, error);
}

/// Nothing is begun at a site for a while, longer each time; `why` is said if mail waits for it.
pub(in crate::shard) fn rest<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    site: &Site,
    level: Level,
    why: &dyn std::fmt::Display,
) {
    let mut destinations = shard.destinations.borrow_mut();
    let failures = destinations.failures(key);
    let pause =
        schedule::site_pause(failures, shard.runtime.random()).min(shard.settings.retry.max).as_secs().max(1)
            as u32;
    let now = shard.seconds();
    if destinations.ready(key, now) > 0 {
        let label = &site.hop.borrow().label;
        let (domain, others) = destinations.waiting_at(key).unwrap_or_default();
        let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
        shard
            .say(level, format_args!("mail for {domain}{more} waits: {label}: {why}; next try in {pause} s"));
    }
    destinations.close_site(key, now + pause);
    drop(destinations);
    lend::give_back(shard, site);
}

/// Works until told to stop. False: the connection is broken already.
async fn work<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    (site, place, lease): (&Rc<Site>, Option<&Place<R>>, &Lease<R>),
    connection: &mut Connection<R>,
) -> bool {
    let mut most = shard.settings.delivery.messages_per_connection;
    if shard.runtime.planted("messages of a connection are not counted") {
        most = 0;
    }
    // RFC 9422 MAILMAX.
    if let Some(max) = connection.capabilities.messages_max {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        most = if most == 0 { max } else { most.min(max) };
    }
    let ends = shard.timers.recent() + reuse(shard);
    let mut run = Run {
        shard,
        key,
        site,
        place,
        most,
        ends,
        done: 0,
        took: Cell::new(false),
        ahead: None,
        idle_since: None,
    };
    let nap = Rc::default();
    loop {
        if run.ahead.is_none() && !run.goes_on() {
            return true;
        }
        let next = run.ahead.take().or_else(|| run.take());
        let Some(next) = next else {
            let since = *run.idle_since.get_or_insert(shard.timers.recent());
            if gives_up(shard, (site, place), since)
                || !idle(shard, key, (site, place), connection, &nap, since).await
            {
                return true;
            }
            continue;
        };
        run.idle_since = None;
        match attempt(&mut run, connection, next).await {
            After::Keep => lease.proven(),
            // What went ahead is put back when it is dropped: its body was never sent.
            After::Close | After::Stale => {
                // Many hops close after each message; those that took it are no holes.
                if run.took.get() {
                    lease.proven();
                }
                return false;
            }
        }
    }
}

/// How long a connection is used.
fn reuse<R: Runtime>(shard: &Shard<R>) -> Duration {
    const REUSE: u64 = limits::client::REUSE.as_secs();
    Duration::from_secs(REUSE - shard.runtime.random() % (REUSE / 4))
}

/// The messages of one connection, one after the other.
pub(in crate::shard) struct Run<'a, R: Runtime> {
    pub(in crate::shard) shard: &'a Rc<Shard<R>>,
    pub(in crate::shard) key: SiteKey,
    pub(in crate::shard) site: &'a Rc<Site>,
    place: Option<&'a Place<R>>,
    /// Transactions a connection may carry; 0: any number.
    most: usize,
    /// When it is no longer used for another: its host may have other addresses by then, or others are preferred to it.
    ends: Instant,
    /// Transactions begun.
    pub(in crate::shard) done: usize,
    /// A message was taken over it.
    pub(in crate::shard) took: Cell<bool>,
    ahead: Option<Next<'a, R>>,
    /// Since when there was nothing to do.
    idle_since: Option<Instant>,
}

/// A group that is next on a connection.
pub(in crate::shard) struct Next<'a, R: Runtime> {
    pub(in crate::shard) under_way: UnderWay<'a, R>,
    /// Its MAIL, RCPT and DATA went out behind the body of the message before.
    pub(in crate::shard) opened: bool,
}

impl<'a, R: Runtime> Run<'a, R> {
    /// Whether another transaction may be begun now.
    pub(in crate::shard) fn goes_on(&self) -> bool {
        let Run { shard, site, most, ends, done, .. } = self;
        let old = *done > 0 && shard.timers.recent() >= *ends;
        let yields = must_yield(shard, site, *done) || address::must_yield(self.place, site, *done);
        !shard.draining.get() && (*most == 0 || done < most) && !old && !yields
    }

    /// The next group of the site's queue; what is too old is settled.
    fn take(&self) -> Option<Next<'a, R>> {
        let Run { shard, key, site, .. } = *self;
        loop {
            match dispatch::take(shard, key, site) {
                // The site is reached now: what it once failed of is not what this message was told last.
                Take::Expired(job) => settle::expired(shard, &job),
                Take::Job(job) => {
                    let under_way = UnderWay::new(shard, site, job);
                    // More work than hands: one more connection, if the limits let it.
                    dispatch::pump(shard, key);
                    return Some(Next { under_way, opened: false });
                }
                Take::Nothing => return None,
            }
        }
    }

    /// Writes the commands of the next message, to be sent behind the body of this one (RFC 2920 section 3.1 lets a body
    /// be the first of a group): one round trip a message instead of two. Only where every hand is busy and more waits, and
    /// while the hop answers bodies promptly, so that nothing waits behind a slow answer that could go elsewhere.
    pub(in crate::shard) fn open_next(&mut self, connection: &mut Connection<R>, out: &mut Vec<u8>) {
        let Run { shard, key, site, .. } = *self;
        site.pipelines.set(
            shard.settings.delivery.pipeline_messages
                && connection.capabilities.pipelining
                && connection.is_prompt()
                && site.shown.takes_ahead(shard.timers.recent()),
        );
        if !(site.pipelines.get() && self.goes_on() && dispatch::is_crowded(shard, key, site)) {
            return;
        }
        let Some(mut next) = self.take() else { return };
        next.opened = write_ahead(self, &next.under_way, connection, out).is_some();
        self.ahead = Some(next);
    }
}

/// Another shard waits for a slot and this one has more than its share, or had its turn.
fn must_yield<R: Runtime>(shard: &Shard<R>, site: &Site, done: usize) -> bool {
    const TURN: usize = 100;
    if done == 0 || !site.slots.wanted_by_others(shard.index) {
        return false;
    }
    let share = lend::share(shard);
    site.connections.get() > share && (share > 0 || done >= TURN)
}

/// Another shard waits for a slot, and this one has more than its share or has had no work for a while: a connection that is closed
/// at the first empty moment would have to be opened again in the next.
fn gives_up<R: Runtime>(
    shard: &Shard<R>,
    (site, place): (&Site, Option<&Place<R>>),
    idle_since: Instant,
) -> bool {
    if place.is_some_and(|place| place.is_wanted(site)) {
        return true;
    }
    site.slots.wanted_by_others(shard.index)
        && (site.connections.get() > lend::share(shard)
            || shard.timers.recent().since(idle_since) >= limits::IDLE_KEPT)
}

/// Waits for work. False: the hop closed, or nothing came for long.
async fn idle<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    (site, place): (&Rc<Site>, Option<&Place<R>>),
    connection: &mut Connection<R>,
    nap: &Rc<Nap>,
    since: Instant,
) -> bool {
    connection.wire.limit_idle(&shard.timers, limits::client::IDLE);
    nap.address.set(place.map(Place::address));
    place.inspect(|place| place.set_idle(key, true));
    dispatch::nap(shard, key, site, nap);
    let alive = poll_fn(|context| {
        // Who was refused a slot before this nap was seen asked nobody.
        if nap.woken.get() || gives_up(shard, (site, place), since) {
            return Poll::Ready(true);
        }
        // Whatever comes from an idle hop is a goodbye, or the end.
        if connection.wire.poll_disturbed(context).is_ready() {
            return Poll::Ready(false);
        }
        *nap.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    dispatch::risen(shard, key, site, nap);
    place.inspect(|place| place.set_idle(key, false));
    alive
}
