//! The first pass: what a message is made of, and where its 8-bit bytes are.

use super::field::{Encoding, Kind, encoding, kind};
use super::{Change, Coding, Plan, Unfit};
use crate::limits;
use crate::mail::encoding::is_base64;

/// Longest line that needs no encoding, CRLF excluded (RFC 5322 2.1.1).
const LINE_MAX: u64 = 998;

const MIME_VERSION: &[u8] = b"MIME-Version: 1.0\r\n";
/// RFC 1428 section 3: text of which nobody said what it is.
const UNKNOWN: &[u8] = b"Content-Type: text/plain; charset=unknown-8bit\r\n";
const SEVEN_BIT: &[u8] = b"Content-Transfer-Encoding: 7bit\r\n";

/// Header fields that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Type,
    Encoding,
    Version,
}

/// A part, or a message.
#[derive(Debug)]
struct Entity {
    /// It is a message, and not a part of one.
    whole: bool,
    /// What it is if it does not say.
    digest: bool,
    /// Inside something signed: no byte of it may change.
    signed: bool,
    depth: usize,
    kind: Option<Kind>,
    version: bool,
    /// Its Content-Transfer-Encoding: where that is, and what it makes of the bytes.
    encoding: Option<(u64, u64, Encoding)>,
    /// Where its header section ends, before the empty line; and where its content begins.
    header_end: u64,
    begin: u64,
    eight_bit: bool,
    long_lines: bool,
    /// It is base64, and has something else in it.
    has_other: bool,
}

impl Entity {
    fn new(whole: bool, digest: bool, signed: bool, depth: usize) -> Entity {
        Entity {
            whole,
            digest,
            signed,
            depth,
            kind: None,
            version: false,
            encoding: None,
            header_end: 0,
            begin: 0,
            eight_bit: false,
            long_lines: false,
            has_other: false,
        }
    }

    fn is_base64(&self) -> bool {
        self.encoding.is_some_and(|(_, _, encoding)| encoding == Encoding::Base64)
    }

    fn is_encoded(&self) -> bool {
        self.encoding.is_some_and(|(_, _, encoding)| encoding != Encoding::Identity)
    }
}

/// A multipart that is open.
#[derive(Debug)]
struct Frame {
    boundary: Vec<u8>,
    digest: bool,
    signed: bool,
    depth: usize,
}

#[derive(Debug)]
enum Region {
    Header(Entity),
    Content(Entity),
    /// Before, between and behind parts.
    Outside,
}

/// Walks a message as it comes, piece by piece.
#[derive(Debug)]
pub struct Survey {
    /// Bytes before the line at hand.
    at: u64,
    /// The start of that line, and its length so far.
    line: Vec<u8>,
    length: u64,
    line_eight_bit: bool,
    /// It is in base64, and has something else in it.
    line_other: bool,
    place: Region,
    frames: Vec<Frame>,
    parts: usize,
    /// The field that a folded line would go on, its value, and where it began.
    field: Option<(Field, Vec<u8>, u64)>,
    any_field: bool,
    plan: Plan,
    encodes: bool,
    /// 8-bit header fields of the message stay as they are.
    keeps_header: bool,
    unfit: Option<Unfit>,
}

impl Default for Survey {
    fn default() -> Survey {
        Survey {
            at: 0,
            line: Vec::new(),
            length: 0,
            line_eight_bit: false,
            line_other: false,
            place: Region::Header(Entity::new(true, false, false, 0)),
            frames: Vec::new(),
            parts: 1,
            field: None,
            any_field: false,
            plan: Plan::default(),
            encodes: false,
            keeps_header: false,
            unfit: None,
        }
    }
}

impl Survey {
    /// Of a message whose header section may have 8-bit text, which stays: the rest is 7-bit then, and nobody on its way has to change it.
    pub fn of_body() -> Survey {
        Survey { keeps_header: true, ..Survey::default() }
    }

    /// The next piece of the message, which is in canonical form: CRLF ends lines.
    pub fn read(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while self.unfit.is_none() && !rest.is_empty() {
            let (now, complete) = match memchr::memchr(b'\n', rest) {
                Some(end) => (&rest[..=end], true),
                None => (rest, false),
            };
            rest = &rest[now.len()..];
            let room = limits::MIME_FIELD_MAX - self.line.len();
            self.line.extend_from_slice(&now[..now.len().min(room)]);
            self.length += now.len() as u64;
            self.line_eight_bit |= !now.is_ascii();
            if matches!(&self.place, Region::Content(entity) if entity.is_base64()) {
                self.line_other |= !is_base64(now);
            }
            if complete {
                self.line_done();
            }
        }
    }

    /// What is to be done, at the end of the message.
    pub fn finish(mut self) -> Result<Plan, Unfit> {
        if self.length > 0 {
            self.line_done();
        }
        let end = self.at;
        self.leave(end);
        match self.unfit {
            Some(unfit) => Err(unfit),
            None if self.encodes => Ok(self.plan),
            None => Ok(Plan::default()),
        }
    }

    fn refuse(&mut self, words: &'static str) {
        self.unfit.get_or_insert(Unfit(words));
    }

    fn line_done(&mut self) {
        let line = std::mem::take(&mut self.line);
        let next = self.at + self.length;
        match self.boundary(&line) {
            Some((frame, last)) => self.on_boundary(frame, last, next),
            None => self.on_line(&line, next),
        }
        self.line = line;
        self.line.clear();
        self.at = next;
        (self.length, self.line_eight_bit, self.line_other) = (0, false, false);
    }

    /// Which multipart a line is a boundary of, and whether the last (RFC 2046 5.1.1). One of an outer multipart ends the inner ones.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        if self.frames.is_empty() {
            return None;
        }
        let rest = line.strip_prefix(b"--")?;
        self.frames.iter().enumerate().rev().find_map(|(place, frame)| {
            let behind = rest.strip_prefix(&frame.boundary[..])?;
            let (behind, last) = match behind.strip_prefix(b"--") {
                Some(behind) => (behind, true),
                None => (behind, false),
            };
            behind.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).then_some((place, last))
        })
    }

    fn on_boundary(&mut self, frame: usize, last: bool, next: u64) {
        // The CRLF before a boundary belongs to it.
        self.leave(self.at.saturating_sub(2));
        self.frames.truncate(frame + 1);
        self.place = Region::Outside;
        if last {
            self.frames.pop();
            return;
        }
        let Some(frame) = self.frames.last() else { return };
        let part = Entity::new(false, frame.digest, frame.signed, frame.depth + 1);
        self.enter(part, next);
    }

    /// A header section begins at `at`.
    fn enter(&mut self, entity: Entity, at: u64) {
        self.parts += 1;
        if self.parts > limits::PARTS_MAX || entity.depth > limits::PARTS_DEPTH_MAX {
            self.refuse("it has too many parts, or parts inside each other, to be encoded");
        }
        (self.field, self.any_field) = (None, false);
        self.place = Region::Header(Entity { begin: at, ..entity });
    }

    fn on_line(&mut self, line: &[u8], next: u64) {
        match &mut self.place {
            Region::Header(_) => self.on_header_line(line, next),
            Region::Content(entity) => {
                entity.eight_bit |= self.line_eight_bit;
                entity.has_other |= self.line_other;
                entity.long_lines |= self.length > LINE_MAX + 2;
            }
            Region::Outside if self.line_eight_bit => self.refuse("it has 8-bit text outside of its parts"),
            Region::Outside => {}
        }
    }

    fn on_header_line(&mut self, line: &[u8], next: u64) {
        if line == b"\r\n" || line == b"\n" {
            self.field_done();
            return self.on_header_end(next);
        }
        let is_top = matches!(&self.place, Region::Header(entity) if entity.whole && entity.depth == 0);
        if self.line_eight_bit && !(self.keeps_header && is_top) {
            return self.refuse(Unfit::FIELDS.0);
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if !self.any_field {
                self.refuse("its header section begins with a line that is no field");
            }
            if let Some((_, value, _)) = &mut self.field {
                let text = line.trim_ascii_end();
                if value.len() + text.len() > limits::MIME_FIELD_MAX || self.length > text.len() as u64 + 64 {
                    return self.refuse("a field of its header section is too long to be understood");
                }
                value.extend_from_slice(text);
            }
            return;
        }
        self.field_done();
        self.any_field = true;
        let colon = line.iter().position(|byte| *byte == b':');
        let Some(colon) = colon.filter(|colon| is_name(line[..*colon].trim_ascii_end())) else {
            return self.refuse("its header section has a line that is no field");
        };
        let field = match &line[..colon].trim_ascii_end().to_ascii_lowercase()[..] {
            b"content-type" => Field::Type,
            b"content-transfer-encoding" => Field::Encoding,
            b"mime-version" => Field::Version,
            _ => return,
        };
        if self.length > line.len() as u64 {
            return self.refuse("a field of its header section is too long to be understood");
        }
        self.field = Some((field, line[colon + 1..].trim_ascii_end().to_vec(), self.at));
    }

    /// The field at hand is complete; `at` is behind it.
    fn field_done(&mut self) {
        let Some((field, value, begin)) = self.field.take() else { return };
        let end = self.at;
        let Region::Header(entity) = &mut self.place else { return };
        let twice = match field {
            Field::Type => entity.kind.replace(kind(&value)).is_some(),
            Field::Encoding => entity.encoding.replace((begin, end, encoding(&value))).is_some(),
            Field::Version => std::mem::replace(&mut entity.version, true),
        };
        if twice {
            self.refuse("it has a MIME field twice, and readers differ about which counts");
        }
    }

    fn on_header_end(&mut self, next: u64) {
        let (at, place) = (self.at, std::mem::replace(&mut self.place, Region::Outside));
        let Region::Header(mut entity) = place else { return };
        (entity.header_end, entity.begin) = (at, next);
        let encoded = entity.is_encoded();
        match &entity.kind {
            // What may not be encoded and says it is (RFC 2045 6.4) is nothing we could look into.
            Some(Kind::Multipart { .. } | Kind::Message) if encoded => entity.kind = Some(Kind::Fixed),
            Some(Kind::Multipart { boundary, digest, signed }) => {
                let (depth, signed) = (entity.depth, entity.signed || *signed);
                let frame = Frame { boundary: boundary.clone(), digest: *digest, signed, depth };
                self.settle_around(&entity);
                self.frames.push(frame);
                return;
            }
            Some(Kind::Message) => return self.on_message(&entity, next),
            None if entity.digest => return self.on_message(&entity, next),
            _ => {}
        }
        self.place = Region::Content(entity);
    }

    fn on_message(&mut self, around: &Entity, next: u64) {
        self.settle_around(around);
        self.enter(Entity::new(true, false, around.signed, around.depth + 1), next);
    }

    /// What holds other parts is 7-bit when they are (RFC 2045 6.4), and is MIME if they are to be.
    fn settle_around(&mut self, entity: &Entity) {
        if entity.signed {
            return;
        }
        if let Some((begin, end, Encoding::Identity)) = entity.encoding {
            self.plan.0.push((begin, Change::Drop(end)));
            self.plan.0.push((end, Change::Insert(SEVEN_BIT)));
        }
        if entity.whole && !entity.version {
            self.plan.0.push((entity.header_end, Change::Insert(MIME_VERSION)));
        }
    }

    /// The part at hand ends at `end`.
    fn leave(&mut self, end: u64) {
        self.field_done();
        let Region::Content(entity) = std::mem::replace(&mut self.place, Region::Outside) else { return };
        let end = end.max(entity.begin);
        if !entity.eight_bit && !entity.long_lines {
            return;
        }
        let encoded = entity.is_encoded();
        let coding = match &entity.kind {
            _ if entity.signed => None,
            _ if encoded => return self.leave_encoded(&entity, end),
            None | Some(Kind::Text) => Some(Coding::QuotedPrintable),
            Some(Kind::Bytes) => Some(Coding::Base64),
            Some(_) => None,
        };
        let Some(coding) = coding else {
            // Lines that are only too long go as they would anywhere else.
            if entity.eight_bit {
                self.refuse(match () {
                    () if entity.signed => "a part of it that is signed has 8-bit text",
                    () => "a part of it has 8-bit text and is of a type that cannot be encoded",
                });
            }
            return;
        };
        self.encodes = true;
        let edits = &mut self.plan.0;
        match entity.encoding {
            Some((begin, end, _)) => {
                edits.push((begin, Change::Drop(end)));
                edits.push((end, Change::Insert(coding.field())));
            }
            None => edits.push((entity.header_end, Change::Insert(coding.field()))),
        }
        if entity.whole && !entity.version {
            edits.push((entity.header_end, Change::Insert(MIME_VERSION)));
        }
        if entity.kind.is_none() && entity.eight_bit {
            edits.push((entity.header_end, Change::Insert(UNKNOWN)));
        }
        edits.push((entity.begin, Change::Encode(end, coding)));
    }
}

impl Survey {
    /// The same for one that is encoded: of base64 the lines can be shorter.
    fn leave_encoded(&mut self, entity: &Entity, end: u64) {
        if entity.eight_bit {
            return self.refuse("a part of it says that it is encoded, and has 8-bit text");
        }
        // A boundary that was none before could begin a line that other text is cut into.
        if entity.is_base64() && !entity.has_other {
            self.encodes = true;
            self.plan.0.push((entity.begin, Change::Encode(end, Coding::Lines)));
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| (33..127).contains(byte))
}
