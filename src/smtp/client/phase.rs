//! How far a transaction is.

use std::time::Duration;

use crate::limits;

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
    pub(super) fn patience(self) -> Duration {
        match self {
            Phase::Mail => limits::client::MAIL,
            Phase::Rcpt(_) => limits::client::RCPT,
            Phase::Data => limits::client::DATA,
            Phase::Dot | Phase::LoneDot | Phase::Over => limits::client::DOT,
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
