//! The end of a body: what it is refused for, and what becomes of its envelope.

use std::rc::Rc;

use crate::config::{BareNewlines, Content, OddBytes};
use crate::mail::envelope::Envelope;
use crate::smtp::data::{Scanner, Summary};
use crate::smtp::server::step::SessionConfig;
use crate::smtp::server::transaction::Transaction;
use crate::smtp::words;

/// What scans the body of a transaction. Its header section may be in UTF-8 where its client said SMTPUTF8 (RFC 6532), whatever holds for others.
pub(super) fn scanner(config: &SessionConfig, open: &Transaction, bare: BareNewlines) -> Scanner {
    let content = match &config.content {
        Some(content) if open.envelope.needs.utf8.is_asked() => {
            Some(Rc::new(Content { eight_bit_headers: OddBytes::Pass, ..**content }))
        }
        content => content.clone(),
    };
    Scanner::judging(config.message_size_max, bare, content)
}

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
