//! What is in the spool when a day does not end, read as a start reads it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use relevo::id::MessageId;
use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Runtime, Segment};
use relevo::spool::fold::{Files, fold};
use relevo::spool::lane::Shape;
use relevo::spool::layout;
use relevo::spool::segment::LaneOrigin;

struct Lane {
    disk: SimRuntime,
    directory: PathBuf,
}

impl Lane {
    fn path(&self, slot: u16) -> PathBuf {
        layout::segment_path(&self.directory, slot)
    }
}

impl Files for Lane {
    fn slots(&self) -> Vec<(u16, u64)> {
        let names = self.disk.list(&self.directory).unwrap_or_default();
        let sized = layout::segments(&names).filter_map(|slot| {
            let segment = self.disk.open_segment(&self.path(slot)).ok()?;
            Some((slot, segment.map().len() as u64))
        });
        sized.collect()
    }

    fn read(&self, slot: u16, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let segment = self.disk.open_segment(&self.path(slot))?;
        let bytes = segment.map().slice(offset, length).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(bytes.to_vec())
    }
}

/// The messages that the lanes of a node hold.
pub fn ids(world: &World, node: u32) -> BTreeSet<MessageId> {
    let disk = world.shard(node, 997);
    let names = disk.list(Path::new("/spool")).unwrap_or_default();
    let held = |lane: u16| {
        let directory = layout::lane_directory(Path::new("/spool"), lane);
        let shape =
            Shape { lane, origin: LaneOrigin { node: 7, lane }, segment_size: 4 << 20, segments_max: 1000 };
        let folded = fold(shape, &Lane { disk: disk.clone(), directory }).ok();
        let ids: Option<Vec<_>> =
            folded.map(|of| of.lane.entries().filter_map(|(key, _)| of.lane.id(key)).collect());
        ids.unwrap_or_default()
    };
    layout::lanes(&names).into_iter().flat_map(held).collect()
}
