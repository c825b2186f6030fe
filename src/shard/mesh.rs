//! How shards reach each other: bounded queues and bells, no locks and no bodies.
//!
//! Each shard has one inbox of two queues. Shard messages are drained first, and their queue is as large as all the credits and
//! loans that can be out, so sending one never fails. Handoffs may find their queue full: the sender keeps them in its lane's
//! backlog and asks for a ring when there is room.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use crossbeam::queue::ArrayQueue;

use crate::config::ListenAddress;
use crate::limits;
use crate::policy::{returns::KnownTenants, suppression::shared::Shared};
use crate::queue::{Clock, lifetimes::Lifetimes, suspension::Suspensions};
use crate::runtime::{Bell, SegmentMap};
use crate::shaping::automation::Noticed;
use crate::shaping::window::Window;
use crate::shard::account_counts::AccountCount;
use crate::shard::ask::Asks;
use crate::shard::assignment::Assignment;
use crate::shard::capturing::Capturing;
use crate::shard::cluster::Cluster;
use crate::shard::counts::{ClientCounts, ConnectionCount, Counts, FarEnd};
use crate::shard::hooking::Hooking;
use crate::shard::memory::Pool;
use crate::shard::message::{Handoff, ShardMessage};
use crate::shard::progress::Progress;
use crate::shard::quota::QuotaDesk;
use crate::shard::rates::ClientRates;
use crate::shard::reading::Reading;
use crate::shard::sessions::Sessions;
use crate::shard::stages::Stages;
use crate::shard::store::maps::LaneMaps;
use crate::shard::store::places::Places;
use crate::shard::sts::StsPolicies;
use crate::shard::verifying::Verifying;
use crate::shard::warm::WarmCounts;
use crate::shard::window::SiteWindow;
use crate::time::{Instant, UnixMillis};

/// One shard's inbox.
#[derive(Debug)]
struct Inbox {
    messages: ArrayQueue<ShardMessage>,
    handoffs: ArrayQueue<Handoff>,
    /// Some sender found `handoffs` full.
    sender_waits: AtomicBool,
    /// Some shard wants a connection that this one may hold for nothing.
    asked: AtomicBool,
    bell: Arc<Bell>,
}

/// All shards' inboxes and all lanes' maps.
#[derive(Debug)]
pub struct Mesh {
    inboxes: Vec<Inbox>,
    assignment: Assignment,
    asks: Asks,
    lanes: Vec<LaneMaps>,
    places: Vec<Places>,
    /// Of sites: what leads to the same hosts by the same source has one.
    sites: Counts<Box<str>>,
    /// Those of them that refused something, by their names.
    narrowed: Mutex<Vec<(Box<str>, Weak<ConnectionCount>)>>,
    addresses: Counts<FarEnd>,
    /// Shaping files' providers, by source and name.
    providers: Counts<(Box<str>, Box<str>)>,
    /// Sources in warm-up, by provider.
    warm: WarmCounts,
    /// What accounts and tenants have left of their quotas.
    quotas: QuotaDesk,
    /// Policies of domains.
    policies: Arc<StsPolicies>,
    /// What sessions came to, for reports of TLS.
    sessions: Sessions,
    open: AtomicBool,
    /// Which configuration is in force.
    generation: AtomicU64,
    /// What is suspended, and how often that changed.
    suspensions: Mutex<Arc<Suspensions>>,
    suspended: AtomicU64,
    /// Replies that rules act on, for control, and how many found no room.
    noticed: ArrayQueue<Noticed>,
    unnoticed: AtomicU64,
    /// Mail that control keeps.
    pub capturing: Capturing,
    /// Bounces and complaints that control reads.
    reading: Reading,
    /// Mail of strangers that control verifies.
    verifying: Verifying,
    /// Messages that a service is asked about.
    hooking: Hooking,
    /// Tenants by whose mail return paths went out.
    known_tenants: KnownTenants,
    /// The suppression list, as control keeps it.
    suppression: Arc<Shared>,
    stages: Stages,
    /// Shards that have nothing in flight, while the node drains.
    quiet: Vec<AtomicBool>,
    /// Outcome credits of a lane at each home shard.
    credits: u32,
    lend_at: usize,
    progress: Progress,
    clock: OnceLock<Clock>,
    lifetimes: Lifetimes,
    /// Client connections, by the address of their listener.
    clients: Counts<ListenAddress, ClientCounts>,
    /// The same, by the account that they are of.
    accounts: Counts<Box<str>, AccountCount>,
    /// What clients bring to each listener, where that has rates for them.
    client_rates: ClientRates,
    /// Limits that are shared with other nodes.
    pub cluster: Cluster,
    memory: Pool,
    session_memory: Pool,
    /// Jobs that wait for a connection on each shard, about a quarter of a second ago; the lowest bit: it is busy.
    loads: Vec<AtomicU32>,
}

/// What a mesh may hold; a test makes it small to see it full.
#[derive(Clone, Copy, Debug)]
pub struct MeshLimits {
    /// Handoffs in one inbox.
    pub handoffs: usize,
    /// Outcome credits of one lane, shared out among the home shards; each has one at least.
    pub credits: usize,
    /// Jobs of a site that wait before a busy shard lends some of them.
    pub lend_at: usize,
    /// Bytes that clients may make the node keep.
    pub memory: usize,
}

impl MeshLimits {
    /// What so many shards need.
    pub fn of(shards: usize) -> MeshLimits {
        MeshLimits {
            handoffs: limits::HANDOFF_INBOX,
            credits: limits::OUTCOME_CREDITS.max(shards * limits::OUTCOME_CREDITS_EACH),
            lend_at: limits::LEND_AT,
            memory: limits::CLIENT_MEMORY_MAX,
        }
    }
}

impl Mesh {
    /// A mesh of as many shards as bells, over the lanes of the assignment.
    pub fn new(bells: Vec<Arc<Bell>>, assignment: Assignment) -> Mesh {
        let room = MeshLimits::of(bells.len());
        Mesh::with_room(bells, assignment, room)
    }

    /// The same with other bounds.
    pub fn with_room(bells: Vec<Arc<Bell>>, assignment: Assignment, room: MeshLimits) -> Mesh {
        let credits = (room.credits / bells.len().max(1)).max(1);
        // All that one inbox can hold: an outcome for each credit of the lanes kept here, a message of credits for each credit
        // that is to come home here, a message for each job lent to this shard or by it.
        let (shards, kept, lanes) = (bells.len(), assignment.most(), assignment.lanes());
        let messages = credits * (shards * kept + lanes) + 2 * limits::LOANED_MAX * shards;
        let asks = Asks::new(&bells);
        let inboxes: Vec<Inbox> = bells
            .into_iter()
            .map(|bell| Inbox {
                messages: ArrayQueue::new(messages),
                handoffs: ArrayQueue::new(room.handoffs),
                sender_waits: AtomicBool::new(false),
                asked: AtomicBool::new(false),
                bell,
            })
            .collect();
        let shards = inboxes.len();
        Mesh {
            assignment,
            quiet: inboxes.iter().map(|_| AtomicBool::new(false)).collect(),
            inboxes,
            asks,
            lanes: (0..lanes).map(|_| LaneMaps::default()).collect(),
            places: (0..lanes).map(|lane| Places::new(lane as u16, shards)).collect(),
            sites: Counts::default(),
            narrowed: Mutex::default(),
            addresses: Counts::default(),
            providers: Counts::default(),
            warm: WarmCounts::default(),
            quotas: QuotaDesk::default(),
            policies: Arc::default(),
            sessions: Sessions::new(shards),
            open: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            suspensions: Mutex::default(),
            suspended: AtomicU64::new(0),
            noticed: ArrayQueue::new(limits::NOTICED_MAX),
            unnoticed: AtomicU64::new(0),
            capturing: Capturing::default(),
            reading: Reading::default(),
            verifying: Verifying::default(),
            hooking: Hooking::default(),
            known_tenants: KnownTenants::default(),
            suppression: Arc::default(),
            stages: Stages::default(),
            credits: u32::try_from(credits).unwrap_or(u32::MAX),
            lend_at: room.lend_at,
            progress: Progress::new(shards),
            clock: OnceLock::new(),
            lifetimes: Lifetimes::default(),
            clients: Counts::default(),
            accounts: Counts::default(),
            client_rates: ClientRates::default(),
            cluster: Cluster::default(),
            memory: Pool::new(room.memory / 2),
            session_memory: Pool::new(room.memory / 2),
            loads: (0..shards).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// What accounts and tenants have left of their quotas.
    pub fn quotas(&self) -> &QuotaDesk {
        &self.quotas
    }

    /// Policies of domains, and whose are wanted.
    pub fn policies(&self) -> &Arc<StsPolicies> {
        &self.policies
    }

    /// What sessions with hosts came to.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// How long mail lives.
    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// The clock of all queues, which the first shard that asks sets.
    pub fn clock(&self, wall: UnixMillis, now: Instant) -> Clock {
        *self.clock.get_or_init(|| Clock::new(wall, now))
    }

    /// Bounces and complaints that control reads.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Mail of strangers that control verifies.
    pub fn verifying(&self) -> &Verifying {
        &self.verifying
    }

    /// Messages that a service is asked about.
    pub fn hooking(&self) -> &Hooking {
        &self.hooking
    }

    /// Tenants by whose mail return paths went out.
    pub fn known_tenants(&self) -> &KnownTenants {
        &self.known_tenants
    }

    /// The suppression list, which control keeps.
    pub fn suppression(&self) -> &Arc<Shared> {
        &self.suppression
    }

    /// How far the shards are with what they tell.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// A shard says how many jobs wait for a connection there, and whether it works most of its time.
    pub fn set_load(&self, own: usize, jobs: usize, busy: bool) {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX).min(u32::MAX >> 1);
        self.loads[own].store(jobs << 1 | u32::from(busy), Ordering::Relaxed);
    }

    /// How many jobs wait for a connection on a shard.
    pub fn load(&self, shard: usize) -> usize {
        (self.loads[shard].load(Ordering::Relaxed) >> 1) as usize
    }

    /// Whether a shard works most of its time.
    pub fn is_busy(&self, shard: usize) -> bool {
        self.loads[shard].load(Ordering::Relaxed) & 1 == 1
    }

    /// Jobs of a site that wait before a busy shard lends some of them.
    pub fn lend_at(&self) -> usize {
        self.lend_at
    }

    /// Client connections to the listener of this address: the same for as long as somebody holds it, whatever becomes of the listener.
    pub fn clients_of(&self, listener: ListenAddress) -> Arc<ClientCounts> {
        self.clients.get(listener, Instant(0))
    }

    /// What an account has open.
    pub fn account(&self, name: &str, now: Instant) -> Arc<AccountCount> {
        self.accounts.get(name.into(), now)
    }

    /// What clients bring to each listener.
    pub fn client_rates(&self) -> &ClientRates {
        &self.client_rates
    }

    /// What clients may make the node keep in transactions: envelopes and bodies.
    pub fn memory(&self) -> &Pool {
        &self.memory
    }

    /// Bytes of a shard's resolver cache.
    pub fn dns_cache(&self) -> usize {
        let all = (self.memory.most() / limits::DNS_CACHE_SHARE).min(limits::DNS_CACHE_BYTES);
        (all / self.shards()).max(limits::DNS_CACHE_BYTES_LEAST)
    }

    /// What they may in sessions, whatever these are for. It is a bound of its own: who is only connected keeps nobody's mail out.
    pub fn session_memory(&self) -> &Pool {
        &self.session_memory
    }

    /// Outcome credits of a lane at each home shard.
    pub fn credits(&self) -> u32 {
        self.credits
    }

    /// Shards.
    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// Lanes.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Which shard writes which lane.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The shard that writes a lane.
    pub fn writer(&self, lane: u16) -> usize {
        self.assignment.writer(lane)
    }

    /// Sends a message. Its queue holds all that can be out, so a full one is a broken invariant.
    pub fn send(&self, to: usize, message: ShardMessage) {
        let inbox = &self.inboxes[to];
        assert!(inbox.messages.push(message).is_ok(), "more messages than credits");
        inbox.bell.ring();
    }

    /// Sends a handoff, or gives it back when the inbox is full.
    pub fn offer(&self, to: usize, handoff: Handoff) -> Result<(), Handoff> {
        let inbox = &self.inboxes[to];
        if let Err(handoff) = inbox.handoffs.push(handoff) {
            inbox.sender_waits.store(true, Ordering::SeqCst);
            // The reader may have emptied it between the two lines above.
            return inbox.handoffs.push(handoff).map(|()| inbox.bell.ring());
        }
        inbox.bell.ring();
        Ok(())
    }

    /// Takes the next message of a shard's own inbox.
    pub fn next_message(&self, own: usize) -> Option<ShardMessage> {
        self.inboxes[own].messages.pop()
    }

    /// Takes the next handoff of a shard's own inbox.
    pub fn next_handoff(&self, own: usize) -> Option<Handoff> {
        self.inboxes[own].handoffs.pop()
    }

    /// After taking handoffs: tells senders that found the inbox full that there is room.
    pub fn announce_room(&self, own: usize) {
        let inbox = &self.inboxes[own];
        if inbox.sender_waits.load(Ordering::Relaxed) && inbox.sender_waits.swap(false, Ordering::SeqCst) {
            for (index, other) in self.inboxes.iter().enumerate() {
                if index != own {
                    other.bell.ring();
                }
            }
        }
    }

    /// Publishes the map of a segment file.
    pub fn publish_map(&self, lane: u16, slot: u16, map: SegmentMap) {
        self.lanes[usize::from(lane)].publish(slot, map);
    }

    /// Bytes of the segment files of each lane.
    pub fn lane_bytes(&self) -> Vec<u64> {
        self.lanes.iter().map(LaneMaps::bytes).collect()
    }

    /// Where the moved messages of a lane lie, and where they are read.
    pub fn places(&self, lane: u16) -> &Places {
        &self.places[usize::from(lane)]
    }

    /// The map of a segment file, for a shard's own copy.
    pub fn map(&self, lane: u16, slot: u16) -> Option<SegmentMap> {
        self.lanes.get(usize::from(lane))?.of(slot)
    }

    /// The counts of a site, by the name of its receiver.
    pub fn site_count(&self, site: &str, now: Instant) -> Arc<ConnectionCount> {
        self.sites.get(site.into(), now)
    }

    /// The window of a site that refuses something, by the name of its receiver.
    pub fn narrow<'a>(&self, site: &str, count: &'a Arc<ConnectionCount>) -> &'a SiteWindow {
        if count.window().is_none() {
            let mut narrowed = self.narrowed.lock().unwrap_or_else(PoisonError::into_inner);
            if narrowed.len() >= limits::WINDOWS_KEPT {
                narrowed.retain(|(_, count)| count.strong_count() > 0);
            }
            // One too many is as good as any, and not kept.
            if narrowed.len() < limits::WINDOWS_KEPT {
                narrowed.push((site.into(), Arc::downgrade(count)));
            }
        }
        count.narrow()
    }

    /// What is worth keeping of windows over a start, by the names of their receivers.
    pub fn windows(&self) -> Vec<(String, Vec<u8>)> {
        let narrowed = self.narrowed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kept = |(site, count): (Box<str>, Weak<ConnectionCount>)| {
            Some((String::from(site), count.upgrade()?.window()?.kept()?))
        };
        narrowed.into_iter().filter_map(kept).collect()
    }

    /// What was kept of a site's window before the start. False: it makes no sense.
    pub fn resume_window(&self, site: &str, kept: &[u8], now: Instant) -> bool {
        let Some(window) = Window::of_kept(kept, now) else { return false };
        let count = self.site_count(site, now);
        self.narrow(site, &count).resume(window, now);
        true
    }

    /// The counts of a provider, over all of its sites, for a source; empty: the node's own addresses.
    pub fn provider_count(&self, (source, provider): (&str, &str), now: Instant) -> Arc<ConnectionCount> {
        self.providers.get((source.into(), provider.into()), now)
    }

    /// What sources in warm-up have left at providers.
    pub fn warm(&self) -> &WarmCounts {
        &self.warm
    }

    /// The connection count of an address, over all sites.
    pub fn address_count(&self, address: FarEnd) -> Arc<ConnectionCount> {
        self.addresses.get(address, Instant(0))
    }

    /// A shard was refused a connection: others that hold one for nothing are asked for it.
    pub fn ask_for_connection(&self, own: usize, count: &ConnectionCount) {
        for shard in count.idle().filter(|shard| *shard != own) {
            if let Some(inbox) = self.inboxes.get(shard) {
                inbox.asked.store(true, Ordering::SeqCst);
                inbox.bell.ring();
            }
        }
    }

    /// What control asks.
    pub fn asks(&self) -> &Asks {
        &self.asks
    }

    /// Whether somebody asked this shard for connections it holds for nothing.
    pub fn is_asked(&self, own: usize) -> bool {
        let asked = &self.inboxes[own].asked;
        asked.load(Ordering::Relaxed) && asked.swap(false, Ordering::SeqCst)
    }

    /// Gives a connection back and wakes the shards that wait for one.
    pub fn release(&self, count: &ConnectionCount) {
        self.ring(count.give_back());
    }

    /// More connections are let: who waits for one is woken.
    pub fn widened(&self, count: &ConnectionCount) {
        self.ring(count.waiting());
    }

    fn ring(&self, shards: impl Iterator<Item = usize>) {
        for shard in shards {
            if let Some(inbox) = self.inboxes.get(shard) {
                inbox.bell.ring();
            }
        }
    }

    /// Which configuration is in force on all shards. One that has not taken it up does so before anything new begins there.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The configuration of this generation is in force from now on: all shards have prepared it.
    pub fn put_in_force(&self, generation: u64) {
        self.generation.store(generation, Ordering::SeqCst);
        for inbox in &self.inboxes {
            inbox.bell.ring();
        }
    }

    /// This is suspended from now on; each shard takes it up before anything new begins there.
    pub fn suspend(&self, all: Arc<Suspensions>) {
        *self.suspensions.lock().unwrap_or_else(PoisonError::into_inner) = all;
        self.suspended.fetch_add(1, Ordering::SeqCst);
        for inbox in &self.inboxes {
            inbox.bell.ring();
        }
    }

    /// Tells control of a reply that a rule is to act on. Where it is far behind that is only counted.
    pub fn notice(&self, noticed: Noticed) {
        if self.noticed.push(noticed).is_err() {
            self.unnoticed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The next of these.
    pub fn next_noticed(&self) -> Option<Noticed> {
        self.noticed.pop()
    }

    /// How many were only counted since this was asked last.
    pub fn take_unnoticed(&self) -> u64 {
        self.unnoticed.swap(0, Ordering::Relaxed)
    }

    /// How often that changed.
    pub fn suspended(&self) -> u64 {
        self.suspended.load(Ordering::Acquire)
    }

    /// What is suspended. Locked when that changes, never for a message.
    pub fn suspensions(&self) -> Arc<Suspensions> {
        self.suspensions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the shards take mail: all of them have read their lanes.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        for inbox in &self.inboxes {
            inbox.bell.ring();
        }
    }

    /// Whether mail may be taken.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// How far the node is on its way out.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Asks every shard to drain.
    pub fn stop(&self) {
        self.stages.stop();
        for inbox in &self.inboxes {
            inbox.bell.ring();
        }
    }

    /// A draining shard says whether it has anything in flight.
    pub fn set_quiet(&self, shard: usize, quiet: bool) {
        self.quiet[shard].store(quiet, Ordering::SeqCst);
    }

    /// Whether no shard has an attempt in flight. Then no outcome will be sent any more, and what was sent is in the
    /// inboxes.
    pub fn all_quiet(&self) -> bool {
        self.quiet.iter().all(|quiet| quiet.load(Ordering::SeqCst))
    }

    /// Messages in a shard's inbox.
    pub fn messages(&self, own: usize) -> usize {
        self.inboxes[own].messages.len()
    }

    /// Whether a shard's inbox holds no message.
    pub fn has_no_messages(&self, own: usize) -> bool {
        self.inboxes[own].messages.is_empty()
    }

    /// Whether the node drains.
    pub fn stopping(&self) -> bool {
        self.stages.is_stopping()
    }
}
