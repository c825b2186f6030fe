//! One task for each connection to a next hop. It takes work from the site's queue until there is none.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::limits;
use crate::names::ends::End;
use crate::observe::diagnostics::Level;
use crate::queue::destinations::SiteKey;
use crate::queue::outcome::{Ended, Failure};
use crate::route::{Hop, Protocol, SitePolicy};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::address::AddressPermit;
use crate::shard::outbound::attempt::attempt;
use crate::shard::outbound::bucket::Token;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::opening::{OpeningConnection, Unproven};
use crate::shard::outbound::provider::ConnectionPlaces;
use crate::shard::outbound::rates::Rights;
use crate::shard::outbound::session::Connection;
use crate::shard::outbound::site::{IdleConnection, Site, Work};
use crate::shard::outbound::work::{After, GroupUnderWay, Run};
use crate::shard::outbound::{
    adapt, borrow, capture, connect, egress, feedback, line, local, node_order, notice, pump, settle, sites,
    spare,
};
use crate::smtp::reply::Reply;
use crate::time::Instant;

/// Connections that were begun are opened, each by a task of its own. True: perhaps not all of them, as this turn is long enough.
pub(in crate::shard) fn open_begun<R: Runtime>(shard: &Rc<Shard<R>>) -> bool {
    let outbound = &shard.outbound;
    // A task may run inside the spawn, end at once and come here: then the loop it was begun by goes on, and no stack grows.
    if outbound.opens.replace(true) {
        return true;
    }
    let more = loop {
        let Some(begun) = outbound.begun.borrow_mut().pop_front() else { break false };
        shard.runtime.spawn(deliver(shard.clone(), begun));
        if shard.runtime.should_yield() {
            break true;
        }
    };
    outbound.opens.set(false);
    more
}

/// Opens a connection and works until there is nothing to do.
async fn deliver<R: Runtime>(shard: Rc<Shard<R>>, begun: OpeningConnection<R>) {
    let OpeningConnection { key, site, unproven, coming, places, token } = begun;
    let lease = Lease {
        shard: shard.clone(),
        site: site.clone(),
        key,
        era: site.era.get(),
        yields: Cell::new(false),
        opening: Cell::new(true),
        answered: Cell::new(false),
        stands: Cell::new(false),
        unproven: RefCell::new(unproven),
        places: places.map(Rc::new),
        ended: Cell::new(false),
    };
    // It asks for its place now.
    drop(coming);
    let (hop, policy) = (site.hop.borrow().clone(), site.policy.borrow().clone());
    let given_up = if hop.protocol == Protocol::Local(End::Captured) {
        lease.opened();
        capture::end(&shard, key, &site, || lease.proven()).await;
        None
    } else if let Protocol::Local(end) = hop.protocol {
        lease.opened();
        local::end(&shard, key, &site, end, || lease.proven()).await;
        None
    } else if hop.protocol == Protocol::Feedback {
        lease.opened();
        feedback::end(&shard, key, &site, || lease.proven()).await;
        None
    } else {
        connected(&shard, key, &site, (&hop, &policy, &lease), token).await
    };
    lease.ended.set(true);
    let wanted = site.must_share(lease.places.as_deref(), shard.index);
    if !lease.yields.get() && site.count.wanted_by_others(shard.index) {
        node_order::passes_on(&shard, key, &site, false);
    }
    drop(lease);
    if let Some(place) = given_up {
        line::pass_on(&shard, place, key, &site);
    }
    if wanted {
        sites::give_way(&shard, key, &site);
    } else {
        pump::pump(&shard, key);
    }
    line::admit(&shard);
    // Not in the inbox's next turn: before that others may have the place.
    open_begun(&shard);
}

/// Connects, and works over that; the place at an address that is free then.
async fn connected<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    site: &Rc<Site>,
    (hop, policy, lease): (&Hop, &SitePolicy, &Lease<R>),
    token: Option<Token<R>>,
) -> Option<AddressPermit> {
    let begun = shard.runtime.now();
    let connected = connect::connect(shard, (hop, policy), Rights::new(shard, site, token)).await;
    lease.opened();
    match connected {
        Ok(mut connection) => {
            connection.by.iter().for_each(|source| egress::works(shard, source));
            shard.instruments.counters.outbound_connections_opened.add(1);
            lease.stands();
            connection.capabilities.handover &= hop.hands_over;
            let place = connection.place.take();
            if work(shard, key, (site, place.as_ref(), lease), &mut connection).await {
                connection.quit(shard).await;
            } else {
                connection.leave(shard).await;
            }
            // Its place is free when the connection is gone, not before.
            drop(connection);
            return place;
        }
        Err(HopError::Full(address)) => line::park(shard, key, site, address),
        Err(HopError::TakesNone(reply, named)) => {
            shard.instruments.counters.outbound_connections_failed.add(1);
            return_all(shard, key, site, (&reply, &named)).await;
        }
        Err(error) => {
            shard.instruments.counters.outbound_connections_failed.add(1);
            adapt::refused_session(shard, site, &error, begun);
            failed(shard, key, site, &error);
        }
    }
    None
}

/// The connection's place in the counts, given back when its task ends or panics.
struct Lease<R: Runtime> {
    shard: Rc<Shard<R>>,
    site: Rc<Site>,
    key: SiteKey,
    /// It was passed on to another shard.
    yields: Cell<bool>,
    /// The era of the site in which it was begun.
    era: u32,
    opening: Cell<bool>,
    answered: Cell<bool>,
    /// A session came up.
    stands: Cell<bool>,
    unproven: RefCell<Option<Unproven>>,
    /// Its places at the providers of its site.
    places: Option<Rc<ConnectionPlaces>>,
    /// Its task came to its end, and sees to it that others go on.
    ended: Cell<bool>,
}

impl<R: Runtime> Lease<R> {
    /// The attempt to connect is over.
    fn opened(&self) {
        if self.opening.replace(false) {
            self.site.opening.set(self.site.opening.get() - 1);
        }
    }

    /// A session came up.
    fn stands(&self) {
        self.stands.set(true);
        let (count, now) = (&self.site.count, self.shard.runtime.now());
        let standing = count.stands();
        count.window().inspect(|window| window.came_up(standing, now));
    }

    /// A message was answered over it.
    fn proven(&self) {
        // Not when the session comes up: a host may refuse every MAIL, and its site rests longer each time.
        if !self.answered.replace(true) {
            self.shard.outbound.destinations.borrow_mut().open_site(self.key);
        }
        self.site.proven.set(true);
        self.site.hop.borrow().by.iter().for_each(|source| source.heard(self.shard.timers.recent()));
        if self.unproven.take().is_some() {
            line::admit(&self.shard);
        }
    }
}

impl<R: Runtime> Drop for Lease<R> {
    fn drop(&mut self) {
        self.opened();
        if self.stands.get() {
            self.site.count.falls();
        }
        self.site.connections.set(self.site.connections.get() - 1);
        self.shard.outbound.connections.set(self.shard.outbound.connections.get() - 1);
        self.shard.mesh.release(&self.site.count);
        if !self.ended.get() {
            // It panicked: what waits would have nobody.
            sites::later(&self.shard, [self.key]);
        }
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
        match pump::take(shard, key, site) {
            Work::Expired(job) => settle::expired(shard, &job),
            Work::Job(job) => {
                let under_way = GroupUnderWay::new(shard, site, job);
                let failure = Failure {
                    status: reply.enhanced.or(Some((5, 3, 2))),
                    remote: Some(named.to_owned()),
                    diagnostic: reply.describe(),
                    class: None,
                    record: Vec::new(),
                    receipt: None,
                    unattempted: false,
                    late: None,
                };
                let ended = Ended::Bounced(Box::new(failure));
                let told = || {
                    assert!(!shard.runtime.planted(Defect::PanicOverReturn), "as planted");
                    under_way.settled();
                };
                let (hop, policy) = (site.hop.borrow().clone(), site.policy.borrow().clone());
                settle::whole_by(shard, &job, ended, (named, settle::Way::to(&hop, &policy), told)).await;
            }
            Work::Nothing => return,
        }
    }
}

/// No session came up. While others work that only bounds how many we open; otherwise the site rests.
fn failed<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>, error: &HopError) {
    notice::of_session(shard, key, site, error);
    *site.last_error.borrow_mut() = (error.status(), error.to_string());
    let of_source = matches!(error, HopError::Source(_));
    site.by_source.set(of_source);
    let held = site.hop.borrow().by.as_ref().is_some_and(|source| source.is_held());
    if let (HopError::Source(why), Some(source), false) = (error, &site.hop.borrow().by, held) {
        egress::failed(shard, source, why);
    }
    // A host that refuses the session for good speaks of us: nobody has named a recipient yet.
    let refuses_us = matches!(error, HopError::Refused(reply) if reply.is_permanent());
    if refuses_us {
        shard.instruments.counters.relay_refused.add(1);
    }
    site.proven.set(false);
    if site.connections.get() > site.opening.get() + 1 {
        site.hold(shard.runtime.now());
        return;
    }
    let ours = matches!(error, HopError::Ourselves(_) | HopError::Login(_));
    let level = if refuses_us || (of_source && !held) || ours { Level::Error } else { Level::Warning };
    sites::rest(shard, key, site, level, error);
}

/// Works until told to stop. False: the connection is broken already.
async fn work<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    (site, place, lease): (&Rc<Site>, Option<&AddressPermit>, &Lease<R>),
    connection: &mut Connection<R>,
) -> bool {
    let mut most = site.policy.borrow().messages_per_connection;
    if shard.runtime.planted(Defect::MessagesUncounted) {
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
        places: lease.places.as_deref(),
        most,
        ends,
        yields: &lease.yields,
        era: lease.era,
        done: 0,
        begun: shard.runtime.now(),
        begun_at: shard.timers.recent(),
        took: Cell::new(false),
        ahead: None,
        token: None,
        idle_since: None,
    };
    let resting = Rc::new(IdleConnection { places: lease.places.clone(), ..IdleConnection::default() });
    loop {
        if run.ahead.is_none() && !run.goes_on() {
            return true;
        }
        let next = run.ahead.take().or_else(|| run.take());
        let Some(next) = next else {
            let since = *run.idle_since.get_or_insert(shard.timers.recent());
            if gives_up(shard, (site, place), &resting, since)
                || !idle(shard, key, (site, place), connection, &resting, since).await
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
    let most = limits::client::REUSE.as_secs();
    Duration::from_secs(most - shard.runtime.random() % (most / 4))
}

/// Another shard waits for a connection, and this one has more than its share or has had no work for a while: a connection that is closed
/// at the first empty moment would have to be opened again in the next.
fn gives_up<R: Runtime>(
    shard: &Shard<R>,
    (site, place): (&Site, Option<&AddressPermit>),
    resting: &IdleConnection,
    idle_since: Instant,
) -> bool {
    if place.is_some_and(|place| place.is_wanted(site)) {
        return true;
    }
    if spare::is_it(shard, site, resting) {
        return false;
    }
    let idle_for = shard.timers.recent().since(idle_since);
    // Another site of a provider, or of these hosts, may have none at all: it does not wait for one that is kept here in case.
    let must_share = || site.must_share(resting.places.as_deref(), shard.index);
    (idle_for >= limits::IDLE_KEPT && must_share())
        || site.count.wanted_by_others(shard.index)
            && (site.connections.get() > borrow::share(shard, site)
                || idle_for >= spare::idle_kept(shard, site))
}

/// Waits for work. False: the hop closed, or nothing came for long.
async fn idle<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    (site, place): (&Rc<Site>, Option<&AddressPermit>),
    connection: &mut Connection<R>,
    resting: &Rc<IdleConnection>,
    since: Instant,
) -> bool {
    connection.wire.limit_idle(&shard.timers, connection.timeouts.idle);
    resting.address.set(place.map(AddressPermit::address));
    let _rests = Rests::begin(shard, key, (site, place), resting);
    if site.holds_wanted(shard.index) {
        // It is looked at again once it has been so for a while.
        shard.outbound.asked.set(true);
    }
    poll_fn(|context| {
        // Who was refused a connection before this one was seen resting asked nobody.
        if resting.woken.get() || gives_up(shard, (site, place), resting, since) {
            return Poll::Ready(true);
        }
        // Whatever comes from an idle hop is a 421, or the end.
        if connection.wire.poll_disturbed(context).is_ready() {
            return Poll::Ready(false);
        }
        *resting.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
    .await
}

/// A connection that has nothing to do, for as long as that is so: a task that panics leaves none behind that nobody can wake.
struct Rests<'a, R: Runtime> {
    shard: &'a Shard<R>,
    key: SiteKey,
    site: &'a Site,
    place: Option<&'a AddressPermit>,
    resting: &'a Rc<IdleConnection>,
}

impl<'a, R: Runtime> Rests<'a, R> {
    fn begin(
        shard: &'a Shard<R>,
        key: SiteKey,
        (site, place): (&'a Rc<Site>, Option<&'a AddressPermit>),
        resting: &'a Rc<IdleConnection>,
    ) -> Rests<'a, R> {
        place.inspect(|place| place.set_idle(key, true));
        sites::goes_idle(shard, key, site, resting);
        Rests { shard, key, site, place, resting }
    }
}

impl<R: Runtime> Drop for Rests<'_, R> {
    fn drop(&mut self) {
        sites::goes_on(self.shard, self.key, self.site, self.resting);
        self.place.inspect(|place| place.set_idle(self.key, false));
    }
}

#[cfg(test)]
mod tests;
