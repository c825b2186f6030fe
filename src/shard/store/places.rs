//! Where moved messages lie now, and which segments are being read: what shards share about a lane so that its writer can move
//! messages and free their segments. No locks, and no messages between shards.
//!
//! A reader pins the segment it was told, then looks whether the message moved; if it did, it lets go and follows. The writer
//! publishes the new place, then looks for pins. All of this is sequentially consistent, so either the writer sees the
//! pin, or the reader sees the new place. Pins are counted apart for each shard: a reader writes its own memory only.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::id::Location;
use crate::limits;

type Block = OnceLock<Box<[AtomicU64]>>;
type Pins = OnceLock<Box<[AtomicU32]>>;

/// One lane's.
#[derive(Debug)]
pub struct Places {
    lane: u16,
    /// By key: 0, or slot and offset plus this bit.
    moved: OnceLock<Box<[Block]>>,
    /// By shard and slot.
    pins: Box<[Pins]>,
}

const MOVED: u64 = 1 << 63;

impl Places {
    /// A lane nothing has moved in, for so many shards.
    pub fn new(lane: u16, shards: usize) -> Places {
        Places { lane, moved: OnceLock::new(), pins: (0..shards).map(|_| Pins::new()).collect() }
    }

    fn cell(&self, key: u32) -> Option<&AtomicU64> {
        let block = self.moved.get()?.get(key as usize / limits::PLACES_BLOCK)?.get()?;
        block.get(key as usize % limits::PLACES_BLOCK)
    }

    /// Where a live message lies that was handed out with the location `told`.
    pub fn now(&self, key: u32, told: Location) -> Location {
        match self.cell(key).map_or(0, |cell| cell.load(Ordering::SeqCst)) {
            0 => told,
            place => Location { lane: told.lane, slot: (place >> 32) as u16, offset: place as u32 },
        }
    }

    /// The writer moved a message.
    pub fn moved(&self, key: u32, to: Location) {
        let blocks = self.moved.get_or_init(|| (0..limits::PLACES_BLOCKS).map(|_| Block::new()).collect());
        // Messages with larger keys are not moved.
        let Some(block) = blocks.get(key as usize / limits::PLACES_BLOCK) else { return };
        let block = block.get_or_init(|| (0..limits::PLACES_BLOCK).map(|_| AtomicU64::new(0)).collect());
        let place = MOVED | u64::from(to.slot) << 32 | u64::from(to.offset);
        block[key as usize % limits::PLACES_BLOCK].store(place, Ordering::SeqCst);
    }

    /// The writer gave a key to a new message.
    pub fn first_stored(&self, key: u32) {
        if let Some(cell) = self.cell(key) {
            cell.store(0, Ordering::SeqCst);
        }
    }

    fn pin_count(&self, shard: usize, slot: u16) -> &AtomicU32 {
        let pins =
            self.pins[shard].get_or_init(|| (0..limits::PIN_COUNTERS).map(|_| AtomicU32::new(0)).collect());
        &pins[usize::from(slot) % limits::PIN_COUNTERS]
    }

    /// Pins the segment a live message lies in: where that is. To be followed by [`Places::unpin`].
    pub fn pin(&self, shard: usize, key: u32, told: Location) -> Location {
        let mut place = self.now(key, told);
        loop {
            self.pin_count(shard, place.slot).fetch_add(1, Ordering::SeqCst);
            let now = self.now(key, told);
            if now == place {
                return place;
            }
            self.unpin(shard, place.slot);
            place = now;
        }
    }

    /// Lets go of a segment.
    pub fn unpin(&self, shard: usize, slot: u16) {
        self.pin_count(shard, slot).fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether any shard reads in a segment.
    pub fn is_pinned(&self, slot: u16) -> bool {
        let counts = self.pins.iter().filter_map(|pins| pins.get());
        counts
            .into_iter()
            .any(|pins| pins[usize::from(slot) % limits::PIN_COUNTERS].load(Ordering::SeqCst) > 0)
    }

    /// The lane's number.
    pub fn lane(&self) -> u16 {
        self.lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(slot: u16, offset: u32) -> Location {
        Location { lane: 1, slot, offset }
    }

    #[test]
    fn a_reader_follows_a_moved_message_and_pins_where_it_lies() {
        let places = Places::new(1, 2);
        assert_eq!(places.pin(0, 5, at(3, 4096)), at(3, 4096));
        assert!(places.is_pinned(3) && !places.is_pinned(4));
        places.moved(5, at(0, 0));
        assert_eq!(places.pin(1, 5, at(3, 4096)), at(0, 0), "slot 0, offset 0 is a place too");
        assert_eq!(places.pin(1, 6, at(3, 8192)), at(3, 8192), "another message stays");
        places.unpin(0, 3);
        assert!(places.is_pinned(3));
        places.unpin(1, 3);
        assert!(!places.is_pinned(3) && places.is_pinned(0));
        places.moved(5, at(u16::MAX, u32::MAX));
        assert_eq!(places.now(5, at(3, 4096)), at(u16::MAX, u32::MAX));
        places.first_stored(5);
        assert_eq!(places.now(5, at(7, 1)), at(7, 1), "a new message has the key");
        places.moved(limits::MOVABLE_KEYS, at(1, 1));
        assert_eq!(places.now(limits::MOVABLE_KEYS, at(7, 1)), at(7, 1));
    }

    #[test]
    fn no_segment_is_given_up_under_a_reader() {
        use std::sync::atomic::AtomicBool;
        // The writer moves one message from segment to segment and gives each old one up when nobody reads there.
        let places = Places::new(1, 3);
        let given_up: Vec<AtomicBool> = (0..200).map(|_| AtomicBool::new(false)).collect();
        let over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for shard in 0..3 {
                let (places, given_up, over) = (&places, &given_up, &over);
                threads.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        let place = places.pin(shard, 9, at(0, 64));
                        assert!(!given_up[usize::from(place.slot)].load(Ordering::SeqCst));
                        std::hint::spin_loop();
                        assert!(!given_up[usize::from(place.slot)].load(Ordering::SeqCst));
                        places.unpin(shard, place.slot);
                    }
                });
            }
            for slot in 1..200u16 {
                places.moved(9, at(slot, 64));
                while places.is_pinned(slot - 1) {
                    std::hint::spin_loop();
                }
                given_up[usize::from(slot) - 1].store(true, Ordering::SeqCst);
            }
            over.store(true, Ordering::SeqCst);
        });
    }
}
