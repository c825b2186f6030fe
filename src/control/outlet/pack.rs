//! Files that a log left: compressed by a thread that has little of a core, and removed when they are old.
//!
//! A file is read, compressed beside it, synced, renamed, and only then removed: whenever a kill comes one of both is whole, and the next start makes
//! the other again. Who reads both reads the plain one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Keep;
use crate::control::say::say;
use crate::control::thread::Worker;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::{files, process};
use crate::time::{Civil, UnixMillis};

/// Names of files that logs were moved to.
pub struct Rotated;

const PACKED: &str = ".zst";
const UNFINISHED: &str = ".new";

impl Rotated {
    /// What a log is called when it is moved aside at this time: `relevo.jsonl-20261130T050000.123Z`.
    pub fn name(real: &Path, at: UnixMillis) -> PathBuf {
        let civil = at.civil();
        let mut name = OsString::from(real);
        name.push(format!(
            "-{:04}{:02}{:02}T{:02}{:02}{:02}.{:03}Z",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second, civil.milli
        ));
        PathBuf::from(name)
    }

    /// When a file was moved aside, if it was by the relay, of this log.
    pub fn time(real: &Path, path: &Path) -> Option<UnixMillis> {
        let (log, name) = (real.file_name()?.to_str()?, path.file_name()?.to_str()?);
        let text = name.strip_suffix(PACKED).unwrap_or(name).strip_prefix(log)?.strip_prefix('-')?;
        let digits = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)
        };
        let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
        let (hour, minute, second) = (digits(9, 11)?, digits(11, 13)?, digits(13, 15)?);
        let milli: u64 = digits(16, 19)?.parse().ok()?;
        let time = Civil::time_named(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}"))?;
        let time = UnixMillis(time.0 + milli);
        // Exactly as it would be written.
        let is_one = Rotated::name(real, time).file_name()?.to_str()
            == Some(name.strip_suffix(PACKED).unwrap_or(name));
        is_one.then_some(time)
    }

    /// Whether it was compressed.
    pub fn is_packed(path: &Path) -> bool {
        path.as_os_str().as_encoded_bytes().ends_with(PACKED.as_bytes())
    }

    /// All those of a log, the oldest first.
    pub fn all(real: &Path) -> Vec<PathBuf> {
        let directory = real.parent().filter(|directory| !directory.as_os_str().is_empty());
        let Ok(entries) = std::fs::read_dir(directory.unwrap_or(Path::new("."))) else { return Vec::new() };
        let entries = entries.take(limits::LOG_DIRECTORY_MAX).flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> = entries.filter(|path| Rotated::time(real, path).is_some()).collect();
        found.sort();
        found
    }
}

/// What is to be looked after, by log: its files that are behind, and how.
#[derive(Default)]
pub struct Packs {
    jobs: Mutex<BTreeMap<PathBuf, Job>>,
}

#[derive(Clone, Debug)]
struct Job {
    /// Not compressed yet, and behind the log's cursor.
    plain: Vec<PathBuf>,
    compress: bool,
    keep: Option<Keep>,
    /// When it is looked at again.
    due: Duration,
    failed: bool,
}

impl Packs {
    /// These files of a log are behind it.
    pub fn give(&self, real: PathBuf, plain: Vec<PathBuf>, (compress, keep): (bool, Option<Keep>)) {
        let job = Job { plain, compress, keep, due: Duration::ZERO, failed: false };
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(real, job);
    }

    /// One that is due.
    fn next(&self, now: Duration) -> Option<(PathBuf, Job)> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let (real, job) = jobs.iter_mut().find(|(_, job)| job.due <= now)?;
        job.due = now + limits::PACKED_AGAIN;
        Some((real.clone(), job.clone()))
    }

    fn failed(&self, real: &Path) -> bool {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get_mut(real).is_none_or(|job| !std::mem::replace(&mut job.failed, true))
    }
}

/// Starts the thread.
pub(in crate::control) fn start(packs: Arc<Packs>) -> io::Result<Worker> {
    Worker::start("relevo-pack", move |turn| {
        process::stand_back();
        let clock = turn.clock();
        while !turn.is_over() {
            match packs.next(clock()) {
                Some((real, job)) => {
                    if let Err(error) = look_after(&real, &job, process::wall(), || turn.is_over())
                        && !turn.is_over()
                        && packs.failed(&real)
                    {
                        let real = real.display();
                        say(
                            Level::Error,
                            format_args!(
                                "what was moved aside of the log {real} cannot be compressed or removed: {error}; that is tried again each hour"
                            ),
                        );
                    }
                }
                None => turn.pause(limits::PACK_LOOK),
            }
        }
    })
}

/// Compresses what is behind, then removes what is old.
fn look_after(real: &Path, job: &Job, now: UnixMillis, is_over: impl Fn() -> bool) -> io::Result<()> {
    let mut wrong = Ok(());
    for path in job.plain.iter().filter(|_| job.compress) {
        if is_over() {
            return Ok(());
        }
        match pack(path, &is_over) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            packed => wrong = wrong.and(packed),
        }
    }
    let Some(keep) = job.keep else { return wrong };
    let packed: Vec<PathBuf> =
        Rotated::all(real).into_iter().filter(|path| Rotated::is_packed(path)).collect();
    let mut known: Vec<&PathBuf> = job.plain.iter().filter(|path| path.exists()).chain(&packed).collect();
    known.sort();
    let old = match keep {
        Keep::Files(most) => known.len().saturating_sub(most as usize),
        Keep::Age(age) => {
            known.partition_point(|path| Rotated::time(real, path).is_some_and(|time| time.after(age) < now))
        }
    };
    for path in &known[..old] {
        wrong = wrong.and(std::fs::remove_file(path));
    }
    wrong
}

/// Compresses a file.
fn pack(path: &Path, is_over: impl Fn() -> bool) -> io::Result<()> {
    let with = |end: &str| {
        let mut name = OsString::from(path);
        name.push(PACKED);
        name.push(end);
        PathBuf::from(name)
    };
    let (fresh, packed) = (with(UNFINISHED), with(""));
    let mut plain = File::open(path)?;
    let done = compress(&mut plain, &fresh, is_over);
    if !matches!(done, Ok(true)) {
        let _ = std::fs::remove_file(&fresh);
        return done.map(drop);
    }
    std::fs::rename(&fresh, &packed)?;
    let directory = path.parent().map(File::open).transpose()?;
    directory.as_ref().map_or(Ok(()), File::sync_all)?;
    std::fs::remove_file(path)
}

/// Whether it came to its end.
fn compress(plain: &mut File, fresh: &Path, is_over: impl Fn() -> bool) -> io::Result<bool> {
    let mut encoder = zstd::stream::write::Encoder::new(files::make_file(fresh)?, limits::PACK_LEVEL)?;
    encoder.include_checksum(true)?;
    let mut buffer = vec![0; limits::PACK_BUFFER];
    loop {
        if is_over() {
            return Ok(false);
        }
        match plain.read(&mut buffer)? {
            0 => break,
            length => encoder.write_all(&buffer[..length])?,
        }
    }
    encoder.finish()?.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMillis {
        Civil::time_named(text).unwrap()
    }

    #[test]
    fn a_name_says_when_and_of_which_log() {
        let real = Path::new("/var/log/relevo.jsonl");
        let time = UnixMillis(at("2026-11-30T05:00:00").0 + 7);
        let name = Rotated::name(real, time);
        assert_eq!(name, Path::new("/var/log/relevo.jsonl-20261130T050000.007Z"));
        assert_eq!(Rotated::time(real, &name), Some(time));
        assert_eq!(
            Rotated::time(real, Path::new("/var/log/relevo.jsonl-20261130T050000.007Z.zst")),
            Some(time)
        );
        for other in [
            "relevo.jsonl",
            "relevo.jsonl.1",
            "relevo.jsonl-20261130",
            "relevo.jsonl-20261130T050000.007Z.zst.new",
            "relevo.jsonl-20261130T050000.007Z.gz",
            "relevo.jsonl-20261330T050000.007Z",
            "other-20261130T050000.007Z",
            "relevo.jsonl-20261130 050000.007Z",
        ] {
            assert_eq!(Rotated::time(real, &Path::new("/var/log").join(other)), None, "{other}");
        }
    }

    #[test]
    fn what_is_behind_is_packed_and_what_is_old_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let real = scratch.path().join("log");
        let lines: String = (0..50_000).map(|at| format!("line {at}\n")).collect();
        let times = ["2026-11-01T00:00:00", "2026-11-29T00:00:00", "2026-11-30T00:00:00"].map(at);
        let names = times.map(|time| Rotated::name(&real, time));
        std::fs::write(&real, "now").unwrap();
        names.iter().for_each(|name| std::fs::write(name, &lines).unwrap());
        // The last one is not behind yet; half of another stands there since a kill.
        std::fs::write(scratch.path().join("log-20261129T000000.000Z.zst.new"), "half").unwrap();
        let plain = &names[..2];
        let job =
            |keep| Job { plain: plain.to_vec(), compress: true, keep, due: Duration::ZERO, failed: false };
        let look = |keep| look_after(&real, &job(keep), times[2], || false).unwrap();
        look(None);
        let found = Rotated::all(&real);
        assert_eq!(found.len(), 3);
        assert_eq!(found.iter().filter(|path| Rotated::is_packed(path)).count(), 2);
        let packed = std::fs::read(&found[0]).unwrap();
        assert!(zstd::stream::decode_all(&packed[..]).unwrap() == lines.as_bytes());
        look(Some(Keep::Age(Duration::from_secs(7 * 86_400))));
        assert_eq!(Rotated::all(&real).len(), 2);
        look(Some(Keep::Files(0)));
        assert_eq!(Rotated::all(&real), [names[2].clone()], "it is not behind");
        assert_eq!(std::fs::read(&real).unwrap(), b"now");
        assert_eq!(files::list(scratch.path()).unwrap().len(), 2);
    }
}
