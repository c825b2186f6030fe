//! The list's file, opened: what shards look into is mapped, the book behind it is read in blocks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::trouble::Trouble;
use crate::limits;
use crate::policy::suppression::base::Base;
use crate::policy::suppression::entry::{Entry, Place};
use crate::policy::suppression::layout::{BadFile, Head};
use crate::policy::suppression::merge::{Change, Record, Records};
use crate::runtime::file_map::{FileMap, LargePages};

const BOOK: Trouble = Trouble::Bad(BadFile::Damaged("its book"));

/// The file.
#[derive(Debug)]
pub struct ListFile {
    file: File,
    base: Arc<Base>,
}

impl ListFile {
    /// Opens it. None: there is none. Only its head and its indexes are read.
    pub fn open(path: &Path) -> Result<Option<ListFile>, Trouble> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(Trouble::Bad(BadFile::Foreign));
        }
        let mut page =
            vec![0; limits::SUPPRESSION_HEAD.min(usize::try_from(meta.len()).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut page, 0)?;
        let head = Head::read(&page, meta.len())?;
        let map = FileMap::new(&file, head.mapped() as usize)?;
        let base = Arc::new(Base::new(head, Box::new(map))?);
        Ok(Some(ListFile { file, base }))
    }

    /// What shards look into.
    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// What it says of itself.
    pub fn head(&self) -> &Head {
        self.base.head()
    }

    /// Reads what look-ups read into memory of its own, and checks its sums. Look-ups in that wait for no disk, whatever else the machine reads, and a page
    /// that cannot be read is an error here and no more. It takes half a second for 50,000,000 entries that are on a disk, of a thread that may block.
    pub fn load(&self) -> Result<Arc<Base>, Trouble> {
        let head = *self.head();
        let mut memory = LargePages::new(head.mapped() as usize)?;
        for part in &head.parts {
            let mut read = |at: u64, length: u64, sum: u32, what| {
                // Within the memory, which is as long as the head says that these are.
                let room = memory.as_mut().get_mut(at as usize..(at + length) as usize).unwrap_or_default();
                if self.read(at, room)? == sum { Ok(()) } else { Err(Trouble::Bad(BadFile::Damaged(what))) }
            };
            read(part.index_at, part.index_bytes(), part.index_sum, "the index of its fingerprints")?;
            read(part.values_at, part.values_bytes(), part.values_sum, "its fingerprints")?;
            let mut blocks = vec![0; part.blocks_bytes() as usize];
            if self.read(part.blocks_at, &mut blocks)? != part.blocks_sum {
                return Err(BadFile::Damaged("the places of the book's blocks").into());
            }
        }
        Ok(Arc::new(Base::new(head, Box::new(memory))?))
    }

    /// Reads into room, and sums up.
    fn read(&self, at: u64, room: &mut [u8]) -> Result<u32, Trouble> {
        let (mut sum, mut at) = (0, at);
        for piece in room.chunks_mut(limits::SUPPRESSION_CHUNK) {
            self.file.read_exact_at(piece, at)?;
            sum = crc32c::crc32c_append(sum, piece);
            at += piece.len() as u64;
        }
        Ok(sum)
    }

    /// The entries at a place: one, seldom more.
    pub fn at(self: &Arc<ListFile>, place: Place) -> Result<Vec<Record>, Trouble> {
        if !self.base.has(place) {
            return Ok(Vec::new());
        }
        let (mut book, mut found, mut record) = (self.from(place)?, Vec::new(), Record::default());
        book.chunk = limits::SUPPRESSION_RUN_CHUNK;
        while book.next(&mut record)? && record.place == place {
            found.push(record.clone());
        }
        // The fingerprints say that there is one.
        if found.is_empty() { Err(BOOK) } else { Ok(found) }
    }

    /// Its entries from a place on, in order.
    pub fn from(self: &Arc<ListFile>, place: Place) -> Result<Book, Trouble> {
        let head = self.head();
        let at = |of_domains: bool, number: usize| {
            let part = &head.parts[usize::from(of_domains)];
            let block = (number / limits::SUPPRESSION_BLOCK) as u64;
            if block >= part.blocks() {
                return Ok(None);
            }
            let mut bytes = [0; 8];
            self.file.read_exact_at(&mut bytes, part.blocks_at + 8 * block)?;
            Ok::<_, Trouble>(Some(u64::from_le_bytes(bytes)))
        };
        let mut begin = at(place.of_domains, self.base.sorted(place.of_domains).place_of(place.fingerprint))?;
        if begin.is_none() && !place.of_domains {
            begin = at(true, 0)?;
        }
        let at = begin.unwrap_or(head.end);
        if !(head.book_at..=head.end).contains(&at) {
            return Err(BOOK);
        }
        Ok(Book {
            file: self.clone(),
            at,
            buffer: Vec::new(),
            used: 0,
            block_ends: 0,
            from: place,
            last: Place::default(),
            chunk: limits::SUPPRESSION_CHUNK,
        })
    }
}

/// Entries of the book, in order.
pub struct Book {
    file: Arc<ListFile>,
    /// Where the file is read next.
    at: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are read, and where the block that is being read ends in it.
    used: usize,
    block_ends: usize,
    /// What is in front of this is left out.
    from: Place,
    last: Place,
    /// Bytes that are read at a time.
    chunk: usize,
}

impl Book {
    /// Has so many bytes in the buffer, behind those that are read. False: the file ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool, Trouble> {
        if self.buffer.len() - self.used >= wanted {
            return Ok(true);
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let left = usize::try_from(self.file.head().end - self.at).unwrap_or(usize::MAX);
        let more = left.min(self.chunk.max(wanted) - self.buffer.len().min(wanted));
        let before = self.buffer.len();
        self.buffer.resize(before + more, 0);
        self.file.file.read_exact_at(&mut self.buffer[before..], self.at)?;
        self.at += more as u64;
        Ok(self.buffer.len() >= wanted)
    }

    /// Goes on to the next block, whose sum is looked at. False: there are no more.
    fn next_block(&mut self) -> Result<bool, Trouble> {
        if !self.fill(8)? {
            return if self.buffer.len() == self.used { Ok(false) } else { Err(BOOK) };
        }
        let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let head = &self.buffer[self.used..];
        let (length, sum) = (word(head) as usize, word(&head[4..]));
        if length == 0 || length > limits::SUPPRESSION_BLOCK_BYTES_MAX || !self.fill(8 + length)? {
            return Err(BOOK);
        }
        self.used += 8;
        self.block_ends = self.used + length;
        if crc32c::crc32c(&self.buffer[self.used..self.block_ends]) != sum {
            return Err(BOOK);
        }
        Ok(true)
    }
}

impl Records for Book {
    type Error = Trouble;

    fn next(&mut self, record: &mut Record) -> Result<bool, Trouble> {
        loop {
            if self.used >= self.block_ends {
                if !self.next_block()? {
                    return Ok(false);
                }
                continue;
            }
            let bytes = &self.buffer[self.used..self.block_ends];
            let (entry, length) = Entry::read(bytes).ok_or(BOOK)?;
            let place = entry.place(&self.file.head().key).ok_or(BOOK)?;
            if place < self.last {
                return Err(BOOK);
            }
            self.last = place;
            self.used += length;
            if place < self.from {
                continue;
            }
            (record.place, record.change) = (place, Change::Put);
            record.bytes.clear();
            record.bytes.extend_from_slice(&bytes[..length]);
            return Ok(true);
        }
    }
}
