//! Beside stage 5: a home shard that has no time for a hot destination lends some of its queue.
//!
//! A loan is a batch of jobs, taken from the queue in its order and with their credits, and where they go. The borrower
//! delivers them over connections of its own, which count against the site's limit like all others; outcomes go from there to
//! the shards of the lanes, and what is to be tried again comes home. So order, retries, back-off and limits stay with the home
//! shard, and a message costs it a place in two letters.
//!
//! A loan is small and the next one comes when the last is worked off, so a borrower takes as much as it has time for. One
//! that cannot connect, or does not get to it, gives the jobs back untouched and is left alone for a while.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::limits;
use crate::queue::Group;
use crate::queue::destinations::{SiteKey, Take as Taken};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::message::{Job, Letter, Loan, Returned};
use crate::shard::outbound::dispatch::{self, Site, Take};
use crate::shard::outbound::settle;
use crate::time::Instant;

/// How often a site with much to do is looked at for what could be lent.
const LOOK: Duration = Duration::from_millis(2);
/// The span over which it is measured how busy a shard is, at least.
const MEASURE: Duration = Duration::from_millis(20);
/// How long after a loan a shard leaves others the larger share of the connections.
const LENDER: Duration = Duration::from_secs(2);
/// Attempted jobs that go home in one letter, unless the borrower has nothing left to do.
const RETURN_AT: usize = 16;

/// What a shard lent and borrowed.
pub struct Lending {
    lent: RefCell<Vec<Lent>>,
    /// What is to go home, by home shard.
    returns: RefCell<Vec<Returned>>,
    /// Sites with borrowed jobs.
    borrowing: RefCell<Vec<Rc<Site>>>,
    /// Borrowed jobs that wait for a connection.
    waiting: Cell<usize>,
    /// This shard works most of its time.
    busy: Cell<bool>,
    /// It counts as a lender until then.
    lent_until: Cell<Instant>,
    /// When that was last looked at, and how long it had worked until then.
    measured: Cell<(Instant, Duration)>,
    next_look: Cell<Instant>,
}

/// What another shard has of ours.
#[derive(Clone, Copy)]
struct Lent {
    jobs: usize,
    /// It gave something back; it is not asked before this.
    rests_until: Instant,
}

impl Lending {
    /// Nothing is lent, among so many shards.
    pub fn new(shards: usize) -> Lending {
        Lending {
            lent: RefCell::new(vec![Lent { jobs: 0, rests_until: Instant(0) }; shards]),
            returns: RefCell::new(vec![Returned::default(); shards]),
            borrowing: RefCell::default(),
            waiting: Cell::new(0),
            busy: Cell::new(false),
            lent_until: Cell::new(Instant(0)),
            measured: Cell::new((Instant(0), Duration::ZERO)),
            next_look: Cell::new(Instant(0)),
        }
    }

    /// What the site borrowed goes home if nobody gets to it.
    fn watch(&self, site: &Rc<Site>) {
        let mut borrowing = self.borrowing.borrow_mut();
        if !borrowing.iter().any(|other| Rc::ptr_eq(other, site)) {
            borrowing.push(site.clone());
        }
    }
}

/// Jobs of other shards for one site, in the order they came.
pub struct Borrowed {
    jobs: RefCell<VecDeque<Job>>,
    /// Whether a borrowed job is next, or one of the shard's own.
    turn: Cell<bool>,
    /// When one was last taken, or came to an empty queue.
    touched: Cell<Instant>,
}

impl Default for Borrowed {
    fn default() -> Borrowed {
        Borrowed { jobs: RefCell::default(), turn: Cell::new(false), touched: Cell::new(Instant(0)) }
    }
}

impl Borrowed {
    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.jobs.borrow().len()
    }

    /// Borrowed jobs and the shard's own are served in turn.
    pub fn is_next(&self) -> bool {
        !self.turn.replace(!self.turn.get())
    }
}

// What the home shard does.

/// Lends what a site has more than this shard gets to, if it has more to do than time.
pub(in crate::shard) fn lend<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>) {
    let lending = &shard.lending;
    let now = shard.timers.recent();
    if now < lending.next_look.get() || shard.draining.get() {
        return;
    }
    lending.next_look.set(now + LOOK);
    measure(shard);
    if !lending.busy.get() {
        return;
    }
    let ready = shard.destinations.borrow().ready(key, shard.seconds());
    let borrowers = borrowers(shard, ready, now);
    let share = ready / (borrowers.len() + 1);
    for borrower in borrowers {
        grant(shard, key, site, borrower, share);
    }
}

/// Whether this shard works most of its time.
pub(in crate::shard) fn is_busy<R: Runtime>(shard: &Shard<R>) -> bool {
    shard.lending.busy.get()
}

/// Whether this shard should leave further connections to those who have work of it.
pub(in crate::shard) fn leaves_room<R: Runtime>(shard: &Shard<R>, site: &Site) -> bool {
    is_lending(shard) && site.connections.get() >= share(shard).max(1)
}

fn is_lending<R: Runtime>(shard: &Shard<R>) -> bool {
    // Not by what is out just now: connections would go to and fro with every batch.
    shard.lending.busy.get() && shard.timers.recent() < shard.lending.lent_until.get()
}

/// Connections to a site this shard may hold when others want some: half of its share while others work for it, as it has the
/// queue to keep besides.
pub(in crate::shard) fn share<R: Runtime>(shard: &Shard<R>) -> usize {
    let share = shard.settings.delivery.connections_per_destination / shard.mesh.shards();
    if is_lending(shard) { share / 2 } else { share }
}

/// The shards that have more time than this one: those first that have something of ours, as they are connected.
fn borrowers<R: Runtime>(shard: &Shard<R>, ready: usize, now: Instant) -> Vec<usize> {
    // A borrower needs a connection, and so does the home shard.
    let most = shard.settings.delivery.connections_per_destination.saturating_sub(1);
    let lent = shard.lending.lent.borrow();
    let mesh = &shard.mesh;
    let has_time = |other: usize| !mesh.is_busy(other) || mesh.crowd(other) < ready / 2;
    let mut borrowers: Vec<usize> = (0..mesh.shards())
        .filter(|other| *other != shard.index && lent[*other].rests_until <= now && has_time(*other))
        .collect();
    borrowers.sort_by_key(|other| (lent[*other].jobs == 0, mesh.crowd(*other)));
    borrowers.truncate(most);
    borrowers.retain(|other| lent[*other].jobs < limits::LOANED_MAX);
    borrowers
}

fn grant<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Site, borrower: usize, share: usize) {
    let room = limits::LOANED_MAX - shard.lending.lent.borrow()[borrower].jobs;
    let bound = share.min(room);
    let now = shard.seconds();
    let mut jobs = Vec::with_capacity(bound);
    while jobs.len() < bound {
        let taken = shard.destinations.borrow_mut().take(key, now);
        match taken {
            Taken::Job(domain, group) => jobs.push(shard.own_job(domain, group)),
            Taken::Expired(domain, group) => settle::expired(shard, &shard.own_job(domain, group)),
            Taken::Nothing => break,
        }
    }
    if jobs.is_empty() {
        return;
    }
    shard.lending.lent.borrow_mut()[borrower].jobs += jobs.len();
    shard.lending.lent_until.set(shard.timers.recent() + LENDER);
    shard.instruments.counters.jobs_lent.add(jobs.len() as u64);
    let hop = site.hop.borrow().as_ref().clone();
    shard.mesh.send(borrower, Letter::Loan(Box::new(Loan { hop, jobs })));
}

/// Lent jobs come home; a borrower that worked them off gets more.
pub(in crate::shard) fn returned<R: Runtime>(shard: &Rc<Shard<R>>, from: u16, what: Returned) {
    let from = usize::from(from);
    let now = shard.timers.recent();
    let seconds = shard.seconds();
    let mut site = None;
    {
        let mut lent = shard.lending.lent.borrow_mut();
        lent[from].jobs -= what.attempted.len() + what.untouched.len();
        if !what.untouched.is_empty() {
            lent[from].rests_until = now + limits::LEND_PAUSE;
        }
    }
    for (job, again) in what.attempted {
        if shard.runtime.planted("what was lent is done again") {
            let _ = shard.destinations.borrow_mut().put_back(job.domain, job.group);
            continue;
        }
        let mut destinations = shard.destinations.borrow_mut();
        site = destinations.site_of(job.domain).or(site);
        destinations.attempted(job.domain, &job.group, &again, seconds);
    }
    let untouched = !what.untouched.is_empty();
    for job in what.untouched.into_iter().rev() {
        let effect = shard.destinations.borrow_mut().put_back(job.domain, job.group);
        if let Some(effect) = effect {
            dispatch::carry_out(shard, effect);
        }
    }
    let Some(key) = site.filter(|_| !untouched && !shard.draining.get()) else { return };
    let ready = shard.destinations.borrow().ready(key, seconds);
    let found = shard.sites.borrow().get(&key).cloned();
    if let Some(site) = found
        && ready >= shard.mesh.lend_at() / 4
    {
        grant(shard, key, &site, from, ready.div_ceil(2));
    }
}

// What the borrower does.

/// Jobs of another shard: they are delivered as if they were this shard's own.
pub(in crate::shard) fn borrow<R: Runtime>(shard: &Rc<Shard<R>>, loan: Loan) {
    let (key, site) = dispatch::site(shard, Rc::new(loan.hop));
    let count = loan.jobs.len();
    let lending = &shard.lending;
    if site.borrowed.waiting() == 0 {
        site.borrowed.touched.set(shard.timers.recent());
    }
    site.borrowed.jobs.borrow_mut().extend(loan.jobs);
    lending.waiting.set(lending.waiting.get() + count);
    lending.watch(&site);
    if shard.destinations.borrow().is_closed(key, shard.seconds()) {
        give_back(shard, &site);
        return;
    }
    for _ in 0..count {
        dispatch::pump(shard, key);
    }
}

/// The next borrowed job of a site.
pub(in crate::shard) fn take<R: Runtime>(shard: &Shard<R>, site: &Site) -> Option<Take> {
    let job = site.borrowed.jobs.borrow_mut().pop_front()?;
    site.borrowed.touched.set(shard.timers.recent());
    shard.lending.waiting.set(shard.lending.waiting.get() - 1);
    let expired = job.group.is_expired(shard.seconds());
    Some(if expired { Take::Expired(job) } else { Take::Job(job) })
}

/// The attempt never began: another connection makes it.
pub(in crate::shard) fn put_back<R: Runtime>(shard: &Shard<R>, site: &Rc<Site>, job: Job) {
    shard.lending.waiting.set(shard.lending.waiting.get() + 1);
    site.borrowed.jobs.borrow_mut().push_front(job);
    // All of it may have been under way, and the site no longer watched.
    shard.lending.watch(site);
}

/// An attempt ended, and these parts are to be tried again: the home shard's queue hears of it.
pub(in crate::shard) fn attempted<R: Runtime>(shard: &Shard<R>, job: &Job, again: Vec<Group>) {
    let home = usize::from(job.home);
    if home == shard.index {
        let now = shard.seconds();
        shard.destinations.borrow_mut().attempted(job.domain, &job.group, &again, now);
        return;
    }
    let full = {
        let attempted = &mut shard.lending.returns.borrow_mut()[home].attempted;
        attempted.push((*job, again));
        attempted.len() >= RETURN_AT
    };
    if full || shard.lending.waiting.get() == 0 {
        send_home(shard, home);
    }
}

/// Nobody can work on what a site borrowed.
pub(in crate::shard) fn give_back<R: Runtime>(shard: &Shard<R>, site: &Site) {
    let jobs = std::mem::take(&mut *site.borrowed.jobs.borrow_mut());
    if jobs.is_empty() {
        return;
    }
    let lending = &shard.lending;
    lending.waiting.set(lending.waiting.get() - jobs.len());
    shard.instruments.counters.jobs_given_back.add(jobs.len() as u64);
    for job in jobs {
        lending.returns.borrow_mut()[usize::from(job.home)].untouched.push(job);
    }
    for home in 0..shard.mesh.shards() {
        send_home(shard, home);
    }
}

fn send_home<R: Runtime>(shard: &Shard<R>, home: usize) {
    let what = std::mem::take(&mut shard.lending.returns.borrow_mut()[home]);
    if !what.attempted.is_empty() || !what.untouched.is_empty() {
        shard.mesh.send(home, Letter::Returned { from: shard.index as u16, what: Box::new(what) });
    }
}

/// How much of its time the shard has worked of late.
fn measure<R: Runtime>(shard: &Shard<R>) {
    let lending = &shard.lending;
    let (now, worked) = (shard.runtime.now(), shard.runtime.worked());
    let (since, before) = lending.measured.get();
    let span = now.since(since);
    if span < MEASURE {
        return;
    }
    lending.measured.set((now, worked));
    let share = (worked.saturating_sub(before).as_micros() * 100 / span.as_micros().max(1)) as u64;
    shard.instruments.counters.worked_percent.set(share);
    lending.busy.set(share >= limits::LEND_LOAD);
    let crowd = shard.destinations.borrow().crowd() + lending.waiting.get();
    shard.mesh.set_crowd(shard.index, crowd, lending.busy.get());
}

/// Four times a second: how busy this shard is, and what it has borrowed in vain.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Shard<R>) {
    measure(shard);
    let lending = &shard.lending;
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
