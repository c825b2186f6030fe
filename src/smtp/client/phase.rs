//! How far a transaction is.

use std::time::Duration;

use crate::smtp::client::timeouts::Timeouts;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Mail,
    /// Waiting for the reply to the n-th RCPT.
    Rcpt(usize),
    Data,
    Dot,
    /// Waiting for the reply to the lone dot.
    LoneDot,
    Over,
}

impl Phase {
    /// How long the reply now awaited may take (RFC 5321 4.5.3.2).
    pub(super) fn patience(self, of: &Timeouts) -> Duration {
        match self {
            Phase::Mail => of.mail,
            Phase::Rcpt(_) => of.rcpt,
            Phase::Data => of.data,
            Phase::Dot | Phase::LoneDot | Phase::Over => of.dot,
        }
    }

    /// The command whose reply is awaited.
    pub(super) fn awaits(self) -> &'static str {
        match self {
            Phase::Mail => "MAIL",
            Phase::Rcpt(_) => "RCPT",
            Phase::Data => "DATA",
            Phase::Dot | Phase::LoneDot | Phase::Over => "the end of data",
        }
    }
}
