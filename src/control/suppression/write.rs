//! A new file of the list: what is in the old one and what changed since, merged, beside the old one, which it then replaces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::book::{Book, ListFile};
use super::runs::{Run, Runs};
use super::trouble::Trouble;
use super::{FILE, NEW};
use crate::limits;
use crate::policy::suppression::canonical::Kind;
use crate::policy::suppression::entry::Place;
use crate::policy::suppression::fingerprint::Key;
use crate::policy::suppression::layout::Head;
use crate::policy::suppression::merge::{Counts, InMemory, Merge, Record, Records};
use crate::policy::suppression::sorted::Starts;
use crate::runtime::files;
use crate::time::UnixMillis;

/// What is done next, for whoever wants to be asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The file is made, without the name that counts.
    Make,
    /// A piece of it is written.
    Write,
    /// Its head is.
    Head,
    /// It is synced.
    Sync,
    /// It gets the name.
    Rename,
    /// The name is synced.
    SyncName,
}

/// Asked before each step; an error ends it there.
pub type Ask<'a> = &'a dyn Fn(Step) -> io::Result<()>;

/// What a new file is made of. It may be made on any thread.
#[derive(Debug)]
pub struct Job {
    pub(super) directory: PathBuf,
    pub(super) key: Key,
    pub(super) old: Option<Arc<ListFile>>,
    /// What changed since, in order.
    pub(super) rows: Vec<Record>,
    /// The last change of these.
    pub(super) change: u64,
    /// What is offered, later than these.
    pub(super) runs: Option<Runs>,
    pub(super) now: UnixMillis,
}

/// A new file is in the place of the old one.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Its head.
    pub head: Head,
    /// What became of what was offered.
    pub counts: Counts,
}

impl Job {
    /// One of an old file and what is imported, without a keeper: for tools.
    pub fn of_import(
        directory: &Path,
        key: Key,
        old: Option<Arc<ListFile>>,
        runs: Runs,
        now: UnixMillis,
    ) -> Job {
        let (directory, change) = (directory.to_owned(), old.as_ref().map_or(0, |old| old.head().change));
        Job { directory, key, old, rows: Vec::new(), change, runs: Some(runs), now }
    }

    /// Makes the file. On an error the old one is in its place, or the new one: both are whole.
    pub fn run(self) -> Result<Made, Trouble> {
        let new = self.directory.join(NEW);
        let made = self.run_asking(&|_| Ok(()));
        if made.is_err() {
            // It may be gigabytes, on a disk that is full.
            let _ = std::fs::remove_file(new);
        }
        made
    }

    pub(super) fn run_asking(mut self, ask: Ask<'_>) -> Result<Made, Trouble> {
        let most = self.most();
        let mut sources = Vec::new();
        if let Some(old) = &self.old {
            sources.push(Source::Book(old.from(Place::default())?));
        }
        sources.push(Source::Rows(InMemory(self.rows.into())));
        if let Some(runs) = &mut self.runs {
            sources.extend(runs.streams()?.into_iter().map(Source::Run));
        }
        ask(Step::Make)?;
        let (new, named) = (self.directory.join(NEW), self.directory.join(FILE));
        let file = files::make_file(&new)?;
        let mut head = Head::plan(self.key, most);
        (head.change, head.made) = (self.change, self.now);
        let mut writer = Writer::new(&file, head, ask);
        let mut merge = Merge::new(sources, self.now)?;
        let mut record = Record::default();
        while merge.next(&mut record)? {
            writer.push(&record)?;
        }
        let head = writer.finish()?;
        ask(Step::Sync)?;
        file.sync_all()?;
        ask(Step::Rename)?;
        std::fs::rename(&new, &named)?;
        ask(Step::SyncName)?;
        File::open(&self.directory)?.sync_all()?;
        Ok(Made { head, counts: merge.counts() })
    }

    /// So many addresses, and so many domains, come out at most.
    fn most(&self) -> [u64; 2] {
        let mut most = self.old.as_ref().map_or([0; 2], |old| old.head().parts.map(|part| part.count));
        for row in &self.rows {
            most[usize::from(row.place.of_domains)] += 1;
        }
        // What is left over of that has no bytes on disk.
        let offered = self.runs.as_ref().map_or([0; 2], Runs::parts);
        [most[0] + offered[0], most[1] + offered[1]]
    }
}

/// What is merged.
pub(super) enum Source {
    Book(Book),
    Rows(InMemory),
    Run(Run),
}

impl Records for Source {
    type Error = Trouble;

    fn next(&mut self, record: &mut Record) -> Result<bool, Trouble> {
        match self {
            Source::Book(book) => book.next(record),
            Source::Rows(rows) => rows.next(record).map_err(|never| match never {}),
            Source::Run(run) => run.next(record),
        }
    }
}

/// A part of the file that is written from its front to its end.
struct Region {
    at: u64,
    buffer: Vec<u8>,
    sum: u32,
}

impl Region {
    fn new(at: u64) -> Region {
        Region { at, buffer: Vec::new(), sum: 0 }
    }

    /// Where the next byte goes.
    fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    fn put(&mut self, file: &File, bytes: &[u8], ask: Ask<'_>) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < limits::SUPPRESSION_CHUNK { Ok(()) } else { self.flush(file, ask) }
    }

    fn flush(&mut self, file: &File, ask: Ask<'_>) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        ask(Step::Write)?;
        self.sum = crc32c::crc32c_append(self.sum, &self.buffer);
        file.write_all_at(&self.buffer, self.at)?;
        self.at = self.position();
        self.buffer.clear();
        Ok(())
    }
}

/// Writes entries that come in order.
struct Writer<'a> {
    file: &'a File,
    ask: Ask<'a>,
    head: Head,
    count: [u64; 2],
    starts: [Option<Starts>; 2],
    index: [Region; 2],
    values: [Region; 2],
    blocks: [Region; 2],
    book: Region,
    /// The block that is being filled, and how many entries it has.
    block: Vec<u8>,
    filled: usize,
    scratch: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(file: &'a File, head: Head, ask: Ask<'a>) -> Writer<'a> {
        let parts = &head.parts;
        Writer {
            file,
            ask,
            count: [0; 2],
            starts: [0, 1].map(|part: usize| Some(Starts::new(parts[part].bits))),
            index: [0, 1].map(|part: usize| Region::new(parts[part].index_at)),
            values: [0, 1].map(|part: usize| Region::new(parts[part].values_at)),
            blocks: [0, 1].map(|part: usize| Region::new(parts[part].blocks_at)),
            book: Region::new(head.book_at),
            block: Vec::new(),
            filled: 0,
            scratch: Vec::new(),
            head,
        }
    }

    fn push(&mut self, record: &Record) -> Result<(), Trouble> {
        let Some(entry) = record.entry() else { return Ok(()) };
        if self.count[0] + self.count[1] >= limits::SUPPRESSION_ENTRIES_MAX {
            return Err(Trouble::Full);
        }
        let (kind, part) = (entry.kind(), usize::from(record.place.of_domains));
        self.head.kinds[kind as usize + if entry.tenant.is_some() { Kind::ALL.len() } else { 0 }] += 1;
        if let Some(at) = entry.expires
            && (self.head.ends.0 == 0 || at < self.head.ends)
        {
            self.head.ends = at;
        }
        let number = self.count[part];
        if number.is_multiple_of(limits::SUPPRESSION_BLOCK as u64) {
            // Domains begin with a block of their own.
            self.end_block()?;
            let at = self.book.position().to_le_bytes();
            self.blocks[part].put(self.file, &at, self.ask)?;
        }
        if let Some(starts) = &mut self.starts[part] {
            self.scratch.clear();
            // No more than `SUPPRESSION_ENTRIES_MAX`.
            starts.on(record.place.fingerprint, number as u32, &mut self.scratch);
            self.index[part].put(self.file, &self.scratch, self.ask)?;
        }
        self.values[part].put(self.file, &record.place.fingerprint.to_le_bytes(), self.ask)?;
        self.block.extend_from_slice(&record.bytes);
        self.filled += 1;
        self.count[part] = number + 1;
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), Trouble> {
        if self.filled == 0 {
            return Ok(());
        }
        let mut head = (self.block.len() as u32).to_le_bytes().to_vec();
        head.extend_from_slice(&crc32c::crc32c(&self.block).to_le_bytes());
        self.book.put(self.file, &head, self.ask)?;
        self.book.put(self.file, &self.block, self.ask)?;
        self.block.clear();
        self.filled = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Head, Trouble> {
        self.end_block()?;
        for part in 0..self.count.len() {
            if let Some(starts) = self.starts[part].take() {
                self.scratch.clear();
                starts.finish(self.count[part] as u32, &mut self.scratch);
                self.index[part].put(self.file, &self.scratch, self.ask)?;
            }
            for region in [&mut self.index[part], &mut self.values[part], &mut self.blocks[part]] {
                region.flush(self.file, self.ask)?;
            }
            let of = &mut self.head.parts[part];
            of.count = self.count[part];
            (of.index_sum, of.values_sum) = (self.index[part].sum, self.values[part].sum);
            of.blocks_sum = self.blocks[part].sum;
        }
        self.book.flush(self.file, self.ask)?;
        self.head.end = self.book.at;
        (self.ask)(Step::Head)?;
        self.file.write_all_at(&self.head.page(), 0)?;
        self.file.set_len(self.head.end)?;
        Ok(self.head)
    }
}
