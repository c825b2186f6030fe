//! What is known about each message of a run: who acknowledged it, which recipients it reached, which were refused.
//!
//! Sender and sink write it from their threads without a lock; nothing is kept per message but five bits a
//! recipient, and four bytes more where the times of first deliveries are to excuse repeats. Tables grow in blocks, so that a run needs no
//! length given beforehand.

mod sums;
mod table;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

use self::table::{BLOCK, BLOCKS, Words};

pub use self::sums::{Examples, RecipientId, Settled, Sums};

/// Messages of one run.
pub const MESSAGES_MAX: u64 = (BLOCKS * BLOCK) as u64;
/// Recipients of one message. Fits the bits [`run_number`] has for it.
pub const RECIPIENTS_MAX: u32 = 1000;
/// Messages times recipients of one run.
pub const DELIVERIES_MAX: u64 = MESSAGES_MAX * 64;
/// Faults of each kind a ledger remembers by name; all of them are counted.
pub const EXAMPLES_MAX: usize = 10;

/// Histograms a ledger spreads its deliveries over, so that sink threads do not wait for each other.
const LANES: usize = 8;
const RECIPIENT_BITS: u32 = 10;
/// A delivery answered less than this before its relay was killed may be repeated: the relay could not write down in time
/// that it was made. So may one seen less than this after: its bytes were under way.
pub const UNSURE_AROUND_KILL: u64 = 1_000_000_000;
/// First deliveries are timed in steps of this, from 1 on; a run longer than 65,534 steps has its rest in the last.
const STEP: u64 = 100_000_000;

/// The number of a run whose messages have up to `recipients` recipients: the number says so itself, and whoever
/// meets a message of the run knows how large its tables are.
pub fn run_number(random: u64, recipients: u32) -> u64 {
    random << RECIPIENT_BITS | u64::from(recipients.clamp(1, RECIPIENTS_MAX))
}

/// The record of one run, shared by its sender and the sinks that receive it.
pub struct Ledger {
    run: u64,
    /// Recipients a message has room for.
    stride: u32,
    acknowledged: Words,
    delivered: Words,
    refused: Words,
    bounced: Words,
    /// The sink took it, but the reply that said so was lost with its connection.
    unsure: Words,
    /// When each first delivery came (below) and when the reply to it left (above), in steps of [`STEP`], 16 bits each, two
    /// recipients to a word. Only kept once a kill is announced.
    times: Words,
    timed: AtomicBool,
    began: u64,
    kills: Mutex<Vec<u64>>,
    /// One past the highest message number seen on either side.
    end: AtomicU64,
    counts: Counters,
    examples: Mutex<Examples>,
    latency: [Mutex<Histogram<u64>>; LANES],
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    acknowledged_recipients: AtomicU64,
    delivered: AtomicU64,
    refused: AtomicU64,
    bounced: AtomicU64,
    delayed: AtomicU64,
    duplicated: AtomicU64,
    repeated: AtomicU64,
    reply_lost: AtomicU64,
    killed: AtomicU64,
    corrupted: AtomicU64,
    misrouted: AtomicU64,
    reordered: AtomicU64,
    contradicted: AtomicU64,
    last_delivery: AtomicU64,
}

/// Why a recipient may be reached twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The reply to the first delivery was lost with its connection.
    ReplyLost,
    /// The relay was killed before the first delivery was on its disk.
    Killed,
}

impl Ledger {
    /// Of a run with this number (see [`run_number`]).
    pub fn new(run: u64) -> Ledger {
        let recipients = (run & ((1 << RECIPIENT_BITS) - 1)) as u32;
        Ledger {
            run,
            stride: recipients.clamp(1, RECIPIENTS_MAX),
            acknowledged: Words::new(),
            delivered: Words::new(),
            refused: Words::new(),
            bounced: Words::new(),
            unsure: Words::new(),
            times: Words::new(),
            timed: AtomicBool::new(false),
            began: crate::sys::now(),
            kills: Mutex::default(),
            end: AtomicU64::new(0),
            counts: Counters::default(),
            examples: Mutex::default(),
            latency: std::array::from_fn(|_| Mutex::new(microseconds())),
        }
    }

    /// The number that tells this run from others.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// The most recipients one of its messages can have.
    pub fn recipients(&self) -> u32 {
        self.stride
    }

    /// A transaction for one of its messages is begun.
    pub fn send(&self) {
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// The relay took responsibility for message `n` and these of its recipients.
    pub fn acknowledge(&self, n: u64, ordinals: impl Iterator<Item = u32>) {
        let mut taken = 0;
        for ordinal in ordinals {
            taken +=
                u64::from(self.bit(n, ordinal).and_then(|bit| self.acknowledged.set_bit(bit)) == Some(true));
        }
        self.reach(n);
        self.counts.acknowledged_recipients.fetch_add(taken, Ordering::Relaxed);
        self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Message `n`, due at `due` (0: unknown), reached recipient `ordinal` at `now`; `lane` is the caller's thread,
    /// any number. A recipient the run has no room for counts as misrouted.
    pub fn deliver(&self, n: u64, ordinal: u32, due: u64, now: u64, lane: usize) {
        self.deliver_and_reply(n, ordinal, due, (now, now), lane);
    }

    /// The same when the reply that says so leaves only at the second of the two moments.
    pub fn deliver_and_reply(&self, n: u64, ordinal: u32, due: u64, (now, reply): (u64, u64), lane: usize) {
        match self.bit(n, ordinal).and_then(|bit| self.delivered.set_bit(bit)) {
            None => self.misroute(n, ordinal),
            Some(false) => {
                self.counts.duplicated.fetch_add(1, Ordering::Relaxed);
                self.note(|examples| &mut examples.duplicated, n, ordinal);
                match self.reason(n, ordinal, now) {
                    Some(Reason::ReplyLost) => self.counts.reply_lost.fetch_add(1, Ordering::Relaxed),
                    Some(Reason::Killed) => self.counts.killed.fetch_add(1, Ordering::Relaxed),
                    None => {
                        self.note(|examples| &mut examples.repeated, n, ordinal);
                        self.counts.repeated.fetch_add(1, Ordering::Relaxed)
                    }
                };
            }
            Some(true) => {
                self.reach(n);
                if self.has(&self.bounced, n, ordinal) {
                    self.counts.contradicted.fetch_add(1, Ordering::Relaxed);
                }
                if self.timed.load(Ordering::Relaxed)
                    && let Some(bit) = self.bit(n, ordinal)
                    && let Some(word) = self.times.at(bit / 2)
                {
                    let times = self.step(reply) << 16 | self.step(now);
                    word.fetch_or(times << (bit % 2 * 32), Ordering::Relaxed);
                }
                self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                self.counts.last_delivery.fetch_max(now, Ordering::Relaxed);
                if due != 0 {
                    locked(&self.latency[lane % LANES]).saturating_record(now.saturating_sub(due) / 1000);
                }
            }
        }
    }

    /// Keeps the times of first deliveries from now on: the relay will be killed.
    pub fn expect_kills(&self) {
        self.timed.store(true, Ordering::Relaxed);
    }

    /// The relay is about to be killed.
    pub fn kill(&self, now: u64) {
        locked(&self.kills).push(now);
    }

    /// The sink took message `n` for this recipient, but its reply did not get through.
    pub fn lose_reply(&self, n: u64, ordinal: u32) {
        if let Some(bit) = self.bit(n, ordinal) {
            self.unsure.set_bit(bit);
        }
    }

    /// A bounce says that this recipient of message `n` was given up.
    pub fn bounce(&self, n: u64, ordinal: u32) {
        if self.bit(n, ordinal).and_then(|bit| self.bounced.set_bit(bit)) == Some(true) {
            self.reach(n);
            self.counts.bounced.fetch_add(1, Ordering::Relaxed);
            if self.has(&self.delivered, n, ordinal) && self.reason(n, ordinal, crate::sys::now()).is_none() {
                self.counts.contradicted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A notification says that a recipient still waits.
    pub fn delay(&self) {
        self.counts.delayed.fetch_add(1, Ordering::Relaxed);
    }

    /// What arrived for this recipient has its header fields changed or in another order.
    pub fn reorder(&self, n: u64, ordinal: u32) {
        self.counts.reordered.fetch_add(1, Ordering::Relaxed);
        self.note(|examples| &mut examples.reordered, n, ordinal);
    }

    /// Why a second delivery is one a relay may make (RFC 5321 4.5.3.2.6), if it is.
    fn reason(&self, n: u64, ordinal: u32, now: u64) -> Option<Reason> {
        let bit = self.bit(n, ordinal)?;
        if self.has(&self.unsure, n, ordinal) {
            return Some(Reason::ReplyLost);
        }
        let times = self.times.value(bit / 2) >> (bit % 2 * 32);
        let (came, answered) = (times & 0xFFFF, times >> 16 & 0xFFFF);
        if came == 0 {
            return None;
        }
        // A kill between the two took the reply's reader away, however long the sink let it wait.
        let from = ((came - 1) * STEP).saturating_sub(UNSURE_AROUND_KILL);
        let until = (answered + 1) * STEP + UNSURE_AROUND_KILL;
        let kills = locked(&self.kills);
        let mut kills = kills.iter().map(|kill| kill.saturating_sub(self.began));
        let near = kills.any(|kill| (from..until).contains(&kill) && kill <= now.saturating_sub(self.began));
        near.then_some(Reason::Killed)
    }

    fn has(&self, table: &Words, n: u64, ordinal: u32) -> bool {
        self.bit(n, ordinal).is_some_and(|bit| table.value(bit / 64) >> (bit % 64) & 1 == 1)
    }

    fn step(&self, now: u64) -> u64 {
        (now.saturating_sub(self.began) / STEP + 1).min(0xFFFF)
    }

    /// The sink answered 5xx for this recipient of message `n`.
    pub fn refuse(&self, n: u64, ordinal: u32) {
        if self.bit(n, ordinal).and_then(|bit| self.refused.set_bit(bit)) == Some(true) {
            self.reach(n);
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What arrived for this recipient has a body that does not match its checksum.
    pub fn corrupt(&self, n: u64, ordinal: u32) {
        self.counts.corrupted.fetch_add(1, Ordering::Relaxed);
        self.note(|examples| &mut examples.corrupted, n, ordinal);
    }

    /// This recipient got what is not its own.
    pub fn misroute(&self, n: u64, ordinal: u32) {
        self.counts.misrouted.fetch_add(1, Ordering::Relaxed);
        self.note(|examples| &mut examples.misrouted, n, ordinal);
    }

    /// The sums so far.
    pub fn sums(&self) -> Sums {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sums {
            sent: read(&self.counts.sent),
            acknowledged: read(&self.counts.acknowledged),
            acknowledged_recipients: read(&self.counts.acknowledged_recipients),
            delivered: read(&self.counts.delivered),
            refused: read(&self.counts.refused),
            bounced: read(&self.counts.bounced),
            delayed: read(&self.counts.delayed),
            duplicated: read(&self.counts.duplicated),
            repeated: read(&self.counts.repeated),
            reply_lost: read(&self.counts.reply_lost),
            killed: read(&self.counts.killed),
            corrupted: read(&self.counts.corrupted),
            misrouted: read(&self.counts.misrouted),
            reordered: read(&self.counts.reordered),
            contradicted: read(&self.counts.contradicted),
            last_delivery: read(&self.counts.last_delivery),
        }
    }

    /// Acknowledged recipients neither reached nor refused nor bounced so far. Walks the tables: not for every tick.
    pub fn missing(&self) -> u64 {
        (0..self.words()).map(|at| u64::from(self.missing_word(at).count_ones())).sum()
    }

    /// The first of those, at most `count`, for a look into the relay's log.
    pub fn first_missing(&self, count: usize) -> Vec<RecipientId> {
        let bits = (0..self.words()).flat_map(|at| {
            let word = self.missing_word(at);
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        });
        let stride = u64::from(self.stride);
        let place = |bit| RecipientId { run: self.run, n: bit / stride, ordinal: (bit % stride) as u32 };
        bits.take(count).map(place).collect()
    }

    /// What became of each acknowledged recipient, each counted in one place.
    pub fn settled(&self) -> Settled {
        let mut settled = Settled::default();
        for at in 0..self.words() {
            let acknowledged = self.acknowledged.value(at);
            let delivered = acknowledged & self.delivered.value(at);
            let refused = acknowledged & self.refused.value(at) & !delivered;
            let bounced = acknowledged & self.bounced.value(at) & !delivered & !refused;
            settled.delivered += u64::from(delivered.count_ones());
            settled.refused += u64::from(refused.count_ones());
            settled.bounced += u64::from(bounced.count_ones());
            settled.lost += u64::from((acknowledged & !delivered & !refused & !bounced).count_ones());
        }
        settled
    }

    /// Recipients reached without an acknowledgement: the reply was lost on the way, or is still coming.
    pub fn unacknowledged(&self) -> u64 {
        let word = |at| self.delivered.value(at) & !self.acknowledged.value(at);
        (0..self.words()).map(|at| u64::from(word(at).count_ones())).sum()
    }

    /// Acknowledged recipients refused for good, of whom no bounce told the sender.
    pub fn unreported(&self) -> u64 {
        let word = |at| {
            self.acknowledged.value(at)
                & self.refused.value(at)
                & !self.delivered.value(at)
                & !self.bounced.value(at)
        };
        (0..self.words()).map(|at| u64::from(word(at).count_ones())).sum()
    }

    /// The first few faults seen.
    pub fn examples(&self) -> Examples {
        locked(&self.examples).clone()
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

    fn missing_word(&self, at: u64) -> u64 {
        let settled = self.delivered.value(at) | self.refused.value(at) | self.bounced.value(at);
        self.acknowledged.value(at) & !settled
    }

    fn words(&self) -> u64 {
        (self.end.load(Ordering::Relaxed) * u64::from(self.stride)).div_ceil(64)
    }

    fn reach(&self, n: u64) {
        if n < MESSAGES_MAX {
            self.end.fetch_max(n + 1, Ordering::Relaxed);
        }
    }

    fn note(&self, list: impl Fn(&mut Examples) -> &mut Vec<RecipientId>, n: u64, ordinal: u32) {
        let mut examples = locked(&self.examples);
        let list = list(&mut examples);
        if list.len() < EXAMPLES_MAX {
            list.push(RecipientId { run: self.run, n, ordinal });
        }
    }

    fn bit(&self, n: u64, ordinal: u32) -> Option<u64> {
        (n < MESSAGES_MAX && ordinal < self.stride).then(|| n * u64::from(self.stride) + u64::from(ordinal))
    }
}

/// An empty histogram of microseconds up to an hour, three digits exact.
pub fn microseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("constant bounds are valid")
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is valid after every step; a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(run: u64, n: u64, ordinal: u32) -> RecipientId {
        RecipientId { run, n, ordinal }
    }

    #[test]
    fn every_recipient_is_told_apart() {
        let run = run_number(1, 3);
        let ledger = Ledger::new(run);
        assert_eq!(ledger.recipients(), 3);
        for n in 0..100 {
            ledger.send();
            ledger.acknowledge(n, 0..3);
            for ordinal in 0..3 {
                if (n, ordinal) != (70, 1) {
                    ledger.deliver(n, ordinal, 1000, 5_001_000, n as usize);
                }
            }
        }
        ledger.deliver(7, 2, 1000, 5_001_000, 0);
        ledger.deliver(7, 3, 1000, 5_001_000, 0);
        let sums = ledger.sums();
        assert_eq!((sums.sent, sums.acknowledged, sums.acknowledged_recipients), (100, 100, 300));
        assert_eq!((sums.delivered, sums.duplicated, sums.misrouted), (299, 1, 1));
        assert_eq!((ledger.missing(), ledger.unacknowledged()), (1, 0));
        assert_eq!(ledger.first_missing(9), [place(run, 70, 1)]);
        assert_eq!(ledger.examples().duplicated, [place(run, 7, 2)]);
        assert_eq!(ledger.examples().misrouted, [place(run, 7, 3)]);
        assert_eq!(ledger.latency().len(), 299);
        assert!((4990..=5010).contains(&ledger.latency().max()));
    }

    #[test]
    fn a_duplicate_does_not_hide_a_loss() {
        let ledger = Ledger::new(run_number(1, 2));
        ledger.acknowledge(0, 0..2);
        ledger.deliver(0, 0, 1, 2, 0);
        ledger.deliver(0, 0, 1, 2, 0);
        assert_eq!((ledger.missing(), ledger.sums().duplicated), (1, 1));
    }

    #[test]
    fn who_was_refused_is_not_missing() {
        let ledger = Ledger::new(run_number(1, 2));
        ledger.acknowledge(0, 0..2);
        ledger.refuse(0, 1);
        ledger.refuse(0, 1);
        assert_eq!((ledger.missing(), ledger.sums().refused), (1, 1));
    }

    #[test]
    fn bounces_settle_a_recipient() {
        let ledger = Ledger::new(run_number(1, 3));
        ledger.acknowledge(0, 0..3);
        ledger.refuse(0, 0);
        ledger.refuse(0, 1);
        ledger.bounce(0, 1);
        ledger.bounce(0, 1);
        assert_eq!((ledger.missing(), ledger.unreported(), ledger.sums().contradicted), (1, 1, 0));
        ledger.bounce(0, 2);
        assert_eq!((ledger.missing(), ledger.sums().bounced), (0, 2));
        ledger.deliver(0, 2, 0, 1, 0);
        assert_eq!(ledger.sums().contradicted, 1);
    }

    #[test]
    fn repeats_need_a_reason() {
        let ledger = Ledger::new(run_number(1, 1));
        ledger.expect_kills();
        let at = |milliseconds: u64| ledger.began + milliseconds * 1_000_000;
        for (n, first) in [(0, 1000), (1, 4000), (2, 6600), (3, 6700)] {
            ledger.deliver(n, 0, 0, at(first), 0);
        }
        // The kill falls into the long wait for its reply.
        ledger.deliver_and_reply(4, 0, 0, (at(3000), at(9000)), 0);
        ledger.kill(at(5000));
        ledger.lose_reply(3, 0);
        for n in 0..5 {
            ledger.deliver(n, 0, 0, at(7000), 0);
        }
        // The first came long before the kill, the third after it; the fourth lost its reply.
        assert_eq!((ledger.sums().duplicated, ledger.sums().repeated), (5, 2));
        let of = |n| RecipientId { run: ledger.run(), n, ordinal: 0 };
        assert_eq!(ledger.examples().repeated, [of(0), of(2)]);
    }

    #[test]
    fn numbers_past_the_bound_are_misrouted() {
        let ledger = Ledger::new(run_number(1, 1));
        ledger.deliver(u64::MAX, 0, 1, 1, 0);
        ledger.deliver(MESSAGES_MAX, 0, 1, 1, 0);
        ledger.refuse(u64::MAX, 0);
        ledger.acknowledge(u64::MAX, 0..1);
        assert_eq!((ledger.sums().misrouted, ledger.words()), (2, 0));
    }
}
