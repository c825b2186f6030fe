//! The file that keeps decisions over a restart: `control.db` in the data directory, SQLite, every write synced. Suspensions are in it, and the
//! windows that sites were found to take.
//!
//! It is of use and never needed: where it is damaged it is put aside, where it cannot be written what was decided is kept in memory, and mail
//! goes on. All of it blocks, so that only a thread of its own may call it.

mod bounces;
mod error;
mod quota;
mod rows;
mod schema;
mod suppression;
mod answered;
mod templates;
mod warmup;
mod window;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::policy::quota::{Owner, Spent};
use crate::policy::suppression::entry::Place;
use crate::policy::suppression::fingerprint::Key;
use crate::queue::suspension::Suspension;
use crate::shaping::warmup::{Day, Names, WarmDay};
use crate::shard::quota::ledger::QuotaRows;
use crate::templates::{Contents, Partials};
use crate::time::UnixMillis;

pub use answered::{KeyedRequest, KnownAnswer};
pub use bounces::{BounceCount, EventPlace};
pub use error::StoreError;
pub use schema::FILE;
pub use suppression::{KnownFile, SuppressionRow, UntoldChange};
pub use templates::{NewTemplate, NotSaved, TemplateRow, VersionRow};
pub use window::Window;

/// The file.
pub struct Store {
    path: PathBuf,
    connection: Option<Connection>,
}

impl Store {
    /// Opens it, or makes it. What is wrong with it is told in words; a damaged one is put aside, and an empty one takes its place.
    pub fn open(data_dir: &Path) -> (Store, Option<String>) {
        let path = data_dir.join(FILE);
        let at = path.display().to_string();
        let opened = schema::open(&path);
        let opened = match opened {
            Err(StoreError::Damaged(what)) => {
                let aside = put_aside(&path).and_then(|aside| Ok((schema::open(&path)?, aside)));
                let words = match &aside {
                    Ok((_, aside)) => format!(
                        "{at} was damaged ({what}) and is now {}: suspensions and windows of before are forgotten",
                        aside.display()
                    ),
                    Err(error) => {
                        format!("{at} is damaged ({what}) and cannot be put aside: {error}{IN_MEMORY}")
                    }
                };
                return (
                    Store { path, connection: aside.ok().map(|(connection, _)| connection) },
                    Some(words),
                );
            }
            opened => opened,
        };
        let words = opened.as_ref().err().map(|error| format!("{at}: {error}{IN_MEMORY}"));
        (Store { path, connection: opened.ok() }, words)
    }

    /// Opens it if it could not be opened before: whoever had it locked may have let go.
    pub fn open_again(&mut self) -> Result<(), StoreError> {
        if self.connection.is_none() {
            self.connection = Some(schema::open(&self.path)?);
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        self.connection.as_mut().ok_or(StoreError::Closed)
    }

    /// All suspensions that it has, and how many of its rows make no sense.
    pub fn suspensions(&mut self) -> Result<(Vec<Suspension>, usize), StoreError> {
        rows::suspensions(self.connection()?)
    }

    /// These are as they are now, and those of these numbers are no more: all of it, or nothing.
    pub fn write<'a>(
        &mut self,
        put: impl Iterator<Item = &'a Suspension>,
        gone: impl Iterator<Item = u64>,
    ) -> Result<(), StoreError> {
        rows::write(self.connection()?, put, gone)
    }

    /// What is kept of the latest days of a source in warm-up at a provider.
    pub fn warm_days(&mut self, names: (&str, &str)) -> Result<Vec<Day>, StoreError> {
        warmup::of(self.connection()?, names)
    }

    /// Sources and providers that it has days of, the latest [`WARMUPS_KNOWN`](crate::limits::WARMUPS_KNOWN).
    pub fn warm_names(&mut self) -> Result<Vec<Names>, StoreError> {
        warmup::names(self.connection()?)
    }

    /// Forgets days of warm-up of long ago, where there are too many.
    pub fn forget_warm_days(&mut self) -> Result<(), StoreError> {
        warmup::forget(self.connection()?)
    }

    /// These days are as they are now: all of them, or nothing.
    pub fn save_warm_days(&mut self, days: &[WarmDay]) -> Result<(), StoreError> {
        warmup::save(self.connection()?, days)
    }

    /// What one used of its quotas.
    pub fn quota(&mut self, owner: Owner, name: &str) -> Result<Vec<Spent>, StoreError> {
        quota::of(self.connection()?, owner, name)
    }

    /// This is what these used, and nothing else: all of it, or nothing.
    pub fn save_quotas(&mut self, all: &[QuotaRows]) -> Result<(), StoreError> {
        quota::save(self.connection()?, all)
    }

    /// Forgets what was used of quotas long ago, where there is too much.
    pub fn forget_quotas(&mut self) -> Result<(), StoreError> {
        quota::forget(self.connection()?)
    }

    /// The windows that it has, the latest [`WINDOWS_KEPT`](crate::limits::WINDOWS_KEPT).
    pub fn windows(&mut self) -> Result<Vec<Window>, StoreError> {
        rows::windows(self.connection()?)
    }

    /// These are as they are now; others stay as they were, unless there are too many of them. One that is too long is left out.
    pub fn save_windows(&mut self, windows: &[Window]) -> Result<(), StoreError> {
        rows::save_windows(self.connection()?, windows)
    }

    /// What is known of the suppression list's file.
    pub fn known_file(&mut self) -> Result<Option<KnownFile>, StoreError> {
        suppression::known(self.connection()?)
    }

    /// This is the list's file now, in which all changes up to its number are: they are forgotten here.
    pub fn save_file(&mut self, file: &KnownFile) -> Result<(), StoreError> {
        suppression::save_known(self.connection()?, file)
    }

    /// Changes of the suppression list behind a place, in order, so many at most. None: from the first on.
    pub fn suppressed(
        &mut self,
        behind: Option<Place>,
        most: usize,
        key: &Key,
    ) -> Result<(Vec<SuppressionRow>, usize), StoreError> {
        suppression::rows(self.connection()?, behind, most, key)
    }

    /// Those at a place.
    pub fn suppressed_at(&mut self, place: Place, key: &Key) -> Result<Vec<SuppressionRow>, StoreError> {
        suppression::at(self.connection()?, place, key)
    }

    /// Writes such changes: all of them, or none. `tell`: they are kept for other nodes, too.
    pub fn suppress(&mut self, rows: &[SuppressionRow], tell: bool) -> Result<(), StoreError> {
        suppression::save(self.connection()?, rows, tell)
    }

    /// Changes of the suppression list that other nodes are not told of yet, the first so many of them.
    pub fn untold(&mut self, most: usize) -> Result<Vec<UntoldChange>, StoreError> {
        suppression::untold(self.connection()?, most)
    }

    /// How many these are.
    pub fn count_untold(&mut self) -> Result<usize, StoreError> {
        suppression::count_untold(self.connection()?)
    }

    /// They are told of all up to this one.
    pub fn told(&mut self, to: u64) -> Result<(), StoreError> {
        suppression::told(self.connection()?, to)
    }

    /// How far what other nodes tell of the suppression list was heard. None: nothing was.
    pub fn heard(&mut self) -> Result<Option<String>, StoreError> {
        suppression::heard(self.connection()?)
    }

    /// It was heard up to here.
    pub fn save_heard(&mut self, place: &str) -> Result<(), StoreError> {
        suppression::save_heard(self.connection()?, place)
    }

    /// How far the reader of events is that feeds the list. None: it never read.
    pub fn event_place(&mut self) -> Result<Option<EventPlace>, StoreError> {
        bounces::place(self.connection()?)
    }

    /// How often it was said of a mailbox, by its tenant (empty: none) and its address, that it is not there. None: it is not counted.
    pub fn bounce_count(&mut self, name: (&str, &str)) -> Result<Option<BounceCount>, StoreError> {
        bounces::count(self.connection()?, name)
    }

    /// The reader has all before this place, and what it counted by then is this: all of it is so, or nothing. What is counted to 0 is forgotten.
    pub fn save_event_place(&mut self, at: EventPlace, counts: &[BounceCount]) -> Result<(), StoreError> {
        bounces::save(self.connection()?, at, counts)
    }

    /// Forgets what is counted of a mailbox. Of how many tenants that was.
    pub fn forget_bounces(&mut self, address: &str) -> Result<u64, StoreError> {
        bounces::forget(self.connection()?, address)
    }

    /// Tenants by whose mail return paths went out.
    pub fn tenants(&mut self) -> Result<Vec<String>, StoreError> {
        bounces::tenants(self.connection()?)
    }

    /// These are such, too.
    pub fn save_tenants(&mut self, names: &[&str]) -> Result<(), StoreError> {
        bounces::save_tenants(self.connection()?, names)
    }

    /// A page of templates, behind this number. None: of all tenants.
    pub fn templates(
        &mut self,
        tenant: Option<&str>,
        behind: u64,
        most: usize,
    ) -> Result<Vec<TemplateRow>, StoreError> {
        templates::list(self.connection()?, tenant, behind, most)
    }

    /// A template by its uuid or its name. None: there is none such of that tenant.
    pub fn template(&mut self, tenant: Option<&str>, which: &str) -> Result<Option<TemplateRow>, StoreError> {
        templates::find(self.connection()?, tenant, which)
    }

    /// A template by its number.
    pub fn template_numbered(
        &mut self,
        tenant: Option<&str>,
        number: u64,
    ) -> Result<Option<TemplateRow>, StoreError> {
        templates::numbered(self.connection()?, tenant, number)
    }

    /// What a version of it says. None: it is not kept.
    pub fn template_contents(&mut self, number: u64, version: u64) -> Result<Option<Contents>, StoreError> {
        templates::contents(self.connection()?, number, version)
    }

    /// Its versions, the newest first.
    pub fn template_versions(&mut self, number: u64) -> Result<Vec<VersionRow>, StoreError> {
        templates::versions(self.connection()?, number)
    }

    /// All partials of a tenant.
    pub fn partials(&mut self, tenant: &str) -> Result<Partials, StoreError> {
        templates::partials(self.connection()?, tenant)
    }

    /// Saves a template, or a version of one: all of it, or nothing.
    pub fn save_template(&mut self, new: &NewTemplate) -> Result<TemplateRow, NotSaved> {
        templates::save(self.connection().map_err(NotSaved::Store)?, new)
    }

    /// Removes one with all its versions. Whether it was there.
    pub fn remove_template(&mut self, number: u64) -> Result<bool, StoreError> {
        templates::remove(self.connection()?, number)
    }

    /// What is known of a request with a key, which is begun where nothing is.
    pub fn begin_request(
        &mut self,
        request: &KeyedRequest,
        now: UnixMillis,
    ) -> Result<KnownAnswer, StoreError> {
        answered::begin(self.connection()?, request, now)
    }

    /// It was answered; None: nothing came of it.
    pub fn end_request(
        &mut self,
        whose: (&str, &str),
        answer: Option<(u16, &[u8])>,
    ) -> Result<(), StoreError> {
        answered::end(self.connection()?, whose, answer)
    }

    /// Puts all changes where they stand by another key.
    pub fn suppress_by(&mut self, key: &Key) -> Result<(), StoreError> {
        suppression::rekey(self.connection()?, key)
    }
}

const IN_MEMORY: &str = "; it is tried again every half minute: until then nothing that was suspended before is held back, what is decided now lasts until \
    the next start, and sites are learned anew (windows)";

/// The damaged file and what SQLite has beside it get other names, in place of what was put aside before.
fn put_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let with = |more: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(more);
        PathBuf::from(name)
    };
    let aside = with(schema::ASIDE);
    fs::rename(path, &aside).map_err(StoreError::Io)?;
    for beside in schema::BESIDE {
        match fs::remove_file(with(beside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::Io(error)),
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests;
