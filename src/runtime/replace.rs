//! Small files that are changed as a whole: whoever reads one meanwhile has all of it, as it was or as it is.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// What the new text is written to until it is whole.
const SUFFIX: &str = ".new";

/// Changes a file of at most so many bytes. Two who do so at one time come one after the other. It keeps its mode and its owner; one that is not there is made, for this
/// user alone. Links are followed. An error of `change` leaves it as it is.
pub fn change_whole<E: From<io::Error>>(
    path: &Path,
    most: u64,
    change: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    change_locked(locked(path, Missing::Made)?, most, change)
}

fn change_locked<E: From<io::Error>>(
    (path, mut file): (PathBuf, File),
    most: u64,
    change: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let fits = |text: &[u8]| match text.len() as u64 > most {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes"))),
        false => Ok(()),
    };
    let mut text = Vec::new();
    Read::by_ref(&mut file).take(most + 1).read_to_end(&mut text)?;
    fits(&text)?;
    let changed = change(text)?;
    fits(&changed)?;
    let mut name = path.clone().into_os_string();
    name.push(SUFFIX);
    let fresh = PathBuf::from(name);
    // Of one who was killed: nobody else writes there, as the file is locked.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    put(&fresh, &path, &file, &changed).inspect_err(|_| _ = fs::remove_file(&fresh))?;
    Ok(())
}

/// Why a text is as it was.
#[derive(Debug)]
pub enum Unchanged<E> {
    /// The file cannot be read, or not be written.
    File(io::Error),
    /// It is no UTF-8.
    Text,
    /// The change is not to be made.
    Refused(E),
}

impl<E> From<io::Error> for Unchanged<E> {
    fn from(error: io::Error) -> Unchanged<E> {
        Unchanged::File(error)
    }
}

impl<E: fmt::Display> fmt::Display for Unchanged<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unchanged::File(error) => write!(formatter, "{error}"),
            Unchanged::Text => formatter.write_str("it is no UTF-8"),
            Unchanged::Refused(no) => write!(formatter, "{no}"),
        }
    }
}

/// What becomes of a file that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is made.
    Made,
    /// That is an error: somebody may be about to put it there, and it would be taken for all there is.
    Refused,
}

/// The same of a text. What it is now.
pub fn change_text<E>(
    path: &Path,
    (most, missing): (u64, Missing),
    edit: impl FnOnce(&str) -> Result<String, E>,
) -> Result<String, Unchanged<E>> {
    let mut now = String::new();
    change_locked::<Unchanged<E>>(locked(path, missing)?, most, |bytes| {
        let text = String::from_utf8(bytes).map_err(|_| Unchanged::Text)?;
        now = edit(&text).map_err(Unchanged::Refused)?;
        Ok(now.clone().into_bytes())
    })?;
    Ok(now)
}

fn put(fresh: &Path, path: &Path, before: &File, text: &[u8]) -> io::Result<()> {
    let of = before.metadata()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (of.uid(), of.gid()) {
        fchown(&file, Some(of.uid()), Some(of.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(of.mode() & 0o7777))?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()
}

/// The file under its name, which nobody else changes until this is dropped.
fn locked(path: &Path, missing: Missing) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    // Made, if it is to be: what is locked must be the same for all.
    options.read(true).write(true).create(missing == Missing::Made).truncate(false).mode(0o600);
    loop {
        let file = options.open(path)?;
        let path = fs::canonicalize(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        // Whoever had it before may have put another in its place.
        let (ours, there) = (file.metadata()?, fs::metadata(&path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok((path, file));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn all_changes_are_there_and_the_mode_stays() {
        let scratch = tempfile::tempdir().expect("a directory");
        let (path, link) = (scratch.path().join("accounts"), scratch.path().join("link"));
        let append = |path: &Path, byte: u8| {
            change_whole::<io::Error>(path, 1000, |mut text| {
                text.push(byte);
                Ok(text)
            })
        };
        append(&path, b'0').expect("a file");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
        symlink(&path, &link).expect("a link");
        std::thread::scope(|scope| {
            for byte in 1..=8 {
                let (append, path) = (&append, if byte % 2 == 0 { &path } else { &link });
                scope.spawn(move || (0..20).for_each(|_| append(path, b'0' + byte).expect("a change")));
            }
        });
        let text = fs::read(&path).expect("it is there");
        assert_eq!(
            (text.len(), (1..=8).all(|byte| text.iter().filter(|one| **one == b'0' + byte).count() == 20)),
            (161, true)
        );
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o640);
        let refused = change_whole::<io::Error>(&path, 1000, |_| Err(io::Error::other("no")));
        assert!(refused.is_err() && fs::read(&path).expect("it is there") == text);
        assert!(change_whole::<io::Error>(&path, 10, |_| Ok(Vec::new())).is_err(), "too long");
        assert!(change_whole::<io::Error>(&path, 200, |_| Ok(vec![b'x'; 201])).is_err(), "it would be");
        assert!(fs::read(&path).expect("it is there") == text);
        let gone = scratch.path().join("gone");
        let refused = change_text(&gone, (10, Missing::Refused), |_| Ok::<_, io::Error>(String::new()));
        assert!(matches!(refused, Err(Unchanged::File(_))) && !gone.exists());
        assert_eq!(fs::read_dir(scratch.path()).expect("it is there").count(), 2);
    }
}
