//! The files of a log: the one that is written, and what rotations made of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use flate2::read::MultiGzDecoder;
use relevo::check::DEFAULT_PATH;
use relevo::config::{LogConfig, LogFormat};
use relevo::control::outlet::line::Line;
use relevo::limits;
use relevo::runtime::beside;

use super::super::check::load;
use super::super::output::{Failure, WRONG_USE, complain};
use super::filter::Wanted;

/// Which log.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The configuration whose first [log] in JSON is meant.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, conflicts_with = "log")]
    config: PathBuf,
    /// A log, in place of that of a configuration.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

impl Place {
    /// Its file.
    pub fn log(&self) -> Result<PathBuf, Failure> {
        if let Some(log) = &self.log {
            return Ok(log.clone());
        }
        let config = load(&self.config).map_err(|error| Failure(WRONG_USE, error.to_string()))?;
        let is_json = |log: &&LogConfig| log.format == LogFormat::Json && !log.is_nowhere();
        let path = config.logs.iter().filter(is_json).find_map(|log| log.path.clone());
        path.ok_or_else(|| {
            let file = self.config.display();
            let words =
                format!("{file}: no [log] there writes JSON to a file: name one by --log, or give it one");
            Failure(WRONG_USE, words)
        })
    }
}

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

/// Opens one, whatever it was compressed by.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(match path.extension().and_then(|end| end.to_str()) {
        Some("zst") => Box::new(zstd::stream::read::Decoder::new(file)?),
        Some("gz") => Box::new(MultiGzDecoder::new(file)),
        Some(other @ ("xz" | "bz2" | "lz4" | "lzma" | "Z")) => {
            return Err(io::Error::other(format!("files compressed as .{other} are not read")));
        }
        _ => Box::new(file),
    })
}

/// What is done with a line and its event. Whether more are wanted.
pub type Take<'a> = dyn FnMut(&[u8], &Line<'_>) -> Result<bool, Failure> + 'a;

/// Gives every line of these files that is wanted to `take`, until that says that it has enough (false).
pub fn each(files: &[PathBuf], wanted: &Wanted, take: &mut Take<'_>) -> Result<(), Failure> {
    for path in files {
        let mut lines = Lines::default();
        let mut reader = match open(path) {
            Ok(reader) => reader,
            // Removed, or compressed, in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                complain!("{}: {error}", path.display());
                continue;
            }
        };
        loop {
            match lines.fill(&mut *reader) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    // What is whole before that counts.
                    complain!("{}: {error}; what is behind that is not read", path.display());
                    break;
                }
            }
            if !lines.each(wanted, take)? {
                return Ok(());
            }
        }
        if lines.long > 0 {
            complain!("{}: {} lines are too long for events", path.display(), lines.long);
        }
    }
    Ok(())
}

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
}

impl Lines {
    /// Reads on. How much came.
    pub fn fill(&mut self, reader: &mut dyn Read) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; limits::LOG_READ];
        }
        if self.filled == self.buffer.len() {
            if self.buffer.len() < limits::EVENT_MAX {
                self.buffer.resize(limits::EVENT_MAX, 0);
            } else {
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
    pub fn each(&mut self, wanted: &Wanted, take: &mut Take<'_>) -> Result<bool, Failure> {
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
                return Ok(false);
            }
            at = line;
        }
        self.buffer.copy_within(end..self.filled, 0);
        self.filled -= end;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::log::filter::Filters;

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
        let wanted = Filters::default().wanted().unwrap();
        for step in [1, 7, 64, 100_000] {
            let (mut lines, mut reader, mut found) =
                (Lines::default(), Slow(text.as_bytes(), step), Vec::new());
            while lines.fill(&mut reader).unwrap() > 0 {
                lines
                    .each(&wanted, &mut |_, line| {
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
            let wanted = Filters::default().wanted().unwrap();
            each(&all(&at("log"), since), &wanted, &mut |_, line| {
                Ok({
                    found.push(line.text("id").into_owned());
                    true
                })
            })
            .unwrap();
            found.concat()
        };
        assert_eq!(found(None), "0123");
        let second = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + 86_400);
        assert_eq!(found(Some(second)), "123");
    }
}
