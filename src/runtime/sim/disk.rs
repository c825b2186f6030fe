//! A disk for each node: what was appended is visible at once, as in a page cache, and survives a crash only when synced.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::runtime::sim::World;
use crate::runtime::{Segment, SegmentMap, Synced};

/// The unit in which unsynced bytes reach the disk or do not.
const SECTOR: usize = 512;

#[derive(Default)]
pub struct Disks {
    nodes: BTreeMap<u32, BTreeMap<PathBuf, Rc<File>>>,
    next_tag: u64,
}

struct File {
    /// What is on the platter.
    durable: RefCell<Vec<u8>>,
    /// What is seen: the page cache. Replaced at a crash; holders of the old one keep it.
    cache: RefCell<SegmentMap>,
    /// Appended and not synced: offset and length.
    pending: RefCell<Vec<(usize, usize)>>,
    failed: Cell<bool>,
}

impl File {
    /// Moves a range from the cache to the platter.
    fn settle(&self, offset: usize, length: usize) {
        if let Some(bytes) = self.cache.borrow().slice(offset as u64, length) {
            self.durable.borrow_mut()[offset..offset + length].copy_from_slice(bytes);
        }
    }
}

impl Disks {
    pub fn list(&self, node: u32, directory: &Path) -> Vec<String> {
        let files = self.nodes.get(&node).into_iter().flat_map(BTreeMap::keys);
        let inside = files.filter(|path| path.parent() == Some(directory));
        inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }

    pub fn crash(&mut self, node: u32, keeps_sector: &mut dyn FnMut() -> bool) {
        for file in self.nodes.get(&node).into_iter().flat_map(BTreeMap::values) {
            for (offset, length) in file.pending.take() {
                for start in (offset..offset + length).step_by(SECTOR) {
                    if keeps_sector() {
                        file.settle(start, SECTOR.min(offset + length - start));
                    }
                }
            }
            self.next_tag += 1;
            let durable = file.durable.borrow();
            let fresh = SegmentMap::of_memory(durable.len(), self.next_tag).expect("anonymous memory");
            fresh.write_memory(0, &durable);
            *file.cache.borrow_mut() = fresh;
            file.failed.set(false);
        }
    }

    pub fn rot(&mut self, node: u32, path: &Path, offset: u64) {
        let Some(file) = self.nodes.get(&node).and_then(|files| files.get(path)) else { return };
        let mut durable = file.durable.borrow_mut();
        durable[offset as usize] ^= 0x55;
        file.cache.borrow().write_memory(offset, &durable[offset as usize..=offset as usize]);
    }

    fn used(&self, node: u32) -> u64 {
        self.nodes
            .get(&node)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|file| file.durable.borrow().len() as u64)
            .sum()
    }
}

/// A segment file.
#[derive(Clone)]
pub struct SimSegment {
    world: World,
    file: Rc<File>,
    map: SegmentMap,
}

pub fn open(world: &World, node: u32, path: &Path) -> io::Result<SimSegment> {
    let disks = world.0.disks.borrow();
    let file =
        disks.nodes.get(&node).and_then(|files| files.get(path)).ok_or(io::ErrorKind::NotFound)?.clone();
    let map = file.cache.borrow().clone();
    Ok(SimSegment { world: world.clone(), file, map })
}

pub fn create(world: &World, node: u32, path: &Path, size: u64) -> io::Result<SimSegment> {
    let mut disks = world.0.disks.borrow_mut();
    let quota = world.0.faults.get().disk_quota;
    if quota != 0 && disks.used(node) + size > quota {
        return Err(io::ErrorKind::StorageFull.into());
    }
    disks.next_tag += 1;
    let map = SegmentMap::of_memory(size as usize, disks.next_tag)?;
    let file = Rc::new(File {
        durable: RefCell::new(vec![0; size as usize]),
        cache: RefCell::new(map.clone()),
        pending: RefCell::default(),
        failed: Cell::new(false),
    });
    disks.nodes.entry(node).or_default().insert(path.to_owned(), file.clone());
    Ok(SimSegment { world: world.clone(), file, map })
}

impl Segment for SimSegment {
    fn map(&self) -> &SegmentMap {
        &self.map
    }

    fn append(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if self.file.failed.get() {
            return Err(io::Error::other("this segment failed before"));
        }
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let fails = self.world.chance(self.world.0.faults.get().append_error);
        let written = if fails { self.world.between(0, bytes.len() as u64) as usize } else { bytes.len() };
        self.map.write_memory(offset, &bytes[..written]);
        self.file.pending.borrow_mut().push((offset as usize, written));
        if fails {
            self.file.failed.set(true);
            return Err(io::Error::other("a simulated write error"));
        }
        Ok(())
    }

    async fn sync(&self) -> io::Result<Synced> {
        if self.file.failed.get() {
            return Err(io::Error::other("this segment failed before"));
        }
        let covered = self.file.pending.take();
        let fails = self.world.chance(self.world.0.faults.get().sync_error);
        let runtime = self.world.runtime(u32::MAX);
        runtime.pause(Duration::from_micros(self.world.between(100, 3_000))).await;
        if fails {
            // The kernel forgets that these pages are dirty: they are on disk or not, and no later sync changes that.
            self.file.failed.set(true);
            for (offset, length) in covered {
                if self.world.chance(500_000) {
                    self.file.settle(offset, length);
                }
            }
            return Err(io::Error::other("a simulated fdatasync error"));
        }
        for (offset, length) in covered {
            self.file.settle(offset, length);
        }
        Ok(Synced(()))
    }
}
