//! The data directory: who has it, whose mail is in it, which lanes there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::control::say;
use crate::inspect::barred::barred;
use crate::inspect::{self, state};
use crate::limits;
use crate::node::error::StartError;
use crate::observe::diagnostics::Level;
use crate::runtime::files;
use crate::runtime::process::{self, DirectoryLock, LockError};
use crate::spool::layout;
use crate::spool::segment::LaneOrigin;

/// Locks the data directory, and closes it to others.
pub(super) fn take(config: &Config, shards: usize) -> Result<DirectoryLock, StartError> {
    let data_dir = &config.node.data_dir;
    let lock = lock(data_dir)?;
    let modes = state::modes(data_dir, true).words(data_dir, true);
    for words in modes.into_iter().chain(state::bound(config, shards)) {
        say(Level::Warning, format_args!("{words}"));
    }
    let with_journal = config.keeps_journal();
    match barred(data_dir, with_journal, true).into_iter().next() {
        Some(barred) => Err(StartError::Barred(barred)),
        None => Ok(lock),
    }
}

/// Locks the data directory. A process that was just killed may take a moment to let go of it.
fn lock(data_dir: &Path) -> Result<DirectoryLock, StartError> {
    let mut waited = Duration::ZERO;
    loop {
        match process::lock_directory(data_dir) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Taken) if waited < limits::LOCK_PATIENCE => {
                process::pause(limits::LOCK_PATIENCE / 100);
                waited += limits::LOCK_PATIENCE / 100;
            }
            Err(LockError::Taken) => {
                return Err(StartError::InUse(data_dir.to_owned()));
            }
            Err(LockError::Io(error)) => {
                let culprit = barred(data_dir, false, true).into_iter().next();
                return Err(culprit
                    .map_or_else(|| StartError::DataDir(data_dir.to_owned(), error), StartError::Barred));
            }
        }
    }
}

/// The node's id. A new one is made only where there is no mail: segments of another node would be refused for ever.
fn node_id(data_dir: &Path) -> Result<u64, StartError> {
    let fail = |error| StartError::NodeId(data_dir.to_owned(), error);
    if process::read_node_id(data_dir).map_err(fail)?.is_none()
        && let Some(words) = inspect::lost_node(data_dir).map_err(StartError::Spool)?
    {
        return Err(StartError::LostNode(words));
    }
    process::node_id(data_dir).map_err(fail)
}

/// Where adopted lanes were created, by lane; a lane of this node's own says nothing.
fn lane_origins(data_dir: &Path) -> Result<BTreeMap<u16, LaneOrigin>, StartError> {
    let mut origins = BTreeMap::new();
    for lane in 0..lanes(data_dir) {
        let lane = u16::try_from(lane).map_err(|_| StartError::TooManyLanes)?;
        let directory = layout::lane_directory(data_dir, lane);
        let origin = process::read_origin(&directory);
        if let Some((node, lane_there)) = origin.map_err(|error| StartError::Lane(directory, error))? {
            origins.insert(lane, LaneOrigin { node, lane: lane_there });
        }
    }
    Ok(origins)
}

/// The id of a node, and where its lanes began.
pub(super) type KnownBy = (u64, Arc<BTreeMap<u16, LaneOrigin>>);

/// The node's id and where its lanes were created, if all of them can be opened.
pub(super) fn origins(data_dir: &Path) -> Result<KnownBy, StartError> {
    let id = node_id(data_dir)?;
    let origins = Arc::new(lane_origins(data_dir)?);
    Ok((id, origins))
}

/// Lanes there are on disk: the highest number plus one.
pub(crate) fn lanes(data_dir: &Path) -> usize {
    let names = files::list(data_dir).unwrap_or_default();
    layout::lanes(&names).last().map_or(0, |highest| usize::from(*highest) + 1)
}
