//! What a source in warm-up has left at a provider, as all shards share it.
//!
//! Control reserves a block of the day's volume, on disk first, and puts it here; shards take messages out of it without a lock and without
//! asking anybody. Where nothing is left control is asked for the next, and mail waits in its queue meanwhile.

pub mod ledger;
#[cfg(test)]
mod tests_of_nodes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::config::WarmupConfig;
use crate::limits;
use crate::shaping::warmup::{Complaint, Day, Names, WarmupStage, block};

/// Why nothing may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// Control is asked.
    Asked,
    /// The day's volume is used.
    Over,
}

/// What control says of a source at a provider.
#[derive(Clone, Debug, Default)]
pub struct AnnouncedStage {
    /// What happened on the day that it is of.
    pub day: Day,
    /// Where the source stood then; None: nothing was said yet.
    pub standing: Option<WarmupStage>,
}

/// What a source has left at a provider.
#[derive(Debug)]
pub struct WarmCount {
    /// The source.
    pub source: Box<str>,
    /// The provider by its name in the shaping files, or the site.
    pub provider: Box<str>,
    /// The day in the upper half, and in the lower how many messages of it are left; [`ALL`]: any number.
    left: AtomicU64,
    /// The day of which control gives no more; 0: none.
    over: AtomicU32,
    /// With so many left the next block is asked for.
    low: AtomicU32,
    asked: AtomicBool,
    /// Somebody wanted more than there was.
    wanted: AtomicBool,
    /// Messages that went by other sources since control last heard.
    overflowed: AtomicU32,
    complaint: AtomicU8,
    plan: Mutex<Arc<WarmupConfig>>,
    told: Mutex<AnnouncedStage>,
}

/// The source is warm: it has any number.
const ALL: u32 = u32::MAX;

fn packed(day: u32, left: u32) -> u64 {
    u64::from(day) << 32 | u64::from(left)
}

fn unpacked(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WarmCount {
    fn new((source, provider): (&str, &str), plan: &Arc<WarmupConfig>) -> WarmCount {
        WarmCount {
            source: source.into(),
            provider: provider.into(),
            left: AtomicU64::new(0),
            over: AtomicU32::new(0),
            low: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            overflowed: AtomicU32::new(0),
            complaint: AtomicU8::new(0),
            plan: Mutex::new(plan.clone()),
            told: Mutex::default(),
        }
    }

    /// Its plan.
    pub fn plan(&self) -> Arc<WarmupConfig> {
        lock(&self.plan).clone()
    }

    /// This is its plan. Where that is news, control says anew what is left.
    fn set_plan(&self, plan: &Arc<WarmupConfig>) {
        let mut own = lock(&self.plan);
        if *own != *plan {
            *own = plan.clone();
            // What a warm source had is no block of any day.
            self.left.store(0, Ordering::SeqCst);
            self.over.store(0, Ordering::SeqCst);
        }
    }

    /// How many may be taken on this day without asking.
    pub fn free(&self, today: u32) -> usize {
        let (day, left) = unpacked(self.left.load(Ordering::Acquire));
        if day == today { left as usize } else { 0 }
    }

    /// Whether the day's volume is used.
    pub fn is_over(&self, today: u32) -> bool {
        self.free(today) == 0 && self.over.load(Ordering::Acquire) == today
    }

    /// Whether the source is warm there on this day, as far as that is known.
    pub fn is_warm(&self, today: u32) -> bool {
        unpacked(self.left.load(Ordering::Acquire)) == (today, ALL)
    }

    /// One that was taken on this day is not used. Of another day it is worth nothing.
    pub fn give_back(&self, of: u32) {
        let more = |both| match unpacked(both) {
            (day, left) if day == of && left < ALL => Some(packed(day, left + 1)),
            _ => None,
        };
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
    }

    fn take(&self, today: u32) -> bool {
        let less = |both| match unpacked(both) {
            (day, 1..) if day != today => None,
            (_, 0) => None,
            (day, ALL) => Some(packed(day, ALL)),
            (day, left) => Some(packed(day, left - 1)),
        };
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    /// So many messages went by other sources.
    pub fn overflows(&self, messages: u32) {
        self.overflowed.fetch_add(messages, Ordering::Relaxed);
    }

    /// The provider said this.
    pub fn complains(&self, complaint: Complaint) {
        self.complaint.fetch_max(complaint.number(), Ordering::Relaxed);
    }

    /// What control has not heard yet: messages that overflowed, and what was said. Then it has.
    pub fn take_news(&self) -> (u32, Complaint) {
        if self.overflowed.load(Ordering::Relaxed) == 0 && self.complaint.load(Ordering::Relaxed) == 0 {
            return (0, Complaint::None);
        }
        let said = Complaint::of_number(self.complaint.swap(0, Ordering::Relaxed));
        (self.overflowed.swap(0, Ordering::Relaxed), said)
    }

    /// Control could not keep that: it is news again.
    pub fn put_back_news(&self, (overflowed, said): (u32, Complaint)) {
        self.overflows(overflowed);
        self.complains(said);
    }

    /// A block of this day, which is on disk.
    pub fn give(&self, today: u32, block: u32) {
        let more = |both| {
            let (day, left) = unpacked(both);
            // What is left of another day counts for that alone.
            let left = if day == today && left < ALL { left } else { 0 };
            Some(packed(today, left.saturating_add(block).min(ALL - 1)))
        };
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        self.answered();
    }

    /// The source is warm on this day.
    pub fn give_all(&self, today: u32) {
        self.left.store(packed(today, ALL), Ordering::SeqCst);
        self.answered();
    }

    /// Of this day there is no more.
    pub fn give_nothing(&self, today: u32) {
        self.over.store(today, Ordering::SeqCst);
        self.answered();
    }

    /// Whether there is no more of this day, as was said last.
    pub fn is_short(&self, today: u32) -> bool {
        self.over.load(Ordering::Acquire) == today
    }

    /// There is more of it after all.
    pub fn reopen(&self) {
        self.over.store(0, Ordering::SeqCst);
    }

    /// Whether somebody wanted more than there was, since this was asked last.
    pub fn take_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::Relaxed)
    }

    /// What was asked is answered, or will not be.
    pub fn answered(&self) {
        self.asked.store(false, Ordering::SeqCst);
    }

    /// The node stops: what is left of its block, and nobody gets any more of it.
    pub fn empty(&self) -> Option<(u32, u32)> {
        let (day, left) = unpacked(self.left.swap(0, Ordering::SeqCst));
        (0 < left && left < ALL).then_some((day, left))
    }

    /// What is to be shown.
    pub fn told(&self) -> AnnouncedStage {
        lock(&self.told).clone()
    }

    /// This is to be shown.
    pub fn tell(&self, told: AnnouncedStage) {
        let low = match told.standing {
            Some(WarmupStage::Day(_, volume)) => block(volume) / limits::WARMUP_LOW_PART,
            _ => 0,
        };
        self.low.store(low, Ordering::Relaxed);
        *lock(&self.told) = told;
    }
}

/// Those of all sources in warm-up.
#[derive(Debug)]
pub struct WarmCounts {
    known: Mutex<HashMap<Names, Arc<WarmCount>>>,
    asks: ArrayQueue<Arc<WarmCount>>,
}

impl Default for WarmCounts {
    fn default() -> WarmCounts {
        WarmCounts { known: Mutex::default(), asks: ArrayQueue::new(limits::WARMUPS_ASKED) }
    }
}

impl WarmCounts {
    /// That of a source at a provider. Where there are too many it is not kept, and control counts all the same.
    pub fn get(&self, names: (&str, &str), plan: &Arc<WarmupConfig>) -> Arc<WarmCount> {
        let mut known = lock(&self.known);
        let key = (Box::from(names.0), Box::from(names.1));
        if let Some(count) = known.get(&key) {
            count.set_plan(plan);
            return count.clone();
        }
        let count = Arc::new(WarmCount::new(names, plan));
        if known.len() >= limits::WARMUPS_KNOWN {
            known.retain(|_, count| Arc::strong_count(count) > 1);
        }
        if known.len() < limits::WARMUPS_KNOWN {
            known.insert(key, count.clone());
        }
        count
    }

    /// The same, if it is known.
    pub fn find(&self, (source, provider): (&str, &str)) -> Option<Arc<WarmCount>> {
        lock(&self.known).get(&(Box::from(source), Box::from(provider))).cloned()
    }

    /// All that are known, by source and provider.
    pub fn all(&self) -> Vec<Arc<WarmCount>> {
        let mut all: Vec<_> = lock(&self.known).values().cloned().collect();
        all.sort_by(|one, other| (&one.source, &one.provider).cmp(&(&other.source, &other.provider)));
        all
    }

    /// Takes one for a message of this day. Control is asked for the next block before the last is empty.
    pub fn take(&self, count: &Arc<WarmCount>, today: u32) -> Result<(), Empty> {
        let taken = count.take(today);
        if count.over.load(Ordering::Acquire) == today {
            count.wanted.fetch_or(!taken, Ordering::Relaxed);
            return if taken { Ok(()) } else { Err(Empty::Over) };
        }
        if count.free(today) <= count.low.load(Ordering::Relaxed) as usize {
            self.ask(count);
        }
        if taken { Ok(()) } else { Err(Empty::Asked) }
    }

    /// How many may be taken now.
    pub fn free(&self, count: &Arc<WarmCount>, today: u32) -> Result<usize, Empty> {
        match count.free(today) {
            0 if count.is_over(today) => {
                count.wanted.store(true, Ordering::Relaxed);
                Err(Empty::Over)
            }
            0 => {
                self.ask(count);
                Err(Empty::Asked)
            }
            left => Ok(left),
        }
    }

    fn ask(&self, count: &Arc<WarmCount>) {
        if !count.asked.swap(true, Ordering::SeqCst) && self.asks.push(count.clone()).is_err() {
            // It asks again when it looks again.
            count.answered();
        }
    }

    /// The next that asks.
    pub fn next_ask(&self) -> Option<Arc<WarmCount>> {
        self.asks.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(volume: u32) -> Arc<WarmupConfig> {
        let plan = vec![crate::config::warmup::Step { day: 1, volume }];
        Arc::new(WarmupConfig { source: "ip9".into(), start: 100, plan, overflow: None })
    }

    #[test]
    fn a_block_is_of_its_day_alone() {
        let counts = WarmCounts::default();
        let count = counts.get(("ip9", "a"), &plan(50));
        assert_eq!(counts.take(&count, 100), Err(Empty::Asked));
        assert!(counts.next_ask().is_some() && counts.next_ask().is_none());
        assert_eq!(counts.free(&count, 100), Err(Empty::Asked));
        assert!(counts.next_ask().is_none(), "it has asked");
        count.give(100, 2);
        assert_eq!((counts.free(&count, 100), counts.take(&count, 100)), (Ok(2), Ok(())));
        assert_eq!(counts.take(&count, 101), Err(Empty::Asked), "another day");
        count.give(101, 1);
        count.give_back(100);
        assert_eq!((count.free(101), count.free(100)), (1, 0), "what was of the day before is worth nothing");
        assert_eq!(counts.take(&count, 101), Ok(()));
        count.give_back(101);
        count.give_nothing(101);
        assert!(!count.is_over(101));
        assert_eq!([counts.take(&count, 101), counts.take(&count, 101)], [Ok(()), Err(Empty::Over)]);
        assert!(count.is_over(101) && !count.is_over(102));
        count.give_all(102);
        assert_eq!([counts.take(&count, 102), counts.take(&count, 102)], [Ok(()), Ok(())]);
        count.give_back(102);
        assert!(count.is_warm(102) && count.empty().is_none());
    }

    #[test]
    fn what_is_left_goes_back_once() {
        let counts = WarmCounts::default();
        let count = counts.get(("ip9", "a"), &plan(50));
        count.give(100, 5);
        assert_eq!(counts.take(&count, 100), Ok(()));
        assert_eq!((count.empty(), count.empty()), (Some((100, 4)), None));
        count.give_back(100);
        assert_eq!(count.free(100), 0);
        count.give_nothing(100);
        assert!(Arc::ptr_eq(&count, &counts.get(("ip9", "a"), &plan(50))) && count.is_over(100));
        counts.get(("ip9", "a"), &plan(60));
        assert!(!count.is_over(100), "another plan may have more for that day");
    }

    #[test]
    fn news_are_heard_once() {
        let counts = WarmCounts::default();
        let count = counts.get(("ip9", "a"), &plan(50));
        count.overflows(2);
        count.complains(Complaint::Blocked);
        count.complains(Complaint::Throttled);
        let news = count.take_news();
        assert_eq!((news, count.take_news()), ((2, Complaint::Blocked), (0, Complaint::None)));
        count.put_back_news(news);
        assert_eq!(count.take_news(), news);
    }
}
