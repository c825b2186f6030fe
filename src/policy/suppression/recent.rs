//! What changed since the list's file was made: a table of fingerprints that one thread writes and all shards read, without a lock and
//! without waiting. What is put in is seen by all at once; nothing is ever taken out, it is only said anew.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use super::canonical::Kind;

/// One that is listed now. Fingerprints are even, and not 0: what is left of a word says which.
const LISTED: u64 = 1;

/// The table. Its slots are at most half full, so that every search ends at an empty one.
#[derive(Debug)]
pub struct Recent {
    slots: Box<[AtomicU64]>,
    used: AtomicUsize,
    /// Which kinds of entries are in it, one bit each; for tenants three bits further up.
    kinds: AtomicU8,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent::new(0)
    }
}

/// There is no room for more: make a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The bit of a kind of entries, of the node or of tenants.
pub fn bit(kind: Kind, of_tenant: bool) -> u8 {
    1 << (kind as u8 + if of_tenant { 3 } else { 0 })
}

impl Recent {
    /// One for so many fingerprints at least.
    pub fn new(most: usize) -> Recent {
        let slots = (2 * most).next_power_of_two().max(4);
        let slots = (0..slots).map(|_| AtomicU64::new(0)).collect();
        Recent { slots, used: AtomicUsize::new(0), kinds: AtomicU8::new(0) }
    }

    /// The same with more room.
    pub fn larger(&self, most: usize) -> Recent {
        let larger = Recent::new(most.max(self.room()));
        for word in self.slots.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|word| *word != 0) {
            // It has more room than this one.
            let _ = larger.set(word & !LISTED, word & LISTED != 0, 0);
        }
        larger.kinds.store(self.kinds.load(Ordering::Relaxed), Ordering::Relaxed);
        larger
    }

    /// How many it may have.
    pub fn room(&self) -> usize {
        self.slots.len() / 2
    }

    /// How many it has.
    pub fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Kinds of entries that are in it, or were.
    #[inline]
    pub fn kinds(&self) -> u8 {
        // With what `set` says: who sees a kind sees its fingerprint too.
        self.kinds.load(Ordering::Acquire)
    }

    /// Whether it is listed; None: nothing is known of it here.
    #[inline]
    pub fn get(&self, fingerprint: u64) -> Option<bool> {
        let mask = self.slots.len() - 1;
        let mut place = self.place(fingerprint);
        loop {
            let word = self.slots[place].load(Ordering::Acquire);
            if word & !LISTED == fingerprint {
                return Some(word & LISTED != 0);
            }
            if word == 0 {
                return None;
            }
            place = (place + 1) & mask;
        }
    }

    /// One is listed from now on, or is not. Called by one thread at a time.
    pub fn set(&self, fingerprint: u64, listed: bool, kind: u8) -> Result<(), Full> {
        let mask = self.slots.len() - 1;
        let mut place = self.place(fingerprint);
        loop {
            let word = self.slots[place].load(Ordering::Relaxed);
            if word != 0 && word & !LISTED != fingerprint {
                place = (place + 1) & mask;
                continue;
            }
            if word == 0 {
                if self.len() >= self.room() {
                    return Err(Full);
                }
                self.used.fetch_add(1, Ordering::Relaxed);
            }
            let word = fingerprint | if listed { LISTED } else { 0 };
            self.slots[place].store(word, Ordering::Release);
            self.kinds.fetch_or(kind, Ordering::Release);
            return Ok(());
        }
    }

    #[inline]
    fn place(&self, fingerprint: u64) -> usize {
        (fingerprint >> (64 - self.slots.len().trailing_zeros())) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn mixed(number: u64) -> u64 {
        (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number << 40) & !1 | 2
    }

    #[test]
    fn it_knows_what_a_plain_map_knows() {
        let (mut recent, mut model) = (Recent::new(2), HashMap::new());
        for step in 0..20_000u64 {
            let fingerprint = mixed(mixed(step) % 3_000);
            let listed = mixed(step) & 8 != 0;
            if recent.set(fingerprint, listed, bit(Kind::Address, listed)).is_err() {
                assert!(!model.contains_key(&fingerprint) && recent.len() == recent.room());
                recent = recent.larger(2 * recent.room());
                recent.set(fingerprint, listed, 0).unwrap();
            }
            model.insert(fingerprint, listed);
            let asked = mixed(mixed(step + 7) % 6_000);
            assert_eq!(recent.get(asked), model.get(&asked).copied());
        }
        assert_eq!(recent.len(), model.len());
        assert_eq!(recent.kinds(), bit(Kind::Address, false) | bit(Kind::Address, true));
        assert!(model.iter().all(|(fingerprint, listed)| recent.get(*fingerprint) == Some(*listed)));
    }

    /// All that lead to one slot: it goes round the end, and ends.
    #[test]
    fn those_that_meet_are_all_kept() {
        let recent = Recent::new(64);
        let at_the_end: Vec<u64> = (0..64).map(|number| u64::MAX << 20 | number << 1).collect();
        at_the_end.iter().for_each(|one| recent.set(*one, true, 0).unwrap());
        assert!(at_the_end.iter().all(|one| recent.get(*one) == Some(true)));
        assert_eq!((recent.get(2), recent.set(2, true, 0)), (None, Err(Full)));
        assert_eq!(recent.set(at_the_end[3], false, 0), Ok(()), "which it has already");
        assert_eq!(recent.get(at_the_end[3]), Some(false));
    }

    #[test]
    fn what_one_thread_puts_in_others_see() {
        let recent = Recent::new(10_000);
        std::thread::scope(|scope| {
            scope.spawn(|| (1..10_000).for_each(|number| recent.set(mixed(number), true, 1).unwrap()));
            scope.spawn(|| while recent.get(mixed(9_999)).is_none() {});
        });
        assert!((1..10_000).all(|number| recent.get(mixed(number)) == Some(true)));
    }
}
