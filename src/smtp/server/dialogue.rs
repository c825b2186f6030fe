//! The answer to each command, and what that leaves behind: what of a session is the protocol's (RFC 5321 section 4).

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::BareNewlines;
use crate::limits;
use crate::mail::address::{AddressError, Path, international};
use crate::mail::notify::{self, Asked, Notify};
use crate::policy::gateway::Gateway;
use crate::policy::reason::Reason;
use crate::policy::returns::Returns;
use crate::smtp::command::{self, Command, CommandError, MailParameters};
use crate::smtp::data::{Fault, FaultKind};
use crate::smtp::extensions;
use crate::smtp::proxy;
use crate::smtp::reply;
use crate::smtp::server::auth::{self, Auth, AuthStep};
use crate::smtp::server::body::{self, BodyEnd};
use crate::smtp::server::conduct::Conduct;
use crate::smtp::server::identity::Identity;
use crate::smtp::server::parameters;
use crate::smtp::server::portions::{Endless, Portion, PortionEnd, Portions, Unwanted};
use crate::smtp::server::refusals::Refusals;
use crate::smtp::server::step::{Answer, Intake, Question, SessionConfig, Step};
use crate::smtp::server::transaction::{RecipientAdded, Transaction};
use crate::smtp::server::xclient;
use crate::smtp::words;
use crate::time::UnixMillis;

/// A client, what it did, and the transaction that it is in.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub(super) config: Rc<SessionConfig>,
    pub(super) identity: Identity,
    pub(super) conduct: Conduct,
    pub(super) auth: Auth,
    pub(super) transaction: Option<Transaction>,
    /// What comes by BDAT.
    pub(super) portions: Option<Box<Portions>>,
    /// Nobody is to acknowledge recipients of a merge (XACK).
    pub(super) is_silent: bool,
}

impl Dialogue {
    pub(super) fn new(config: Rc<SessionConfig>, peer: SocketAddr, may_relay: bool) -> Dialogue {
        Dialogue {
            config,
            identity: Identity::new(peer, may_relay),
            conduct: Conduct::default(),
            auth: Auth::default(),
            transaction: None,
            portions: None,
            is_silent: false,
        }
    }

    pub(super) fn line_max(&self) -> usize {
        if self.auth.is_awaited() || self.identity.is_protected() {
            limits::AUTH_LINE_MAX
        } else if self.transaction.as_ref().is_some_and(Transaction::is_merge) {
            limits::MERGE_LINE_MAX
        } else {
            limits::COMMAND_LINE_MAX
        }
    }

    #[cold]
    pub(super) fn long_line(&mut self, endless: bool, out: &mut Vec<u8>) -> Option<Step> {
        if endless {
            return self.close(words::ENDLESS_LINE, out);
        }
        self.auth.give_up();
        self.complain(words::LINE_TOO_LONG, out)
    }

    /// One line. None: go on with the next.
    pub(super) fn line(&mut self, line: &[u8], gate: Intake, out: &mut Vec<u8>) -> Option<Step> {
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
                let error = parameters::of_utf8(error, self.transaction.as_ref());
                let words = if denied { words::RELAY_DENIED } else { reply::of_error(error) };
                return self.refuse_recipient(words, out);
            }
            Err(CommandError::Unknown) if command::is_http(line) => return self.close(words::NOT_HTTP, out),
            Err(CommandError::Unknown) if proxy::is_line_of_header(line) => {
                return self.close(words::PROXY_DENIED, out);
            }
            // How much follows that is no command, nobody knows.
            Err(CommandError::Portion) => return self.close(reply::of_error(CommandError::Portion), out),
            Err(error) => return self.malformed(line, error, out),
        };
        if !command.brings_nearer() && !self.conduct.may_command() {
            return self.enough(out);
        }
        match command {
            Command::Mail(path, parameters) => self.mail(&path, parameters, gate, out),
            Command::Rcpt(path, asked) if path.is_utf8 || asked.is_utf8() => {
                self.rcpt_in_utf8(&path, asked, gate, out)
            }
            Command::Rcpt(path, asked) => self.rcpt(&path, asked, gate, out),
            Command::Data => self.data(out),
            Command::Bdat(size, last) => self.bdat((size, last), out),
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
            Command::XClient(said) => {
                let read = xclient::read(said, self.identity.may_introduce, self.transaction.is_some());
                read.map_or_else(|words| self.complain(words, out), |said| Some(Step::Introduce(said.into())))
            }
            Command::Merge(_) => self.complain(words::NOT_OFFERED, out),
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

    pub(super) fn say(&self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        out.extend_from_slice(words.as_bytes());
        None
    }

    pub(super) fn close(&self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words, out);
        Some(Step::Close)
    }

    /// Says what is wrong, and ends a session that does nothing else.
    pub(super) fn complain(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.say(words, out);
        self.errs(out)
    }

    /// One more error; ends the session with the last that it may have.
    fn errs(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        if self.conduct.may_err() { None } else { self.close(words::TOO_MANY_ERRORS, out) }
    }

    /// Refuses what is asked for a reason of ours: no error of the client.
    pub(super) fn turn_away(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
        self.conduct.turn_away();
        self.say(words, out)
    }

    /// Ends a session that came to no message.
    pub(super) fn enough(&mut self, out: &mut Vec<u8>) -> Option<Step> {
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
    pub(super) fn need_mail(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        if self.conduct.is_behind_refused_mail() {
            return self.behind_refused_mail(out);
        }
        self.complain(words::NEED_MAIL, out)
    }

    /// Every refusal of a recipient. Beside recipients that are taken it is no error: a list has bad addresses.
    pub(super) fn refuse_recipient(&mut self, words: &str, out: &mut Vec<u8>) -> Option<Step> {
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
        self.portions = None;
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
            let config = &self.config;
            let offered = parameters::offered(config, &self.identity);
            extensions::write_ehlo(out, &config.hostname, config.message_size_max, offered);
        } else {
            out.extend_from_slice(b"250 ");
            out.extend_from_slice(self.config.hostname.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        None
    }

    pub(super) fn mail(
        &mut self,
        path: &Path<'_>,
        parameters: MailParameters<'_>,
        gate: Intake,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        if !self.identity.said_hello() {
            return self.complain_of_mail(words::NEED_HELLO, out);
        }
        if self.transaction.is_some() {
            return self.complain(words::NESTED_MAIL, out);
        }
        if self.config.kind.needs_login() && !self.identity.may_relay() {
            // RFC 4954 section 6, RFC 6409 section 4.3
            let secure = self.identity.is_protected() || !self.config.starttls;
            let words = if secure { words::AUTH_REQUIRED } else { words::STARTTLS_REQUIRED };
            return self.complain_of_mail(words, out);
        }
        // Until it is taken.
        self.conduct.refuse_mail(true);
        match gate.refusal() {
            None => {}
            Some((words, false)) => return self.turn_away(words, out),
            Some((words, true)) => return self.close(words, out),
        }
        if self.conduct.has_delivered(self.config.manner.messages_per_connection) {
            return self.close(words::ENOUGH_MESSAGES, out);
        }
        // RFC 1870 section 6.1
        if parameters.size.is_some_and(|size| size > self.config.message_size_max) {
            // A stranger's commands behind its own mistake count.
            self.conduct.refuse_mail(self.identity.may_relay());
            return self.say(words::TOO_LARGE, out);
        }
        if let Some(words) = parameters::refused(&self.config, &self.identity, &parameters) {
            return self.complain_of_mail(words, out);
        }
        self.conduct.begin_anew();
        let mut envelope = self.config.envelopes.take();
        parameters::put(&mut envelope, &parameters, self.identity.may_relay());
        self.portions = Portions::of_body(parameters.binary);
        let kept = if parameters.utf8 { parameters::begin_utf8(&mut envelope, path) } else { None };
        self.transaction = Some(Transaction::new(envelope, kept.as_deref().unwrap_or(path.address)));
        if self.config.questions.sender {
            return Some(Step::Ask(Question::Sender));
        }
        self.say(words::SENDER_OK, out)
    }

    /// RCPT with an address beyond ASCII, or one in its ORCPT (RFC 6531 section 3.4, RFC 6533 section 3).
    #[cold]
    fn rcpt_in_utf8(
        &mut self,
        path: &Path<'_>,
        asked: Asked<'_>,
        gate: Intake,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        let Some(open) = &mut self.transaction else { return self.need_mail(out) };
        let utf8 = &mut open.envelope.needs.utf8;
        if !utf8.is_asked() {
            return self.refuse_recipient(parameters::needs_utf8(path), out);
        }
        let kept = international::canonical(path);
        if kept.as_ref().is_some_and(|kept| kept.u_labels) {
            utf8.came_in_u_labels();
        }
        let original = asked.original.map(notify::in_ascii);
        let address = kept.as_ref().map_or(path.address, |kept| &kept.address);
        let asked = Asked { original: original.as_deref(), ..asked };
        self.rcpt(&Path { address, is_utf8: false, ..*path }, asked, gate, out)
    }

    fn rcpt(&mut self, path: &Path<'_>, asked: Asked<'_>, gate: Intake, out: &mut Vec<u8>) -> Option<Step> {
        let allowed = self.identity.may_relay();
        let (ours, most) = (self.config.postmaster_domain(), self.config.recipients_max);
        let Some(transaction) = &mut self.transaction else { return self.need_mail(out) };
        // We are nobody's final destination, but of what comes back: else a client that may not relay has no recipient to give us, in whatever form
        // (`u%x@us`, `x!u@us`, `"u@x"@us`, a source route).
        let comes_back = |returns: &Arc<Returns>| !path.routed && returns.takes(path.address, path.domain_at);
        let is_ours = |gateway: &Arc<Gateway>| gateway.takes(path, &self.config.hostname);
        let mut asked = asked;
        if !allowed && self.config.returns.as_ref().is_some_and(comes_back) {
            // Nothing is told of it, whose sender may be anybody.
            asked = Asked { notify: Notify::NEVER, original: None };
        } else if !allowed && !self.config.gateway.as_ref().is_some_and(is_ours) {
            return self.refuse_recipient(words::RELAY_DENIED, out);
        } else if !self.config.dsn && !asked.is_empty() {
            return self.refuse_recipient(reply::of_error(CommandError::Parameter), out);
        } else if !allowed {
            asked.notify = asked.notify.of_stranger();
        }
        let memory = gate != Intake::NoMemory;
        if self.config.questions.recipient || self.identity.asks_of_recipients {
            transaction.ask(path, asked, ours, memory);
            return Some(Step::Ask(Question::Recipient));
        }
        let taken = transaction.take(path, asked, ours, most, memory);
        self.taken(taken, out)
    }

    /// Answers a RCPT that nothing speaks against.
    fn taken(&mut self, taken: RecipientAdded, out: &mut Vec<u8>) -> Option<Step> {
        let words = match taken {
            RecipientAdded::Yes => words::RECIPIENT_OK,
            RecipientAdded::Full => words::TOO_MANY_RECIPIENTS,
            RecipientAdded::NoMemory => {
                self.conduct.turn_away();
                words::NO_MEMORY
            }
        };
        self.offered(words, out)
    }

    fn data(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let Some(transaction) = &mut self.transaction else { return self.need_mail(out) };
        if transaction.envelope.recipients.is_empty() {
            return self.need_recipients(out);
        }
        if self.portions.is_some() || transaction.is_merge() {
            let words = if self.portions.is_some() { words::BDAT_MIXED } else { words::MERGE_MIXED };
            return self.complain(words, out);
        }
        let scanner = body::scanner(&self.config, transaction, self.config.bare_newlines);
        transaction.scanner = Some(self.config.scanners.put(scanner));
        self.say(words::GO_AHEAD, out);
        Some(Step::Body)
    }

    /// DATA or BDAT in a transaction without a recipient.
    pub(super) fn need_recipients(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let (offered, listed, refused) =
            self.transaction.as_ref().map(|open| (open.offered, open.listed(), open.refused))?;
        if self
            .transaction
            .as_ref()
            .is_some_and(|open| open.is_merge() && !open.envelope.recipients.is_empty())
        {
            return self.complain(words::MERGE_MIXED, out);
        }
        if self.transaction.as_ref().is_some_and(Transaction::is_put_off) {
            return self.offered(words::PUT_OFF, out);
        }
        if offered > listed {
            // There was no memory for a good one, and it may come again.
            return self.offered(words::NO_MEMORY, out);
        }
        if listed > 0 && refused == 0 {
            return self.say(words::NO_VALID_RECIPIENTS, out);
        }
        // RFC 2920 section 3.1: the client may have sent DATA before it saw that every RCPT was refused.
        let words = if refused > 0 { words::NO_VALID_RECIPIENTS } else { words::NEED_RCPT };
        self.complain(words, out)
    }

    /// RFC 3030 section 2: what speaks against it is said when its bytes came.
    fn bdat(&mut self, portion: (u64, bool), out: &mut Vec<u8>) -> Option<Step> {
        let config = &self.config;
        let open = self.transaction.as_mut().filter(|open| !open.envelope.recipients.is_empty());
        let open = open.filter(|open| config.manner.chunking && !open.is_merge());
        let begun =
            self.portions.get_or_insert_default().begin(portion, config.message_size_max, open.is_some());
        match begun {
            Ok(()) => {}
            Err(Endless::Size) => return self.close(words::BDAT_ENDLESS, out),
            Err(Endless::Count) => return self.enough(out),
        }
        if let Some(open) = open.filter(|open| open.scanner.is_none()) {
            // What is converted was looked through for lines as they came: no line end is put in behind that.
            let is_binary = self.portions.as_ref().is_some_and(|portions| portions.is_binary());
            let bare = if is_binary { BareNewlines::Refuse } else { config.bare_newlines };
            let scanner = body::scanner(config, open, bare);
            open.scanner = Some(config.scanners.put(scanner.counted()));
        }
        Some(Step::Portion)
    }

    /// A portion came whole.
    pub(super) fn portion_end(&mut self, refusals: &mut Refusals, out: &mut Vec<u8>) -> PortionEnd {
        let ended =
            self.portions.as_mut().map_or(Portion::Refused(Unwanted::OutOfPlace), |portions| portions.end());
        let unwanted = match ended {
            Portion::Taken(octets) => {
                out.extend_from_slice(format!("250 2.0.0 {octets} octets received\r\n").as_bytes());
                return PortionEnd::More;
            }
            Portion::Last => {
                let scanner = self.transaction.as_mut().and_then(|open| open.scanner.as_mut());
                return PortionEnd::Message(scanner.map_or(b"", |scanner| scanner.finish()));
            }
            Portion::Refused(unwanted) => unwanted,
        };
        let said = out.len();
        let message = matches!(unwanted, Unwanted::TooLarge | Unwanted::Unfit(_));
        let step = match unwanted {
            Unwanted::Behind => self.say(words::BDAT_FAILED, out),
            Unwanted::OutOfPlace if !self.config.manner.chunking => self.complain(words::NOT_OFFERED, out),
            Unwanted::OutOfPlace if self.transaction.is_none() => {
                self.portions = None;
                self.need_mail(out)
            }
            Unwanted::OutOfPlace => self.need_recipients(out),
            Unwanted::Unfit(why) => {
                let step = self.complain(&words::not_text(why), out);
                if let Some(open) = self.transaction.take() {
                    refusals.note_message((&out[said..], Reason::Content), &open.envelope);
                }
                self.portions = None;
                step
            }
            Unwanted::TooLarge => {
                let most = self.config.message_size_max;
                let fault = Fault { kind: FaultKind::TooLarge(most), at: most + 1, line: 0 };
                let step = self.complain(&fault.reply(), out);
                if let Some(open) = &mut self.transaction {
                    open.scanner = None;
                    refusals.note_message((&out[said..], fault.reason()), &open.envelope);
                }
                step
            }
        };
        PortionEnd::Refused { close: step.is_some(), message }
    }

    fn starttls(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        if !self.config.starttls || self.identity.is_protected() {
            let words = if self.config.starttls { words::BAD_SEQUENCE } else { words::NOT_OFFERED };
            return self.complain(words, out);
        }
        if self.identity.tls_put_off {
            return self.turn_away(words::TLS_PUT_OFF, out);
        }
        self.say(words::READY_FOR_TLS, out);
        Some(Step::StartTls)
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&str>, out: &mut Vec<u8>) -> Option<Step> {
        let offered = self.config.auth.where_bound(self.identity.can_bind);
        let in_transaction = self.transaction.is_some();
        if let Some(words) = auth::forbidden(!self.config.auth.is_empty(), &self.identity, in_transaction) {
            return self.complain(words, out);
        }
        let outcome = self.auth.begin(mechanism, initial, offered);
        self.go_on_with_auth(outcome, out)
    }

    fn go_on_with_auth(&mut self, outcome: AuthStep, out: &mut Vec<u8>) -> Option<Step> {
        match outcome {
            AuthStep::Ask(words) => {
                self.say(words, out);
                Some(Step::Flush)
            }
            AuthStep::Refuse(words) => self.complain(words, out),
            AuthStep::Fail(words) => {
                self.fail_auth(words, words::TOO_MANY_ERRORS, out).then_some(Step::Close)
            }
            AuthStep::Check(credentials) => Some(Step::Authenticate(credentials)),
            AuthStep::Challenge => Some(Step::Challenge),
            AuthStep::Prove(proof) => Some(Step::Prove(proof)),
            AuthStep::Done(account) => {
                self.identity.authenticate(&account);
                self.say(words::AUTH_OK, out)
            }
        }
    }

    pub(super) fn fail_auth(&mut self, words: &str, end: &str, out: &mut Vec<u8>) -> bool {
        self.auth.give_up();
        self.say(words, out);
        !self.auth.may_fail() && self.close(end, out).is_some()
    }

    /// The question of the last step is answered. True: the session is to be closed.
    pub(super) fn answered(
        &mut self,
        answer: Answer<'_>,
        refusals: &mut Refusals,
        out: &mut Vec<u8>,
    ) -> bool {
        let (ours, most) = (self.config.postmaster_domain(), self.config.recipients_max);
        let Some(transaction) = &mut self.transaction else { return false };
        let asked = transaction.take_asked();
        match (answer, &asked) {
            (Answer::Proceed, None) => self.say(words::SENDER_OK, out),
            (Answer::Proceed, Some(asked)) => {
                let taken = transaction.take(&asked.path(), asked.asked(), ours, most, asked.memory);
                self.taken(taken, out)
            }
            (Answer::Refuse(refused), Some(asked)) => {
                refusals.note_unwanted(refused, &transaction.envelope, Some(&asked.address));
                if refused.reason == Reason::Rate {
                    transaction.put_off();
                    self.conduct.turn_away();
                    self.offered(refused.reply, out)
                } else if refused.reason == Reason::Suppressed {
                    transaction.is_listed();
                    self.conduct.excuse();
                    self.offered(refused.reply, out)
                } else {
                    self.refuse_recipient(refused.reply, out)
                }
            }
            (Answer::Refuse(refused), None) => {
                refusals.note_unwanted(refused, &transaction.envelope, None);
                self.transaction = None;
                if refused.reason == Reason::Rate {
                    self.conduct.refuse_mail(true);
                    self.turn_away(refused.reply, out)
                } else {
                    self.complain_of_mail(refused.reply, out)
                }
            }
        }
        .is_some()
    }

    /// The final dot was seen.
    pub(super) fn body_end(
        &mut self,
        (now, expiry): (UnixMillis, UnixMillis),
        refusals: &mut Refusals,
        out: &mut Vec<u8>,
    ) -> BodyEnd {
        self.portions = None;
        let Some(mut transaction) = self.transaction.take() else {
            self.say(words::BAD_SEQUENCE, out);
            return BodyEnd::Refused { close: true };
        };
        let scanner = transaction.scanner.take();
        let summary = scanner.as_ref().map(|scanner| scanner.summary()).unwrap_or_default();
        scanner.into_iter().for_each(|scanner| self.config.scanners.give(scanner));
        if let Some(fault) = summary.refusal() {
            let said = out.len();
            let enough = self.complain(&fault.reply(), out).is_some();
            refusals.note_message((&out[said..], fault.reason()), &transaction.envelope);
            return BodyEnd::Refused { close: enough || fault.is_bare() };
        }
        self.conduct.deliver();
        let mut envelope = transaction.envelope;
        self.identity.sign(&mut envelope);
        envelope.complete((now, expiry), summary.facts());
        BodyEnd::Accept(envelope, summary)
    }
}
