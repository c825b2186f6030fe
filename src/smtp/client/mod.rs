//! The client side of a session (RFC 5321), sans IO: what to send next, what a reply means.

pub mod auth;
pub mod blame;
mod capabilities;
mod commands;
pub mod dialogue;
mod enough;
pub mod lmtp;
mod local;
mod phase;
mod stuffing;
mod timeouts;
mod verdicts;

use std::time::Duration;

use smallvec::SmallVec;

use crate::limits;
use crate::mail::classify::{Class, Judged};
use crate::smtp::reply::Reply;

pub use blame::never_takes_mail;
pub use capabilities::{Capabilities, MissingExtension};
use commands::Mail;
pub use commands::{Body, Reports};
use enough::Enough;
use lmtp::Answers;
pub use local::local;
pub use phase::NextStep;
use phase::Phase;
pub use verdicts::Verdict;
use verdicts::Verdicts;
pub use {stuffing::stuff, timeouts::Timeouts};

/// Recipients of a transaction.
pub type Recipients<'a> = SmallVec<[&'a [u8]; limits::RECIPIENTS_INLINE]>;

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
    decided: Verdicts,
    accepted: usize,
    must_close: bool,
    unbegun: bool,
    /// MAIL was answered with a 4yz.
    put_off: bool,
    /// A reply deferred something.
    deferred: bool,
    /// What is undecided was given up without a reply.
    given_up: bool,
    /// The end came behind the answers to some of the commands that were sent together.
    cut_short: bool,
    /// It was answered with a 5yz.
    mail_failed: bool,
    /// What shows that the hop has recipients enough.
    enough: Enough,
    /// MAIL was refused, and yet a RCPT was not: either the hop is sloppy, or its replies are not those to our commands.
    suspicious: bool,
    sent: bool,
    /// 354 came, or RSET was answered: the replies before were those to our commands.
    in_step: bool,
    /// What followed a 354 was answered: the hop has no transaction any more (RFC 5321 4.1.1.4).
    finished: bool,
    /// What those are told that the hop would take a message for which it is not given.
    withheld: Option<Box<Reply>>,
    /// The replies behind the dot, where each recipient has its own.
    answers: Option<Box<Answers>>,
    /// Which of them was whose is not known.
    mixed_up: bool,
}

impl<'a> Transaction<'a> {
    /// Prepares MAIL with what the hop understands. `Err` holds the words of a failure that needs no question.
    pub fn new(
        capabilities: &Capabilities,
        sender: &'a [u8],
        recipients: Recipients<'a>,
        size: u64,
        body: Body,
    ) -> Result<Transaction<'a>, Reply> {
        // Whoever could do without has tried.
        if let Some(missing) = capabilities.missing(&body.needs.of_sender(sender)) {
            return Err(missing.reply(true, ""));
        }
        if capabilities.size.is_some_and(|limit| limit != 0 && size > limit) {
            return Err(local(552, (5, 3, 4), "the message is larger than the next hop takes (SIZE)"));
        }
        let mail = Mail::new(capabilities, sender, size, body);
        let decided = Verdicts::new(recipients.len());
        Ok(Transaction {
            pipelining: capabilities.pipelining,
            mail,
            recipients,
            phase: Phase::Mail,
            decided,
            accepted: 0,
            must_close: false,
            unbegun: false,
            put_off: false,
            deferred: false,
            given_up: false,
            cut_short: false,
            mail_failed: false,
            enough: Enough::default(),
            suspicious: false,
            sent: false,
            in_step: false,
            finished: false,
            withheld: None,
            answers: None,
            mixed_up: false,
        })
    }

    /// The hop speaks LMTP: behind the dot it answers for each recipient that it took (RFC 2033 section 4.2).
    pub fn with_answers(self) -> Transaction<'a> {
        Transaction { answers: Some(Box::default()), ..self }
    }

    /// The hop offers DSN, and is told what the sender wants to be told.
    pub fn with_reports(mut self, reports: Reports<'a>) -> Transaction<'a> {
        self.mail.reports = Some(Box::new(reports));
        self
    }

    /// The message cannot go as the hop wants it: its recipients are named, so that the hop says what it has to say of each, and those it
    /// takes have this reply instead of the data.
    pub fn withhold(self, reply: Reply) -> Transaction<'a> {
        Transaction { withheld: Some(Box::new(reply)), ..self }
    }

    /// Writes all that may be sent now: everything up to DATA with PIPELINING, else one command. Returns how many commands that are,
    /// each of which will have a reply.
    pub fn write_commands(&mut self, out: &mut Vec<u8>) -> usize {
        if self.pipelining {
            if self.sent {
                return 0;
            }
            self.sent = true;
            self.mail.write(out);
            for (place, recipient) in self.recipients.iter().enumerate() {
                self.mail.write_rcpt(recipient, place, out);
            }
            if self.withheld.is_some() {
                return self.recipients.len() + 1;
            }
            out.extend_from_slice(b"DATA\r\n");
            return self.recipients.len() + 2;
        }
        match self.phase {
            Phase::Mail => self.mail.write(out),
            Phase::Rcpt(place) => match self.recipients.get(place) {
                Some(recipient) => self.mail.write_rcpt(recipient, place, out),
                None => return 0,
            },
            Phase::Data => out.extend_from_slice(b"DATA\r\n"),
            Phase::Dot | Phase::LoneDot | Phase::Over => return 0,
        }
        1
    }

    /// Takes the next reply.
    pub fn on_reply(&mut self, reply: Reply) -> NextStep {
        self.must_close |= reply.odd;
        if matches!(reply.code, 221 | 421) {
            return self.on_closing(reply);
        }
        if !self.fits(&reply) {
            return self.misfit(&reply);
        }
        match self.phase {
            Phase::Mail => self.on_mail(reply),
            Phase::Rcpt(place) => self.on_rcpt(place, reply),
            Phase::Data if reply.code == 354 => {
                self.in_step = true;
                if self.accepted == 0 {
                    return self.on_data_for_nobody();
                }
                self.phase = Phase::Dot;
                if let Some(answers) = &mut self.answers {
                    answers.expect(self.decided.undecided());
                }
                NextStep::SendBody
            }
            Phase::Dot if self.answers.is_some() => self.on_answer(reply),
            Phase::Data | Phase::Dot => {
                self.finished = self.phase == Phase::Dot;
                self.enough.heed(self.accepted, &reply);
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

    /// 354 came, and nobody is left to receive.
    fn on_data_for_nobody(&mut self) -> NextStep {
        if self.answers.is_some() {
            // RFC 2033 section 4.2: DATA must fail then, and how many replies a dot would have is not said.
            self.must_close = true;
            return self.over();
        }
        self.phase = Phase::LoneDot;
        NextStep::SendDot
    }

    /// The next of those who were taken is answered for.
    fn on_answer(&mut self, reply: Reply) -> NextStep {
        if let Some(place) = self.answers.as_mut().and_then(|answers| answers.next()) {
            self.decide(place, reply, None);
        }
        if self.replies_due() > 0 {
            return NextStep::AwaitAnswer;
        }
        self.finished = true;
        self.over()
    }

    /// Replies to the body that have not come yet.
    pub fn replies_due(&self) -> usize {
        self.answers.as_ref().map_or(1, |answers| answers.due())
    }

    /// Whether somebody is refused by one of several replies behind the dot, or taken by one where others were not. Had one reply too many come
    /// before it, as from a store that answers for those too that it refused at RCPT, it would be another's: before that is believed, an answer that
    /// is none of these is to show that it is not.
    pub fn doubts_answers(&self) -> bool {
        let Some(answers) = &self.answers else { return false };
        if self.recipients.len() < 2 || self.mixed_up {
            return false;
        }
        let failed = |place: usize| matches!(self.decided.at(place), Some(Verdict::Failed(_)));
        answers.given().any(failed) || self.may_be_shifted().next().is_some()
    }

    /// Those who were taken by a reply behind that of one who was not, where some had been refused at RCPT.
    fn may_be_shifted(&self) -> impl Iterator<Item = usize> {
        let answers = self.answers.as_ref().filter(|answers| answers.expected() < self.recipients.len());
        let delivered = |place: &usize| matches!(self.decided.at(*place), Some(Verdict::Delivered(_)));
        let given = answers.into_iter().flat_map(|answers| answers.given());
        given.skip_while(delivered).filter(delivered)
    }

    /// The connection ended before anything showed whose the answers were that are in doubt: nobody is returned for one, and nobody taken to be
    /// delivered.
    pub fn on_unconfirmed(&mut self) {
        let failed = |place: &usize| matches!(self.decided.at(*place), Some(Verdict::Failed(_)));
        let refused = self.answers.iter().flat_map(|answers| answers.given()).filter(failed);
        let doubtful: SmallVec<[usize; limits::RECIPIENTS_INLINE]> =
            refused.chain(self.may_be_shifted()).collect();
        for place in doubtful {
            let said = self.verdict(place).map(|(_, reply)| reply.describe()).unwrap_or_default();
            let words = format!("the connection ended before it was certain who was meant by: {said}");
            let reply = self.decided.keep(local(451, (4, 5, 0), &words));
            self.decided.set(place, Verdict::Deferred(reply));
        }
        self.must_close = true;
        self.mixed_up = true;
    }

    /// Whose the answers to a body of several recipients were is not known: with one recipient there is only one to have.
    pub fn mixes_up(&self) -> bool {
        self.mixed_up
    }

    /// RFC 5321 3.8: the hop closes; what is undecided is tried again elsewhere. The answer to QUIT, unasked for, means that as well, and
    /// takes no message.
    fn on_closing(&mut self, reply: Reply) -> NextStep {
        self.must_close = true;
        self.unbegun = self.phase == Phase::Mail;
        self.put_off = self.unbegun;
        self.cut(Some(&reply));
        if reply.is_positive() {
            let words = format!("the next hop answered {} with: {}", self.awaiting(), reply.describe());
            self.decide_rest(local(451, (4, 4, 2), &words));
        } else {
            self.decide_rest(reply);
        }
        self.over()
    }

    fn on_mail(&mut self, reply: Reply) -> NextStep {
        self.put_off = reply.code / 100 == 4;
        self.mail_failed = reply.is_permanent();
        if !reply.is_positive() {
            self.decide_rest(reply);
            // With PIPELINING the replies to RCPT and DATA still come; they decide nothing.
            if !self.pipelining {
                return self.over();
            }
        }
        self.phase = Phase::Rcpt(0);
        self.step()
    }

    fn on_rcpt(&mut self, place: usize, reply: Reply) -> NextStep {
        match (reply.is_positive(), self.decided.at(place).is_none()) {
            (true, true) => self.accepted += 1,
            (true, false) => self.suspicious = true,
            (false, true) => {
                self.decide(place, reply, Some(self.accepted));
            }
            (false, false) => {}
        }
        self.phase = if place + 1 < self.recipients.len() { Phase::Rcpt(place + 1) } else { Phase::Data };
        if self.phase == Phase::Data {
            if let Some(reply) = self.withheld.take() {
                // The next session may offer what this one does not.
                self.must_close |= !reply.is_permanent();
                self.decide_rest(*reply);
                return self.over();
            }
            if self.accepted == 0 && !self.pipelining {
                return self.over();
            }
        }
        self.step()
    }

    /// Whether a reply can be one to what we asked (RFC 5321 4.3.2): 3yz belongs to DATA alone, and there only 354 lets us go on. Of the
    /// 2yz those of other commands do not fit.
    fn fits(&self, reply: &Reply) -> bool {
        match (self.phase, reply.code / 100) {
            (Phase::Data, 3) => reply.code == 354,
            (Phase::Data, 2) => false,
            // Where MAIL was refused and RCPT not, a hop that means it opens the data, or refuses it for good as it did MAIL: then nothing
            // can have been taken. Else the replies are out of step.
            (Phase::Data, 5) => !self.suspicious || self.mail_failed,
            (Phase::Data, _) => !self.suspicious,
            (Phase::Over, _) => true,
            (_, 2) => reply.is_done(),
            (_, class) => class != 3,
        }
    }

    /// A reply that answers nothing we said. Up to DATA nothing decided so far can be trusted either: each reply may have been that to
    /// another command, and to return mail for it would be wrong. No further command is sent: it might become part of a message.
    fn misfit(&mut self, reply: &Reply) -> NextStep {
        let words = format!("the next hop answered {} with: {}", self.awaiting(), reply.describe());
        self.doubt(&words, matches!(self.phase, Phase::Dot | Phase::LoneDot));
        self.over()
    }

    /// `in_step`: what was decided before was said to our commands.
    fn doubt(&mut self, words: &str, in_step: bool) {
        self.must_close = true;
        let verdict = Verdict::Deferred(self.decided.keep(local(451, (4, 5, 0), words)));
        self.decided.set_rest(&verdict);
        if !in_step {
            (0..self.decided.len()).for_each(|place| self.decided.set(place, verdict.clone()));
        }
        let delivered = |place: usize| matches!(self.decided.at(place), Some(Verdict::Delivered(_)));
        // Which reply behind the dot was whose nobody knows now. That does not matter where all were delivered.
        if let Some(answers) = self.answers.as_ref().filter(|answers| !answers.given().all(delivered)) {
            answers.given().for_each(|place| self.decided.set(place, verdict.clone()));
            self.mixed_up = true;
        }
    }

    /// A reply came that nobody asked for, when the transaction was over: what was delivered is, but unless the data was answered,
    /// the replies before may have been to other commands than ours.
    pub fn on_surplus(&mut self) {
        self.doubt(local::SURPLUS, self.finished);
    }

    /// One was there before the next command was sent, and those before may have been none to ours either: nothing of it stands.
    pub fn on_stray(&mut self) {
        self.doubt(local::SURPLUS, false);
        self.phase = Phase::Over;
    }

    /// RSET behind it was answered as it should be.
    pub fn on_reset(&mut self) {
        self.in_step = true;
    }

    /// Somebody is refused, and nothing shows that this was said to our commands. Where they went behind a body, one reply too many behind the
    /// answer to that is taken for the one to MAIL, and each that follows for the one to the next command. A lone recipient whose MAIL was
    /// accepted is refused: by one reply more or less, what refused it was the answer to its own RCPT.
    pub fn is_doubtful(&self) -> bool {
        let failed = |verdict: &Verdict| matches!(verdict, Verdict::Failed(_));
        !self.in_step && (self.recipients.len() > 1 || self.mail_failed) && self.decided.any(failed)
    }

    /// A reply came while the message was being sent, before its end was. A refusal is the answer to the message, which is not ended any
    /// more; anything else answers nothing (RFC 5321 4.1.1.4: the hop answers when it has the end of data).
    pub fn on_early(&mut self, reply: Reply) {
        self.must_close = true;
        if matches!(reply.code / 100, 4 | 5) {
            self.enough.heed(self.accepted, &reply);
            self.decide_rest(reply);
        } else {
            let words = format!("the next hop answered before the end of data: {}", reply.describe());
            self.doubt(&words, false);
        }
        self.phase = Phase::Over;
    }

    /// Whether every recipient was answered for.
    pub fn is_decided(&self) -> bool {
        self.decided.are_complete()
    }

    /// Whether the hop wants TLS before it takes mail (RFC 3207 section 4).
    pub fn asks_for_tls(&self) -> bool {
        self.decided.any_of(Class::TlsRequired)
    }

    /// What was said last that is about no recipient alone: that the session is over (421), that the host is in trouble, or wants nothing of
    /// us; or our own words, where the hop did not have the last ones. Of a session that is over when nobody was decided on for good.
    pub fn ended_by(&self) -> Option<&Reply> {
        let of_all = |reply: &Reply, judged: Judged| {
            reply.ours
                || reply.code == 421
                || blame::speaks_of_us(reply, judged)
                || blame::speaks_of_the_host(reply)
        };
        self.decided.last_reply(|reply, judged| of_all(reply, judged) || self.put_off)
    }

    /// Whether the transaction decided anything for good.
    pub fn made_progress(&self) -> bool {
        self.decided.any(|verdict| matches!(verdict, Verdict::Delivered(_) | Verdict::Failed(_)))
    }

    /// Whether recipients are left for another transaction.
    pub fn has_later(&self) -> bool {
        self.decided.any(|verdict| matches!(verdict, Verdict::Later(_)))
    }

    /// How many recipients the hop takes in one transaction, where its replies say that it takes no more.
    pub fn recipients_taken(&self) -> Option<usize> {
        self.enough.fewer.or_else(|| self.decided.taken_at_most())
    }

    /// Whether the hop is to be asked again, without a wait, for fewer recipients at once than it was.
    pub fn names_fewer(&self) -> bool {
        self.enough.at_once
    }

    /// Whether the connection ended at the first RCPT, perhaps as it had carried recipients enough before.
    pub fn is_turned_away(&self) -> bool {
        self.enough.turned_away
    }

    /// The hop's replies that refused recipients or put them off, each with its number: their words may mean something else than their codes.
    pub fn to_be_judged(&self) -> impl Iterator<Item = (usize, &Reply)> {
        self.decided.to_be_judged()
    }

    /// What the reply of this number means.
    pub fn judge(&mut self, reply: usize, judged: Judged) {
        self.decided.judge(reply, judged);
    }

    /// What a reply decided is final, or not, where its meaning says so, whatever its code does.
    pub fn correct(&mut self) {
        self.decided.correct();
    }

    /// If the hop refused for good, and its words are about us and not about the recipients: what it refused is to be tried again, and
    /// its words. `routed`: the operator sends mail there, so it should take it from us, be it for one recipient.
    pub fn forgive(&mut self, routed: bool) -> Option<&Reply> {
        let words = self.decided.forgive(routed, self.mail_failed.then_some(0));
        self.must_close |= words.is_some();
        words
    }

    /// The hop ends the connection, in these words or in none.
    fn cut(&mut self, words: Option<&Reply>) {
        if self.is_decided() {
            return;
        }
        self.cut_short = self.pipelining && matches!(self.phase, Phase::Rcpt(_) | Phase::Data);
        if let Phase::Rcpt(place) = self.phase {
            self.enough.cut_at(place, self.accepted, words);
        }
    }

    /// The connection failed: what is undecided is tried again. `why` goes into logs and records.
    pub fn on_failure(&mut self, why: &str) {
        // A hop that has said all there is to say may go.
        if self.is_decided() {
            self.must_close = true;
            self.phase = Phase::Over;
            return;
        }
        self.cut(None);
        self.give_up(local(451, (4, 4, 2), why));
    }

    /// The message cannot be read (RFC 3463: 4.3.0, a fault of our own system): as above.
    pub fn on_trouble(&mut self, why: &str) {
        self.give_up(local(451, (4, 3, 0), why));
    }

    fn give_up(&mut self, reply: Reply) {
        self.must_close = true;
        self.given_up = true;
        self.decide_rest(reply);
        self.phase = Phase::Over;
    }

    /// The verdict on the recipient at `place` and the reply that decided it. None only before [`NextStep::Done`].
    pub fn verdict(&self, place: usize) -> Option<(&Verdict, &Reply)> {
        self.decided.with_reply(place)
    }

    /// The hop closed the connection (421) before it looked at the message: on a connection that carried mail before,
    /// this says something about the connection only.
    pub fn is_unbegun(&self) -> bool {
        self.unbegun
    }

    /// MAIL was answered with a 4yz: the host takes no mail now, whoever it is for.
    pub fn is_put_off(&self) -> bool {
        self.put_off
    }

    /// The hop said that its host is in trouble, whoever the mail is for, and took none of it: of all that is to be tried again that was
    /// said, at MAIL, at each RCPT, at DATA or at the dot. One that leaves when it took some recipients may only want no more of them: that
    /// is told by the next transaction, which names fewer.
    pub fn blames_host(&self) -> bool {
        self.deferred && !self.given_up && self.enough.fewer.is_none() && self.decided.blame_host()
    }

    /// The connection ended when the hop had answered some commands, and not all, of those sent together.
    pub fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// The connection cannot carry another one; what is decided stays.
    pub fn close(&mut self) {
        self.must_close = true;
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
    pub fn patience(&self, timeouts: &Timeouts) -> Duration {
        self.phase.patience(timeouts)
    }

    /// The command whose reply is awaited, for words about a failure.
    pub fn awaiting(&self) -> &'static str {
        self.phase.awaits()
    }

    fn step(&self) -> NextStep {
        if self.pipelining { NextStep::AwaitReply } else { NextStep::WriteCommands }
    }

    fn over(&mut self) -> NextStep {
        self.phase = Phase::Over;
        NextStep::Done
    }

    /// A reply decides one recipient; `after`: recipients taken before, where it is the answer to its RCPT.
    fn decide(&mut self, place: usize, reply: Reply, after: Option<usize>) {
        let reply = self.decided.keep(reply);
        let verdict = self.decided.class(reply, after);
        self.deferred |= matches!(verdict, Verdict::Deferred(_));
        self.decided.set(place, verdict);
    }

    fn decide_rest(&mut self, reply: Reply) {
        let reply = self.decided.keep(reply);
        let verdict =
            if self.enough.at_once { Verdict::Later(reply) } else { self.decided.class(reply, None) };
        // What is said when all is decided is said of nobody: a 421 behind the refusals, say.
        self.deferred |= matches!(verdict, Verdict::Deferred(_)) && !self.is_decided();
        self.decided.set_rest(&verdict);
    }
}

#[cfg(test)]
mod tests;
