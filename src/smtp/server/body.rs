//! The end of a body: what it is refused for, and what becomes of its envelope.

use crate::mail::envelope::Envelope;
use crate::smtp::data::Summary;
use crate::smtp::words;

/// How a body ended.
#[derive(Debug)]
pub enum BodyEnd {
    /// Persist it, then call [`Session::accepted`](super::Session::accepted) or [`Session::not_stored`](super::Session::not_stored).
    Accept(Box<Envelope>, Summary),
    /// Refused; the reply is written. `close`: what follows cannot be trusted and must not be read.
    Refused {
        /// Close after sending.
        close: bool,
    },
}

/// Why a message is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// The disk failed.
    Disk,
    /// There is no room.
    NoSpace,
    /// The machine does not sign it.
    Unsigned,
}

impl NotStored {
    /// What the client hears.
    pub fn words(self) -> &'static str {
        match self {
            NotStored::Disk => words::NOT_STORED,
            NotStored::NoSpace => words::NO_SPACE,
            NotStored::Unsigned => words::NOT_SIGNED,
        }
    }
}
