//! A new list of an old one and what changed: sorted streams are merged into one, with one record of each in memory.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};

use super::entry::{Entry, Place};
use crate::time::UnixMillis;

/// What a record says of its entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// It is so, whatever was before.
    #[default]
    Put,
    /// It is so, unless it is listed already and for as long.
    Offer,
    /// It is not listed.
    Remove,
}

/// An entry in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// What is said of it.
    pub change: Change,
    /// The entry, as the book has it; one that can be read.
    pub bytes: Vec<u8>,
}

impl Record {
    /// One of an entry.
    pub fn new(place: Place, change: Change, entry: &Entry<'_>) -> Record {
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        Record { place, change, bytes }
    }

    /// The entry. None: its bytes make no sense.
    pub fn entry(&self) -> Option<Entry<'_>> {
        Entry::read(&self.bytes).map(|(entry, _)| entry)
    }

    /// By place, and where two meet there by name.
    pub fn order(&self, other: &Record) -> Ordering {
        let name = |record| Record::entry(record).map(|entry| entry.name());
        self.place.cmp(&other.place).then_with(|| name(self).cmp(&name(other)))
    }
}

/// A stream of records in order: by place, then tenant, then address.
pub trait Records {
    /// Why it broke off.
    type Error;

    /// Takes the next one into `record`, whose bytes are used again. False: there are no more.
    fn next(&mut self, record: &mut Record) -> Result<bool, Self::Error>;
}

/// What became of what was offered, and of what was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that came out.
    pub entries: u64,
    /// Offered, and not listed before.
    pub added: u64,
    /// Offered, and listed already.
    pub known: u64,
    /// Left out: their time is over.
    pub over: u64,
}

/// The next record of a stream.
struct Head {
    record: Record,
    source: usize,
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    /// The first record is the greatest: a heap gives that. Of two about one entry the older stream's comes first.
    fn cmp(&self, other: &Head) -> Ordering {
        other.record.order(&self.record).then(other.source.cmp(&self.source))
    }
}

/// Several streams as one, the oldest first.
pub struct Merge<S> {
    sources: Vec<S>,
    heads: BinaryHeap<Head>,
    now: UnixMillis,
    counts: Counts,
}

impl<S: Records> Merge<S> {
    /// Of these; entries whose time is over by `now` are left out.
    pub fn new(mut sources: Vec<S>, now: UnixMillis) -> Result<Merge<S>, S::Error> {
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (source, records) in sources.iter_mut().enumerate() {
            let mut record = Record::default();
            if records.next(&mut record)? {
                heads.push(Head { record, source });
            }
        }
        Ok(Merge { sources, heads, now, counts: Counts::default() })
    }

    /// What came out so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next entry that is listed into `record`. False: there are no more.
    pub fn next(&mut self, record: &mut Record) -> Result<bool, S::Error> {
        loop {
            let Some(mut head) = self.heads.peek_mut() else { return Ok(false) };
            std::mem::swap(record, &mut head.record);
            advance(&mut self.sources, head)?;
            let mut listed = record.change != Change::Remove;
            self.counts.added += u64::from(record.change == Change::Offer);
            // Nearly always there is nothing else about it.
            loop {
                let Some(mut head) = self.heads.peek_mut() else { break };
                if head.record.order(record) != Ordering::Equal {
                    break;
                }
                listed = settle(record, &mut head.record, listed, &mut self.counts);
                advance(&mut self.sources, head)?;
            }
            if !listed {
                continue;
            }
            if record.entry().is_none_or(|entry| entry.is_over(self.now)) {
                self.counts.over += 1;
                continue;
            }
            self.counts.entries += 1;
            return Ok(true);
        }
    }
}

fn advance<S: Records>(sources: &mut [S], mut head: PeekMut<'_, Head>) -> Result<(), S::Error> {
    let source = head.source;
    if !sources[source].next(&mut head.record)? {
        PeekMut::pop(head);
    }
    Ok(())
}

/// What is so after both; whether it is listed.
fn settle(record: &mut Record, later: &mut Record, listed: bool, counts: &mut Counts) -> bool {
    match later.change {
        Change::Remove => return false,
        Change::Put => std::mem::swap(record, later),
        Change::Offer if !listed => {
            counts.added += 1;
            std::mem::swap(record, later);
        }
        Change::Offer => {
            counts.known += 1;
            let longer = later.entry().zip(record.entry()).is_some_and(|(new, old)| new.lasts_longer(&old));
            if longer {
                std::mem::swap(record, later);
            }
        }
    }
    true
}

/// A stream of what is in memory, in order.
#[derive(Debug, Default)]
pub struct InMemory(pub VecDeque<Record>);

impl Records for InMemory {
    type Error = std::convert::Infallible;

    fn next(&mut self, record: &mut Record) -> Result<bool, Self::Error> {
        let next = self.0.pop_front();
        Ok(next.map(|next| *record = next).is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::suppression::entry::Reason;

    fn record(number: u64, change: Change, (added, expires): (u64, Option<u64>)) -> Record {
        // Names meet at places: some places have several.
        let place = Place { of_domains: number % 30 >= 27, fingerprint: 2 * (number / 3) };
        let address = format!("u{number:03}@example.org");
        let entry = Entry {
            tenant: number.is_multiple_of(2).then_some("shop"),
            address: &address,
            reason: Reason::Manual,
            added: UnixMillis(added),
            expires: expires.map(UnixMillis),
            note: "",
        };
        Record::new(place, change, &entry)
    }

    fn merged(sources: Vec<Vec<Record>>, now: u64) -> (Vec<Record>, Counts) {
        let sorted = |mut records: Vec<Record>| {
            records.sort_by(Record::order);
            InMemory(records.into())
        };
        let mut merge = Merge::new(sources.into_iter().map(sorted).collect(), UnixMillis(now)).unwrap();
        let (mut all, mut next) = (Vec::new(), Record::default());
        while merge.next(&mut next).unwrap() {
            all.push(next.clone());
        }
        (all, merge.counts())
    }

    #[test]
    fn what_comes_later_counts() {
        let one = |change, times| vec![record(4, change, times)];
        let added = |sources, now| {
            let (all, counts) = merged(sources, now);
            (all.first().map(|one| one.entry().unwrap().added.0), (counts.added, counts.known, counts.over))
        };
        let put = |at| one(Change::Put, (at, None));
        let offer = |at, until| one(Change::Offer, (at, until));
        let remove = || one(Change::Remove, (0, None));
        assert_eq!(added(vec![put(1), put(2)], 0), (Some(2), (0, 0, 0)));
        assert_eq!(added(vec![put(1), remove()], 0), (None, (0, 0, 0)));
        assert_eq!(added(vec![put(1), remove(), offer(3, None)], 0), (Some(3), (1, 0, 0)));
        assert_eq!(added(vec![remove(), put(2)], 0), (Some(2), (0, 0, 0)));
        assert_eq!(added(vec![put(1), offer(3, None)], 0), (Some(1), (0, 1, 0)), "it is known");
        assert_eq!(
            added(vec![offer(3, Some(5)), offer(4, None)], 0),
            (Some(4), (1, 1, 0)),
            "and lasts longer"
        );
        assert_eq!(added(vec![offer(3, Some(5)), offer(4, Some(5))], 0), (Some(3), (1, 1, 0)));
        assert_eq!(added(vec![offer(3, Some(5))], 5), (None, (1, 0, 1)));
    }

    #[test]
    fn many_streams_are_as_a_plain_map() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (mut sources, mut model) = (Vec::new(), BTreeMap::<u64, u64>::new());
            for time in 0..1 + random(5) {
                let mut source = BTreeMap::new();
                for _ in 0..random(60) {
                    let number = random(80);
                    let change = [Change::Put, Change::Offer, Change::Remove][random(3) as usize];
                    source.insert(number, (change, record(number, change, (time, None))));
                }
                for (number, (change, _)) in &source {
                    match change {
                        Change::Put => drop(model.insert(*number, time)),
                        Change::Offer => drop(model.entry(*number).or_insert(time)),
                        Change::Remove => drop(model.remove(number)),
                    }
                }
                sources.push(source.into_values().map(|(_, record)| record).collect());
            }
            let (all, counts) = merged(sources, 0);
            assert!(all.is_sorted_by(|one, other| one.order(other) == Ordering::Less));
            let told = |record: &Record| {
                let entry = record.entry().unwrap();
                (entry.address[1..4].parse::<u64>().unwrap(), entry.added.0)
            };
            assert_eq!(all.iter().map(told).collect::<BTreeMap<_, _>>(), model);
            assert_eq!((all.len(), counts.entries), (model.len(), model.len() as u64));
        }
    }
}
