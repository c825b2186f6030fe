//! The client side of a session (RFC 5321), sans IO: what to send next, what a reply means.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::limits;
use crate::smtp::reply::Reply;
use crate::time::write_decimal;

/// What a next hop offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920
    pub pipelining: bool,
    /// RFC 6152
    pub eight_bit: bool,
    /// RFC 3207
    pub starttls: bool,
    /// RFC 1870: announced, with a bound unless it is 0.
    pub size: Option<u64>,
}

impl Capabilities {
    /// Reads the EHLO reply; what is unknown is ignored (RFC 5321 4.1.1.1).
    pub fn of_ehlo(reply: &Reply) -> Capabilities {
        let mut capabilities = Capabilities::default();
        // The first line is the greeting and its name.
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split(' ');
            let keyword = words.next().unwrap_or_default();
            if keyword.eq_ignore_ascii_case("PIPELINING") {
                capabilities.pipelining = true;
            } else if keyword.eq_ignore_ascii_case("8BITMIME") {
                capabilities.eight_bit = true;
            } else if keyword.eq_ignore_ascii_case("STARTTLS") {
                capabilities.starttls = true;
            } else if keyword.eq_ignore_ascii_case("SIZE") {
                capabilities.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0));
            }
        }
        capabilities
    }
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for another reply.
    AwaitReply,
    /// Call [`Transaction::write_commands`], send, wait.
    WriteCommands,
    /// Send the body, stuffed if need be, and the final dot; wait.
    SendBody,
    /// Send a lone dot: 354 came although nobody is left to receive (RFC 2920 section 3.1). Wait.
    SendDot,
    /// The transaction is over; read [`Transaction::verdict`].
    Done,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next hop took responsibility.
    Delivered(usize),
    /// To be tried again.
    Deferred(usize),
    /// Refused for good.
    Failed(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Mail,
    /// Waiting for the reply to the n-th RCPT.
    Rcpt(usize),
    Data,
    Dot,
    /// Waiting for the reply to the lone dot.
    LoneDot,
    Over,
}

/// Recipients, and what is known of each, that need no memory of their own.
const FEW: usize = 4;

/// Recipients of a transaction.
pub type Recipients<'a> = SmallVec<[&'a [u8]; FEW]>;

/// What MAIL says.
#[derive(Clone, Copy, Debug)]
struct Mail<'a> {
    sender: &'a [u8],
    /// Where the hop offers SIZE.
    size: Option<u64>,
    eight_bit: bool,
}

impl Mail<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(self.sender);
        out.push(b'>');
        if let Some(size) = self.size {
            out.extend_from_slice(b" SIZE=");
            write_decimal(size, 1, out);
        }
        if self.eight_bit {
            out.extend_from_slice(b" BODY=8BITMIME");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// One transaction: a sender, its recipients at this hop, one body.
///
/// Call order: [`Transaction::new`]; [`Transaction::write_commands`], then [`Transaction::on_reply`] for each reply until `Done`; then
/// [`Transaction::verdict`] for each recipient, by its place.
#[derive(Debug)]
pub struct Transaction<'a> {
    pipelining: bool,
    mail: Mail<'a>,
    recipients: Recipients<'a>,
    phase: Phase,
    /// Per recipient: index into `replies` of what decided it, and its class once decided.
    decided: SmallVec<[Option<Verdict>; FEW]>,
    replies: SmallVec<[Reply; 1]>,
    accepted: usize,
    must_close: bool,
    unbegun: bool,
    sent: bool,
    /// What followed a 354 was answered: the hop has no transaction any more (RFC 5321 4.1.1.4).
    finished: bool,
}

impl<'a> Transaction<'a> {
    /// Prepares MAIL with what the hop understands. `Err` holds the words of a failure that needs no question.
    pub fn new(
        capabilities: &Capabilities,
        sender: &'a [u8],
        recipients: Recipients<'a>,
        size: u64,
        eight_bit: bool,
    ) -> Result<Transaction<'a>, Reply> {
        if eight_bit && !capabilities.eight_bit {
            // RFC 6152 section 3: convert or bounce; converting would break signatures.
            return Err(local(554, (5, 6, 3), "the next hop does not take 8-bit text (no 8BITMIME)"));
        }
        if capabilities.size.is_some_and(|limit| limit != 0 && size > limit) {
            return Err(local(552, (5, 3, 4), "the message is larger than the next hop takes (SIZE)"));
        }
        let mail = Mail { sender, size: capabilities.size.map(|_| size), eight_bit };
        let decided = smallvec![None; recipients.len()];
        Ok(Transaction {
            pipelining: capabilities.pipelining,
            mail,
            recipients,
            phase: Phase::Mail,
            decided,
            replies: SmallVec::new(),
            accepted: 0,
            must_close: false,
            unbegun: false,
            sent: false,
            finished: false,
        })
    }

    /// Writes all that may be sent now: everything up to DATA with PIPELINING, else one command.
    pub fn write_commands(&mut self, out: &mut Vec<u8>) {
        if self.pipelining {
            if !self.sent {
                self.sent = true;
                self.mail.write(out);
                for recipient in &self.recipients {
                    write_rcpt(recipient, out);
                }
                out.extend_from_slice(b"DATA\r\n");
            }
            return;
        }
        match self.phase {
            Phase::Mail => self.mail.write(out),
            Phase::Rcpt(place) => {
                if let Some(recipient) = self.recipients.get(place) {
                    write_rcpt(recipient, out);
                }
            }
            Phase::Data => out.extend_from_slice(b"DATA\r\n"),
            Phase::Dot | Phase::LoneDot | Phase::Over => {}
        }
    }

    /// Takes the next reply.
    pub fn on_reply(&mut self, reply: Reply) -> Next {
        if reply.code == 421 {
            // RFC 5321 3.8: the hop closes; what is undecided is tried again elsewhere.
            self.must_close = true;
            self.unbegun = self.phase == Phase::Mail;
            self.decide_rest(reply);
            return self.over();
        }
        match self.phase {
            Phase::Mail => {
                if !reply.is_positive() {
                    let bad = self.keep(reply);
                    self.decide_all_by(bad);
                    // With PIPELINING the replies to RCPT and DATA still come; they decide nothing.
                    if !self.pipelining {
                        return self.over();
                    }
                }
                self.phase = Phase::Rcpt(0);
                self.step()
            }
            Phase::Rcpt(place) => {
                if reply.is_positive() && self.decided[place].is_none() {
                    self.accepted += 1;
                } else if self.decided[place].is_none() {
                    let bad = self.keep(reply);
                    self.decided[place] = Some(self.class(bad, true));
                }
                self.phase =
                    if place + 1 < self.recipients.len() { Phase::Rcpt(place + 1) } else { Phase::Data };
                if self.phase == Phase::Data && self.accepted == 0 && !self.pipelining {
                    return self.over();
                }
                self.step()
            }
            Phase::Data if reply.code == 354 => {
                if self.accepted == 0 {
                    self.phase = Phase::LoneDot;
                    return Next::SendDot;
                }
                self.phase = Phase::Dot;
                Next::SendBody
            }
            Phase::Data if reply.is_positive() => {
                // A 2xx to DATA is no answer we can go on from.
                self.must_close = true;
                self.decide_rest(local(451, (4, 5, 0), "the next hop answered DATA with a 2xx reply"));
                self.over()
            }
            Phase::Data | Phase::Dot => {
                self.finished = self.phase == Phase::Dot;
                self.decide_rest(reply);
                self.over()
            }
            Phase::LoneDot => {
                self.finished = true;
                self.over()
            }
            Phase::Over => self.over(),
        }
    }

    /// The connection failed: what is undecided is tried again. `why` goes into logs and records.
    pub fn on_failure(&mut self, why: &str) {
        self.give_up(local(451, (4, 4, 2), why));
    }

    /// The message cannot be read (RFC 3463: 4.3.0, a fault of our own system): as above.
    pub fn on_trouble(&mut self, why: &str) {
        self.give_up(local(451, (4, 3, 0), why));
    }

    fn give_up(&mut self, reply: Reply) {
        self.must_close = true;
        self.decide_rest(reply);
        self.phase = Phase::Over;
    }

    /// The verdict on the recipient at `place` and the reply that decided it. None only before [`Next::Done`].
    pub fn verdict(&self, place: usize) -> Option<(&Verdict, &Reply)> {
        let verdict = self.decided.get(place)?.as_ref()?;
        let (Verdict::Delivered(reply) | Verdict::Deferred(reply) | Verdict::Failed(reply)) = verdict;
        Some((verdict, self.replies.get(*reply)?))
    }

    /// The hop closed the connection (421) before it looked at the message: on a connection that carried mail before,
    /// this says something about the connection only.
    pub fn is_unbegun(&self) -> bool {
        self.unbegun
    }

    /// The connection is of no further use.
    pub fn must_close(&self) -> bool {
        self.must_close
    }

    /// Whether RSET is owed before the next MAIL: the transaction began and DATA was not completed.
    pub fn needs_reset(&self) -> bool {
        !self.must_close && !self.finished
    }

    /// How long the reply now awaited may take (RFC 5321 4.5.3.2).
    pub fn patience(&self) -> Duration {
        match self.phase {
            Phase::Mail => limits::client::MAIL,
            Phase::Rcpt(_) => limits::client::RCPT,
            Phase::Data => limits::client::DATA,
            Phase::Dot | Phase::LoneDot | Phase::Over => limits::client::DOT,
        }
    }

    /// The command whose reply is awaited, for words about a failure.
    pub fn awaiting(&self) -> &'static str {
        match self.phase {
            Phase::Mail => "MAIL",
            Phase::Rcpt(_) => "RCPT",
            Phase::Data => "DATA",
            Phase::Dot | Phase::LoneDot | Phase::Over => "the end of data",
        }
    }

    fn step(&self) -> Next {
        if self.pipelining { Next::AwaitReply } else { Next::WriteCommands }
    }

    fn over(&mut self) -> Next {
        self.phase = Phase::Over;
        Next::Done
    }

    fn keep(&mut self, reply: Reply) -> usize {
        self.replies.push(reply);
        self.replies.len() - 1
    }

    fn class(&self, reply: usize, at_rcpt: bool) -> Verdict {
        let answer = &self.replies[reply];
        if answer.is_positive() {
            Verdict::Delivered(reply)
        // RFC 5321 4.5.3.1.10: a 552 to RCPT means too many recipients and is to be taken as 452.
        } else if answer.is_permanent() && !(at_rcpt && answer.code == 552) {
            Verdict::Failed(reply)
        } else {
            Verdict::Deferred(reply)
        }
    }

    fn decide_rest(&mut self, reply: Reply) {
        let reply = self.keep(reply);
        self.decide_all_by(reply);
    }

    fn decide_all_by(&mut self, reply: usize) {
        let verdict = self.class(reply, false);
        for decided in &mut self.decided {
            decided.get_or_insert_with(|| verdict.clone());
        }
    }
}

fn write_rcpt(recipient: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"RCPT TO:<");
    out.extend_from_slice(recipient);
    out.extend_from_slice(b">\r\n");
}

/// A reply of our own making, for what the next hop never said.
pub fn local(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
    Reply { code, enhanced: Some(enhanced), text: text.to_owned(), lines: Vec::new() }
}

/// Cuts a canonical body into pieces with the dots that RFC 5321 4.5.2 wants before lines that begin with one. Nothing is
/// copied: pieces of the body and `"."`. `line_start`: what went before ended a line, or nothing did.
pub fn stuff(body: &[u8], line_start: bool) -> impl Iterator<Item = &[u8]> {
    let first = (line_start && body.first() == Some(&b'.')).then_some(&b"."[..]);
    let mut from = 0;
    let mut dot = false;
    let mut ends = memchr::memmem::find_iter(body, b"\n.");
    let rest = std::iter::from_fn(move || {
        if std::mem::take(&mut dot) {
            return Some(&b"."[..]);
        }
        if from >= body.len() {
            return None;
        }
        let start = from;
        match ends.next() {
            Some(end) => {
                from = end + 1;
                dot = true;
            }
            None => from = body.len(),
        }
        Some(&body[start..from])
    });
    first.into_iter().chain(rest)
}

#[cfg(test)]
mod tests;
