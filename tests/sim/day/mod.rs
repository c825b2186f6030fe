//! A day of mail: a whole relay in a world that a seed makes, until every recipient has its end; and what must hold then.
//!
//! [`plan`] says what a seed means (drawn by [`draw`]), [`ledger`] what must hold.

pub mod clients;
pub mod dice;
mod draw;
mod hostile;
mod in_force;
mod instructions;
pub mod journal;
mod kept;
pub mod ledger;
pub mod names;
pub mod notices;
pub mod plan;
pub mod reloads;
mod seen;
pub mod sites;
pub mod talk;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use relevo::runtime::Runtime;
use relevo::runtime::sim::{DiskFaults, Faults, World};
use relevo::time::Instant;

use relevo::limits;
use relevo::observe::Instruments;
use relevo::queue::select::{Filter, ScanPosition};
use relevo::shard::ask::Ask;
use relevo::shard::mesh::MeshLimits;
use relevo::spool::layout;

use super::relay::{Launch, Relay};
use ledger::{Ending, Ledger};
use plan::{End, HostState, Plan};
use reloads::{Operator, Version};

/// Bytes that its clients may make it keep.
const MEMORY: usize = 64 << 20;
/// The relay's node.
const NODE: u32 = 1;

/// What came of a day.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// All that was wrong.
    pub wrong: Vec<String>,
    pub fingerprint: u64,
    /// Virtual seconds.
    pub lasted: u64,
    /// Messages taken; recipients delivered and returned.
    pub taken: usize,
    pub delivered: usize,
    pub returned: usize,
    pub crashes: usize,
}

/// A day under way.
pub struct Day<'a> {
    world: &'a World,
    plan: &'a Plan,
    ledger: Rc<Ledger>,
    clients: Rc<std::cell::Cell<usize>>,
    hostile: Rc<std::cell::Cell<usize>>,
    journal: journal::Journal,
    /// How the process was ended last, if it was.
    ended: std::cell::Cell<Option<End>>,
    /// Starts that came to nothing.
    refused: std::cell::Cell<u32>,
    /// Of each site: what is counted of its connections, for each set of hosts its names ever mean.
    watches: Vec<(usize, usize)>,
    /// Of each address the same.
    address_watches: Vec<(std::net::SocketAddr, usize)>,
    operator: Operator,
    /// Of the relay's own listener.
    own_watch: usize,
    /// A planted defect of the start: the old process is not ended before the new one begins.
    pub two_at_once: bool,
}

fn seconds(at: u64) -> Instant {
    Instant(0) + Duration::from_secs(at)
}

/// Tells the day of a plan; `before` may plant something.
pub fn tell(plan: &Plan, before: impl FnOnce(&mut Day<'_>, &World)) -> Told {
    let world = World::new(plan.seed);
    world.run_new_tasks(plan.at_once);
    world.lose_core(Duration::from_millis(2));
    if plan.busy {
        world.pretend_busy();
    }
    let ledger = Rc::new(Ledger::default());
    sites::start(&world, plan, &ledger);
    names::start(&world, plan);
    let clients = clients::start(&world, plan, &ledger);
    let hostile = hostile::start(&world, plan, &ledger);
    let watch = |hosts: &[plan::Host]| world.watch_connections(NODE, hosts.iter().map(plan::Host::socket));
    let mut watches = Vec::new();
    for (number, site) in plan.sites.iter().enumerate() {
        let (before, after) = site.halves();
        watches.push((number, watch(before)));
        if site.moves {
            watches.push((number, watch(after)));
        }
        // The bound of an address is not about where routes lead.
        watches.extend(reloads::smart_host(plan, number).map(|smart_host| (number, watch(&[smart_host]))));
    }
    let _taken = (!plan.reloads.is_empty())
        .then(|| world.shard(4, 0).listen(reloads::taken()).expect("a free address"));
    let addresses = plan.sites.iter().flat_map(|site| &site.hosts).map(plan::Host::socket);
    let address_watches =
        addresses.map(|address| (address, world.watch_connections(NODE, std::iter::once(address)))).collect();
    let mut day = Day {
        world: &world,
        plan,
        ledger: ledger.clone(),
        clients,
        hostile,
        journal: journal::Journal::new(plan.seed),
        ended: Default::default(),
        refused: Default::default(),
        operator: Operator::default(),
        watches,
        address_watches,
        own_watch: world.watch_connections(NODE, ["10.0.0.1:25".parse().expect("an address")]),
        two_at_once: false,
    };
    before(&mut day, &world);
    day.run();
    let mut wrong = ledger.verdict(plan);
    wrong.extend(day.limits());
    let (delivered, returned) = ledger.totals();
    let taken = ledger.tries.borrow().iter().filter(|one| one.ending.get() == Ending::Taken).count();
    Told {
        wrong,
        fingerprint: world.fingerprint(),
        lasted: world.now().since(Instant(0)).as_secs(),
        taken,
        delivered,
        returned,
        crashes: ledger.crashes.borrow().len(),
    }
}

impl<'a> Day<'a> {
    fn run(&mut self) {
        let mut life = 0;
        let mut ends = self.plan.ends.iter().copied().peekable();
        let mut relay = self.launch(life);
        let mut since = self.world.now();
        loop {
            self.weather();
            if let Some(relay) = &relay {
                self.bounds(relay);
                self.look_at_journal(&relay.instruments[0]);
                let unreadable = relay.sum(|of| &of.messages_unreadable);
                self.ledger.unreadable.set(self.ledger.unreadable.get().max(unreadable));
            }
            let Some(now) = relay.as_ref().filter(|relay| relay.is_alive()) else {
                self.ledger.crashes.borrow_mut().push(self.world.now());
                self.operator.lost();
                if self.ended.take() != Some(End::Kill) {
                    self.journal.lost_power();
                }
                self.world.disk_faults(NODE).crash_in = None;
                life += 1;
                self.world.run_for(Duration::from_millis(500));
                self.rot(life);
                relay = self.launch(life);
                since = self.world.now();
                continue;
            };
            if !self.is_over(now) {
                since = self.world.now();
            } else if self.world.now() > since + self.rest() {
                break;
            }
            if self.world.now() > self.deadline() {
                self.ledger.complain(format!(
                    "the day does not end: {}; {}",
                    self.levels(now),
                    self.waits(now)
                ));
                *self.ledger.kept.borrow_mut() = kept::ids(self.world, NODE);
                return;
            }
            let Some(now) = relay.as_mut() else { continue };
            let reload = self.operator.turn(self.plan, &self.ledger, self.world.now(), now);
            let next = ends.peek().map_or(Instant::FAR, |(at, _)| Instant(at * 1_000_000));
            if next <= self.world.now() {
                let end = ends.next().map(|(_, end)| end);
                if self.two_at_once {
                    life += 1;
                    relay = self.launch(life);
                } else {
                    self.end(end);
                }
                continue;
            }
            let armed = self.world.disk_faults(NODE).crash_in.is_some();
            let step = Duration::from_millis(if armed { 20 } else { 1000 });
            self.world.run_until(next.min(reload).min(self.world.now() + step));
        }
        if relay.is_some() && life == 0 {
            self.ledger.judge_log();
        }
        self.close(relay, life);
    }

    /// How long it is to be at rest: levels are published once a second, and then all of them are true together. What was held back while the journal
    /// took nothing goes there in a few rounds, which are a second each.
    fn rest(&self) -> Duration {
        Duration::from_secs(if self.plan.journal_stall.is_some() { 10 } else { 3 })
    }

    /// What the journal takes now.
    fn look_at_journal(&self, instruments: &Instruments) {
        let now = self.world.now();
        if !journal::stands_still(self.plan, now) {
            self.journal.take(instruments).iter().for_each(|record| self.ledger.log(now, record));
        }
    }

    /// Media decay: bits flip, most of them where something was written.
    fn rot(&self, life: usize) {
        let dice = &mut dice::Dice::new(self.plan.seed, 50 + life as u64);
        let disk = self.world.shard(NODE, 998);
        for _ in 0..self.plan.rot {
            let names = |at: &std::path::Path| disk.list(at).unwrap_or_default();
            let lanes = names("/spool".as_ref());
            if lanes.is_empty() {
                return;
            }
            let lane = std::path::Path::new("/spool").join(dice.pick(&lanes));
            let segments = names(&lane);
            if segments.is_empty() {
                continue;
            }
            let bound = dice.pick(&[100, 16_384, 200_000, 4 << 20]);
            let offset = dice.below(bound);
            let path = lane.join(dice.pick(&segments));
            let _ = if dice.chance(self.plan.unreadable) {
                self.world.spoil(NODE, path, offset)
            } else {
                self.world.rot(NODE, path, offset)
            };
        }
    }

    /// What is left, in words.
    fn levels(&self, relay: &Relay<'_>) -> String {
        format!(
            "{} messages, {} recipients in queues, {} bytes of bodies, {} outcome credits out, {} connections, {} tasks, \
             all settled: {}, clients left: {}",
            relay.sum(|of| &of.spool_messages),
            relay.sum(|of| &of.queued_recipients),
            relay.sum(|of| &of.bodies_gathered),
            relay.sum(|of| &of.attempts_unsynced),
            relay.sum(|of| &of.connections_outbound) + relay.sum(|of| &of.connections_inbound),
            relay.sessions(),
            self.ledger.is_settled(),
            self.clients.get(),
        )
    }

    /// Some of what waits.
    fn waits(&self, relay: &Relay<'_>) -> String {
        let all = Arc::new(Filter::default());
        let some =
            |shard| relay.ask(shard, |reply| Ask::List(all.clone(), ScanPosition::default(), 3, reply)).rows;
        let rows = (0..relay.instruments.len()).flat_map(some);
        rows.map(|row| format!("{row:?}; ")).collect()
    }

    fn end(&self, end: Option<End>) {
        self.ended.set(end);
        match end {
            Some(End::Power) => self.world.crash(NODE),
            Some(End::Kill) => self.world.kill(NODE),
            Some(End::InWrite(count)) => self.world.disk_faults(NODE).crash_in = Some(count),
            None => {}
        }
    }

    /// Nothing may be left: neither in memory, nor, after a power failure, on the disk.
    fn close(&self, relay: Option<Relay<'_>>, life: usize) {
        if let Some(relay) = relay {
            let panics = relay.sum(|of| &of.panics);
            if panics > 0 {
                self.ledger.complain(format!("{panics} panics"));
            }
        }
        *self.world.faults() = Faults::default();
        *self.world.disk_faults(NODE) = DiskFaults::default();
        let end = self.world.now();
        self.ledger.crashes.borrow_mut().push(end);
        self.operator.lost();
        self.world.crash(NODE);
        self.journal.lost_power();
        let Some(relay) = self.launch(life + 1) else { return };
        for _ in 0..15 {
            self.world.run_for(Duration::from_secs(1));
            self.look_at_journal(&relay.instruments[0]);
        }
        self.journal.judge(self.plan, &self.ledger);
        self.ledger.nothing_rose(end, relay.found);
        // A write that tore a header leaves a segment that is kept aside for ever.
        let torn = self.plan.disk.append_short > 0.0;
        let (all, free) = (relay.sum(|of| &of.spool_segments), relay.sum(|of| &of.spool_segments_free));
        if all != free && relay.found == 0 && !torn {
            self.ledger.complain(format!("{all} segments, of which {free} are free, hold nothing"));
        }
        relay.drain();
    }

    fn launch(&self, life: usize) -> Option<Relay<'a>> {
        let shards = &self.plan.shards;
        // What the file has, whatever became of a reload.
        let version = Version::of(self.plan, self.operator.file.get());
        self.ledger.in_force.put(self.world.now(), version.clone());
        // As the relay's own start counts them.
        let names = self.world.shard(NODE, 999).list(std::path::Path::new("/spool")).unwrap_or_default();
        let launch = Launch {
            node: NODE,
            shards: shards[life.min(shards.len() - 1)],
            lanes: layout::lanes(&names).last().map_or(0, |highest| usize::from(*highest) + 1),
            room: MeshLimits {
                handoffs: self.plan.inbox,
                credits: self.plan.credits,
                lend_at: self.plan.lend_at,
                memory: MEMORY,
            },
            configuration: &self.plan.configuration(&version),
        };
        // A start or two may find a segment that cannot be opened now.
        let refused = self.refused.get();
        self.world.disk_faults(NODE).open_error = if refused < 2 { self.plan.unopened } else { 0.0 };
        let instruments = self.journal.instruments(launch.shards, launch.lanes.max(launch.shards));
        let relay = Relay::launch_with(self.world, &launch, instruments, &|of| self.look_at_journal(of));
        self.world.disk_faults(NODE).open_error = 0.0;
        if relay.is_none() {
            self.refused.set(refused + 1);
        }
        let relay = relay?;
        self.ledger.damage.borrow_mut().extend(&relay.damage);
        Some(relay)
    }

    /// Sets what goes wrong now.
    fn weather(&self) {
        let now = self.world.now();
        let set = self.ledger.clock.borrow().len();
        for (_, milliseconds) in self.plan.clock[set..].iter().take_while(|(at, _)| seconds(*at) <= now) {
            self.world.move_wall(*milliseconds);
            self.ledger.clock.borrow_mut().push((now, *milliseconds));
        }
        let bad = now < seconds(self.plan.network_until);
        let mut faults = if bad { self.plan.network.clone() } else { Faults::default() };
        if now < seconds(self.plan.sites_until) {
            faults.refuse.extend(self.plan.unreachable(HostState::Refuses));
        }
        *self.world.faults() = faults;
        let full = self
            .plan
            .full
            .is_some_and(|(from, to)| (Instant(from * 1_000_000)..Instant(to * 1_000_000)).contains(&now));
        let mut disk = self.world.disk_faults(NODE);
        let usual = if bad { self.plan.disk.clone() } else { DiskFaults::default() };
        *disk = DiskFaults { quota: full.then_some(0), crash_in: disk.crash_in, ..usual };
    }

    /// What is in memory at any time has its bounds.
    fn bounds(&self, relay: &Relay<'_>) {
        let level = |what: &str, level: u64, bound: usize| {
            if level > bound as u64 {
                self.ledger.complain(format!("{level} {what}, at most {bound} may be"));
            }
        };
        let shards = relay.instruments.len();
        level(
            "outcome credits out",
            relay.sum(|of| &of.attempts_unsynced),
            relay.lanes() * self.plan.credits.max(shards),
        );
        for shard in &relay.instruments {
            let of = &shard.counters;
            // Over the budget, each session stores the piece it has.
            let bodies = MEMORY + self.plan.clients.len() * limits::BODY_GATHER_MAX;
            level("bytes of bodies", of.bodies_gathered.get(), bodies);
            level("client connections", of.connections_inbound.get(), limits::INBOUND_CONNECTIONS_MAX);
            level("connections to hops", of.connections_outbound.get(), limits::OUTBOUND_CONNECTIONS_MAX);
        }
    }

    /// Every client is done, every recipient has its end, and the relay is at rest.
    fn is_over(&self, relay: &Relay<'_>) -> bool {
        !journal::stands_still(self.plan, self.world.now())
            && self.clients.get() == 0
            && self.hostile.get() == 0
            && relay.sum(|of| &of.spool_messages) == 0
            && relay.sum(|of| &of.queued_recipients) == 0
            && relay.sum(|of| &of.bodies_gathered) == 0
            && relay.sum(|of| &of.client_memory) == 0
            && relay.sum(|of| &of.attempts_unsynced) == 0
            && relay.sum(|of| &of.connections_outbound) == 0
            && relay.sum(|of| &of.connections_inbound) == 0
            && relay.sessions() == 0
    }

    /// When the last mail must have its end: clients give up in time, and then comes good weather.
    fn deadline(&self) -> Instant {
        let clients = self.plan.network_until + 3600;
        let hostile = if self.plan.hostile > 0 { hostile::LASTS } else { Duration::ZERO };
        seconds(clients.max(self.plan.sites_until)) + self.plan.patience() + hostile
    }

    fn limits(&self) -> Vec<String> {
        let peaks = self
            .address_watches
            .iter()
            .map(|(address, watch)| (*address, self.world.connections_peak(*watch)));
        let over = peaks.filter(|(_, peak)| *peak > self.plan.address_limit);
        let mut wrong: Vec<String> = over
            .map(|(address, peak)| {
                format!("{peak} connections to address {address} of {}", self.plan.address_limit)
            })
            .collect();
        wrong.extend(self.site_limits());
        if self.world.connections_peak(self.own_watch) > 0 {
            wrong.push("mail went round: the relay connected to itself".to_owned());
        }
        wrong
    }

    fn site_limits(&self) -> Vec<String> {
        // A site is a set of hosts: who is told another set, by a name server that lies, has another site at some of the same hosts.
        if self.plan.dns_lies > 0.0 {
            return Vec::new();
        }
        let peaks = self.watches.iter().map(|(site, watch)| (*site, self.world.connections_peak(*watch)));
        let over = peaks.filter(|(_, peak)| *peak > self.plan.limit);
        over.map(|(site, peak)| format!("{peak} connections to site {site} of {}", self.plan.limit)).collect()
    }
}
