//! Files that belong together: one that has several names, and what a rotation left beside one.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::{DirEntryExt as _, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::limits;

/// Which file a path leads to, however it is spelt: by device and number, and the names from there on of what is not made yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    rest: PathBuf,
}

/// The identity of what stands, or would be made, at a path. None: nobody can say, or it is no file and no pipe, of which each may have several users.
pub fn identity(path: &Path) -> Option<Identity> {
    let mut path = std::path::absolute(path).ok()?;
    for _ in 0..limits::LINKS_FOLLOWED {
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() || found.file_type().is_fifo() => {
                return Some(of(&found, PathBuf::new()));
            }
            Ok(_) => return None,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return None,
            // A link to what is not there yet: it is made where that leads.
            Err(_) => match std::fs::read_link(&path) {
                Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
                Err(_) => break,
            },
        }
    }
    let there = path.ancestors().skip(1).find_map(|above| Some((above, std::fs::metadata(above).ok()?)))?;
    Some(of(&there.1, path.strip_prefix(there.0).ok()?.to_owned()))
}

fn of(found: &Metadata, rest: PathBuf) -> Identity {
    Identity { device: found.dev(), inode: found.ino(), rest }
}

/// The identity of a directory.
pub fn directory(path: &Path) -> Option<Identity> {
    let found = std::fs::metadata(path).ok().filter(Metadata::is_dir)?;
    Some(of(&found, PathBuf::new()))
}

/// Whether a file lies in a directory, or has another name there: of so many names there at the most.
pub fn is_in(file: &Path, place: &Path, most: usize) -> bool {
    let Some(place_found) = directory(place) else { return false };
    let resolved = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let parent = resolved.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory(parent).as_ref() == Some(&place_found) {
        return true;
    }
    let Ok(found) = std::fs::metadata(file) else { return false };
    let entries = || std::fs::read_dir(place).ok().into_iter().flatten().take(most).flatten();
    found.is_file()
        && found.nlink() > 1
        && found.dev() == place_found.device
        && entries().any(|entry| entry.ino() == found.ino())
}

/// A log as it is called where it lies, and what a rotation made of it, among so many names in a directory: files called as it is, with what
/// rotators write behind. Other files beside it may have a name that begins alike.
pub fn log_and_rotated(path: &Path, most: usize) -> (PathBuf, Vec<PathBuf>) {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut found = rotated(&real, most);
    // A link is renamed as well as what it leads to.
    found.extend(rotated(path, most));
    found.sort();
    found.dedup();
    (real, found)
}

fn rotated(path: &Path, most: usize) -> Vec<PathBuf> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let is_rotated = |entry: &DirEntry| {
        let other = entry.file_name();
        let behind = other.to_str().and_then(|other| other.strip_prefix(name));
        behind.is_some_and(is_of_rotator)
            && entry.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o111 == 0)
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.take(most).flatten().filter(is_rotated).map(|entry| entry.path()).collect()
}

/// Whether rotators write this behind the name of a log: a number, a time, or that it is an old one, compressed or not.
fn is_of_rotator(behind: &str) -> bool {
    const COMPRESSED: [&str; 7] = [".gz", ".xz", ".zst", ".bz2", ".lz4", ".lzma", ".Z"];
    if behind == "~" {
        return true;
    }
    let behind = COMPRESSED.iter().find_map(|end| behind.strip_suffix(end)).unwrap_or(behind);
    let Some((mark, rest)) = behind.split_at_checked(1) else { return false };
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    match mark {
        "." if matches!(rest, "old" | "bak" | "prev") => true,
        "." if digits > 0 && digits == rest.len() => true,
        // A day, with or without an hour; or seconds since 1970.
        "." | "-" | "_" => {
            let is_of_time = |byte: u8| byte.is_ascii_digit() || b"-_:.TZ+".contains(&byte);
            digits >= "20260101".len()
                && rest.starts_with(|first: char| first.is_ascii_digit())
                && rest.bytes().all(is_of_time)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_what_rotators_write_behind_a_name_is_theirs() {
        for behind in [
            ".1",
            ".12.gz",
            ".0.xz",
            "-20260101",
            "-20260101.zst",
            "-20260101-120000.bz2",
            "-1798761600",
            ".old",
            ".bak",
            ".old.gz",
            "~",
        ]
        .iter()
        .chain(&[".2026-01-01T12:00:00Z", "_2026-01-01.lz4"])
        {
            assert!(is_of_rotator(behind), "{behind}");
        }
        for behind in [
            "",
            ".",
            "-",
            ".gz",
            ".err",
            ".log",
            "-backup.sh",
            "_users",
            "-load",
            ".d",
            "2",
            "-2",
            ".1a",
            ".1.sh",
            "~~",
            "é",
        ] {
            assert!(!is_of_rotator(behind), "{behind}");
        }
    }

    #[test]
    fn a_file_is_known_by_every_name() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::create_dir(at("a")).unwrap();
        symlink(at("a"), at("b")).unwrap();
        std::fs::write(at("log"), b"").unwrap();
        symlink("log", at("link")).unwrap();
        std::fs::hard_link(at("log"), at("a/hard")).unwrap();
        symlink("a/none", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        for (one, other, same) in [
            ("log", "link", true),
            ("log", "./log", true),
            ("log", "a/../log", true),
            ("log", "a/hard", true),
            ("log", "other", false),
            ("a/none", "b/none", true),
            ("a/none", "dangling", true),
            ("a/x/none", "b/./x/none", true),
            ("a/none", "none", false),
            ("a/x/none", "a/none", false),
        ] {
            let (one, other) = (identity(&at(one)), identity(&at(other)));
            assert!(one.is_some() && other.is_some());
            assert_eq!(one == other, same, "{one:?} {other:?}");
        }
        assert_eq!((identity(Path::new("/dev/null")), identity(&at("a"))), (None, None));
        identity(&at("circle"));
        for (file, place, inside) in
            [("a/hard", "b", true), ("log", "a", true), ("link", "", true), ("other", "a", false)]
        {
            assert_eq!(is_in(&at(file), &at(place), 10), inside, "{file} {place}");
        }
    }

    #[test]
    fn what_a_rotation_left_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for name in [
            "log",
            "log.1",
            "log-20260101.gz",
            "log2",
            "other",
            "catalog.1",
            "log.log",
            "log-load",
            "log_users",
        ] {
            std::fs::write(at(name), b"").unwrap();
        }
        // A program, whatever it is called.
        std::fs::write(at("log.3"), b"").unwrap();
        std::fs::set_permissions(at("log.3"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(at("log.d")).unwrap();
        symlink(at("other"), at("log.2")).unwrap();
        let both = vec![at("log-20260101.gz"), at("log.1")];
        assert_eq!(log_and_rotated(&at("log"), 100), (at("log"), both.clone()));
        symlink("log", at("link")).unwrap();
        std::fs::write(at("link.1"), b"").unwrap();
        let all = [vec![at("link.1")], both].concat();
        assert_eq!(log_and_rotated(&at("link"), 100), (at("log"), all));
        assert!(rotated(&at("log"), 0).is_empty() && rotated(Path::new("/"), 9).is_empty());
    }
}
