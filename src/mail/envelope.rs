//! The envelope of an accepted message: what the spool keeps beside the body (RFC 5321 2.3.1).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::limits;
use crate::mail::handover::Carried;
use crate::mail::notify::Notify;
use crate::mail::parameters::MessageParameters;
use crate::names::ends::End;
use crate::time::UnixMillis;

mod utf8;

pub use utf8::Utf8;

/// Everything about an accepted message but its body. Built by `smtp::server`, written by `spool::record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Reverse path without its angle brackets; empty for the null sender.
    pub sender: Vec<u8>,
    /// Recipients, grouped so that equal domains stand together (stable sort by domain).
    pub recipients: Vec<Recipient>,
    /// When the message was accepted.
    pub arrival: UnixMillis,
    /// When what is still undelivered is given up.
    pub expiry: UnixMillis,
    /// How it came in, for the Received field.
    pub origin: Origin,
    /// The account that authenticated, if one did.
    pub account: Option<Rc<str>>,
    /// What a hop must offer to have it as it is.
    pub needs: Needs,
    /// Some line of the body begins with a dot, so that it must be dot-stuffed on the way out.
    pub needs_stuffing: bool,
    /// The body begins with the `From ` line of a mailbox file, which is no header field.
    pub mailbox_line: bool,
    /// No hop is told which client brought it.
    pub hides_client: bool,
    /// Its parameters; None: it has none, and neither has a recipient, and none has its end at once.
    pub parameters: Option<Box<MessageParameters>>,
    /// What we say of it in front of it, whole fields: `DKIM-Signature` of mail that we sign, `Authentication-Results` of a stranger's that we verify.
    pub signatures: Option<Box<[u8]>>,
    /// What it brought along from the node that handed it over; None: it came from a client.
    pub handover: Option<Box<Carried>>,
}

/// What a message needs of a hop that is to have it as it is. A hop is asked for all of it at once (`smtp::client::Capabilities::missing`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It has a byte above 127, whatever its client declared (RFC 6152).
    pub eight_bit: bool,
    /// What its sender says of TLS on its way (RFC 8689).
    pub tls: TlsWish,
    /// What it asks for text in UTF-8 (RFC 6531).
    pub utf8: Utf8,
}

/// What the sender of a message says of TLS on its way (RFC 8689). The numbers are those of the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TlsWish {
    /// Nothing: it is for each hop to say.
    #[default]
    Usual = 0,
    /// It is to arrive, whatever its recipient's domain asks of TLS: `TLS-Required: No`.
    Waived = 1,
    /// It goes to nobody but who has proven who he is, and will do the same: REQUIRETLS.
    Required = 2,
}

impl TlsWish {
    /// The one with this number in a record.
    pub fn of_number(number: u8) -> Option<TlsWish> {
        [TlsWish::Usual, TlsWish::Waived, TlsWish::Required].into_iter().find(|wish| *wish as u8 == number)
    }
}

impl Needs {
    /// What is left of it when the body is encoded as 7-bit text.
    pub fn encoded(self) -> Needs {
        let Needs { eight_bit: _, tls, utf8 } = self;
        Needs { eight_bit: false, tls, utf8 }
    }

    /// What of it keeps a message of this sender back. A bounce asks for the TLS of what it is about, and is not lost where there is none (RFC 8689
    /// section 5).
    pub fn of_sender(self, sender: &[u8]) -> Needs {
        let bounce = sender.is_empty() && self.tls == TlsWish::Required;
        Needs { tls: if bounce { TlsWish::Usual } else { self.tls }, ..self }
    }
}

/// What was found in a body that came whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// It has a byte above 127.
    pub eight_bit: bool,
    /// It has one in its header section.
    pub eight_bit_header: bool,
    /// Some line begins with a dot.
    pub needs_stuffing: bool,
    /// It begins with the `From ` line of a mailbox file.
    pub mailbox_line: bool,
}

/// An address. Nearly all of them need no memory of their own.
pub type Address = SmallVec<[u8; 62]>;

/// One recipient. Its place in [`Envelope::recipients`] is its ordinal, which never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Forward path without angle brackets, as the client gave it (source route removed).
    pub address: Address,
    /// Where the domain begins in `address` (the byte after the last `@`).
    pub domain_at: u16,
    /// Which of [`MessageParameters::recipients`] are its own, counted from 1; 0: it has none.
    pub parameters: u16,
    /// The end it has as soon as the message is on disk, as a rule says: nobody is handed it.
    pub at_once: Option<End>,
    /// Of which ends of it the sender is to be told.
    pub notify: Notify,
    /// Which of [`Reports::originals`](super::notify::Reports::originals) is the address that the sender knows it by, counted from 1; 0: none.
    pub original: u16,
}

const _: () = assert!(size_of::<Recipient>() <= 80, "a thousand of these in a transaction");

/// How a message came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address; None for a message the relay made itself (a bounce).
    pub client: Option<SocketAddr>,
    /// The name it gave in EHLO or HELO, already checked to be printable.
    pub helo: Rc<str>,
    /// The `with` keyword of RFC 3848: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA.
    pub protocol: WithProtocol,
    /// TLS version and cipher suite, if the session was protected.
    pub tls: Option<Rc<str>>,
}

/// An [`Origin`] that lies elsewhere, as in a spool record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginRef<'a> {
    /// The client's address; None for a message of the relay's own.
    pub client: Option<SocketAddr>,
    /// The name it gave.
    pub helo: &'a str,
    /// The `with` keyword.
    pub protocol: WithProtocol,
    /// TLS version and cipher suite.
    pub tls: Option<&'a str>,
}

impl<'a> From<&'a Origin> for OriginRef<'a> {
    fn from(origin: &'a Origin) -> OriginRef<'a> {
        let Origin { client, helo, protocol, tls } = origin;
        OriginRef { client: *client, helo, protocol: *protocol, tls: tls.as_deref() }
    }
}

/// The `with` keyword (RFC 3848, RFC 6531 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WithProtocol {
    /// HELO.
    Smtp = 0,
    /// EHLO.
    Esmtp = 1,
    /// EHLO over TLS.
    Esmtps = 2,
    /// EHLO with AUTH (never offered without TLS, kept for completeness of the register).
    Esmtpa = 3,
    /// EHLO over TLS with AUTH.
    Esmtpsa = 4,
    /// EHLO and a MAIL with SMTPUTF8 (RFC 6531 section 4.3).
    Utf8Smtp = 5,
    /// The same over TLS.
    Utf8Smtps = 6,
    /// The same with AUTH.
    Utf8Smtpa = 7,
    /// The same over TLS with AUTH.
    Utf8Smtpsa = 8,
}

impl WithProtocol {
    /// That of a number in a record; SMTP where no version knows it.
    pub fn of_number(number: u8) -> WithProtocol {
        match number {
            1 => WithProtocol::Esmtp,
            2 => WithProtocol::Esmtps,
            3 => WithProtocol::Esmtpa,
            4 => WithProtocol::Esmtpsa,
            5 => WithProtocol::Utf8Smtp,
            6 => WithProtocol::Utf8Smtps,
            7 => WithProtocol::Utf8Smtpa,
            8 => WithProtocol::Utf8Smtpsa,
            _ => WithProtocol::Smtp,
        }
    }

    /// The one of a message whose MAIL had SMTPUTF8. Nobody has that without EHLO.
    pub fn with_utf8(self) -> WithProtocol {
        match self {
            WithProtocol::Esmtp => WithProtocol::Utf8Smtp,
            WithProtocol::Esmtps => WithProtocol::Utf8Smtps,
            WithProtocol::Esmtpa => WithProtocol::Utf8Smtpa,
            WithProtocol::Esmtpsa => WithProtocol::Utf8Smtpsa,
            other => other,
        }
    }

    /// The keyword as the `with` clause spells it (RFC 3848).
    pub fn keyword(self) -> &'static str {
        match self {
            WithProtocol::Smtp => "SMTP",
            WithProtocol::Esmtp => "ESMTP",
            WithProtocol::Esmtps => "ESMTPS",
            WithProtocol::Esmtpa => "ESMTPA",
            WithProtocol::Esmtpsa => "ESMTPSA",
            WithProtocol::Utf8Smtp => "UTF8SMTP",
            WithProtocol::Utf8Smtps => "UTF8SMTPS",
            WithProtocol::Utf8Smtpa => "UTF8SMTPA",
            WithProtocol::Utf8Smtpsa => "UTF8SMTPSA",
        }
    }
}

/// Envelopes that were used and will be again, with the memory they have. Cloning is a reference count.
#[expect(clippy::vec_box, reason = "what is kept is the box: it goes into a message as it is")]
#[derive(Clone, Debug, Default)]
pub struct Envelopes(Rc<RefCell<Vec<Box<Envelope>>>>);

impl Envelopes {
    /// An envelope in which nothing stands yet.
    pub fn take(&self) -> Box<Envelope> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Box::new(Envelope::blank()))
    }

    /// Gives one back. One that grew large is let go.
    pub fn give(&self, mut envelope: Box<Envelope>) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < limits::SPARE_BUFFERS && envelope.recipients.capacity() <= limits::SPARE_RECIPIENTS {
            envelope.reset();
            spare.push(envelope);
        }
    }
}

impl Envelope {
    /// Without sender and recipients.
    pub(in crate::mail) fn blank() -> Envelope {
        let origin = Origin { client: None, helo: "".into(), protocol: WithProtocol::Smtp, tls: None };
        Envelope {
            sender: Vec::new(),
            recipients: Vec::new(),
            arrival: UnixMillis(0),
            expiry: UnixMillis(0),
            origin,
            account: None,
            needs: Needs::default(),
            needs_stuffing: false,
            mailbox_line: false,
            hides_client: false,
            parameters: None,
            signatures: None,
            handover: None,
        }
    }

    /// When it came to this node.
    pub fn came(&self) -> UnixMillis {
        self.handover.as_ref().map_or(self.arrival, |carried| carried.came)
    }

    /// The message came whole: puts in when that was, how long it lives and what its body is, and brings recipients of one domain together.
    /// Whoever makes a message does this last.
    pub fn complete(&mut self, (arrival, expiry): (UnixMillis, UnixMillis), body: BodyFacts) {
        if self.recipients.len() > 1 {
            self.recipients.sort_by_cached_key(|recipient| recipient.domain().to_ascii_lowercase());
        }
        (self.arrival, self.expiry) = (arrival, expiry);
        let BodyFacts { eight_bit, eight_bit_header, needs_stuffing, mailbox_line } = body;
        self.needs.eight_bit = eight_bit;
        self.needs.utf8.settle(eight_bit_header || !self.sender.is_ascii());
        self.needs_stuffing = needs_stuffing;
        self.mailbox_line = mailbox_line;
    }

    /// As [`Envelope::blank`], with the memory it has. Every field is named, so that a new one cannot be forgotten here and go from one
    /// client's message into another's. What [`Envelope::complete`] always sets, and the name of the client, which is shared, stays.
    fn reset(&mut self) {
        let Envelope {
            sender,
            recipients,
            arrival: _,
            expiry: _,
            origin: Origin { client, helo: _, protocol: _, tls },
            account,
            needs,
            needs_stuffing: _,
            mailbox_line: _,
            hides_client,
            parameters,
            signatures,
            handover,
        } = self;
        sender.clear();
        recipients.clear();
        *client = None;
        *tls = None;
        *account = None;
        *needs = Needs::default();
        *hides_client = false;
        *parameters = None;
        *signatures = None;
        *handover = None;
    }
}

impl Recipient {
    /// An address whose domain begins there.
    pub fn new(address: Address, domain_at: u16) -> Recipient {
        Recipient { address, domain_at, parameters: 0, at_once: None, notify: Notify::default(), original: 0 }
    }

    /// The domain as the client wrote it.
    pub fn domain(&self) -> &[u8] {
        self.address.get(usize::from(self.domain_at)..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_with_keyword_is_that_of_its_number() {
        for number in 0..=8 {
            assert_eq!(WithProtocol::of_number(number) as u8, number);
        }
        assert_eq!(WithProtocol::Esmtpsa.with_utf8().keyword(), "UTF8SMTPSA");
        assert_eq!(WithProtocol::of_number(9), WithProtocol::Smtp, "of a later version");
    }
}
