//! Events: what becomes of mail, what is refused, and what operators do, each one line of JSON.
//!
//! An [`Event`] is of accepted mail: none is dropped, and each follows from what a lane's record holds, as does its id. A [`Notice`] is of
//! anything else, and may be dropped. Which fields each kind has is in `docs/events.schema.json`; `tests/events.rs` holds both together.

mod admin;
mod json;

use std::net::{IpAddr, SocketAddr};

use crate::id::MessageId;
use crate::limits;
use crate::names::CHECKS;
use crate::names::ends::End;
pub use crate::names::events::Kind;
pub use crate::observe::admin::{Admin, Change, Edit, Edited, ListChange, Listed, QuotaUse, Suspended};
use crate::time::{UnixMillis, write_decimal};

pub(super) use json::message;
use json::{address, code, field, number, own_address, some_number, string, strings, text};

/// The message that an event is of, and which of its recipients.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// Its id.
    pub id: MessageId,
    /// Its reverse path.
    pub sender: &'a [u8],
    /// Which recipient of the message the first of `recipients` is, from 0.
    pub first: u16,
    /// The recipients, which follow each other in the message.
    pub recipients: &'a [&'a [u8]],
    /// The account that sent it.
    pub account: Option<&'a str>,
    /// The message's parameters, or those of these recipients: names and texts; `metadata` is JSON already.
    pub parameters: &'a [(&'a str, &'a str)],
    /// When it came, and its canonical bytes; None: what is told says so itself, or nobody knows.
    pub came: Option<(UnixMillis, u64)>,
    /// It may have been told before: the process was killed soon after.
    pub again: bool,
}

impl<'a> Mail<'a> {
    /// What each has.
    pub fn new(id: MessageId, sender: &'a [u8], (first, recipients): (u16, &'a [&'a [u8]])) -> Mail<'a> {
        Mail { id, sender, first, recipients, account: None, parameters: &[], came: None, again: false }
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival<'a> {
    /// The message that a notification of ours is about.
    pub parent: Option<MessageId>,
    /// Canonical bytes.
    pub size: u64,
    /// The client; a message of ours has none.
    pub client: Option<SocketAddr>,
    /// Version and cipher suite, where TLS was on.
    pub tls: Option<&'a str>,
    /// What a stranger's mail was found to be, by each check ([`CHECKS`]).
    pub verified: Option<[&'static str; 3]>,
}

/// What was tried. What is empty or 0 is left out; a record of the spool has little of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempt<'a> {
    /// The next hop: name, address and port.
    pub hop: &'a str,
    /// Hosts that share limits and state, as `relevo queue list` names them.
    pub site: &'a str,
    /// Whose that is, by the shaping files.
    pub provider: &'a str,
    /// The source that it left by; empty: the node's own addresses.
    pub source: &'a str,
    /// The address that it left by.
    pub address: Option<IpAddr>,
    /// Version and cipher suite.
    pub tls: &'a str,
    /// Its reply, or our own words.
    pub reply: &'a str,
    /// The RFC 3463 code of that.
    pub enhanced: Option<(u8, u16, u16)>,
    /// What that is about, in one word.
    pub class: &'a str,
    /// Attempts so far. What is deferred or expired has it even if it was never tried.
    pub attempts: u16,
    /// From arrival to now.
    pub delay_ms: Option<u64>,
}

/// What happened to accepted mail.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It is on disk.
    Received(Mail<'a>, Arrival<'a>),
    /// A next hop took it.
    Delivered(Mail<'a>, Attempt<'a>),
    /// It is tried again, at the latest at this time: whole seconds, as in the spool.
    Deferred(Mail<'a>, Attempt<'a>, UnixMillis),
    /// It has waited for long, and goes on.
    Delayed(Mail<'a>, Attempt<'a>),
    /// It was refused for good.
    Bounced(Mail<'a>, Attempt<'a>),
    /// It was given up for age.
    Expired(Mail<'a>, Attempt<'a>),
    /// It ended here, as a route or a rule says.
    Local(End, Mail<'a>, Attempt<'a>),
    /// Something came back that is about it.
    CameBack(Mail<'a>, Attempt<'a>, CameBack<'a>),
}

/// What came back, and in which message.
#[derive(Clone, Copy, Debug)]
pub struct CameBack<'a> {
    /// The message that brought it.
    pub incoming: MessageId,
    /// To which of its recipients.
    pub number: u16,
    /// What is complained of; empty: it is a bounce.
    pub complaint: &'a str,
    /// The domain and the address that mail is complained of for, as the complaint says.
    pub reported: [&'a str; 2],
    /// The mailbox is not there, or whoever complains wants no more.
    pub counts: bool,
    /// It was mail of a tenant that nobody knows any more.
    pub is_unknown: bool,
}

impl<'a> Event<'a> {
    /// What happened.
    pub fn kind(&self) -> Kind {
        match self {
            Event::Received(..) => Kind::Received,
            Event::Delivered(..) => Kind::Delivered,
            Event::Deferred(..) => Kind::Deferred,
            Event::Delayed(..) => Kind::Delayed,
            Event::Bounced(..) => Kind::Bounced,
            Event::Expired(..) => Kind::Expired,
            Event::Local(end, ..) => Kind::Local(*end),
            Event::CameBack(.., came) if came.complaint.is_empty() => Kind::OobBounce,
            Event::CameBack(..) => Kind::Feedback,
        }
    }

    fn mail(&self) -> &Mail<'a> {
        match self {
            Event::Received(mail, _)
            | Event::Delivered(mail, _)
            | Event::Deferred(mail, ..)
            | Event::Delayed(mail, _)
            | Event::Bounced(mail, _)
            | Event::Expired(mail, _)
            | Event::Local(_, mail, _)
            | Event::CameBack(mail, ..) => mail,
        }
    }

    /// The id behind that of its message: what happened, and to which recipients, first and how many; of a deferral also which one. All that is
    /// in the records of a lane, so that who tells it again gives it the same id.
    fn write_id(&self, out: &mut Vec<u8>) {
        let mail = self.mail();
        out.extend_from_slice(&[b'-', self.kind().letter()]);
        write_decimal(mail.first.into(), 1, out);
        out.push(b'.');
        write_decimal(mail.recipients.len() as u64, 1, out);
        if let Event::Deferred(_, attempt, next) = self {
            out.push(b'.');
            write_decimal(attempt.attempts.into(), 1, out);
            out.push(b'.');
            write_decimal(next.0 / 1000, 1, out);
        }
    }
}

/// What is of no accepted mail.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// A client was refused.
    Rejected(Rejected<'a>),
    /// An operator changed something.
    Admin(Admin<'a>),
}

/// What was refused, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    /// The reverse path, where that was what was refused, or was accepted before.
    pub sender: Option<&'a [u8]>,
    /// The recipients that were refused, or that a refused body was for.
    pub recipients: &'a [&'a [u8]],
    /// The client.
    pub client: SocketAddr,
    /// What it called itself.
    pub helo: Option<&'a str>,
    /// The account that the client is, or that a login named.
    pub account: Option<&'a str>,
    /// Our words to it.
    pub reply: &'a str,
    /// Why, in one word.
    pub reason: &'a str,
    /// The RFC 3463 code of the reply.
    pub enhanced: Option<(u8, u16, u16)>,
    /// Refusals that were left out since the last one; 0 leaves it out.
    pub left_out: u64,
}

/// Writes events as lines, for one shard or for control.
#[derive(Debug)]
pub struct Encoder {
    /// The text between the id of an event and that of its message.
    node: Vec<u8>,
    /// The second of the last line, and its text up to the milliseconds.
    second: Option<u64>,
    second_text: Vec<u8>,
    /// The same of when the last message came that something was told of.
    arrived: Option<u64>,
    arrived_text: Vec<u8>,
    /// What ids of notices begin with: nobody else's do.
    origin: Vec<u8>,
    notices: u64,
}

impl Encoder {
    /// That of a node, by its id: one of these since this time; `origin` tells it from others of the node that began at the same time.
    pub fn new(node: u64, since: UnixMillis, origin: &str) -> Encoder {
        Encoder {
            node: format!("\",\"node\":\"{node:016x}\"").into_bytes(),
            second: None,
            second_text: Vec::new(),
            arrived: None,
            arrived_text: Vec::new(),
            origin: format!("{}.{origin}.", since.0).into_bytes(),
            notices: 0,
        }
    }

    /// Appends an event as one line of JSON.
    pub fn event(&mut self, at: UnixMillis, event: &Event<'_>, out: &mut Vec<u8>) {
        let mail = event.mail();
        let id = mail.id.to_text();
        self.begin(at, event.kind(), out);
        if let Event::CameBack(mail, attempt, came) = event {
            return self.came_back((mail, attempt, came), event.kind(), out);
        }
        out.extend_from_slice(&id);
        event.write_id(out);
        out.extend_from_slice(&self.node);
        out.extend_from_slice(b",\"id\":\"");
        out.extend_from_slice(&id);
        out.push(b'"');
        if let Event::Received(_, Arrival { parent: Some(parent), .. }) = event {
            out.extend_from_slice(b",\"parent\":\"");
            out.extend_from_slice(&parent.to_text());
            out.push(b'"');
        }
        out.extend_from_slice(b",\"sender\":");
        string(mail.sender, out);
        out.extend_from_slice(b",\"recipients\":");
        strings(mail.recipients, out);
        if let Event::Received(_, Arrival { size, client, .. }) = event {
            number("size", *size, out);
            if let Some(client) = client {
                address(*client, out);
            }
        }
        text("account", mail.account.unwrap_or_default(), out);
        if let Some(came) = mail.came {
            self.came(came, out);
        }
        match event {
            Event::Received(_, arrival) => {
                text("tls", arrival.tls.unwrap_or_default(), out);
                if let Some(verified) = &arrival.verified {
                    CHECKS.iter().zip(verified).for_each(|(check, verdict)| text(check, verdict, out));
                }
                parameters(mail.parameters, out);
            }
            Event::Delivered(_, attempt)
            | Event::Bounced(_, attempt)
            | Event::Local(_, _, attempt)
            | Event::CameBack(_, attempt, _) => {
                encode_attempt(attempt, mail, attempt.attempts > 0, out);
            }
            Event::Expired(_, attempt) | Event::Delayed(_, attempt) => {
                encode_attempt(attempt, mail, true, out)
            }
            Event::Deferred(_, attempt, next) => {
                encode_attempt(attempt, mail, true, out);
                out.extend_from_slice(b",\"next\":\"");
                next.write_iso(out);
                out.push(b'"');
            }
        }
        if mail.again {
            out.extend_from_slice(b",\"again\":true");
        }
        out.extend_from_slice(b"}\n");
    }

    /// The rest of a line about what came back: its id is that of what brought it, so that it is the same when it is told again.
    fn came_back(
        &self,
        (mail, attempt, came): (&Mail<'_>, &Attempt<'_>, &CameBack<'_>),
        kind: Kind,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&came.incoming.to_text());
        out.extend_from_slice(&[b'-', kind.letter()]);
        write_decimal(came.number.into(), 1, out);
        out.extend_from_slice(&self.node);
        message("id", mail.id, out);
        message("report", came.incoming, out);
        number("recipient_number", mail.first.into(), out);
        if !mail.recipients.is_empty() {
            out.extend_from_slice(b",\"recipients\":");
            strings(mail.recipients, out);
        }
        text("complaint", came.complaint, out);
        ["reported_domain", "reported_ip"]
            .iter()
            .zip(came.reported)
            .for_each(|(name, value)| text(name, cut(value), out));
        encode_attempt(attempt, mail, false, out);
        for (name, holds) in [("counts", came.counts), ("tenant_unknown", came.is_unknown)] {
            if holds {
                field(name, out);
                out.extend_from_slice(b"true");
            }
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends a notice as one line of JSON.
    pub fn notice(&mut self, at: UnixMillis, notice: &Notice<'_>, out: &mut Vec<u8>) {
        let kind = match notice {
            Notice::Rejected(_) => Kind::Rejected,
            Notice::Admin(_) => Kind::Admin,
        };
        self.begin(at, kind, out);
        out.extend_from_slice(&self.origin);
        write_decimal(self.notices, 1, out);
        self.notices += 1;
        out.extend_from_slice(&self.node);
        match notice {
            Notice::Rejected(rejected) => encode_rejected(rejected, out),
            Notice::Admin(admin) => admin::encode(admin, out),
        }
        out.extend_from_slice(b"}\n");
    }

    /// The line up to the id of the event.
    fn begin(&mut self, at: UnixMillis, kind: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        write_time(at, (&mut self.second, &mut self.second_text), out);
        out.extend_from_slice(b"\",\"event\":\"");
        out.extend_from_slice(kind.word().as_bytes());
        out.extend_from_slice(b"\",\"event_id\":\"");
    }

    /// When the message of an end came, and how large it is.
    fn came(&mut self, (at, size): (UnixMillis, u64), out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"arrived\":\"");
        write_time(at, (&mut self.arrived, &mut self.arrived_text), out);
        out.push(b'"');
        number("size", size, out);
    }
}

/// A time, by the text of the last one up to its milliseconds: nearly all are of the same second as the one before.
fn write_time(at: UnixMillis, (second, known): (&mut Option<u64>, &mut Vec<u8>), out: &mut Vec<u8>) {
    if *second != Some(at.0 / 1000) {
        *second = Some(at.0 / 1000);
        known.clear();
        at.write_iso(known);
        known.truncate(known.len() - "000Z".len());
    }
    out.extend_from_slice(known);
    write_decimal(at.0 % 1000, 3, out);
    out.push(b'Z');
}

fn encode_attempt(attempt: &Attempt<'_>, mail: &Mail<'_>, counted: bool, out: &mut Vec<u8>) {
    text("hop", attempt.hop, out);
    text("site", cut(attempt.site), out);
    text("provider", attempt.provider, out);
    text("source", attempt.source, out);
    if let Some(address) = attempt.address {
        own_address(address, out);
    }
    text("tls", attempt.tls, out);
    text("reply", attempt.reply, out);
    parameters(mail.parameters, out);
    code(attempt.enhanced, out);
    text("class", attempt.class, out);
    if counted {
        number("attempts", attempt.attempts.into(), out);
    }
    if let Some(delay) = attempt.delay_ms {
        number("delay_ms", delay, out);
    }
}

/// Names of sites name all of their hosts: of those that have many the first ones tell.
fn cut(site: &str) -> &str {
    let end = site.len().min(limits::EVENT_SITE_MAX);
    let end = (0..=end).rev().find(|at| site.is_char_boundary(*at)).unwrap_or(0);
    &site[..end]
}

fn parameters(named: &[(&str, &str)], out: &mut Vec<u8>) {
    for (name, value) in named {
        field(name, out);
        if *name == "metadata" {
            out.extend_from_slice(value.as_bytes());
        } else {
            string(value.as_bytes(), out);
        }
    }
}

fn encode_rejected(rejected: &Rejected<'_>, out: &mut Vec<u8>) {
    if let Some(sender) = rejected.sender {
        out.extend_from_slice(b",\"sender\":");
        string(sender, out);
    }
    if !rejected.recipients.is_empty() {
        out.extend_from_slice(b",\"recipients\":");
        strings(rejected.recipients, out);
    }
    address(rejected.client, out);
    for (name, value) in [
        ("helo", rejected.helo.unwrap_or_default()),
        ("account", rejected.account.unwrap_or_default()),
        ("reply", rejected.reply),
        ("reason", rejected.reason),
    ] {
        text(name, value, out);
    }
    code(rejected.enhanced, out);
    some_number("left_out", rejected.left_out, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_two_letters() {
        let long = format!("x{}", "ü".repeat(limits::EVENT_SITE_MAX));
        assert!(cut(&long).len() < limits::EVENT_SITE_MAX && long.starts_with(cut(&long)));
        assert_eq!(cut("mx:10 mx.example:25,"), "mx:10 mx.example:25,");
    }
}
