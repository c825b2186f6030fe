//! A new key that signs mail, put into the directory of keys.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::mail::dkim::PrivateKey;
use crate::mail::dkim::key::Failed;
use crate::runtime::{files, process};

/// Who may read the directory of a domain, and list it: the relay by its group, too.
const DIRECTORY_MODE: u32 = 0o750;
/// Who may read a key: its owner.
const KEY_MODE: u32 = 0o600;
/// The same where only its group is the relay's.
const SHARED_KEY_MODE: u32 = 0o640;

/// Why no key was made.
#[derive(Debug)]
pub enum NotMade {
    /// There is a file of that name.
    Exists(PathBuf),
    /// A directory or file cannot be made.
    Unwritten(PathBuf, io::Error),
    /// The machine fails.
    Failed(Failed),
}

impl fmt::Display for NotMade {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotMade::Exists(path) => write!(
                formatter,
                "{}: there is a key already, and none is ever overwritten; take another selector (--selector)",
                path.display()
            ),
            NotMade::Unwritten(path, error) => write!(formatter, "{}: {error}", path.display()),
            NotMade::Failed(failed) => write!(formatter, "{failed}"),
        }
    }
}

impl std::error::Error for NotMade {}

/// Where the key of this name is, or will be.
pub fn place(keys: &Path, domain: &str, selector: &str) -> PathBuf {
    keys.join(domain).join(format!("{selector}.pem"))
}

/// Writes a key where it belongs; whole or not at all, and never over another. What is made belongs to whom the directory of all keys belongs to.
pub fn keep(keys: &Path, domain: &str, selector: &str, key: &PrivateKey) -> Result<PathBuf, NotMade> {
    let text = key.to_pem().map_err(NotMade::Failed)?;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| NotMade::Unwritten(path, error)
    };
    make_directory(keys, None).map_err(at(keys))?;
    let owner = fs::metadata(keys).map_err(at(keys))?;
    let owner = (owner.uid(), owner.gid());
    let directory = keys.join(domain);
    make_directory(&directory, Some(owner)).map_err(at(&directory))?;
    let path = place(keys, domain, selector);
    let random = u64::from_ne_bytes(process::random_bytes());
    // Hidden: nobody takes it for a key.
    let written = directory.join(format!(".new-{random:016x}"));
    let made = write(&written, &text, owner).and_then(|()| files::rename_over_nothing(&written, &path));
    if let Err(error) = made {
        let _ = fs::remove_file(&written);
        return Err(match error.kind() {
            io::ErrorKind::AlreadyExists => NotMade::Exists(path),
            _ => NotMade::Unwritten(path, error),
        });
    }
    for directory in [directory.as_path(), keys] {
        File::open(directory).and_then(|opened| opened.sync_all()).map_err(at(directory))?;
    }
    Ok(path)
}

fn is_root() -> bool {
    process::user().0 == 0
}

fn make_directory(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    // Whatever the umask.
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))?;
    give(path, owner)
}

fn give(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    match owner.filter(|_| is_root()) {
        Some((user, group)) => chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

fn write(path: &Path, text: &str, owner: (u32, u32)) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(KEY_MODE).open(path)?;
    give(path, Some(owner))?;
    // A directory of root's that is given to the relay by its group alone.
    let shared = is_root() && owner.0 == 0 && owner.1 != 0;
    file.set_permissions(Permissions::from_mode(if shared { SHARED_KEY_MODE } else { KEY_MODE }))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DkimConfig;
    use crate::mail::dkim::key::Algorithm;
    use crate::node::keys;

    #[test]
    fn a_key_is_written_once_and_for_its_owner() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("dkim");
        let key = PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap();
        let path = keep(&directory, "d.example", "e1", &key).unwrap();
        assert_eq!(path, directory.join("d.example/e1.pem"));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (KEY_MODE, DIRECTORY_MODE));
        let before = fs::read(&path).unwrap();
        let other = PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap();
        let refused = keep(&directory, "d.example", "e1", &other).unwrap_err();
        assert!(matches!(refused, NotMade::Exists(_)), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), before);
        let names = files::list(path.parent().unwrap()).unwrap();
        assert_eq!(names, ["e1.pem"], "nothing is left of what was not made");
        let config = DkimConfig { keys: Some(directory), ..DkimConfig::default() };
        let read = keys::read(&config, None);
        assert!(read.bad.is_empty() && read.files.len() == 1, "{read:?}");
        assert_eq!(read.files[0].key().unwrap().txt_record().unwrap(), key.txt_record().unwrap());
        assert!(matches!(
            keep(&scratch.path().join("none/there"), "d.example", "e1", &key),
            Err(NotMade::Unwritten(..))
        ));
    }
}
