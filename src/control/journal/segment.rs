//! The files of the journal: their names, and what stands in them.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::control::journal::frame::{self, HEAD, HEADER, Head, Kind};
use crate::limits;
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
    // Whatever the umask.
    make_with(directory, sequence, |file| file.set_permissions(Permissions::from_mode(files::FILE_MODE)))
}

/// The same, with what is to be done to the file then.
fn make_with(
    directory: &Path,
    sequence: u64,
    finish: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<File> {
    files::make_directories(directory)?;
    let path = path(directory, sequence);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(files::FILE_MODE).open(&path)?;
    // The next try would find a file there, and so would each after that.
    finish(&file).inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    Ok(file)
}

/// A frame of a file, or what is in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameRead {
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
pub(super) fn read(file: &File, at: u64, end: u64) -> io::Result<FrameRead> {
    if at >= end {
        return Ok(FrameRead::End);
    }
    let carried_at = at + HEAD as u64;
    let mut head = [0; HEAD];
    if carried_at > end {
        return Ok(FrameRead::Damaged);
    }
    file.read_exact_at(&mut head, at)?;
    let Some(head) = Head::read(&head).filter(|head| carried_at + head.length as u64 <= end) else {
        return Ok(FrameRead::Damaged);
    };
    let mut carried = vec![0; head.length];
    file.read_exact_at(&mut carried, carried_at)?;
    let next = carried_at + head.length as u64;
    Ok(if head.carries(&carried) { FrameRead::Frame(head.kind, carried, next) } else { FrameRead::Damaged })
}

/// Where the last whole frame of a file ends; 0 where not even its header is whole. What is behind a frame that is not whole is not looked at: it was not
/// synced when the machine stopped, or the segment was cut there.
pub(super) fn whole(file: &File, sequence: u64, mut look: impl FnMut(Kind, &[u8])) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if !is_of(file, sequence)? {
        return Ok(0);
    }
    let mut at = HEADER as u64;
    while let FrameRead::Frame(kind, carried, next) = read(file, at, length)? {
        look(kind, &carried);
        at = next;
    }
    Ok(at)
}

/// Whether a whole frame stands anywhere behind this place, where none does.
pub(super) fn has_frame_behind(file: &File, at: u64) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut bytes = vec![0; limits::JOURNAL_BATCH + HEAD];
    let mut at = at + 1;
    while at + HEAD as u64 <= length {
        let there = usize::try_from(length - at).unwrap_or(usize::MAX).min(bytes.len());
        let some = &mut bytes[..there];
        file.read_exact_at(some, at)?;
        for (place, head) in some.windows(HEAD).enumerate() {
            let may_be = head.first_chunk().and_then(Head::read).is_some_and(|head| head.length > 0);
            if may_be && matches!(read(file, at + place as u64, length)?, FrameRead::Frame(..)) {
                return Ok(true);
            }
        }
        at += (there - HEAD + 1) as u64;
    }
    Ok(false)
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
        let fails = |_: &File| Err(io::ErrorKind::PermissionDenied.into());
        assert!(make_with(&directory, 4, fails).is_err());
        assert_eq!(list(&directory).unwrap(), [1, 3]);
        assert!(make(&directory, 4).is_ok(), "it is tried again");
    }

    /// Whole frames behind damage: what is damaged was not the end of what was written.
    #[test]
    fn whole_frames_behind_damage_are_found() {
        let scratch = tempfile::tempdir().unwrap();
        let mut bytes = frame::header(5).to_vec();
        for text in [vec![b'x'; 3_000_000], b"two\n".to_vec()] {
            let at = frame::begin(Kind::Lines, &mut bytes);
            bytes.extend_from_slice(&text);
            frame::end(at, &mut bytes);
        }
        let name = scratch.path().join("file");
        let look = |bytes: &[u8]| {
            std::fs::write(&name, bytes).unwrap();
            has_frame_behind(&File::open(&name).unwrap(), HEADER as u64).unwrap()
        };
        for at in [HEADER, HEADER + 5, HEADER + HEAD, 2_999_999] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(look(&damaged), "{at}");
            assert!(!look(&damaged[..bytes.len() - 1]), "{at}, and the last one is cut");
        }
        let ends = [&frame::header(5)[..], &[b'x'; 100]].concat();
        assert!(!look(&ends) && !look(&ends[..HEADER]));
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
