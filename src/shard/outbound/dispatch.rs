//! Stage 5: the home shard's queues, and which connection works on what.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::queue::Group;
use crate::queue::destinations::{self as queue, DomainKey, Effect, SiteKey};
use crate::queue::fair::{self, Behalf};
use crate::route::NextHop;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::counts::Slots;
use crate::shard::message::Job;
use crate::shard::outbound::opening::{self, Unproven};
use crate::shard::outbound::resolve::Unroutable;
use crate::shard::outbound::shown::Shown;
use crate::shard::outbound::{address, asking, deliver, lend, tend, unanswered};
use crate::time::Instant;

/// How often due retries are looked for.
const TICK: Duration = Duration::from_millis(250);
/// Groups moved from waiting to ready in one tick, and in one turn.
const TICK_GROUPS: usize = 2_000;
const TURN_GROUPS: usize = 100;
/// Sites looked at in one turn of a sweep.
const TURN_SITES: usize = 500;
/// Ticks between sweeps for sites without mail: a minute.
const SWEEP_ROUNDS: u32 = 240;
/// Connections to one site that this shard opens at one time while none is open.
const OPENING_MIN: usize = 4;
/// How long no further connection is tried after one failed while others work.
const WIDEN_PAUSE: Duration = Duration::from_secs(5);

/// What a connection that asks for work gets.
pub enum Take {
    /// A group to deliver.
    Job(Job),
    /// A group that is past its expiry: settle it as expired.
    Expired(Job),
    /// Nothing may be started now.
    Nothing,
}

/// A site of this shard, as its connections see it.
pub struct Site {
    /// Where it is.
    pub hop: RefCell<Rc<NextHop>>,
    /// The node's connections to it.
    pub slots: Arc<Slots>,
    /// This shard's, connecting ones included.
    pub connections: Cell<usize>,
    /// Those that are still connecting.
    pub opening: Cell<usize>,
    /// Connections that were woken and have not looked yet.
    waking: Cell<usize>,
    idle: RefCell<Vec<Rc<Nap>>>,
    hold_until: Cell<Instant>,
    /// Its connections send the next message's commands behind a body.
    pub pipelines: Cell<bool>,
    /// Why the last connection failed.
    pub last_error: RefCell<String>,
    /// What its hop showed of late.
    pub shown: Shown,
    /// The address it waits for a place at; until then it opens no connection.
    pub parked: Cell<Option<IpAddr>>,
    /// It waits to be let open one.
    pub queued: Cell<bool>,
    /// It is in the line of those to be pumped.
    refused: Cell<bool>,
    /// It took mail, and no connection to it failed since.
    pub proven: Cell<bool>,
    /// On whose behalf it was last asked for.
    pub behalf: Cell<Behalf>,
    /// Jobs of other shards.
    pub borrowed: lend::Borrowed,
}

/// An idle connection's sleep.
#[derive(Default)]
pub struct Nap {
    /// Woken for work.
    pub woken: Cell<bool>,
    /// Who sleeps.
    pub waker: RefCell<Option<Waker>>,
    /// The address of the connection, where that is counted.
    pub address: Cell<Option<IpAddr>>,
}

/// A connection of the site has nothing to do.
pub(in crate::shard) fn nap<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Rc<Site>, nap: &Rc<Nap>) {
    nap.woken.set(false);
    let mut idle = site.idle.borrow_mut();
    if idle.is_empty() {
        shard.resting.borrow_mut().insert(key, site.clone());
    }
    idle.push(nap.clone());
    site.slots.set_idle(shard.index, true);
}

/// It has again, woken or by itself.
pub(in crate::shard) fn risen<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site, nap: &Rc<Nap>) {
    if nap.woken.get() {
        site.waking.set(site.waking.get().saturating_sub(1));
    } else {
        site.idle.borrow_mut().retain(|other| !Rc::ptr_eq(other, nap));
    }
    if site.idle.borrow().is_empty() {
        shard.resting.borrow_mut().remove(&key);
        site.slots.set_idle(shard.index, false);
    }
}

impl Site {
    /// A site no connection goes to yet.
    pub fn new(hop: Rc<NextHop>, slots: Arc<Slots>) -> Site {
        Site {
            slots,
            hop: RefCell::new(hop),
            connections: Cell::new(0),
            opening: Cell::new(0),
            waking: Cell::new(0),
            idle: RefCell::default(),
            hold_until: Cell::new(Instant(0)),
            pipelines: Cell::new(false),
            last_error: RefCell::default(),
            shown: Shown::default(),
            parked: Cell::new(None),
            queued: Cell::new(false),
            refused: Cell::new(false),
            proven: Cell::new(false),
            behalf: Cell::default(),
            borrowed: lend::Borrowed::default(),
        }
    }

    /// Whether it waits to be let connect.
    pub fn is_waiting(&self) -> bool {
        self.parked.get().is_some() || self.queued.get()
    }

    /// Wakes a connection to this address that has nothing to do. False: there is none.
    pub fn wake_at(&self, address: IpAddr) -> bool {
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().position(|nap| nap.address.get() == Some(address));
        let Some(nap) = place.map(|place| idle.remove(place)) else { return false };
        self.wake(&nap);
        true
    }

    fn wake_one(&self) -> bool {
        let Some(nap) = self.idle.borrow_mut().pop() else { return false };
        self.wake(&nap);
        true
    }

    fn wake(&self, nap: &Nap) {
        nap.woken.set(true);
        self.waking.set(self.waking.get() + 1);
        if let Some(waker) = nap.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Jobs that will be taken without anybody being woken for them.
    fn hands(&self, busy: bool) -> usize {
        // Those on their way will take one each at least.
        let coming = self.opening.get() + self.waking.get();
        if !busy || !self.pipelines.get() {
            return coming;
        }
        let working = self.connections.get().saturating_sub(coming + self.idle.borrow().len());
        coming * limits::JOBS_A_CONNECTION + working * (limits::JOBS_A_CONNECTION - 1)
    }

    /// No wider for a while.
    pub fn hold(&self, now: Instant) {
        self.hold_until.set(now + WIDEN_PAUSE);
    }
}

/// Queues a group of this shard's own domain.
/// `client` is who brought it, a hash.
pub(in crate::shard) fn enqueue<R: Runtime>(shard: &Rc<Shard<R>>, domain: &str, group: Group, client: u32) {
    let now = shard.seconds();
    let effect = shard.destinations.borrow_mut().push_for(domain, group, now, client);
    match effect {
        Some(Effect::Resolve(key, name)) => {
            let message = group.key ^ u32::from(group.location.lane) << 22;
            let behalf = Behalf::new(client, message, &name);
            asking::ask(shard, key, name, behalf);
        }
        Some(effect) => carry_out(shard, effect),
        None => {}
    }
}

/// Carries out what the queues ask for.
pub(in crate::shard) fn carry_out<R: Runtime>(shard: &Rc<Shard<R>>, effect: Effect) {
    match effect {
        Effect::Resolve(key, name) => {
            // What was tried before is the client's as ever, and all of it one message: what is new goes before it.
            let client = shard.destinations.borrow().client(key);
            let behalf = Behalf::new(client, fair::TRIED_BEFORE, &name);
            asking::ask(shard, key, name, behalf);
        }
        Effect::Pump(site) => drop(pump(shard, site)),
    }
}

/// It is known where a domain leads, or that it leads nowhere.
pub(in crate::shard) fn resolved<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: DomainKey,
    behalf: Behalf,
    found: Result<Rc<NextHop>, Unroutable>,
) {
    match found {
        Ok(hop) => {
            let (_, site) = site(shard, hop.clone());
            site.behalf.set(behalf);
            let effect = shard.destinations.borrow_mut().resolved(key, &hop.site);
            if let Some(effect) = effect {
                carry_out(shard, effect);
            }
        }
        // Mail that is under way goes on as it did; what leads nowhere for good is returned.
        Err(why) if !why.permanent && shard.destinations.borrow_mut().goes_on(key) => {}
        Err(unroutable) => {
            shard.destinations.borrow_mut().leave_site(key);
            tend::unroutable(shard, key, unroutable);
        }
    }
}

/// The site of a next hop; where it is may have changed.
pub(in crate::shard) fn site<R: Runtime>(shard: &Shard<R>, hop: Rc<NextHop>) -> (SiteKey, Rc<Site>) {
    let key = shard.destinations.borrow_mut().site(&hop.site);
    let mut sites = shard.sites.borrow_mut();
    let site =
        sites.entry(key).or_insert_with(|| Rc::new(Site::new(hop.clone(), shard.mesh.slots(&hop.site))));
    *site.hop.borrow_mut() = hop;
    (key, site.clone())
}

/// Sees to it that somebody works on what the site has ready. True: a connection was begun.
pub(in crate::shard) fn pump<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey) -> bool {
    if shard.draining.get() {
        return false;
    }
    let now = shard.seconds();
    let mut ready = shard.destinations.borrow().ready(key, now);
    let Some(site) = shard.sites.borrow().get(&key).cloned() else { return false };
    if ready >= shard.mesh.lend_at() {
        lend::lend(shard, key, &site);
        ready = shard.destinations.borrow().ready(key, now);
    }
    ready += site.borrowed.waiting();
    if ready <= site.hands(lend::is_busy(shard)) || site.wake_one() {
        return false;
    }
    let holds = site.connections.get() > 0 && shard.timers.recent() < site.hold_until.get();
    if holds || site.parked.get().is_some() {
        return false;
    }
    // As many again as are open, and a few: a site that answers gets all it may have within a few round trips, and neither it
    // nor this core is run over before that is known. Each job taken pumps again.
    let open = site.connections.get() - site.opening.get();
    if site.opening.get() >= OPENING_MIN + open || lend::leaves_room(shard, &site) {
        return false;
    }
    if site.borrowed.waiting() == 0 && shard.destinations.borrow_mut().is_starved(key) {
        return false;
    }
    if !opening::may_open(shard, key, &site) {
        return false;
    }
    if !site.slots.take(shard.settings.delivery.connections_per_destination, shard.index) {
        shard.mesh.ask_for_slot(shard.index, &site.slots);
        if !site.refused.replace(true) {
            shard.refused.borrow_mut().push_back(key);
        }
        return false;
    }
    site.connections.set(site.connections.get() + 1);
    site.opening.set(site.opening.get() + 1);
    shard.outbound.set(shard.outbound.get() + 1);
    let unproven = (!site.proven.get()).then(|| Unproven::new(shard, site.behalf.get()));
    shard.runtime.spawn(deliver::deliver(shard.clone(), key, site, unproven));
    true
}

/// Whether more waits for the site than the connections it has will take without being asked.
pub(in crate::shard) fn needs_hands<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    let ready = shard.destinations.borrow().ready(key, shard.seconds()) + site.borrowed.waiting();
    ready > site.hands(lend::is_busy(shard))
}

/// Work for a connection of this site: the shard's own and what it borrowed, in turn.
pub(in crate::shard) fn take<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Site) -> Take {
    let now = shard.seconds();
    if site.borrowed.waiting() > 0
        && site.borrowed.is_next()
        && let Some(job) = lend::take(shard, site)
    {
        return job;
    }
    let own = shard.destinations.borrow_mut().take(key, now);
    match own {
        queue::Take::Job(domain, group) => Take::Job(shard.own_job(domain, group)),
        queue::Take::Expired(domain, group) => Take::Expired(shard.own_job(domain, group)),
        queue::Take::Nothing => lend::take(shard, site).unwrap_or(Take::Nothing),
    }
}

/// Whether more waits for the site than the hands that are free or on their way will take. A busy shard spares itself the
/// wakes of those that are free.
pub(in crate::shard) fn is_crowded<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    if !lend::is_busy(shard) && !site.idle.borrow().is_empty() {
        return false;
    }
    let now = shard.seconds();
    let ready = shard.destinations.borrow().ready(key, now) + site.borrowed.waiting();
    ready > site.opening.get() + site.waking.get()
}

/// Pumps these sites: at once as long as this turn is short, the others in the turns of the inbox.
pub(in crate::shard) fn pump_all<R: Runtime>(shard: &Rc<Shard<R>>, sites: Vec<SiteKey>) {
    let mut later = false;
    for key in sites {
        if !shard.runtime.outstays() {
            pump(shard, key);
        } else if shard.sites.borrow().get(&key).is_some_and(|site| !site.refused.replace(true)) {
            shard.refused.borrow_mut().push_back(key);
            later = true;
        }
    }
    if later {
        shard.runtime.bell().ring();
    }
}

/// A slot may be free again somewhere. True: not all that wait were asked, as this turn is long enough.
pub(in crate::shard) fn retry_refused<R: Runtime>(shard: &Rc<Shard<R>>) -> bool {
    // Each once, in however many turns: those that find no slot again are last in the line.
    let left = &shard.refused_left;
    if left.get() == 0 {
        left.set(shard.refused.borrow().len());
    }
    let mut asked = 0;
    while left.get() > 0 {
        if asked > 0 && shard.runtime.outstays() {
            return true;
        }
        asked += 1;
        left.set(left.get() - 1);
        let Some(key) = shard.refused.borrow_mut().pop_front() else { break };
        let site = shard.sites.borrow().get(&key).cloned();
        if let Some(site) = site
            && site.refused.replace(false)
        {
            pump(shard, key);
        }
    }
    address::unpark(shard);
    false
}

/// Mail that waited is due; a little at a time, as there may be much.
async fn begin_due<R: Runtime>(shard: &Rc<Shard<R>>) {
    let now = shard.seconds();
    for _ in 0..TICK_GROUPS / TURN_GROUPS {
        let effects = shard.destinations.borrow_mut().tick(now, TURN_GROUPS);
        let more = shard.destinations.borrow().next_due().is_some_and(|due| due <= now);
        for effect in effects {
            if shard.runtime.outstays() {
                shard.runtime.yield_now().await;
            }
            carry_out(shard, effect);
        }
        if !more {
            return;
        }
        shard.runtime.yield_now().await;
    }
}

/// The immortal task behind retries, expiry, levels and the journal's flush.
pub async fn tick<R: Runtime>(shard: Rc<Shard<R>>) {
    let mut round = 0u32;
    // Who looks in the first second sees the spool as it was opened, not zeros.
    shard.publish();
    loop {
        let until = shard.runtime.now() + TICK;
        shard.timers.sleep_until(until).await;
        round = round.wrapping_add(1);
        shard.instruments.beat.add(1);
        notice_the_clock(&shard);
        begin_due(&shard).await;
        lend::tick(&shard);
        if shard.runtime.outstays() {
            shard.runtime.yield_now().await;
        }
        // Whoever was asked may have gone elsewhere meanwhile.
        address::unpark(&shard);
        if shard.runtime.outstays() {
            shard.runtime.yield_now().await;
        }
        opening::tick(&shard);
        asking::tick(&shard);
        if shard.asked.get() {
            give_up_idle(&shard);
        }
        if round.is_multiple_of(4) {
            tend::tick(&shard);
            unanswered::tick(&shard);
            shard.resolver.look_at_files();
            shard.publish();
            shard.runtime.spawn_vital("busy domains", resolve_busy(shard.clone()));
        }
        if round.is_multiple_of(SWEEP_ROUNDS) {
            shard.runtime.spawn_vital("site sweep", forget_idle_sites(shard.clone()));
            shard.runtime.spawn(learn_own_addresses(shard.clone()));
        }
        let mut journal = shard.journal.borrow_mut();
        let told = shard.runtime.now();
        journal.flush();
        journal.turn(told, shard.mesh.told(shard.index, told));
    }
}

/// Domains whose mail never pauses may lead elsewhere by now. All of them are looked at within the time after which one is asked for
/// again.
async fn resolve_busy<R: Runtime>(shard: Rc<Shard<R>>) {
    let slots = shard.destinations.borrow().domain_slots();
    let share = slots.div_ceil(limits::RESOLVED_AGAIN as usize);
    let first = shard.busy_looked.get();
    shard.busy_looked.set(if first + share < slots { first + share } else { 0 });
    let mut asked = 0;
    for from in (first..slots.min(first + share)).step_by(TURN_SITES) {
        if asked >= limits::RESOLVED_AGAIN_MAX {
            // The others have their turn a little later, when fewer are under way.
            shard.busy_looked.set(from);
            return;
        }
        let to = (from + TURN_SITES).min(first + share);
        let effects = shard.destinations.borrow_mut().resolve_busy(shard.seconds(), from..to);
        asked += effects.len();
        for effect in effects {
            if shard.runtime.outstays() {
                shard.runtime.yield_now().await;
            }
            carry_out(&shard, effect);
        }
        shard.runtime.yield_now().await;
    }
}

/// The machine may have other addresses now: mail to them would come back. All shards find the same; one says it.
pub(in crate::shard) async fn learn_own_addresses<R: Runtime>(shard: Rc<Shard<R>>) {
    if let Err(error) = shard.resolver.learn_own_addresses().await
        && shard.index == 0
    {
        shard.say(
            Level::Warning,
            format_args!(
                "cannot read this machine's addresses: {error}; the kernel is asked for each address that mail goes to instead. Under systemd, \
                 RestrictAddressFamilies= wants AF_NETLINK"
            ),
        );
    }
}

/// The wall clock may be set. Waits do not follow it; it is said, as much that is told by wall time looks odd then.
fn notice_the_clock<R: Runtime>(shard: &Shard<R>) {
    let ahead = shard.clock.wall_ahead(shard.runtime.now(), shard.runtime.wall());
    let jump = ahead.saturating_sub(shard.wall_ahead.replace(ahead));
    if jump.unsigned_abs() < limits::CLOCK_JUMP.as_millis() as u64 || shard.index != 0 {
        return;
    }
    shard.instruments.counters.clock_jumps.add(1);
    let (seconds, way) = (jump.unsigned_abs() / 1000, if jump > 0 { "forward" } else { "back" });
    let (days, hours) = (seconds / 86_400, seconds % 86_400 / 3600);
    shard.say(
        Level::Warning,
        format_args!(
            "the clock was set {way} by {seconds} s ({days} d {hours} h): retries and expiry go on as they were; dates in logs and \
             notifications follow the clock"
        ),
    );
}

/// Another shard wants a slot: connections that have been without work for a while give theirs back. Asked again at every tick
/// until none is wanted.
pub(in crate::shard) fn give_up_idle<R: Runtime>(shard: &Shard<R>) {
    address::give_up_idle(shard);
    let resting = shard.resting.borrow();
    let mut asked = false;
    for site in resting.values().filter(|site| site.slots.wanted_by_others(shard.index)) {
        // It finds no work, and then that somebody waits.
        asked |= site.wake_one();
    }
    shard.asked.set(asked);
}

/// Sites nobody has mail for are forgotten, so that memory follows the queue and not all that was ever mailed to.
async fn forget_idle_sites<R: Runtime>(shard: Rc<Shard<R>>) {
    let slots = shard.destinations.borrow().site_slots();
    for first in (0..slots).step_by(TURN_SITES) {
        {
            let mut sites = shard.sites.borrow_mut();
            let busy = |key: SiteKey| {
                sites.get(&key).is_some_and(|site| site.connections.get() > 0 || site.borrowed.waiting() > 0)
            };
            let now = shard.seconds();
            let forgotten =
                shard.destinations.borrow_mut().forget_idle_sites(now, first..first + TURN_SITES, busy);
            for key in forgotten {
                sites.remove(&key);
            }
        }
        shard.runtime.yield_now().await;
    }
}
