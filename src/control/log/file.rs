//! The file of a log: whose it is, and how its end stays that of a line.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::control::journal::LogLines;
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::beside;
use crate::runtime::files::{self, Mended};
use crate::runtime::output::Output;

/// A log is its owner's alone, and so is what a rotation made of it.
pub(super) fn close_to_others(path: &Path) -> io::Result<()> {
    let (real, rotated) = beside::log_and_rotated(path, limits::LOG_DIRECTORY_MAX);
    let at = path.display();
    match files::mend(&real, true)? {
        Mended::Sound => {}
        Mended::Others => say(
            Level::Warning,
            format_args!("{at} could be read by others: it is for its owner alone now (mode 0600)"),
        ),
        Mended::NotOurs => say(
            Level::Warning,
            format_args!("{at} can be read by others, and belongs to another user: chmod 600 it"),
        ),
    }
    let mended: Vec<_> =
        rotated.iter().filter_map(|path| Some((path, files::mend_own(path, true).ok()?))).collect();
    // Each told with one name: there may be hundreds.
    let of = |wanted| mended.iter().filter(move |(_, mended)| *mended == wanted);
    if let Some((first, _)) = of(Mended::Others).next() {
        say(
            Level::Warning,
            format_args!(
                "{} files that were rotated from {at} could be read by others, {} for one: they are for their owner alone now (mode 0600); have \
                 the log rotator make them so",
                of(Mended::Others).count(),
                first.display()
            ),
        );
    }
    if let Some((first, _)) = of(Mended::NotOurs).next() {
        say(
            Level::Warning,
            format_args!(
                "{} files that were rotated from {at} can be read by others, {} for one, and belong to another user: chmod 600 them",
                of(Mended::NotOurs).count(),
                first.display()
            ),
        );
    }
    Ok(())
}

/// Writes the rest of an event, of which a file that was moved away has the beginning. Where it ends; None: it cannot be written there.
pub(super) fn end_event(mut file: &File, held: &LogLines, at: usize) -> Option<usize> {
    let end = held.end(at);
    file.write_all(&held.bytes()[at..end]).ok().map(|()| end)
}

/// Has a new file begin with this. One that a kill, or a full disk, left with a part of it begins anew.
pub(super) fn begin_file(mut file: &File, head: &[u8]) -> io::Result<()> {
    let there = file.metadata()?.len();
    if head.is_empty() || there >= head.len() as u64 {
        return Ok(());
    }
    let mut begun = vec![0; there as usize];
    // What nobody may read has nothing of ours to be judged by.
    if file.read_exact_at(&mut begun, 0).is_ok() && head.starts_with(&begun) {
        file.set_len(0)?;
        file.write_all(head)?;
    }
    Ok(())
}

/// Only this much was taken: a disk is full. The part of a line at its end goes. How much stays, and whether the part stays too.
pub(super) fn cut(file: &File, written: &[u8]) -> (usize, bool) {
    let whole = memchr::memrchr(b'\n', written).map_or(0, |end| end + 1);
    let torn = whole < written.len() && cut_off(file, (written.len() - whole) as u64).is_err();
    (whole, torn)
}

pub(super) fn open_file(path: &Path) -> io::Result<Output> {
    if let Some(directory) = path.parent() {
        files::make_directories(directory)?;
    }
    Output::open(path)
}

/// As many whole records as fit into so many bytes, or one that is longer.
pub(super) fn whole(records: &[u8], most: usize) -> &[u8] {
    if records.len() <= most {
        return records;
    }
    let end = memchr::memrchr(b'\n', &records[..most]).or_else(|| memchr::memchr(b'\n', records));
    &records[..end.map_or(records.len(), |end| end + 1)]
}

/// Asks the disk for room behind the end of a file, which does not become longer by that. A file system that cannot is not asked.
pub(super) fn set_aside(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::io::Errno;
    let end = file.metadata()?.len();
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, end, bytes) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether a file ends in the middle of a line: a process that wrote it was killed there, or had no more room.
pub(super) fn ends_torn(file: &File) -> bool {
    let mut last = [b'\n'];
    let length = file.metadata().map_or(0, |meta| meta.len());
    length > 0 && file.read_exact_at(&mut last, length - 1).is_ok() && last != [b'\n']
}

/// Takes away the last bytes that were written, unless somebody else has written behind them.
fn cut_off(mut file: &File, bytes: u64) -> io::Result<()> {
    let end = file.stream_position()?;
    if file.metadata()?.len() != end {
        return Err(io::Error::other("others write it too"));
    }
    file.set_len(end - bytes)?;
    file.seek(SeekFrom::Start(end - bytes)).map(drop)
}

/// What a log is called, by its path.
pub(super) fn name(path: Option<&Path>) -> String {
    path.map_or("-".to_owned(), |path| path.to_string_lossy().into_owned())
}

/// The file that nobody else may write, by device and number. A terminal may have many writers.
pub(super) fn own_file(output: &Output) -> Option<(u64, u64)> {
    (output.regular().is_some() || output.is_pipe()).then(|| output.identity()).flatten()
}

/// How long nothing may be written before that is a trouble: the reader of a pipe may be slow, a disk that refuses is full.
pub(super) fn patience(output: &Output) -> Duration {
    if output.regular().is_some() { Duration::ZERO } else { limits::LOG_PATIENCE }
}
