//! The server side of a session (RFC 5321), sans IO: lines in, replies and steps out.
//!
//! The driver owns the socket and calls, in this order: [`Session::greet`], then [`Session::handle`] with whatever input
//! there is. A [`Step`] tells what the driver must do before it calls again.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::config::BareNewlines;
use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::envelope::Envelope;
use crate::policy::reason::Refused;
use crate::smtp::command;
use crate::smtp::data::{Scanned, Scanner};
use crate::smtp::reply;
use crate::smtp::scram::Costs;
use crate::smtp::words;
use crate::smtp::xclient::Introduction;
use crate::time::UnixMillis;

mod step;
mod lines;
mod identity;
mod conduct;
mod scram;
mod auth;
mod transaction;
mod parameters;
mod portions;
mod open_merge;
mod merge;
mod xclient;
mod body;
mod dialogue;
mod refusals;
#[cfg(test)]
mod tests;

pub use body::{BodyEnd, NotStored};
use dialogue::Dialogue;
use lines::{Lines, NextLine};
pub use merge::{PartEnd, WholeMerge};
pub use portions::PortionEnd;
pub use refusals::{Refusal, Refusals};
pub use scram::Proof;
pub use step::{
    Answer, Credentials, Intake, OpenTransaction, Overdue, Question, Questions, SessionConfig, Step,
};
use transaction::Transaction;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    dialogue: Dialogue,
    /// What was refused and is not recorded yet.
    refusals: Refusals,
    lines: Lines,
}

impl Session {
    /// A fresh session. `may_relay`: the client's network is allowed to relay.
    pub fn new(config: Rc<SessionConfig>, peer: SocketAddr, may_relay: bool) -> Session {
        Session {
            dialogue: Dialogue::new(config, peer, may_relay),
            refusals: Refusals::default(),
            lines: Lines::default(),
        }
    }

    /// When it begins: without that no mail is held (RFC 4865).
    pub fn begins(&mut self, now: UnixMillis) {
        self.dialogue.identity.begun = now.seconds();
    }

    /// The 220 (RFC 5321 4.2).
    pub fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"220 ");
        out.extend_from_slice(self.dialogue.config.hostname.as_bytes());
        out.extend_from_slice(b" ESMTP");
        let banner = &self.dialogue.config.manner.banner;
        if !banner.is_empty() {
            out.push(b' ');
            out.extend_from_slice(banner.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Between transactions: these rules hold from now on, and this is whether the client's network is allowed to relay.
    pub fn renew(&mut self, config: Rc<SessionConfig>, may_relay: bool) {
        (self.dialogue.config, self.dialogue.identity.network_may_relay) = (config, may_relay);
    }

    /// A proxy said whose connection it is, before anything was said in it.
    pub fn is_of(&mut self, client: SocketAddr, may_relay: bool) {
        let identity = &mut self.dialogue.identity;
        (identity.peer, identity.network_may_relay) = (client, may_relay);
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.dialogue.identity.peer
    }

    /// The account that authenticated.
    pub fn account(&self) -> Option<&str> {
        self.dialogue.identity.account()
    }

    /// What the client called itself.
    pub fn helo(&self) -> Option<&str> {
        self.dialogue.identity.helo()
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
        let recipients =
            self.dialogue.transaction.as_ref().map(|transaction| transaction.envelope.recipients.len());
        (recipients.is_some(), recipients.is_some_and(|count| count > 0))
    }

    /// The reverse path of the open transaction.
    pub fn sender(&self) -> Option<Vec<u8>> {
        self.dialogue.transaction.as_ref().map(|transaction| transaction.envelope.sender.clone())
    }

    /// Bytes of the open transaction's envelope.
    pub fn held(&self) -> usize {
        self.dialogue.transaction.as_ref().map_or(0, Transaction::held)
    }

    /// Bytes of the session beside its transaction: names that its client gave.
    pub fn carried(&self) -> usize {
        self.dialogue.identity.held() + self.dialogue.auth.held()
    }

    /// Whether STARTTLS is to be tried again later: there is no memory for more sessions under TLS.
    pub fn put_off_tls(&mut self, later: bool) {
        self.dialogue.identity.tls_put_off = later;
    }

    /// Handles the complete lines of `input`, replies gathered in `out`; returns how much it used and what comes next.
    pub fn handle(&mut self, input: &[u8], gate: Intake, out: &mut Vec<u8>) -> (usize, Step) {
        let mut used = 0;
        loop {
            let (length, found) = self.lines.next(&input[used..], self.dialogue.line_max());
            used += length;
            let (said, login) = (out.len(), self.dialogue.auth.is_awaited());
            let is_long = matches!(found, NextLine::TooLong { .. });
            let (line, step) = match found {
                NextLine::Line(line) => {
                    let of_merge = merge::line(&mut self.dialogue, line, gate, out);
                    (line, of_merge.unwrap_or_else(|| self.dialogue.line(line, gate, out)))
                }
                NextLine::TooLong { rest, endless } => (rest, self.dialogue.long_line(endless, out)),
                NextLine::Part { endless: false } => return (used, Step::NeedInput),
                NextLine::Part { endless: true } => {
                    self.dialogue.say(words::ENDLESS_LINE, out);
                    self.refused(words::ENDLESS_LINE.as_bytes(), None);
                    return (used, Step::Close);
                }
            };
            // An end may stand behind a reply that refuses nothing.
            if matches!(out.get(said), Some(b'4' | b'5')) || step == Some(Step::Close) {
                self.note_refusal((!login).then_some(line), &out[said..]);
                merge::spoil(&mut self.dialogue, (line, is_long));
            }
            if merge::is_silent(&self.dialogue) && step.is_none() && (is_long || command::is_of_merge(line)) {
                merge::hush(&mut self.dialogue, said, out);
            }
            if let Some(step) = step {
                return (used, step);
            }
            if out.len() >= limits::REPLY_BACKLOG_MAX {
                return (used, Step::Flush);
            }
        }
    }

    /// The handshake is done, here or at a proxy: the session starts over (RFC 3207 section 4.2).
    pub fn tls_established(&mut self, description: String) {
        self.dialogue.identity.protect(description);
        (self.dialogue.transaction, self.dialogue.portions, self.dialogue.is_silent) = (None, None, false);
        self.dialogue.conduct.begin_anew();
    }

    /// Whether its client may say for whom it is there (XCLIENT).
    pub fn may_introduce(&mut self, may: bool) {
        self.dialogue.identity.may_introduce = may;
    }

    /// Whether its client is a node of the same operator.
    pub fn is_node(&mut self, is: bool) {
        self.dialogue.identity.is_node = is;
    }

    /// Whether what it says of a message stands for what the message was before.
    pub fn hands_over(&self) -> bool {
        self.dialogue.identity.hands_over()
    }

    /// A gateway said for whom it is there: the session starts over as this client's, and nothing that was said or proven before is this one's. How
    /// many commands and errors there were stays, as that is the gateway's.
    pub fn is_introduced(&mut self, client: SocketAddr, may_relay: bool, introduction: &Introduction) {
        let Introduction { address: _, port: _, helo, extended, login } = introduction;
        let dialogue = &mut self.dialogue;
        dialogue.identity.is_introduced((client, may_relay), (helo.as_deref(), *extended), login.as_deref());
        (dialogue.auth, dialogue.transaction, dialogue.portions) = (auth::Auth::default(), None, None);
        dialogue.is_silent = false;
        dialogue.conduct.begin_anew();
    }

    /// The account that a gateway names may not log in from there. True: the session is to be closed.
    #[must_use]
    pub fn introduction_refused(&mut self, out: &mut Vec<u8>) -> bool {
        self.dialogue.complain(words::XCLIENT_LOGIN, out).is_some()
    }

    /// The client's certificate says which account it is.
    pub fn is_account(&mut self, account: &str) {
        self.dialogue.identity.authenticate(account);
    }

    /// Logins can be bound to this TLS (RFC 9266).
    pub fn can_bind(&mut self) {
        self.dialogue.identity.can_bind = true;
    }

    /// The account that the challenge of the last step is for.
    pub fn challenged(&self) -> Option<&str> {
        self.dialogue.auth.challenged()
    }

    /// What this account's key is derived with. `nonce`: printable, without a comma, and nobody can guess it. `binding`: what TLS exports for
    /// this connection, where logins can be bound.
    pub fn challenge(
        &mut self,
        costs: Costs,
        (nonce, binding): (&str, Option<&[u8; 32]>),
        out: &mut Vec<u8>,
    ) {
        self.dialogue.auth.challenge(costs, (nonce, binding), out);
    }

    /// What the client proved was right, and this is our own proof. The account is logged in when the client has seen it.
    pub fn proven(&mut self, account: &str, signature: &[u8; 32], out: &mut Vec<u8>) {
        self.dialogue.auth.proven(account, signature, out);
    }

    /// The account that authenticated, or has done all for it that there is to be done.
    pub fn known_as(&self) -> Option<&str> {
        self.account().or_else(|| self.dialogue.auth.logs_in())
    }

    /// The credentials were right.
    pub fn authenticated(&mut self, account: &str, out: &mut Vec<u8>) {
        self.dialogue.identity.authenticate(account);
        self.dialogue.say(words::AUTH_OK, out);
    }

    /// They were not. True: the session is to be closed.
    #[must_use]
    pub fn authentication_failed(&mut self, out: &mut Vec<u8>) -> bool {
        self.dialogue.fail_auth(words::AUTH_FAILED, words::TOO_MANY_ERRORS, out)
    }

    /// Whether they were cannot be told now, and is not the client's fault (RFC 4954 section 6). True: the session is to be closed.
    #[must_use]
    pub fn authentication_unavailable(&mut self, out: &mut Vec<u8>) -> bool {
        self.dialogue.fail_auth(words::AUTH_UNAVAILABLE, words::SESSION_OVER, out)
    }

    /// The same, where we had no time for it: the session may ask again for as long as it may say anything.
    pub fn authentication_postponed(&mut self, out: &mut Vec<u8>) {
        self.dialogue.turn_away(words::AUTH_UNAVAILABLE, out);
    }

    /// They were right, and the account has as many connections as it may: the session ends.
    pub fn authentication_full(&mut self, out: &mut Vec<u8>) {
        self.dialogue.say(words::TOO_MANY_OF_ACCOUNT, out);
    }

    /// Too many like this client wait already: the session ends.
    pub fn authentication_cut(&mut self, out: &mut Vec<u8>) {
        self.dialogue.say(words::TOO_MANY_LOGINS, out);
    }

    /// Whether each recipient is asked about from now on, whatever else is: somebody is on the suppression list.
    pub fn ask_of_recipients(&mut self, asks: bool) {
        self.dialogue.identity.asks_of_recipients = asks;
    }

    /// What the question of the last step is about: the reverse path, and if it is about that the forward path, with where its domain begins.
    pub fn asked(&self) -> (&[u8], Option<(&[u8], usize)>) {
        let open = self.dialogue.transaction.as_ref();
        (open.map_or(b"", |open| &open.envelope.sender), open.and_then(Transaction::asked))
    }

    /// The question of the last step is answered. True: the session is to be closed.
    #[must_use]
    pub fn answered(&mut self, answer: Answer<'_>, out: &mut Vec<u8>) -> bool {
        let (said, hushed) = (out.len(), merge::is_silent(&self.dialogue) && self.asked().1.is_some());
        let close = self.dialogue.answered(answer, &mut self.refusals, out);
        if hushed && !close {
            merge::hush(&mut self.dialogue, said, out);
        }
        close
    }

    /// The open transaction, for whoever decides what is to be in its envelope.
    pub fn open(&mut self) -> Option<OpenTransaction<'_>> {
        let envelope = &mut *self.dialogue.transaction.as_mut()?.envelope;
        Some(OpenTransaction {
            account: self.dialogue.identity.account(),
            trusted: self.dialogue.identity.may_relay(),
            envelope,
        })
    }

    /// Says in the envelope of the open transaction whom it comes from, before its end: who is asked about it wants to know.
    pub fn name_client(&mut self) {
        if let Some(transaction) = &mut self.dialogue.transaction {
            self.dialogue.identity.sign(&mut transaction.envelope);
        }
    }

    /// A message that ended well is refused by a rule, or for an instruction in it that cannot be understood.
    pub fn not_admitted(&mut self, refused: Refused<'_>, envelope: &Envelope, out: &mut Vec<u8>) {
        self.refusals.note_unwanted_message(refused, envelope);
        self.dialogue.say(refused.reply, out);
    }

    /// The scanner of the body that is coming in. None where none is.
    pub fn scanner(&self) -> Option<&Scanner> {
        self.dialogue.transaction.as_ref()?.scanner.as_deref()
    }

    /// The header section was changed, so that it has so many bytes more.
    pub fn header_grew(&mut self, by: i64) {
        let scanner = self.dialogue.transaction.as_mut().and_then(|open| open.scanner.as_mut());
        scanner.into_iter().for_each(|scanner| scanner.header_grew(by));
    }

    /// Its long lines were folded.
    pub fn header_is_folded(&mut self) {
        let scanner = self.dialogue.transaction.as_mut().and_then(|open| open.scanner.as_mut());
        scanner.into_iter().for_each(|scanner| scanner.header_is_folded());
    }

    /// A message that came whole has another body now: what is known of it is known of this one.
    pub fn rescan(&mut self, body: &mut [u8]) {
        let Dialogue { config, transaction: Some(open), .. } = &mut self.dialogue else { return };
        let scanner = body::scanner(config, open, BareNewlines::Refuse);
        let scanner = open.scanner.insert(config.scanners.put(scanner.counted()));
        scanner.scan(body);
    }

    /// Whether what comes next belongs to a body: from [`Step::Body`] or [`Step::Portion`] on, until its end was answered.
    pub fn takes_body(&self) -> bool {
        match &self.dialogue.portions {
            Some(portions) => portions.is_open(),
            None => self.scanner().is_some(),
        }
    }

    /// Scans what of `fresh` belongs to the body that is coming in, as [`Scanner::scan`] does; `done`: it, or the portion of it, is there whole.
    pub fn scan(&mut self, fresh: &mut [u8]) -> Scanned {
        let scanner = self.dialogue.transaction.as_mut().and_then(|open| open.scanner.as_deref_mut());
        match (&mut self.dialogue.portions, scanner) {
            (None, Some(scanner)) => scanner.scan(fresh),
            (Some(portions), scanner) => portions.scan(scanner, fresh),
            (None, None) => Scanned { kept: 0, grown: Vec::new(), consumed: 0, done: true },
        }
    }

    /// Bytes that a portion still lacks, after [`Step::Portion`]; None: a body comes that says itself where it ends.
    pub fn portion_left(&self) -> Option<u64> {
        self.dialogue.portions.as_ref().map(|portions| portions.left())
    }

    /// Whether a binary message comes, which is text by the time it was scanned (RFC 3030 section 3).
    pub fn is_binary(&self) -> bool {
        self.dialogue.portions.as_ref().is_some_and(|portions| portions.is_binary())
    }

    /// Whether more of a message is to come behind the portion that is coming in.
    pub fn goes_on(&self) -> bool {
        self.dialogue.portions.as_ref().is_some_and(|portions| !portions.is_last())
    }

    /// Whether what came by BDAT so far is to be kept for what comes yet.
    pub fn keeps_portions(&self) -> bool {
        self.dialogue.portions.as_ref().is_some_and(|portions| portions.go_on())
    }

    /// A portion came whole.
    #[must_use]
    pub fn portion_end(&mut self, out: &mut Vec<u8>) -> PortionEnd {
        let said = out.len();
        let end = self.dialogue.portion_end(&mut self.refusals, out);
        if matches!(end, PortionEnd::Refused { close: true, .. }) {
            self.note_refusal(Some(b"BDAT"), &out[said..]);
        }
        end
    }

    /// More of a part of a merge, canonical, after [`Step::Part`].
    pub fn part(&mut self, bytes: &[u8]) {
        let open = self.dialogue.transaction.as_mut().and_then(Transaction::merge);
        open.into_iter().for_each(|open| open.push(bytes));
    }

    /// The final dot of a part was seen.
    #[must_use]
    pub fn part_end(&mut self, out: &mut Vec<u8>) -> PartEnd {
        merge::part_end(&mut self.dialogue, &mut self.refusals, out)
    }

    /// The final dot was seen, or the last portion.
    pub fn body_end(&mut self, now: UnixMillis, expiry: UnixMillis, out: &mut Vec<u8>) -> BodyEnd {
        self.dialogue.body_end((now, expiry), &mut self.refusals, out)
    }

    /// The message is safe: the 250.
    pub fn accepted(&mut self, message: &Durable<MessageId>, out: &mut Vec<u8>) {
        reply::write_queued(out, message);
    }

    /// The message could not be stored.
    pub fn not_stored(&mut self, why: NotStored, out: &mut Vec<u8>) {
        self.dialogue.transaction = None;
        self.dialogue.turn_away(why.words(), out);
    }

    /// A line was answered with `said`; None: one of an AUTH exchange.
    #[cold]
    fn note_refusal(&mut self, line: Option<&[u8]>, said: &[u8]) {
        let open = self.dialogue.transaction.as_ref().map(Transaction::envelope);
        self.refusals.note_command(line, said, self.dialogue.conduct.was_behind_refused_mail(), open);
    }

    /// A login or the whole session was answered with `said`, and with it the transaction that is open.
    #[cold]
    pub fn refused(&mut self, said: &[u8], account: Option<&str>) {
        let open = self.dialogue.transaction.as_ref().map(Transaction::envelope);
        self.refusals.note(said, account, open);
    }

    /// The connection broke, for the reason in `words`: those of the driver, no reply. With it goes the transaction that is open.
    #[cold]
    pub fn broke(&mut self, words: &str) {
        let open = self.dialogue.transaction.as_ref().map(Transaction::envelope);
        self.refusals.note_broken(words, open);
    }

    /// What was refused since this was last asked; None: nothing.
    pub fn take_refusals(&mut self) -> Option<Refusals> {
        self.refusals.take()
    }

    /// The client let something pass (RFC 5321 4.5.3.2.7 and what goes beyond it).
    pub fn overdue(&self, what: Overdue, out: &mut Vec<u8>) {
        self.dialogue.say(what.words(self.dialogue.conduct.is_turned_away()), out);
    }
}
