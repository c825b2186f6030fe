//! Unix sockets that shards listen on. The kernel has no group of them for one path, so there is one in the process, and each shard accepts from a
//! descriptor of its own for it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::limits;
use crate::runtime::given::{self, At, Listed, Taken};
use crate::runtime::local::{self, File};

/// Those that are open, by path. A shard locks it to open one, and nobody while mail comes.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// One of them: its file goes with the last shard that listens there, unless it is a supervisor's.
pub(super) struct Shared {
    /// Goes before the socket does.
    listed: Option<Listed>,
    listener: std::os::unix::net::UnixListener,
    file: Mutex<Option<File>>,
}

impl Shared {
    /// Whether a supervisor keeps it open.
    pub(super) fn is_kept(&self) -> bool {
        self.listed.is_none()
    }

    fn open(path: &Path) -> io::Result<Shared> {
        let at = At::Path(path.to_owned());
        let (listener, file) = match given::take_alone(&at)? {
            Some(Taken::Shared(fd)) => {
                return Ok(Shared { listed: None, listener: fd.into(), file: Mutex::default() });
            }
            Some(Taken::Own(mut all, file)) => {
                let fd = all.pop().ok_or(io::ErrorKind::NotFound)?;
                (fd.into(), file.map(|file| File::known(path, file)))
            }
            None => {
                let opened = local::open_for_group(path, limits::LISTEN_BACKLOG).map_err(io::Error::from)?;
                let (listener, file) = opened.into_parts();
                listener.set_nonblocking(true)?;
                (listener, Some(file))
            }
        };
        let known = file.as_ref().and_then(File::number);
        Ok(Shared { listed: Some(given::listed(at, known, &listener)), listener, file: Mutex::new(file) })
    }
}

/// The socket at this path, opened unless this process has it open, and a descriptor for it.
pub(super) fn listen(path: &Path) -> io::Result<(OwnedFd, Arc<Shared>)> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|_, shared| shared.strong_count() > 0);
    let shared = match open.get(path).and_then(Weak::upgrade) {
        Some(shared) => shared,
        None => {
            let shared = Arc::new(Shared::open(path)?);
            open.insert(path.to_owned(), Arc::downgrade(&shared));
            shared
        }
    };
    Ok((shared.listener.try_clone()?.into(), shared))
}

/// Whether this process has it open.
pub fn is_open(path: &Path) -> bool {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.get(path).is_some_and(|shared| shared.strong_count() > 0)
}

/// Takes the files of all of them away: the process ends, whatever its shards still hold.
pub fn take_away() {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    for shared in open.values().filter_map(Weak::upgrade) {
        drop(shared.file.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
