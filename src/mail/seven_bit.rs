//! An 8-bit message for a next hop without 8BITMIME (RFC 6152 section 3): its parts are encoded, so that what a reader decodes is byte for
//! byte what was sent. What cannot be changed without a loss (signed parts, 8-bit header fields) is not changed; then the message bounces.
//!
//! Twice over the message, with little memory: a [`Survey`] walks its MIME structure (RFC 2045, RFC 2046) and makes a [`Plan`]; a
//! [`Rewriter`] carries that out. Where readers might see another structure than we do (two Content-Type fields, a line in a header
//! section that is no field), nothing is changed either.

mod binary;
mod field;
mod survey;
#[cfg(test)]
mod tests;

use crate::mail::encoding::{Base64, Base64Lines, QuotedPrintable};

pub use binary::Converter;
pub use survey::Survey;

/// How a part is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    QuotedPrintable,
    Base64,
    /// It is base64 already, in lines that are too long: only they change.
    Lines,
}

impl Coding {
    /// What says so. Lines have it already.
    fn field(self) -> &'static [u8] {
        match self {
            Coding::QuotedPrintable => b"Content-Transfer-Encoding: quoted-printable\r\n",
            Coding::Base64 | Coding::Lines => b"Content-Transfer-Encoding: base64\r\n",
        }
    }
}

/// What is done at a place of the message, in bytes from its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Insert(&'static [u8]),
    /// All up to there is left out.
    Drop(u64),
    /// All up to there is encoded.
    Encode(u64, Coding),
}

/// What is to be changed, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(Vec<(u64, Change)>);

impl Plan {
    /// Nothing: the message is 7-bit as it is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a message cannot be encoded, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

impl Unfit {
    /// Header fields, its own or a part's, have 8-bit text.
    pub const FIELDS: Unfit = Unfit("its header fields have 8-bit text, which cannot be encoded");
}

/// What is being done with the bytes at hand.
#[derive(Debug)]
enum Doing {
    Copy,
    Drop(u64),
    Quoted(u64, QuotedPrintable),
    Base64(u64, Base64),
    Lines(u64, Base64Lines),
}

/// Carries out a plan.
#[derive(Debug)]
pub struct Rewriter<'a> {
    left: &'a [(u64, Change)],
    at: u64,
    doing: Doing,
    line_open: bool,
}

impl<'a> Rewriter<'a> {
    /// From the begin of the message.
    pub fn new(plan: &'a Plan) -> Rewriter<'a> {
        Rewriter { left: &plan.0, at: 0, doing: Doing::Copy, line_open: false }
    }

    /// The next piece of the message: appends what becomes of it, at most about three times as much.
    pub fn write(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        loop {
            self.turn(out);
            if piece.is_empty() {
                break;
            }
            let until = match &self.doing {
                Doing::Copy => self.left.first().map_or(u64::MAX, |(at, _)| *at),
                Doing::Drop(end) | Doing::Quoted(end, _) | Doing::Base64(end, _) | Doing::Lines(end, _) => {
                    *end
                }
            };
            let room = usize::try_from(until - self.at).unwrap_or(usize::MAX);
            let (now, rest) = piece.split_at(room.min(piece.len()));
            match &mut self.doing {
                Doing::Copy => out.extend_from_slice(now),
                Doing::Drop(_) => {}
                Doing::Quoted(_, encoder) => encoder.write(now, out),
                Doing::Base64(_, encoder) => encoder.write(now, out),
                Doing::Lines(_, lines) => lines.write(now, out),
            }
            self.at += now.len() as u64;
            piece = rest;
        }
        if out.len() > begin {
            self.line_open = out.last() != Some(&b'\n');
        }
    }

    /// Ends what ends here, and begins what begins here.
    fn turn(&mut self, out: &mut Vec<u8>) {
        loop {
            match &mut self.doing {
                Doing::Copy => {
                    let Some((_, change)) = self.left.first().filter(|(at, _)| *at == self.at) else {
                        return;
                    };
                    self.left = &self.left[1..];
                    self.doing = match *change {
                        Change::Insert(bytes) => {
                            out.extend_from_slice(bytes);
                            Doing::Copy
                        }
                        Change::Drop(end) => Doing::Drop(end),
                        Change::Encode(end, Coding::QuotedPrintable) => {
                            Doing::Quoted(end, QuotedPrintable::default())
                        }
                        Change::Encode(end, Coding::Base64) => Doing::Base64(end, Base64::default()),
                        Change::Encode(end, Coding::Lines) => Doing::Lines(end, Base64Lines::default()),
                    };
                    continue;
                }
                Doing::Drop(end) | Doing::Quoted(end, _) | Doing::Base64(end, _) | Doing::Lines(end, _)
                    if self.at < *end =>
                {
                    return;
                }
                Doing::Drop(_) | Doing::Lines(..) => {}
                Doing::Quoted(_, encoder) => encoder.finish(out),
                Doing::Base64(_, encoder) => encoder.finish(out),
            }
            self.doing = Doing::Copy;
        }
    }

    /// The end of the message.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.write(b"", out);
        if self.line_open {
            out.extend_from_slice(b"\r\n");
            self.line_open = false;
        }
    }
}
