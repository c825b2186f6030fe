//! What shards send each other: bounded queues and bells, no locks and no bodies.
//!
//! Each shard has one inbox of two queues. Letters are drained first, and their queue is as large as all the credits and
//! loans that can be out, so sending one never fails. Handoffs may find their queue full: the sender keeps them in its lane's
//! backlog and asks for a ring when there is room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::limits;
use crate::mail::envelope::Address;
use crate::policy::clients::Clients;
use crate::queue::Clock;
use crate::queue::Group;
use crate::queue::destinations::DomainKey;
use crate::queue::outcome::Settled;
use crate::route::NextHop;
use crate::runtime::{Bell, SegmentMap};
use crate::shard::deal::Deal;
use crate::shard::memory::Pool;
use crate::shard::store::maps::LaneMaps;
use crate::shard::store::places::Places;
use crate::time::{Instant, UnixMillis};

/// A group to deliver, and whose queue it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The home shard of its domain; its credit is taken there.
    pub home: u16,
    /// Its domain, as the home shard calls it.
    pub domain: DomainKey,
    /// The group.
    pub group: Group,
}

/// From a home shard to one that has more time: jobs of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loan {
    /// Where they go.
    pub hop: NextHop,
    /// The jobs, in the order of their queue.
    pub jobs: Vec<Job>,
}

/// From the borrower to the home shard: what became of lent jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Attempted, with the parts that are to be tried again. Their outcomes went to the shards of their lanes.
    pub attempted: Vec<(Job, Vec<Group>)>,
    /// Not attempted.
    pub untouched: Vec<Job>,
}

/// A letter of the class that never waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letter {
    /// An attempt ended.
    Settled(Settled),
    /// Work from the home shard of a hot destination.
    Loan(Box<Loan>),
    /// Such work comes back.
    Returned {
        /// The borrower.
        from: u16,
        /// What became of it.
        what: Box<Returned>,
    },
    /// Outcomes of this lane are synced: so many credits come home.
    Credits {
        /// The lane.
        lane: u16,
        /// How many.
        count: u32,
    },
}

/// From the accepting shard to the home shard of a domain: recipients, by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The domain, in lower case.
    pub domain: Address,
    /// The recipients.
    pub group: Group,
    /// Who brought them, a hash.
    pub client: u32,
}

/// One shard's inbox.
#[derive(Debug)]
struct Inbox {
    letters: ArrayQueue<Letter>,
    handoffs: ArrayQueue<Handoff>,
    /// Some sender found `handoffs` full.
    crowded: AtomicBool,
    /// Some shard wants a slot that this one may hold for nothing.
    asked: AtomicBool,
    bell: Arc<Bell>,
}

/// Counts that are kept, of sites and of addresses each, before unused ones are dropped.
const COUNTS_KEPT: usize = 10_000;

/// Counts by what they are of. One that nobody holds is zero, and dropped in time.
#[derive(Debug)]
struct Counts<K>(Mutex<(HashMap<K, Arc<Slots>>, usize)>);

impl<K> Default for Counts<K> {
    fn default() -> Counts<K> {
        Counts(Mutex::new((HashMap::new(), COUNTS_KEPT)))
    }
}

impl<K: Eq + std::hash::Hash> Counts<K> {
    fn get(&self, key: K) -> Arc<Slots> {
        let (counts, room) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() > *room {
            counts.retain(|_, slots| Arc::strong_count(slots) > 1);
            // Looked through again when there are twice as many: so it costs little for each that comes.
            *room = COUNTS_KEPT.max(2 * counts.len());
        }
        counts.entry(key).or_default().clone()
    }
}

/// All shards' inboxes and all lanes' maps.
#[derive(Debug)]
pub struct Mesh {
    inboxes: Vec<Inbox>,
    deal: Deal,
    lanes: Vec<LaneMaps>,
    places: Vec<Places>,
    sites: Counts<Box<str>>,
    addresses: Counts<IpAddr>,
    open: AtomicBool,
    stop: AtomicBool,
    /// Shards that have nothing in flight, while the node drains.
    quiet: Vec<AtomicBool>,
    /// Outcome credits of a lane at each home shard.
    credits: u32,
    lend_at: usize,
    /// The time up to which each shard has passed on its accounting.
    told: Vec<AtomicU64>,
    clock: OnceLock<Clock>,
    /// Client connections, by client. The lock is taken when one opens or closes, never for a message.
    clients: Mutex<Clients>,
    memory: Pool,
    session_memory: Pool,
    /// Jobs that wait for a connection on each shard, about a quarter of a second ago; the lowest bit: it is busy.
    crowds: Vec<AtomicU32>,
}

/// What a mesh may hold; a test makes it small to see it full.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Handoffs in one inbox.
    pub handoffs: usize,
    /// Outcome credits of one lane, shared out among the home shards; each has one at least.
    pub credits: usize,
    /// Jobs of a site that wait before a busy shard lends some of them.
    pub lend_at: usize,
    /// Bytes that clients may make the node keep.
    pub memory: usize,
}

impl Room {
    /// What so many shards need.
    pub fn of(shards: usize) -> Room {
        Room {
            handoffs: limits::HANDOFF_INBOX,
            credits: limits::OUTCOME_CREDITS.max(shards * limits::OUTCOME_CREDITS_EACH),
            lend_at: limits::LEND_AT,
            memory: limits::CLIENT_MEMORY_MAX,
        }
    }
}

/// The connections of the node to one site, or to one address: a count that all shards share. It is touched when a connection opens or closes,
/// never for a message, so the limit is exact and costs nothing in between.
#[derive(Debug, Default)]
pub struct Slots {
    used: AtomicUsize,
    /// Shards that were refused a connection and want to hear when one is free.
    waiting: [AtomicU64; limits::SHARDS_MAX / 64],
    /// Shards with a connection that has nothing to do.
    idle: [AtomicU64; limits::SHARDS_MAX / 64],
}

impl Slots {
    /// Takes a slot if fewer than `limit` are used; else the shard is put on the waiting list.
    pub fn take(&self, limit: usize, shard: usize) -> bool {
        if self.try_take(limit) {
            return true;
        }
        self.waiting[shard / 64].fetch_or(1 << (shard % 64), Ordering::SeqCst);
        // One may have been given back between the two lines above.
        self.try_take(limit)
    }

    /// Takes a slot if fewer than `limit` are used, and waits for none.
    pub fn try_take(&self, limit: usize) -> bool {
        let more = |used| (used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Puts a shard on the waiting list. How many slots are free after that: whoever gives one back later sees the shard.
    pub fn want(&self, limit: usize, shard: usize) -> usize {
        self.waiting[shard / 64].fetch_or(1 << (shard % 64), Ordering::SeqCst);
        self.free(limit)
    }

    /// Slots that are free.
    pub fn free(&self, limit: usize) -> usize {
        limit.saturating_sub(self.used.load(Ordering::SeqCst))
    }

    /// Whether any shard waits for a slot, the asking one included.
    pub fn is_wanted(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.load(Ordering::Relaxed) != 0)
    }

    /// A shard has a connection with nothing to do, or has none any more.
    pub fn set_idle(&self, shard: usize, idle: bool) {
        let (word, bit) = (&self.idle[shard / 64], 1 << (shard % 64));
        // Mostly it is so already, and a look costs less than a write.
        if (word.load(Ordering::SeqCst) & bit != 0) != idle {
            if idle {
                word.fetch_or(bit, Ordering::SeqCst)
            } else {
                word.fetch_and(!bit, Ordering::SeqCst)
            };
        }
    }

    /// Whether another shard waits for a slot.
    pub fn wanted_by_others(&self, own: usize) -> bool {
        self.waiting.iter().enumerate().any(|(word, waiting)| {
            let own = if own / 64 == word { 1 << (own % 64) } else { 0 };
            waiting.load(Ordering::SeqCst) & !own != 0
        })
    }
}

impl Mesh {
    /// A mesh of as many shards as bells, over the lanes of the deal.
    pub fn new(bells: Vec<Arc<Bell>>, deal: Deal) -> Mesh {
        let room = Room::of(bells.len());
        Mesh::with_room(bells, deal, room)
    }

    /// The same with other bounds.
    pub fn with_room(bells: Vec<Arc<Bell>>, deal: Deal, room: Room) -> Mesh {
        let credits = (room.credits / bells.len().max(1)).max(1);
        // All that one inbox can hold: an outcome for each credit of the lanes kept here, a letter of credits for each credit
        // that is to come home here, a letter for each job lent to this shard or by it.
        let (shards, kept, lanes) = (bells.len(), deal.most(), deal.lanes());
        let letters = credits * (shards * kept + lanes) + 2 * limits::LOANED_MAX * shards;
        let inboxes: Vec<Inbox> = bells
            .into_iter()
            .map(|bell| Inbox {
                letters: ArrayQueue::new(letters),
                handoffs: ArrayQueue::new(room.handoffs),
                crowded: AtomicBool::new(false),
                asked: AtomicBool::new(false),
                bell,
            })
            .collect();
        let shards = inboxes.len();
        Mesh {
            deal,
            quiet: inboxes.iter().map(|_| AtomicBool::new(false)).collect(),
            inboxes,
            lanes: (0..lanes).map(|_| LaneMaps::default()).collect(),
            places: (0..lanes).map(|lane| Places::new(lane as u16, shards)).collect(),
            sites: Counts::default(),
            addresses: Counts::default(),
            open: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            credits: u32::try_from(credits).unwrap_or(u32::MAX),
            lend_at: room.lend_at,
            told: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            clock: OnceLock::new(),
            clients: Mutex::default(),
            memory: Pool::new(room.memory / 2),
            session_memory: Pool::new(room.memory / 2),
            crowds: (0..shards).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The clock of all queues, which the first shard that asks sets.
    pub fn clock(&self, wall: UnixMillis, now: Instant) -> Clock {
        *self.clock.get_or_init(|| Clock::new(wall, now))
    }

    /// A shard has passed on its accounting up to this time; the time up to which all have.
    pub fn told(&self, own: usize, now: Instant) -> Instant {
        self.told[own].store(now.0, Ordering::Release);
        Instant(self.told.iter().map(|told| told.load(Ordering::Acquire)).min().unwrap_or(0))
    }

    /// A shard says how many jobs wait for a connection there, and whether it works most of its time.
    pub fn set_crowd(&self, own: usize, jobs: usize, busy: bool) {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX).min(u32::MAX >> 1);
        self.crowds[own].store(jobs << 1 | u32::from(busy), Ordering::Relaxed);
    }

    /// How many jobs wait for a connection on a shard.
    pub fn crowd(&self, shard: usize) -> usize {
        (self.crowds[shard].load(Ordering::Relaxed) >> 1) as usize
    }

    /// Whether a shard works most of its time.
    pub fn is_busy(&self, shard: usize) -> bool {
        self.crowds[shard].load(Ordering::Relaxed) & 1 == 1
    }

    /// Jobs of a site that wait before a busy shard lends some of them.
    pub fn lend_at(&self) -> usize {
        self.lend_at
    }

    /// Client connections.
    pub fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What clients may make the node keep in transactions: envelopes and bodies.
    pub fn memory(&self) -> &Pool {
        &self.memory
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
    pub fn deal(&self) -> &Deal {
        &self.deal
    }

    /// The shard that writes a lane.
    pub fn keeper(&self, lane: u16) -> usize {
        self.deal.keeper(lane)
    }

    /// Sends a letter. Its queue holds all that can be out, so a full one is a broken invariant.
    pub fn send(&self, to: usize, letter: Letter) {
        let inbox = &self.inboxes[to];
        assert!(inbox.letters.push(letter).is_ok(), "more letters than credits");
        inbox.bell.ring();
    }

    /// Sends a handoff, or gives it back when the inbox is full.
    pub fn offer(&self, to: usize, handoff: Handoff) -> Result<(), Handoff> {
        let inbox = &self.inboxes[to];
        if let Err(handoff) = inbox.handoffs.push(handoff) {
            inbox.crowded.store(true, Ordering::SeqCst);
            // The reader may have emptied it between the two lines above.
            return inbox.handoffs.push(handoff).map(|()| inbox.bell.ring());
        }
        inbox.bell.ring();
        Ok(())
    }

    /// Takes the next letter of a shard's own inbox.
    pub fn next_letter(&self, own: usize) -> Option<Letter> {
        self.inboxes[own].letters.pop()
    }

    /// Takes the next handoff of a shard's own inbox.
    pub fn next_handoff(&self, own: usize) -> Option<Handoff> {
        self.inboxes[own].handoffs.pop()
    }

    /// After taking handoffs: tells senders that found the inbox full that there is room.
    pub fn announce_room(&self, own: usize) {
        let inbox = &self.inboxes[own];
        if inbox.crowded.load(Ordering::Relaxed) && inbox.crowded.swap(false, Ordering::SeqCst) {
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

    /// The connection count of a site, by its canonical name.
    pub fn slots(&self, site: &str) -> Arc<Slots> {
        self.sites.get(site.into())
    }

    /// The connection count of an address, over all sites.
    pub fn address_slots(&self, address: IpAddr) -> Arc<Slots> {
        self.addresses.get(address)
    }

    /// A shard was refused a slot: others that hold one for nothing are asked for it.
    pub fn ask_for_slot(&self, own: usize, slots: &Slots) {
        for (word, idle) in slots.idle.iter().enumerate() {
            let mut bits = idle.load(Ordering::SeqCst);
            while bits != 0 {
                let shard = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(inbox) = self.inboxes.get(shard).filter(|_| shard != own) {
                    inbox.asked.store(true, Ordering::SeqCst);
                    inbox.bell.ring();
                }
            }
        }
    }

    /// Whether somebody asked this shard for slots it holds for nothing.
    pub fn is_asked(&self, own: usize) -> bool {
        let asked = &self.inboxes[own].asked;
        asked.load(Ordering::Relaxed) && asked.swap(false, Ordering::SeqCst)
    }

    /// Gives a connection's slot back and wakes the shards that wait for one.
    pub fn release(&self, slots: &Slots) {
        slots.used.fetch_sub(1, Ordering::SeqCst);
        for (word, waiting) in slots.waiting.iter().enumerate() {
            let mut bits = waiting.swap(0, Ordering::SeqCst);
            while bits != 0 {
                let shard = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(inbox) = self.inboxes.get(shard) {
                    inbox.bell.ring();
                }
            }
        }
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

    /// Asks every shard to drain.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
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

    /// Whether a shard's inbox holds no letter.
    pub fn has_no_letters(&self, own: usize) -> bool {
        self.inboxes[own].letters.is_empty()
    }

    /// Whether the node drains.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
