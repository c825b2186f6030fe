//! By which of the node's identities mail leaves: sources, the pools that share them, and which source of its pool a message gets.
//!
//! A queue is of one domain by one *egress*: a pool, and a source of it. The source is drawn by a hash of the message, as the weights of the
//! pool say, so that it is the same after each retry and start without being written down anywhere; another is drawn only where the
//! first is suspended, or has left the pool (weighted rendezvous hashing: what is not about that source stays where it is).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Config, PoolConfig, SourceConfig};
use crate::id::MessageId;
use crate::limits;
use crate::mail::envelope::TlsWish;
use crate::queue::Group;
use crate::queue::fair;
use crate::queue::schedule;
use crate::time::Instant;

use super::draw::{mix, wait};
use super::gate::AdmittedAddress;
use super::silence::{Silence, Sought};

/// Names an egress in this process: no other has its number, whatever is reloaded. And what the mail asks of TLS that leaves by it, as mail that asks
/// for another goes to sites of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EgressKey(u16);

/// The first of the bits that say what is asked of TLS.
const WISH: u32 = 14;
const _: () = assert!(limits::EGRESSES_MAX < 1 << WISH);

impl EgressKey {
    /// The node's own addresses, and its name.
    pub const NODE: EgressKey = EgressKey(0);

    /// As a number.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The same egress for mail that asks this of TLS.
    pub fn for_tls(self, wish: TlsWish) -> EgressKey {
        EgressKey(self.plain().0 | (wish as u16) << WISH)
    }

    /// What its mail asks of TLS.
    pub fn tls(self) -> TlsWish {
        TlsWish::of_number((self.0 >> WISH) as u8).unwrap_or_default()
    }

    /// The egress alone.
    pub fn plain(self) -> EgressKey {
        EgressKey(self.0 & ((1 << WISH) - 1))
    }

    /// That of a number.
    pub fn of_number(number: u16) -> EgressKey {
        EgressKey(number)
    }
}

/// An identity that mail leaves by. One for the whole node; it is another where its configuration is.
#[derive(Debug)]
pub struct Source {
    /// What the configuration says.
    pub config: SourceConfig,
    /// It does not work.
    fails: AtomicBool,
    suspension: Mutex<Suspension>,
    /// Its address of IPv4, and that of IPv6, is not on this machine.
    missing: [AtomicBool; 2],
    /// Whether hosts greet through its proxy.
    silence: Silence,
    /// An operator wants nothing to leave by it.
    held: AtomicBool,
    holding: Mutex<Option<Holding>>,
}

/// Why an operator has nothing leave by a source, and until when.
type Holding = (Box<str>, Instant);

/// That nothing leaves by a source.
#[derive(Clone, Debug, Default)]
pub struct Suspension {
    /// Why, in words; empty: it is not suspended.
    pub why: Box<str>,
    /// Times in a row that it was found so.
    failures: u32,
    /// When it is looked at next.
    until: Instant,
}

impl Suspension {
    /// Why, and when it is looked at next.
    pub fn told(self) -> (Box<str>, Instant) {
        (self.why, self.until)
    }
}

impl Source {
    fn new(config: SourceConfig) -> Source {
        let [fails, held] = [false; 2].map(AtomicBool::new);
        let (suspension, missing, silence, holding) = Default::default();
        Source { config, fails, suspension, missing, silence, held, holding }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// A number that goes with its name; never 0.
    pub fn number(&self) -> u32 {
        fair::hash(self.name().as_bytes()).max(1)
    }

    /// Whether nothing leaves by it now.
    pub fn is_suspended(&self) -> bool {
        self.fails() || self.is_held()
    }

    fn fails(&self) -> bool {
        self.fails.load(Ordering::Acquire)
    }

    /// Whether that is an operator's word, and not a failure of its own.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Why an operator has nothing leave by it.
    pub fn held(&self) -> Option<Box<str>> {
        // Nearly always nobody has.
        if !self.is_held() {
            return None;
        }
        let holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        holding.as_ref().map(|(why, _)| why.clone())
    }

    /// Nothing leaves by it for an operator's reason, until that is over; None: no operator says so. True: that was otherwise before.
    pub fn hold(&self, holding: Option<(Box<str>, Instant)>) -> bool {
        let held = holding.is_some();
        *self.holding.lock().unwrap_or_else(PoisonError::into_inner) = holding;
        self.held.swap(held, Ordering::AcqRel) != held
    }

    /// Why, and when it is looked at next, or the operator's time is over.
    pub fn suspension(&self) -> Suspension {
        if let Some((why, until)) = &*self.holding.lock().unwrap_or_else(PoisonError::into_inner) {
            return Suspension { why: why.clone(), failures: 0, until: *until };
        }
        self.suspension.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing leaves by it until somebody finds that it works again; who looks waits longer each time. True: it was not suspended.
    pub fn suspend(&self, why: &str, (now, random): (Instant, u64)) -> bool {
        let mut suspension = self.suspension.lock().unwrap_or_else(PoisonError::into_inner);
        // Others that were under way find the same: that is one failure.
        if suspension.why.is_empty() || suspension.until <= now {
            suspension.failures = suspension.failures.saturating_add(1);
            suspension.until = now + schedule::site_pause(suspension.failures, random);
        }
        suspension.why = why.into();
        !self.fails.swap(true, Ordering::AcqRel)
    }

    /// It works. True: it was suspended.
    pub fn resume(&self) -> bool {
        if !self.fails() {
            return false;
        }
        *self.suspension.lock().unwrap_or_else(PoisonError::into_inner) = Suspension::default();
        self.fails.swap(false, Ordering::AcqRel)
    }

    /// An address of its is not on this machine, or is again. True: that was otherwise before.
    pub fn set_missing(&self, address: IpAddr, missing: bool) -> bool {
        self.missing[usize::from(address.is_ipv6())].swap(missing, Ordering::AcqRel) != missing
    }

    /// Whether an address of its was found to be none of this machine.
    pub fn is_missing(&self, address: IpAddr) -> bool {
        self.missing[usize::from(address.is_ipv6())].load(Ordering::Acquire)
    }

    /// Whether one of them was.
    pub fn misses(&self) -> bool {
        self.config.addresses().any(|address| self.is_missing(address))
    }

    /// Whether it has an address beside this one that is there, as far as is known.
    pub fn has_beside(&self, address: IpAddr) -> bool {
        self.config.addresses().any(|other| other != address && !self.is_missing(other))
    }

    /// A host answered through its proxy.
    pub fn heard(&self, now: Instant) {
        if self.config.proxy.is_some() && self.silence.heard(now) && !self.fails() {
            *self.suspension.lock().unwrap_or_else(PoisonError::into_inner) = Suspension::default();
        }
    }

    /// A connection through its proxy, to a host of this site, ended before the host greeted, or nobody did in time. True: that is the proxy's
    /// fault, as none greets.
    pub fn unheard(&self, site: &str, to: AdmittedAddress, (begun, now): (Instant, Instant)) -> bool {
        self.config.proxy.is_some() && self.silence.unheard(fair::hash(site.as_bytes()), to, (begun, now))
    }

    /// What is to be seen of its proxy beyond that it takes connections.
    pub fn sought(&self) -> Sought {
        self.silence.sought()
    }

    /// It is not known to work, and sends again: it is suspended for longer where hosts are silent still. True: it was suspended.
    pub fn try_again(&self, now: Instant) -> bool {
        if !self.fails() {
            return false;
        }
        self.silence.begin_trial(now);
        self.suspension.lock().unwrap_or_else(PoisonError::into_inner).why = Box::default();
        self.fails.swap(false, Ordering::AcqRel)
    }

    /// Whether it is time to look whether it works again.
    pub fn is_due(&self, now: Instant) -> bool {
        if !self.fails() {
            return false;
        }
        let suspension = self.suspension.lock().unwrap_or_else(PoisonError::into_inner);
        suspension.until <= now
    }
}

/// A pool, and one of its sources.
#[derive(Clone, Debug)]
pub struct Egress {
    /// The pool's name; that of the source where that is all of it.
    pub pool: Box<str>,
    /// The source.
    pub source: Arc<Source>,
    /// Whether the pool has this source in this configuration.
    in_force: bool,
}

/// The sources of a pool, each with its weight and the hash of its name.
#[derive(Clone, Debug, Default)]
struct Pool(Vec<(EgressKey, u16, u64)>);

/// All sources and pools.
#[derive(Clone, Debug, Default)]
pub struct Egresses {
    /// As they are written.
    written: Arc<(Vec<SourceConfig>, Vec<PoolConfig>)>,
    /// By their keys, but for the node's own. One that is no more keeps its place.
    known: Vec<Egress>,
    pools: HashMap<Box<str>, Pool>,
    /// That of mail which names none.
    default: Option<Box<str>>,
    /// How often a source was suspended or resumed.
    changes: Arc<AtomicU64>,
}

/// Two are alike where mail leaves by the same, whatever the numbers.
impl PartialEq for Egresses {
    fn eq(&self, other: &Egresses) -> bool {
        self.default == other.default && self.shares() == other.shares()
    }
}

impl Egresses {
    /// Those of a configuration.
    pub fn new(config: &Config) -> Egresses {
        let Config { sources, pools, delivery, .. } = config;
        let written = Arc::new((sources.clone(), pools.clone()));
        let egresses = Egresses { written, default: delivery.pool.clone(), ..Egresses::default() };
        egresses.after(&Egresses::default())
    }

    /// The same, of the configuration that follows another: what was there keeps its numbers, and what is known of it.
    pub fn after(&self, before: &Egresses) -> Egresses {
        let (sources, pools) = &*self.written;
        let same = |config: &SourceConfig| before.sources().find(|source| source.config == *config).cloned();
        let source =
            |config: &SourceConfig| same(config).unwrap_or_else(|| Arc::new(Source::new(config.clone())));
        let sources: Vec<Arc<Source>> = sources.iter().map(source).collect();
        let known = before.known.iter().map(|egress| Egress { in_force: false, ..egress.clone() }).collect();
        let mut next =
            Egresses { known, pools: HashMap::new(), changes: before.changes.clone(), ..self.clone() };
        let mut places: HashMap<(Box<str>, Box<str>), usize> = HashMap::new();
        for (place, egress) in before.known.iter().enumerate() {
            places.insert((egress.pool.clone(), egress.source.config.name.clone()), place);
        }
        let alone = (0..sources.len()).map(|place| (&sources[place].config.name, vec![(place, 1)]));
        for (name, members) in alone.chain(pools.iter().map(|pool| (&pool.name, pool.members.clone()))) {
            let mut pool = Pool::default();
            for (place, weight) in members {
                let source = &sources[place];
                let names = (name.clone(), source.config.name.clone());
                let place = *places.entry(names).or_insert(next.known.len());
                let egress = Egress { pool: name.clone(), source: source.clone(), in_force: true };
                match next.known.get_mut(place) {
                    Some(known) => *known = egress,
                    None => next.known.push(egress),
                }
                let Ok(number) = u16::try_from(place + 1) else { continue };
                pool.0.push((EgressKey(number), weight, hash(source.name())));
            }
            next.pools.insert(name.clone(), pool);
        }
        next
    }

    /// Whether there are numbers for all of them. Where there are not, a process that starts anew has them again.
    pub fn are_numbered(&self) -> bool {
        self.known.len() <= limits::EGRESSES_MAX
    }

    /// Whether all mail leaves by the node's own addresses, whatever pool it names.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// All that is configured: pool, source and share, sorted.
    fn shares(&self) -> Vec<(&str, &SourceConfig, u16)> {
        let named = |(key, weight, _): &(EgressKey, u16, u64)| {
            self.get(*key).map(|egress| (&*egress.pool, &egress.source.config, *weight))
        };
        let mut all: Vec<_> = self.pools.values().flat_map(|pool| pool.0.iter().filter_map(named)).collect();
        all.sort_by(|one, other| (one.0, &one.1.name).cmp(&(other.0, &other.1.name)));
        all
    }

    /// What a key names; None: the node's own addresses.
    pub fn get(&self, key: EgressKey) -> Option<&Egress> {
        self.known.get(usize::from(key.plain().0.checked_sub(1)?))
    }

    /// The sources that are configured.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        let alone = |egress: &&Egress| egress.in_force && *egress.pool == *egress.source.config.name;
        self.known.iter().filter(alone).map(|egress| &egress.source)
    }

    /// Whether this names a pool or a source.
    pub fn knows(&self, pool: &str) -> bool {
        self.pools.contains_key(pool)
    }

    /// By which egress mail of a pool or source leaves; it is the default's where none of this name is known. `seed` is always the same for
    /// the same recipients.
    pub fn choose(&self, wanted: Option<&str>, seed: u64) -> EgressKey {
        let named = wanted.and_then(|name| self.pools.get(name));
        let pool = named.or_else(|| self.pools.get(self.default.as_deref()?));
        pool.map_or(EgressKey::NODE, |pool| self.draw(pool, seed))
    }

    /// By which other egress mail is to leave that waits for this one; None: it waits where it should.
    pub fn instead(&self, key: EgressKey, seed: u64) -> Option<EgressKey> {
        self.plain_instead(key.plain(), seed).map(|other| other.for_tls(key.tls()))
    }

    fn plain_instead(&self, key: EgressKey, seed: u64) -> Option<EgressKey> {
        let Some(egress) = self.get(key) else {
            // Mail that named no pool, or one that there was not.
            return self.default.is_some().then(|| self.choose(None, seed)).filter(|other| *other != key);
        };
        if egress.in_force && !egress.source.is_suspended() {
            return None;
        }
        let other = self.choose(Some(&egress.pool), seed);
        let better = !egress.in_force || !self.is_suspended(other);
        (other != key && better).then_some(other)
    }

    /// By which other egress mail goes on that its own has no room for: a source of this pool, or else of its own one, that is warm. None: there is
    /// none, and it waits.
    pub fn beside(
        &self,
        key: EgressKey,
        pool: Option<&str>,
        seed: u64,
        is_warm: impl Fn(&str) -> bool,
    ) -> Option<EgressKey> {
        let egress = self.get(key)?;
        self.in_place(key, pool.unwrap_or(&egress.pool), seed, is_warm)
    }

    /// By which egress of this pool or source mail goes on that its own source may not send; None: there is none that can.
    pub fn in_place(
        &self,
        key: EgressKey,
        by: &str,
        seed: u64,
        may_send: impl Fn(&str) -> bool,
    ) -> Option<EgressKey> {
        let own = self.get(key).map(|egress| egress.source.name());
        let usable = |(key, _, _): &&(EgressKey, u16, u64)| {
            let other = self.get(*key).map(|other| &other.source);
            other.is_some_and(|other| {
                Some(other.name()) != own && !other.is_suspended() && may_send(other.name())
            })
        };
        first_of(self.pools.get(by)?.0.iter().filter(usable), seed).map(|other| other.for_tls(key.tls()))
    }

    /// Whether it is still configured.
    pub fn is_in_force(&self, key: EgressKey) -> bool {
        self.get(key).is_none_or(|egress| egress.in_force)
    }

    /// Whether nothing leaves by it now.
    pub fn is_suspended(&self, key: EgressKey) -> bool {
        self.get(key).is_some_and(|egress| egress.source.is_suspended())
    }

    fn draw(&self, pool: &Pool, seed: u64) -> EgressKey {
        let usable = pool.0.iter().filter(|(key, ..)| !self.is_suspended(*key));
        let drawn = first_of(usable, seed).or_else(|| first_of(pool.0.iter(), seed));
        drawn.unwrap_or(EgressKey::NODE)
    }

    /// A source was suspended or resumed: every shard sees to its mail.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that was so.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

/// Which of these a seed draws, as their weights say.
fn first_of<'a>(members: impl Iterator<Item = &'a (EgressKey, u16, u64)>, seed: u64) -> Option<EgressKey> {
    let best = |(key, weight, name): &(EgressKey, u16, u64)| (wait(mix(seed ^ name), *weight), *key);
    let first = |one: (f64, EgressKey), other: (f64, EgressKey)| if other.0 < one.0 { other } else { one };
    members.map(best).reduce(first).map(|(_, key)| key)
}

/// A seed for the recipients of a message in one domain: the same as long as the message lives.
pub fn seed(message: MessageId, domain: &[u8]) -> u64 {
    let MessageId { lane, sequence, offset } = message;
    let message = u64::from(sequence) << 32 | u64::from(offset);
    mix(mix(message ^ u64::from(lane) << 48) ^ u64::from(fair::hash(domain)))
}

/// A seed for a group that waits, where nobody knows its message: the same as long as it waits.
pub fn seed_of(group: &Group) -> u64 {
    mix(u64::from(group.location.lane) << 48 | u64::from(group.key) << 16 | u64::from(group.first))
}

fn hash(name: &str) -> u64 {
    // FNV-1a, as for home shards: the same in every version, so that mail stays with its source over an upgrade.
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests;
