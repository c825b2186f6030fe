//! What became of mail, counted in few roll-ups (`roll_up`), by minute, hour and day. A reader of the journal with a thread of its own, which stands
//! back; what it counted lies in `analytics.db`, which mail does not know.

mod ask;
pub mod cells;
mod file;
mod ids;
mod old;
pub mod roll;
mod roll_up;
mod rows;
mod scan;
mod stats;
mod store;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::control::api::shape::analytics::Analytics as Told;
use crate::control::journal::{Shared, Tap};
use crate::control::say::say;
use crate::control::store::StoreError;
use crate::control::thread::{Turn, Worker};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::repeat::Repeat;
use crate::runtime::{files, process};

pub(in crate::control) use ask::{Question, Unanswered};
use roll::{Counted, Pending, Texts};
pub(in crate::control) use roll_up::{By, Step};
pub(in crate::control) use stats::{SendingStats, StatsGroup, StatsQuestion};
use store::Store;

/// Its name among readers of the journal.
pub(in crate::control) const READER: &str = "analytics";

/// What was counted, for whoever asks.
pub(in crate::control) struct Analytics {
    data_dir: PathBuf,
    /// None: it cannot be opened just now.
    store: Mutex<Option<Store>>,
    /// Held by whoever asks: it may read some million numbers.
    asked: Semaphore,
}

impl Analytics {
    fn new(data_dir: &Path, store: Option<Store>) -> Analytics {
        let (store, asked) = (Mutex::new(store), Semaphore::new(limits::ANALYTICS_ASKED));
        Analytics { data_dir: data_dir.to_owned(), store, asked }
    }

    fn store(&self) -> MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a question, on a thread that may wait for the disk. None: the relay stops.
    pub async fn ask(self: &Arc<Analytics>, question: Question) -> Option<Result<Told, Unanswered>> {
        self.answer(move |connection| ask::answer(connection, &question)).await
    }

    /// The same in the shapes of Mailtrap's clients.
    pub async fn stats(
        self: &Arc<Analytics>,
        question: StatsQuestion,
    ) -> Option<Result<Vec<(String, SendingStats)>, Unanswered>> {
        self.answer(move |connection| stats::stats(connection, &question)).await
    }

    async fn answer<T: Send + 'static>(
        self: &Arc<Analytics>,
        answer: impl FnOnce(&Connection) -> Result<T, Unanswered> + Send + 'static,
    ) -> Option<Result<T, Unanswered>> {
        let _held = self.asked.acquire().await.ok()?;
        let all = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let store = all.store();
            answer(store.as_ref().ok_or(StoreError::Closed)?.connection())
        });
        asked.await.ok()
    }

    /// Takes over what a file of the first version counted. Where there is no room for both that is left behind.
    fn take_over(&self) {
        let mut held = self.store();
        let Some(store) = &mut *held else { return };
        let file = self.data_dir.join(crate::spool::layout::ANALYTICS);
        let (file, what) = (file.display(), "what was counted by an earlier version");
        match store.take_over() {
            Ok(None) => {}
            Ok(Some(rows)) => say(Level::Info, format_args!("{file}: {what} is taken over ({rows} sums)")),
            Err(StoreError::Database(error)) if is_full(&error) => {
                let left = store.leave_behind();
                let why = left.map_or_else(|error| format!(" ({error})"), |()| String::new());
                say(Level::Error, format_args!("{file}: no room: {what} is not told any more{why}"));
            }
            Err(error) => {
                say(Level::Error, format_args!("{file}: {what} is taken over at the next start: {error}"));
            }
        }
    }

    /// Writes it whole into its file, and lets go of it.
    fn close(&self) {
        if let Some(store) = self.store().take() {
            store.close();
        }
    }

    /// Forgets texts that this holds of, or only counts them. It waits for the disk.
    pub fn forget_texts(&self, meant: impl Fn(&str) -> bool, dry: bool) -> Result<usize, StoreError> {
        let mut store = self.store();
        store.as_mut().ok_or(StoreError::Closed)?.forget_texts(meant, dry)
    }

    /// Writes what was counted. What is damaged is begun anew, and where there is no room some of the oldest goes.
    fn write(&self, counts: &[Counted], said: (&Texts, &[u64]), place: [u64; 3]) -> Result<(), StoreError> {
        let mut held = self.store();
        let store = match &mut *held {
            Some(store) => store,
            none => none.insert(open(&self.data_dir)?),
        };
        match store.add(counts, said, place) {
            Err(StoreError::Damaged(what)) => {
                // It is closed before it is put aside.
                *held = None;
                let (mut store, words) = Store::open_anew(&self.data_dir, &what)?;
                say(Level::Error, format_args!("{words}"));
                store.add(counts, said, place)?;
                *held = Some(store);
                Ok(())
            }
            Err(StoreError::Database(error)) if is_full(&error) => {
                store.make_room(process::wall().0 / 1000)?;
                store.add(counts, said, place)
            }
            done => done,
        }
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

fn open(data_dir: &Path) -> Result<Store, StoreError> {
    let (store, words) = Store::open(data_dir)?;
    words.into_iter().for_each(|words| say(Level::Error, format_args!("{words}")));
    Ok(store)
}

/// Who counts.
pub(super) struct Reader {
    counted: Arc<Analytics>,
    tap: Tap,
    pending: Pending,
    placed: [u64; 3],
    written: Duration,
    forgotten: Option<Duration>,
    /// Since when it cannot be written.
    failed: Option<Duration>,
    trouble: Repeat,
}

impl Reader {
    /// Opens it. Where it was before, or at the first line that the journal has; what is wrong is told, and nothing waits for it.
    pub fn open(data_dir: &Path, journal: &Arc<Shared>) -> Reader {
        let store = open(data_dir);
        let place = store.as_ref().map_or(Ok(None), Store::place);
        let end = journal.end();
        let end = [end.segment, end.offset, 0];
        let place = match (&store, place) {
            // After a power cut the journal may have less than was counted of it: that is told again, and counted twice.
            (Ok(_), Ok(place)) => place.map(|place| if place[..2] > end[..2] { end } else { place }),
            _ => Some(end),
        };
        let tap = Tap::open(journal, READER, place);
        let mut pending = Pending::default();
        pending.know(store.as_ref().map_or_else(|_| Vec::new(), |store| store.counted().unwrap_or_default()));
        if let Err(error) = &store {
            let at = data_dir.display();
            say(
                Level::Error,
                format_args!("{at}: what becomes of mail is not counted: analytics.db: {error}"),
            );
        }
        Reader {
            counted: Arc::new(Analytics::new(data_dir, store.ok())),
            placed: tap.place(),
            tap,
            pending,
            written: Duration::ZERO,
            forgotten: None,
            failed: None,
            trouble: Repeat::default(),
        }
    }

    /// For whoever asks.
    pub fn counted(&self) -> Arc<Analytics> {
        self.counted.clone()
    }

    /// Starts its thread.
    pub fn start(mut self) -> std::io::Result<Worker> {
        Worker::start("relevo-analytics", move |turn| {
            process::stand_back();
            self.run(turn);
        })
    }

    fn run(&mut self, turn: &Turn) {
        let clock = turn.clock();
        self.counted.take_over();
        loop {
            let over = turn.is_over();
            let more = self.round(clock(), over);
            if over && (!more || turn.is_late()) {
                self.counted.close();
                return;
            }
            if !more {
                turn.pause(limits::ANALYTICS_ROUND);
            }
        }
    }

    /// Reads what there is, and writes what was counted when it is time. True: there is more to read now.
    fn round(&mut self, now: Duration, last: bool) -> bool {
        let (mut bytes, mut more) = (0, true);
        while bytes < limits::ANALYTICS_READ && !self.pending.is_full() {
            match self.tap.next() {
                Ok(Some(piece)) => {
                    bytes += piece.lines().len();
                    self.pending.read(piece.lines());
                }
                Ok(None) => {
                    more = false;
                    break;
                }
                Err(error) => {
                    self.complain(now, &format!("the journal cannot be read: {error}"));
                    return false;
                }
            }
        }
        let is_due = last || self.pending.is_full() || now >= self.written + limits::ANALYTICS_WRITTEN;
        if is_due && self.tap.place() != self.placed {
            self.write(now);
            more &= self.failed.is_none();
        }
        more
    }

    fn write(&mut self, now: Duration) {
        self.written = now;
        let place = self.tap.place();
        match self.try_write(place, now) {
            Ok(()) => {
                self.tap.saved(place);
                self.placed = place;
                self.pending.clear();
                self.failed = None;
                if let Some(lasted) = self.trouble.ended(now) {
                    let seconds = lasted.as_secs();
                    say(
                        Level::Info,
                        format_args!("what becomes of mail is counted again, after {seconds} s"),
                    );
                }
            }
            Err(why) => {
                let since = *self.failed.get_or_insert(now);
                let mut lost = String::new();
                if now >= since + limits::ANALYTICS_UNWRITTEN {
                    // The journal is not kept for this.
                    lost = format!("; {} recipients are not in it", self.pending.recipients());
                    self.pending.clear();
                    self.tap.saved(place);
                    self.placed = place;
                }
                self.complain(now, &format!("{why}{lost}"));
            }
        }
    }

    fn try_write(&mut self, place: [u64; 3], now: Duration) -> Result<(), String> {
        // What the spool leaves free is not for this.
        let data_dir = &self.counted.data_dir;
        let spare = files::spare_of(files::size_bytes(data_dir));
        if files::free_bytes(data_dir).is_some_and(|(free, _)| free <= spare) {
            return Err("the disk is nearly full".to_owned());
        }
        let written =
            self.counted.write(&self.pending.counts(), (self.pending.texts(), &self.pending.news()), place);
        written.map_err(|error| error.to_string())?;
        if self.forgotten.is_none_or(|at| now >= at + limits::ANALYTICS_FORGOTTEN) {
            self.forgotten = Some(now);
            if let Some(store) = &mut *self.counted.store() {
                // Tried again in an hour: it only takes room.
                let _ = store.forget(process::wall().0 / 1000);
            }
        }
        Ok(())
    }

    fn complain(&mut self, now: Duration, why: &str) {
        if self.trouble.lasts(now) {
            let file = self.counted.data_dir.join(crate::spool::layout::ANALYTICS);
            say(
                Level::Error,
                format_args!(
                    "{}: {why}: what becomes of mail is not counted; mail is untouched",
                    file.display()
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests;
