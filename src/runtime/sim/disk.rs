//! The simulated disks: a page cache above stable storage, for each node.
//!
//! An append changes the page cache (the segment's map) at once and is remembered as fragments of pages. A sync moves to
//! stable storage what was appended before its call. What a crash or a failed sync leaves of the rest is decided page
//! by page: lost, kept, or torn into sectors, each as it was after some number of the appends that touched it, because the
//! kernel may have written the page back at any time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::random::Random;
use crate::runtime::{SegmentMap, files};

/// What the kernel writes back as one.
const PAGE: usize = 4096;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What goes wrong on one node's disk. Probabilities are between 0 and 1, and 0 in a new world.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// That an append fails with EIO and writes nothing.
    pub append_error: f64,
    /// That an append writes a prefix and then fails with EIO.
    pub append_short: f64,
    /// That a sync fails with EIO. Its pages count as clean from then on: whether they reached the disk is chance, and no
    /// later sync writes them.
    pub sync_error: f64,
    /// That a sync says it is done and has done nothing: its pages stay where a crash may take them.
    pub sync_lies: f64,
    /// That a sync fails as by `sync_error`, and says it is done.
    pub sync_hides: f64,
    /// The next so many appends fail for certain.
    pub fail_appends: u32,
    /// The next so many syncs fail for certain.
    pub fail_syncs: u32,
    /// The so-many-th append or sync from now (1 is the next) is the node's last act: it crashes as by [`super::World::crash`], a
    /// sync by chance before or after its pages are stable, and in either case nobody is told.
    pub crash_in: Option<u32>,
    /// That an existing segment cannot be opened.
    pub open_error: f64,
    /// Least time of a sync. Default 100 us.
    pub sync_min: Duration,
    /// Most time of a sync. Default 2 ms.
    pub sync_max: Duration,
    /// Bytes the disk has room for; creating a segment beyond that fails with ENOSPC, and so does one that leaves less than the spare, if it is to.
    pub quota: Option<u64>,
    /// Bytes of these that others have.
    pub others: u64,
}

impl Default for DiskFaults {
    fn default() -> DiskFaults {
        DiskFaults {
            append_error: 0.0,
            append_short: 0.0,
            sync_error: 0.0,
            sync_lies: 0.0,
            sync_hides: 0.0,
            fail_appends: 0,
            fail_syncs: 0,
            crash_in: None,
            open_error: 0.0,
            sync_min: Duration::from_micros(100),
            sync_max: Duration::from_millis(2),
            quota: None,
            others: 0,
        }
    }
}

impl DiskFaults {
    /// How an append fails, if it does: having written nothing (false), or a prefix (true).
    pub(super) fn append_fails(&mut self, random: &mut Random) -> Option<bool> {
        if self.fail_appends > 0 {
            self.fail_appends -= 1;
            return Some(random.below(2) == 0);
        }
        if random.chance(self.append_error) {
            return Some(false);
        }
        random.chance(self.append_short).then_some(true)
    }

    /// Whether this append or sync is the node's last.
    pub(super) fn is_last(&mut self) -> bool {
        self.crash_in = self.crash_in.map(|left| left.saturating_sub(1));
        self.crash_in.take_if(|left| *left == 0).is_some()
    }

    pub(super) fn sync_fails(&mut self, random: &mut Random) -> bool {
        if self.fail_syncs > 0 {
            self.fail_syncs -= 1;
            return true;
        }
        random.chance(self.sync_error)
    }

    /// Whether a sync lies: it did nothing (false), or it failed (true).
    pub(super) fn sync_deceives(&self, random: &mut Random) -> Option<bool> {
        let lies = random.chance(self.sync_lies);
        let hides = random.chance(self.sync_hides);
        (lies || hides).then_some(hides)
    }
}

/// What a node's end takes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The machine went down.
    PageCache,
    /// Only the process did.
    Nothing,
}

/// The disks of all nodes.
#[derive(Default)]
pub(super) struct Disks {
    nodes: BTreeMap<u32, Disk>,
    /// Files by the tags of their present maps.
    tags: BTreeMap<u64, Shared>,
    serial: u64,
}

#[derive(Default)]
struct Disk {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Shared>,
    faults: DiskFaults,
}

/// A file that others may have open.
pub(super) type Shared = Rc<RefCell<File>>;

pub(super) struct File {
    size: u64,
    /// Whether its zeroes, size and directory entry are on stable storage.
    created: bool,
    /// Made by a process that was killed before it synced the directory: the name is there, and may go with the power.
    nameless: bool,
    /// Stable storage; absent pages are zero.
    stable: BTreeMap<u64, Box<[u8; PAGE]>>,
    /// The page cache, and what readers see. None until first opened in a life of the machine.
    map: Option<SegmentMap>,
    /// Appended and not yet part of a sync.
    dirty: Pages,
    /// Appended before the sync that is under way.
    syncing: Option<Pages>,
    /// Pages that cannot be read.
    spoiled: BTreeSet<u64>,
}

/// Fragments by page, each in the order of the appends.
type Pages = BTreeMap<u64, Vec<Fragment>>;

struct Fragment {
    /// Offset in the page.
    at: usize,
    bytes: Vec<u8>,
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// A path without `.` and `..`, so that one file has one name.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

impl Disk {
    /// Roots exist without being made.
    fn has_directory(&self, directory: &Path) -> bool {
        directory.parent().is_none() || self.directories.contains(directory)
    }
}

impl Disks {
    fn disk(&mut self, node: u32) -> &mut Disk {
        self.nodes.entry(node).or_default()
    }

    pub(super) fn faults(&mut self, node: u32) -> &mut DiskFaults {
        &mut self.disk(node).faults
    }

    pub(super) fn file(&self, node: u32, path: &Path) -> io::Result<Shared> {
        let found = self.nodes.get(&node).and_then(|disk| disk.files.get(&plain(path)));
        found.cloned().ok_or_else(|| os(libc::ENOENT))
    }

    pub(super) fn create_directory(&mut self, node: u32, directory: &Path) -> io::Result<()> {
        let directory = plain(directory);
        let disk = self.disk(node);
        if directory.ancestors().any(|one| disk.files.contains_key(one)) {
            return Err(os(libc::EEXIST));
        }
        disk.directories.extend(directory.ancestors().map(Path::to_owned));
        let inside = disk.files.iter().filter(|(path, _)| path.parent() == Some(&directory));
        inside.for_each(|(_, file)| file.borrow_mut().nameless = false);
        Ok(())
    }

    pub(super) fn list(&mut self, node: u32, directory: &Path) -> io::Result<Vec<String>> {
        let directory = plain(directory);
        let disk = self.disk(node);
        if !disk.has_directory(&directory) {
            return Err(os(libc::ENOENT));
        }
        let entries = disk.directories.iter().chain(disk.files.keys());
        let mut names: Vec<String> = entries
            .filter(|path| path.parent() == Some(&directory))
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Makes the entry of a file that is not yet there for good; `spares` leaves room for others.
    pub(super) fn begin_file(
        &mut self,
        node: u32,
        path: &Path,
        size: u64,
        spares: bool,
    ) -> io::Result<Shared> {
        let path = plain(path);
        let disk = self.disk(node);
        if disk.files.contains_key(&path) || disk.directories.contains(&path) {
            return Err(os(libc::EEXIST));
        }
        if !disk.has_directory(path.parent().unwrap_or(Path::new(""))) {
            return Err(os(libc::ENOENT));
        }
        let used: u64 = disk.files.values().map(|file| file.borrow().size).sum();
        let taken = used.saturating_add(disk.faults.others).saturating_add(size);
        let lacks = |quota| taken.saturating_add(if spares { files::spare_of(quota) } else { 0 }) > quota;
        if disk.faults.quota.is_some_and(lacks) {
            return Err(os(libc::ENOSPC));
        }
        let file = Rc::new(RefCell::new(File {
            size,
            created: false,
            nameless: false,
            stable: BTreeMap::new(),
            map: None,
            dirty: Pages::new(),
            syncing: None,
            spoiled: BTreeSet::new(),
        }));
        disk.files.insert(path, file.clone());
        Ok(file)
    }

    /// Its directory entry is gone: it could not be opened.
    pub(super) fn forget(&mut self, node: u32, path: &Path) {
        self.disk(node).files.remove(&plain(path));
    }

    /// The map of a file: one for all who open it in a life.
    pub(super) fn map(&mut self, file: &Shared) -> io::Result<SegmentMap> {
        let inner = &mut *file.borrow_mut();
        if let Some(map) = &inner.map {
            return Ok(map.clone());
        }
        self.serial += 1;
        let size = usize::try_from(inner.size).map_err(|_| os(libc::EFBIG))?;
        let map = SegmentMap::of_memory(size, self.serial)?;
        for (page, bytes) in inner.stable.range(..inner.size.div_ceil(PAGE as u64)) {
            let at = page * PAGE as u64;
            let length = (inner.size - at).min(PAGE as u64) as usize;
            map.write_memory(at, &bytes[..length]);
        }
        self.tags.insert(self.serial, file.clone());
        inner.map = Some(map.clone());
        Ok(map)
    }

    /// Reads through the page cache, whose life the map may have outlived.
    pub(super) fn read(&self, map: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let bytes = map.slice(offset, length).ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "a read past the end of a segment")
        })?;
        if let Some(file) = self.tags.get(&map.tag()) {
            let pages = offset / PAGE as u64..(offset + length as u64).div_ceil(PAGE as u64);
            if file.borrow().spoiled.range(pages).next().is_some() {
                return Err(os(libc::EIO));
            }
        }
        Ok(bytes.to_vec())
    }

    /// The end of a node: what survives on its disk.
    pub(super) fn down(&mut self, node: u32, loss: Loss, random: &mut Random) {
        let Some(disk) = self.nodes.get_mut(&node) else { return };
        // Some crashes lose all, some nothing, most a mixture.
        let mood = random.below(4);
        disk.files.retain(|_, file| {
            let file = &mut *file.borrow_mut();
            if !file.created {
                file.created = true;
                // It gets its name last, when it is whole: the name may have reached the disk or not.
                if random.below(2) == 0 {
                    return false;
                }
                file.nameless = loss == Loss::Nothing;
            } else if loss == Loss::PageCache && std::mem::take(&mut file.nameless) && random.below(2) == 0 {
                return false;
            }
            let mut pages = file.syncing.take().unwrap_or_default();
            for (page, fragments) in std::mem::take(&mut file.dirty) {
                pages.entry(page).or_default().extend(fragments);
            }
            match loss {
                Loss::PageCache => {
                    file.settle(pages, |random| if mood < 2 { mood } else { random.below(3) }, random);
                    file.map = None;
                }
                Loss::Nothing => file.dirty = pages,
            }
            true
        });
        let kept = |file: &Shared| file.borrow().map.as_ref().map(SegmentMap::tag);
        self.tags.retain(|tag, file| kept(file) == Some(*tag));
    }

    pub(super) fn rot(&mut self, node: u32, path: &Path, offset: u64, bits: u8) -> io::Result<()> {
        let file = self.file(node, path)?;
        let file = &mut *file.borrow_mut();
        if offset >= file.size {
            return Err(os(libc::EINVAL));
        }
        let place = (offset % PAGE as u64) as usize;
        file.page(offset / PAGE as u64)[place] ^= bits;
        if let Some(map) = &file.map
            && let Some(&[byte]) = map.slice(offset, 1)
        {
            map.write_memory(offset, &[byte ^ bits]);
        }
        Ok(())
    }

    pub(super) fn spoil(&mut self, node: u32, path: &Path, offset: u64) -> io::Result<()> {
        self.file(node, path)?.borrow_mut().spoiled.insert(offset / PAGE as u64);
        Ok(())
    }

    pub(super) fn stable(&self, node: u32, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.file(node, path)?;
        let file = file.borrow();
        let end = offset.checked_add(length as u64).filter(|end| *end <= file.size);
        let end = end.ok_or_else(|| os(libc::EINVAL))?;
        let byte = |at: u64| {
            file.stable.get(&(at / PAGE as u64)).map_or(0, |page| page[(at % PAGE as u64) as usize])
        };
        Ok((offset..end).map(byte).collect())
    }
}

impl File {
    fn page(&mut self, page: u64) -> &mut [u8; PAGE] {
        self.stable.entry(page).or_insert_with(|| Box::new([0; PAGE]))
    }

    /// Its zeroes, size and directory entry are on stable storage.
    pub(super) fn is_made(&mut self) {
        self.created = true;
    }

    /// Writes to the page cache, and remembers what stable storage does not know yet.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if let Some(map) = &self.map {
            map.write_memory(offset, bytes);
        }
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let place = (at % PAGE as u64) as usize;
            let (piece, next) = rest.split_at(rest.len().min(PAGE - place));
            let fragment = Fragment { at: place, bytes: piece.to_vec() };
            self.dirty.entry(at / PAGE as u64).or_default().push(fragment);
            at += piece.len() as u64;
            rest = next;
        }
    }

    /// All of these pages reach stable storage.
    fn keep(&mut self, pages: Pages) {
        for (page, fragments) in pages {
            let stable = self.page(page);
            for Fragment { at, bytes } in fragments {
                stable[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }

    /// An arbitrary part of these pages reaches stable storage. `fate`: 0 lost, 1 kept, 2 torn.
    fn settle(&mut self, pages: Pages, fate: impl Fn(&mut Random) -> u64, random: &mut Random) {
        for (page, fragments) in pages {
            match fate(random) {
                0 => {}
                1 => self.keep(Pages::from([(page, fragments)])),
                _ => {
                    let stable = self.page(page);
                    for sector in (0..PAGE).step_by(SECTOR) {
                        let count = random.index(fragments.len() + 1);
                        for Fragment { at, bytes } in &fragments[..count] {
                            let start = sector.max(*at);
                            let end = (sector + SECTOR).min(at + bytes.len());
                            if start < end {
                                stable[start..end].copy_from_slice(&bytes[start - at..end - at]);
                            }
                        }
                    }
                }
            }
        }
    }

    /// A sync begins: what was appended before is part of it.
    pub(super) fn sync_begins(&mut self) {
        assert!(self.syncing.is_none(), "at most one sync of a segment at a time, awaited to its end");
        self.syncing = Some(std::mem::take(&mut self.dirty));
    }

    /// It ended well.
    pub(super) fn synced(&mut self) {
        let pages = self.syncing.take().unwrap_or_default();
        self.keep(pages);
    }

    /// It failed: its pages count as clean, whether they reached the disk or not.
    pub(super) fn sync_failed(&mut self, random: &mut Random) {
        let pages = self.syncing.take().unwrap_or_default();
        self.settle(pages, |random| random.below(3), random);
    }

    /// It did nothing.
    pub(super) fn sync_skipped(&mut self) {
        let pages = self.syncing.take().unwrap_or_default();
        let later = std::mem::replace(&mut self.dirty, pages);
        for (page, fragments) in later {
            self.dirty.entry(page).or_default().extend(fragments);
        }
    }
}
