//! What is known about each message of a run: when it was due, who acknowledged it, which recipients it reached.
//!
//! Sender and sink write it from their threads without a lock; nothing is kept per message but a time (8 bytes)
//! and two bits a recipient. Tables grow in blocks, so that a run needs no length given beforehand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use hdrhistogram::Histogram;

/// Messages of one run.
pub const MESSAGES_MAX: u64 = (BLOCKS * BLOCK) as u64;
/// Recipients of one message.
pub const RECIPIENTS_MAX: u32 = 1000;
/// Messages times recipients of one run.
pub const DELIVERIES_MAX: u64 = MESSAGES_MAX * 64;

const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 1 << 10;
/// Histograms a ledger spreads its deliveries over, so that sink threads do not wait for each other.
const LANES: usize = 8;

/// A growing table of 64-bit words, all zero at first.
struct Words(Box<[OnceLock<Box<[AtomicU64]>>]>);

impl Words {
    fn new() -> Words {
        Words((0..BLOCKS).map(|_| OnceLock::new()).collect())
    }

    /// The word at `index`, None past the bound.
    fn at(&self, index: u64) -> Option<&AtomicU64> {
        let index = usize::try_from(index).ok()?;
        let block = self.0.get(index / BLOCK)?;
        let words = block.get_or_init(|| (0..BLOCK).map(|_| AtomicU64::new(0)).collect());
        words.get(index % BLOCK)
    }

    /// The value at `index`, without growing the table.
    fn value(&self, index: u64) -> u64 {
        let index = index as usize;
        let block = self.0.get(index / BLOCK).and_then(OnceLock::get);
        block.map_or(0, |words| words[index % BLOCK].load(Ordering::Relaxed))
    }

    /// Sets a bit; None past the bound, otherwise whether it was clear.
    fn set_bit(&self, bit: u64) -> Option<bool> {
        let mask = 1 << (bit % 64);
        Some(self.at(bit / 64)?.fetch_or(mask, Ordering::Relaxed) & mask == 0)
    }
}

/// The record of one run, shared by its sender and the sinks that receive it.
pub struct Ledger {
    run: u64,
    recipients: u32,
    due: Words,
    acknowledged: Words,
    delivered: Words,
    /// One past the highest message number seen on either side.
    end: AtomicU64,
    counts: Counters,
    latency: [Mutex<Histogram<u64>>; LANES],
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    acknowledged_recipients: AtomicU64,
    delivered: AtomicU64,
    duplicated: AtomicU64,
    corrupted: AtomicU64,
    misrouted: AtomicU64,
    last_delivery: AtomicU64,
}

/// The sums of a [`Ledger`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sums {
    /// Messages whose transaction was begun.
    pub sent: u64,
    /// Messages answered with a 250 after the final dot.
    pub acknowledged: u64,
    /// Recipients those 250s covered.
    pub acknowledged_recipients: u64,
    /// Recipients reached, each counted once.
    pub delivered: u64,
    /// Deliveries to a recipient already reached.
    pub duplicated: u64,
    /// Copies that arrived with a body other than the one sent.
    pub corrupted: u64,
    /// Deliveries of a message to a recipient of another, or to none of ours.
    pub misrouted: u64,
    /// When the last delivery came, on the clock of [`crate::sys::now`]; 0 before the first.
    pub last_delivery: u64,
}

impl Ledger {
    /// Of a run whose messages have `recipients` recipients each (at least 1, at most [`RECIPIENTS_MAX`]).
    pub fn new(run: u64, recipients: u32) -> Ledger {
        Ledger {
            run,
            recipients: recipients.clamp(1, RECIPIENTS_MAX),
            due: Words::new(),
            acknowledged: Words::new(),
            delivered: Words::new(),
            end: AtomicU64::new(0),
            counts: Counters::default(),
            latency: std::array::from_fn(|_| Mutex::new(microseconds())),
        }
    }

    /// The number that tells this run from others.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Recipients of each message.
    pub fn recipients(&self) -> u32 {
        self.recipients
    }

    /// Message `n` is being sent and was due at `at`. False past [`MESSAGES_MAX`].
    pub fn send(&self, n: u64, at: u64) -> bool {
        let Some(due) = self.due.at(n) else { return false };
        due.store(at, Ordering::Relaxed);
        self.end.fetch_max(n + 1, Ordering::Relaxed);
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The relay took responsibility for message `n` and these of its recipients.
    pub fn acknowledge(&self, n: u64, ordinals: impl Iterator<Item = u32>) {
        let mut taken = 0;
        for ordinal in ordinals {
            taken +=
                u64::from(self.bit(n, ordinal).and_then(|bit| self.acknowledged.set_bit(bit)) == Some(true));
        }
        self.counts.acknowledged_recipients.fetch_add(taken, Ordering::Relaxed);
        self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Message `n` reached recipient `ordinal` at `now`; `lane` is the caller's thread, any number.
    /// A recipient it does not have counts as misrouted.
    pub fn deliver(&self, n: u64, ordinal: u32, now: u64, lane: usize) {
        match self.bit(n, ordinal).and_then(|bit| self.delivered.set_bit(bit)) {
            None => self.misroute(),
            Some(false) => {
                self.counts.duplicated.fetch_add(1, Ordering::Relaxed);
            }
            Some(true) => {
                self.end.fetch_max(n + 1, Ordering::Relaxed);
                self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                self.counts.last_delivery.fetch_max(now, Ordering::Relaxed);
                let due = self.due.value(n);
                if due != 0 {
                    locked(&self.latency[lane % LANES]).saturating_record(now.saturating_sub(due) / 1000);
                }
            }
        }
    }

    /// A copy arrived whose body does not match its checksum.
    pub fn corrupt(&self) {
        self.counts.corrupted.fetch_add(1, Ordering::Relaxed);
    }

    /// A copy arrived for a recipient that is not its own.
    pub fn misroute(&self) {
        self.counts.misrouted.fetch_add(1, Ordering::Relaxed);
    }

    /// The sums so far.
    pub fn sums(&self) -> Sums {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sums {
            sent: read(&self.counts.sent),
            acknowledged: read(&self.counts.acknowledged),
            acknowledged_recipients: read(&self.counts.acknowledged_recipients),
            delivered: read(&self.counts.delivered),
            duplicated: read(&self.counts.duplicated),
            corrupted: read(&self.counts.corrupted),
            misrouted: read(&self.counts.misrouted),
            last_delivery: read(&self.counts.last_delivery),
        }
    }

    /// Acknowledged recipients not reached so far. Walks the tables: not for every tick.
    pub fn missing(&self) -> u64 {
        self.count(|acknowledged, delivered| acknowledged & !delivered)
    }

    /// Recipients reached without an acknowledgement: the reply was lost on the way, or is still coming.
    pub fn unasked(&self) -> u64 {
        self.count(|acknowledged, delivered| !acknowledged & delivered)
    }

    /// The first acknowledged message with a recipient not reached, for a look into the relay's log.
    pub fn first_missing(&self) -> Option<u64> {
        (0..self.words())
            .find_map(|at| {
                let missing = self.acknowledged.value(at) & !self.delivered.value(at);
                (missing != 0).then(|| at * 64 + u64::from(missing.trailing_zeros()))
            })
            .map(|bit| bit / u64::from(self.recipients))
    }

    /// From due to delivered, in microseconds, one value a recipient.
    pub fn latency(&self) -> Histogram<u64> {
        let mut sum = microseconds();
        for lane in &self.latency {
            // Cannot fail: all have the same bounds.
            let _ = sum.add(&*locked(lane));
        }
        sum
    }

    fn words(&self) -> u64 {
        (self.end.load(Ordering::Relaxed) * u64::from(self.recipients)).div_ceil(64)
    }

    fn count(&self, bits: impl Fn(u64, u64) -> u64) -> u64 {
        (0..self.words())
            .map(|at| u64::from(bits(self.acknowledged.value(at), self.delivered.value(at)).count_ones()))
            .sum()
    }

    fn bit(&self, n: u64, ordinal: u32) -> Option<u64> {
        (n < MESSAGES_MAX && ordinal < self.recipients)
            .then(|| n * u64::from(self.recipients) + u64::from(ordinal))
    }
}

/// An empty histogram of microseconds up to an hour, three digits exact.
pub fn microseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("constant bounds are valid")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A histogram is valid after every step; a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipient_is_told_apart() {
        let ledger = Ledger::new(1, 3);
        for n in 0..100 {
            assert!(ledger.send(n, 1000));
            ledger.acknowledge(n, 0..3);
            for ordinal in 0..3 {
                if (n, ordinal) != (70, 1) {
                    ledger.deliver(n, ordinal, 5_001_000, n as usize);
                }
            }
        }
        ledger.deliver(7, 2, 5_001_000, 0);
        ledger.deliver(7, 3, 5_001_000, 0);
        let sums = ledger.sums();
        assert_eq!((sums.sent, sums.acknowledged, sums.acknowledged_recipients), (100, 100, 300));
        assert_eq!((sums.delivered, sums.duplicated, sums.misrouted), (299, 1, 1));
        assert_eq!((ledger.missing(), ledger.first_missing(), ledger.unasked()), (1, Some(70), 0));
        assert_eq!(ledger.latency().len(), 299);
        assert!((4990..=5010).contains(&ledger.latency().max()));
    }

    #[test]
    fn a_duplicate_does_not_hide_a_loss() {
        let ledger = Ledger::new(1, 2);
        ledger.send(0, 1);
        ledger.acknowledge(0, 0..2);
        ledger.deliver(0, 0, 2, 0);
        ledger.deliver(0, 0, 2, 0);
        assert_eq!((ledger.missing(), ledger.sums().duplicated), (1, 1));
    }

    #[test]
    fn numbers_past_the_bound_are_refused() {
        let ledger = Ledger::new(1, 1);
        assert!(!ledger.send(MESSAGES_MAX, 1));
        assert!(ledger.send(MESSAGES_MAX - 1, 1));
        ledger.deliver(u64::MAX, 0, 1, 0);
        assert_eq!(ledger.sums().misrouted, 1);
    }
}
