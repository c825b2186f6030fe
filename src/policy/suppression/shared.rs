//! The list as all shards have it. Who keeps it puts another value in force; each shard looks at one number once a turn, and takes the value
//! up when that is another. What changes between values is seen at once: it is in a table that all of them share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Suppression;

/// What is in force on the node.
#[derive(Debug, Default)]
pub struct Shared {
    generation: AtomicU64,
    value: Mutex<Arc<Suppression>>,
}

impl Shared {
    /// Puts a value in force.
    pub fn set(&self, value: Arc<Suppression>) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = value;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// What is in force.
    pub fn get(&self) -> Arc<Suppression> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a shard has taken up of it.
#[derive(Clone, Debug)]
pub struct Taken {
    generation: u64,
    value: Arc<Suppression>,
}

impl Taken {
    /// What is in force now.
    pub fn new(shared: &Shared) -> Taken {
        // In this order: a value that is newer than its number is only taken up twice.
        let generation = shared.generation.load(Ordering::Acquire);
        Taken { generation, value: shared.get() }
    }

    /// Once a turn: takes up what came into force, which is seldom. No lock otherwise.
    #[inline]
    pub fn look(&mut self, shared: &Shared) {
        if shared.generation.load(Ordering::Acquire) != self.generation {
            *self = Taken::new(shared);
        }
    }

    /// The list.
    #[inline]
    pub fn list(&self) -> &Suppression {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::suppression::fingerprint::Key;

    #[test]
    fn a_value_is_taken_up_once_it_is_in_force() {
        let shared = Shared::default();
        let mut taken = Taken::new(&shared);
        let next = Arc::new(Suppression::new(Key([1; 16]), None, Arc::default()));
        shared.set(next.clone());
        assert!(!std::ptr::eq(taken.list(), &*next));
        taken.look(&shared);
        assert!(std::ptr::eq(taken.list(), &*next));
        let same = taken.generation;
        taken.look(&shared);
        assert_eq!(taken.generation, same);
    }
}
