//! The adaptive window of a site, as all shards share it.
//!
//! What it lets is read without a lock, and a site that never refused anything has none. The state behind it is locked when a site refuses
//! something, and a few times a second by whichever shard comes first while it is narrow.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits;
use crate::observe::repeat::Repeat;
use crate::shaping::pace::Pace;
use crate::shaping::window::{Narrows, Window, WindowEvents};
use crate::shard::rate_count::RateCount;
use crate::time::Instant;

/// A window that was narrow once.
#[derive(Debug)]
pub struct SiteWindow {
    inner: Mutex<Inner>,
    /// Connections it lets; [`usize::MAX`]: any number.
    connections: AtomicUsize,
    /// Nanoseconds between two messages; 0: any number.
    each: AtomicU64,
    /// What is sent by it.
    pub messages: RateCount,
    /// When the latest of the messages that were taken had begun.
    taken: AtomicU64,
    wanted: [AtomicBool; 2],
    look_at: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    window: Window,
    said: Repeat,
}

/// That a window was narrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Narrowed {
    /// What of it.
    pub part: Narrows,
    /// Connections, or messages a second, that it lets now.
    pub to: f64,
    /// It is to be said, and was left out so many times.
    pub say: Option<u64>,
}

impl Default for SiteWindow {
    fn default() -> SiteWindow {
        SiteWindow {
            inner: Mutex::default(),
            connections: AtomicUsize::new(usize::MAX),
            each: AtomicU64::new(0),
            messages: RateCount::default(),
            taken: AtomicU64::new(0),
            wanted: Default::default(),
            look_at: AtomicU64::new(0),
        }
    }
}

impl SiteWindow {
    /// Connections it lets, at most so many.
    pub fn connections(&self, most: usize) -> usize {
        self.connections.load(Ordering::Acquire).min(most)
    }

    /// How often a message may be begun; None: at any time.
    pub fn pace(&self) -> Option<Pace> {
        let each = self.each.load(Ordering::Acquire);
        (each > 0).then(|| Pace::every(each))
    }

    /// More was to be done than it lets.
    pub fn wants(&self, part: Narrows) {
        let wanted = &self.wanted[part as usize];
        if !wanted.load(Ordering::Relaxed) {
            wanted.store(true, Ordering::Relaxed);
        }
    }

    /// A message begun then was taken.
    pub fn took(&self, begun: Instant) {
        self.taken.fetch_max(begun.0, Ordering::Relaxed);
    }

    /// A connection begun then was refused, where so many stand. None: that is no news.
    pub fn refused_connection(&self, begun: Instant, standing: usize, now: Instant) -> Option<Narrowed> {
        let mut inner = self.lock();
        let news = inner.window.connections.refused(begun, standing, now);
        news.then(|| {
            self.publish(&inner.window, now);
            let to = inner.window.connections.most().unwrap_or(usize::MAX) as f64;
            inner.narrowed(Narrows::Connections, to, now)
        })
    }

    /// A message begun then was refused for its rate. None: that is no news.
    pub fn refused_message(&self, begun: Instant, now: Instant) -> Option<Narrowed> {
        let mut inner = self.lock();
        let news = inner.window.messages.refused(begun, now);
        news.then(|| {
            self.publish(&inner.window, now);
            if let Some(pace) = self.pace() {
                self.messages.empty(pace, now);
            }
            let to = inner.window.messages.rate().unwrap_or_default();
            inner.narrowed(Narrows::Messages, to, now)
        })
    }

    /// A connection came up, and so many stand.
    pub fn came_up(&self, standing: usize, now: Instant) {
        if standing >= self.connections(usize::MAX) {
            let mut inner = self.lock();
            inner.window.connections.came_up(standing);
            self.publish(&inner.window, now);
        }
    }

    /// Whether it is time to look whether it lets more.
    pub fn is_due(&self, now: Instant) -> bool {
        now.0 >= self.look_at.load(Ordering::Relaxed)
    }

    /// Whether it lets more from now on, below what the operator allows: connections, and messages by a pace.
    pub fn look(&self, connections: usize, pace: Option<Pace>, now: Instant) -> bool {
        let next = now + limits::WINDOW_LOOK;
        // Another shard is at it.
        let Ok(mut inner) = self.inner.try_lock() else { return false };
        if !self.is_due(now) {
            return false;
        }
        self.look_at.store(next.0, Ordering::Relaxed);
        let taken = self.taken.load(Ordering::Relaxed);
        let taken = (taken > 0).then_some(Instant(taken));
        let [connections_wanted, messages_wanted] =
            [0, 1].map(|part: usize| self.wanted[part].swap(false, Ordering::Relaxed));
        let window = &mut inner.window;
        let ceiling = pace.map_or(f64::INFINITY, Pace::a_second);
        let more =
            window.connections.look(WindowEvents { taken, wanted: connections_wanted }, connections, now)
                | window.messages.look(WindowEvents { taken, wanted: messages_wanted }, ceiling, now);
        if !window.is_narrow() {
            inner.said.ended(Duration::from_nanos(now.0));
        }
        self.publish(&inner.window, now);
        more
    }

    /// What of it is worth keeping over a start; None: nothing.
    pub fn kept(&self) -> Option<Vec<u8>> {
        self.lock().window.kept()
    }

    /// It is what was kept of it before the start, unless it was narrowed since.
    pub fn resume(&self, window: Window, now: Instant) {
        let mut inner = self.lock();
        if !inner.window.is_narrow() {
            inner.window = window;
            self.publish(&inner.window, now);
        }
    }

    /// Whether it says nothing by then.
    pub fn is_empty(&self, now: Instant) -> bool {
        let inner = self.lock();
        !inner.window.is_narrow() || now.since(inner.window.narrowed()) > limits::WINDOW_KEPT
    }

    fn publish(&self, window: &Window, now: Instant) {
        self.connections.store(window.connections.most().unwrap_or(usize::MAX), Ordering::Release);
        let each = window.messages.rate().map_or(0, |rate| (1e9 / rate) as u64);
        self.each.store(each, Ordering::Release);
        if let Some(pace) = self.pace() {
            self.messages.right(pace, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn narrowed(&mut self, part: Narrows, to: f64, now: Instant) -> Narrowed {
        Narrowed { part, to, say: self.said.happened(Duration::from_nanos(now.0)) }
    }
}
