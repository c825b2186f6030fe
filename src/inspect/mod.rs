//! The spool of a data directory, looked at from outside: of a stopped node, or of a running one, which is not disturbed.
//!
//! Files are opened for reading only and never mapped, no lock is taken. A running relay may write and recycle segments
//! meanwhile; so what was read counts only if the headers are the same afterwards, and damage only if it is seen twice.

pub mod adopt;
pub mod barred;
pub mod state;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::id::MessageId;
use crate::limits;
use crate::runtime::files::{self, ReadFile};
use crate::runtime::process;
use crate::shard::start::unopened;
use crate::spool::fold::{self, Files, Folded, SpoolRefusal};
use crate::spool::inspect::{self, Fault, LaneReport, Placed, Survey};
use crate::spool::lane::Shape;
use crate::spool::layout::{self, lane_directory, segment_path};
use crate::spool::segment::{Header, LaneOrigin};

/// Why a spool cannot be read. The operator's to mend; nothing was changed.
#[derive(Debug)]
pub enum SpoolError {
    /// The kernel's refusal.
    Io(PathBuf, io::Error),
    /// There is no `node` file.
    NotADataDir(PathBuf),
    /// There is none, though there should be: what to do.
    NoNode(String),
    /// Another format, or another node's.
    Refused(PathBuf, SpoolRefusal),
}

impl fmt::Display for SpoolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpoolError::Io(path, error) => write!(formatter, "{}: {error}", path.display()),
            SpoolError::NotADataDir(path) => write!(
                formatter,
                "{}: no relay ever ran there (it has no file named node); give the node.data_dir of one",
                path.display()
            ),
            SpoolError::NoNode(words) => formatter.write_str(words),
            SpoolError::Refused(path, refusal) => {
                write!(formatter, "{}: {refusal}", path.display())?;
                match refusal {
                    SpoolRefusal::Newer(_) => {
                        write!(formatter, "; use the relevo that wrote it, or a later one")
                    }
                    SpoolRefusal::ForeignNode { .. } => {
                        write!(
                            formatter,
                            "; if all do, `relevo spool adopt` takes over the mail of another node"
                        )
                    }
                }
            }
        }
    }
}

/// What keeps a start from opening a lane: the operator's to mend.
#[derive(Debug)]
pub enum Unopened {
    /// It is no directory.
    NotADirectory(PathBuf),
    /// A file of it, or the lane itself, cannot be opened as a start does it.
    Io(PathBuf, io::Error),
    /// It cannot be read.
    Unreadable(SpoolError),
}

impl fmt::Display for Unopened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unopened::NotADirectory(path) => {
                let at = path.display();
                write!(formatter, "{at}: it is no directory; move it away, or bring back the lane")
            }
            Unopened::Io(path, error) => formatter.write_str(&unopened(path, error)),
            Unopened::Unreadable(error) => write!(formatter, "{error}"),
        }
    }
}

impl From<SpoolError> for Unopened {
    fn from(error: SpoolError) -> Unopened {
        match error {
            SpoolError::Io(path, error) => Unopened::Io(path, error),
            error => Unopened::Unreadable(error),
        }
    }
}

impl Unopened {
    /// Whether a running relay took away meanwhile what could not be opened.
    fn is_gone(&self) -> bool {
        let Unopened::Io(path, _) = self else { return false };
        std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}

/// What keeps a start from opening the first so many lanes.
pub fn unopened_lanes(data_dir: &Path, lanes: usize) -> Vec<Unopened> {
    // What is wrong with the directory itself is told elsewhere.
    let Ok(spool) = Spool::open(data_dir) else { return Vec::new() };
    let numbers = (0..lanes).filter_map(|lane| u16::try_from(lane).ok());
    numbers.filter_map(|lane| spool.try_to_open(lane).err()).filter(|error| !error.is_gone()).collect()
}

/// A data directory.
#[derive(Clone, Debug)]
pub struct Spool {
    /// Where it is.
    pub data_dir: PathBuf,
    /// The node's id.
    pub node: u64,
}

impl Spool {
    /// Finds a data directory. Makes nothing, locks nothing.
    pub fn open(data_dir: &Path) -> Result<Spool, SpoolError> {
        let fail = |error| SpoolError::Io(data_dir.to_owned(), error);
        files::list(data_dir).map_err(fail)?;
        match process::read_node_id(data_dir).map_err(fail)? {
            Some(node) => Ok(Spool { data_dir: data_dir.to_owned(), node }),
            None => Err(match lost_node(data_dir)? {
                Some(words) => SpoolError::NoNode(words),
                None => SpoolError::NotADataDir(data_dir.to_owned()),
            }),
        }
    }

    /// Its lanes, by number.
    pub fn lanes(&self) -> Result<Vec<u16>, SpoolError> {
        let names =
            files::list(&self.data_dir).map_err(|error| SpoolError::Io(self.data_dir.clone(), error))?;
        Ok(layout::lanes(&names))
    }

    /// The files of a lane as they are now.
    pub fn lane(&self, number: u16) -> Result<LaneFiles, SpoolError> {
        LaneFiles::open(
            lane_directory(&self.data_dir, number),
            number,
            LaneOrigin { node: self.node, lane: number },
        )
    }

    /// Whether a start could open one lane, and the one thing that keeps it from that. Segments are opened to write as
    /// a start does it, and only their headers are read.
    fn try_to_open(&self, number: u16) -> Result<(), Unopened> {
        let directory = lane_directory(&self.data_dir, number);
        match std::fs::metadata(&directory) {
            Ok(found) if !found.is_dir() => {
                return Err(Unopened::NotADirectory(directory));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Unopened::Io(directory, error)),
        }
        let lane = self.lane(number)?;
        for (slot, _) in &lane.slots {
            let path = segment_path(&directory, *slot);
            files::try_to_write(&path).map_err(|error| Unopened::Io(path, error))?;
        }
        inspect::survey(&lane, lane.origin).map_err(|refusal| lane.refused(refusal))?;
        Ok(())
    }

    /// Verifies one lane. Damage that a second look does not find was a commit just being written.
    pub fn verify(&self, number: u16) -> Result<LaneReport, SpoolError> {
        let look = || {
            let lane = self.lane(number)?;
            inspect::verify(&lane, number, lane.origin).map_err(|refusal| lane.refused(refusal))
        };
        let first = look()?;
        if first.is_sound() {
            return Ok(first);
        }
        let mut second = look()?;
        second.confirm(&first);
        Ok(second)
    }

    /// Looks for a message in all lanes, or in one.
    pub fn find(&self, id: MessageId, only: Option<u16>) -> Result<Vec<Meeting>, SpoolError> {
        let mut found = Vec::new();
        for number in self.lanes()? {
            if only.is_some_and(|only| only != number) {
                continue;
            }
            let lane = self.lane(number)?;
            let survey = inspect::survey(&lane, lane.origin).map_err(|refusal| lane.refused(refusal))?;
            if let Some(placed) = inspect::find(&lane, &survey, id) {
                found.push((LaneView { lane, survey }, placed));
            }
        }
        Ok(found)
    }
}

/// Of a data directory that lost its `node` file: what to do, with the id that its segments name. None: there is no mail in it.
pub fn lost_node(data_dir: &Path) -> Result<Option<String>, SpoolError> {
    let fail = |error| SpoolError::Io(data_dir.to_owned(), error);
    let (mut nodes, mut segments) = (BTreeSet::new(), 0);
    for name in files::list(data_dir).map_err(fail)?.iter().filter(|name| layout::resembles_lane(name)) {
        let lane = data_dir.join(name);
        // The lanes of others are marked, and say nothing of this node.
        if lane.join(layout::LANE_ORIGIN).exists() {
            segments += 1;
            continue;
        }
        for slot in layout::segments(&files::list(&lane).map_err(fail)?) {
            let block = ReadFile::open(&segment_path(&lane, slot))
                .and_then(|file| file.read(0, limits::BLOCK as usize));
            // One that was never used is nobody's.
            segments += usize::from(!block.as_ref().is_ok_and(|block| block.iter().all(|byte| *byte == 0)));
            let header = block.ok().and_then(|block| Header::decode(&block).ok());
            nodes.extend(header.map(|header| header.origin.node));
        }
    }
    let file = data_dir.join("node");
    let file = file.display();
    Ok(match (nodes.first(), nodes.len()) {
        _ if segments == 0 => None,
        (Some(node), 1) => Some(format!(
            "{file} is missing, and there are segments of node {node:016x}: put it back with `echo {node:016x} > {file}`"
        )),
        (None, _) => Some(format!(
            "{file} is missing, and there are segments that do not say whose: put it back from a copy"
        )),
        _ => Some(format!(
            "{file} is missing, and there are segments of several nodes ({nodes:016x?}): find out which is this"
        )),
    })
}

/// The files of one lane and what their headers say.
#[derive(Debug)]
pub struct LaneView {
    /// The files.
    pub lane: LaneFiles,
    /// The headers.
    pub survey: Survey,
}

/// A lane that has a message, and the message there, or what is wrong with it.
pub type Meeting = (LaneView, Result<Placed, Fault>);

/// A lane folded as a start would.
#[derive(Debug)]
pub struct FoldedLane {
    /// What was looked at.
    pub seen: LaneView,
    /// What is live.
    pub folded: Folded,
    /// The relay recycled segments all the while: messages that were just settled may still be in it.
    pub unsettled: bool,
}

/// The segment files of a lane, read-only. Holds one of them open at a time.
#[derive(Debug)]
pub struct LaneFiles {
    /// Its number here.
    pub number: u16,
    /// Where it was created: at another node if it was adopted.
    pub origin: LaneOrigin,
    /// Where it is.
    pub directory: PathBuf,
    slots: Vec<(u16, u64)>,
    open: RefCell<Option<(u16, ReadFile)>>,
}

impl LaneFiles {
    fn open(directory: PathBuf, number: u16, own: LaneOrigin) -> Result<LaneFiles, SpoolError> {
        let fail = |error| SpoolError::Io(directory.clone(), error);
        let origin = process::read_origin(&directory).map_err(fail)?;
        let origin = origin.map_or(own, |(node, lane)| LaneOrigin { node, lane });
        let mut slots = Vec::new();
        for slot in layout::segments(&files::list(&directory).map_err(fail)?) {
            let path = segment_path(&directory, slot);
            let size = ReadFile::open(&path).and_then(|file| file.size());
            let size = size.map_err(|error| SpoolError::Io(path, error))?;
            slots.push((slot, size));
        }
        Ok(LaneFiles { number, origin, directory, slots, open: RefCell::new(None) })
    }

    fn refused(&self, refusal: SpoolRefusal) -> SpoolError {
        SpoolError::Refused(self.directory.clone(), refusal)
    }

    /// Folds the lane as a start would, again if the relay recycled segments meanwhile.
    pub fn look(self) -> Result<FoldedLane, SpoolError> {
        let mut lane = self;
        let mut looks = 0;
        loop {
            let survey = inspect::survey(&lane, lane.origin).map_err(|refusal| lane.refused(refusal))?;
            let folded = fold::fold(lane.shape(), &lane).map_err(|refusal| lane.refused(refusal))?;
            let after = inspect::survey(&lane, lane.origin).map_err(|refusal| lane.refused(refusal))?;
            looks += 1;
            let same = after == survey;
            if (same && folded.damage.is_empty())
                || looks == limits::INSPECTION_LOOKS_MAX
                || (same && looks > 1)
            {
                return Ok(FoldedLane { seen: LaneView { lane, survey: after }, folded, unsettled: !same });
            }
            lane = LaneFiles::open(lane.directory, lane.number, lane.origin)?;
        }
    }

    /// What the fold is told; the size of new segments does not matter to one who makes none.
    fn shape(&self) -> Shape {
        Shape {
            lane: self.number,
            origin: self.origin,
            segment_size: limits::SEGMENT_SIZE_DEFAULT,
            segments_max: limits::SEGMENTS_MAX,
        }
    }
}

impl Files for LaneFiles {
    fn slots(&self) -> Vec<(u16, u64)> {
        self.slots.clone()
    }

    fn read(&self, slot: u16, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut open = self.open.borrow_mut();
        if let Some((_, file)) = open.as_ref().filter(|(other, _)| *other == slot) {
            return file.read(offset, length);
        }
        let file = ReadFile::open(&segment_path(&self.directory, slot))?;
        let bytes = file.read(offset, length);
        *open = Some((slot, file));
        bytes
    }
}
