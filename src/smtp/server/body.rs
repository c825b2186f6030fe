//! The end of a body: what it is refused for, and what becomes of its envelope.

use super::{Session, words};
use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::envelope::{Envelope, Protocol};
use crate::smtp::data::Summary;
use crate::smtp::reply;
use crate::time::UnixMillis;

/// How a body ended.
#[derive(Debug)]
pub enum BodyEnd {
    /// Persist it, then call [`Session::accepted`] or [`Session::not_stored`].
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
}

impl NotStored {
    /// What the client hears.
    pub fn words(self) -> &'static str {
        match self {
            NotStored::Disk => words::NOT_STORED,
            NotStored::NoSpace => words::NO_SPACE,
        }
    }
}

impl Session {
    /// The final dot was seen.
    pub fn body_end(&mut self, now: UnixMillis, expiry: UnixMillis, out: &mut Vec<u8>) -> BodyEnd {
        let Some(mut transaction) = self.transaction.take() else {
            self.say(words::BAD_SEQUENCE, out);
            return BodyEnd::Refused { close: true };
        };
        let summary = transaction.scanner.take().map(|scanner| scanner.summary()).unwrap_or_default();
        let refusal = if summary.bare_line_end {
            Some(words::BARE_LINE_END)
        } else if summary.too_large {
            Some(words::TOO_LARGE)
        } else if summary.line_too_long {
            Some(words::TEXT_LINE_TOO_LONG)
        } else if summary.hops > limits::HOPS_MAX {
            Some(words::MAIL_LOOP)
        } else {
            None
        };
        if let Some(words) = refusal {
            let said = out.len();
            let enough = self.complain(words, out).is_some();
            self.refused_message(&out[said..], &transaction.envelope);
            return BodyEnd::Refused { close: enough || summary.bare_line_end };
        }
        // A client that delivers may err as well.
        (self.errors, self.commands, self.turned_away) = (0, 0, false);
        let mut envelope = transaction.envelope;
        if envelope.recipients.len() > 1 {
            envelope.recipients.sort_by_cached_key(|recipient| recipient.domain().to_ascii_lowercase());
        }
        envelope.arrival = now;
        envelope.expiry = expiry;
        envelope.account = self.account.clone();
        // What the bytes are, not what MAIL declared: a hop without 8BITMIME takes what is 7-bit in fact.
        envelope.eight_bit = summary.eight_bit;
        envelope.needs_stuffing = summary.needs_stuffing;
        envelope.mailbox_line = summary.mailbox_line;
        let origin = &mut envelope.origin;
        origin.client = Some(self.peer);
        origin.protocol = self.protocol();
        origin.tls = self.tls.clone();
        if let Some(hello) = &self.hello {
            origin.helo = hello.name.clone();
        }
        BodyEnd::Accept(envelope, summary)
    }

    fn protocol(&self) -> Protocol {
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        match (extended, self.tls.is_some(), self.account.is_some()) {
            (false, ..) => Protocol::Smtp,
            (true, false, false) => Protocol::Esmtp,
            (true, false, true) => Protocol::Esmtpa,
            (true, true, false) => Protocol::Esmtps,
            (true, true, true) => Protocol::Esmtpsa,
        }
    }

    /// The message is safe: the 250.
    pub fn accepted(&mut self, message: &Durable<MessageId>, out: &mut Vec<u8>) {
        reply::write_queued(out, message);
    }

    /// The message could not be stored.
    pub fn not_stored(&mut self, why: NotStored, out: &mut Vec<u8>) {
        self.transaction = None;
        self.turn_away(why.words(), out);
    }
}
