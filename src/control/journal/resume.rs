//! Where a log goes on after a start: its file is compared with what the journal has behind the cursor. What stands in the file already is not written
//! again, what does not is written, and where the two part is found to the byte.
//!
//! The cursor is some time old, and the file longer than it says. A file that does not continue as the journal does was cut, or written by others:
//! then its last line is looked for in the journal. Only where that is found nowhere the log begins at its cursor, and may repeat what the file had.

use std::io;

/// A file that is written at its end.
pub(super) trait Tail {
    /// Bytes of it.
    fn length(&self) -> u64;
    /// Fills `into` with what stands at `at`.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

/// What a log is to be given from its cursor on, in pieces of whole lines, none of them empty.
pub(super) trait Stream {
    /// A piece.
    type Piece: AsRef<[u8]>;
    /// The next one. None: there is no more of what was there at the start.
    fn next(&mut self) -> io::Result<Option<Self::Piece>>;
    /// Begins anew at the cursor.
    fn rewind(&mut self);
}

/// Where it goes on.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::control) enum Resumed<P> {
    /// With what the stream gives next.
    Next,
    /// With this piece, of which the file has so many bytes.
    Within(P, usize),
    /// At the cursor: nobody knows what the file has of what is behind it.
    Cursor,
}

/// Compares a file, which had this length at the cursor, with the stream. Of the lines of the file that is looked for, at most `line` bytes count.
pub(super) fn resume<S: Stream>(
    file: &impl Tail,
    length: u64,
    stream: &mut S,
    line: usize,
) -> io::Result<Resumed<S::Piece>> {
    let mut at = length;
    let mut buffer = Vec::new();
    while at < file.length() {
        let Some(piece) = stream.next()? else { return Ok(Resumed::Next) };
        let bytes = piece.as_ref();
        let there = usize::try_from(file.length() - at).unwrap_or(usize::MAX).min(bytes.len());
        buffer.resize(there, 0);
        file.read(at, &mut buffer)?;
        if buffer != bytes[..there] {
            stream.rewind();
            return find_last(file, stream, line);
        }
        if there < bytes.len() {
            return Ok(Resumed::Within(piece, there));
        }
        at += there as u64;
    }
    if at > file.length() { find_last(file, stream, line) } else { Ok(Resumed::Next) }
}

/// Goes on behind the line that the file has last.
fn find_last<S: Stream>(file: &impl Tail, stream: &mut S, line: usize) -> io::Result<Resumed<S::Piece>> {
    let take = usize::try_from(file.length()).unwrap_or(usize::MAX).min(line);
    let mut buffer = vec![0; take];
    file.read(file.length() - take as u64, &mut buffer)?;
    let end = memchr::memrchr(b'\n', &buffer).map_or(0, |end| end + 1);
    let start = memchr::memrchr(b'\n', &buffer[..end.saturating_sub(1)]).map_or(0, |end| end + 1);
    let is_whole = start > 0 || take as u64 == file.length();
    let last = &buffer[start..end];
    if !last.is_empty() && is_whole {
        while let Some(piece) = stream.next()? {
            let bytes = piece.as_ref();
            let begins = |at: &usize| *at == 0 || bytes[at - 1] == b'\n';
            let found = memchr::memmem::find_iter(bytes, last).filter(begins).last();
            if let Some(found) = found {
                return Ok(Resumed::Within(piece, found + last.len()));
            }
        }
        stream.rewind();
    }
    Ok(Resumed::Cursor)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one piece with the lines of these numbers")]
mod tests {
    use super::*;

    impl Tail for Vec<u8> {
        fn length(&self) -> u64 {
            self.len() as u64
        }

        fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
            into.copy_from_slice(&self[at as usize..][..into.len()]);
            Ok(())
        }
    }

    /// Pieces, and how many of them were given.
    struct Pieces(Vec<Vec<u8>>, usize);

    impl Stream for Pieces {
        type Piece = Vec<u8>;

        fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
            self.1 += 1;
            Ok(self.0.get(self.1 - 1).cloned())
        }

        fn rewind(&mut self) {
            self.1 = 0;
        }
    }

    fn pieces(numbers: &[std::ops::Range<u32>]) -> Pieces {
        let piece = |lines: &std::ops::Range<u32>| {
            lines.clone().map(|number| format!("line {number}\n")).collect::<String>().into_bytes()
        };
        Pieces(numbers.iter().map(piece).collect(), 0)
    }

    /// What is written from there on.
    fn rest(resumed: Resumed<Vec<u8>>, mut stream: Pieces) -> Vec<u8> {
        let mut out = match resumed {
            Resumed::Within(piece, at) => piece[at..].to_vec(),
            Resumed::Next | Resumed::Cursor => Vec::new(),
        };
        while let Some(piece) = stream.next().unwrap() {
            out.extend_from_slice(&piece);
        }
        out
    }

    const OLD: &[u8] = b"line before\n";

    #[test]
    fn wherever_a_kill_cut_the_file_it_goes_on_to_the_byte() {
        for cuts in [&[0..3, 3..4, 4..9][..], &[0..9], &[0..1, 1..2, 2..9]] {
            let whole = [OLD, &pieces(cuts).0.concat()].concat();
            for length in OLD.len()..=whole.len() {
                let (file, mut stream) = (whole[..length].to_vec(), pieces(cuts));
                let resumed = resume(&file, OLD.len() as u64, &mut stream, 1000).unwrap();
                assert_ne!(resumed, Resumed::Cursor);
                assert_eq!([file, rest(resumed, stream)].concat(), whole, "{length}");
            }
        }
    }

    /// A byte is wrong anywhere: what follows is the rest behind the last whole line that is in the journal, or all behind the cursor.
    #[test]
    fn a_file_that_others_wrote_is_found_by_its_last_line() {
        let cuts = [0..3, 3..4, 4..9];
        let new = pieces(&cuts).0.concat();
        let whole = [OLD, &new].concat();
        for length in OLD.len() + 1..=whole.len() {
            for at in OLD.len()..length {
                let (mut file, mut stream) = (whole[..length].to_vec(), pieces(&cuts));
                file[at] = b'#';
                let text = String::from_utf8(file.clone()).unwrap();
                let last = text[..=text.rfind('\n').unwrap()].lines().last().unwrap();
                let number: usize =
                    last.strip_prefix("line ").and_then(|n| n.parse().ok()).map_or(0, |n: usize| n + 1);
                let resumed = resume(&file, OLD.len() as u64, &mut stream, 1000).unwrap();
                assert_eq!(rest(resumed, stream), new[number * b"line 0\n".len()..], "{length} {at}");
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_or_is_longer_than_the_journal_is_no_riddle() {
        // Cut to nothing, and written on by the life that a kill ended.
        let (file, mut stream) = (b"line 4\nlin".to_vec(), pieces(&[0..3, 3..9]));
        let resumed = resume(&file, 5000, &mut stream, 1000).unwrap();
        assert_eq!(rest(resumed, stream), pieces(&[5..9]).0.concat());
        let mut stream = pieces(&[0..3]);
        assert_eq!(resume(&Vec::new(), 12, &mut stream, 1000).unwrap(), Resumed::Cursor);
        assert_eq!(rest(Resumed::Cursor, stream), pieces(&[0..3]).0.concat(), "rewound");
        // A power cut took the end of the journal, and not of the file.
        let (file, mut stream) = (pieces(&[0..6]).0.concat(), pieces(&[0..3]));
        assert_eq!(resume(&file, 0, &mut stream, 1000).unwrap(), Resumed::Next);
        assert_eq!(rest(Resumed::Next, stream), b"");
        // A line that is not wholly among the bytes that count is none; nor is the end of another one.
        for (file, line) in [("line 1\n", 5), ("#ine 1\n", 1000), ("1\n", 1000)] {
            let mut stream = pieces(&[0..3]);
            let resumed = resume(&file.as_bytes().to_vec(), 50, &mut stream, line).unwrap();
            assert_eq!(resumed, Resumed::Cursor, "{file}");
        }
    }
}
