//! Segment files of a simulated disk.

use std::io::{self, IoSlice};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::disk::Shared;
use super::network::gather;
use super::shard::Shard;
use super::sleep::Sleep;
use super::trace::digest;
use crate::runtime::{Segment, SegmentMap, Synced};

/// What creating a segment costs a MiB.
const CREATE_COST: Duration = Duration::from_micros(500);

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// A segment file of a simulated disk. As with a real descriptor, its appends after a failed sync go on and its next
/// sync succeeds, without the pages of the failed one.
#[derive(Clone)]
pub struct SimSegment(Rc<Handle>);

struct Handle {
    shard: Rc<Shard>,
    file: Shared,
    map: SegmentMap,
}

impl SimSegment {
    pub(super) fn open(shard: &Rc<Shard>, path: &Path) -> io::Result<SimSegment> {
        let state = shard.state();
        let disks = &mut *state.disks();
        let file = disks.file(shard.node(), path)?;
        let chance = disks.faults(shard.node()).open_error;
        if chance > 0.0 && state.base().random().chance(chance) {
            return Err(os(libc::EMFILE));
        }
        let map = disks.map(&file)?;
        Ok(SimSegment(Rc::new(Handle { shard: shard.clone(), file, map })))
    }

    pub(super) async fn create(
        shard: &Rc<Shard>,
        path: &Path,
        size: u64,
        spares: bool,
    ) -> io::Result<SimSegment> {
        let state = shard.state();
        let file = state.disks().begin_file(shard.node(), path, size, spares)?;
        let mebibytes = u32::try_from(size >> 20).unwrap_or(u32::MAX);
        let least = CREATE_COST.saturating_mul(mebibytes.saturating_add(1));
        shard.sleep(least, least * 2).await;
        shard.alive()?;
        file.borrow_mut().is_made();
        state.base().note("segment", u64::from(shard.node()), size);
        SimSegment::open(shard, path).inspect_err(|_| state.disks().forget(shard.node(), path))
    }

    /// Whether this append or sync is the node's last.
    fn is_last(&self) -> bool {
        let shard = &self.0.shard;
        shard.state().disks().faults(shard.node()).is_last()
    }

    fn fall(&self) -> io::Error {
        self.0.shard.state().fall(self.0.shard.node());
        os(libc::EIO)
    }
}

impl Segment for SimSegment {
    fn map(&self) -> &SegmentMap {
        &self.0.map
    }

    fn append(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let shard = &self.0.shard;
        shard.alive()?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let end = usize::try_from(offset).ok().and_then(|start| start.checked_add(total));
        if end.is_none_or(|end| end > self.0.map.len()) {
            return Err(io::Error::other("an append past the end of its segment"));
        }
        let state = shard.state();
        state.charge(total);
        let base = state.base();
        let failure = state.disks().faults(shard.node()).append_fails(&mut base.random());
        let count = match failure {
            None => total,
            Some(false) => 0,
            Some(true) => base.random().index(total.max(1)),
        };
        let bytes = gather(parts, count);
        self.0.file.borrow_mut().write(offset, &bytes);
        base.note("append", self.0.map.tag() << 32 | offset, count as u64);
        base.mix(digest(&bytes));
        if self.is_last() {
            return Err(self.fall());
        }
        if failure.is_some() { Err(os(libc::EIO)) } else { Ok(()) }
    }

    async fn sync(&self) -> io::Result<Synced> {
        let shard = &self.0.shard;
        shard.alive()?;
        let state = shard.state();
        let base = state.base();
        self.0.file.borrow_mut().sync_begins();
        let is_last = self.is_last();
        if is_last && base.random().below(2) == 0 {
            return Err(self.fall());
        }
        let (least, most) = {
            let mut disks = state.disks();
            let faults = disks.faults(shard.node());
            (faults.sync_min, faults.sync_max)
        };
        let span = base.random().between(least, most);
        Sleep::new(state, base.now().saturating_add(span)).await;
        // The crash has settled the fate of these pages meanwhile.
        shard.alive()?;
        let failed = state.disks().faults(shard.node()).sync_fails(&mut base.random());
        base.note("sync", self.0.map.tag(), u64::from(failed));
        if failed {
            self.0.file.borrow_mut().sync_failed(&mut base.random());
            return Err(os(libc::EIO));
        }
        let lie = state.disks().faults(shard.node()).sync_deceives(&mut base.random());
        match lie {
            None => self.0.file.borrow_mut().synced(),
            Some(true) => self.0.file.borrow_mut().sync_failed(&mut base.random()),
            Some(false) => self.0.file.borrow_mut().sync_skipped(),
        }
        if is_last { Err(self.fall()) } else { Ok(Synced(())) }
    }
}
