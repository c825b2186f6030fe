//! The server side of a session (RFC 5321), sans IO: lines in, replies and steps out.
//!
//! The driver owns the socket and calls, in this order: [`Session::greet`], then [`Session::handle`] with whatever input
//! there is. A [`Step`] tells what the driver must do before it calls again.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::address::{AddressError, Path};
use crate::mail::envelope::Envelope;
use crate::smtp::command::{self, Command, CommandError, MailParameters};
use crate::smtp::data::Scanner;
use crate::smtp::extensions;
use crate::smtp::reply::{self, words};
use crate::time::UnixMillis;

mod step;
mod lines;
mod identity;
mod conduct;
mod auth;
mod transaction;
mod body;
mod refusals;
#[cfg(test)]
mod tests;

use auth::{Auth, Outcome};
pub use body::{BodyEnd, NotStored};
use conduct::Conduct;
use identity::Identity;
use lines::{Found, Lines};
pub use refusals::{Reason, Refusal, Refusals};
pub use step::{Answer, Asks, Credentials, Gate, Open, Overdue, Question, Rules, Step};
use transaction::{Taken, Transaction};

/// One client's session.
#[derive(Debug)]
pub struct Session {
    rules: Rc<Rules>,
    identity: Identity,
    conduct: Conduct,
    auth: Auth,
    transaction: Option<Transaction>,
    /// What was refused and is not recorded yet.
    refusals: Refusals,
    lines: Lines,
}

impl Session {
    /// A fresh session. `may_relay`: the client's network is allowed to relay.
    pub fn new(rules: Rc<Rules>, peer: SocketAddr, may_relay: bool) -> Session {
        Session {
            rules,
            identity: Identity::new(peer, may_relay),
            conduct: Conduct::default(),
            auth: Auth::default(),
            transaction: None,
            refusals: Refusals::default(),
            lines: Lines::default(),
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
        self.identity.peer
    }

    /// The account that authenticated.
    pub fn account(&self) -> Option<&str> {
        self.identity.account()
    }

    /// What the client called itself.
    pub fn helo(&self) -> Option<&str> {
        self.identity.helo()
    }

    /// Lines handled so far; the number wraps.
    pub fn lines(&self) -> u32 {
        self.lines.count
    }

    /// Whether the start of a line was thrown away and its end is still to come.
    pub fn is_skipping(&self) -> bool {
        self.lines.is_skipping()
    }

    /// Whether a transaction is open, and whether it has a recipient.
    pub fn transaction(&self) -> (bool, bool) {
        let recipients = self.transaction.as_ref().map(|transaction| transaction.envelope.recipients.len());
        (recipients.is_some(), recipients.is_some_and(|count| count > 0))
    }

    /// The reverse path of the open transaction.
    pub fn sender(&self) -> Option<Vec<u8>> {
        self.transaction.as_ref().map(|transaction| transaction.envelope.sender.clone())
    }

    /// Bytes of the open transaction's envelope.
    pub fn held(&self) -> usize {
        self.transaction.as_ref().map_or(0, Transaction::held)
    }

    /// Bytes of the session beside its transaction: names that its client gave.
    pub fn carried(&self) -> usize {
        self.identity.held() + self.auth.held()
    }

    /// Whether STARTTLS is to be tried again later: there is no memory for more sessions under TLS.
    pub fn put_off_tls(&mut self, later: bool) {
        self.identity.tls_put_off = later;
    }

    /// Handles the complete lines of `input`, replies gathered in `out`; returns how much it used and what comes next.
    pub fn handle(&mut self, input: &[u8], gate: Gate, out: &mut Vec<u8>) -> (usize, Step) {
        let mut used = 0;
        loop {
            let (length, found) = self.lines.next(&input[used..], self.line_max());
            used += length;
            let (said, login) = (out.len(), self.auth.is_awaited());
            let (line, step) = match found {
                Found::Line(line) => (line, self.line(line, gate, out)),
                Found::TooLong { rest, endless } => (rest, self.long_line(endless, out)),
                Found::Part { endless: false } => return (used, Step::NeedInput),
                Found::Part { endless: true } => {
                    self.say(words::ENDLESS_LINE, out);
                    self.refused(words::ENDLESS_LINE.as_bytes(), None);
                    return (used, Step::Close);
                }
            };
            // An end may stand behind a reply that refuses nothing.
            if matches!(out.get(said), Some(b'4' | b'5')) || step == Some(Step::Close) {
                self.note_refusal((!login).then_some(line), &out[said..]);
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
        if self.auth.is_awaited() || self.identity.is_protected() {
            limits::AUTH_LINE_MAX
        } else {
            limits::COMMAND_LINE_MAX
        }
    }

    #[cold]
    fn long_line(&mut self, endless: bool, out: &mut Vec<u8>) -> Option<Step> {
        if endless {
            return self.close(words::ENDLESS_LINE, out);
        }
        self.auth.give_up();
        self.complain(words::LINE_TOO_LONG, out)
    }

    /// One line. None: go on with the next.
    fn line(&mut self, line: &[u8], gate: Gate, out: &mut Vec<u8>) -> Option<Step> {
        if self.auth.is_awaited() {
            let outcome = self.auth.line(line);
            return self.go_on_with_auth(outcome, out);
        }
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(error) if self.transaction.is_some() && command::is_recipient(line) => {
                // Whatever a stranger's recipient lacks, it is one of somebody else.
                let denied =
                    error == CommandError::Recipient(AddressError::NoDomain) && !self.identity.may_relay();
                let words = if denied { words::RELAY_DENIED } else { reply::of_error(error) };
                return self.refuse_recipient(words, out);
            }
            Err(CommandError::Unknown) if command::is_http(line) => return self.close(words::NOT_HTTP, out),
            Err(error) => return self.malformed(line, error, out),
        };
        let nearer = matches!(command, Command::Rcpt(_) | Command::Data | Command::Quit);
        if !nearer && !self.conduct.may_command() {
            return self.enough(out);
        }
        match command {
            Command::Mail(path, parameters) => self.mail(&path, parameters, gate, out),
            Command::Rcpt(path) => self.rcpt(&path, gate, out),
            Command::Data => self.data(out),
            Command::Ehlo(name) => self.say_hello(name, true, out),
            Command::Helo(name) => self.say_hello(name, false, out),
            Command::Rset => {
                self.say(words::OK, out);
                self.conduct.begin_anew();
                self.forget(out)
            }
            Command::Noop => self.say(words::OK, out),
            Command::Vrfy => self.say(words::VRFY, out),
            Command::Expn => self.complain(words::NOT_OFFERED, out),
            Command::Help => self.say(words::HELP, out),
            Command::Quit => self.close(words::BYE, out),
            Command::StartTls => self.starttls(out),
            Command::Auth(mechanism, initial) => self.auth(mechanism, initial, out),
        }
    }

    /// A line that cannot be obeyed, whatever the state.
    #[cold]
    fn malformed(&mut self, line: &[u8], error: CommandError, out: &mut Vec<u8>) -> Option<Step> {
        if self.conduct.is_behind_refused_mail() && command::is_recipient(line) {
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

    fn close(&self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words, out);
        Some(Step::Close)
    }

    /// Says what is wrong, and ends a session that does nothing else.
    fn complain(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words, out);
        self.errs(out)
    }

    /// One more error; ends the session with the last that it may have.
    fn errs(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        if self.conduct.may_err() { None } else { self.close(words::TOO_MANY_ERRORS, out) }
    }

    /// Refuses what is asked for a reason of ours: no error of the client.
    fn turn_away(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.conduct.turn_away();
        self.say(words, out)
    }

    /// Ends a session that came to no message.
    fn enough(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        self.close(self.conduct.end(), out)
    }

    /// An error in MAIL, or with it. What a client that may relay pipelined behind it is none.
    fn complain_of_mail(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.conduct.refuse_mail(self.identity.may_relay());
        self.complain(words, out)
    }

    /// RCPT or DATA where MAIL was refused: sent before the client could know (RFC 2920 section 3.1).
    fn behind_refused_mail(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words::NEED_MAIL, out);
        if self.conduct.may_pipeline() { None } else { self.enough(out) }
    }

    /// RCPT or DATA without a transaction.
    fn need_mail(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        if self.conduct.is_behind_refused_mail() {
            return self.behind_refused_mail(out);
        }
        self.complain(words::NEED_MAIL, out)
    }

    /// Every refusal of a recipient. Beside recipients that are taken it is no error: a list has bad addresses.
    fn refuse_recipient(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        let may_relay = self.identity.may_relay();
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
        if enough { self.close(words::TOO_MANY_ERRORS, out) } else { None }
    }

    /// Answers a RCPT, unless it was one too many of a transaction.
    fn offered(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words, out);
        let transaction = self.transaction.as_mut()?;
        transaction.offered += 1;
        if transaction.offered < limits::RECIPIENTS_OFFERED_MAX { None } else { self.enough(out) }
    }

    /// Ends a transaction that comes to nothing. What was refused in it counts as one error.
    fn forget(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let transaction = self.transaction.take()?;
        let failed = transaction.refused > 0 && transaction.envelope.recipients.is_empty();
        if failed && self.identity.may_relay() { self.errs(out) } else { None }
    }

    fn say_hello(&mut self, name: &[u8], extended: bool, out: &mut Vec<u8>) -> Option<Step> {
        // 4.1.4: EHLO in mid-session clears as RSET does.
        if let Some(step) = self.forget(out) {
            return Some(step);
        }
        self.conduct.begin_anew();
        self.identity.says_hello(command::name_text(name).into(), extended);
        if extended {
            let (rules, tls) = (&self.rules, self.identity.is_protected());
            let unnamed = self.identity.account().is_none();
            let (starttls, auth) = (rules.starttls && !tls, rules.accounts && tls && unnamed);
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
        if !self.identity.said_hello() {
            return self.complain_of_mail(words::NEED_HELLO, out);
        }
        if self.transaction.is_some() {
            return self.complain(words::NESTED_MAIL, out);
        }
        // Until it is taken.
        self.conduct.refuse_mail(true);
        match gate.refusal() {
            None => {}
            Some((words, false)) => return self.turn_away(words, out),
            Some((words, true)) => return self.close(words, out),
        }
        // RFC 1870 section 6.1
        if parameters.size.is_some_and(|size| size > self.rules.message_size_max) {
            // A stranger's commands behind its own mistake count.
            self.conduct.refuse_mail(self.identity.may_relay());
            return self.say(words::TOO_LARGE, out);
        }
        self.conduct.begin_anew();
        let envelope = self.rules.envelopes.take();
        self.transaction = Some(Transaction::new(envelope, path.address));
        if self.rules.asks.sender {
            return Some(Step::Ask(Question::Sender));
        }
        self.say(words::SENDER_OK, out)
    }

    fn rcpt(&mut self, path: &Path<'_>, gate: Gate, out: &mut Vec<u8>) -> Option<Step> {
        let allowed = self.identity.may_relay();
        let (hostname, most) = (&self.rules.hostname, self.rules.recipients_max);
        let Some(transaction) = &mut self.transaction else { return self.need_mail(out) };
        // We are nobody's final destination: a client that may not relay has no recipient to give us, in whatever form
        // (`u%x@us`, `x!u@us`, `"u@x"@us`, a source route).
        if !allowed {
            return self.refuse_recipient(words::RELAY_DENIED, out);
        }
        let memory = gate != Gate::NoMemory;
        if self.rules.asks.recipient {
            transaction.ask(path, hostname, memory);
            return Some(Step::Ask(Question::Recipient));
        }
        let taken = transaction.take(path, hostname, most, memory);
        self.taken(taken, out)
    }

    /// Answers a RCPT that nothing speaks against.
    fn taken(&mut self, taken: Taken, out: &mut Vec<u8>) -> Option<Step> {
        let words = match taken {
            Taken::Yes => words::RECIPIENT_OK,
            Taken::Full => words::TOO_MANY_RECIPIENTS,
            Taken::NoMemory => {
                self.conduct.turn_away();
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
        if !self.rules.starttls || self.identity.is_protected() {
            let words = if self.rules.starttls { words::BAD_SEQUENCE } else { words::NOT_OFFERED };
            return self.complain(words, out);
        }
        if self.identity.tls_put_off {
            return self.turn_away(words::TLS_PUT_OFF, out);
        }
        self.say(words::READY_FOR_TLS, out);
        Some(Step::StartTls)
    }

    /// The handshake is done: the session starts over (RFC 3207 section 4.2).
    pub fn tls_established(&mut self, description: String) {
        self.identity.protect(description);
        self.transaction = None;
        self.conduct.begin_anew();
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&str>, out: &mut Vec<u8>) -> Option<Step> {
        if let Some(words) = auth::forbidden(self.rules.accounts, &self.identity, self.transaction.is_some())
        {
            return self.complain(words, out);
        }
        let outcome = self.auth.begin(mechanism, initial);
        self.go_on_with_auth(outcome, out)
    }

    fn go_on_with_auth(&mut self, outcome: Outcome, out: &mut Vec<u8>) -> Option<Step> {
        match outcome {
            Outcome::Ask(words) => {
                self.say(words, out);
                Some(Step::Flush)
            }
            Outcome::Refuse(words) => self.complain(words, out),
            Outcome::Check(credentials) => Some(Step::Authenticate(credentials)),
        }
    }

    /// The credentials were right.
    pub fn authenticated(&mut self, account: &str, out: &mut Vec<u8>) {
        self.identity.authenticate(account);
        self.say(words::AUTH_OK, out);
    }

    /// They were not. True: the session is to be closed.
    #[must_use]
    pub fn authentication_failed(&mut self, out: &mut Vec<u8>) -> bool {
        self.fail_auth(words::AUTH_FAILED, words::TOO_MANY_ERRORS, out)
    }

    /// Whether they were cannot be told now, and is not the client's fault (RFC 4954 section 6). True: the session is to be closed.
    #[must_use]
    pub fn authentication_unavailable(&mut self, out: &mut Vec<u8>) -> bool {
        self.fail_auth(words::AUTH_UNAVAILABLE, words::SESSION_OVER, out)
    }

    fn fail_auth(&mut self, words: &str, end: &str, out: &mut Vec<u8>) -> bool {
        self.say(words, out);
        !self.auth.may_fail() && self.close(end, out).is_some()
    }

    /// The same, where we had no time for it: the session may ask again for as long as it may say anything.
    pub fn authentication_postponed(&mut self, out: &mut Vec<u8>) {
        self.turn_away(words::AUTH_UNAVAILABLE, out);
    }

    /// Too many like this client wait already: the session ends.
    pub fn authentication_cut(&mut self, out: &mut Vec<u8>) {
        self.say(words::TOO_MANY_LOGINS, out);
    }

    /// What the question of the last step is about: the reverse path, and the forward path if it is about that.
    pub fn asked(&self) -> (&[u8], Option<&[u8]>) {
        let open = self.transaction.as_ref();
        (open.map_or(b"", |open| &open.envelope.sender), open.and_then(Transaction::asked))
    }

    /// The question of the last step is answered. True: the session is to be closed.
    #[must_use]
    pub fn answered(&mut self, answer: Answer<'_>, out: &mut Vec<u8>) -> bool {
        let (hostname, most) = (&self.rules.hostname, self.rules.recipients_max);
        let Some(transaction) = &mut self.transaction else { return false };
        let asked = transaction.take_asked();
        match (answer, &asked) {
            (Answer::Proceed, None) => self.say(words::SENDER_OK, out),
            (Answer::Proceed, Some(asked)) => {
                let taken = transaction.take(&asked.path(), hostname, most, asked.memory);
                self.taken(taken, out)
            }
            (Answer::Refuse(reply), Some(asked)) => {
                self.refusals.note_rule(reply, &transaction.envelope, Some(&asked.address));
                self.refuse_recipient(reply, out)
            }
            (Answer::Refuse(reply), None) => {
                self.refusals.note_rule(reply, &transaction.envelope, None);
                self.transaction = None;
                self.complain_of_mail(reply, out)
            }
        }
        .is_some()
    }

    /// The open transaction, for whoever decides what is to be in its envelope.
    pub fn open(&mut self) -> Option<Open<'_>> {
        let envelope = &mut *self.transaction.as_mut()?.envelope;
        Some(Open { account: self.identity.account(), trusted: self.identity.may_relay(), envelope })
    }

    /// A message that ended well is refused by a rule, or for an instruction in it that cannot be understood.
    pub fn not_admitted(&mut self, reply: &str, envelope: &Envelope, out: &mut Vec<u8>) {
        self.refusals.note_message_by_rule(reply, envelope);
        self.say(reply, out);
    }

    /// The scanner of the body that is coming in. None outside of [`Step::Body`].
    pub fn scanner(&mut self) -> Option<&mut Scanner> {
        self.transaction.as_mut()?.scanner.as_mut()
    }

    /// The final dot was seen.
    pub fn body_end(&mut self, now: UnixMillis, expiry: UnixMillis, out: &mut Vec<u8>) -> BodyEnd {
        let Some(mut transaction) = self.transaction.take() else {
            self.say(words::BAD_SEQUENCE, out);
            return BodyEnd::Refused { close: true };
        };
        let summary = transaction.summary();
        if let Some(words) = body::refusal(&summary) {
            let said = out.len();
            let enough = self.complain(words, out).is_some();
            self.refusals.note_message(&out[said..], &transaction.envelope);
            return BodyEnd::Refused { close: enough || summary.bare_line_end };
        }
        self.conduct.deliver();
        let mut envelope = transaction.envelope;
        envelope.arrival = now;
        envelope.expiry = expiry;
        self.identity.sign(&mut envelope);
        body::complete(&mut envelope, &summary);
        BodyEnd::Accept(envelope, summary)
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

    /// A line was answered with `said`; None: one of an AUTH exchange.
    #[cold]
    fn note_refusal(&mut self, line: Option<&[u8]>, said: &[u8]) {
        let open = self.transaction.as_ref().map(Transaction::envelope);
        self.refusals.note_command(line, said, self.conduct.was_behind_refused_mail(), open);
    }

    /// A login or the whole session was answered with `said`, and with it the transaction that is open.
    #[cold]
    pub fn refused(&mut self, said: &[u8], account: Option<&str>) {
        let open = self.transaction.as_ref().map(Transaction::envelope);
        self.refusals.note(said, account, open);
    }

    /// The connection broke, for the reason in `words`: those of the driver, no reply. With it goes the transaction that is open.
    #[cold]
    pub fn broke(&mut self, words: &str) {
        let open = self.transaction.as_ref().map(Transaction::envelope);
        self.refusals.note_broken(words, open);
    }

    /// What was refused since this was last asked; None: nothing.
    pub fn take_refusals(&mut self) -> Option<Refusals> {
        self.refusals.take()
    }

    /// The node shuts down (RFC 5321 3.8).
    pub fn drain(&self, out: &mut Vec<u8>) {
        self.say(words::SHUTTING_DOWN, out);
    }

    /// The client let something pass (RFC 5321 4.5.3.2.7 and what goes beyond it).
    pub fn overdue(&self, what: Overdue, out: &mut Vec<u8>) {
        self.say(what.words(self.conduct.is_turned_away()), out);
    }
}
