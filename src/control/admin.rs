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

    fn passed(barrier: &JournalBarrier) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(barrier.passed())
    }

    #[test]
    fn who_waits_is_told_when_it_is_written_and_not_held_for_ever() {
        let chunks = Arc::new(Chunks::of(1, Room { queue: 4, ..Room::default() }));
        let line = |words: &str| Chunk { lines: words.into(), ..Chunk::default() };
        chunks.pass(line("an event")).unwrap();
        let theirs = chunks.clone();
        let writer = std::thread::spawn(move || {
            let mut lines = Vec::new();
            loop {
                match theirs.take() {
                    None => std::thread::park_timeout(limits::ADMIN_JOURNALED / 2),
                    Some(chunk) => {
                        lines.push(String::from_utf8(chunk.lines).unwrap());
                        if let Some(ack) = chunk.awaited {
                            ack.written();
                            return lines;
                        }
                    }
                }
            }
        });
        let barrier = JournalBarrier::new(chunks.clone(), writer.thread().clone());
        assert!(passed(&barrier));
        assert_eq!(writer.join().unwrap(), ["an event", ""], "behind what was passed on before");
        // Nobody takes anything any more.
        let begun = process::since_boot();
        assert!(!passed(&barrier));
        assert!((1..4).contains(&((process::since_boot() - begun).as_secs())));
        (0..2).for_each(|_| chunks.pass(line("x")).unwrap());
        assert!(!passed(&barrier));
        let left = std::iter::from_fn(|| chunks.take()).filter(|chunk| chunk.awaited.is_some());
        assert_eq!(left.count(), 1, "half of the queue is for events alone");
        // Who is to write it ends.
        let gone = chunks.clone();
        let ends = std::thread::spawn(move || {
            while gone.take().is_none() {
                std::thread::park_timeout(limits::ADMIN_JOURNALED / 2);
            }
        });
        let barrier = JournalBarrier::new(chunks, ends.thread().clone());
        assert!(!passed(&barrier));
        ends.join().unwrap();
    }

    #[test]
    fn where_no_log_is_configured_nothing_is_told() {
        let instruments = Instruments::of(1, &Readers::Nobody);
        let teller = Teller::new(&instruments, 1, "test").unwrap();
        teller.tell(Admin::Reload { by: "x", changed: &[] });
        assert!(instruments[0].chunks.take().is_none());
    }
}
