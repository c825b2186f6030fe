//! The files of the journal: their names, and what stands in them.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::control::journal::frame::{self, HEAD, HEADER, Head, Kind};
use crate::runtime::files;

const SUFFIX: &str = ".journal";

/// The file of a segment.
pub(super) fn path(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{sequence:012}{SUFFIX}"))
}

/// The segment whose file has this name.
pub(super) fn sequence(name: &str) -> Option<u64> {
    let sequence = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (name == format!("{sequence:012}{SUFFIX}")).then_some(sequence)
}

/// The segments that are there, in order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let names = match files::list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    let mut found: Vec<u64> = names.iter().filter_map(|name| sequence(name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Makes the file of a new segment. Nothing is written yet.
pub(super) fn make(directory: &Path, sequence: u64) -> io::Result<File> {
    files::make_directories(directory)?;
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(files::FILE_MODE)
        .open(path(directory, sequence))?;
    // Whatever the umask.
    file.set_permissions(Permissions::from_mode(files::FILE_MODE))?;
    Ok(file)
}

/// A frame of a file, or what is in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// What it carries, and where the next one begins.
    Frame(Kind, Vec<u8>, u64),
    /// Nothing is behind this.
    End,
    /// No whole frame.
    Damaged,
}

/// Whether the file is this segment's.
pub(super) fn is_of(file: &File, sequence: u64) -> io::Result<bool> {
    let mut header = [0; HEADER];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(header == frame::header(sequence)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The frame at this place of a file of which so many bytes count.
pub(super) fn read(file: &File, at: u64, end: u64) -> io::Result<Found> {
    if at >= end {
        return Ok(Found::End);
    }
    let carried_at = at + HEAD as u64;
    let mut head = [0; HEAD];
    if carried_at > end {
        return Ok(Found::Damaged);
    }
    file.read_exact_at(&mut head, at)?;
    let Some(head) = Head::read(&head).filter(|head| carried_at + head.length as u64 <= end) else {
        return Ok(Found::Damaged);
    };
    let mut carried = vec![0; head.length];
    file.read_exact_at(&mut carried, carried_at)?;
    let next = carried_at + head.length as u64;
    Ok(if head.carries(&carried) { Found::Frame(head.kind, carried, next) } else { Found::Damaged })
}

/// Where the last whole frame of a file ends; 0 where not even its header is whole. What is behind a frame that is not whole is not looked at: it was not
/// synced when the machine stopped, or the segment was cut there.
pub(super) fn whole(file: &File, sequence: u64, mut look: impl FnMut(Kind, &[u8])) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if !is_of(file, sequence)? {
        return Ok(0);
    }
    let mut at = HEADER as u64;
    while let Found::Frame(kind, carried, next) = read(file, at, length)? {
        look(kind, &carried);
        at = next;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_segments() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("journal");
        assert!(list(&directory).unwrap().is_empty());
        for number in [3, 1] {
            make(&directory, number).unwrap();
        }
        std::fs::write(directory.join("2.journal"), b"").unwrap();
        std::fs::write(directory.join("a.cursor"), b"").unwrap();
        assert_eq!(list(&directory).unwrap(), [1, 3]);
        assert!(make(&directory, 3).is_err(), "nothing is written over");
    }

    /// What is whole of a file that is damaged at any byte, or cut there, is what stands before that.
    #[test]
    fn the_whole_part_of_a_file_ends_before_what_is_damaged() {
        let scratch = tempfile::tempdir().unwrap();
        let (mut bytes, mut ends) = (frame::header(5).to_vec(), vec![0, HEADER]);
        for text in [&b"one\ntwo\n"[..], b"three\n"] {
            let at = frame::begin(Kind::Lines, &mut bytes);
            bytes.extend_from_slice(text);
            frame::end(at, &mut bytes);
            ends.push(bytes.len());
        }
        let name = scratch.path().join("file");
        let look = |bytes: &[u8]| {
            std::fs::write(&name, bytes).unwrap();
            let mut count = 0;
            let at = whole(&File::open(&name).unwrap(), 5, |_, _| count += 1).unwrap();
            (at as usize, count)
        };
        assert_eq!(look(&bytes), (bytes.len(), 2));
        for at in 0..bytes.len() {
            let before = ends.iter().copied().filter(|end| *end <= at).max().unwrap_or(0);
            assert_eq!(look(&bytes[..at]).0, before, "cut at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(look(&damaged).0, before, "damaged at {at}");
        }
        assert_eq!(whole(&File::open(&name).unwrap(), 6, |_, _| {}).unwrap(), 0, "another's");
    }
}
