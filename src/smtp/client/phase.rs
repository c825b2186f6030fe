//! How far a transaction is, and what comes next.

use std::time::Duration;

use crate::smtp::client::timeouts::Timeouts;

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Wait for another reply.
    AwaitReply,
    /// Wait for the answer to the body of another recipient.
    AwaitAnswer,
    /// Call [`super::Transaction::write_commands`], send, wait.
    WriteCommands,
    /// Send the body, stuffed if need be, and the final dot; wait.
    SendBody,
    /// Send a lone dot: 354 came although nobody is left to receive (RFC 2920 section 3.1). Wait.
    SendDot,
    /// The transaction is over; read [`super::Transaction::verdict`].
    Done,
}

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
