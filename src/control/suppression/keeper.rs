//! Whoever keeps the list: takes changes, answers what is known of an address, gives pages, and puts a new file in the place of the old one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::book::ListFile;
use super::runs::Runs;
use super::trouble::Trouble;
use super::write::{Job, Made, Source};
use super::{DIRECTORY, FILE, LOST, NEW, RUN};
use crate::control::store::{KnownFile, Store, StoreError, SuppressionRow};
use crate::limits;
use crate::policy::suppression::Suppression;
use crate::policy::suppression::base::Base;
use crate::policy::suppression::canonical::{BadEntry, Kind, canonical};
use crate::policy::suppression::entry::{self, Entry, Place};
use crate::policy::suppression::fingerprint::Key;
use crate::policy::suppression::merge::{Change, Counts, InMemory, Merge, Record};
use crate::policy::suppression::recent::{Recent, bit};
use crate::policy::suppression::shared::Shared;
use crate::runtime::files;
use crate::time::UnixMillis;
use untold::{By, Untold};

pub mod others;
mod untold;

/// Why the list does not do what was asked.
#[derive(Debug)]
pub enum KeepError {
    /// `control.db`, where changes are, does not.
    Store(StoreError),
    /// The list's file, or its directory, does not.
    File(PathBuf, Trouble),
    /// The file is gone, or is an earlier one: it had so many entries, and the last change in it was this one.
    Lost(PathBuf, u64, u64),
    /// An entry is none.
    Entry(BadEntry),
    /// An entry has a text that is too long, or not of one line.
    Text,
    /// Too many changes wait to be merged.
    Full,
    /// The file is being made anew already.
    Busy,
}

impl fmt::Display for KeepError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepError::Store(error) => {
                write!(formatter, "control.db, which has the latest changes of the suppression list: {error}")
            }
            KeepError::File(path, trouble) => {
                let at = path.display();
                write!(formatter, "the suppression list {at}: {trouble}")?;
                if let Trouble::Bad(_) = trouble {
                    write!(formatter, "; {}", way_out(path))?;
                }
                Ok(())
            }
            KeepError::Lost(path, entries, change) => write!(
                formatter,
                "the suppression list {} is gone or was replaced by an earlier one (it had {entries} entries, change {change}); {}",
                path.display(),
                way_out(path)
            ),
            KeepError::Entry(bad) => write!(formatter, "{bad}"),
            KeepError::Text => write!(
                formatter,
                "a tenant or a note is one line of printable text, of at most {} and {} bytes",
                limits::PARAMETER_MAX,
                limits::SUPPRESSION_NOTE_MAX
            ),
            KeepError::Full => write!(
                formatter,
                "{} changes of the suppression list wait to be merged into its file: is the disk full or slow?",
                limits::SUPPRESSION_CHANGES_MAX
            ),
            KeepError::Busy => formatter
                .write_str("the file of the suppression list is being made anew: try again when it is"),
        }
    }
}

fn way_out(path: &Path) -> String {
    let lost = path.with_file_name(LOST);
    format!(
        "without it mail would go to whom it must not: put a copy of it back, or make an empty file {} to start without it and import the list again \
         (`relevo suppress import`)",
        lost.display()
    )
}

impl From<StoreError> for KeepError {
    fn from(error: StoreError) -> KeepError {
        KeepError::Store(error)
    }
}

/// What became of entries that were to be added, or removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// It is as asked for now.
    pub changed: u64,
    /// It was so before, and for as long.
    pub known: u64,
}

/// A page of the list.
#[derive(Debug, Default)]
pub struct Page {
    /// Entries, in the order of the list.
    pub entries: Vec<Record>,
    /// Behind which place the next page begins. None: this is the last one.
    pub next: Option<Place>,
}

/// What is known at a place.
#[derive(Default)]
struct Known {
    /// Changes, and what the file says of names that none of them is about.
    rows: Vec<Record>,
    file: Vec<Record>,
}

impl Known {
    /// The entry of a name; None: it is not listed.
    fn entry(&self, name: (Option<&str>, &str)) -> Option<Entry<'_>> {
        let is_it = |record: &&Record| record.entry().is_some_and(|entry| entry.name() == name);
        let found = self.rows.iter().find(is_it).or_else(|| self.file.iter().find(is_it))?;
        found.entry().filter(|_| found.change != Change::Remove)
    }

    fn has_row(&self, name: (Option<&str>, &str)) -> bool {
        self.rows.iter().any(|row| row.entry().is_some_and(|entry| entry.name() == name))
    }

    /// Whether somebody else is listed by the same fingerprint.
    fn others(&self, name: (Option<&str>, &str)) -> bool {
        let names = self.rows.iter().chain(&self.file).filter_map(Record::entry).map(|entry| entry.name());
        let mut others = names.filter(|other| *other != name);
        others.any(|other| self.entry(other).is_some())
    }
}

/// The keeper.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    key: Key,
    file: Option<Arc<ListFile>>,
    /// What shards look into of it: in memory once that is read, until then the file as it is mapped.
    base: Option<Arc<Base>>,
    recent: Arc<Recent>,
    shared: Arc<Shared>,
    /// The number of the last change.
    change: u64,
    /// Changes in `control.db`.
    rows: usize,
    /// A new file is being made.
    merging: bool,
    untold: Untold,
}

impl Keeper {
    /// Opens the list of a data directory and puts it in force. Where it cannot be read nothing is in force and this fails: whoever starts a relay without its
    /// list sends mail to whom he must not, so a start is to fail too. Words: what is to be told.
    pub fn open(
        data_dir: &Path,
        store: &mut Store,
        shared: &Arc<Shared>,
        new_key: [u8; 16],
    ) -> Result<(Keeper, Option<String>), KeepError> {
        let directory = data_dir.join(DIRECTORY);
        sweep(&directory);
        let path = directory.join(FILE);
        let opened = ListFile::open(&path).map_err(|trouble| KeepError::File(path.clone(), trouble));
        let known = store.known_file()?;
        let go_on = directory.join(LOST).exists();
        let opened = match opened {
            Err(_) if go_on => {
                let _ = std::fs::rename(&path, path.with_extension("damaged"));
                None
            }
            opened => opened?.map(Arc::new),
        };
        let change = opened.as_ref().map_or(0, |file| file.head().change);
        if let Some(known) = known.filter(|known| known.change > change && !go_on) {
            return Err(KeepError::Lost(path, known.entries, known.change));
        }
        let key = match (&opened, known) {
            (Some(file), _) => file.head().key,
            (None, Some(known)) => known.key,
            (None, None) => Key(new_key),
        };
        let mut words = None;
        if known.is_none()
            && let Some(file) = &opened
        {
            words = Some(format!(
                "control.db knows nothing of the suppression list: it is as it was when its file was made ({}), later changes are lost",
                crate::mail::release::show(file.head().made)
            ));
        }
        if known.is_some_and(|known| known.key != key) {
            store.suppress_by(&key)?;
        }
        let entries = opened.as_ref().map_or(0, |file| file.head().entries());
        let now_known = KnownFile { key, change, entries };
        // A full disk keeps nobody from a start.
        if known != Some(now_known) {
            store.save_file(&now_known)?;
        }
        if go_on {
            let _ = std::fs::remove_file(directory.join(LOST));
        }
        let (recent, shared) = (Arc::default(), shared.clone());
        let base = opened.as_ref().map(|file| file.base().clone());
        let (rows, merging, untold, file) = (0, false, Untold::default(), opened);
        let mut keeper = Keeper { directory, key, file, base, recent, shared, change, rows, merging, untold };
        let senseless = keeper.load(store)?;
        if senseless > 0 {
            words = Some(format!(
                "control.db: {senseless} changes of the suppression list make no sense to this version"
            ));
        }
        keeper.put_in_force();
        Ok((keeper, words))
    }

    /// Reads the changes that are not in the file into a new table. How many make no sense.
    fn load(&mut self, store: &mut Store) -> Result<usize, KeepError> {
        let merged = self.file.as_ref().map_or(0, |file| file.head().change);
        let mut recent = Recent::new(limits::SUPPRESSION_SLOTS_MIN);
        let (mut behind, mut senseless) = (None, 0);
        self.rows = 0;
        while self.rows <= limits::SUPPRESSION_CHANGES_MAX {
            let (rows, bad) = store.suppressed(behind, limits::SUPPRESSION_BATCH_MAX, &self.key)?;
            senseless += bad;
            let Some(last) = rows.last() else { break };
            behind = Some(last.record.place);
            for row in &rows {
                self.change = self.change.max(row.number);
                if row.number <= merged {
                    continue;
                }
                self.rows += 1;
                if recent.len() == recent.room() {
                    recent = recent.larger(2 * recent.room());
                }
                let Some(entry) = row.record.entry() else { continue };
                let place = row.record.place;
                // Of a place with several names one that is not listed says nothing of the others.
                let listed = row.record.change == Change::Put
                    || recent.get(place.fingerprint) == Some(true)
                    || self.is_of_several(place);
                // There is room.
                let _ = recent.set(place.fingerprint, listed, bit(entry.kind(), entry.tenant.is_some()));
            }
        }
        self.recent = Arc::new(recent);
        Ok(senseless)
    }

    fn is_of_several(&self, place: Place) -> bool {
        self.file.as_ref().is_some_and(|file| {
            let sorted = file.base().sorted(place.of_domains);
            let first = sorted.place_of(place.fingerprint);
            sorted.at(first) == Some(place.fingerprint) && sorted.at(first + 1) == Some(place.fingerprint)
        })
    }

    fn put_in_force(&self) {
        let value = Suppression::new(self.key, self.base.clone(), self.recent.clone());
        self.shared.set(Arc::new(value));
    }

    /// What [`ListFile::load`] read, on another thread, is in force, if the file is still that one.
    pub fn loaded(&mut self, base: Arc<Base>) {
        if self.file.as_ref().is_some_and(|file| file.head() == base.head()) {
            self.base = Some(base);
            self.put_in_force();
        }
    }

    /// The file; None: there is none yet.
    pub fn file(&self) -> Option<Arc<ListFile>> {
        self.file.clone()
    }

    /// Changes that are not in the file.
    pub fn changes(&self) -> usize {
        self.rows
    }

    /// Entries in the file.
    pub fn entries(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.head().entries())
    }

    /// Where an import is sorted.
    pub fn runs(&self) -> Result<Runs, KeepError> {
        self.make_directory()?;
        Ok(Runs::new(&self.directory, self.key))
    }

    /// Whether a data directory has, or had, a list.
    pub fn is_used(data_dir: &Path) -> bool {
        data_dir.join(DIRECTORY).is_dir()
    }

    /// That it is used, before anything is listed: from then on no start goes on without it. Its name lasts before anything in it is relied upon.
    fn make_directory(&self) -> Result<(), KeepError> {
        if self.directory.is_dir() {
            return Ok(());
        }
        let above = self.directory.parent().unwrap_or(Path::new("."));
        let made = files::make_directories(&self.directory).and_then(|()| File::open(above)?.sync_all());
        made.map_err(|error| KeepError::File(self.directory.clone(), error.into()))
    }

    fn trouble(&self, trouble: Trouble) -> KeepError {
        KeepError::File(self.directory.join(FILE), trouble)
    }

    fn known(&self, store: &mut Store, place: Place) -> Result<Known, KeepError> {
        let merged = self.file.as_ref().map_or(0, |file| file.head().change);
        let rows = store.suppressed_at(place, &self.key)?;
        let rows = rows.into_iter().filter(|row| row.number > merged).map(|row| row.record).collect();
        let file = self.file.as_ref().map(|file| file.at(place)).transpose();
        let file = file.map_err(|trouble| self.trouble(trouble))?.unwrap_or_default();
        Ok(Known { rows, file })
    }

    /// Adds entries. On return they are on disk, and in force on all shards.
    pub fn add(&mut self, store: &mut Store, entries: &[Entry<'_>]) -> Result<Added, KeepError> {
        self.change(store, entries, (Change::Put, By::Here))
    }

    /// Removes entries, of which only tenant and address count. The same holds.
    pub fn remove(&mut self, store: &mut Store, entries: &[Entry<'_>]) -> Result<Added, KeepError> {
        self.change(store, entries, (Change::Remove, By::Here))
    }

    fn change(
        &mut self,
        store: &mut Store,
        entries: &[Entry<'_>],
        what: (Change, By),
    ) -> Result<Added, KeepError> {
        let mut all = Added::default();
        for entries in entries.chunks(limits::SUPPRESSION_BATCH_MAX) {
            let Added { changed, known } = self.change_some(store, entries, what)?;
            all = Added { changed: all.changed + changed, known: all.known + known };
        }
        Ok(all)
    }

    fn change_some(
        &mut self,
        store: &mut Store,
        entries: &[Entry<'_>],
        (change, by): (Change, By),
    ) -> Result<Added, KeepError> {
        // By place and name: what a batch says twice is written once.
        let mut wanted: BTreeMap<(Place, Option<String>, String), (Record, bool)> = BTreeMap::new();
        let (mut done, mut new) = (Added::default(), 0);
        for entry in entries {
            let address = canonical(entry.address).map_err(KeepError::Entry)?;
            let entry = Entry { address: &address, ..*entry };
            if !entry.is_sound() {
                return Err(KeepError::Text);
            }
            let place = entry.place(&self.key).ok_or(KeepError::Entry(BadEntry::Syntax))?;
            let known = self.known(store, place)?;
            let name = (place, entry.tenant.map(str::to_owned), address.clone());
            let is_put = change != Change::Remove;
            let before = wanted.get(&name).map(|(record, _)| record.entry().filter(|_| is_put));
            let before = before.unwrap_or_else(|| known.entry(entry.name()));
            let is_so = match change {
                Change::Remove => before.is_none(),
                _ if by == By::OthersAnew => before.is_some_and(|before| before.expires == entry.expires),
                _ => before.is_some_and(|before| !entry.lasts_longer(&before)),
            };
            if is_so {
                done.known += 1;
                continue;
            }
            done.changed += 1;
            // Somebody else that the same fingerprint stands for stays listed.
            let listed = is_put || known.others(entry.name());
            new += usize::from(!known.has_row(entry.name()));
            wanted.insert(name, (Record::new(place, change, &entry), listed));
        }
        if self.rows + new > limits::SUPPRESSION_CHANGES_MAX {
            return Err(KeepError::Full);
        }
        let mut number = self.change;
        let mut next = || {
            number += 1;
            number
        };
        let rows =
            wanted.values().map(|(record, _)| SuppressionRow { record: record.clone(), number: next() });
        let rows: Vec<SuppressionRow> = rows.collect();
        if rows.is_empty() {
            return Ok(done);
        }
        self.make_directory()?;
        // On disk, then seen.
        let tell = by == By::Here && self.untold.has_room(rows.len());
        store.suppress(&rows, tell)?;
        if tell {
            self.untold.add(rows.len());
        }
        self.change = number;
        self.rows += new;
        self.show(wanted.values());
        Ok(done)
    }

    /// Puts changes into the table that shards see; a larger one where that is full.
    fn show<'a>(&mut self, changes: impl ExactSizeIterator<Item = &'a (Record, bool)>) {
        if self.recent.len() + changes.len() > self.recent.room() {
            let room = 2 * (self.recent.len() + changes.len());
            self.recent = Arc::new(self.recent.larger(room));
            self.put_in_force();
        }
        for (record, listed) in changes {
            let Some(entry) = record.entry() else { continue };
            let kind = bit(entry.kind(), entry.tenant.is_some());
            // There is room.
            let _ = self.recent.set(record.place.fingerprint, *listed, kind);
        }
    }

    /// Entries that hold back mail to an address, or that are about this domain: of the node, and of these tenants.
    pub fn check(
        &self,
        store: &mut Store,
        address: &str,
        tenants: &[&str],
    ) -> Result<Vec<Record>, KeepError> {
        let address = canonical(address).map_err(KeepError::Entry)?;
        let mut names = vec![address.clone()];
        if Kind::of(&address) == Kind::Address
            && let Some((_, domain)) = address.rsplit_once('@')
        {
            names.push(format!("@{domain}"));
            names.extend(domain.match_indices('.').map(|(dot, _)| format!("*{}", &domain[dot..])));
        }
        let mut found = Vec::new();
        let scopes = std::iter::once(None).chain(tenants.iter().copied().map(Some));
        for scope in scopes.take(limits::TENANTS_MAX + 1) {
            for name in &names {
                let Some(place) = entry::place(&self.key, scope, name) else { continue };
                let known = self.known(store, place)?;
                found.extend(known.entry((scope, name)).map(|entry| Record::new(place, Change::Put, &entry)));
            }
        }
        Ok(found)
    }

    /// Entries behind a place, in the order of the list (which is that of nothing else), at most so many; of these, such that are wanted. Each page is
    /// of one moment, the list as a whole is not: what changes meanwhile is in it or not.
    pub fn page(
        &self,
        store: &mut Store,
        behind: Option<Place>,
        most: usize,
        wants: &dyn Fn(&Entry<'_>) -> bool,
    ) -> Result<Page, KeepError> {
        let most = most.clamp(1, limits::SUPPRESSION_PAGE_MAX);
        let merged = self.file.as_ref().map_or(0, |file| file.head().change);
        let (rows, _) = store.suppressed(behind, limits::SUPPRESSION_BATCH_MAX, &self.key)?;
        // Behind the last of these nothing is known of changes.
        let known_to = rows.get(limits::SUPPRESSION_BATCH_MAX - 1).map(|row| row.record.place);
        let rows = rows.into_iter().filter(|row| row.number > merged).map(|row| row.record);
        let mut sources = Vec::new();
        if let Some(file) = &self.file {
            let book = file.from(behind.unwrap_or_default()).map_err(|trouble| self.trouble(trouble))?;
            sources.push(Source::Book(book));
        }
        sources.push(Source::Rows(InMemory(rows.collect())));
        // What is over is told as long as it holds mail back.
        let mut merge = Merge::new(sources, UnixMillis(0)).map_err(|trouble| self.trouble(trouble))?;
        let (mut page, mut record, mut last) = (Page::default(), Record::default(), None);
        for looked in 0.. {
            let more = merge.next(&mut record).map_err(|trouble| self.trouble(trouble))?;
            if !more {
                page.next = known_to;
                return Ok(page);
            }
            if behind.is_some_and(|behind| record.place <= behind) {
                continue;
            }
            if known_to.is_some_and(|to| record.place > to) {
                page.next = known_to;
                return Ok(page);
            }
            // Those that meet at a place are on one page.
            let full = page.entries.len() >= most || looked >= limits::SUPPRESSION_LOOKED_MAX;
            if full && last != Some(record.place) {
                page.next = last;
                return Ok(page);
            }
            last = Some(record.place);
            if record.entry().is_some_and(|entry| wants(&entry)) {
                page.entries.push(record.clone());
            }
        }
        Ok(page)
    }

    /// Whether it is time to make the file anew.
    pub fn wants_file(&self, now: UnixMillis) -> bool {
        let ends = self.file.as_ref().map_or(0, |file| file.head().ends.0);
        let late = ends > 0 && UnixMillis(ends).after(limits::SUPPRESSION_EXPIRED_KEPT) <= now;
        !self.merging && (self.rows >= limits::SUPPRESSION_MERGE_AT || late)
    }

    /// What a new file is made of: the old one, what changed since, and what is imported. Run it on a thread that may block, and give what it
    /// came to to [`Keeper::finish`].
    pub fn begin(
        &mut self,
        store: &mut Store,
        runs: Option<Runs>,
        now: UnixMillis,
    ) -> Result<Job, KeepError> {
        if self.merging {
            return Err(KeepError::Busy);
        }
        let merged = self.file.as_ref().map_or(0, |file| file.head().change);
        let (mut rows, mut behind) = (Vec::new(), None);
        while rows.len() <= limits::SUPPRESSION_CHANGES_MAX {
            let (some, _) = store.suppressed(behind, limits::SUPPRESSION_BATCH_MAX, &self.key)?;
            let Some(last) = some.last() else { break };
            behind = Some(last.record.place);
            rows.extend(some.into_iter().filter(|row| row.number > merged).map(|row| row.record));
        }
        let of_rows: u64 = rows.iter().map(|row| 2 * row.bytes.len() as u64).sum();
        let old = self.file.as_ref().map_or(0, |file| file.head().end);
        let wanted = old + of_rows + runs.as_ref().map_or(0, |runs| 2 * runs.size());
        if let Some((free, _)) = files::free_bytes(&self.directory).filter(|(free, _)| *free < wanted) {
            return Err(self.trouble(Trouble::NoRoom(free, wanted)));
        }
        self.make_directory()?;
        self.merging = true;
        let (directory, old) = (self.directory.clone(), self.file.clone());
        Ok(Job { directory, key: self.key, old, rows, change: self.change, runs, now })
    }

    /// What a [`Job`] came to: the new file is in force, and what is in it is forgotten elsewhere.
    pub fn finish(&mut self, store: &mut Store, made: Result<Made, Trouble>) -> Result<Counts, KeepError> {
        self.merging = false;
        let made = made.map_err(|trouble| self.trouble(trouble))?;
        let path = self.directory.join(FILE);
        let file = ListFile::open(&path).map_err(|trouble| self.trouble(trouble))?;
        let file = file.ok_or_else(|| KeepError::Lost(path, made.head.entries(), made.head.change))?;
        let (change, entries) = (file.head().change, file.head().entries());
        self.base = Some(file.base().clone());
        self.file = Some(Arc::new(file));
        // Where this fails they are known by their numbers, and forgotten with the next file.
        let saved = store.save_file(&KnownFile { key: self.key, change, entries });
        self.load(store)?;
        self.put_in_force();
        saved?;
        Ok(made.counts)
    }
}

/// Throws away what a process that was killed was about to make.
fn sweep(directory: &Path) {
    for name in files::list(directory).unwrap_or_default() {
        if name == NEW || name.starts_with(RUN) {
            let _ = std::fs::remove_file(directory.join(name));
        }
    }
}
