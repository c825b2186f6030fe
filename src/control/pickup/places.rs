//! The directories of a pickup. Files are dropped into the first; one that is being taken lies in `.taken`, one that is refused for now in
//! `.later`; one that is refused for good among the bad, beside what is wrong with it.
//!
//! Whoever may drop files may do anything to names there, so none is looked up twice: directories are open, and a file is moved to where
//! nobody else reaches it before it is opened.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::config::PickupConfig;
use crate::limits;
use crate::runtime::{files, process};

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It was dropped.
    Dropped,
    /// It is being taken.
    Taken,
    /// It was refused for now.
    Later,
    /// It was refused for good.
    Bad,
}

/// What a file is like before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It may be taken, and has so many bytes.
    Ready(u64),
    /// It may not be whole.
    Young,
    /// It is none that is looked at: a directory, or gone.
    Other,
    /// What it is, which is never taken.
    Odd(&'static str),
}

/// What came of opening one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// All of it.
    Whole(Vec<u8>),
    /// It is written to.
    Written,
    /// Why it is never taken.
    Odd(String),
}

/// The directories, open.
#[derive(Debug)]
pub(super) struct Places {
    path: PathBuf,
    dropped: OwnedFd,
    taken: OwnedFd,
    later: OwnedFd,
    bad: OwnedFd,
}

impl Places {
    /// Opens them, and makes those that are the relay's own.
    pub fn open(config: &PickupConfig) -> io::Result<Places> {
        let dropped = directory(&config.directory)?;
        let of = rustix::fs::fstat(&dropped)?;
        let [taken, later] = [".taken", ".later"].map(|name| own(&dropped, name));
        if let Err(error) = files::make_directory(&config.bad)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(told(&config.bad, error));
        }
        let bad = directory(&config.bad).map_err(|error| told(&config.bad, error))?;
        if rustix::fs::fstat(&bad)?.st_dev != of.st_dev {
            let words = io::Error::other("it is not in the file system of pickup.directory");
            return Err(told(&config.bad, words));
        }
        Ok(Places { path: config.directory.clone(), dropped, taken: taken?, later: later?, bad })
    }

    /// Whether they are still what stands at the path.
    pub fn are_there(&self) -> bool {
        let there = rustix::fs::stat(&self.path).map(|of| (of.st_dev, of.st_ino));
        there == rustix::fs::fstat(&self.dropped).map(|of| (of.st_dev, of.st_ino))
    }

    fn at(&self, place: Place) -> &OwnedFd {
        match place {
            Place::Dropped => &self.dropped,
            Place::Taken => &self.taken,
            Place::Later => &self.later,
            Place::Bad => &self.bad,
        }
    }

    /// The names in one of them that may be taken, one after the other: as many as there are, and none of them in memory.
    pub fn names(&self, place: Place) -> io::Result<impl Iterator<Item = OsString> + use<>> {
        let entries = Dir::read_from(self.at(place))?;
        Ok(entries.map_while(Result::ok).filter_map(|entry| {
            let name = entry.file_name().to_bytes();
            let is_unfinished = name.first() == Some(&b'.') || name.ends_with(b".tmp");
            (!is_unfinished).then(|| OsString::from_vec(name.to_vec()))
        }))
    }

    /// Whether a file may be taken.
    pub fn look(&self, name: &OsString, place: Place) -> Look {
        let Ok(of) = rustix::fs::statat(self.at(place), name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Look::Other;
        };
        match FileType::from_raw_mode(of.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Look::Other,
            FileType::Symlink => return Look::Odd("a symbolic link"),
            FileType::Fifo => return Look::Odd("a FIFO"),
            FileType::Socket => return Look::Odd("a socket"),
            _ => return Look::Odd("a device"),
        }
        // One that was moved here by a link and an unlink has two names for a moment.
        let has_names = of.st_nlink > 1 && is_of_now(of.st_ctime, of.st_ctime_nsec);
        match has_names || is_of_now(of.st_mtime, of.st_mtime_nsec) {
            true => Look::Young,
            false => Look::Ready(of.st_size.unsigned_abs()),
        }
    }

    /// Moves one to where it is taken from. An error: it stays where it is.
    pub fn take(&self, name: &OsString, from: Place) -> io::Result<()> {
        self.rename(name, from, name, Place::Taken)
    }

    /// Reads one that is being taken. What is no file is not opened, and nothing is waited for.
    pub fn read(&self, name: &OsString, most: u64) -> io::Result<Opened> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.taken, name, flags, Mode::empty())?);
        let before = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Ok(Opened::Odd("it is no file".to_owned()));
        }
        if before.st_nlink != 1 {
            let words = "the file has another name, too (a hard link): copy it, or move it";
            return Ok(Opened::Odd(words.to_owned()));
        }
        let size = before.st_size.unsigned_abs();
        if size > most {
            let words = format!("the file has {size} bytes, and may have {most} (pickup.message_size_max)");
            return Ok(Opened::Odd(words));
        }
        let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
        (&mut file).take(size + 1).read_to_end(&mut text)?;
        let of = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        let is_whole = of(&rustix::fs::fstat(&file)?) == of(&before) && text.len() as u64 == size;
        Ok(if is_whole { Opened::Whole(text) } else { Opened::Written })
    }

    /// Begins to make files of one that is being taken: they have names that nobody looks at until [`Places::is_split`].
    pub fn split(&self, name: &OsString, number: usize, text: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let called = hidden(&short(name), &format!("{number:08}"));
        let mut file =
            File::from(rustix::fs::openat(&self.later, called, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(text)?;
        // They are whole, however young they are.
        let past = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(rustix::fs::futimens(
            &file,
            &rustix::fs::Timestamps { last_access: past, last_modification: past },
        )?)
    }

    /// So many were made in vain.
    pub fn forget_split(&self, name: &OsString, number: usize) -> io::Result<()> {
        (0..number).try_for_each(|number| {
            let called = hidden(&short(name), &format!("{number:08}"));
            Ok(rustix::fs::unlinkat(&self.later, called, AtFlags::empty())?)
        })
    }

    /// So many files of it are made: they are on disk before it is gone, and it is gone before any of them is taken.
    pub fn is_split(&self, name: &OsString, number: usize) -> io::Result<()> {
        rustix::fs::syncfs(&self.later)?;
        let done = hidden(&short(name), &format!("{number:08}{DONE}"));
        rustix::fs::renameat(&self.taken, name, &self.later, done)?;
        rustix::fs::fsync(&self.later)?;
        rustix::fs::fsync(&self.taken)?;
        self.end_splits()
    }

    /// Files whose making was done get names that are looked at. What was not done when the relay ended is made again, over what there is of it.
    pub fn end_splits(&self) -> io::Result<()> {
        let names = || -> io::Result<Vec<Vec<u8>>> {
            let entries = Dir::read_from(&self.later)?;
            Ok(entries.map_while(Result::ok).map(|entry| entry.file_name().to_bytes().to_vec()).collect())
        };
        for done in names()? {
            let Some((own, number)) = done.strip_suffix(DONE.as_bytes()).and_then(numbered_part) else {
                continue;
            };
            for part in names()? {
                let Some((_, place)) = numbered_part(&part).filter(|(whose, _)| *whose == own) else {
                    continue;
                };
                let part = OsString::from_vec(part.clone());
                if place < number {
                    let seen = OsString::from_vec(part.as_bytes()[1..].to_vec());
                    self.rename(&part, Place::Later, &numbered(&seen), Place::Later)?;
                } else {
                    rustix::fs::unlinkat(&self.later, &part, AtFlags::empty())?;
                }
            }
            rustix::fs::unlinkat(&self.later, OsString::from_vec(done.clone()), AtFlags::empty())?;
        }
        Ok(rustix::fs::fsync(&self.later)?)
    }

    /// Its message is on disk: it goes.
    pub fn remove(&self, name: &OsString) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.taken, name, AtFlags::empty())?)
    }

    /// It is put back where it was dropped, or where it is tried later, if another one of its name came meanwhile.
    pub fn give_back(&self, name: &OsString) -> io::Result<()> {
        match self.rename(name, Place::Taken, name, Place::Dropped) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.put_off(name),
            done => done,
        }
    }

    /// It is tried later.
    pub fn put_off(&self, name: &OsString) -> io::Result<()> {
        match self.rename(name, Place::Taken, name, Place::Later) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.rename(name, Place::Taken, &numbered(name), Place::Later)
            }
            done => done,
        }
    }

    /// It is put aside for good, with these words.
    pub fn put_aside(&self, name: &OsString, from: Place, words: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The words come first: what is put aside without any would be a riddle.
        let of_words = |called: &OsString| [called.as_bytes(), b".error"].concat();
        let note = |called: &OsString| {
            let file = rustix::fs::openat(&self.bad, of_words(called), flags, Mode::from_raw_mode(0o640))?;
            writeln!(File::from(file), "{words}")
        };
        let put = |called: &OsString| {
            note(called)?;
            self.rename(name, from, called, Place::Bad).inspect_err(|_| {
                // It stays where it is, and is met again.
                let _ = rustix::fs::unlinkat(&self.bad, of_words(called), AtFlags::empty());
            })
        };
        match put(&short(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => put(&numbered(name)),
            done => done,
        }
    }

    /// Renames over nothing.
    fn rename(&self, name: &OsString, from: Place, called: &OsString, to: Place) -> io::Result<()> {
        let (from, to) = (self.at(from), self.at(to));
        match rustix::fs::renameat_with(from, name, to, called, RenameFlags::NOREPLACE) {
            // Not every file system can do that: there one looks first.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                match rustix::fs::statat(to, called, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => Ok(rustix::fs::renameat(from, name, to, called)?),
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(error) => Err(error.into()),
                }
            }
            done => Ok(done?),
        }
    }

    /// What was moved and removed stays so when the power goes.
    pub fn sync(&self) -> io::Result<()> {
        [&self.taken, &self.dropped].into_iter().try_for_each(|of| Ok(rustix::fs::fsync(of)?))
    }
}

fn told(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// A directory that nobody else may write, whoever made it.
fn own(above: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(files::DIRECTORY_MODE)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(told(Path::new(name), error.into())),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(above, name, flags, Mode::empty());
    let found = found.map_err(|error| told(Path::new(name), error.into()))?;
    let of = rustix::fs::fstat(&found)?;
    if of.st_uid != process::user().0 || of.st_mode & 0o022 != 0 {
        let words = io::Error::other("it is not this user's alone: remove it");
        return Err(told(Path::new(name), words));
    }
    Ok(found)
}

/// Ends the name of what was made into other files, behind how many these are.
const DONE: &str = ".done";

/// Of `.NAME.00000012` what is before the number, and the number.
fn numbered_part(name: &[u8]) -> Option<(&[u8], usize)> {
    let at = name.len().checked_sub(8).filter(|at| name.first() == Some(&b'.') && *at > 1)?;
    let digits =
        name[at..].iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(&name[at..]).ok()).flatten()?;
    Some((&name[..at], digits.parse().ok()?))
}

/// A name that nobody looks at.
fn hidden(name: &OsString, end: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(end);
    hidden
}

/// A name with room for more behind it.
fn short(name: &OsString) -> OsString {
    let bytes = name.as_bytes();
    OsString::from_vec(bytes[..bytes.len().min(limits::PICKUP_NAME_MAX)].to_vec())
}

/// A name that no other file has.
fn numbered(name: &OsString) -> OsString {
    let mut name = short(name);
    name.push(format!(".{:016x}", u64::from_ne_bytes(process::random_bytes())));
    name
}

/// Whether a time of a file is one of this moment. One far ahead is a clock that went wrong, and no sign of somebody who writes.
fn is_of_now(seconds: i64, nanoseconds: impl TryInto<u64>) -> bool {
    let nanoseconds = nanoseconds.try_into().unwrap_or_default();
    let at = i128::from(seconds) * 1_000 + i128::from(nanoseconds / 1_000_000);
    let age = i128::from(process::wall().0) - at;
    let settle = i128::from(u64::try_from(limits::PICKUP_SETTLE.as_millis()).unwrap_or(u64::MAX));
    (-settle..settle).contains(&age)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;

    struct Scratch(tempfile::TempDir, Places);

    impl Scratch {
        fn new() -> Scratch {
            let scratch = tempfile::tempdir().unwrap();
            let directory = scratch.path().to_owned();
            let bad = directory.join("bad");
            let config = PickupConfig { directory, bad, account: None, message_size_max: 100 };
            let places = Places::open(&config).unwrap();
            Scratch(scratch, places)
        }

        /// One that was written to a while ago.
        fn drop(&self, name: &str, text: &str) -> OsString {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            self.age(name, Duration::from_secs(5));
            name.into()
        }

        #[expect(clippy::disallowed_methods, reason = "files have times of the clock")]
        fn age(&self, name: &str, age: Duration) {
            let file = fs::File::options().write(true).open(self.0.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }

        fn has(&self, name: &str) -> bool {
            self.0.path().join(name).symlink_metadata().is_ok()
        }
    }

    #[test]
    fn what_is_taken_apart_is_so_at_once() {
        let scratch = Scratch::new();
        let Scratch(at, places) = &scratch;
        let names = |place| {
            let mut names: Vec<_> =
                places.names(place).unwrap().map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        let name: OsString = scratch.drop("batch", "all");
        places.take(&name, Place::Dropped).unwrap();
        // It was begun once, of another file of this name.
        for number in 0..5 {
            places.split(&name, number, b"old").unwrap();
        }
        assert_eq!((names(Place::Later), names(Place::Taken)), (vec![], vec!["batch".to_owned()]));
        for number in 0..3 {
            places.split(&name, number, b"new").unwrap();
        }
        places.is_split(&name, 3).unwrap();
        let found = names(Place::Later);
        assert!(found.len() == 3 && found[0].starts_with("batch.00000000."), "{found:?}");
        assert_eq!(names(Place::Taken), Vec::<String>::new());
        let later = at.path().join(".later");
        assert_eq!(fs::read_dir(&later).unwrap().count(), 3, "nothing else is left");
        for name in &found {
            assert_eq!(fs::read(later.join(name)).unwrap(), b"new");
            assert_eq!(places.look(&name.into(), Place::Later), Look::Ready(3));
        }
        // The relay was killed when half of them had their names.
        fs::rename(later.join(&found[0]), later.join(".batch.00000000")).unwrap();
        fs::write(later.join(".batch.00000003.done"), "").unwrap();
        places.end_splits().unwrap();
        assert_eq!((names(Place::Later).len(), fs::read_dir(&later).unwrap().count()), (3, 3));
    }

    #[test]
    fn what_is_looked_at_is_whole() {
        let scratch = Scratch::new();
        let Scratch(at, places) = &scratch;
        scratch.drop("one", "text");
        scratch.drop(".two", "");
        scratch.drop("three.tmp", "");
        let mut names: Vec<_> = places.names(Place::Dropped).unwrap().collect();
        names.sort();
        assert_eq!(names, ["bad", "one"]);
        assert_eq!(places.look(&"one".into(), Place::Dropped), Look::Ready(4));
        assert_eq!(places.look(&"bad".into(), Place::Dropped), Look::Other);
        assert_eq!(places.look(&"gone".into(), Place::Dropped), Look::Other);
        scratch.age("one", Duration::ZERO);
        assert_eq!(places.look(&"one".into(), Place::Dropped), Look::Young);
        symlink("one", at.path().join("link")).unwrap();
        assert_eq!(places.look(&"link".into(), Place::Dropped), Look::Odd("a symbolic link"));
        assert!(places.are_there());
    }

    #[test]
    fn one_that_is_taken_goes_where_it_must() {
        let scratch = Scratch::new();
        let Scratch(at, places) = &scratch;
        let one = scratch.drop("one", "text");
        places.take(&one, Place::Dropped).unwrap();
        assert!(!scratch.has("one") && scratch.has(".taken/one"));
        assert_eq!(places.read(&one, 100).unwrap(), Opened::Whole(b"text".to_vec()));
        scratch.drop("one", "another");
        assert_eq!(places.take(&one, Place::Dropped).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        places.give_back(&one).unwrap();
        assert!(scratch.has(".later/one"), "another one of its name has come");
        places.take(&one, Place::Later).unwrap();
        places.remove(&one).unwrap();
        assert!(scratch.has("one") && !scratch.has(".later/one") && !scratch.has(".taken/one"));
        for _ in 0..2 {
            let one = scratch.drop("one", "bad");
            places.put_aside(&one, Place::Dropped, "it is bad").unwrap();
        }
        assert_eq!(fs::read_to_string(at.path().join("bad/one.error")).unwrap(), "it is bad\n");
        assert_eq!(fs::read_dir(at.path().join("bad")).unwrap().count(), 4);
        let long = scratch.drop(&"x".repeat(255), "");
        places.put_aside(&long, Place::Dropped, "so long").unwrap();
        assert!(scratch.has(&format!("bad/{}.error", "x".repeat(limits::PICKUP_NAME_MAX))));
        places.sync().unwrap();
    }

    #[test]
    fn what_is_no_file_of_one_name_is_not_read() {
        let scratch = Scratch::new();
        let Scratch(at, places) = &scratch;
        let odd = |name: &str| match places.read(&name.into(), 100) {
            Ok(Opened::Odd(words)) => words,
            other => format!("{other:?}"),
        };
        let large = scratch.drop(".taken/large", &"x".repeat(101));
        assert!(!large.is_empty() && odd("large").contains("has 101 bytes, and may have 100"));
        fs::hard_link(scratch.0.path().join(".taken/large"), at.path().join("other")).unwrap();
        assert!(odd("large").contains("a hard link"), "{}", odd("large"));
        symlink("large", at.path().join(".taken/link")).unwrap();
        assert!(
            odd("link").contains("FilesystemLoop") || odd("link").contains("symbolic"),
            "{}",
            odd("link")
        );
        fs::create_dir(at.path().join(".taken/directory")).unwrap();
        assert_eq!(odd("directory"), "it is no file");
    }

    #[test]
    fn directories_are_the_relays_own() {
        let scratch = tempfile::tempdir().unwrap();
        let config = |bad: &str| PickupConfig {
            directory: scratch.path().to_owned(),
            bad: scratch.path().join(bad),
            account: None,
            message_size_max: 100,
        };
        symlink("/tmp", scratch.path().join(".taken")).unwrap();
        assert!(Places::open(&config("bad")).is_err());
        fs::remove_file(scratch.path().join(".taken")).unwrap();
        symlink("/tmp", scratch.path().join("link")).unwrap();
        let error = Places::open(&config("link")).unwrap_err().to_string();
        assert!(error.contains("link"), "{error}");
        assert!(Places::open(&config("bad")).is_ok());
        let gone = PickupConfig { directory: scratch.path().join("gone"), ..config("bad") };
        assert_eq!(Places::open(&gone).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
