//! Mail that is captured, on its way to the thread of control that keeps it and back to the shard that asked: a disk is waited for there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crossbeam::queue::ArrayQueue;

use crate::id::MessageId;
use crate::limits;
use crate::time::UnixMillis;

/// What waits to be kept.
#[derive(Debug)]
pub struct Capturing {
    waiting: ArrayQueue<Arc<Capture>>,
    /// Bytes of messages that shards hold for this.
    held: Arc<AtomicUsize>,
    keeper: OnceLock<Thread>,
}

/// Memory for a message, until it is dropped.
#[derive(Debug)]
pub struct Room {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A message for some recipients.
#[derive(Debug)]
pub struct Captured {
    /// What it is called.
    pub id: MessageId,
    /// When it came.
    pub arrival: UnixMillis,
    /// Who brought it; empty: no account. Its inbox is called so.
    pub account: Box<str>,
    /// The reverse path.
    pub sender: Box<[u8]>,
    /// Which recipients of it, and their addresses.
    pub recipients: Vec<(u16, Box<[u8]>)>,
    /// As a next hop would get it.
    pub bytes: Vec<u8>,
}

/// What is to be kept, and whether it is.
#[derive(Debug)]
pub struct Capture {
    message: Captured,
    kept: OnceLock<bool>,
    _room: Room,
}

impl Default for Capturing {
    fn default() -> Capturing {
        let waiting = ArrayQueue::new(limits::CAPTURES_WAITING);
        Capturing { waiting, held: Arc::default(), keeper: OnceLock::new() }
    }
}

impl Capturing {
    /// Memory for a message of so many bytes. None: not now. One of any size finds room where there is no other.
    pub fn room(&self, bytes: usize) -> Option<Room> {
        let fits = |held: usize| {
            let all = held.saturating_add(bytes);
            (held == 0 || all <= limits::CAPTURES_BYTES).then_some(all)
        };
        self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        Some(Room { held: self.held.clone(), bytes })
    }

    /// Asks for a message to be kept. None: too much waits.
    pub fn ask(&self, message: Captured, room: Room) -> Option<Arc<Capture>> {
        let capture = Arc::new(Capture { message, kept: OnceLock::new(), _room: room });
        self.waiting.push(capture.clone()).ok()?;
        self.keeper.get().inspect(|keeper| keeper.unpark());
        Some(capture)
    }

    /// This thread keeps: it is woken for each.
    pub fn keeps(&self, keeper: Thread) {
        let _ = self.keeper.set(keeper);
    }

    /// The next one that somebody still waits for.
    pub fn next(&self) -> Option<Arc<Capture>> {
        std::iter::from_fn(|| self.waiting.pop()).find(|capture| Arc::strong_count(capture) > 1)
    }
}

impl Capture {
    /// What is to be kept.
    pub fn message(&self) -> &Captured {
        &self.message
    }

    /// It is on disk, or could not be put there.
    pub fn answer(&self, is_kept: bool) {
        let _ = self.kept.set(is_kept);
    }

    /// Whether it is, once that is known.
    pub fn kept(&self) -> Option<bool> {
        self.kept.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Captured {
        Captured {
            id: MessageId { lane: 0, sequence: 1, offset: 4096 },
            arrival: UnixMillis(1),
            account: "".into(),
            sender: Box::default(),
            recipients: Vec::new(),
            bytes: Vec::new(),
        }
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let capturing = Capturing::default();
        let all = capturing.room(limits::CAPTURES_BYTES * 2).expect("the only one finds room");
        assert!(capturing.room(1).is_none());
        drop(all);
        let one = capturing.room(limits::CAPTURES_BYTES - 1).unwrap();
        assert!(capturing.room(2).is_none());
        let capture = capturing.ask(message(), one).unwrap();
        drop(capturing.next().expect("it waits"));
        assert!(capturing.room(2).is_none());
        drop(capture);
        assert!(capturing.room(2).is_some());
    }

    #[test]
    fn who_went_away_is_not_served() {
        let capturing = Capturing::default();
        drop(capturing.ask(message(), capturing.room(1).unwrap()));
        let asked = capturing.ask(message(), capturing.room(1).unwrap()).unwrap();
        capturing.next().expect("the second").answer(true);
        assert_eq!((asked.kept(), capturing.next().is_none()), (Some(true), true));
        for _ in 0..limits::CAPTURES_WAITING {
            capturing.ask(message(), capturing.room(1).unwrap()).unwrap();
        }
        assert!(capturing.ask(message(), capturing.room(1).unwrap()).is_none());
    }
}
