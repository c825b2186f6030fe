//! Where the relay keeps things: its data directory, its logs, its socket for commands. What a start would say of them, without making any.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::findings::Findings;
use crate::config::literal::quoted;
use crate::config::{Config, LogConfig, PickupConfig};
use crate::control;
use crate::inspect::barred::{barred, decisions, shut_off};
use crate::inspect::{self, state};
use crate::limits;
use crate::node;
use crate::runtime::beside;
use crate::runtime::files::{self, Mended};
use crate::runtime::local::{self, LocalError};
use crate::runtime::os::probe;
use crate::runtime::process::{self, LockError};

/// Why nothing can be made at a path.
#[derive(Debug)]
enum PlaceError {
    Io(io::Error),
    LinkToNothing,
    /// A link to a path at which nothing can be made.
    LinkTo(PathBuf, io::Error),
    /// A directory, and what is wrong at its path.
    Directory(PathBuf, Box<PlaceError>),
    /// A directory, a path above it, and what is wrong there.
    Above(PathBuf, PathBuf, Box<PlaceError>),
    /// A directory, and a path above it or its own.
    NoDirectory(PathBuf, PathBuf),
    /// A directory, and that in which it would be made.
    NotWritable(PathBuf, PathBuf, io::Error),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaceError::Io(error) => write!(formatter, "{error}"),
            PlaceError::LinkToNothing => write!(formatter, "it is a link to nothing"),
            PlaceError::LinkTo(target, error) => {
                write!(formatter, "it is a link to {}, which cannot be made: {error}", target.display())
            }
            PlaceError::Directory(directory, error) => write!(formatter, "{}: {error}", directory.display()),
            PlaceError::Above(directory, above, error) => {
                write!(formatter, "{} cannot be made: {}: {error}", directory.display(), above.display())
            }
            PlaceError::NoDirectory(directory, place) => {
                write!(formatter, "{}: {} is no directory", directory.display(), place.display())
            }
            PlaceError::NotWritable(directory, above, error) if directory == above => {
                write!(formatter, "no file can be made in {}: {error}", directory.display())
            }
            PlaceError::NotWritable(directory, above, error) => {
                let (at, above) = (directory.display(), above.display());
                write!(formatter, "{at} is not there, and cannot be made in {above}: {error}")
            }
        }
    }
}

/// What stands at a path; None: nothing does. A link to nothing is in the way of what would be made there, and no error of the system says "there
/// is nothing" but that one.
fn standing(path: &Path) -> Result<Option<Metadata>, PlaceError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(PlaceError::Io(error))
        }
        Err(_) if std::fs::symlink_metadata(path).is_ok() => Err(PlaceError::LinkToNothing),
        Err(_) => Ok(None),
    }
}

/// Whether a directory is there, or could be made with those above it: the one that is there, and may be written. Else why not.
fn may_be_made(directory: &Path) -> Result<PathBuf, PlaceError> {
    let mut above = PathBuf::from(".");
    for place in directory.ancestors().filter(|place| !place.as_os_str().is_empty()) {
        if let Some(found) = standing(place).map_err(|error| match place == directory {
            true => PlaceError::Directory(directory.to_owned(), Box::new(error)),
            false => PlaceError::Above(directory.to_owned(), place.to_owned(), Box::new(error)),
        })? {
            if !found.is_dir() {
                return Err(PlaceError::NoDirectory(directory.to_owned(), place.to_owned()));
            }
            above = place.to_owned();
            break;
        }
    }
    match process::may_write(&above) {
        Ok(()) => Ok(above),
        Err(error) => Err(PlaceError::NotWritable(directory.to_owned(), above, error)),
    }
}

/// Where a file is made whose path leads to nothing: behind all links.
fn made_at(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..limits::LINKS_FOLLOWED {
        match std::fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Whether commands could be answered. Where nobody asked for a socket, a start without one is told of, and not refused.
pub(super) fn socket(config: &Config, running: bool, found: &mut Findings) {
    const KEY: &str = "control.socket";
    let Some(path) = &config.control.socket else { return };
    let data_dir = &config.node.data_dir;
    let in_data_dir = path.parent() == Some(data_dir);
    // It is made before the socket is; and what is wrong with it is told of it alone.
    if in_data_dir && (!data_dir.exists() || found.errors.iter().any(|error| error.key == "node.data_dir")) {
        return;
    }
    let error = match local::probe(path) {
        Ok(()) => return,
        // Its own.
        Err(LocalError::InUse) if running => return,
        Err(error) => error,
    };
    let words = control::StartError::Socket(path.clone(), error).to_string();
    let mut told = config.places.told(KEY, &words);
    if config.control.socket_named {
        found.errors.push(told);
    } else {
        if told.value.is_empty() {
            told.value = quoted(&path.display().to_string());
        }
        found.warnings.push(told);
    }
}

/// Looks at the data directory. Whether a relay runs on it now.
pub(super) fn data_dir(config: &Config, found: &mut Findings) -> bool {
    const KEY: &str = "node.data_dir";
    let (places, directory) = (&config.places, &config.node.data_dir);
    let at = directory.display();
    let mut fail = |problem: String, fix: &str| found.errors.push(places.remark(KEY, problem, fix));
    let writable = "make it a directory that this user may write, or check as the user that runs the relay";
    match standing(directory) {
        Ok(Some(found)) if !found.is_dir() => {
            fail(format!("{at}: it is no directory"), "name another directory");
            return false;
        }
        Ok(Some(_)) => {}
        Ok(None) => {
            match may_be_made(directory) {
                Ok(above) => memory(config, &above, found),
                Err(error) => fail(error.to_string(), writable),
            }
            return false;
        }
        Err(error) => {
            match shut_off(directory) {
                Some(barred) => found.errors.push(places.told(KEY, &barred.to_string())),
                None => fail(format!("{at}: {error}"), writable),
            }
            return false;
        }
    }
    let with_journal = config.keeps_journal();
    let barred = barred(directory, with_journal, false);
    if !barred.is_empty() {
        found.errors.extend(barred.iter().map(|barred| places.told(KEY, &barred.to_string())));
        return false;
    }
    let running = match process::lock_existing(directory) {
        Ok(lock) => {
            lock.undo();
            false
        }
        Err(LockError::Taken) => true,
        Err(LockError::Io(error)) => {
            fail(format!("{at}: {error}"), writable);
            return false;
        }
    };
    match process::read_node_id(directory) {
        Err(error) => fail(format!("{at}: {error}"), "restore it from a copy, or name another directory"),
        Ok(Some(_)) => {}
        Ok(None) => {
            if let Ok(Some(words)) = inspect::lost_node(directory) {
                found.errors.push(config.places.told(KEY, &words));
            }
        }
    }
    for words in state::modes(directory, false).words(directory, false) {
        found.warnings.push(config.places.told(KEY, &words));
    }
    if let Some(barred) = decisions(directory) {
        let words = format!("decisions (as suspensions) would not be kept over a restart: {barred}");
        found.warnings.push(places.told(KEY, &words));
    }
    let lanes = node::directory::lanes(directory).max(config.shard_count(probe::cores().len()));
    for unopened in inspect::unopened_lanes(directory, lanes) {
        found.errors.push(config.places.told(KEY, &unopened.to_string()));
    }
    memory(config, directory, found);
    running
}

fn memory(config: &Config, directory: &Path, found: &mut Findings) {
    if process::is_memory_file_system(directory) {
        let problem = format!(
            "{} is in memory: accepted mail is lost with the power, and every sync is a lie",
            config.node.data_dir.display()
        );
        let warning =
            config.places.propose("node.data_dir", problem, "\"/var/lib/relevo\"", ", a directory on a disk");
        found.warnings.retain(|other| other.key != "node.data_dir");
        found.warnings.push(warning);
    }
}

/// Whether files could be taken out of the directory of a pickup. A start waits for it, so none of that keeps one from being.
pub(super) fn pickup(config: &Config, found: &mut Findings) {
    const KEY: &str = "pickup.directory";
    let Some(PickupConfig { directory, bad, .. }) = &config.pickup else { return };
    let (places, at) = (&config.places, directory.display());
    let mut warn = |key, problem: String, fix: &str| found.warnings.push(places.remark(key, problem, fix));
    let of = match std::fs::symlink_metadata(directory) {
        Ok(of) if of.is_dir() => of,
        Ok(_) => {
            let fix = "name a directory, and not a link to one";
            return warn(KEY, format!("{at}: it is no directory, so no mail is taken there"), fix);
        }
        Err(error) => {
            let fix = "make it, writable for this user and for those who may send";
            return warn(KEY, format!("{at}: {error}, so no mail is taken there"), fix);
        }
    };
    if let Err(error) = process::may_write(directory) {
        let fix = "let this user write there, or check as the user that runs the relay";
        warn(KEY, format!("{at}: {error}, so no mail is taken there"), fix);
    }
    if of.mode() & 0o002 != 0 {
        let fix = "chmod o-w it, and give it to a group of those who may send";
        warn(KEY, format!("{at}: everybody on this machine may send mail by it"), fix);
    }
    match std::fs::symlink_metadata(bad) {
        Ok(other) if !other.is_dir() || other.dev() != of.dev() => {
            let problem = format!("{}: it is no directory in the file system of {at}", bad.display());
            warn("pickup.bad", problem, "name one that is");
        }
        Ok(_) => {}
        Err(_) => {
            if let Err(error) = may_be_made(bad) {
                warn("pickup.bad", error.to_string(), "make it, writable for this user");
            }
        }
    }
}

/// Whether the log can be written, without making it.
pub(super) fn log(config: &Config, log: &LogConfig, found: &mut Findings) {
    let key = format!("{}.path", log.section);
    let Some(path) = log.path.as_ref().filter(|_| !log.is_nowhere()) else { return };
    let at = path.display();
    let mut fail = |problem: String, fix: &str| found.errors.push(config.places.remark(&key, problem, fix));
    let writable = "name a file that this user may write, or check as the user that runs the relay";
    match std::fs::metadata(path).map(|found| found.file_type()) {
        Ok(kind) if kind.is_dir() => fail(format!("{at} is a directory"), "name a file in it"),
        Ok(kind) if kind.is_file() => match process::may_write(path) {
            Err(error) => fail(format!("{at}: {error}"), writable),
            Ok(()) => open_logs(config, &key, path, found),
        },
        Ok(kind) if kind.is_socket() || kind.is_block_device() => {
            let what = if kind.is_socket() { "a socket" } else { "a disk" };
            fail(
                format!("{at} is {what}, not a file"),
                "name a file, or \"-\" for standard output, be it a socket",
            );
        }
        Ok(_) if process::may_write(path).is_err() => {
            fail(format!("{at}: this user may not write it"), writable);
        }
        Ok(_) => {
            let problem = format!(
                "{at} is no file: what nobody reads from it waits in the journal, up to control.journal_size_max"
            );
            let fix = "name a file, or \"-\" for standard output";
            found.warnings.push(config.places.remark(&key, problem, fix));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Err(error) = log_may_be_made(path) {
                fail(format!("{at}: {error}"), writable);
            }
        }
        Err(error) => fail(format!("{at}: {error}"), writable),
    }
}

/// Whether a log that is not there could be made. Directories are made of the name that is written, not of what a link names.
fn log_may_be_made(path: &Path) -> Result<(), PlaceError> {
    let real = made_at(path).map_err(PlaceError::Io)?;
    let directory = real.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if real == *path {
        return may_be_made(directory).map(drop);
    }
    process::may_write(directory).map_err(|error| PlaceError::LinkTo(real.clone(), error))
}

/// A log, or what a rotation made of it, that others can read.
fn open_logs(config: &Config, key: &str, path: &Path, found: &mut Findings) {
    let (real, rotated) = beside::log_and_rotated(path, limits::LOG_DIRECTORY_MAX);
    // Who checks may be root, and the relay the owner of the log.
    let owner = |path: &Path| std::fs::symlink_metadata(path).ok().map(|found| found.uid());
    let is_open = |path: &&PathBuf| matches!(files::mend(path, false), Ok(Mended::Others));
    let is_own = |path: &&PathBuf| owner(path) == owner(&real) || owner(path) == Some(process::user().0);
    let mut tell = |problem: String, fix: &str| found.warnings.push(config.places.remark(key, problem, fix));
    if is_open(&&real) {
        let at = path.display();
        tell(
            format!(
                "{at} can be read by others: it has senders and recipients; a start takes that from them"
            ),
            "chmod 600 it, and have a log rotator make it so (nocreate, or create 0600)",
        );
    }
    let open: Vec<&PathBuf> = rotated.iter().filter(is_own).filter(is_open).collect();
    if let Some(first) = open.first() {
        let (count, first) = (open.len(), first.display());
        tell(
            format!(
                "{count} rotated logs can be read by others, {first} for one: they have senders and recipients; a start takes that from them"
            ),
            "chmod 600 them, and have the log rotator make them so",
        );
    }
}
