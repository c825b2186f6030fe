//! The files of a log: the one that is written, and what rotations made of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use ring::digest::{SHA256, digest};

use super::filter::Wanted;
use crate::control::outlet::line::Line;
use crate::limits;
use crate::runtime::beside;

/// All files of a log that may have something since then, the oldest first. The one that is written is the last.
pub fn all(log: &Path, since: Option<SystemTime>) -> Vec<PathBuf> {
    let (real, rotated) = beside::log_and_rotated(log, limits::LOG_DIRECTORY_MAX);
    let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let mut known: Vec<(SystemTime, PathBuf)> = rotated
        .iter()
        // While it is compressed, or where a kill came in between, it is there as it was.
        .filter(|path| !plain(path).is_some_and(|plain| plain.exists()))
        .filter_map(|path| Some((changed(path)?, path.clone())))
        .filter(|(changed, _)| since.is_none_or(|since| *changed + limits::LOG_TIME_SLACK >= since))
        .collect();
    known.sort();
    let mut files: Vec<PathBuf> = known.into_iter().map(|(_, path)| path).collect();
    // A pipe would be waited for, and is none that could be read twice.
    if real.is_file() {
        files.push(real);
    }
    files
}

/// What a compressed file was called before.
fn plain(path: &Path) -> Option<PathBuf> {
    let name = path.to_str()?;
    let plain = name.strip_suffix(".zst").or_else(|| name.strip_suffix(".gz"))?;
    Some(PathBuf::from(plain))
}

/// Opens one, whatever it was compressed by, so many bytes behind its beginning. Whoever waits for what is packed is asked now and then whether he still does.
pub fn open(path: &Path, from: u64, waits: &mut dyn FnMut() -> bool) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    let mut packed: Box<dyn Read> = match path.extension().and_then(|end| end.to_str()) {
        Some("zst") => Box::new(zstd::stream::read::Decoder::new(file)?),
        Some("gz") => Box::new(MultiGzDecoder::new(file)),
        Some(other @ ("xz" | "bz2" | "lz4" | "lzma" | "Z")) => {
            return Err(io::Error::other(format!("files compressed as .{other} are not read")));
        }
        _ => {
            file.seek(SeekFrom::Start(from))?;
            return Ok(Box::new(file));
        }
    };
    let mut left = from;
    while left > 0 {
        if !waits() {
            return Err(io::Error::other(
                "it takes too long to unpack it to where this goes on; `relevo log` does",
            ));
        }
        let step = left.min(limits::LOG_READ as u64);
        let read = io::copy(&mut Read::by_ref(&mut packed).take(step), &mut io::sink())?;
        if read == 0 {
            break;
        }
        left -= read;
    }
    Ok(packed)
}

/// What a file is known by, whatever it is called and however it is packed: its first event, in which nothing names anybody. None: it has none, or cannot be read.
pub fn known_by(path: &Path) -> Option<u64> {
    let mut head = Vec::with_capacity(limits::LOG_HEAD);
    open(path, 0, &mut || true).ok()?.take(limits::LOG_HEAD as u64).read_to_end(&mut head).ok()?;
    let line = head.split(|byte| *byte == b'\n').find(|line| !line.is_empty())?;
    const ID: &[u8] = b"\"event_id\":\"";
    let behind = memchr::memmem::find(line, ID).map(|at| at + ID.len());
    let end = behind.and_then(|at| memchr::memchr(b'"', &line[at..]).map(|more| at + more));
    // What is no event of ours is known by how it begins.
    let told = &line[..end.unwrap_or(line.len().min(limits::LOG_HEAD_PLAIN))];
    digest(&SHA256, told).as_ref().first_chunk().copied().map(u64::from_le_bytes)
}

/// What is done with a line and its event. Whether more are wanted.
pub type Take<'a, E> = dyn FnMut(&[u8], &Line<'_>) -> Result<bool, E> + 'a;

/// Whole lines of what is read, as much at once as is quick.
#[derive(Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes in there.
    filled: usize,
    /// Lines that are longer than any event.
    pub long: u64,
    /// It is in the middle of one.
    skips: bool,
    /// Where what is in the buffer begins.
    base: u64,
}

impl Lines {
    /// Of a file of which this much was read, to the end of a line. The byte before is to come again, so that a line that is there by now is not cut.
    pub fn behind(at: u64) -> Lines {
        Lines { base: at.saturating_sub(1), skips: at > 0, ..Lines::default() }
    }

    /// How far whole lines of the file were given, or passed over.
    pub fn place(&self) -> u64 {
        self.base
    }

    /// Reads on. How much came.
    pub fn fill(&mut self, reader: &mut dyn Read) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; limits::LOG_READ];
        }
        if self.filled == self.buffer.len() {
            if self.buffer.len() < limits::EVENT_MAX {
                self.buffer.resize(limits::EVENT_MAX, 0);
            } else {
                self.base += self.filled as u64;
                (self.filled, self.skips) = (0, true);
                self.long += 1;
            }
        }
        loop {
            match reader.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => {
                    self.filled += read;
                    return Ok(read);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives those that are wanted. Whether more is.
    pub fn each<E>(&mut self, wanted: &Wanted, take: &mut Take<'_, E>) -> Result<bool, E> {
        let Some(end) = memchr::memrchr(b'\n', &self.buffer[..self.filled]).map(|end| end + 1) else {
            return Ok(true);
        };
        let mut at = 0;
        if std::mem::take(&mut self.skips) {
            at = memchr::memchr(b'\n', &self.buffer[..end]).map_or(end, |first| first + 1);
        }
        while at < end {
            if let Some(needle) = &wanted.needle {
                let Some(found) = needle.find_at(&self.buffer[..end], at) else { break };
                at = memchr::memrchr(b'\n', &self.buffer[at..found.start()]).map_or(at, |line| at + line + 1);
            }
            let line = memchr::memchr(b'\n', &self.buffer[at..end]).map_or(end, |line| at + line + 1);
            let raw = &self.buffer[at..line];
            if let Some(event) = wanted.of(raw)
                && !take(raw, &event)?
            {
                self.passed(line);
                return Ok(false);
            }
            at = line;
        }
        self.passed(end);
        Ok(true)
    }

    /// So much of what is in the buffer is done with.
    fn passed(&mut self, end: usize) {
        self.buffer.copy_within(end..self.filled, 0);
        self.filled -= end;
        self.base += end as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::logged::filter::LogFilters;

    /// However much comes at once, lines are whole and each comes once.
    #[test]
    fn lines_are_whole_however_they_come() {
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let take = self.1.min(self.0.len()).min(into.len());
                into[..take].copy_from_slice(&self.0[..take]);
                self.0 = &self.0[take..];
                Ok(take)
            }
        }
        let text: String =
            (0..50).map(|at| format!("{{\"event\":\"bounced\",\"id\":\"{at}\"}}\nx\n")).collect();
        let wanted = LogFilters::default().wanted().unwrap();
        for step in [1, 7, 64, 100_000] {
            let (mut lines, mut reader, mut found) =
                (Lines::default(), Slow(text.as_bytes(), step), Vec::new());
            while lines.fill(&mut reader).unwrap() > 0 {
                lines
                    .each::<io::Error>(&wanted, &mut |_, line| {
                        Ok({
                            found.push(line.text("id").into_owned());
                            true
                        })
                    })
                    .unwrap();
            }
            let ids: Vec<String> = (0..50).map(|at| at.to_string()).collect();
            assert_eq!(found, ids, "{step}");
        }
    }

    #[test]
    fn what_was_moved_and_compressed_is_read_in_order() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let line = |id: u32| format!("{{\"event\":\"bounced\",\"id\":\"{id}\"}}\n");
        let old = |name: &str, seconds: u64| {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + seconds);
            File::options().append(true).open(at(name)).unwrap().set_modified(time).unwrap();
        };
        std::fs::write(
            at("log-20261129T000000.000Z.zst"),
            zstd::stream::encode_all(line(1).as_bytes(), 3).unwrap(),
        )
        .unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gz, line(0).as_bytes()).unwrap();
        std::fs::write(at("log.2.gz"), gz.finish().unwrap()).unwrap();
        std::fs::write(at("log-20261130T000000.000Z"), line(2)).unwrap();
        // A kill left both.
        std::fs::write(at("log-20261130T000000.000Z.zst"), "half").unwrap();
        std::fs::write(at("log"), line(3)).unwrap();
        for (place, name) in
            ["log.2.gz", "log-20261129T000000.000Z.zst", "log-20261130T000000.000Z"].iter().enumerate()
        {
            old(name, place as u64 * 86_400);
        }
        let found = |since| {
            let mut found = Vec::new();
            let wanted = LogFilters::default().wanted().unwrap();
            for path in all(&at("log"), since) {
                let (mut lines, mut reader) = (Lines::default(), open(&path, 0, &mut || true).unwrap());
                while lines.fill(&mut *reader).unwrap() > 0 {
                    lines
                        .each::<io::Error>(&wanted, &mut |_, line| {
                            Ok({
                                found.push(line.text("id").into_owned());
                                true
                            })
                        })
                        .unwrap();
                }
            }
            found.concat()
        };
        assert_eq!(found(None), "0123");
        let second = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + 86_400);
        assert_eq!(found(Some(second)), "123");
    }
}
