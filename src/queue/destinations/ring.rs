//! Those of a site that have something ready, served in turn.

use std::collections::VecDeque;

use crate::limits;

/// A place in a ring. It counts while whoever has it says the same number: he may leave meanwhile, and come back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<K> {
    /// Whose it is.
    pub(super) key: K,
    /// Of no other turn.
    pub(super) number: u32,
}

/// Those that left are taken out when they are met, or when they are half of all: to look for each would take as long as the ring is.
#[derive(Debug)]
pub(super) struct Ring<K> {
    turns: VecDeque<Turn<K>>,
    /// How many of them left.
    left: usize,
    /// How many were looked at for one that left.
    #[cfg(test)]
    pub(super) looked_at: usize,
}

impl<K> Default for Ring<K> {
    fn default() -> Ring<K> {
        Ring {
            turns: VecDeque::new(),
            left: 0,
            #[cfg(test)]
            looked_at: 0,
        }
    }
}

impl<K: Copy> Ring<K> {
    /// Places, those of the ones that left included.
    pub(super) fn places(&self) -> usize {
        self.turns.len()
    }

    /// How many have a turn.
    pub(super) fn len(&self) -> usize {
        self.turns.len() - self.left
    }

    /// Whether none has.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The places in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Turn<K>> {
        self.turns.iter().copied()
    }

    /// The one at a place.
    pub(super) fn get(&self, place: usize) -> Option<Turn<K>> {
        self.turns.get(place).copied()
    }

    /// The first place, which is taken out. Where it is that of one who left, [`Ring::met`] is to be told.
    pub(super) fn pop(&mut self) -> Option<Turn<K>> {
        self.turns.pop_front()
    }

    /// One that was taken out had left before.
    pub(super) fn met(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// A turn at the end.
    pub(super) fn push(&mut self, turn: Turn<K>) {
        self.turns.push_back(turn);
    }

    /// One just left, and has a turn no more by what `counts` says. True: places are others now.
    pub(super) fn leave(&mut self, counts: impl Fn(Turn<K>) -> bool) -> bool {
        self.left += 1;
        if self.left <= limits::RING_LEFT_MAX.max(self.turns.len() / 2) {
            return false;
        }
        #[cfg(test)]
        {
            self.looked_at += self.turns.len();
        }
        self.turns.retain(|turn| counts(*turn));
        self.left = 0;
        true
    }
}
