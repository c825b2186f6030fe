//! What LMTP (RFC 2033) has beyond SMTP: LHLO, and a reply for each recipient behind the final dot.

use smallvec::SmallVec;

use crate::limits;

/// The greeting of a client: in place of EHLO, and there is nothing like HELO behind it (RFC 2033 section 4.1).
pub const HELLO: &str = "LHLO";

/// The replies behind the final dot: one for each recipient whose RCPT was answered with success, in the order of these, and none for
/// the others (RFC 2033 section 4.2).
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Places of the recipients that were taken.
    taken: SmallVec<[u16; limits::RECIPIENTS_INLINE]>,
    /// How many of them were answered for.
    given: usize,
}

impl Answers {
    /// The data goes to these.
    pub(super) fn expect(&mut self, taken: impl Iterator<Item = usize>) {
        self.taken = taken.map(|place| place as u16).collect();
        self.given = 0;
    }

    /// A reply came: whose it is.
    pub(super) fn next(&mut self) -> Option<usize> {
        let place = *self.taken.get(self.given)?;
        self.given += 1;
        Some(usize::from(place))
    }

    /// Replies that are still to come.
    pub(super) fn due(&self) -> usize {
        self.taken.len() - self.given
    }

    /// Replies that there are to be.
    pub(super) fn expected(&self) -> usize {
        self.taken.len()
    }

    /// Recipients that were answered for.
    pub(super) fn given(&self) -> impl Iterator<Item = usize> {
        self.taken.iter().take(self.given).map(|place| usize::from(*place))
    }
}

#[cfg(test)]
mod tests;
