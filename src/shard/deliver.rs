//! Stage 7: one task for each connection to a next hop. It takes work from the site's queue until there is none.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use smallvec::SmallVec;

use crate::limits;
use crate::mail::trace;
use crate::observe::diagnostics::Level;
use crate::queue::Group;
use crate::queue::destinations::SiteKey;
use crate::queue::schedule;
use crate::runtime::Runtime;
use crate::shard::compact::Pinned;
use crate::shard::connect::{self, Connection, HopError};
use crate::shard::dispatch::{self, Nap, Site, Take};
use crate::shard::load::{self, Source};
use crate::shard::mesh::{Failure, Fate, Job, Outcomes, RangeOutcome};
use crate::shard::{Shard, body, lend, settle};
use crate::smtp::client::{self, Transaction, Verdict};
use crate::smtp::reply::Reply;
use crate::spool::Location;
use crate::spool::record::MessageView;
use crate::time::Instant;

/// Outcomes of an attempt so far; nearly always there is one.
type Ranges = SmallVec<[RangeOutcome; 1]>;

/// What is to become of a connection after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Keep,
    Close,
    /// It had been closed by the hop while it was idle; nothing was attempted.
    Stale,
}

/// Opens a connection and works until there is nothing to do.
pub async fn deliver<R: Runtime>(shard: Rc<Shard<R>>, key: SiteKey, site: Rc<Site>) {
    let lease = Lease { shard: shard.clone(), site: site.clone(), opening: Cell::new(true) };
    let hop = site.hop.borrow().clone();
    let connected = connect::connect(&shard, &hop).await;
    lease.opened();
    match connected {
        Ok(mut connection) => {
            shard.instruments.counters.outbound_connections_opened.add(1);
            shard.destinations.borrow_mut().open_site(key);
            if work(&shard, key, &site, &mut connection).await {
                connection.quit(&shard).await;
            } else {
                connection.leave(&shard).await;
            }
        }
        Err(error) => {
            shard.instruments.counters.outbound_connections_failed.add(1);
            failed(&shard, key, &site, &error);
        }
    }
    drop(lease);
    dispatch::pump(&shard, key);
}

/// The connection's place in the counts, given back when its task ends or panics.
struct Lease<R: Runtime> {
    shard: Rc<Shard<R>>,
    site: Rc<Site>,
    opening: Cell<bool>,
}

impl<R: Runtime> Lease<R> {
    /// The attempt to connect is over.
    fn opened(&self) {
        if self.opening.replace(false) {
            self.site.opening.set(self.site.opening.get() - 1);
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

/// No session came up. While others work that only bounds how many we open; otherwise the site rests.
fn failed<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Site, error: &HopError) {
    *site.last_error.borrow_mut() = error.to_string();
    if site.connections.get() > site.opening.get() + 1 {
        site.hold(shard.runtime.now());
        return;
    }
    let mut destinations = shard.destinations.borrow_mut();
    let failures = destinations.failures(key);
    let pause =
        schedule::site_pause(failures, shard.runtime.random()).min(shard.settings.retry.max).as_secs().max(1)
            as u32;
    let now = shard.seconds();
    if destinations.ready(key, now) > 0 {
        shard
            .say(Level::Warning, format_args!("{}: {error}; next try in {pause} s", site.hop.borrow().label));
    }
    destinations.close_site(key, now + pause);
    drop(destinations);
    lend::give_back(shard, site);
}

/// Works until told to stop. False: the connection is broken already.
async fn work<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    site: &Rc<Site>,
    connection: &mut Connection<R>,
) -> bool {
    let mut most = shard.settings.delivery.messages_per_connection;
    if shard.runtime.planted("messages of a connection are not counted") {
        most = 0;
    }
    let mut run = Run { shard, key, site, most, done: 0, ahead: None, idle_since: None };
    let nap = Rc::default();
    loop {
        if run.ahead.is_none() && !run.goes_on() {
            return true;
        }
        let next = run.ahead.take().or_else(|| run.take());
        let Some(next) = next else {
            let since = *run.idle_since.get_or_insert(shard.timers.recent());
            if gives_up(shard, site, since) || !idle(shard, site, connection, &nap, since).await {
                return true;
            }
            continue;
        };
        run.idle_since = None;
        match attempt(&mut run, connection, next).await {
            After::Keep => run.done += 1,
            // What went ahead is put back when it is dropped: its body was never sent.
            After::Close | After::Stale => return false,
        }
    }
}

/// The messages of one connection, one after the other.
struct Run<'a, R: Runtime> {
    shard: &'a Rc<Shard<R>>,
    key: SiteKey,
    site: &'a Rc<Site>,
    /// Messages a connection may carry; 0: any number.
    most: usize,
    done: usize,
    ahead: Option<Next<'a, R>>,
    /// Since when there was nothing to do.
    idle_since: Option<Instant>,
}

/// A group that is next on a connection.
struct Next<'a, R: Runtime> {
    under_way: UnderWay<'a, R>,
    /// Its MAIL, RCPT and DATA went out behind the body of the message before.
    opened: bool,
}

impl<'a, R: Runtime> Run<'a, R> {
    /// Whether another message may be begun now.
    fn goes_on(&self) -> bool {
        let Run { shard, site, most, done, .. } = self;
        !shard.draining.get() && (*most == 0 || done < most) && !must_yield(shard, site, *done)
    }

    /// The next group of the site's queue; what is too old is settled.
    fn take(&self) -> Option<Next<'a, R>> {
        let Run { shard, key, site, .. } = *self;
        loop {
            match dispatch::take(shard, key, site) {
                // The site is reached now: what it once failed of is not what this message was told last.
                Take::Expired(job) => settle::expired(shard, &job, ""),
                Take::Job(job) => {
                    let under_way = UnderWay { shard: shard.clone(), site, job, settled: Cell::new(false) };
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
    fn open_next(&mut self, connection: &mut Connection<R>, out: &mut Vec<u8>) {
        let Run { shard, key, site, .. } = *self;
        site.pipelines.set(
            shard.settings.delivery.pipeline_messages
                && connection.capabilities.pipelining
                && connection.is_prompt(),
        );
        self.done += 1;
        let goes_on = site.pipelines.get() && self.goes_on() && dispatch::is_crowded(shard, key, site);
        self.done -= 1;
        if !goes_on {
            return;
        }
        let Some(mut next) = self.take() else { return };
        let mut headers = std::mem::take(&mut connection.spare.next);
        next.opened = open(&next.under_way, connection, (&mut headers, out)).is_some();
        connection.spare.next = headers;
        self.ahead = Some(next);
    }
}

/// Writes the commands of a message whose record is surely in memory and that goes in one transaction.
fn open<R: Runtime>(
    under_way: &UnderWay<'_, R>,
    connection: &Connection<R>,
    (headers, out): (&mut Vec<u8>, &mut Vec<u8>),
) -> Option<()> {
    let (shard, group) = (&under_way.shard, &under_way.job.group);
    if usize::from(group.count) > limits::TRANSACTION_RECIPIENTS_MAX || !is_resident(shard, group) {
        return None;
    }
    let place = Pinned::new(shard, group.key, group.location);
    let source = Source::mapped(shard, place.location).ok()?;
    let view = source.view().ok()?;
    let part = Part { first: group.first, count: group.count, group, resident: true };
    begin(shard, connection, &view, &part, headers).ok()?.write_commands(out);
    Some(())
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
fn gives_up<R: Runtime>(shard: &Shard<R>, site: &Site, idle_since: Instant) -> bool {
    site.slots.wanted_by_others(shard.index)
        && (site.connections.get() > lend::share(shard)
            || shard.timers.recent().since(idle_since) >= limits::IDLE_KEPT)
}

/// Waits for work. False: the hop closed, or nothing came for long.
async fn idle<R: Runtime>(
    shard: &Rc<Shard<R>>,
    site: &Rc<Site>,
    connection: &mut Connection<R>,
    nap: &Rc<Nap>,
    since: Instant,
) -> bool {
    connection.wire.limit_idle(&shard.timers, limits::client::IDLE);
    site.nap(nap, shard.index);
    let alive = poll_fn(|context| {
        // Who was refused a slot before this nap was seen asked nobody.
        if nap.woken.get() || gives_up(shard, site, since) {
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
    site.risen(nap, shard.index);
    alive
}

/// A group under way. If its task panics it goes back to its queue: a bug costs a connection, not mail.
struct UnderWay<'a, R: Runtime> {
    shard: Rc<Shard<R>>,
    site: &'a Site,
    job: Job,
    settled: Cell<bool>,
}

impl<R: Runtime> Drop for UnderWay<'_, R> {
    fn drop(&mut self) {
        // The pump that follows the end of the connection finds it.
        if self.settled.get() {
        } else if usize::from(self.job.home) != self.shard.index {
            lend::put_back(&self.shard, self.site, self.job);
        } else if let Ok(mut destinations) = self.shard.destinations.try_borrow_mut() {
            let _ = destinations.put_back(self.job.domain, self.job.group);
        }
    }
}

/// One group over this connection.
async fn attempt<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    Next { under_way, mut opened }: Next<'_, R>,
) -> After {
    let (shard, site, reused) = (run.shard, run.site, run.done > 0);
    let job = &under_way.job.clone();
    let group = &job.group;
    let resident = is_resident(shard, group);
    let place = Pinned::new(shard, group.key, group.location);
    let source = if resident {
        Source::mapped(shard, place.location)
    } else {
        Source::read(shard, place.location).await
    };
    let source = match source {
        Ok(source) => source,
        Err(error) => {
            under_way.settled.set(true);
            return unreadable(shard, job, place.location, &error).await;
        }
    };
    let view = match source.view() {
        Ok(view) => view,
        Err(error) => {
            under_way.settled.set(true);
            return unreadable(shard, job, place.location, &error).await;
        }
    };
    let mut ranges = Ranges::new();
    let mut after = After::Keep;
    let end = group.first + group.count;
    let mut first = group.first;
    while first < end {
        let count = (end - first).min(limits::TRANSACTION_RECIPIENTS_MAX as u16);
        let part = Part { first, count, group, resident };
        let reused = reused && first == group.first;
        let last = first + count == end;
        if after == After::Close {
            // The connection broke in an earlier part; the rest is tried again soon.
            let words = site.last_error.borrow().clone();
            let reply = client::local(451, (4, 4, 2), &words);
            merge(
                &mut ranges,
                first,
                count,
                fate(shard, &Verdict::Deferred(0), &reply, &part, &connection.hop),
            );
        } else {
            let how = How { reused, last, opened: std::mem::take(&mut opened) };
            after = transact(run, connection, &view, &part, how, &mut ranges).await;
            if after == After::Stale {
                // Dropping `under_way` puts the group back.
                return After::Stale;
            }
        }
        first += count;
    }
    let outcomes = if ranges.len() == 1 {
        Outcomes::One(ranges.remove(0))
    } else {
        Outcomes::Many(ranges.into_vec().into_boxed_slice())
    };
    under_way.settled.set(true);
    let scene = settle::Scene { view: &view, hop: &connection.hop, tls: &connection.tls, reply: "" };
    settle::report(shard, job, outcomes, Some(&scene));
    after
}

/// The recipients of one transaction.
struct Part<'a> {
    first: u16,
    count: u16,
    group: &'a Group,
    resident: bool,
}

/// How a transaction stands to those before and after it on its connection.
#[derive(Clone, Copy)]
struct How {
    /// The connection carried mail before.
    reused: bool,
    /// No other part of the group follows.
    last: bool,
    /// Its commands were sent already.
    opened: bool,
}

/// Whether the message's pages are surely still in memory: it came in a moment ago. A page that is not would stall the shard.
fn is_resident<R: Runtime>(shard: &Shard<R>, group: &Group) -> bool {
    const FRESH: u32 = 60;
    let expire = u32::try_from(shard.settings.retry.expire.as_secs()).unwrap_or(u32::MAX);
    let arrival = group.expiry.saturating_sub(expire);
    group.resident && shard.seconds().saturating_sub(arrival) < FRESH
}

/// The spool cannot give the message back: it is kept, and tried again.
async fn unreadable<R: Runtime>(
    shard: &Rc<Shard<R>>,
    job: &Job,
    place: Location,
    error: &io::Error,
) -> After {
    let group = &job.group;
    load::lament(shard, load::name(shard, place).await, place, &format!("cannot be delivered: {error}"));
    let attempts = group.attempts.saturating_add(1);
    let now = shard.seconds_up();
    let next = schedule::next_attempt(&shard.settings.retry, attempts, now, shard.runtime.random());
    let reply = format!("451 4.3.0 {error}").into();
    settle::whole(shard, job, Fate::Deferred { attempts, next, reply });
    After::Keep
}

/// The transaction of a part; the header it adds is written to `headers`. `Err`: the reply of a failure that needs no question.
fn begin<'a, R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    view: &MessageView<'a>,
    part: &Part<'_>,
    headers: &mut Vec<u8>,
) -> Result<Transaction<'a>, Reply> {
    let recipients: client::Recipients<'a> = view
        .recipients()
        .skip(usize::from(part.first))
        .take(usize::from(part.count))
        .map(|(address, _)| address)
        .collect();
    headers.clear();
    let single = if view.count == 1 { recipients.first().copied() } else { None };
    let hostname = &shard.settings.node.hostname;
    trace::write_received(headers, view.origin(), hostname, view.id, view.arrival, single);
    if view.header_length == 0 && view.size > 0 {
        // It begins with white space: without an empty line that would be read as more of our field (RFC 5322 2.2.3).
        headers.extend_from_slice(b"\r\n");
    }
    let size = view.size + headers.len() as u64;
    Transaction::new(&connection.capabilities, view.sender, recipients, size, view.eight_bit)
}

/// One transaction.
async fn transact<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    view: &MessageView<'_>,
    part: &Part<'_>,
    how: How,
    ranges: &mut Ranges,
) -> After {
    let (shard, site, reused) = (run.shard, run.site, how.reused);
    let mut headers = std::mem::take(&mut connection.spare.headers);
    let mut transaction = match begin(shard, connection, view, part, &mut headers) {
        Ok(begun) => begun,
        Err(reply) => {
            let failed = fate(shard, &Verdict::Failed(0), &reply, part, &connection.hop);
            merge(ranges, part.first, part.count, failed);
            return After::Keep;
        }
    };
    let ended = converse(run, connection, view, part, how, &headers, &mut transaction).await;
    connection.spare.headers = headers;
    if let Err((error, heard)) = ended {
        // A hop may close an idle session at any time, just when we begin: that is not the message's fault.
        if reused && !heard && matches!(error, HopError::Wire(_)) {
            return After::Stale;
        }
        if let HopError::Spool(error) = error {
            let words = format!("the spool: {error}");
            load::lament(shard, Some(view.id), part.group.location, &format!("cannot be delivered: {error}"));
            transaction.on_trouble(&words);
        } else {
            let words = format!("{error} (waiting for the answer to {})", transaction.awaiting());
            site.last_error.borrow_mut().clone_from(&words);
            transaction.on_failure(&words);
        }
    }
    // Many hops take so many messages on a connection and no more; the next one is welcome on a new connection.
    if reused && transaction.is_unbegun() {
        return After::Stale;
    }
    for place in 0..part.count {
        let Some((verdict, reply)) = transaction.verdict(usize::from(place)) else { continue };
        merge(ranges, part.first + place, 1, fate(shard, verdict, reply, part, &connection.hop));
    }
    if transaction.must_close() {
        return After::Close;
    }
    if transaction.needs_reset() && reset(shard, connection).await.is_err() {
        return After::Close;
    }
    After::Keep
}

async fn reset<R: Runtime>(shard: &Rc<Shard<R>>, connection: &mut Connection<R>) -> Result<(), HopError> {
    connection.send(shard, b"RSET\r\n", limits::client::HELLO).await?;
    let reply = connection.reply(shard, limits::client::HELLO).await?;
    if reply.is_positive() { Ok(()) } else { Err(HopError::Refused(reply)) }
}

/// Drives a transaction to its end. An error comes with whether the hop had said anything in it.
async fn converse<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    view: &MessageView<'_>,
    part: &Part<'_>,
    how: How,
    headers: &[u8],
    transaction: &mut Transaction<'_>,
) -> Result<(), (HopError, bool)> {
    let shard = run.shard;
    let mut heard = false;
    let mut out = std::mem::take(&mut connection.spare.out);
    out.clear();
    transaction.write_commands(&mut out);
    if !how.opened {
        connection.send(shard, &out, transaction.patience()).await.map_err(|error| (error, heard))?;
    }
    loop {
        let reply = connection.reply(shard, transaction.patience()).await.map_err(|error| (error, heard))?;
        heard = true;
        match transaction.on_reply(reply) {
            client::Next::AwaitReply => {}
            client::Next::WriteCommands => {
                out.clear();
                transaction.write_commands(&mut out);
                connection.send(shard, &out, transaction.patience()).await.map_err(|error| (error, heard))?;
            }
            client::Next::SendBody => {
                out.clear();
                out.extend_from_slice(b".\r\n");
                if how.last {
                    run.open_next(connection, &mut out);
                }
                connection.body_begins(shard);
                let sent = body::send(
                    shard,
                    connection,
                    view,
                    (part.group.location.lane, part.resident),
                    headers,
                    &out,
                )
                .await;
                sent.map_err(|error| (error, heard))?;
            }
            client::Next::SendDot => {
                connection
                    .send(shard, b".\r\n", limits::client::BLOCK)
                    .await
                    .map_err(|error| (error, heard))?;
            }
            client::Next::Done => {
                connection.body_answered(shard);
                connection.spare.out = out;
                return Ok(());
            }
        }
    }
}

/// What a verdict means for the queue.
fn fate<R: Runtime>(shard: &Shard<R>, verdict: &Verdict, reply: &Reply, part: &Part<'_>, hop: &str) -> Fate {
    match verdict {
        Verdict::Delivered(_) => Fate::Delivered,
        Verdict::Deferred(_) => {
            let attempts = part.group.attempts.saturating_add(1);
            let now = shard.seconds_up();
            let next = schedule::next_attempt(&shard.settings.retry, attempts, now, shard.runtime.random());
            Fate::Deferred { attempts, next: next.min(part.group.expiry), reply: reply.describe().into() }
        }
        Verdict::Failed(_) => Fate::Failed(Box::new(Failure {
            expired: false,
            status: reply.enhanced,
            remote: Some(hop.to_owned()),
            diagnostic: reply.describe(),
        })),
    }
}

/// Adds a recipient's fate, to its neighbours' if it is the same.
fn merge(ranges: &mut Ranges, first: u16, count: u16, fate: Fate) {
    if let Some(last) = ranges.last_mut()
        && last.first + last.count == first
        && same(&last.fate, &fate)
    {
        last.count += count;
        return;
    }
    ranges.push(RangeOutcome { first, count, fate });
}

/// Jitter apart, deferrals with one reply are the same.
fn same(one: &Fate, other: &Fate) -> bool {
    match (one, other) {
        (Fate::Deferred { attempts: a, reply: x, .. }, Fate::Deferred { attempts: b, reply: y, .. }) => {
            a == b && x == y
        }
        _ => one == other,
    }
}
