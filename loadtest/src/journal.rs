//! Ledgers on file, for senders and sinks that are processes of their own.
//!
//! A line is written before what it says is acted on: the sender's before the message counts as acknowledged, the
//! sink's before its 250 leaves. So the files of a killed process never promise too little of a sink nor too much of
//! a relay. Each line ends in a word, so that one cut short by a crash is told from a whole one.
//!
//! ```text
//! sent      RUN-N ORDINAL,ORDINAL... taken | RUN-0 untaken
//! received  RUN-N/ORDINAL intact | altered | misrouted | reordered | refused | bounced | unsure
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use crate::input::Input;

/// Longest line read; the longest written has 1000 ordinals of four bytes.
const LINE_MAX: u64 = 8 * 1024;

/// A list being written by one thread. Clones write to the same file, each whole lines.
#[derive(Debug)]
pub struct Journal {
    file: Arc<File>,
    buffer: Vec<u8>,
    untaken: bool,
}

/// What became of one recipient at the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Delivered as sent.
    Intact,
    /// Delivered with another body.
    Altered,
    /// Delivered, but not its own.
    Misrouted,
    /// Delivered with its body as sent, but its header fields changed or in another order.
    Reordered,
    /// Answered 5xx.
    Refused,
    /// Given up by a bounce.
    Bounced,
    /// Delivered, but the reply that said so was lost.
    Unsure,
}

const WORDS: [(Receipt, &str); 7] = [
    (Receipt::Intact, "intact"),
    (Receipt::Altered, "altered"),
    (Receipt::Misrouted, "misrouted"),
    (Receipt::Reordered, "reordered"),
    (Receipt::Refused, "refused"),
    (Receipt::Bounced, "bounced"),
    (Receipt::Unsure, "unsure"),
];

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Of the sender: run, message, the recipients taken.
    Sent(u64, u64, Vec<u32>),
    /// Of the sender: the run sent mail that was not taken. Told once, so that "nothing was taken" is not read as "nothing was sent".
    Untaken(u64),
    /// Of the sink: run, message, recipient.
    Received(u64, u64, u32, Receipt),
    /// Cut short by a crash, or not from here.
    Unreadable,
}

impl Journal {
    /// Opens or makes the file; what it holds is kept.
    pub fn open(path: &Path) -> io::Result<Journal> {
        let name = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(name)?;
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(0)).map_err(name)? > 0 {
            file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(name)?;
        }
        if last != [b'\n'] {
            // The line a killed process was writing must not swallow ours.
            file.write_all(b"\n").map_err(name)?;
        }
        Ok(Journal { file: Arc::new(file), buffer: Vec::new(), untaken: false })
    }

    /// Adds that these recipients of a message were acknowledged.
    pub fn sent(&mut self, run: u64, n: u64, ordinals: &[u32]) {
        // Writing to a Vec cannot fail.
        let _ = write!(self.buffer, "{run:016x}-{n} ");
        for (at, ordinal) in ordinals.iter().enumerate() {
            let _ = write!(self.buffer, "{}{ordinal}", if at == 0 { "" } else { "," });
        }
        self.buffer.extend_from_slice(b" taken\n");
    }

    /// Adds, the first time, that a message of the run was not taken.
    pub fn untaken(&mut self, run: u64) {
        if !std::mem::replace(&mut self.untaken, true) {
            let _ = writeln!(self.buffer, "{run:016x}-0 untaken");
        }
    }

    /// Adds what became of a recipient.
    pub fn received(&mut self, run: u64, n: u64, ordinal: u32, receipt: Receipt) {
        let word = WORDS.iter().find(|(other, _)| *other == receipt).map_or("", |(_, word)| word);
        let _ = writeln!(self.buffer, "{run:016x}-{n}/{ordinal} {word}");
    }

    /// Hands everything added to the kernel: from then on a crash of this process cannot take it back.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = (&*self.file).write_all(&self.buffer);
        // What could not be written is never acted on, and must not pile up.
        self.buffer.clear();
        result
    }
}

impl Clone for Journal {
    fn clone(&self) -> Journal {
        Journal { file: Arc::clone(&self.file), buffer: Vec::new(), untaken: false }
    }
}

/// Calls `each` with every line of a file. A last line without its end is passed over: it was never acted on.
pub fn read(path: &Path, mut each: impl FnMut(Line)) -> io::Result<()> {
    let name = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut reader = BufReader::with_capacity(1 << 16, Input::open(path).map_err(name)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(name)? == 0 {
            return Ok(());
        }
        match line.split_last() {
            Some((b'\n', text)) if !text.is_empty() => each(parse(text).unwrap_or(Line::Unreadable)),
            Some((b'\n', _)) => {}
            _ if line.len() as u64 == LINE_MAX => each(Line::Unreadable),
            _ => {}
        }
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    let (id, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let (run, n) = id.split_once('-')?;
    let run = u64::from_str_radix(run, 16).ok()?;
    if let Some((n, ordinal)) = n.split_once('/') {
        let receipt = WORDS.iter().find(|(_, word)| *word == rest)?.0;
        return Some(Line::Received(run, n.parse().ok()?, ordinal.parse().ok()?, receipt));
    }
    if rest == "untaken" {
        return Some(Line::Untaken(run));
    }
    let ordinals = rest.strip_suffix(" taken")?.split(',').map(|ordinal| ordinal.parse().ok());
    Some(Line::Sent(run, n.parse().ok()?, ordinals.collect::<Option<_>>()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A file in the temporary directory, removed at the end.
    pub(crate) struct Scratch(pub(crate) PathBuf);

    impl Scratch {
        pub(crate) fn new(name: &str) -> Scratch {
            Scratch(std::env::temp_dir().join(format!("relevo-load-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn lines(path: &Path) -> Vec<Line> {
        let mut found = Vec::new();
        read(path, |line| found.push(line)).unwrap();
        found
    }

    #[test]
    fn what_was_flushed_is_read_back() {
        let scratch = Scratch::new("flushed");
        let mut journal = Journal::open(&scratch.0).unwrap();
        journal.sent(0xAB, 7, &[0, 2]);
        let mut wanted = vec![Line::Sent(0xAB, 7, vec![0, 2])];
        for (ordinal, (receipt, _)) in WORDS.iter().enumerate() {
            journal.received(1, 8, ordinal as u32, *receipt);
            wanted.push(Line::Received(1, 8, ordinal as u32, *receipt));
        }
        assert_eq!(lines(&scratch.0), [], "not flushed yet");
        journal.flush().unwrap();
        assert_eq!(lines(&scratch.0), wanted);
        (0..2).for_each(|_| journal.untaken(0xAB));
        journal.flush().unwrap();
        wanted.push(Line::Untaken(0xAB));
        assert_eq!(lines(&scratch.0), wanted, "told once");
        let mut again = Journal::open(&scratch.0).unwrap();
        again.sent(0xAB, 9, &[1]);
        again.flush().unwrap();
        assert_eq!(lines(&scratch.0).len(), wanted.len() + 1, "an existing file is continued");
    }

    #[test]
    fn a_line_cut_short_is_never_another() {
        let scratch = Scratch::new("cut");
        let whole = [
            &b"00000000000000ab-7123 0,12,3 taken\n"[..],
            b"00000000000000ab-7123/12 intact\n",
            b"00000000000000ab-0 untaken\n",
        ];
        for text in whole {
            for cut in 1..text.len() {
                std::fs::write(&scratch.0, &text[..cut]).unwrap();
                assert_eq!(lines(&scratch.0), [], "{cut}");
                let mut journal = Journal::open(&scratch.0).unwrap();
                journal.sent(1, 2, &[3]);
                journal.flush().unwrap();
                let found = lines(&scratch.0);
                assert_eq!(found.last(), Some(&Line::Sent(1, 2, vec![3])));
                if cut < text.len() - 1 {
                    assert_eq!(found[0], Line::Unreadable, "{cut}");
                }
            }
        }
    }

    #[test]
    fn noise_is_bounded() {
        let scratch = Scratch::new("noise");
        std::fs::write(&scratch.0, [b'x'; 3 * LINE_MAX as usize + 5]).unwrap();
        assert_eq!(lines(&scratch.0), vec![Line::Unreadable; 3]);
    }
}
