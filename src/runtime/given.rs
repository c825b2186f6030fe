//! Listening sockets that are older than this process: those of a supervisor that keeps them over restarts (sd_listen_fds(3)), and those of the
//! process that this one takes over from. Whoever is to listen at an address asks here first, and opens one where there is none.
//!
//! What is open is known here, too, so that it can be handed on: a socket that somebody holds is never refused.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::{SocketAddrAny, SocketAddrUnix, SocketType, sockopt};

use crate::limits;

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At an address and a port.
    Network(SocketAddr),
    /// At the path of a Unix socket.
    Path(PathBuf),
}

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Network(address) => address.fmt(formatter),
            At::Path(path) => path.display().fmt(formatter),
        }
    }
}

/// Whose a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A supervisor's, which calls it so: it keeps it open whatever we do, and there is this one for all shards.
    Supervisor(String),
    /// Ours, and so is the file of a Unix socket, by device and number.
    Relay(Option<(u64, u64)>),
}

/// A listening socket.
#[derive(Debug)]
pub struct Socket {
    /// Where.
    pub at: At,
    /// Whose.
    pub owner: Owner,
    /// The socket.
    pub descriptor: OwnedFd,
}

/// What whoever is to listen somewhere gets.
#[derive(Debug)]
pub(super) enum Taken {
    /// These are its own from now on.
    Own(Vec<OwnedFd>, Option<(u64, u64)>),
    /// This one is everybody's.
    Shared(OwnedFd),
}

/// What there is.
#[derive(Default)]
struct All {
    given: Vec<Socket>,
    /// Those of a supervisor that somebody listens to.
    used: Vec<At>,
    /// How many share what was handed over for one address, and at how many others a part of it is gone.
    takers: usize,
    taken: Vec<(At, usize)>,
    open: Vec<(u64, At, Owner, Open)>,
    last: u64,
    handed_on: bool,
}

/// One that this process opened, or was handed.
enum Open {
    /// Somebody else's descriptor, who says so before it is closed.
    Elsewhere(RawFd),
    /// One of its own.
    Here(OwnedFd),
}

static ALL: Mutex<Option<All>> = Mutex::new(None);

/// Asks and changes it. Never while mail comes: at a start, a reload, an upgrade.
fn with<T>(work: impl FnOnce(&mut All) -> T) -> T {
    let mut all: MutexGuard<'_, Option<All>> = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    work(all.get_or_insert_default())
}

/// Why what a supervisor gave cannot be used.
#[derive(Debug)]
pub enum GivenError {
    /// More than anybody has listeners.
    TooMany(u64),
    /// This one of its descriptors, from 3 on, of this name.
    Unusable(RawFd, String, String),
}

impl fmt::Display for GivenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GivenError::TooMany(count) => write!(
                formatter,
                "the supervisor passed {count} sockets (LISTEN_FDS), and {} are the most; take some out of the socket unit",
                limits::SOCKETS_GIVEN_MAX
            ),
            GivenError::Unusable(descriptor, name, why) => write!(
                formatter,
                "descriptor {descriptor} that the supervisor passed ({name}) {why}; the socket unit must have ListenStream= alone, and Accept=no"
            ),
        }
    }
}

/// Takes what a supervisor passed to this process, by what it put into the environment. To be asked once, before any file is opened. What it was.
pub fn from_supervisor() -> Result<Vec<At>, GivenError> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("LISTEN_PID") != Some(std::process::id().into()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    if count > limits::SOCKETS_GIVEN_MAX {
        return Err(GivenError::TooMany(count));
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut found = Vec::new();
    for descriptor in (3..).take(count as usize) {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
        // SAFETY: sd_listen_fds(3): these are open and nobody else's, which is asked for once, before this process opens any.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let fail = |why: String| GivenError::Unusable(descriptor.as_raw_fd(), name.clone(), why);
        let at = listens_at(descriptor.as_fd()).map_err(fail)?;
        let prepared = rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)
            .and_then(|()| rustix::io::ioctl_fionbio(&descriptor, true));
        prepared.map_err(|error| {
            GivenError::Unusable(descriptor.as_raw_fd(), name.clone(), format!("cannot be used: {error}"))
        })?;
        found.push(at.clone());
        add(Socket { at, owner: Owner::Supervisor(name), descriptor });
    }
    Ok(found)
}

/// Where it listens, or why it is of no use.
fn listens_at(descriptor: BorrowedFd<'_>) -> Result<At, String> {
    let kind = sockopt::socket_type(descriptor).map_err(|error| format!("is no socket: {error}"))?;
    if kind != SocketType::STREAM || sockopt::socket_acceptconn(descriptor) != Ok(true) {
        return Err("is no listening stream".to_owned());
    }
    let bad = |error: rustix::io::Errno| format!("has no address: {error}");
    let address = rustix::net::getsockname(descriptor).map_err(bad)?;
    at_of(address).ok_or_else(|| "listens neither at an IP address nor at a path".to_owned())
}

fn at_of(address: SocketAddrAny) -> Option<At> {
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return Some(At::Network(address));
    }
    let unix = SocketAddrUnix::try_from(address).ok()?;
    let path = unix.path_bytes()?;
    Some(At::Path(Path::new(OsStr::from_bytes(path)).to_owned()))
}

/// One more that is there already. What is said of it is believed: it came from a process of ours, or was looked at.
pub(super) fn add(socket: Socket) {
    with(|all| all.given.push(socket));
}

/// So many shards share what was handed over for each address.
pub fn share_among(shards: usize) {
    with(|all| all.takers = shards);
}

/// Whether there is one for this address.
pub fn is_there(at: &At) -> bool {
    with(|all| all.given.iter().any(|socket| socket.at == *at))
}

/// What there is for one of those that share an address: each has its part, and what is left over is the first's.
pub(super) fn take(at: &At) -> io::Result<Option<Taken>> {
    with(|all| {
        if let Some(shared) = shared(all, at) {
            return shared.map(|shared| Some(Taken::Shared(shared)));
        }
        let left = all.given.iter().filter(|socket| socket.at == *at).count();
        if left == 0 {
            return Ok(None);
        }
        let before = match all.taken.iter_mut().find(|(known, _)| known == at) {
            Some((_, before)) => before,
            None => {
                all.taken.push((at.clone(), 0));
                &mut all.taken.last_mut().expect("it was just put there").1
            }
        };
        let part = left.div_ceil(all.takers.saturating_sub(*before).max(1));
        *before += 1;
        Ok(Some(taken(all, at, part)))
    })
}

/// The same for who is the only one there.
pub(super) fn take_alone(at: &At) -> io::Result<Option<Taken>> {
    with(|all| {
        if let Some(shared) = shared(all, at) {
            return shared.map(|shared| Some(Taken::Shared(shared)));
        }
        let is_there = all.given.iter().any(|socket| socket.at == *at);
        Ok(is_there.then(|| taken(all, at, 1)))
    })
}

/// A descriptor for a supervisor's socket at this address, if there is one.
fn shared(all: &mut All, at: &At) -> Option<io::Result<OwnedFd>> {
    let of_supervisor = |socket: &&Socket| socket.at == *at && matches!(socket.owner, Owner::Supervisor(_));
    let socket = all.given.iter().find(of_supervisor)?;
    let copy = socket.descriptor.try_clone();
    if copy.is_ok() && !all.used.contains(at) {
        all.used.push(at.clone());
    }
    Some(copy)
}

fn taken(all: &mut All, at: &At, part: usize) -> Taken {
    let (mut own, mut file) = (Vec::new(), None);
    while own.len() < part {
        let Some(place) = all.given.iter().position(|socket| socket.at == *at) else { break };
        let socket = all.given.remove(place);
        if let Owner::Relay(of) = socket.owner {
            file = file.or(of);
        }
        own.push(socket.descriptor);
    }
    Taken::Own(own, file)
}

/// What nobody listens to once all who would have begun. Those of a supervisor are named and stay with it; others are closed.
pub fn left_over() -> Vec<(At, String)> {
    with(|all| {
        all.given.retain(|socket| matches!(socket.owner, Owner::Supervisor(_)));
        let unused = all.given.iter().filter(|socket| !all.used.contains(&socket.at));
        unused
            .map(|socket| match &socket.owner {
                Owner::Supervisor(name) => (socket.at.clone(), name.clone()),
                Owner::Relay(_) => (socket.at.clone(), String::new()),
            })
            .collect()
    })
}

/// That a socket of this process is open, until this is dropped: before the socket is closed.
#[derive(Debug)]
pub struct Listed(u64);

impl Drop for Listed {
    fn drop(&mut self) {
        let gone = with(|all| {
            let place = all.open.iter().position(|(number, ..)| *number == self.0)?;
            Some(all.open.remove(place))
        });
        // Closed when others may ask again.
        drop(gone);
    }
}

fn list(at: At, owner: Owner, open: Open) -> Listed {
    with(|all| {
        all.last += 1;
        all.open.push((all.last, at, owner, open));
        Listed(all.last)
    })
}

/// Says that this socket listens there. What is given back is to be dropped before the socket is closed.
pub(super) fn listed(at: At, file: Option<(u64, u64)>, socket: &impl AsFd) -> Listed {
    list(at, Owner::Relay(file), Open::Elsewhere(socket.as_fd().as_raw_fd()))
}

/// The same for one whose holder is not known when it closes it; until this is dropped it stays open.
pub fn listed_here(at: At, file: Option<(u64, u64)>, socket: &impl AsFd) -> io::Result<Listed> {
    Ok(list(at, Owner::Relay(file), Open::Here(socket.as_fd().try_clone_to_owned()?)))
}

/// Descriptors of all that this process listens on.
pub fn all_open() -> io::Result<Vec<Socket>> {
    with(|all| {
        let given = all.given.iter().map(|socket| {
            let descriptor = socket.descriptor.try_clone()?;
            Ok(Socket { at: socket.at.clone(), owner: socket.owner.clone(), descriptor })
        });
        let open = all.open.iter().map(|(_, at, owner, open)| {
            let descriptor = match open {
                // SAFETY: whoever closes it takes it off this list first, and the list is locked.
                Open::Elsewhere(raw) => unsafe { BorrowedFd::borrow_raw(*raw) }.try_clone_to_owned()?,
                Open::Here(descriptor) => descriptor.try_clone()?,
            };
            Ok(Socket { at: at.clone(), owner: owner.clone(), descriptor })
        });
        given.chain(open).collect()
    })
}

/// All of it is another process's by now, or still: files of Unix sockets stay where they are.
pub fn hand_on() {
    with(|all| all.handed_on = true);
}

/// It is this process's: their files go when it closes them.
pub fn take_over() {
    with(|all| all.handed_on = false);
}

/// Whether it is another's.
pub(super) fn is_handed_on() -> bool {
    with(|all| all.handed_on)
}

/// Held by tests that hand over and share out: what is known here is the process's.
#[cfg(test)]
pub(super) static TESTED: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str) -> (At, OwnedFd) {
        let listener = crate::runtime::process::listen_alone(address.parse().unwrap()).unwrap();
        (At::Network(listener.local_addr().unwrap()), listener.into())
    }

    fn count(taken: Option<Taken>) -> usize {
        match taken {
            Some(Taken::Own(own, _)) => own.len(),
            Some(Taken::Shared(_)) => 100,
            None => 0,
        }
    }

    #[test]
    fn what_is_there_is_shared_out_and_what_is_open_handed_on() {
        let _alone = TESTED.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, socket) = listener("127.0.0.9:0");
        share_among(2);
        let ours = |socket: &OwnedFd| Socket {
            at: at.clone(),
            owner: Owner::Relay(None),
            descriptor: socket.try_clone().unwrap(),
        };
        // Five of an earlier process with more shards: three and two, and a third finds none.
        (0..5).for_each(|_| add(ours(&socket)));
        assert!(is_there(&at));
        let parts: Vec<_> = (0..3).map(|_| count(take(&at).unwrap())).collect();
        assert_eq!((parts, is_there(&at)), (vec![3, 2, 0], false));
        // A supervisor's is everybody's, and stays.
        let (theirs, kept) = listener("127.0.0.9:0");
        let owner = Owner::Supervisor("smtp".into());
        add(Socket { at: theirs.clone(), owner, descriptor: kept });
        assert_eq!(left_over(), [(theirs.clone(), "smtp".to_owned())]);
        assert_eq!((count(take(&theirs).unwrap()), count(take_alone(&theirs).unwrap())), (100, 100));
        assert!(left_over().is_empty() && is_there(&theirs));
        // One that nobody wants any more is closed.
        add(ours(&socket));
        assert!(left_over().is_empty() && !is_there(&at));
        let open = |wanted: &At| all_open().unwrap().iter().filter(|socket| socket.at == *wanted).count();
        let listed = listed(at.clone(), None, &socket);
        let here = listed_here(at.clone(), None, &socket).unwrap();
        assert_eq!((open(&at), open(&theirs)), (2, 1));
        drop(listed);
        assert_eq!(open(&at), 1);
        drop(here);
        assert_eq!(open(&at), 0);
        with(|all| all.given.clear());
    }

    #[test]
    fn only_what_listens_is_of_use() {
        let (at, socket) = listener("127.0.0.9:0");
        assert_eq!(listens_at(socket.as_fd()), Ok(at));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(listens_at(file.as_fd()).unwrap_err().contains("no socket"));
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(listens_at(one.as_fd()).unwrap_err(), "is no listening stream");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        let unix = crate::runtime::local::listen(&path, 1).unwrap();
        assert_eq!(listens_at(unix.listener.as_fd()), Ok(At::Path(path)));
    }
}
