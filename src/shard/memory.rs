//! What clients make the node keep in memory: transactions (bodies on their way in, envelopes), and what sessions hold beside them
//! (input that is not handled, replies that are not read, TLS). One bound of each for all shards; a shard takes its part in steps, so
//! that a byte that comes and goes costs no atomic.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;

/// The bound of the node.
#[derive(Debug)]
pub struct Pool {
    taken: AtomicUsize,
    most: usize,
}

impl Pool {
    /// So many bytes, less than a step for each shard aside.
    pub fn new(most: usize) -> Pool {
        Pool { taken: AtomicUsize::new(0), most }
    }

    /// All of it.
    pub fn most(&self) -> usize {
        self.most
    }

    fn take(&self) -> bool {
        let more =
            |taken: usize| (taken + limits::MEMORY_STEP <= self.most).then_some(taken + limits::MEMORY_STEP);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give(&self) {
        self.taken.fetch_sub(limits::MEMORY_STEP, Ordering::Relaxed);
    }
}

/// A shard's part.
#[derive(Debug, Default)]
pub struct Memory {
    held: Cell<usize>,
    taken: Cell<usize>,
}

impl Memory {
    /// What held so many bytes now holds others.
    pub fn change(&self, pool: &Pool, before: &mut u32, now: usize) {
        let was = *before as usize;
        if now > was {
            self.hold(pool, now - was);
        } else if now < was {
            self.release(pool, was - now);
        }
        *before = now as u32;
    }

    /// So many bytes more are held.
    pub fn hold(&self, pool: &Pool, bytes: usize) {
        self.held.set(self.held.get() + bytes);
        while self.held.get() > self.taken.get() && pool.take() {
            self.taken.set(self.taken.get() + limits::MEMORY_STEP);
        }
    }

    /// So many bytes less.
    pub fn release(&self, pool: &Pool, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
        // One step is kept: a shard that goes up and down around an edge would go to the pool each time.
        while self.taken.get() >= self.held.get() + 2 * limits::MEMORY_STEP {
            self.taken.set(self.taken.get() - limits::MEMORY_STEP);
            pool.give();
        }
    }

    /// Whether nothing more may be begun.
    pub fn is_full(&self, pool: &Pool) -> bool {
        if self.held.get() > self.taken.get() {
            // Others may have given back since.
            self.hold(pool, 0);
        }
        self.held.get() > self.taken.get()
    }

    /// Whether what can lie elsewhere should.
    pub fn is_short(&self, pool: &Pool) -> bool {
        pool.taken.load(Ordering::Relaxed) > pool.most / 100 * limits::MEMORY_SHORT
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.held.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_nodes_and_all_of_it_comes_back() {
        let pool = Pool::new(10 * limits::MEMORY_STEP);
        let shards = [Memory::default(), Memory::default()];
        let mut held = 0;
        while !shards[0].is_full(&pool) {
            shards[held % 2].hold(&pool, 1000);
            held += 1;
        }
        let all = shards[0].held() + shards[1].held();
        assert!((9 * limits::MEMORY_STEP..=10 * limits::MEMORY_STEP + 2000).contains(&all), "{all}");
        assert!(shards[0].is_short(&pool));
        // What one gives back the other may take.
        shards[1].release(&pool, shards[1].held());
        assert!(!shards[0].is_full(&pool));
        shards[0].release(&pool, shards[0].held());
        assert_eq!((shards[0].held(), shards[1].held()), (0, 0));
        assert!(pool.taken.load(Ordering::Relaxed) <= 2 * limits::MEMORY_STEP);
        assert!(!shards[0].is_short(&pool));
    }

    #[test]
    fn a_byte_that_comes_and_goes_leaves_the_pool_alone() {
        let pool = Pool::new(10 * limits::MEMORY_STEP);
        let shard = Memory::default();
        shard.hold(&pool, limits::MEMORY_STEP);
        for _ in 0..100 {
            shard.hold(&pool, 1);
            let taken = pool.taken.load(Ordering::Relaxed);
            shard.release(&pool, 1);
            assert_eq!(pool.taken.load(Ordering::Relaxed), taken);
        }
    }
}
