//! What the journal takes, for whoever watches just now: handed on in memory, kept for nobody, never read from the disk. A reader with a cursor
//! pins segments until it has read them; one who only watches must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::control::journal::batch::Batch;
use crate::limits;

/// The way from the journal's writer to whoever watches.
#[derive(Debug)]
pub(in crate::control) struct Overhear {
    on: AtomicBool,
    batches: ArrayQueue<Arc<Batch>>,
    /// Lines that were not handed on, as nobody took what was.
    passed: AtomicU64,
}

/// Lines that the journal took.
#[derive(Debug)]
pub(in crate::control) struct Overheard(Arc<Batch>);

impl Overheard {
    /// Whole lines.
    pub(in crate::control) fn lines(&self) -> &[u8] {
        &self.0.bytes[self.0.lines.clone()]
    }
}

impl Default for Overhear {
    fn default() -> Overhear {
        let batches = ArrayQueue::new(limits::STREAM_BATCHES);
        Overhear { on: AtomicBool::new(false), batches, passed: AtomicU64::new(0) }
    }
}

impl Overhear {
    /// The journal took these. Waits for nobody.
    pub(super) fn hear(&self, batch: &Arc<Batch>) {
        if self.on.load(Ordering::Relaxed)
            && let Err(batch) = self.batches.push(batch.clone())
        {
            let lines = memchr::memchr_iter(b'\n', &batch.bytes[batch.lines.clone()]).count();
            self.passed.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }

    /// Somebody watches from now on, or nobody does.
    pub(in crate::control) fn watch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
        if !on {
            while self.batches.pop().is_some() {}
            self.passed.store(0, Ordering::Relaxed);
        }
    }

    /// The next lines.
    pub(in crate::control) fn next(&self) -> Option<Overheard> {
        self.batches.pop().map(Overheard)
    }

    /// How many were not handed on since this was asked last.
    pub(in crate::control) fn passed(&self) -> u64 {
        self.passed.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::journal::place::FramePosition;

    #[test]
    fn nobody_waits_for_who_watches() {
        let place = FramePosition { segment: 1, offset: 0 };
        let bytes = b"head{\"a\":1}\n{\"b\":2}\n".to_vec();
        let batch = Arc::new(Batch { start: place, frame: place, end: place, lines: 4..bytes.len(), bytes });
        let overhear = Overhear::default();
        overhear.hear(&batch);
        assert!(overhear.next().is_none(), "nobody watches");
        overhear.watch(true);
        (0..limits::STREAM_BATCHES + 3).for_each(|_| overhear.hear(&batch));
        assert_eq!(overhear.next().expect("a batch").lines(), b"{\"a\":1}\n{\"b\":2}\n");
        assert_eq!((overhear.passed(), overhear.passed()), (6, 0));
        overhear.watch(false);
        assert!(overhear.next().is_none());
    }
}
