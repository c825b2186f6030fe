//! The resolver's memory: bounded in bytes, by TTL.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::dns::packed::{pack, unpack};
use crate::dns::{Answer, LookupResult, QueryType};
use crate::limits;
use crate::time::Instant;

/// Many small parts, each of two generations: what is used moves to the young one, and when that is full the old one is forgotten.
/// Names and answers lie packed in a few large allocations. So a name costs some tens of bytes beside its letters, and no turn is
/// long: what grows, or is forgotten, is a part.
#[derive(Debug)]
pub struct Cache {
    parts: Box<[Part]>,
    hasher: RandomState,
    /// Bytes a generation of a part may have.
    generation: usize,
    /// How often all of it was forgotten.
    cleared: u32,
    /// Where an entry is put together.
    entry: Vec<u8>,
}

#[derive(Debug, Default)]
struct Part {
    young: Generation,
    old: Generation,
    /// What it holds is from before that was forgotten, if this is another number than the cache's.
    cleared: u32,
}

/// Entries one behind the other, and a table of where they are.
#[derive(Debug, Default)]
struct Generation {
    bytes: Vec<u8>,
    /// By hash, the next free one where others have it: 12 bits of the hash, 20 of the place of the entry and one; 0: none.
    slots: Vec<u32>,
    entries: usize,
}

/// Of an entry: its length, its kind, when it expires, when it is to be asked for again, the length of its name. Name and answer follow.
const HEADER: usize = 2 + 1 + 4 + 4 + 2;
const PLACE_BITS: u32 = 20;
const PLACE: u32 = (1 << PLACE_BITS) - 1;
const _: () = assert!(2 * limits::DNS_CACHE_PART <= PLACE as usize);
/// It is not asked for again before it expires, or is already.
const NEVER: u32 = u32::MAX;
/// What points in time are counted in: 32 bits are 13 years.
const TICK: u64 = 100_000_000;
/// What a part leaves for what is held beside all of them.
const SPARE: usize = 64;
/// Slots of the smallest table, and of the largest: as many as it has hashes.
const SLOTS_MIN: usize = 16;
const SLOTS_MAX: usize = 1 << (32 - PLACE_BITS);

/// What is asked for, and its hash.
#[derive(Clone, Copy)]
struct Key<'a> {
    kind: u8,
    name: &'a str,
    hash: u64,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug)]
pub struct CachedAnswer<'a> {
    answer: &'a [u8],
    left: Duration,
    due: bool,
}

impl CachedAnswer<'_> {
    /// What was found, and how long it still holds.
    pub fn result(&self) -> Option<LookupResult> {
        let (answer, secure) = unpack(self.answer)?;
        Some(LookupResult { answer, ttl: self.left, secure })
    }

    /// Whether it expires soon, and nobody asks for it yet.
    pub fn is_due(&self) -> bool {
        self.due
    }
}

impl Cache {
    /// Has at most so many bytes, of which half are for what was used of late.
    pub fn new(bytes: usize) -> Cache {
        let parts = (bytes / limits::DNS_CACHE_PART).max(1);
        Cache {
            parts: (0..parts).map(|_| Part::default()).collect(),
            hasher: RandomState::new(),
            generation: (bytes / parts).saturating_sub(size_of::<Part>() + SPARE) / 2,
            cleared: 0,
            entry: Vec::new(),
        }
    }

    /// What is known and still holds.
    pub fn get(&mut self, kind: QueryType, name: &str, now: Instant) -> Option<CachedAnswer<'_>> {
        let key = self.key(kind, name);
        let generation = self.generation;
        let (part, entry) = self.part(key);
        let now = ticks(now);
        let mut place = part.young.find(key);
        if place.is_none() {
            let old = part.old.entry(part.old.find(key)?);
            if expires(old) <= now {
                return None;
            }
            entry.clear();
            entry.extend_from_slice(old);
            place = part.put(key, entry, generation);
        }
        let found = part.young.entry(place?);
        let left = Duration::from_nanos(u64::from(expires(found).checked_sub(now)?) * TICK);
        (!left.is_zero()).then(|| CachedAnswer { answer: answer(found), left, due: renewal(found) <= now })
    }

    /// It is being asked for again.
    pub fn renew(&mut self, kind: QueryType, name: &str) {
        let key = self.key(kind, name);
        let young = &mut self.part(key).0.young;
        if let Some(place) = young.find(key) {
            young.bytes[place + 7..place + 11].copy_from_slice(&NEVER.to_be_bytes());
        }
    }

    /// Remembers a result for its TTL. What is known by the same answer is spread by a random number before it is asked for again.
    pub fn put(&mut self, kind: QueryType, name: &str, found: &LookupResult, (now, random): (Instant, u64)) {
        // It can be asked for neither. And what failed replaces nothing that still holds.
        if name.len() > limits::DNS_NAME_MAX || (found.answer.is_err() && self.get(kind, name, now).is_some())
        {
            return;
        }
        let key = self.key(kind, name);
        let generation = self.generation;
        let (part, entry) = self.part(key);
        write(entry, key, found, (now, random));
        // No answer that is kept is larger.
        if let Ok(length) = u16::try_from(entry.len()) {
            entry[..2].copy_from_slice(&length.to_be_bytes());
            part.put(key, entry, generation);
        }
    }

    fn key<'a>(&self, kind: QueryType, name: &'a str) -> Key<'a> {
        let kind = kind as u8;
        Key { kind, name, hash: self.hasher.hash_one((kind, name)) }
    }

    /// The part for a name, without what is forgotten, and where entries are put together.
    fn part(&mut self, key: Key<'_>) -> (&mut Part, &mut Vec<u8>) {
        let place = ((key.hash >> 32) * self.parts.len() as u64) >> 32;
        let part = &mut self.parts[place as usize];
        if part.cleared != self.cleared {
            *part = Part { cleared: self.cleared, ..Part::default() };
        }
        (part, &mut self.entry)
    }

    /// Forgets all of it: each part gives its memory back when it is looked at next.
    pub fn clear(&mut self) {
        self.cleared = self.cleared.wrapping_add(1);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let held = |of: &Generation| of.bytes.capacity() + size_of::<u32>() * of.slots.capacity();
        let parts: usize = self.parts.iter().map(|part| held(&part.young) + held(&part.old)).sum();
        parts + size_of_val(&*self.parts) + self.entry.capacity()
    }

    /// Names held, those that moved to the young generation twice.
    pub fn len(&self) -> usize {
        let parts = self.parts.iter().filter(|part| part.cleared == self.cleared);
        parts.map(|part| part.young.entries + part.old.entries).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Part {
    /// Where the entry is now, if it has room at all.
    fn put(&mut self, key: Key<'_>, entry: &[u8], most: usize) -> Option<usize> {
        if !self.young.has_room(entry.len(), most) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.forget();
        }
        self.young.has_room(entry.len(), most).then(|| self.young.put(key, entry, most))
    }
}

impl Generation {
    /// Its memory is used again.
    fn forget(&mut self) {
        self.bytes.clear();
        self.slots.fill(0);
        self.entries = 0;
    }

    /// A table that is at most three quarters full with one more.
    fn slots_wanted(&self) -> usize {
        if 4 * (self.entries + 1) <= 3 * self.slots.len() {
            return self.slots.len();
        }
        (2 * self.slots.len()).max(SLOTS_MIN)
    }

    fn has_room(&self, entry: usize, most: usize) -> bool {
        let slots = self.slots_wanted();
        let bytes = self.bytes.capacity().max(self.bytes.len() + entry);
        slots <= SLOTS_MAX && bytes + size_of::<u32>() * slots <= most
    }

    fn put(&mut self, key: Key<'_>, entry: &[u8], most: usize) -> usize {
        let slots = self.slots_wanted();
        if slots > self.slots.len() {
            self.grow(slots);
        }
        let place = self.bytes.len();
        if self.bytes.capacity() < place + entry.len() {
            // By an eighth: what is not used yet is memory, too.
            let room = most.saturating_sub(place + size_of::<u32>() * self.slots.len());
            let more = (place / 8).min(room).max(entry.len());
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(entry);
        self.point(key, place);
        place
    }

    /// The table has as many slots; each entry has its own by what the old one has of its hash.
    fn grow(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            let free = self.probe(slot >> PLACE_BITS).find(|free| self.slots[*free] == 0);
            if let Some(free) = free {
                self.slots[free] = slot;
            }
        }
    }

    /// The slots that an entry with such a hash may be in, in order. There is always one that is free.
    fn probe(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len().wrapping_sub(1);
        (0..self.slots.len()).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }

    /// The slot where the entry is, or would be.
    fn slot(&self, key: Key<'_>) -> Option<usize> {
        let hash = short(key);
        let is_it = |slot: u32| slot == 0 || (slot >> PLACE_BITS == hash && self.has(slot, key));
        self.probe(hash).find(|place| is_it(self.slots[*place]))
    }

    fn has(&self, slot: u32, key: Key<'_>) -> bool {
        let entry = self.entry((slot & PLACE) as usize - 1);
        entry[2] == key.kind && name(entry) == key.name.as_bytes()
    }

    /// Where its entry is.
    fn find(&self, key: Key<'_>) -> Option<usize> {
        let slot = self.slots[self.slot(key)?];
        (slot != 0).then(|| (slot & PLACE) as usize - 1)
    }

    /// Its entry is here now.
    fn point(&mut self, key: Key<'_>, place: usize) {
        if let Some(slot) = self.slot(key) {
            self.entries += usize::from(self.slots[slot] == 0);
            self.slots[slot] = short(key) << PLACE_BITS | (place as u32 + 1);
        }
    }

    fn entry(&self, place: usize) -> &[u8] {
        let length = usize::from(u16::from_be_bytes([self.bytes[place], self.bytes[place + 1]]));
        &self.bytes[place..place + length]
    }
}

/// What a table has of a hash.
fn short(key: Key<'_>) -> u32 {
    key.hash as u32 >> PLACE_BITS
}

/// Rounded down: nothing holds too long.
fn ticks(at: Instant) -> u32 {
    u32::try_from(at.0 / TICK).unwrap_or(u32::MAX)
}

/// When an answer that is in use is asked for again: when a tenth to a fifth of its time is left. One that failed may do well next time, and that
/// there is no such domain is nothing mail should not wait for.
fn renewal_of(found: &LookupResult, expires: u32, random: u64) -> u32 {
    let worth = found.answer.as_ref().is_ok_and(|answer| *answer != Answer::NoDomain);
    if !worth || found.ttl < limits::DNS_RENEWED_TTL_MIN {
        return NEVER;
    }
    let tenth = ticks(Instant(0) + found.ttl) / 10;
    expires.saturating_sub(tenth + (random % u64::from(tenth + 1)) as u32)
}

/// An entry whose length is still to be written.
fn write(entry: &mut Vec<u8>, key: Key<'_>, found: &LookupResult, (now, random): (Instant, u64)) {
    let expires = ticks(now + found.ttl);
    let name = key.name.as_bytes();
    entry.clear();
    entry.extend_from_slice(&[0, 0, key.kind]);
    entry.extend_from_slice(&expires.to_be_bytes());
    entry.extend_from_slice(&renewal_of(found, expires, random).to_be_bytes());
    entry.extend_from_slice(&(name.len() as u16).to_be_bytes());
    entry.extend_from_slice(name);
    pack(&found.answer, found.secure, entry);
}

fn expires(entry: &[u8]) -> u32 {
    u32::from_be_bytes([entry[3], entry[4], entry[5], entry[6]])
}

fn renewal(entry: &[u8]) -> u32 {
    u32::from_be_bytes([entry[7], entry[8], entry[9], entry[10]])
}

fn name_end(entry: &[u8]) -> usize {
    HEADER + usize::from(u16::from_be_bytes([entry[11], entry[12]]))
}

fn name(entry: &[u8]) -> &[u8] {
    &entry[HEADER..name_end(entry)]
}

fn answer(entry: &[u8]) -> &[u8] {
    &entry[name_end(entry)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(answer: Answer, seconds: u64) -> LookupResult {
        LookupResult { answer: Ok(answer), ttl: Duration::from_secs(seconds), secure: false }
    }

    #[test]
    fn entries_end_with_their_ttl_and_what_is_used_stays() {
        let mut cache = Cache::new(8 * 1024);
        let start = Instant(1);
        cache.put(QueryType::Mx, "kept.example", &found(Answer::NoData, 10), (start, 0));
        for number in 0..1000 {
            cache.put(QueryType::A, &format!("h{number}.example"), &found(Answer::NoDomain, 10), (start, 0));
            assert!(cache.get(QueryType::Mx, "kept.example", start).is_some(), "what is used stays");
            assert!(cache.get(QueryType::A, &format!("h{number}.example"), start).is_some());
        }
        assert!((100..400).contains(&cache.len()), "{}", cache.len());
        assert!(cache.get(QueryType::A, "kept.example", start).is_none());
        assert!(cache.get(QueryType::A, "h1.example", start).is_none());
        let later = start + Duration::from_millis(8_950);
        let known = cache.get(QueryType::Mx, "kept.example", later).and_then(|known| known.result());
        assert_eq!(
            known,
            Some(LookupResult { ttl: Duration::from_millis(1_100), ..found(Answer::NoData, 0) })
        );
        assert!(cache.get(QueryType::Mx, "kept.example", start + Duration::from_secs(10)).is_none());
        cache.put(QueryType::Mx, "kept.example", &found(Answer::NoDomain, 10), (start, 0));
        let known = cache.get(QueryType::Mx, "kept.example", start).and_then(|known| known.result());
        assert_eq!(known.map(|known| known.answer), Some(Ok(Answer::NoDomain)), "the last one counts");
        cache.clear();
        assert!(cache.is_empty() && cache.get(QueryType::Mx, "kept.example", start).is_none());
        cache.put(QueryType::Mx, "kept.example", &found(Answer::NoData, 10), (start, 0));
        assert_eq!((cache.len(), cache.get(QueryType::Mx, "kept.example", start).is_some()), (1, true));
    }

    /// However large answers are, what is held stays within the bytes.
    #[test]
    fn large_answers_are_counted_by_their_bytes() {
        for room in [64 * 1024, 4 * limits::DNS_CACHE_PART] {
            let mut cache = Cache::new(room);
            let mut held = 0;
            for number in 0..5_000 {
                let hosts =
                    (0..16).map(|rank| (rank, format!("mx{rank}.a-zone-with-a-long-name-{number}.example")));
                let answer = Answer::Mx { hosts: hosts.collect(), cut: true };
                let domain = format!("d{number}.example");
                cache.put(QueryType::Mx, &domain, &found(answer.clone(), 60), (Instant(1), 0));
                assert!(cache.bytes() <= room + 4 * 1024, "{} bytes", cache.bytes());
                let known = cache.get(QueryType::Mx, &domain, Instant(1)).and_then(|known| known.result());
                assert_eq!(known.map(|known| known.answer), Some(Ok(answer)));
                held = held.max(cache.len());
            }
            assert!((30..1000).contains(&held), "{held}");
        }
    }

    /// Names of one letter and of very many.
    #[test]
    fn names_of_any_length_are_found_again_or_not_kept() {
        let mut cache = Cache::new(2 * limits::DNS_CACHE_PART);
        for number in 0..20_000_u32 {
            let name = format!("{number:x}");
            cache.put(QueryType::A, &name, &found(Answer::NoData, 60), (Instant(1), 0));
            assert!(cache.get(QueryType::A, &name, Instant(1)).is_some(), "{name}");
        }
        for length in [0, 255, limits::DNS_NAME_MAX, 60_000, 70_000] {
            let name = "n".repeat(length);
            cache.put(QueryType::A, &name, &found(Answer::NoData, 60), (Instant(1), 0));
            assert_eq!(
                cache.get(QueryType::A, &name, Instant(1)).is_some(),
                length <= limits::DNS_NAME_MAX,
                "{length}"
            );
        }
    }

    /// What is in use is asked for again before it ends, once; that there is no such domain is not, nor what ends at once anyway.
    #[test]
    fn what_ends_soon_is_due_once() {
        for random in [0, 7, u64::MAX, 600] {
            let mut cache = Cache::new(limits::DNS_CACHE_PART);
            let at = |seconds: u64| Instant(1) + Duration::from_secs(seconds);
            let is_due = |cache: &mut Cache, kind, seconds| {
                cache.get(kind, "a.example", at(seconds)).expect("it holds").is_due()
            };
            let address = Answer::Addresses(vec!["192.0.2.1".parse().unwrap()]);
            for (kind, answer, seconds) in [
                (QueryType::Mx, Answer::NoDomain, 600),
                (QueryType::A, address, 600),
                (QueryType::Aaaa, Answer::NoData, 29),
            ] {
                cache.put(kind, "a.example", &found(answer, seconds), (at(0), random));
            }
            assert!(!is_due(&mut cache, QueryType::A, 479) && is_due(&mut cache, QueryType::A, 541));
            assert!(!is_due(&mut cache, QueryType::Mx, 599) && !is_due(&mut cache, QueryType::Aaaa, 28));
            cache.renew(QueryType::A, "a.example");
            assert!(!is_due(&mut cache, QueryType::A, 541));
            cache.put(QueryType::A, "a.example", &found(Answer::NoData, 600), (at(541), random));
            assert!(!is_due(&mut cache, QueryType::A, 1000) && is_due(&mut cache, QueryType::A, 1085));
        }
    }
}
