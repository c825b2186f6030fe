//! A part of a log is read: as much as one answer may, and where to go on. That place is good as long as the file is there, whatever a rotation calls it by then.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::files::{Lines, Take, all, known_by, open};
use super::filter::Wanted;
use crate::limits;
use crate::runtime::process;
use crate::time::UnixMillis;

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// What its file is known by.
    file: u64,
    /// Bytes of it, unpacked, that were read.
    offset: u64,
}

impl LogPlace {
    /// As [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<LogPlace> {
        let (file, offset) = text.split_once('-').filter(|(file, _)| file.len() == 16)?;
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = |text| u64::from_str_radix(text, 16).ok().filter(|_| is_hex(text));
        Some(LogPlace { file: number(file)?, offset: number(offset)? })
    }
}

impl fmt::Display for LogPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}-{:x}", self.file, self.offset)
    }
}

/// What is to be read.
pub struct PartWanted<'a> {
    /// The log.
    pub log: &'a Path,
    /// Which events.
    pub wanted: &'a Wanted,
    /// From when on; what is older is not opened.
    pub since: Option<UnixMillis>,
    /// Where to go on.
    pub from: Option<LogPlace>,
    /// Whether whoever asked still waits.
    pub waits: &'a mut dyn FnMut() -> bool,
}

/// What was read.
#[derive(Debug, Default)]
pub struct PartRead {
    /// Where to go on; None: that was all.
    pub next: Option<LogPlace>,
    /// Bytes, unpacked.
    pub bytes: u64,
    /// Lines that are longer than any event.
    pub long: u64,
    /// Files that could not be read, or not to their end, and why.
    pub troubles: Vec<String>,
}

/// Why nothing was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPart {
    /// There is no such log.
    NoFile,
    /// The file in which to go on is gone.
    Gone,
}

/// Gives each line that is wanted to `take`, the oldest first, until that has enough (false), or this was as much as one answer may read.
pub fn read(part: PartWanted<'_>, take: &mut Take<'_, NoPart>) -> Result<PartRead, NoPart> {
    let PartWanted { log, wanted, since, from, waits } = part;
    let since = since.map(|since| SystemTime::UNIX_EPOCH + Duration::from_millis(since.0));
    // Where to go on was in time when it was told.
    let since = since.filter(|_| from.is_none());
    let files = all(log, since);
    if files.is_empty() {
        return Err(NoPart::NoFile);
    }
    let (first, mut offset) = match from {
        None => (0, 0),
        // The latest is asked about most.
        Some(place) => {
            let found = files.iter().rposition(|path| known_by(path) == Some(place.file));
            (found.ok_or(NoPart::Gone)?, place.offset)
        }
    };
    let mut done = PartRead::default();
    let mut until = process::since_boot() + limits::LOG_PART_TIME;
    let mut behind = None;
    for path in &files[first..] {
        // What a rotation moved meanwhile has another name by now.
        if behind.is_some() && all(log, since) != files {
            done.next = behind;
            return Ok(done);
        }
        let mut lines = Lines::behind(offset);
        let begun = lines.place();
        offset = 0;
        let file = known_by(path).unwrap_or_default();
        let skipped = process::since_boot();
        let mut may = || waits() && process::since_boot() < skipped + limits::LOG_SKIP_TIME;
        let mut reader = match open(path, begun, &mut may) {
            Ok(reader) => reader,
            Err(error) => {
                done.trouble(path, &error);
                continue;
            }
        };
        until += process::since_boot() - skipped;
        loop {
            match lines.fill(&mut *reader) {
                Ok(0) => break,
                Ok(read) => done.bytes += read as u64,
                Err(error) => {
                    done.trouble(path, &error);
                    break;
                }
            }
            let goes_on = lines.each(wanted, take)?;
            let may = done.bytes < limits::LOG_PART && process::since_boot() < until && waits();
            if !(goes_on && may) {
                done.long += lines.long;
                done.next = Some(LogPlace { file, offset: lines.place() });
                return Ok(done);
            }
        }
        done.long += lines.long;
        behind = Some(LogPlace { file, offset: lines.place() });
    }
    Ok(done)
}

impl PartRead {
    fn trouble(&mut self, path: &Path, error: &io::Error) {
        if self.troubles.len() < limits::LOG_TROUBLES_TOLD {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            self.troubles.push(format!("{}: {error}", name.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::logged::filter::LogFilters;

    fn event(id: usize) -> String {
        format!(
            "{{\"time\":\"2026-11-30T05:00:00.{:03}Z\",\"event\":\"bounced\",\"event_id\":\"1.a.{id}\",\"id\":\"{id}\",\"tenant\":\"t{}\"}}\n",
            id % 1000,
            id % 2
        )
    }

    /// So many of a page, from there on.
    fn page(
        log: &Path,
        most: usize,
        from: Option<LogPlace>,
    ) -> Result<(Vec<String>, Option<LogPlace>), NoPart> {
        let wanted = LogFilters::default().wanted().unwrap();
        let mut found = Vec::new();
        let part = PartWanted { log, wanted: &wanted, since: None, from, waits: &mut || true };
        let done = read(part, &mut |_, line| {
            found.push(line.text("id").into_owned());
            Ok(found.len() < most)
        })?;
        assert!(done.troubles.is_empty(), "{done:?}");
        Ok((found, done.next))
    }

    #[test]
    fn pages_have_each_event_once_over_rotations_and_packing() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let log = at("log");
        let text = |from: usize, to: usize| (from..to).map(event).collect::<String>();
        std::fs::write(at("log-20261129T000000.000Z"), text(0, 40)).unwrap();
        std::fs::write(&log, text(40, 90)).unwrap();
        for most in [1, 7, 40, 1000] {
            let (mut all, mut from) = (Vec::new(), None);
            loop {
                let (found, next) = page(&log, most, from).unwrap();
                assert!(found.len() <= most);
                all.extend(found);
                from = next;
                if from.is_none() {
                    break;
                }
            }
            let ids: Vec<String> = (0..90).map(|id| id.to_string()).collect();
            assert_eq!(all, ids, "{most}");
        }
        // Between two pages the file is moved, packed, and written anew.
        let (_, first) = page(&log, 10, None).unwrap();
        let (_, second) = page(&log, 50, None).unwrap();
        for (name, text) in [("log-20261129T000000.000Z", text(0, 40)), ("log", text(40, 90))] {
            let packed = zstd::stream::encode_all(text.as_bytes(), 3).unwrap();
            let to =
                if name == "log" { at("log-20261130T000000.000Z.zst") } else { at(&format!("{name}.zst")) };
            let old = std::fs::metadata(at(name)).unwrap().modified().unwrap();
            std::fs::write(&to, packed).unwrap();
            std::fs::File::options().append(true).open(&to).unwrap().set_modified(old).unwrap();
            std::fs::remove_file(at(name)).unwrap();
        }
        std::fs::write(&log, text(90, 95)).unwrap();
        let after = |from| page(&log, 1000, from).unwrap().0;
        assert_eq!(after(first), (10..95).map(|id| id.to_string()).collect::<Vec<_>>());
        assert_eq!(after(second), (50..95).map(|id| id.to_string()).collect::<Vec<_>>());
        // One that is gone is told.
        std::fs::remove_file(at("log-20261129T000000.000Z.zst")).unwrap();
        assert_eq!(page(&log, 10, first), Err(NoPart::Gone));
        assert_eq!(page(&at("other"), 10, None), Err(NoPart::NoFile));
    }

    #[test]
    fn whoever_went_away_has_no_more_read_for_him() {
        let scratch = tempfile::tempdir().unwrap();
        let log = scratch.path().join("log");
        let text: String = (0..40_000).map(event).collect();
        assert!(text.len() > 3 * limits::LOG_READ);
        std::fs::write(&log, text).unwrap();
        let wanted = LogFilters::default().wanted().unwrap();
        let (mut count, mut asked) = (0, 0);
        let mut waits = || {
            asked += 1;
            asked < 2
        };
        let part = PartWanted { log: &log, wanted: &wanted, since: None, from: None, waits: &mut waits };
        let done = read(part, &mut |_, _| {
            Ok({
                count += 1;
                true
            })
        })
        .unwrap();
        assert!(done.next.is_some() && done.bytes <= 2 * limits::LOG_READ as u64, "{done:?}");
        // The rest follows.
        let rest = page(&log, usize::MAX, done.next).unwrap();
        assert_eq!((count + rest.0.len(), rest.1), (40_000, None));
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        let place = LogPlace { file: 0xdead_beef, offset: 77 };
        assert_eq!(LogPlace::parse(&place.to_string()), Some(place));
        for wrong in [
            "",
            "-",
            "00000000deadbeef",
            "00000000deadbeef-",
            "deadbeef-1",
            "00000000deadbeef-+1",
            "00000000DEADBEEF-1",
        ] {
            assert_eq!(LogPlace::parse(wrong), None, "{wrong}");
        }
    }
}
