//! Who is next, where many wait for few places and one of them may have brought thousands.
//!
//! Two levels. Clients take turns, one each. Among the things of one client the next is the one that has the fewest before it of
//! its own message and of its own parent zone, whichever are more: so one message for a thousand domains, and a thousand messages for one
//! zone, both count as one that wants much, and whoever wants little does not wait behind them. Never a line over all.
//!
//! Counts are kept in a table of fixed size under hashes nobody outside can know; two that share a place there are a little less
//! than fair to each other, and nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::limits;

/// On whose behalf something waits. Numbers are hashes; equal ones are taken for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Behalf {
    /// The account or the client's network; 0: nobody knows.
    pub client: u32,
    /// The message.
    pub message: u32,
    /// The parent zone of the domain: what its owner registered, as far as the name tells.
    pub zone: u32,
}

impl Behalf {
    /// What stands behind the domain of a message of a client.
    pub fn new(client: u32, message: u32, domain: &str) -> Behalf {
        Behalf { client, message, zone: hash(zone(domain).as_bytes()) }
    }
}

/// Second levels under which countries register names for anybody: `co.uk`, `com.br`, `ne.jp`.
const FOR_ANYBODY: [&str; 14] =
    ["ac", "co", "com", "edu", "go", "gob", "gov", "mil", "ne", "net", "nom", "or", "org", "web"];

/// The last two labels, or three where a country registers names below a second level of its own. Not a whole list of such places: one
/// that is missed is a little less than fair to its owners, and nothing else.
fn zone(domain: &str) -> &str {
    let mut ends = domain.rsplit('.');
    let country = ends.next().is_some_and(|top| top.len() == 2)
        && ends.next().is_some_and(|second| FOR_ANYBODY.contains(&second));
    let dots = domain.rmatch_indices('.').nth(if country { 2 } else { 1 });
    dots.map_or(domain, |(place, _)| &domain[place + 1..])
}

/// Stands for the message of all that a client brought and that was tried before.
pub const TRIED_BEFORE: u32 = 0xA6A1_4E57;

/// Thirty-two bits of anything.
pub fn hash(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    (hash ^ hash >> 32) as u32
}

/// How much of something each message and each zone has now.
#[derive(Debug)]
pub struct FairCounts {
    counts: Vec<u32>,
    secret: u64,
}

impl FairCounts {
    /// Nobody has any. `secret` is what nobody outside can know.
    pub fn new(secret: u64) -> FairCounts {
        FairCounts::of(limits::FAIR_COUNTS, secret)
    }

    fn of(counts: usize, secret: u64) -> FairCounts {
        FairCounts { counts: vec![0; counts], secret }
    }

    fn place(&self, kind: u64, client: u32, which: u32) -> usize {
        let key = (u64::from(client) << 32 | u64::from(which)) ^ self.secret ^ kind << 61;
        let key = (key ^ key >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let key = (key ^ key >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (key >> 40) as usize % self.counts.len()
    }

    fn places(&self, behalf: Behalf) -> [usize; 2] {
        [self.place(1, behalf.client, behalf.message), self.place(2, behalf.client, behalf.zone)]
    }

    /// What it has, of its message or of its zone, whichever is more.
    pub fn most(&self, behalf: Behalf) -> u32 {
        self.places(behalf).map(|place| self.counts[place]).into_iter().max().unwrap_or(0)
    }

    /// It has one more.
    pub fn add(&mut self, behalf: Behalf) {
        for place in self.places(behalf) {
            self.counts[place] = self.counts[place].saturating_add(1);
        }
    }

    /// It has one less.
    pub fn remove(&mut self, behalf: Behalf) {
        for place in self.places(behalf) {
            self.counts[place] = self.counts[place].saturating_sub(1);
        }
    }
}

#[derive(Debug)]
struct FairEntry<T> {
    turn: u64,
    number: u64,
    behalf: Behalf,
    what: T,
}

impl<T> PartialEq for FairEntry<T> {
    fn eq(&self, other: &FairEntry<T>) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for FairEntry<T> {}

impl<T> PartialOrd for FairEntry<T> {
    fn partial_cmp(&self, other: &FairEntry<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for FairEntry<T> {
    fn cmp(&self, other: &FairEntry<T>) -> std::cmp::Ordering {
        (self.turn, self.number).cmp(&(other.turn, other.number))
    }
}

/// A queue of this order. It holds what is put into it, and its owner puts in each thing once.
#[derive(Debug)]
pub struct FairQueue<T> {
    clients: BTreeMap<u32, BinaryHeap<Reverse<FairEntry<T>>>>,
    ring: VecDeque<u32>,
    tally: FairCounts,
    number: u64,
    length: usize,
}

impl<T> FairQueue<T> {
    /// Nothing waits. `secret` is what nobody outside can know.
    pub fn new(secret: u64) -> FairQueue<T> {
        FairQueue::of(FairCounts::new(secret))
    }

    /// The same, for one of many: it counts in a small table.
    pub fn small(secret: u64) -> FairQueue<T> {
        FairQueue::of(FairCounts::of(limits::FAIR_COUNTS_SMALL, secret))
    }

    fn of(tally: FairCounts) -> FairQueue<T> {
        FairQueue { clients: BTreeMap::new(), ring: VecDeque::new(), tally, number: 0, length: 0 }
    }

    /// How much waits.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether nothing waits of its message, nor of its zone.
    pub fn is_newcomer(&self, behalf: Behalf) -> bool {
        self.tally.most(behalf) == 0
    }

    /// Queues.
    pub fn push(&mut self, behalf: Behalf, what: T) {
        let before = u64::from(self.tally.most(behalf));
        self.tally.add(behalf);
        self.number += 1;
        self.length += 1;
        let number = self.number;
        let line = self.clients.entry(behalf.client).or_insert_with(|| {
            self.ring.push_back(behalf.client);
            BinaryHeap::new()
        });
        line.push(Reverse(FairEntry { turn: number + limits::FAIR_STEP * before, number, behalf, what }));
    }

    /// Takes what is next.
    pub fn pop(&mut self) -> Option<(Behalf, T)> {
        let client = self.ring.pop_front()?;
        let line = self.clients.get_mut(&client)?;
        let Reverse(FairEntry { behalf, what, .. }) = line.pop()?;
        if line.is_empty() {
            self.clients.remove(&client);
        } else {
            self.ring.push_back(client);
        }
        self.tally.remove(behalf);
        self.length -= 1;
        Some((behalf, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behalf(client: u32, message: u32, domain: &str) -> Behalf {
        Behalf::new(client, message, domain)
    }

    /// The place at which `what` comes out.
    fn place(queue: &mut FairQueue<&'static str>, what: &str) -> usize {
        let mut place = 0;
        while let Some((_, found)) = queue.pop() {
            if found == what {
                return place;
            }
            place += 1;
        }
        panic!("{what} is gone")
    }

    #[test]
    fn zones_are_what_an_owner_registers() {
        let zone = |domain| behalf(0, 0, domain).zone;
        assert_eq!(zone("a.b.evil.example"), zone("evil.example"));
        assert_eq!(zone("x.evil.example"), zone("y.evil.example"));
        assert_ne!(zone("a.example"), zone("b.example"));
        assert_ne!(zone("example"), zone(""));
        for (one, other) in [("a.co.uk", "b.co.uk"), ("x.a.com.br", "x.b.com.br"), ("a.ne.jp", "b.ne.jp")] {
            assert_ne!(zone(one), zone(other));
        }
        assert_eq!(zone("x.evil.co.uk"), zone("y.z.evil.co.uk"));
        assert_eq!(zone("x.evil.uk"), zone("y.evil.uk"));
        assert_eq!(zone("x.co.example"), zone("y.co.example"));
        assert_eq!(zone("x.evl.de"), zone("y.evl.de"));
    }

    #[test]
    fn one_message_for_thousands_holds_up_nobody() {
        let mut queue = FairQueue::new(7);
        for number in 0..10_000 {
            queue.push(behalf(1, 5, &format!("d{number}.example")), "flood");
        }
        queue.push(behalf(1, 6, "good.example"), "good");
        assert!(place(&mut queue, "good") <= 40);
    }

    #[test]
    fn a_thousand_messages_for_one_zone_hold_up_nobody() {
        let mut queue = FairQueue::new(8);
        for number in 0..10_000 {
            queue.push(behalf(1, number, &format!("d{number}.evil.example")), "flood");
        }
        queue.push(behalf(1, 77_777, "good.example"), "good");
        assert!(place(&mut queue, "good") <= 40);
    }

    #[test]
    fn clients_take_turns_whatever_they_bring() {
        let mut queue = FairQueue::new(9);
        for number in 0..10_000 {
            queue.push(behalf(1, number, &format!("d{number}.example")), "flood");
        }
        for number in 0..3 {
            queue.push(behalf(2, number, "good.example"), "good");
        }
        for _ in 0..3 {
            assert!(place(&mut queue, "good") <= 1);
        }
    }

    /// What comes later is not put in front of what waits for long, for ever, also where there is no end of it.
    #[test]
    fn who_wants_much_gets_some() {
        for (taken, least) in [(3, 300), (2, 2)] {
            let mut queue = FairQueue::new(10);
            for number in 0..1_000 {
                queue.push(behalf(1, 5, &format!("d{number}.example")), "much");
            }
            let mut much = 0;
            for number in 0..400 {
                queue.push(behalf(1, 1_000 + number, &format!("e{number}.example")), "little");
                queue.push(behalf(1, 9_000 + number, &format!("f{number}.example")), "little");
                for _ in 0..taken {
                    much += usize::from(queue.pop().is_some_and(|(_, what)| what == "much"));
                }
            }
            assert!(much >= least, "{much}");
        }
    }

    #[test]
    fn it_empties_and_counts_nothing_then() {
        let mut queue = FairQueue::new(11);
        for round in 0..3 {
            for number in 0..100 {
                queue.push(behalf(number % 7, number % 5, "a.example"), number + round);
            }
            assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 100);
            assert!(queue.is_empty() && queue.clients.is_empty() && queue.ring.is_empty());
            assert!(queue.tally.counts.iter().all(|count| *count == 0));
        }
    }
}
