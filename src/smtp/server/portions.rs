//! BDAT (RFC 3030): a message in portions, each of a size that its command says. The bytes of one that is refused come all the same, and are
//! dropped before that is said.

use crate::limits;
use crate::mail::seven_bit::Converter;
use crate::smtp::data::{Scanned, Scanner};

/// The portion that is coming in, and those of its transaction before it.
#[derive(Debug, Default)]
pub(super) struct Portions {
    /// Bytes of the portion that are still to come.
    left: u64,
    /// One is coming in, or came whole and is not answered yet.
    is_open: bool,
    /// The message ends with it.
    last: bool,
    /// It is refused.
    unwanted: Option<Unwanted>,
    /// Bytes of the message so far.
    octets: u64,
    count: u64,
    /// One was refused: nothing more is taken before RSET.
    failed: bool,
    /// What makes text of a binary message.
    converter: Option<Box<Converter>>,
}

/// What becomes of a portion that came whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Portion {
    /// The message goes on, with so many bytes by now.
    Taken(u64),
    /// It is complete.
    Last,
    /// It is refused, and with it the message.
    Refused(Unwanted),
}

/// Why a portion is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwanted {
    /// There is no message that it could belong to.
    OutOfPlace,
    /// One of its message was refused before.
    Behind,
    /// With it the message is too large.
    TooLarge,
    /// The message is complete, is binary, and cannot be made text: why.
    Unfit(&'static str),
}

/// What a BDAT cannot be answered to at all: the session ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endless {
    /// More bytes than are waited for.
    Size,
    /// More portions than a message of this size has.
    Count,
}

/// How a portion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortionEnd {
    /// It is taken, and the message goes on.
    More,
    /// The message is complete, with these bytes behind it: call [`Session::body_end`](super::Session::body_end).
    Message(&'static [u8]),
    /// Refused, and with it the message: nothing of that is kept.
    Refused {
        /// Close after sending.
        close: bool,
        /// There was a message that would have been taken.
        message: bool,
    },
}

impl Portions {
    /// Of a transaction that has just begun: a message with BODY=BINARYMIME comes by BDAT, and by nothing else (RFC 3030 section 3). None: it may come
    /// by either.
    pub(super) fn of_body(binary: bool) -> Option<Box<Portions>> {
        let converter = binary.then(Box::default);
        binary.then(|| Box::new(Portions { converter, ..Portions::default() }))
    }

    /// Whether the message is binary, and so more of it may be stored than came.
    pub(super) fn is_binary(&self) -> bool {
        self.converter.is_some()
    }

    /// Whether bytes are awaited, or what came is to be answered.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether what came so far is to be kept.
    pub(super) fn go_on(&self) -> bool {
        !self.failed && self.unwanted.is_none()
    }

    /// Whether the message ends with this one.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// Bytes of this one that are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// A portion begins, of a message that may have so many bytes. `in_place`: there is a transaction for it.
    pub(super) fn begin(
        &mut self,
        (size, last): (u64, bool),
        size_max: u64,
        in_place: bool,
    ) -> Result<(), Endless> {
        self.count += 1;
        let octets = self.octets.saturating_add(size);
        if octets > size_max.saturating_mul(limits::PORTIONS_SKIPPED_TIMES) {
            return Err(Endless::Size);
        }
        if self.count > limits::PORTIONS_FREE + octets / limits::PORTION_LEAST {
            return Err(Endless::Count);
        }
        (self.left, self.last, self.octets, self.is_open) = (size, last, octets, true);
        self.unwanted = if self.failed {
            Some(Unwanted::Behind)
        } else if !in_place {
            Some(Unwanted::OutOfPlace)
        } else {
            (octets > size_max).then_some(Unwanted::TooLarge)
        };
        Ok(())
    }

    /// Takes what of `fresh` is the portion's; `done`: it came whole.
    pub(super) fn scan(&mut self, scanner: Option<&mut Scanner>, fresh: &mut [u8]) -> Scanned {
        let take = fresh.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= take as u64;
        let mut scanned = match (scanner.filter(|_| self.unwanted.is_none()), &mut self.converter) {
            (Some(scanner), None) => scanner.scan(&mut fresh[..take]),
            (Some(scanner), Some(converter)) => {
                let mut text = Vec::with_capacity(take + take / 2);
                converter.write(&fresh[..take], &mut text);
                if self.left == 0 && self.last {
                    converter.finish(&mut text);
                }
                let scanned = scanner.scan(&mut text);
                text.truncate(scanned.kept);
                let grown = if scanned.grown.is_empty() { text } else { scanned.grown };
                Scanned { kept: 0, grown, consumed: take, done: false }
            }
            (None, _) => Scanned { kept: 0, grown: Vec::new(), consumed: take, done: false },
        };
        scanned.done = self.left == 0;
        scanned
    }

    /// The portion came whole.
    pub(super) fn end(&mut self) -> Portion {
        self.is_open = false;
        let unfit = self.converter.as_ref().and_then(|converter| converter.unfit());
        match self.unwanted.take().or(unfit.filter(|_| self.last).map(Unwanted::Unfit)) {
            Some(unwanted) => {
                self.failed = true;
                Portion::Refused(unwanted)
            }
            None if self.last => Portion::Last,
            None => Portion::Taken(self.octets),
        }
    }
}

const _: () =
    assert!(limits::PORTIONS_SKIPPED_TIMES >= 2, "one that is a little too large is read to its end");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BareNewlines;

    #[test]
    fn portions_have_bounds() {
        let mut portions = Portions::default();
        let mut begin = |size, last| portions.begin((size, last), 1000, true);
        assert_eq!(begin(u64::MAX, true), Err(Endless::Size));
        assert_eq!(begin(2001, false), Err(Endless::Size));
        assert_eq!(begin(2000, false), Ok(()), "it is read, and refused then");
        // Empty ones have a bound, those of usual size have none but the message's.
        let (mut empty, mut usual) = (Portions::default(), Portions::default());
        let free = limits::PORTIONS_FREE;
        assert_eq!((0..free).filter(|_| empty.begin((0, false), 1000, true).is_err()).count(), 0);
        assert_eq!(empty.begin((0, true), 1000, true), Err(Endless::Count));
        for _ in 0..10 * free {
            assert_eq!(usual.begin((limits::PORTION_LEAST, false), u64::MAX, true), Ok(()));
        }
    }

    #[test]
    fn a_portion_takes_its_bytes_and_no_more() {
        let mut portions = Portions::default();
        let mut scanner = Scanner::new(1000, BareNewlines::Refuse).counted();
        assert_eq!(portions.begin((5, false), 1000, true), Ok(()));
        let mut fresh = *b"a\r\n.\r\nQUIT";
        let scanned = portions.scan(Some(&mut scanner), &mut fresh);
        assert_eq!((scanned.body(&fresh), scanned.consumed, scanned.done), (&b"a\r\n.\r"[..], 5, true));
        assert_eq!(portions.end(), Portion::Taken(5));
        // What is refused is dropped, and so is all behind it.
        assert_eq!(portions.begin((3, true), 1000, false), Ok(()));
        let scanned = portions.scan(Some(&mut scanner), &mut fresh[..2]);
        assert_eq!((scanned.kept, scanned.consumed, scanned.done), (0, 2, false));
        assert!(portions.scan(Some(&mut scanner), &mut fresh).done && portions.is_open());
        assert_eq!(portions.end(), Portion::Refused(Unwanted::OutOfPlace));
        assert_eq!(portions.begin((0, true), 1000, true), Ok(()));
        assert!(portions.scan(Some(&mut scanner), &mut []).done);
        assert_eq!((portions.end(), portions.is_open()), (Portion::Refused(Unwanted::Behind), false));
    }
}
