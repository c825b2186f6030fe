//! Taking over the mail of another node: its lanes are renamed into this data directory.
//!
//! A rename within one file system is one step, so at any crash a lane is here or there, whole, and never both; what
//! was not moved yet is moved by running it again. Between file systems there is no such step: that is refused. Before it
//! moves, a lane gets a file `birthplace` with the node and the number it was created with, which its segments carry.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::inspect::{Spool, SpoolError};
use crate::limits;
use crate::runtime::files;
use crate::runtime::process::{self, DirectoryLock, LockError};
use crate::spool::layout::lane_directory;

/// One lane that was taken over, or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Its number there.
    pub from: u16,
    /// Its number here; None for one that was left because nothing in it is live.
    pub to: Option<u16>,
    /// Live messages.
    pub messages: usize,
}

/// Why nothing was taken over.
#[derive(Debug)]
pub enum AdoptError {
    /// A directory cannot be read.
    Spool(SpoolError),
    /// A relay runs there.
    InUse(PathBuf),
    /// Both are the same directory.
    Same(PathBuf),
    /// A lane with damage in it.
    Damaged(PathBuf, String),
    /// On another file system, or not a plain directory.
    NotMovable(PathBuf, String),
    /// More lanes than a data directory has.
    TooMany(usize),
    /// A step failed. What had been moved was moved back.
    Failed(PathBuf, io::Error),
    /// A step failed, and so did moving this lane back: it is here, whole.
    Halfway(PathBuf, io::Error),
}

impl From<SpoolError> for AdoptError {
    fn from(error: SpoolError) -> AdoptError {
        AdoptError::Spool(error)
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdoptError::Spool(error) => error.fmt(formatter),
            AdoptError::InUse(path) => {
                write!(formatter, "{} is in use by a relevo process; stop that one first", path.display())
            }
            AdoptError::Same(path) => write!(formatter, "{} cannot adopt itself", path.display()),
            AdoptError::Damaged(path, what) => write!(
                formatter,
                "{}: {what}; `relevo spool verify` says what is lost; with --damaged the rest is adopted",
                path.display()
            ),
            AdoptError::NotMovable(path, why) => write!(
                formatter,
                "{}: {why}; a lane can only be renamed within one file system, so copy the whole data directory \
                 there first (cp -a), move the original out of reach, and adopt the copy",
                path.display()
            ),
            AdoptError::TooMany(lanes) => write!(
                formatter,
                "{lanes} lanes would be more than the {} a data directory has",
                limits::SHARDS_MAX
            ),
            AdoptError::Failed(path, error) => {
                write!(formatter, "{}: {error}; nothing was adopted", path.display())
            }
            AdoptError::Halfway(path, error) => write!(
                formatter,
                "{error}; {} was adopted all the same; run this again for the rest",
                path.display()
            ),
        }
    }
}

/// Moves the lanes of `from` that hold live mail into `into`, where the next start delivers it. Lanes get numbers from
/// `first` on, so that they do not become the own lanes of shards. Damaged lanes are refused unless `damaged`.
pub fn adopt(into: &Path, from: &Path, first: usize, damaged: bool) -> Result<Vec<Adopted>, AdoptError> {
    let (into, from) = (real(into)?, real(from)?);
    if into == from {
        return Err(AdoptError::Same(into));
    }
    let (here, there) = (Spool::open(&into)?, Spool::open(&from)?);
    let lock_here = lock(&into)?;
    let lock_there = match lock(&from) {
        Ok(lock) => lock,
        Err(error) => {
            lock_here.undo();
            return Err(error);
        }
    };
    let adopted = adopt_locked(&here, &there, first, damaged);
    if !matches!(adopted, Ok(_) | Err(AdoptError::Halfway(..))) {
        lock_here.undo();
        lock_there.undo();
    }
    adopted
}

fn adopt_locked(
    here: &Spool,
    there: &Spool,
    first: usize,
    damaged: bool,
) -> Result<Vec<Adopted>, AdoptError> {
    // Only headers are read here, to find a format that this version should not touch.
    let own = here.lanes()?;
    for number in &own {
        let lane = here.lane(*number)?;
        crate::spool::inspect::survey(&lane, lane.origin).map_err(|refusal| lane.refused(refusal))?;
    }
    let next = own.last().map_or(0, |last| usize::from(*last) + 1).max(first);
    let mut plan = plan(there, damaged)?;
    let moving = plan.iter().filter(|lane| lane.to.is_some()).count();
    if next + moving > limits::SHARDS_MAX {
        return Err(AdoptError::TooMany(next + moving));
    }
    for (place, lane) in plan.iter_mut().filter(|lane| lane.to.is_some()).enumerate() {
        lane.to = u16::try_from(next + place).ok();
    }
    check_devices(&here.data_dir, &there.data_dir, &plan)?;
    carry_out(there, &here.data_dir, &plan)?;
    Ok(plan)
}

fn real(path: &Path) -> Result<PathBuf, AdoptError> {
    fs::canonicalize(path).map_err(|error| SpoolError::Io(path.to_owned(), error).into())
}

fn lock(directory: &Path) -> Result<DirectoryLock, AdoptError> {
    process::lock_existing(directory).map_err(|error| match error {
        LockError::Taken => AdoptError::InUse(directory.to_owned()),
        LockError::Io(error) => SpoolError::Io(directory.to_owned(), error).into(),
    })
}

/// What is in the lanes; `to` says for now only whether a lane is to be moved.
fn plan(there: &Spool, damaged: bool) -> Result<Vec<Adopted>, AdoptError> {
    let mut plan = Vec::new();
    for from in there.lanes()? {
        let look = there.lane(from)?.look()?;
        let rot = look.folded.damage.first();
        if let (Some(what), false) = (rot, damaged) {
            return Err(AdoptError::Damaged(look.seen.lane.directory, what.to_string()));
        }
        let messages = look.folded.lane.messages();
        let moves = messages > 0 || rot.is_some();
        plan.push(Adopted { from, to: moves.then_some(0), messages });
    }
    Ok(plan)
}

fn check_devices(into: &Path, from: &Path, plan: &[Adopted]) -> Result<(), AdoptError> {
    let device = |path: &Path| {
        files::device_of_directory(path)
            .map_err(|error| AdoptError::NotMovable(path.to_owned(), error.to_string()))
    };
    let home = device(into)?;
    for lane in plan.iter().filter(|lane| lane.to.is_some()) {
        let path = lane_directory(from, lane.from);
        if device(&path)? != home {
            return Err(AdoptError::NotMovable(
                path,
                format!("not on the file system of {}", into.display()),
            ));
        }
    }
    Ok(())
}

fn carry_out(there: &Spool, into: &Path, plan: &[Adopted]) -> Result<(), AdoptError> {
    let moves: Vec<(PathBuf, PathBuf, u16)> = plan
        .iter()
        .filter_map(|lane| {
            let (from, to) = (lane_directory(&there.data_dir, lane.from), lane_directory(into, lane.to?));
            Some((from, to, lane.from))
        })
        .collect();
    for (from, _, number) in &moves {
        // To the node it is taken from, the file says nothing new. A lane adopted before has one.
        let origin = process::read_origin(from);
        let written = origin.and_then(|origin| match origin {
            Some(_) => Ok(()),
            None => process::write_origin(from, there.node, *number),
        });
        written.map_err(|error| AdoptError::Failed(from.clone(), error))?;
    }
    for (place, (from, to, _)) in moves.iter().enumerate() {
        let Err(error) = files::move_directory(from, to) else { continue };
        for (from, to, _) in
            moves[..=place].iter().rev().filter(|(from, to, _)| to.exists() && !from.exists())
        {
            if files::move_directory(to, from).is_err() {
                return Err(AdoptError::Halfway(to.clone(), error));
            }
        }
        return Err(AdoptError::Failed(from.clone(), error));
    }
    Ok(())
}
