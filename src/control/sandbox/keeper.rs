//! The thread that keeps what shards capture: all that waits in one commit, then it is answered. What cannot be kept is tried again by who asked.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::store::{Bounds, Store};
use super::summary::Summary;
use crate::control::say::say;
use crate::control::store::StoreError;
use crate::control::thread::Worker;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::repeat::Repeat;
use crate::runtime::{files, process};
use crate::shard::capturing::{Capture, Capturing};
use crate::shard::mesh::Mesh;
use crate::spool::layout;

/// Starts it.
pub(in crate::control) fn start(mesh: &Arc<Mesh>, data_dir: &Path, bounds: Bounds) -> io::Result<Worker> {
    let (mesh, data_dir) = (mesh.clone(), data_dir.to_owned());
    Worker::start("relevo-sandbox", move |turn| {
        process::stand_back();
        mesh.capturing.keeps(std::thread::current());
        let mut keeper = Keeper::new(&data_dir, bounds);
        let clock = turn.clock();
        while !turn.is_over() {
            while keeper.round(&mesh.capturing, clock()) {}
            turn.pause(limits::CONTROL_ROUND);
        }
        keeper.store.into_iter().for_each(Store::close);
    })
}

/// Who keeps.
pub struct Keeper {
    data_dir: PathBuf,
    bounds: Bounds,
    /// None: nothing was captured yet, or it cannot be opened.
    store: Option<Store>,
    trouble: Repeat,
}

impl Keeper {
    /// Of this directory. Nothing is opened before anything is captured.
    pub fn new(data_dir: &Path, bounds: Bounds) -> Keeper {
        Keeper { data_dir: data_dir.to_owned(), bounds, store: None, trouble: Repeat::default() }
    }

    /// Keeps what waits, as much as one commit may hold. True: there was something.
    pub fn round(&mut self, capturing: &Capturing, now: Duration) -> bool {
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        while waiting.len() < limits::SANDBOX_COMMIT && bytes < limits::SANDBOX_COMMIT_BYTES {
            let Some(capture) = capturing.next() else { break };
            bytes += capture.message().bytes.len();
            waiting.push(capture);
        }
        if waiting.is_empty() {
            return false;
        }
        let kept = match self.keep(&waiting) {
            Ok(()) => {
                if let Some(lasted) = self.trouble.ended(now) {
                    let seconds = lasted.as_secs();
                    say(Level::Info, format_args!("the sandbox keeps mail again, after {seconds} s"));
                }
                true
            }
            Err(why) => {
                if self.trouble.lasts(now) {
                    let file = self.data_dir.join(layout::SANDBOX);
                    let file = file.display();
                    say(Level::Error, format_args!("{file}: {why}: mail to be captured waits in the queue"));
                }
                false
            }
        };
        waiting.iter().for_each(|capture| capture.answer(kept));
        true
    }

    fn keep(&mut self, waiting: &[Arc<Capture>]) -> Result<(), String> {
        // What the spool leaves free is not for this.
        let spare = files::spare_of(files::size_bytes(&self.data_dir));
        if files::free_bytes(&self.data_dir).is_some_and(|(free, _)| free <= spare) {
            return Err("the disk is nearly full".to_owned());
        }
        self.try_keep(waiting).map_err(|error| error.to_string())
    }

    fn try_keep(&mut self, waiting: &[Arc<Capture>]) -> Result<(), StoreError> {
        let all: Vec<_> = waiting.iter().map(|one| (one.message(), summary(&one.message().bytes))).collect();
        let mut store = match self.store.take() {
            Some(store) => store,
            None => self.open()?,
        };
        let done = match store.add(&all) {
            Err(StoreError::Damaged(what)) => {
                // It is closed before it is put aside.
                drop(store);
                let (anew, words) = Store::open_anew(&self.data_dir, self.bounds, &what)?;
                say(Level::Error, format_args!("{words}"));
                store = anew;
                store.add(&all)
            }
            Err(StoreError::Database(error))
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) =>
            {
                store.make_room()?;
                store.add(&all)
            }
            done => done,
        };
        self.store = Some(store);
        done
    }

    fn open(&self) -> Result<Store, StoreError> {
        let (store, words) = Store::open(&self.data_dir, self.bounds)?;
        words.into_iter().for_each(|words| say(Level::Error, format_args!("{words}")));
        Ok(store)
    }
}

/// What is known of a message; nothing, where that fails by a fault of the relay's.
fn summary(bytes: &[u8]) -> Summary {
    catch_unwind(AssertUnwindSafe(|| Summary::read(bytes))).unwrap_or_else(|_| {
        say(Level::Error, format_args!("a captured message could not be read, by a fault of the relay's"));
        Summary::default()
    })
}
