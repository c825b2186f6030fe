//! How much room there is on the file system of the spool.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::control::watch;
use crate::limits;
use crate::observe::Instruments;
use crate::observe::room::Shut;
use crate::runtime::files;

/// How much room there is for the spool: asked where a disk that hangs holds up nobody.
#[derive(Default)]
pub(super) struct RoomProbe {
    asking: AtomicBool,
    /// Bytes and one; 0: not known.
    bytes: AtomicU64,
    /// Bytes of these that are to stay free for the journal.
    spare: AtomicU64,
}

impl RoomProbe {
    /// Asks anew if a shard takes no mail, and the last question was answered. Waits a moment for the answer.
    pub(super) async fn ask(
        self: &Arc<RoomProbe>,
        data_dir: &Path,
        journal: Option<&Path>,
        instruments: &[Arc<Instruments>],
    ) {
        let shut = instruments.iter().any(|shard| shard.room.shut() == Shut::NoSegment);
        if !shut || self.asking.swap(true, Ordering::SeqCst) {
            return;
        }
        let (answer, data_dir, journal) = (self.clone(), data_dir.to_owned(), journal.map(Path::to_owned));
        let asked = tokio::task::spawn_blocking(move || {
            let spare = journal.map_or(0, |journal| files::spare_bytes(&data_dir, &journal));
            answer.spare.store(spare, Ordering::SeqCst);
            let bytes = files::free_bytes(&data_dir).map_or(0, |(ours, _)| ours.saturating_add(1));
            answer.bytes.store(bytes, Ordering::SeqCst);
            answer.asking.store(false, Ordering::SeqCst);
        });
        let _ = tokio::time::timeout(limits::CONTROL_ROUND, asked).await;
    }

    /// Bytes that are free there: asked anew, or as last known where the disk does not say at once.
    pub(super) async fn free(self: &Arc<RoomProbe>, data_dir: &Path) -> Option<u64> {
        if !self.asking.swap(true, Ordering::SeqCst) {
            let (answer, data_dir) = (self.clone(), data_dir.to_owned());
            let asked = tokio::task::spawn_blocking(move || {
                let bytes = files::free_bytes(&data_dir).map_or(0, |(ours, _)| ours.saturating_add(1));
                answer.bytes.store(bytes, Ordering::SeqCst);
                answer.asking.store(false, Ordering::SeqCst);
            });
            let _ = tokio::time::timeout(limits::CONTROL_ROUND, asked).await;
        }
        self.there().map(|room| room.bytes)
    }

    pub(super) fn there(&self) -> Option<watch::DiskRoom> {
        let bytes = self.bytes.load(Ordering::SeqCst).checked_sub(1)?;
        Some(watch::DiskRoom { bytes, spare: self.spare.load(Ordering::SeqCst) })
    }
}
