//! A message that came with BODY=BINARYMIME (RFC 3030 section 3), as every hop takes it: each part that says it is `binary` becomes base64 while it comes
//! in, however large it is. All else passes as it came, and is then looked at as any message is: no byte of a binary part gets further.
//!
//! Lines end with CRLF here and nowhere else, as delimiters of parts do (RFC 2046 5.1.1): what stands behind a bare LF is none, and text with one is refused
//! behind this.

use super::field::{Encoding, Kind, encoding, is_binary, kind};
use crate::limits;
use crate::mail::encoding::Base64;

const BASE64: &[u8] = b"Content-Transfer-Encoding: base64\r\n";
/// Of what has parts, which may have 8-bit text in them (RFC 2045 6.4).
const EIGHT_BIT: &[u8] = b"Content-Transfer-Encoding: 8bit\r\n";

/// Where in the message the next byte stands.
#[derive(Debug)]
enum Place {
    Header(Header),
    /// In what passes as it came.
    Text,
    /// In what is encoded.
    Binary(Base64),
}

/// A header section that is coming in.
#[derive(Debug, Default)]
struct Header {
    /// It is the message's own.
    is_top: bool,
    /// What it is about, if that does not say, is a message.
    digest: bool,
    depth: usize,
    kind: Option<Kind>,
    encoding: Option<Encoding>,
    /// A field that a line may go on, and its value so far.
    field: Option<(Field, Vec<u8>)>,
    /// From a Content-Transfer-Encoding on: what goes on when that is known, or when all of the section is.
    held: Vec<u8>,
    /// Where that field stands in it, once it is known to say `binary`.
    binary: Option<(usize, usize)>,
    /// A field that may be there once is there twice.
    doubtful: bool,
    /// The line at hand is longer than any that matters here, and its beginning passed.
    long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Type,
    Encoding,
}

/// A multipart that is open.
#[derive(Debug)]
struct Frame {
    boundary: Vec<u8>,
    digest: bool,
    depth: usize,
}

/// Converts a message as it comes.
#[derive(Debug)]
pub struct Converter {
    place: Place,
    frames: Vec<Frame>,
    /// Bytes held back: the CRLF before the line at hand, where that is none of a part that ends there, and the line as far as it may be a delimiter.
    held: Vec<u8>,
    /// Bytes of `held` before the line.
    before: usize,
    /// The line at hand is known to be no delimiter.
    within: bool,
    /// Something of the part at hand was encoded.
    encoded: bool,
    parts: usize,
    /// Somebody signed all of it, or a part of it that is open, at this depth of frames: no byte of that may change.
    signed: Option<usize>,
    unfit: Option<&'static str>,
}

impl Default for Converter {
    fn default() -> Converter {
        Converter {
            place: Place::Header(Header { is_top: true, ..Header::default() }),
            frames: Vec::new(),
            held: Vec::new(),
            before: 0,
            within: false,
            encoded: false,
            parts: 1,
            signed: None,
            unfit: None,
        }
    }
}

impl Converter {
    /// Why it cannot be converted, in words that go on after "the message cannot be converted: "; nothing of it is written then.
    pub fn unfit(&self) -> Option<&'static str> {
        self.unfit
    }

    /// The next of the message: appends what becomes of it, at most about half as much again, and what was held back.
    pub fn write(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while !piece.is_empty() && self.unfit.is_none() {
            let used = if self.within { self.inside(piece, out) } else { self.line(piece, out) };
            piece = &piece[used..];
        }
    }

    /// The end of the message.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.unfit.is_some() {
            return;
        }
        if !self.within && self.delimiter(&self.held[self.before..]).is_some() {
            self.end_line(out);
        }
        let held = std::mem::take(&mut self.held);
        if matches!(self.place, Place::Binary(_)) {
            self.put(&held, out);
        }
        match &mut self.place {
            Place::Binary(encoder) => {
                encoder.finish(out);
                // A message ends with a line.
                if self.encoded {
                    out.extend_from_slice(b"\r\n");
                }
            }
            Place::Header(header) => {
                out.append(&mut header.held);
                out.extend_from_slice(&held);
                if header.binary.is_some() {
                    self.refuse("it ends in the header section of a part that says it is binary");
                }
            }
            Place::Text => out.extend_from_slice(&held),
        }
    }

    #[cold]
    fn refuse(&mut self, words: &'static str) {
        self.unfit.get_or_insert(words);
    }

    /// In a line that is no delimiter, and of no header section: up to where the next may begin. Returns how much that was.
    fn inside(&mut self, piece: &[u8], out: &mut Vec<u8>) -> usize {
        if self.held.pop().is_some() {
            if piece[0] == b'\n' {
                self.line_begins(out);
                return 1;
            }
            self.put(b"\r", out);
            return 0;
        }
        let end = memchr::memchr(b'\r', piece).unwrap_or(piece.len());
        self.put(&piece[..end], out);
        if end < piece.len() {
            self.held.push(b'\r');
        }
        piece.len().min(end + 1)
    }

    /// Its CRLF came.
    fn line_begins(&mut self, out: &mut Vec<u8>) {
        self.held.clear();
        self.within = false;
        self.before = 0;
        match self.place {
            // It may be the one that belongs to a delimiter.
            Place::Binary(_) => {
                self.held.extend_from_slice(b"\r\n");
                self.before = 2;
            }
            _ => out.extend_from_slice(b"\r\n"),
        }
    }

    /// What is there of a line that may be a delimiter, or is one of a header section. Returns how much that was.
    fn line(&mut self, piece: &[u8], out: &mut Vec<u8>) -> usize {
        let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |end| end + 1);
        let is_header = matches!(self.place, Place::Header(_));
        let most = if is_header { limits::MIME_FIELD_MAX } else { limits::DELIMITER_LINE_MAX };
        let room = (self.before + most).saturating_sub(self.held.len()).max(1);
        let used = end.min(room);
        self.held.extend_from_slice(&piece[..used]);
        let line = &self.held[self.before..];
        if line.ends_with(b"\r\n") {
            self.end_line(out);
        } else if is_header {
            if line.len() >= most {
                self.long_header_line(out);
            }
        } else if self.frames.is_empty() || line.len() >= most || !may_delimit(line) {
            self.within = true;
            let held = std::mem::take(&mut self.held);
            let (text, last) = held.split_at(held.len() - usize::from(held.ends_with(b"\r")));
            self.put(text, out);
            self.held.extend_from_slice(last);
        }
        used
    }

    /// One that is longer than any that matters: it passes, unless it does.
    #[cold]
    fn long_header_line(&mut self, out: &mut Vec<u8>) {
        let Place::Header(header) = &mut self.place else { return };
        let goes_on = self.held.starts_with(b" ") || self.held.starts_with(b"\t");
        if !header.long && !goes_on {
            header.field_done(out);
        }
        let matters = header.field.is_some() || header.binary.is_some() || field(&self.held).is_some();
        if matters && !header.long {
            return self.refuse("a header section is too long to be understood");
        }
        header.long = true;
        out.append(&mut self.held);
    }

    /// All of a line is held, its CRLF included unless it is the message's last.
    fn end_line(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let line = &held[std::mem::take(&mut self.before)..];
        if let Place::Header(header) = &mut self.place
            && std::mem::take(&mut header.long)
        {
            return out.extend_from_slice(&held);
        }
        if let Some((frame, last)) = self.delimiter(line) {
            self.leave(out);
            out.extend_from_slice(&held);
            return self.on_delimiter(frame, last);
        }
        match &mut self.place {
            Place::Header(_) => self.header_line(line, out),
            Place::Binary(_) => {
                self.put(&held[..held.len() - 2], out);
                self.line_begins(out);
            }
            Place::Text => out.extend_from_slice(&held),
        }
    }

    fn put(&mut self, text: &[u8], out: &mut Vec<u8>) {
        match &mut self.place {
            Place::Binary(encoder) => {
                self.encoded |= !text.is_empty();
                encoder.write(text, out);
            }
            _ => out.extend_from_slice(text),
        }
    }

    /// Which multipart a line delimits, and whether it is the last of it. One of an outer multipart ends the inner ones.
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let rest = line.strip_prefix(b"--")?;
        self.frames.iter().enumerate().rev().find_map(|(place, frame)| {
            let behind = rest.strip_prefix(&frame.boundary[..])?;
            let (behind, last) = behind.strip_prefix(b"--").map_or((behind, false), |behind| (behind, true));
            behind.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).then_some((place, last))
        })
    }

    /// What was there of a part is all of it.
    fn leave(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.place, Place::Text) {
            Place::Binary(mut encoder) => encoder.finish(out),
            Place::Header(header) if header.binary.is_some() => {
                self.refuse("a part of it that says it is binary has no end of its header section");
            }
            Place::Header(header) => out.extend_from_slice(&header.held),
            Place::Text => {}
        }
    }

    fn on_delimiter(&mut self, frame: usize, last: bool) {
        self.frames.truncate(frame + usize::from(!last));
        if self.signed.is_some_and(|depth| depth > self.frames.len()) {
            self.signed = None;
        }
        if let Some(frame) = self.frames.last().filter(|_| !last) {
            let (digest, depth) = (frame.digest, frame.depth + 1);
            self.enter(Header { digest, depth, ..Header::default() });
        }
    }

    /// A header section begins.
    fn enter(&mut self, header: Header) {
        self.parts += 1;
        if self.parts > limits::PARTS_MAX || header.depth > limits::PARTS_DEPTH_MAX {
            return self.refuse("it has too many parts, or parts inside each other");
        }
        self.place = Place::Header(header);
    }

    fn header_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Place::Header(header) = &mut self.place else { return };
        if line == b"\r\n" {
            header.field_done(out);
            return self.header_ends(out);
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some((_, value)) = &mut header.field {
                value.extend_from_slice(line.trim_ascii_end());
            }
        } else {
            header.field_done(out);
            header.field = field(line).map(|(field, value)| (field, value.trim_ascii_end().to_vec()));
            if header.is_top && name(line).eq_ignore_ascii_case(b"dkim-signature") {
                self.signed = Some(0);
            }
        }
        let is_held = header.binary.is_some() || matches!(header.field, Some((Field::Encoding, _)));
        if is_held {
            header.held.extend_from_slice(line);
        } else {
            out.extend_from_slice(line);
        }
        let value = header.field.as_ref().map_or(0, |(_, value)| value.len());
        if header.held.len().max(value) > limits::MIME_FIELD_MAX {
            self.refuse("a header section is too long to be understood");
        }
    }

    fn header_ends(&mut self, out: &mut Vec<u8>) {
        let Place::Header(header) = std::mem::replace(&mut self.place, Place::Text) else { return };
        let Header { digest, depth, kind, encoding, held, binary, doubtful, .. } = header;
        let is_encoded = matches!(encoding, Some(Encoding::Base64 | Encoding::Other));
        let kind = match kind {
            // What may not be encoded and says it is (RFC 2045 6.4) is nothing we could look into.
            Some(Kind::Multipart { .. } | Kind::Message) if is_encoded => Some(Kind::Fixed),
            None if digest => Some(Kind::Message),
            kind => kind,
        };
        if let Some((begin, end)) = binary {
            if doubtful {
                self.refuse("it has a MIME field twice, and readers differ about which counts");
            } else if self.signed.is_some() {
                self.refuse("somebody signed it, and the signature would not hold");
            } else if matches!(kind, Some(Kind::Fixed)) {
                self.refuse("a part of it says it is binary and is of a type that cannot be encoded");
            }
            let has_parts = matches!(kind, Some(Kind::Multipart { .. } | Kind::Message));
            out.extend_from_slice(&held[..begin]);
            out.extend_from_slice(if has_parts { EIGHT_BIT } else { BASE64 });
            out.extend_from_slice(&held[end..]);
            if !has_parts {
                self.place = Place::Binary(Base64::default());
                self.encoded = false;
            }
        } else {
            out.extend_from_slice(&held);
        }
        out.extend_from_slice(b"\r\n");
        match kind {
            Some(Kind::Multipart { boundary, digest, signed }) if !doubtful => {
                self.frames.push(Frame { boundary, digest, depth });
                if signed && self.signed.is_none() {
                    self.signed = Some(self.frames.len());
                }
            }
            Some(Kind::Message) if !doubtful => self.enter(Header { depth: depth + 1, ..Header::default() }),
            _ => {}
        }
    }
}

impl Header {
    /// The field at hand is complete. What was held for it goes on, unless all is held by now.
    fn field_done(&mut self, out: &mut Vec<u8>) {
        let Some((field, value)) = self.field.take() else { return };
        match field {
            Field::Type => self.doubtful |= self.kind.replace(kind(&value)).is_some(),
            Field::Encoding => {
                self.doubtful |= self.encoding.replace(encoding(&value)).is_some();
                if self.binary.is_none() && is_binary(&value) {
                    self.binary = Some((0, self.held.len()));
                }
            }
        }
        if self.binary.is_none() {
            out.append(&mut self.held);
        }
    }
}

fn name(line: &[u8]) -> &[u8] {
    line[..memchr::memchr(b':', line).unwrap_or(0)].trim_ascii_end()
}

/// Which field that matters a line begins, and what is there of its value.
fn field(line: &[u8]) -> Option<(Field, &[u8])> {
    let field = match name(line) {
        name if name.eq_ignore_ascii_case(b"content-type") => Field::Type,
        name if name.eq_ignore_ascii_case(b"content-transfer-encoding") => Field::Encoding,
        _ => return None,
    };
    Some((field, &line[memchr::memchr(b':', line)? + 1..]))
}

/// Whether a line that has just begun can be a delimiter yet.
fn may_delimit(line: &[u8]) -> bool {
    line.iter().zip(b"--").all(|(byte, dash)| byte == dash)
}

#[cfg(test)]
mod tests;
