//! What is imported, sorted: in memory as far as that goes, then as files, which are merged with the list at once.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::RUN;
use super::trouble::Trouble;
use crate::limits;
use crate::policy::suppression::entry::{Entry, Place};
use crate::policy::suppression::fingerprint::Key;
use crate::policy::suppression::layout::BadFile;
use crate::policy::suppression::merge::{Change, Record, Records};
use crate::runtime::files;

/// Entries that are offered to the list, in sorted parts. The files go with it.
#[derive(Debug)]
pub struct Runs {
    directory: PathBuf,
    key: Key,
    bytes: Vec<u8>,
    /// Place, and where in the bytes.
    order: Vec<(Place, u32, u32)>,
    files: Vec<PathBuf>,
    /// Addresses, and domains.
    offered: [u64; 2],
}

impl Runs {
    /// None yet. Files are made in this directory.
    pub fn new(directory: &Path, key: Key) -> Runs {
        let (bytes, order, files) = (Vec::new(), Vec::new(), Vec::new());
        Runs { directory: directory.to_owned(), key, bytes, order, files, offered: [0; 2] }
    }

    /// Entries that were offered.
    pub fn offered(&self) -> u64 {
        self.offered.iter().sum()
    }

    /// Of these, about addresses and about domains.
    pub(super) fn parts(&self) -> [u64; 2] {
        self.offered
    }

    /// Takes one, whose address is canonical.
    pub fn offer(&mut self, entry: &Entry<'_>) -> Result<(), Trouble> {
        let place = entry.place(&self.key).filter(|_| entry.is_sound());
        let Some(place) = place else { return Ok(()) };
        let from = self.bytes.len();
        entry.write(&mut self.bytes);
        self.order.push((place, from as u32, self.bytes.len() as u32));
        self.offered[usize::from(place.of_domains)] += 1;
        if self.order.len() >= limits::SUPPRESSION_RUN_ENTRIES
            || self.bytes.len() >= limits::SUPPRESSION_RUN_BYTES
        {
            self.spill()?;
        }
        Ok(())
    }

    /// Writes what is in memory. No sync: a start throws these away.
    fn spill(&mut self) -> Result<(), Trouble> {
        if self.order.is_empty() {
            return Ok(());
        }
        if self.files.len() >= limits::SUPPRESSION_RUNS_MAX {
            return Err(Trouble::Full);
        }
        let bytes = |from: u32, to: u32| &self.bytes[from as usize..to as usize];
        let name = |from, to| Entry::read(bytes(from, to)).map(|(entry, _)| entry.name());
        // Of two about one entry the first stays the first.
        self.order.sort_by(|one, other| {
            one.0.cmp(&other.0).then_with(|| name(one.1, one.2).cmp(&name(other.1, other.2)))
        });
        let path = self.directory.join(format!("{RUN}{}", self.files.len()));
        self.files.push(path.clone());
        let mut out = BufWriter::with_capacity(limits::SUPPRESSION_CHUNK, files::make_file(&path)?);
        for (_, from, to) in &self.order {
            out.write_all(bytes(*from, *to))?;
        }
        out.flush()?;
        self.order.clear();
        self.bytes.clear();
        Ok(())
    }

    /// All of them as streams, in the order in which they came.
    pub(super) fn streams(&mut self) -> Result<Vec<Run>, Trouble> {
        self.spill()?;
        (self.bytes, self.order) = (Vec::new(), Vec::new());
        let open = |path: &PathBuf| {
            let file = BufReader::with_capacity(limits::SUPPRESSION_RUN_CHUNK, File::open(path)?);
            Ok(Run { file, key: self.key })
        };
        self.files.iter().map(open).collect()
    }

    /// Bytes of them.
    pub(super) fn size(&self) -> u64 {
        let of = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
        self.files.iter().map(of).sum::<u64>() + self.bytes.len() as u64
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        // What stays is thrown away at the next start.
        self.files.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

/// One sorted part.
pub(super) struct Run {
    file: BufReader<File>,
    key: Key,
}

impl Records for Run {
    type Error = Trouble;

    fn next(&mut self, record: &mut Record) -> Result<bool, Trouble> {
        let mut length = [0; 2];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        record.bytes.clear();
        record.bytes.extend_from_slice(&length);
        record.bytes.resize(2 + usize::from(u16::from_le_bytes(length)), 0);
        self.file.read_exact(&mut record.bytes[2..])?;
        let damaged = BadFile::Damaged("a sorted part of an import");
        let place = record.entry().and_then(|entry| entry.place(&self.key)).ok_or(damaged)?;
        (record.place, record.change) = (place, Change::Offer);
        Ok(true)
    }
}
