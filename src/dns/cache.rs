//! The resolver's memory: bounded, by TTL.

use std::collections::HashMap;
use std::rc::Rc;

use crate::dns::{LookupResult, QueryType};
use crate::time::Instant;

type Entries = HashMap<(QueryType, Box<str>), (Instant, Rc<LookupResult>)>;

/// Two generations: what is used moves to the young one, and when that is full the old one is forgotten. Costs one hash
/// lookup or two, and never a scan.
#[derive(Debug)]
pub struct Cache {
    young: Entries,
    old: Entries,
    generation: usize,
    /// Bytes of each, and what a generation may have.
    young_bytes: usize,
    old_bytes: usize,
    bytes_max: usize,
}

/// What a name takes beside its letters and its answer: key, expiry, reference and two counts, and the table's slack.
const OVERHEAD: usize = 2 * size_of::<((QueryType, Box<str>), (Instant, Rc<LookupResult>))>() + 16;

impl Cache {
    /// Holds at most `bound` names, in about `bytes` bytes.
    pub fn new(bound: usize, bytes: usize) -> Cache {
        Cache {
            young: Entries::new(),
            old: Entries::new(),
            generation: (bound / 2).max(1),
            young_bytes: 0,
            old_bytes: 0,
            bytes_max: bytes / 2,
        }
    }

    /// What is known and still holds.
    pub fn get(&mut self, kind: QueryType, name: &str, now: Instant) -> Option<Rc<LookupResult>> {
        let key = (kind, Box::from(name));
        if let Some((expires, found)) = self.young.get(&key) {
            return (*expires > now).then(|| found.clone());
        }
        let (expires, found) = self.old.remove(&key)?;
        self.old_bytes = self.old_bytes.saturating_sub(cost(&key.1, &found));
        if expires <= now {
            return None;
        }
        self.insert(key, expires, found.clone());
        Some(found)
    }

    /// Remembers a result for its TTL.
    pub fn put(&mut self, kind: QueryType, name: &str, found: Rc<LookupResult>, now: Instant) {
        self.insert((kind, name.into()), now + found.ttl, found);
    }

    fn insert(&mut self, key: (QueryType, Box<str>), expires: Instant, found: Rc<LookupResult>) {
        let cost = cost(&key.1, &found);
        if self.young.len() >= self.generation || self.young_bytes + cost > self.bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        self.young_bytes += cost;
        // A name that was known already is counted twice until its generation ends: too much is no harm.
        self.young.insert(key, (expires, found));
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        (self.young, self.old) = (Entries::new(), Entries::new());
        (self.young_bytes, self.old_bytes) = (0, 0);
    }

    /// Bytes held, about, and never more than are counted.
    pub fn bytes(&self) -> usize {
        self.young_bytes + self.old_bytes
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

fn cost(name: &str, found: &LookupResult) -> usize {
    OVERHEAD + name.len() + found.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Answer;
    use std::time::Duration;

    #[test]
    fn entries_end_with_their_ttl_and_the_bound_holds() {
        let found = Rc::new(LookupResult { answer: Ok(Answer::NoData), ttl: Duration::from_secs(10) });
        let mut cache = Cache::new(100, 1 << 20);
        let start = Instant(1);
        cache.put(QueryType::Mx, "kept.example", found.clone(), start);
        for number in 0..1000 {
            cache.put(QueryType::A, &format!("h{number}.example"), found.clone(), start);
            assert!(cache.get(QueryType::Mx, "kept.example", start).is_some(), "what is used stays");
            assert!(cache.len() <= 101);
        }
        assert!(cache.get(QueryType::A, "kept.example", start).is_none());
        assert!(cache.get(QueryType::A, "h1.example", start).is_none());
        assert!(cache.get(QueryType::Mx, "kept.example", start + Duration::from_secs(10)).is_none());
        cache.clear();
        assert!(cache.get(QueryType::Mx, "kept.example", start).is_none());
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }
    /// However large answers are, what is held stays within the bytes.
    #[test]
    fn large_answers_are_counted_by_their_bytes() {
        let mut cache = Cache::new(100_000, 64 * 1024);
        let start = Instant(1);
        let mut held = 0;
        for number in 0..5_000 {
            let hosts =
                (0..16).map(|rank| (rank, format!("mx{rank}.a-zone-with-a-long-name-{number}.example")));
            let answer = Ok(Answer::Mx { hosts: hosts.collect(), cut: true });
            let found = Rc::new(LookupResult { answer, ttl: Duration::from_secs(60) });
            cache.put(QueryType::Mx, &format!("d{number}.example"), found, start);
            assert!(cache.bytes() <= 64 * 1024, "{} bytes", cache.bytes());
            held = held.max(cache.len());
        }
        assert!((10..100).contains(&held), "{held}");
    }
}
