//! The simulated disks: a page cache above stable storage, for each node.
//!
//! An append changes the page cache (the segment's map) at once and is remembered as fragments of pages. A sync moves to
//! stable storage what was appended before its call. What a crash or a failed sync leaves of the rest is decided page
//! by page: lost, kept, or torn into sectors, each as it was after some number of the appends that touched it, because the
//! kernel may have written the page back at any time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::network::gather;
use super::random::Random;
use super::trace::digest;
use super::{SimRuntime, Sleep};
use crate::runtime::{Segment, SegmentMap, Synced};

/// What the kernel writes back as one.
const PAGE: usize = 4096;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// What a read away from the map costs.
pub(super) const READ_COST: (Duration, Duration) = (Duration::from_micros(20), Duration::from_micros(300));
/// What creating a segment costs a MiB.
const CREATE_COST: Duration = Duration::from_micros(500);

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
    /// Bytes of segments the disk has room for; creating one more fails with ENOSPC.
    pub quota: Option<u64>,
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
        }
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

type Shared = Rc<RefCell<File>>;

struct File {
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

    fn file(&self, node: u32, path: &Path) -> io::Result<Shared> {
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

    /// Makes the entry of a file that is not yet there for good.
    fn begin_file(&mut self, node: u32, path: &Path, size: u64) -> io::Result<Shared> {
        let path = plain(path);
        let disk = self.disk(node);
        if disk.files.contains_key(&path) || disk.directories.contains(&path) {
            return Err(os(libc::EEXIST));
        }
        if !disk.has_directory(path.parent().unwrap_or(Path::new(""))) {
            return Err(os(libc::ENOENT));
        }
        let used: u64 = disk.files.values().map(|file| file.borrow().size).sum();
        if disk.faults.quota.is_some_and(|quota| used.saturating_add(size) > quota) {
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

    /// The map of a file: one for all who open it in a life.
    fn map(&mut self, file: &Shared) -> io::Result<SegmentMap> {
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

    /// Writes to the page cache, and remembers what stable storage does not know yet.
    fn write(&mut self, offset: u64, bytes: &[u8]) {
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
}

/// A segment file of a simulated disk. As with a real descriptor, its appends after a failed sync go on and its next
/// sync succeeds, without the pages of the failed one.
#[derive(Clone)]
pub struct SimSegment(Rc<Handle>);

struct Handle {
    runtime: SimRuntime,
    file: Shared,
    map: SegmentMap,
}

impl SimSegment {
    pub(super) fn open(runtime: &SimRuntime, path: &Path) -> io::Result<SimSegment> {
        let disks = &mut *runtime.0.state.disks.borrow_mut();
        let file = disks.file(runtime.0.node, path)?;
        let chance = disks.faults(runtime.0.node).open_error;
        if chance > 0.0 && runtime.0.state.random.borrow_mut().chance(chance) {
            return Err(os(libc::EMFILE));
        }
        let map = disks.map(&file)?;
        Ok(SimSegment(Rc::new(Handle { runtime: runtime.clone(), file, map })))
    }

    pub(super) async fn create(runtime: &SimRuntime, path: &Path, size: u64) -> io::Result<SimSegment> {
        let state = &runtime.0.state;
        let file = state.disks.borrow_mut().begin_file(runtime.0.node, path, size)?;
        let mebibytes = u32::try_from(size >> 20).unwrap_or(u32::MAX);
        let least = CREATE_COST.saturating_mul(mebibytes.saturating_add(1));
        runtime.sleep(least, least * 2).await;
        runtime.alive()?;
        file.borrow_mut().created = true;
        state.note("segment", u64::from(runtime.0.node), size);
        SimSegment::open(runtime, path).inspect_err(|_| {
            state.disks.borrow_mut().disk(runtime.0.node).files.remove(&plain(path));
        })
    }

    fn append_error(&self) -> Option<bool> {
        let state = &self.0.runtime.0.state;
        let mut disks = state.disks.borrow_mut();
        let faults = disks.faults(self.0.runtime.0.node);
        let random = &mut *state.random.borrow_mut();
        if faults.fail_appends > 0 {
            faults.fail_appends -= 1;
            return Some(random.below(2) == 0);
        }
        if random.chance(faults.append_error) {
            return Some(false);
        }
        random.chance(faults.append_short).then_some(true)
    }

    /// Whether this append or sync is the node's last.
    fn is_last(&self) -> bool {
        let mut disks = self.0.runtime.0.state.disks.borrow_mut();
        let left = &mut disks.faults(self.0.runtime.0.node).crash_in;
        *left = left.map(|left| left.saturating_sub(1));
        left.take_if(|left| *left == 0).is_some()
    }

    fn fall(&self) -> io::Error {
        self.0.runtime.0.state.fall(self.0.runtime.0.node);
        os(libc::EIO)
    }

    /// Whether this sync lies: it did nothing (false), or it failed (true).
    fn deceit(&self) -> Option<bool> {
        let state = &self.0.runtime.0.state;
        let mut disks = state.disks.borrow_mut();
        let faults = disks.faults(self.0.runtime.0.node);
        let random = &mut *state.random.borrow_mut();
        let lies = random.chance(faults.sync_lies);
        let hides = random.chance(faults.sync_hides);
        (lies || hides).then_some(hides)
    }

    fn sync_fails(&self) -> bool {
        let state = &self.0.runtime.0.state;
        let mut disks = state.disks.borrow_mut();
        let faults = disks.faults(self.0.runtime.0.node);
        if faults.fail_syncs > 0 {
            faults.fail_syncs -= 1;
            return true;
        }
        state.random.borrow_mut().chance(faults.sync_error)
    }
}

impl Segment for SimSegment {
    fn map(&self) -> &SegmentMap {
        &self.0.map
    }

    fn append(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.0.runtime.alive()?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let end = usize::try_from(offset).ok().and_then(|start| start.checked_add(total));
        if end.is_none_or(|end| end > self.0.map.len()) {
            return Err(io::Error::other("an append past the end of its segment"));
        }
        let state = &self.0.runtime.0.state;
        state.charge(total);
        let failure = self.append_error();
        let count = match failure {
            None => total,
            Some(false) => 0,
            Some(true) => state.random.borrow_mut().index(total.max(1)),
        };
        let bytes = gather(parts, count);
        self.0.file.borrow_mut().write(offset, &bytes);
        state.note("append", self.0.map.tag() << 32 | offset, count as u64);
        state.trace.borrow_mut().mix(digest(&bytes));
        if self.is_last() {
            return Err(self.fall());
        }
        if failure.is_some() { Err(os(libc::EIO)) } else { Ok(()) }
    }

    async fn sync(&self) -> io::Result<Synced> {
        let runtime = &self.0.runtime;
        runtime.alive()?;
        let state = &runtime.0.state;
        {
            let file = &mut *self.0.file.borrow_mut();
            assert!(file.syncing.is_none(), "at most one sync of a segment at a time, awaited to its end");
            file.syncing = Some(std::mem::take(&mut file.dirty));
        }
        let is_last = self.is_last();
        if is_last && state.random.borrow_mut().below(2) == 0 {
            return Err(self.fall());
        }
        let (least, most) = {
            let mut disks = state.disks.borrow_mut();
            let faults = disks.faults(runtime.0.node);
            (faults.sync_min, faults.sync_max)
        };
        let span = state.random.borrow_mut().between(least, most);
        Sleep::new(state, state.clock.get().saturating_add(span)).await;
        // The crash has settled the fate of these pages meanwhile.
        runtime.alive()?;
        let failed = self.sync_fails();
        state.note("sync", self.0.map.tag(), u64::from(failed));
        {
            let file = &mut *self.0.file.borrow_mut();
            let pages = file.syncing.take().unwrap_or_default();
            if failed {
                file.settle(pages, |random| random.below(3), &mut state.random.borrow_mut());
                return Err(os(libc::EIO));
            }
            match self.deceit() {
                None => file.keep(pages),
                Some(true) => file.settle(pages, |random| random.below(3), &mut state.random.borrow_mut()),
                Some(false) => {
                    let later = std::mem::replace(&mut file.dirty, pages);
                    for (page, fragments) in later {
                        file.dirty.entry(page).or_default().extend(fragments);
                    }
                }
            }
        }
        if is_last { Err(self.fall()) } else { Ok(Synced(())) }
    }
}
