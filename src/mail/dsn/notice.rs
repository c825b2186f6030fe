//! What a notification is made of.

use crate::id::MessageId;
use crate::time::UnixMillis;

/// Everything a notification tells: what became of recipients of one message in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Our name: who reports, and whose MAILER-DAEMON writes.
    pub hostname: &'a str,
    /// The reverse path of the message, without angle brackets.
    pub sender: &'a [u8],
    /// The id of the message.
    pub id: MessageId,
    /// The sender's name for it.
    pub envid: Option<&'a str>,
    /// When it was accepted.
    pub arrival: UnixMillis,
    /// Until when it is tried.
    pub expiry: UnixMillis,
    /// The date of the notification.
    pub now: UnixMillis,
    /// Unpredictable bits: the boundary and the Message-ID are made of them.
    pub unique: u64,
    /// Whom it is about.
    pub recipients: &'a [ReportedRecipient<'a>],
    /// The start of the message: its header section, or more (the rest is ignored), or nothing.
    pub header: &'a [u8],
    /// That is all of it, to be returned as it is.
    pub is_whole: bool,
    /// It came with SMTPUTF8.
    pub utf8: bool,
}

/// One recipient.
#[derive(Clone, Copy, Debug)]
pub struct ReportedRecipient<'a> {
    /// Its forward path, without angle brackets.
    pub recipient: &'a [u8],
    /// What its sender calls it: ORCPT as it came.
    pub original: Option<&'a [u8]>,
    /// What became of it.
    pub cause: Cause,
    /// The RFC 3463 code, if the caller knows better than `text`.
    pub status: Option<(u8, u16, u16)>,
    /// The host that said `text`; None if the relay itself found the fault, or time ran out: then a reply is one if it begins with a code.
    pub remote: Option<&'a str>,
    /// What was said last: a reply as `smtp::reply::Reply::describe` gives it (`550 5.1.1 no such user`), or words of
    /// our own. May be empty.
    pub text: &'a str,
    /// When delivery was tried last, if it was.
    pub last_attempt: Option<UnixMillis>,
}

/// What became of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A next hop or the relay said no for good.
    Refused,
    /// It was tried for as long as the configuration allows.
    Expired,
    /// It is late, and tried further.
    Late,
    /// It went on to a hop that does not tell senders.
    Relayed,
    /// A mail store has it.
    Delivered,
}

impl Cause {
    /// Whether it is given up.
    pub fn is_failure(self) -> bool {
        matches!(self, Cause::Refused | Cause::Expired)
    }

    /// RFC 3464 2.3.3
    pub(super) fn action(self) -> &'static str {
        match self {
            Cause::Refused | Cause::Expired => "failed",
            Cause::Late => "delayed",
            Cause::Relayed => "relayed",
            Cause::Delivered => "delivered",
        }
    }

    /// The class of its status, where that is not the reply's.
    pub(super) fn class(self) -> u8 {
        match self {
            Cause::Refused => 5,
            Cause::Expired | Cause::Late => 4,
            Cause::Relayed | Cause::Delivered => 2,
        }
    }
}
