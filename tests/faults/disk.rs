//! The disk of the stories: what programs see, and what would be left if the power went now.
//!
//! Pure: no IO, no clock; chance comes from a seed. It promises what POSIX promises and nothing more. A write counts after fsync or
//! fdatasync of its file. A name (made, changed, taken away) counts after fsync of its directory. Whatever else was done may
//! be there after a cut or not, sector by sector and name by name.

use std::collections::{BTreeMap, HashMap};

/// The directory everything is in.
pub const ROOT: u64 = 1;
/// Largest file; the stories' segments have 4 MiB.
const FILE_MAX: u64 = 256 * 1024 * 1024;

/// Why the disk refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such name or file.
    Missing,
    /// The name exists.
    Exists,
    /// A directory where a file was meant, or the other way round.
    Kind,
    /// The directory has entries.
    NotEmpty,
    /// Larger than this disk takes.
    TooLarge,
    /// From one directory to another: nothing here needs it.
    OtherDirectory,
    /// The disk failed, as it was told to.
    Failed,
}

/// Small, seeded, repeatable (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// How a cut or a failed sync treats what was not synced: drawn once for each file and directory.
#[derive(Clone, Copy, Debug)]
struct Mood {
    /// Of 100 pieces, how many reach the disk.
    kept: u64,
    /// Pieces are whole from boundary to boundary.
    sector: usize,
    /// After the first lost piece all are lost: a disk that keeps order.
    ordered: bool,
}

impl Mood {
    fn draw(chance: &mut Chance) -> Mood {
        let kept = [0, 100, 50, 90, 10][chance.below(5) as usize];
        let sector = if chance.below(2) == 0 { 512 } else { 4096 };
        Mood { kept, sector, ordered: chance.below(4) == 0 }
    }

    fn keeps(&mut self, chance: &mut Chance) -> bool {
        let keeps = chance.below(100) < self.kept;
        if !keeps && self.ordered {
            self.kept = 0;
        }
        keeps
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Size(u64),
}

#[derive(Clone, Debug)]
enum Entry {
    Add(String, u64),
    Remove(String),
    Rename(String, String, u64),
}

/// A file.
#[derive(Debug, Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

/// A directory.
#[derive(Debug, Default)]
struct Directory {
    now: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    unsynced: Vec<Entry>,
}

#[derive(Debug)]
enum Node {
    File(File),
    Directory(Directory),
}

/// What a cut did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Unsynced pieces that reached the disk all the same.
    pub kept: u64,
    /// Unsynced pieces that did not.
    pub lost: u64,
    /// Changes of names that reached the disk without a sync.
    pub names_kept: u64,
    /// Changes of names that did not.
    pub names_lost: u64,
}

/// How the disk misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// fdatasync says that it is done and does nothing.
    pub lies: bool,
    /// So many calls of fdatasync fail.
    pub syncs: u64,
    /// So many writes to segments that have their name fail.
    pub writes: u64,
    /// The power is gone: until the cut is over nothing changes any more, and no sync that was under way ends well.
    pub dark: bool,
}

/// Files and directories.
#[derive(Debug)]
pub struct Disk {
    nodes: HashMap<u64, Node>,
    /// Files that are segments by name now.
    segments: HashMap<u64, bool>,
    next: u64,
    chance: Chance,
    /// How it misbehaves.
    pub faults: Faults,
}

impl File {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Size(size) => bytes.resize(*size as usize, 0),
            Change::Write(offset, data) => {
                let start = *offset as usize;
                if bytes.len() < start + data.len() {
                    bytes.resize(start + data.len(), 0);
                }
                bytes[start..start + data.len()].copy_from_slice(data);
            }
        }
    }

    fn change(&mut self, change: Change) {
        File::apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    fn settle(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            File::apply(&mut self.durable, &change);
        }
    }

    /// Nothing unsynced is left: each piece is on the disk for good, or lost for good.
    fn scatter(&mut self, chance: &mut Chance, cut: &mut Cut) {
        let mut mood = Mood::draw(chance);
        for change in std::mem::take(&mut self.unsynced) {
            for piece in pieces(change, mood.sector) {
                if mood.keeps(chance) {
                    File::apply(&mut self.durable, &piece);
                    cut.kept += 1;
                } else {
                    cut.lost += 1;
                }
            }
        }
    }
}

/// A write, taken apart at the boundaries of sectors.
fn pieces(change: Change, sector: usize) -> Vec<Change> {
    let Change::Write(mut offset, data) = change else { return vec![change] };
    let (mut rest, mut pieces) = (&data[..], Vec::new());
    while !rest.is_empty() {
        let length = (sector - offset as usize % sector).min(rest.len());
        pieces.push(Change::Write(offset, rest[..length].to_vec()));
        offset += length as u64;
        rest = &rest[length..];
    }
    pieces
}

impl Directory {
    fn apply(names: &mut BTreeMap<String, u64>, entry: &Entry) {
        match entry {
            Entry::Add(name, node) => {
                names.insert(name.clone(), *node);
            }
            Entry::Remove(name) => {
                names.remove(name);
            }
            Entry::Rename(from, to, node) => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }

    fn change(&mut self, entry: Entry) {
        Directory::apply(&mut self.now, &entry);
        self.unsynced.push(entry);
    }
}

impl Disk {
    /// An empty one.
    pub fn new(seed: u64) -> Disk {
        let nodes = HashMap::from([(ROOT, Node::Directory(Directory::default()))]);
        Disk {
            nodes,
            segments: HashMap::new(),
            next: ROOT + 1,
            chance: Chance(seed),
            faults: Faults::default(),
        }
    }

    fn lit(&self) -> Result<(), Refusal> {
        if self.faults.dark { Err(Refusal::Failed) } else { Ok(()) }
    }

    fn directory(&mut self, node: u64) -> Result<&mut Directory, Refusal> {
        match self.nodes.get_mut(&node) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(Refusal::Kind),
            None => Err(Refusal::Missing),
        }
    }

    fn file(&mut self, node: u64) -> Result<&mut File, Refusal> {
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(Refusal::Kind),
            None => Err(Refusal::Missing),
        }
    }

    /// What a name stands for.
    pub fn look_up(&mut self, parent: u64, name: &str) -> Result<u64, Refusal> {
        self.directory(parent)?.now.get(name).copied().ok_or(Refusal::Missing)
    }

    /// Bytes of a file; None for a directory.
    pub fn size(&self, node: u64) -> Result<Option<u64>, Refusal> {
        match self.nodes.get(&node) {
            Some(Node::File(file)) => Ok(Some(file.now.len() as u64)),
            Some(Node::Directory(_)) => Ok(None),
            None => Err(Refusal::Missing),
        }
    }

    /// Names in a directory, with what they stand for.
    pub fn list(&mut self, node: u64) -> Result<Vec<(String, u64)>, Refusal> {
        Ok(self.directory(node)?.now.iter().map(|(name, node)| (name.clone(), *node)).collect())
    }

    /// A new file or directory.
    pub fn make(&mut self, parent: u64, name: &str, directory: bool) -> Result<u64, Refusal> {
        self.lit()?;
        let node = self.next;
        let names = self.directory(parent)?;
        if names.now.contains_key(name) {
            return Err(Refusal::Exists);
        }
        names.change(Entry::Add(name.to_owned(), node));
        self.next += 1;
        let made =
            if directory { Node::Directory(Directory::default()) } else { Node::File(File::default()) };
        self.nodes.insert(node, made);
        self.segments.insert(node, name.ends_with(".seg"));
        Ok(node)
    }

    /// Takes a name away. The file stays for those who have it open.
    pub fn remove(&mut self, parent: u64, name: &str, directory: bool) -> Result<(), Refusal> {
        self.lit()?;
        let node = self.look_up(parent, name)?;
        match (self.nodes.get(&node), directory) {
            (Some(Node::Directory(inner)), true) if !inner.now.is_empty() => return Err(Refusal::NotEmpty),
            (Some(Node::Directory(_)), true) | (Some(Node::File(_)), false) => {}
            _ => return Err(Refusal::Kind),
        }
        self.directory(parent)?.change(Entry::Remove(name.to_owned()));
        Ok(())
    }

    /// Gives a file another name in its directory, replacing what had it.
    pub fn rename(&mut self, parent: u64, from: &str, to_parent: u64, to: &str) -> Result<(), Refusal> {
        self.lit()?;
        if parent != to_parent {
            return Err(Refusal::OtherDirectory);
        }
        let node = self.look_up(parent, from)?;
        self.directory(parent)?.change(Entry::Rename(from.to_owned(), to.to_owned(), node));
        self.segments.insert(node, to.ends_with(".seg"));
        Ok(())
    }

    /// Bytes of a file, fewer at its end.
    pub fn read(&mut self, node: u64, offset: u64, length: usize) -> Result<&[u8], Refusal> {
        let bytes = &self.file(node)?.now;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[start..bytes.len().min(start.saturating_add(length))])
    }

    /// Writes; what is told to fail leaves a part behind.
    pub fn write(&mut self, node: u64, offset: u64, bytes: &[u8]) -> Result<(), Refusal> {
        self.lit()?;
        if offset.saturating_add(bytes.len() as u64) > FILE_MAX {
            return Err(Refusal::TooLarge);
        }
        let fails = self.faults.writes > 0 && self.segments.get(&node) == Some(&true);
        let length = if fails { self.chance.below(bytes.len() as u64 + 1) as usize } else { bytes.len() };
        self.file(node)?.change(Change::Write(offset, bytes[..length].to_vec()));
        if fails {
            self.faults.writes -= 1;
            return Err(Refusal::Failed);
        }
        Ok(())
    }

    /// Cuts a file off or fills it up with zeroes.
    pub fn resize(&mut self, node: u64, size: u64) -> Result<(), Refusal> {
        self.lit()?;
        if size > FILE_MAX {
            return Err(Refusal::TooLarge);
        }
        self.file(node)?.change(Change::Size(size));
        Ok(())
    }

    /// fsync, or with `data_only` fdatasync, of a file. A failed one is as Linux has it: what it left undone stays undone, whatever is
    /// synced later, and reads go on to show it.
    pub fn sync(&mut self, node: u64, data_only: bool) -> Result<(), Refusal> {
        self.lit()?;
        let faults = &mut self.faults;
        let fails = data_only && faults.syncs > 0;
        if fails {
            faults.syncs -= 1;
        }
        let lies = data_only && faults.lies;
        let mut chance = Chance(self.chance.next());
        let file = self.file(node)?;
        if fails {
            file.scatter(&mut chance, &mut Cut::default());
            return Err(Refusal::Failed);
        }
        if !lies {
            file.settle();
        }
        Ok(())
    }

    /// fsync of a directory: the names in it.
    pub fn sync_directory(&mut self, node: u64) -> Result<(), Refusal> {
        self.lit()?;
        let directory = self.directory(node)?;
        directory.unsynced.clear();
        directory.durable.clone_from(&directory.now);
        Ok(())
    }

    /// The power comes back, after [`Faults::dark`] said when it went.
    pub fn cut(&mut self, seed: u64) -> Cut {
        self.faults.dark = false;
        let mut chance = Chance(seed);
        let mut cut = Cut::default();
        let mut order: Vec<u64> = self.nodes.keys().copied().collect();
        order.sort_unstable();
        for node in order {
            match self.nodes.get_mut(&node) {
                Some(Node::File(file)) => {
                    file.scatter(&mut chance, &mut cut);
                    file.now.clone_from(&file.durable);
                }
                Some(Node::Directory(directory)) => {
                    let mut mood = Mood::draw(&mut chance);
                    for entry in std::mem::take(&mut directory.unsynced) {
                        if mood.keeps(&mut chance) {
                            Directory::apply(&mut directory.durable, &entry);
                            cut.names_kept += 1;
                        } else {
                            cut.names_lost += 1;
                        }
                    }
                    directory.now.clone_from(&directory.durable);
                }
                None => {}
            }
        }
        self.forget_the_nameless();
        cut
    }

    fn forget_the_nameless(&mut self) {
        let (mut reached, mut waiting) = (HashMap::new(), vec![(ROOT, String::new())]);
        while let Some((node, name)) = waiting.pop() {
            reached.insert(node, name.ends_with(".seg"));
            if let Some(Node::Directory(directory)) = self.nodes.get(&node) {
                waiting.extend(directory.now.iter().map(|(name, node)| (*node, name.clone())));
            }
        }
        self.nodes.retain(|node, _| reached.contains_key(node));
        self.segments = reached;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: u64 = 300;

    fn content(disk: &mut Disk, name: &str) -> Option<Vec<u8>> {
        let node = disk.look_up(ROOT, name).ok()?;
        Some(disk.read(node, 0, 1 << 20).unwrap().to_vec())
    }

    fn with_file(size: u64) -> (Disk, u64) {
        let mut disk = Disk::new(1);
        let file = disk.make(ROOT, "00000.seg", false).unwrap();
        disk.resize(file, size).unwrap();
        disk.sync(file, false).unwrap();
        disk.sync_directory(ROOT).unwrap();
        (disk, file)
    }

    #[test]
    fn what_was_synced_stays() {
        for seed in 0..SEEDS {
            let (mut disk, file) = with_file(8192);
            disk.write(file, 100, &[7; 5000]).unwrap();
            disk.sync(file, true).unwrap();
            disk.write(file, 6000, &[8; 100]).unwrap();
            disk.cut(seed);
            let found = content(&mut disk, "00000.seg").unwrap();
            assert_eq!(found.len(), 8192);
            assert!(found[100..5100].iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn what_was_not_synced_may_be_lost_kept_torn_and_out_of_order() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..SEEDS {
            let (mut disk, file) = with_file(8192);
            disk.write(file, 0, &[1; 4096]).unwrap();
            disk.write(file, 4096, &[2; 1000]).unwrap();
            disk.cut(seed);
            let found = content(&mut disk, "00000.seg").unwrap();
            let first = found[..4096].iter().filter(|byte| **byte == 1).count();
            assert_eq!(first % 512, 0, "a sector is whole");
            let second = found[4096..].iter().filter(|byte| **byte == 2).count();
            seen.insert((first == 4096, first == 0, second == 1000, second == 0));
        }
        for wanted in [
            (false, true, false, true),
            (true, false, true, false),
            (false, false, true, false),
            (true, false, false, false),
            (false, true, true, false),
        ] {
            assert!(seen.contains(&wanted), "{wanted:?} never came in {seen:?}");
        }
    }

    #[test]
    fn names_need_a_sync_of_their_directory() {
        let mut ends = std::collections::BTreeSet::new();
        for seed in 0..SEEDS {
            let mut disk = Disk::new(1);
            let file = disk.make(ROOT, "a.new", false).unwrap();
            disk.write(file, 0, b"content").unwrap();
            disk.sync(file, false).unwrap();
            disk.rename(ROOT, "a.new", ROOT, "a").unwrap();
            let mut synced = disk.make(ROOT, "directory", true).map(|_| disk).unwrap();
            synced.cut(seed);
            let names: Vec<String> = synced.list(ROOT).unwrap().into_iter().map(|(name, _)| name).collect();
            for name in ["a", "a.new"] {
                assert!(content(&mut synced, name).is_none_or(|bytes| bytes == b"content"));
            }
            ends.insert(names.join(" "));
        }
        for wanted in ["", "a", "a directory", "a.new", "directory"] {
            assert!(ends.contains(wanted), "{wanted:?} never came in {ends:?}");
        }
        let (mut disk, _) = with_file(1);
        disk.remove(ROOT, "00000.seg", false).unwrap();
        disk.sync_directory(ROOT).unwrap();
        disk.cut(1);
        assert_eq!(content(&mut disk, "00000.seg"), None);
    }

    #[test]
    fn a_lying_sync_keeps_nothing_and_says_nothing() {
        let mut lost = 0;
        for seed in 0..SEEDS {
            let (mut disk, file) = with_file(512);
            disk.faults.lies = true;
            disk.write(file, 0, b"x").unwrap();
            disk.sync(file, true).unwrap();
            disk.cut(seed);
            lost += u64::from(content(&mut disk, "00000.seg").unwrap()[0] == 0);
        }
        assert!(lost > SEEDS / 4 && lost < SEEDS);
    }

    #[test]
    fn a_failed_sync_is_not_mended_by_the_next() {
        let mut lost = 0;
        for seed in 0..SEEDS {
            let (mut disk, file) = with_file(512);
            disk.chance = Chance(seed);
            disk.faults.syncs = 1;
            disk.write(file, 0, b"x").unwrap();
            assert_eq!(disk.sync(file, true), Err(Refusal::Failed));
            assert_eq!(content(&mut disk, "00000.seg").unwrap()[0], b'x', "readers see it");
            disk.sync(file, true).unwrap();
            disk.cut(seed);
            lost += u64::from(content(&mut disk, "00000.seg").unwrap()[0] == 0);
        }
        assert!(lost > SEEDS / 4 && lost < SEEDS);
    }

    #[test]
    fn writes_fail_in_segments_alone() {
        let (mut disk, file) = with_file(8192);
        disk.faults.writes = 1;
        let other = disk.make(ROOT, "00001.new", false).unwrap();
        disk.write(other, 0, b"x").unwrap();
        assert_eq!(disk.write(file, 0, &[1; 8192]), Err(Refusal::Failed));
        disk.write(file, 0, &[2; 8192]).unwrap();
        assert_eq!(disk.rename(ROOT, "00001.new", file, "x"), Err(Refusal::OtherDirectory));
        assert_eq!(disk.write(file, FILE_MAX, b"x"), Err(Refusal::TooLarge));
        assert_eq!(disk.make(ROOT, "00001.new", true), Err(Refusal::Exists));
        assert_eq!(disk.remove(ROOT, "00001.new", true), Err(Refusal::Kind));
    }
}
