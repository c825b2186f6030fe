//! An address goes from files of logs. Plain ones keep their length and their place: who writes behind it, or reads it again after a kill, notices
//! nothing. Compressed ones are made anew beside themselves.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::needle::{Needle, mask};
use crate::limits;
use crate::runtime::{beside, files};

/// Which file, as it was looked through.
pub(super) type Seen = (u64, u64, u64, i64, i64);

/// A log and all files that were made of it.
pub(super) fn all(log: &Path) -> Vec<PathBuf> {
    let (real, mut found) = beside::log_and_rotated(log, limits::LOG_DIRECTORY_MAX);
    // A pipe would be waited for.
    if real.is_file() {
        found.push(real);
    }
    found
}

/// How a file is known to be as it was.
pub(super) fn seen(path: &Path) -> Option<Seen> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// Makes it unreadable in a file, or only counts it (`dry`). How often it stands there.
pub(super) fn erase(path: &Path, needle: &Needle, dry: bool) -> io::Result<u64> {
    let end = path.extension().and_then(|end| end.to_str());
    match end {
        Some("zst") => packed(path, (needle, dry), zstd::stream::read::Decoder::new, |old, file| {
            let mut out = zstd::stream::write::Encoder::new(file, limits::PACK_LEVEL)?;
            let count = stream(old, needle, &mut out)?;
            out.finish().map(|_| count)
        }),
        Some("gz") => packed(
            path,
            (needle, dry),
            |file| Ok(MultiGzDecoder::new(file)),
            |old, file| {
                let mut out = GzEncoder::new(file, Compression::default());
                let count = stream(old, needle, &mut out)?;
                out.finish().map(|_| count)
            },
        ),
        Some(other @ ("xz" | "bz2" | "lz4" | "lzma" | "Z")) => Err(io::Error::other(format!(
            "files compressed as .{other} are not read: erase it there, or remove the file"
        ))),
        _ => plain(path, needle, dry),
    }
}

fn plain(path: &Path, needle: &Needle, dry: bool) -> io::Result<u64> {
    let file = File::options().read(true).write(!dry).open(path)?;
    let (mut at, mut count) = (0, 0);
    let mut buffer = vec![0; limits::ERASE_READ];
    loop {
        let read = read_at(&file, &mut buffer, at)?;
        if read == 0 {
            break;
        }
        let Some(whole) = whole(&buffer[..read], buffer.len()) else {
            buffer.resize(buffer.len() * 2, 0);
            continue;
        };
        for place in needle.find(&buffer[..whole]) {
            count += 1;
            mask(&mut buffer[place.clone()]);
            if !dry {
                file.write_all_at(&buffer[place.clone()], at + place.start as u64)?;
            }
        }
        at += whole as u64;
    }
    if count > 0 && !dry {
        file.sync_data()?;
    }
    Ok(count)
}

/// How many of these bytes are whole lines, or the end of the file: there is less than there is room for. None: a line is longer.
fn whole(read: &[u8], room: usize) -> Option<usize> {
    if read.len() < room || room >= limits::ERASE_LINE_MAX {
        return Some(
            memchr::memrchr(b'\n', read).filter(|_| read.len() == room).map_or(read.len(), |end| end + 1),
        );
    }
    memchr::memrchr(b'\n', read).map(|end| end + 1)
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The same of a compressed one.
fn packed<R: Read>(
    path: &Path,
    (needle, dry): (&Needle, bool),
    open: impl Fn(File) -> io::Result<R>,
    write: impl Fn(&mut R, &File) -> io::Result<u64>,
) -> io::Result<u64> {
    let count = stream(&mut open(File::open(path)?)?, needle, &mut io::sink())?;
    if count == 0 || dry {
        return Ok(count);
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let _ = std::fs::remove_file(&fresh);
    let rewrite = || {
        let old = File::open(path)?;
        let meta = old.metadata()?;
        let file = files::make_file(&fresh)?;
        file.set_permissions(meta.permissions())?;
        let count = write(&mut open(old)?, &file)?;
        // Old ones are removed by their time.
        file.set_modified(meta.modified()?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(count)
    };
    rewrite().inspect_err(|_: &io::Error| drop(std::fs::remove_file(&fresh)))
}

fn stream(from: &mut impl Read, needle: &Needle, to: &mut impl Write) -> io::Result<u64> {
    let (mut buffer, mut filled, mut count) = (vec![0; limits::ERASE_READ], 0, 0);
    loop {
        let read = match from.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        filled += read;
        if filled < buffer.len() && read > 0 {
            continue;
        }
        let Some(whole) = whole(&buffer[..filled], buffer.len()) else {
            buffer.resize(buffer.len() * 2, 0);
            continue;
        };
        count += needle.mask(&mut buffer[..whole]);
        to.write_all(&buffer[..whole])?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
        if read == 0 && filled == 0 {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with the address at every place of what is read at once.
    fn text() -> (Vec<u8>, u64) {
        let mut text = Vec::new();
        let mut count = 0;
        while text.len() < 3 * limits::ERASE_READ {
            count += 1;
            text.extend_from_slice(
                format!("{{\"n\":{count},\"to\":\"ada@example.org\",\"by\":\"bob@example.org\"}}\n")
                    .as_bytes(),
            );
        }
        text.extend_from_slice(b"torn: ada@example.org");
        (text, count + 1)
    }

    #[test]
    fn it_goes_from_plain_and_compressed_files() {
        let scratch = tempfile::tempdir().unwrap();
        let needle = Needle::new("ada@example.org").unwrap();
        let (text, count) = text();
        let of = |name: &str| scratch.path().join(name);
        std::fs::write(of("a.jsonl"), &text).unwrap();
        std::fs::write(of("a.jsonl.1.zst"), zstd::encode_all(&text[..], 3).unwrap()).unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&text).unwrap();
        std::fs::write(of("a.jsonl.2.gz"), gzip.finish().unwrap()).unwrap();
        std::fs::write(of("a.jsonl.3.xz"), "?").unwrap();
        std::fs::write(of("b.jsonl"), "bob@example.org").unwrap();
        let inode = std::fs::metadata(of("a.jsonl")).unwrap().ino();
        let all = all(&of("a.jsonl"));
        assert_eq!(all.len(), 4);
        let once = |dry| all.iter().map(|path| erase(path, &needle, dry).unwrap_or(0)).collect::<Vec<_>>();
        assert_eq!(once(true), once(false));
        assert_eq!(once(true), [0, 0, 0, 0]);
        let meta = std::fs::metadata(of("a.jsonl")).unwrap();
        assert_eq!((meta.len(), meta.ino()), (text.len() as u64, inode));
        let mut masked = text.clone();
        assert_eq!(needle.mask(&mut masked), count);
        assert!(std::fs::read(of("a.jsonl")).unwrap() == masked);
        assert!(zstd::decode_all(File::open(of("a.jsonl.1.zst")).unwrap()).unwrap() == masked);
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(File::open(of("a.jsonl.2.gz")).unwrap()).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == masked);
        assert!(erase(&of("a.jsonl.3.xz"), &needle, true).is_err());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 5);
    }

    #[test]
    fn a_line_of_any_length_is_looked_through() {
        let scratch = tempfile::tempdir().unwrap();
        let needle = Needle::new("ada@example.org").unwrap();
        let path = scratch.path().join("long");
        let long = [
            vec![b' '; 5 * limits::ERASE_READ / 2 - 7],
            b"ada@example.org ".to_vec(),
            vec![b'y'; limits::ERASE_READ],
        ]
        .concat();
        std::fs::write(&path, &long).unwrap();
        assert_eq!(erase(&path, &needle, false).unwrap(), 1);
        assert_eq!(erase(&path, &needle, true).unwrap(), 0);
    }
}
