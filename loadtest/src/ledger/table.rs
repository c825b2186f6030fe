//! Bits and words by number, without a lock and without a length given beforehand.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a block, and blocks of a table.
pub(super) const BLOCK: usize = 1 << 16;
pub(super) const BLOCKS: usize = 1 << 10;

/// A growing table of 64-bit words, all zero at first.
pub(super) struct Words(Box<[OnceLock<Box<[AtomicU64]>>]>);

impl Words {
    pub(super) fn new() -> Words {
        Words((0..BLOCKS).map(|_| OnceLock::new()).collect())
    }

    /// The word at `index`, None past the bound.
    pub(super) fn at(&self, index: u64) -> Option<&AtomicU64> {
        let index = usize::try_from(index).ok()?;
        let block = self.0.get(index / BLOCK)?;
        let words = block.get_or_init(|| (0..BLOCK).map(|_| AtomicU64::new(0)).collect());
        words.get(index % BLOCK)
    }

    /// The value at `index`, without growing the table.
    pub(super) fn value(&self, index: u64) -> u64 {
        let index = index as usize;
        let block = self.0.get(index / BLOCK).and_then(OnceLock::get);
        block.map_or(0, |words| words[index % BLOCK].load(Ordering::Relaxed))
    }

    /// Sets a bit; None past the bound, otherwise whether it was clear.
    pub(super) fn set_bit(&self, bit: u64) -> Option<bool> {
        let mask = 1 << (bit % 64);
        Some(self.at(bit / 64)?.fetch_or(mask, Ordering::Relaxed) & mask == 0)
    }
}
