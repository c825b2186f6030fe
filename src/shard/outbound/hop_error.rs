//! Why no session with a next hop came up, or an open one failed.

use std::io;

use crate::route::Endpoint;
use crate::shard::counts::FarEnd;
use crate::shard::outbound::site::NO_ANSWER;
use crate::shard::wire::WireError;
use crate::smtp::reply::{HostileReply, Reply};

/// Why no session came up, or an open one failed.
#[derive(Debug)]
pub enum HopError {
    /// No connection came up.
    Connect(Endpoint, io::Error),
    /// The connection failed.
    Wire(WireError),
    /// The host took the connection and said nothing: which.
    Ungreeted(String),
    /// What the hop said is no reply.
    Hostile(HostileReply),
    /// The hop refused the session.
    Refused(Reply),
    /// All hosts of the hop say that they never take mail (RFC 7504): what one said, and which.
    TakesNone(Reply, String),
    /// The hop said something while the message was being sent.
    Early(Reply),
    /// The hop began to say something while the message was being sent, and did not go on.
    Halting,
    /// Not the hop's fault: the relay stops, and a body has not all its answers. Whether it has some.
    Stopping(bool),
    /// The hop said something before it was asked: what it said before may have been no answer either.
    Unasked,
    /// What came of STARTTLS, when plain text is to be tried next.
    BrokenTls(String),
    /// The site's mail never goes without TLS, and the host offers none.
    NoTls(String),
    /// The same, where the certificate is not valid.
    BadTls(String),
    /// The same, where TLS did not come so far that there was anything to judge.
    UnprovenTls(String),
    /// Which certificate the host has to show cannot be looked up (DANE). In words.
    NoRecords(String),
    /// The route's mail never goes without a login, and none came about. In words.
    Login(String),
    /// The hop hung up on EHLO: HELO is to be tried next.
    BrokenEhlo(WireError),
    /// A host that the operator names is this relay: by its address, or by the name it greets with. In words.
    Ourselves(String),
    /// No host of the hop has an address.
    NoAddress(String),
    /// This address has all the connections it may have: no failure, it is waited for.
    Full(FarEnd),
    /// The rate of connections lets no further one be opened now.
    OverRate,
    /// Not the hop's fault: nothing leaves by the source. In words.
    Source(String),
    /// Not the hop's fault: the message cannot be read from our disk.
    Spool(io::Error),
}

impl std::fmt::Display for HopError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HopError::Connect(to, error) => {
                write!(formatter, "cannot connect to {to}: {error}{}", to.remedy(error.kind()))
            }
            HopError::Wire(error) => write!(formatter, "{error}"),
            HopError::Ungreeted(hop) => {
                write!(formatter, "{}: {hop} took the connection and gave no greeting", WireError::TimedOut)
            }
            HopError::Hostile(error) => write!(formatter, "the next hop broke the rules of SMTP: {error}"),
            HopError::Refused(reply) | HopError::TakesNone(reply, _) => {
                write!(formatter, "{SESSION_REFUSED}{}", reply.describe())
            }
            HopError::Early(reply) => {
                write!(formatter, "the next hop answered before the end of data: {}", reply.describe())
            }
            HopError::Halting => {
                formatter.write_str("the next hop began to answer before the end of data, and did not go on")
            }
            HopError::Stopping(_) => formatter.write_str("the relay was stopped before all were answered"),
            HopError::Unasked => {
                formatter.write_str("the next hop sent a reply before it was asked anything")
            }
            HopError::BrokenTls(words)
            | HopError::NoTls(words)
            | HopError::BadTls(words)
            | HopError::UnprovenTls(words)
            | HopError::NoRecords(words)
            | HopError::Login(words)
            | HopError::NoAddress(words)
            | HopError::Ourselves(words)
            | HopError::Source(words) => formatter.write_str(words),
            HopError::BrokenEhlo(error) => write!(formatter, "the next hop hung up on EHLO: {error}"),
            HopError::Full(address) => write!(formatter, "{address} has all the connections it may have"),
            HopError::OverRate => {
                formatter.write_str("max_connection_rate of a shaping file lets no connection be opened now")
            }
            HopError::Spool(error) => write!(formatter, "{error}"),
        }
    }
}

impl HopError {
    /// What mail is told that waits for it: an RFC 3463 status.
    pub(super) fn status(&self) -> (u8, u16, u16) {
        match self {
            HopError::NoTls(_) => (4, 7, 4),
            HopError::BadTls(_) | HopError::UnprovenTls(_) | HopError::NoRecords(_) => (4, 7, 5),
            HopError::Login(_) => (4, 7, 8),
            _ => NO_ANSWER,
        }
    }

    /// What was said before, where this is only that no more was asked.
    pub(super) fn or(self, before: impl FnOnce() -> HopError) -> HopError {
        if matches!(self, HopError::OverRate) { before() } else { self }
    }
}

/// What stands before the reply of a hop that refused the session.
const SESSION_REFUSED: &str = "the next hop refused the session: ";
/// And before that of one that is not to be asked for other mail, either.
pub(super) const TAKES_NO_MAIL: &str = "the next hop takes no mail: ";
/// And before that of one whose words are about us.
pub(super) const REFUSES_US: &str = "the next hop refuses this relay, not the recipient: ";

/// The reply of the hop in words of ours that tell it.
pub fn reply_in(words: &str) -> Option<&str> {
    let all = [SESSION_REFUSED, TAKES_NO_MAIL, REFUSES_US];
    all.into_iter().find_map(|before| Some(words.split_once(before)?.1))
}

/// What is said of mail that would come back.
pub fn loops(hop: &str) -> String {
    format!("the mail loops back to this relay: {hop} greets with its name")
}

impl From<WireError> for HopError {
    fn from(error: WireError) -> HopError {
        HopError::Wire(error)
    }
}
