//! What operators do to the running relay is told as events, too, and a command is answered when the journal has them.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use tokio::sync::oneshot;

use crate::control::say::say;
use crate::limits;
use crate::observe::Instruments;
use crate::observe::accounting::Chunks;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Admin, Encoder, Notice};
use crate::observe::journaled::{Chunk, Readers, WriteAck};
use crate::runtime::process;

/// Tells of it.
pub(super) struct Teller {
    instruments: Arc<Instruments>,
    encoder: Mutex<Encoder>,
}

impl Teller {
    /// For a node, by its id; None where there are no shards. No other has this origin.
    pub(super) fn new(instruments: &[Arc<Instruments>], node: u64, origin: &str) -> Option<Teller> {
        let encoder = Mutex::new(Encoder::new(node, process::wall(), origin));
        Some(Teller { instruments: instruments.first()?.clone(), encoder })
    }

    /// Tells it. Where the log is far behind this is said instead, to who reads what else was said of it.
    pub(super) fn tell(&self, admin: Admin<'_>) {
        if matches!(self.instruments.readers, Readers::Nobody) {
            return;
        }
        let mut line = Vec::new();
        let mut encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        encoder.notice(process::wall(), &Notice::Admin(admin), &mut line);
        if self.instruments.chunks.pass(Chunk { lines: line, ..Chunk::default() }).is_err() {
            say(Level::Warning, format_args!("the log is too far behind: this admin event is not logged"));
        }
    }
}

/// The way to the journal for who waits until it has what was told: then no kill takes it.
#[derive(Clone)]
pub(super) struct JournalBarrier {
    chunks: Arc<Chunks>,
    writer: Thread,
}

impl JournalBarrier {
    /// Of what is passed on here, which this thread writes.
    pub(super) fn new(chunks: Arc<Chunks>, writer: Thread) -> JournalBarrier {
        JournalBarrier { chunks, writer }
    }

    /// Waits until all that was passed on before is written, within a bound: a disk that is full or hangs is no reason to leave an operator without
    /// the answer. Whether it is.
    pub(super) async fn passed(&self) -> bool {
        let (tell, told) = oneshot::channel();
        let ack = WriteAck::new(move || _ = tell.send(()));
        let written = async {
            let mut chunk = Chunk { awaited: Some(ack), ..Chunk::default() };
            // Where nothing is taken all who wait would fill the queue, which is for events.
            while self.chunks.is_taken(2) {
                tokio::time::sleep(limits::CONTROL_ROUND).await;
            }
            while let Err(back) = self.chunks.pass(chunk) {
                chunk = back;
                tokio::time::sleep(limits::CONTROL_ROUND).await;
            }
            self.writer.unpark();
            told.await.is_ok()
        };
        tokio::time::timeout(limits::ADMIN_JOURNALED, written).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::accounting::Room;

    /// Passes it while a writer takes so many chunks, and writes them: whether it is passed, and what was taken before.
    fn passed(chunks: &Arc<Chunks>, (taken, written): (usize, bool)) -> (bool, String) {
        let barrier = JournalBarrier::new(chunks.clone(), std::thread::current());
        let theirs = chunks.clone();
        let write = async move {
            let mut lines = String::new();
            for _ in 0..taken {
                let chunk = loop {
                    match theirs.take() {
                        Some(chunk) => break chunk,
                        None => tokio::time::sleep(limits::CONTROL_ROUND / 10).await,
                    }
                };
                lines += std::str::from_utf8(&chunk.lines).unwrap();
                chunk.awaited.filter(|_| written).into_iter().for_each(WriteAck::written);
            }
            lines
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let writer = tokio::spawn(write);
            (barrier.passed().await, writer.await.unwrap())
        })
    }

    #[test]
    fn who_waits_is_told_when_it_is_written_and_not_held_for_ever() {
        let chunks = Arc::new(Chunks::of(1, Room { queue: 4, ..Room::default() }));
        let tell = |words: &str| chunks.pass(Chunk { lines: words.into(), ..Chunk::default() }).unwrap();
        tell("an event");
        assert_eq!(
            passed(&chunks, (2, true)),
            (true, "an event".to_owned()),
            "behind what was passed on before"
        );
        // It is taken and not written, as by a writer that ends.
        assert_eq!(passed(&chunks, (1, false)), (false, String::new()));
        // Nobody takes anything any more.
        let begun = process::since_boot();
        assert!(!passed(&chunks, (0, true)).0);
        assert!((1..6).contains(&(process::since_boot() - begun).as_secs()));
        (0..2).for_each(|_| tell("x"));
        assert!(!passed(&chunks, (0, true)).0);
        let left = std::iter::from_fn(|| chunks.take()).filter(|chunk| chunk.awaited.is_some());
        assert_eq!(left.count(), 1, "half of the queue is for events alone");
        // A full queue is waited for.
        (0..4).for_each(|_| tell("y"));
        assert_eq!(passed(&chunks, (5, true)), (true, "yyyy".to_owned()));
    }

    #[test]
    fn where_no_log_is_configured_nothing_is_told() {
        let instruments = Instruments::of(1, &Readers::Nobody);
        let teller = Teller::new(&instruments, 1, "test").unwrap();
        teller.tell(Admin::Reload { by: "x", changed: &[] });
        assert!(instruments[0].chunks.take().is_none());
    }
}
