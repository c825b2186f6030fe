//! The body as it is hashed (RFC 6376 3.4.3, 3.4.4, 3.7), as a stream: it may come in any pieces and is never kept.
//!
//! Input is what the relay stores: CRLF ends lines. A CR or LF alone is a byte like others. Nearly all of a body is hashed as it lies in
//! memory: only a blank that may have to go, and the line ends that may turn out to be the last, are looked at one by one.

use aws_lc_rs::digest::{Context, SHA256};

use super::Canonicalization;

/// SHA-256 of a body.
pub type BodyHash = [u8; 32];

/// Bytes that are looked at together for a blank that is to be changed: a few registers full.
const BLOCK: usize = 64;

/// Line ends that were held back are written from here.
const LINE_ENDS: &[u8] = b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";

/// Changes a body into its canonical form.
#[derive(Debug)]
pub struct BodyCanonicalizer {
    relaxed: bool,
    /// The next byte decides about what is held back: line ends, then a blank, then a CR.
    holding: bool,
    lines: u64,
    blank: bool,
    returned: bool,
    is_empty: bool,
}

impl BodyCanonicalizer {
    /// At the begin of a body.
    pub fn new(canonicalization: Canonicalization) -> BodyCanonicalizer {
        BodyCanonicalizer {
            relaxed: canonicalization == Canonicalization::Relaxed,
            holding: true,
            lines: 0,
            blank: false,
            returned: false,
            is_empty: true,
        }
    }

    /// The next piece. `out` gets what it becomes, in order, and what was held back before it.
    pub fn write(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
        let mut at = 0;
        while at < piece.len() {
            at = match (self.holding, self.relaxed) {
                (true, _) => self.hold(piece, at, out),
                (false, true) => self.relaxed_run(piece, at, out),
                (false, false) => self.end_run(&piece[at..], piece.len(), out),
            };
        }
    }

    /// The end of the body: the last line has an end, and no empty line follows it. An empty body is one line end in simple form, and nothing in
    /// relaxed form.
    pub fn finish(mut self, out: &mut impl FnMut(&[u8])) {
        if self.returned {
            self.release(out);
            self.put(b"\r", out);
        }
        if !self.is_empty || !self.relaxed {
            out(b"\r\n");
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) {
        if !bytes.is_empty() {
            self.is_empty = false;
            out(bytes);
        }
    }

    /// Counts what may yet be the end of the body. Returns where something else begins.
    fn hold(&mut self, piece: &[u8], start: usize, out: &mut impl FnMut(&[u8])) -> usize {
        for (at, byte) in piece.iter().enumerate().skip(start) {
            match byte {
                b'\n' if self.returned => {
                    (self.returned, self.blank) = (false, false);
                    self.lines += 1;
                }
                _ if self.returned => {
                    self.returned = false;
                    self.release(out);
                    self.put(b"\r", out);
                    return at;
                }
                b'\r' => self.returned = true,
                b' ' | b'\t' if self.relaxed => self.blank = true,
                _ => {
                    self.release(out);
                    return at;
                }
            }
        }
        piece.len()
    }

    /// What was held back is not the end of the body.
    fn release(&mut self, out: &mut impl FnMut(&[u8])) {
        while self.lines > 0 {
            let now = self.lines.min(LINE_ENDS.len() as u64 / 2);
            self.put(&LINE_ENDS[..2 * now as usize], out);
            self.lines -= now;
        }
        if std::mem::take(&mut self.blank) {
            self.put(b" ", out);
        }
        self.holding = false;
    }

    /// From a byte that stays, up to where something is held back.
    fn relaxed_run(&mut self, piece: &[u8], start: usize, out: &mut impl FnMut(&[u8])) -> usize {
        let (mut from, mut at) = (start, start);
        while let Some(blank) = next_blank(piece, at) {
            let behind = &piece[blank..];
            let length = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            at = blank + length;
            match &piece[at..] {
                // The next piece says what it stands in front of.
                [] | [b'\r'] => {
                    self.blank = true;
                    return self.end_run(&piece[from..blank], at, out);
                }
                // A line of blanks is an empty one, and these may be the last.
                [b'\r', b'\n', ..] if piece[from..blank].ends_with(b"\r\n") => {
                    return self.end_run(&piece[from..blank], at, out);
                }
                [b'\r', b'\n', ..] => {
                    self.put(&piece[from..blank], out);
                    from = at;
                }
                _ if behind[0] == b' ' && length == 1 => {}
                _ => {
                    let kept = usize::from(behind[0] == b' ');
                    self.put(&piece[from..blank + kept], out);
                    if kept == 0 {
                        self.put(b" ", out);
                    }
                    from = at;
                }
            }
        }
        self.end_run(&piece[from..], piece.len(), out)
    }

    /// A run without what may be the end of the body; returns `next`.
    fn end_run(&mut self, mut run: &[u8], next: usize, out: &mut impl FnMut(&[u8])) -> usize {
        let whole = run.len();
        if let Some(rest) = run.strip_suffix(b"\r").filter(|_| !self.blank) {
            (run, self.returned) = (rest, true);
        }
        while let Some(rest) = run.strip_suffix(b"\r\n") {
            run = rest;
            self.lines += 1;
        }
        self.holding = self.blank || run.len() < whole;
        self.put(run, out);
        next
    }
}

/// Whether a blank in front of `next` may have to be changed: it is the last of its line, one of several, or a tab. What else is not above
/// the blank is looked at in vain, which costs less than to tell it apart here.
fn is_suspect(byte: u8, next: u8) -> bool {
    (byte == b' ') & (next <= b' ') | (byte == b'\t')
}

/// The first such blank. The last byte is looked at as if one was behind it.
fn next_blank(piece: &[u8], mut at: usize) -> Option<usize> {
    // A few registers full at a time, as the compiler makes of it.
    while let Some(block) = piece.get(at..=at + BLOCK) {
        let pairs = block[..BLOCK].iter().zip(&block[1..]);
        if pairs.fold(false, |found, (byte, next)| found | is_suspect(*byte, *next)) {
            break;
        }
        at += BLOCK;
    }
    while let Some((word, [next, ..])) = piece.get(at..).and_then(|rest| rest.split_first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let suspects = suspects(word, word >> 8 | u64::from(*next) << 56);
        if suspects != 0 {
            return Some(at + suspects.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    (at..piece.len()).find(|at| is_suspect(piece[*at], piece.get(at + 1).copied().unwrap_or_default()))
}

/// The same for eight bytes at once: the high bit of each that is one.
fn suspects(bytes: u64, next: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    // No sum carries into the byte above.
    let is = |byte: u8| {
        let other = bytes ^ (ONES * u64::from(byte));
        !(((other & !HIGH) + !HIGH) | other) & HIGH
    };
    let above_blank = ((next & !HIGH) + ONES * u64::from(0x7f - b' ')) | next;
    is(b' ') & !above_blank | is(b'\t')
}

/// Hashes a body.
pub struct BodyHasher {
    canonicalizer: BodyCanonicalizer,
    digest: Context,
}

impl BodyHasher {
    /// At the begin of a body.
    pub fn new(canonicalization: Canonicalization) -> BodyHasher {
        BodyHasher { canonicalizer: BodyCanonicalizer::new(canonicalization), digest: Context::new(&SHA256) }
    }

    /// The next piece of it.
    pub fn update(&mut self, piece: &[u8]) {
        let digest = &mut self.digest;
        self.canonicalizer.write(piece, &mut |bytes| digest.update(bytes));
    }

    /// The end of the body.
    pub fn finish(mut self) -> BodyHash {
        let digest = &mut self.digest;
        self.canonicalizer.finish(&mut |bytes| digest.update(bytes));
        let mut hash = BodyHash::default();
        hash.copy_from_slice(self.digest.finish().as_ref());
        hash
    }
}

/// Hashes a body for several signers: once for each canonicalisation that one of them uses.
#[derive(Default)]
pub struct BodyHashers {
    simple: Option<BodyHasher>,
    relaxed: Option<BodyHasher>,
}

impl BodyHashers {
    /// At the begin of a body that is hashed in these forms.
    pub fn new(forms: impl IntoIterator<Item = Canonicalization>) -> BodyHashers {
        let mut hashers = BodyHashers::default();
        for form in forms {
            let hasher = match form {
                Canonicalization::Simple => &mut hashers.simple,
                Canonicalization::Relaxed => &mut hashers.relaxed,
            };
            hasher.get_or_insert_with(|| BodyHasher::new(form));
        }
        hashers
    }

    /// The next piece of it.
    pub fn update(&mut self, piece: &[u8]) {
        self.simple.iter_mut().chain(&mut self.relaxed).for_each(|hasher| hasher.update(piece));
    }

    /// The end of the body.
    pub fn finish(self) -> BodyHashes {
        BodyHashes {
            simple: self.simple.map(BodyHasher::finish),
            relaxed: self.relaxed.map(BodyHasher::finish),
        }
    }
}

/// The hashes of one body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyHashes {
    /// In simple form, if that was asked for.
    pub simple: Option<BodyHash>,
    /// In relaxed form, if that was asked for.
    pub relaxed: Option<BodyHash>,
}

impl BodyHashes {
    /// In that form.
    pub fn of(&self, canonicalization: Canonicalization) -> Option<&BodyHash> {
        match canonicalization {
            Canonicalization::Simple => self.simple.as_ref(),
            Canonicalization::Relaxed => self.relaxed.as_ref(),
        }
    }
}
