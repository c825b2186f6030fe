//! The resolver's memory: bounded, by TTL.

use std::collections::HashMap;
use std::rc::Rc;

use crate::dns::{Found, Kind};
use crate::time::Instant;

type Entries = HashMap<(Kind, Box<str>), (Instant, Rc<Found>)>;

/// Two generations: what is used moves to the young one, and when that is full the old one is forgotten. Costs one hash
/// lookup or two, and never a scan.
#[derive(Debug)]
pub struct Cache {
    young: Entries,
    old: Entries,
    generation: usize,
}

impl Cache {
    /// Holds at most `bound` names.
    pub fn new(bound: usize) -> Cache {
        Cache { young: Entries::new(), old: Entries::new(), generation: (bound / 2).max(1) }
    }

    /// What is known and still holds.
    pub fn get(&mut self, kind: Kind, name: &str, now: Instant) -> Option<Rc<Found>> {
        let key = (kind, Box::from(name));
        if let Some((expires, found)) = self.young.get(&key) {
            return (*expires > now).then(|| found.clone());
        }
        let (expires, found) = self.old.remove(&key)?;
        if expires <= now {
            return None;
        }
        self.insert(key, expires, found.clone());
        Some(found)
    }

    /// Remembers a result for its TTL.
    pub fn put(&mut self, kind: Kind, name: &str, found: Rc<Found>, now: Instant) {
        self.insert((kind, name.into()), now + found.ttl, found);
    }

    fn insert(&mut self, key: (Kind, Box<str>), expires: Instant, found: Rc<Found>) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, (expires, found));
    }

    /// Names held.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Answer;
    use std::time::Duration;

    #[test]
    fn entries_end_with_their_ttl_and_the_bound_holds() {
        let found = Rc::new(Found { answer: Ok(Answer::NoData), ttl: Duration::from_secs(10) });
        let mut cache = Cache::new(100);
        let start = Instant(1);
        cache.put(Kind::Mx, "kept.example", found.clone(), start);
        for number in 0..1000 {
            cache.put(Kind::A, &format!("h{number}.example"), found.clone(), start);
            assert!(cache.get(Kind::Mx, "kept.example", start).is_some(), "what is used stays");
            assert!(cache.len() <= 101);
        }
        assert!(cache.get(Kind::A, "kept.example", start).is_none());
        assert!(cache.get(Kind::A, "h1.example", start).is_none());
        assert!(cache.get(Kind::Mx, "kept.example", start + Duration::from_secs(10)).is_none());
    }
}
