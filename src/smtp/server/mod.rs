//! The server side of a session (RFC 5321), sans IO: lines in, replies and steps out.
//!
//! The driver owns the socket and calls, in this order: [`Session::greet`], then [`Session::handle`] with whatever input
//! there is. A [`Step`] tells what the driver must do before it calls again.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::config::BareNewlines;
use crate::limits;
use crate::mail::address::{AddressError, Path};
use crate::mail::envelope::Envelopes;
use crate::smtp::command::{self, Command, CommandError, MailParameters};
use crate::smtp::data::Scanner;
use crate::smtp::extensions;
use crate::smtp::reply::{self, words};

use transaction::{Taken, Transaction};

mod auth;
mod body;
mod refusals;
#[cfg(test)]
mod tests;
mod transaction;

pub use body::{BodyEnd, NotStored};
pub use refusals::{Refusal, Refusals};

/// What holds for every session of a listener.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Our name.
    pub hostname: String,
    /// Largest message, bytes.
    pub message_size_max: u64,
    /// Recipients of one transaction.
    pub recipients_max: usize,
    /// STARTTLS is offered.
    pub starttls: bool,
    /// There are accounts, so AUTH is offered under TLS.
    pub accounts: bool,
    /// What becomes of a bare CR or LF in a message.
    pub bare_newlines: BareNewlines,
    /// Where envelopes come from.
    pub envelopes: Envelopes,
}

/// Whether new mail may come in just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// The disk is short of room.
    NoSpace,
    /// The queue is at its bound.
    QueueFull,
    /// What clients make the node keep in memory is at its bound: no transaction begins, and none grows.
    NoMemory,
    /// The session is as old as one may be: it ends where its next message would begin.
    Aged,
    /// The node shuts down: sessions end where the next message would begin.
    Closing,
}

/// What the driver does next. Replies written so far are to be sent first in every case.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Bring more input.
    NeedInput,
    /// Send the replies and call again with the rest of the input.
    Flush,
    /// Discard all input received so far (CVE-2011-0411), shake hands, call [`Session::tls_established`].
    StartTls,
    /// Check the credentials, then call [`Session::authenticated`], [`Session::authentication_failed`] or
    /// [`Session::authentication_unavailable`].
    Authenticate(Credentials),
    /// Feed what follows to [`Session::scanner`] until it is done, then call [`Session::body_end`].
    Body,
    /// Send and close.
    Close,
}

/// Name and password that a client authenticates with.
#[derive(PartialEq, Eq)]
pub struct Credentials {
    /// The account's name.
    pub name: String,
    /// Its password.
    pub password: Vec<u8>,
}

impl Credentials {
    /// Bytes in memory.
    pub fn held(&self) -> usize {
        2 * NAME + self.name.capacity() + self.password.capacity()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a client let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// The next command, the rest of one, or the rest of a body.
    Command,
    /// A message: the session did all kinds of things but deliver mail.
    Message,
    /// The end of a session that is as old as one may be.
    Session,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    rules: Rc<Rules>,
    peer: SocketAddr,
    may_relay: bool,
    hello: Option<Box<Hello>>,
    tls: Option<Rc<str>>,
    account: Option<Rc<str>>,
    transaction: Option<Transaction>,
    /// Errors since the last message.
    errors: u32,
    /// Commands since the last message that brought none nearer.
    commands: u32,
    auth_failures: u32,
    /// Lines handled so far.
    lines: u32,
    /// A line is being skipped up to its end because it was too long: so many bytes of it. 0: none is.
    skipped: u32,
    /// MAIL was refused, and so many commands less one were sent behind it; 0: it was not.
    unopened: u32,
    /// No TLS begins now.
    tls_put_off: bool,
    /// Since the last message something was refused to the client for a reason of ours.
    turned_away: bool,
    /// The next line is one of an AUTH exchange.
    awaiting: Option<Box<auth::Awaited>>,
    /// What was refused and is not recorded yet.
    refusals: Refusals,
}

/// Bytes of a name beside its text, and what the allocator adds.
const NAME: usize = 64;

#[derive(Debug)]
struct Hello {
    name: Rc<str>,
    extended: bool,
}

impl Session {
    /// A fresh session. `may_relay`: the client's network is allowed to relay.
    pub fn new(rules: Rc<Rules>, peer: SocketAddr, may_relay: bool) -> Session {
        Session {
            rules,
            peer,
            may_relay,
            hello: None,
            tls: None,
            account: None,
            transaction: None,
            errors: 0,
            commands: 0,
            auth_failures: 0,
            lines: 0,
            skipped: 0,
            unopened: 0,
            tls_put_off: false,
            turned_away: false,
            awaiting: None,
            refusals: Refusals::default(),
        }
    }

    /// The 220 (RFC 5321 4.2).
    pub fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"220 ");
        out.extend_from_slice(self.rules.hostname.as_bytes());
        out.extend_from_slice(b" ESMTP relevo\r\n");
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The account that authenticated.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Lines handled so far; the number wraps.
    pub fn lines(&self) -> u32 {
        self.lines
    }

    /// Whether the start of a line was thrown away and its end is still to come.
    pub fn is_skipping(&self) -> bool {
        self.skipped > 0
    }

    /// Whether a transaction is open, and whether it has a recipient.
    pub fn transaction(&self) -> (bool, bool) {
        let recipients = self.transaction.as_ref().map(|transaction| transaction.envelope.recipients.len());
        (recipients.is_some(), recipients.is_some_and(|count| count > 0))
    }

    /// Bytes of the open transaction's envelope.
    pub fn held(&self) -> usize {
        self.transaction.as_ref().map_or(0, Transaction::held)
    }

    /// Whether STARTTLS is to be tried again later: there is no memory for more sessions under TLS.
    pub fn put_off_tls(&mut self, later: bool) {
        self.tls_put_off = later;
    }

    /// Handles the complete lines of `input`, replies gathered in `out`; returns how much it used and what comes next.
    pub fn handle(&mut self, input: &[u8], gate: Gate, out: &mut Vec<u8>) -> (usize, Step) {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                return match self.partial_line(rest.len(), out) {
                    // The start of an endless line is thrown away as it comes.
                    Some(step) => (input.len(), step),
                    None => (used, Step::NeedInput),
                };
            };
            used += end + 1;
            self.lines = self.lines.wrapping_add(1);
            let before = std::mem::take(&mut self.skipped);
            // A bare LF ends a command line for us, as for every server; only in DATA it matters.
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            let (said, login) = (out.len(), self.awaiting.is_some());
            let step = if before > 0 || end >= self.line_max() {
                self.long_line(before as usize + end, out)
            } else {
                self.line(line, gate, out)
            };
            // An end may stand behind a reply that refuses nothing.
            if matches!(out.get(said), Some(b'4' | b'5')) || step == Some(Step::Close) {
                self.note_refusal(line, login, &out[said..]);
            }
            if let Some(step) = step {
                return (used, step);
            }
            if out.len() >= limits::REPLY_BACKLOG_MAX {
                return (used, Step::Flush);
            }
        }
    }

    fn line_max(&self) -> usize {
        if self.awaiting.is_some() || self.tls.is_some() {
            limits::AUTH_LINE_MAX
        } else {
            limits::COMMAND_LINE_MAX
        }
    }

    /// So many bytes without a line end are there.
    fn partial_line(&mut self, length: usize, out: &mut Vec<u8>) -> Option<Step> {
        if self.skipped == 0 && length < self.line_max() {
            return None;
        }
        let skipped = self.skipped as usize + length;
        if skipped > limits::LINE_SKIPPED_MAX {
            self.say(words::ENDLESS_LINE, out);
            self.refused(words::ENDLESS_LINE.as_bytes(), None);
            return Some(Step::Close);
        }
        self.skipped = skipped as u32;
        Some(Step::NeedInput)
    }

    fn long_line(&mut self, length: usize, out: &mut Vec<u8>) -> Option<Step> {
        if length > limits::LINE_SKIPPED_MAX {
            self.say(words::ENDLESS_LINE, out);
            return Some(Step::Close);
        }
        // What was to be the response is none, whatever it was.
        self.awaiting = None;
        self.complain(words::LINE_TOO_LONG, out)
    }

    /// One line. None: go on with the next.
    fn line(&mut self, line: &[u8], gate: Gate, out: &mut Vec<u8>) -> Option<Step> {
        if let Some(awaited) = self.awaiting.take() {
            return self.auth_line(*awaited, line, out);
        }
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(error) if self.transaction.is_some() && command::is_recipient(line) => {
                // Whatever a stranger's recipient lacks, it is one of somebody else.
                let denied = error == CommandError::Recipient(AddressError::NoDomain) && !self.may_relay();
                let words = if denied { words::RELAY_DENIED } else { reply::of_error(error) };
                return self.refuse_recipient(words, out);
            }
            Err(CommandError::Unknown) if command::is_http(line) => {
                self.say(words::NOT_HTTP, out);
                return Some(Step::Close);
            }
            Err(error) => return self.malformed(line, error, out),
        };
        if !matches!(command, Command::Rcpt(_) | Command::Data | Command::Quit) {
            self.commands += 1;
            if self.commands > limits::COMMANDS_WITHOUT_MAIL_MAX {
                return self.enough(out);
            }
        }
        match command {
            Command::Mail(path, parameters) => self.mail(&path, parameters, gate, out),
            Command::Rcpt(path) => self.rcpt(&path, gate, out),
            Command::Data => self.data(out),
            Command::Ehlo(name) => self.say_hello(name, true, out),
            Command::Helo(name) => self.say_hello(name, false, out),
            Command::Rset => {
                self.say(words::OK, out);
                self.unopened = 0;
                self.forget(out)
            }
            Command::Noop => self.say(words::OK, out),
            Command::Vrfy => self.say(words::VRFY, out),
            Command::Expn => self.complain(words::NOT_OFFERED, out),
            Command::Help => self.say(words::HELP, out),
            Command::Quit => {
                self.say(words::BYE, out);
                Some(Step::Close)
            }
            Command::StartTls => self.starttls(out),
            Command::Auth(mechanism, initial) => self.auth(mechanism, initial, out),
        }
    }

    /// A line that cannot be obeyed, whatever the state.
    #[cold]
    fn malformed(&mut self, line: &[u8], error: CommandError, out: &mut Vec<u8>) -> Option<Step> {
        if self.unopened > 0 && command::is_recipient(line) {
            return self.behind_refused_mail(out);
        }
        if command::is_mail(line) {
            return self.complain_of_mail(reply::of_error(error), out);
        }
        self.complain(reply::of_error(error), out)
    }

    fn say(&self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        out.extend_from_slice(words.as_bytes());
        None
    }

    /// Says what is wrong, and ends a session that does nothing else.
    fn complain(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words, out);
        self.errs(out)
    }

    /// One more error; ends the session with the last that it may have.
    fn errs(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        self.errors += 1;
        if self.errors < limits::COMMAND_ERRORS_MAX {
            return None;
        }
        self.say(words::TOO_MANY_ERRORS, out);
        Some(Step::Close)
    }

    /// Refuses what is asked for a reason of ours: no error of the client.
    fn turn_away(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.turned_away = true;
        self.say(words, out)
    }

    /// Ends a session that came to no message. One that we turned away did nothing wrong.
    fn enough(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        self.say(if self.turned_away { words::SESSION_OVER } else { words::TOO_MANY_COMMANDS }, out);
        Some(Step::Close)
    }

    /// An error in MAIL, or with it. What a client that may relay pipelined behind it is none.
    fn complain_of_mail(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.unopened = u32::from(self.may_relay());
        self.complain(words, out)
    }

    /// RCPT or DATA where MAIL was refused: sent before the client could know (RFC 2920 section 3.1).
    fn behind_refused_mail(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words::NEED_MAIL, out);
        self.unopened += 1;
        if self.unopened <= limits::RECIPIENTS_OFFERED_MAX { None } else { self.enough(out) }
    }

    /// RCPT or DATA without a transaction.
    fn need_mail(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        if self.unopened > 0 {
            return self.behind_refused_mail(out);
        }
        self.complain(words::NEED_MAIL, out)
    }

    /// Every refusal of a recipient. Beside recipients that are taken it is no error: a list has bad addresses.
    fn refuse_recipient(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        let may_relay = self.may_relay();
        let Some(transaction) = &mut self.transaction else { return self.complain(words, out) };
        transaction.refused += 1;
        if !transaction.envelope.recipients.is_empty() {
            return self.offered(words, out);
        }
        if !may_relay {
            return self.complain(words, out);
        }
        let enough = transaction.refused >= limits::RECIPIENTS_REFUSED_MAX;
        self.say(words, out);
        if !enough {
            return None;
        }
        self.say(words::TOO_MANY_ERRORS, out);
        Some(Step::Close)
    }

    /// Answers a RCPT, unless it was one too many of a transaction.
    fn offered(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words, out);
        let transaction = self.transaction.as_mut()?;
        transaction.offered += 1;
        if transaction.offered < limits::RECIPIENTS_OFFERED_MAX {
            return None;
        }
        self.enough(out)
    }

    /// Ends a transaction that comes to nothing. What was refused in it counts as one error.
    fn forget(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let transaction = self.transaction.take()?;
        let failed = transaction.refused > 0 && transaction.envelope.recipients.is_empty();
        if failed && self.may_relay() { self.errs(out) } else { None }
    }

    fn may_relay(&self) -> bool {
        self.may_relay || self.account.is_some()
    }

    fn say_hello(&mut self, name: &[u8], extended: bool, out: &mut Vec<u8>) -> Option<Step> {
        // 4.1.4: EHLO in mid-session clears as RSET does.
        let ended = self.transaction.is_some() && self.forget(out).is_some();
        if ended {
            return Some(Step::Close);
        }
        self.unopened = 0;
        self.hello = Some(Box::new(Hello { name: command::name_text(name).into(), extended }));
        if extended {
            let rules = &self.rules;
            let tls = self.tls.is_some();
            let (starttls, auth) = (rules.starttls && !tls, rules.accounts && tls && self.account.is_none());
            extensions::write_ehlo(out, &rules.hostname, rules.message_size_max, starttls, auth);
        } else {
            out.extend_from_slice(b"250 ");
            out.extend_from_slice(self.rules.hostname.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        None
    }

    fn mail(
        &mut self,
        path: &Path<'_>,
        parameters: MailParameters,
        gate: Gate,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        if self.hello.is_none() {
            return self.complain_of_mail(words::NEED_HELLO, out);
        }
        if self.transaction.is_some() {
            return self.complain(words::NESTED_MAIL, out);
        }
        // Until it is taken.
        self.unopened = 1;
        match gate {
            Gate::Open => {}
            Gate::NoSpace => return self.turn_away(words::NO_SPACE, out),
            Gate::QueueFull => return self.turn_away(words::QUEUE_FULL, out),
            Gate::NoMemory => return self.turn_away(words::NO_MEMORY, out),
            Gate::Aged => {
                self.overdue(Overdue::Session, out);
                return Some(Step::Close);
            }
            Gate::Closing => {
                self.say(words::SHUTTING_DOWN, out);
                return Some(Step::Close);
            }
        }
        // RFC 1870 section 6.1
        if parameters.size.is_some_and(|size| size > self.rules.message_size_max) {
            // A stranger's commands behind its own mistake count.
            self.unopened = u32::from(self.may_relay());
            return self.say(words::TOO_LARGE, out);
        }
        self.unopened = 0;
        let envelope = self.rules.envelopes.take();
        self.transaction = Some(Transaction::new(envelope, path.address));
        self.say(words::SENDER_OK, out)
    }

    fn rcpt(&mut self, path: &Path<'_>, gate: Gate, out: &mut Vec<u8>) -> Option<Step> {
        let allowed = self.may_relay();
        let (hostname, most) = (&self.rules.hostname, self.rules.recipients_max);
        let Some(transaction) = &mut self.transaction else { return self.need_mail(out) };
        // We are nobody's final destination: a client that may not relay has no recipient to give us, in whatever form
        // (`u%x@us`, `x!u@us`, `"u@x"@us`, a source route).
        if !allowed {
            return self.refuse_recipient(words::RELAY_DENIED, out);
        }
        let words = match transaction.take(path, hostname, most, gate != Gate::NoMemory) {
            Taken::Yes => words::RECIPIENT_OK,
            Taken::Full => words::TOO_MANY_RECIPIENTS,
            Taken::NoMemory => {
                self.turned_away = true;
                words::NO_MEMORY
            }
        };
        self.offered(words, out)
    }

    fn data(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let size_max = self.rules.message_size_max;
        let Some(transaction) = &mut self.transaction else { return self.need_mail(out) };
        if transaction.envelope.recipients.is_empty() {
            if transaction.offered > 0 {
                // There was no memory for a good one, and it may come again.
                return self.offered(words::NO_MEMORY, out);
            }
            // RFC 2920 section 3.1: the client may have sent DATA before it saw that every RCPT was refused.
            let words = if transaction.refused > 0 { words::NO_VALID_RECIPIENTS } else { words::NEED_RCPT };
            return self.complain(words, out);
        }
        transaction.scanner = Some(Scanner::new(size_max, self.rules.bare_newlines));
        self.say(words::GO_AHEAD, out);
        Some(Step::Body)
    }

    fn starttls(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        if !self.rules.starttls {
            return self.complain(words::NOT_OFFERED, out);
        }
        if self.tls.is_some() {
            return self.complain(words::BAD_SEQUENCE, out);
        }
        if self.tls_put_off {
            return self.turn_away(words::TLS_PUT_OFF, out);
        }
        self.say(words::READY_FOR_TLS, out);
        Some(Step::StartTls)
    }

    /// The handshake is done: the session starts over (RFC 3207 section 4.2).
    pub fn tls_established(&mut self, description: String) {
        self.hello = None;
        self.transaction = None;
        self.unopened = 0;
        self.tls = Some(description.into());
    }

    /// The scanner of the body that is coming in. None outside of [`Step::Body`].
    pub fn scanner(&mut self) -> Option<&mut Scanner> {
        self.transaction.as_mut()?.scanner.as_mut()
    }

    /// The node shuts down (RFC 5321 3.8).
    pub fn drain(&self, out: &mut Vec<u8>) {
        self.say(words::SHUTTING_DOWN, out);
    }

    /// The client let something pass (RFC 5321 4.5.3.2.7 and what goes beyond it).
    pub fn overdue(&self, what: Overdue, out: &mut Vec<u8>) {
        let words = match what {
            Overdue::Command => words::TIMED_OUT,
            Overdue::Message if self.turned_away => words::SESSION_OVER,
            Overdue::Message => words::NO_MESSAGE,
            Overdue::Session => words::SESSION_OVER,
        };
        self.say(words, out);
    }
}
