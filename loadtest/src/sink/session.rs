//! One SMTP session of the sink: bytes in, replies and counts out. It owns no socket.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;

use base64::Engine;
use memchr::memchr;

use super::behaviour::Security;
use super::content::Content;
use super::context::{Context, Envelope};
use super::receive;
use super::replies::{Why, refusal};
use super::{Action, Behaviour, Point, Tally};
use crate::message::Recipient;
use crate::wire::DotReader;

/// Longest command line (RFC 5321 4.5.3.1.4 asks for 512; extensions add parameters).
const LINE_MAX: usize = 4096;
/// Recipients of one transaction (RFC 5321 4.5.3.1.8 asks for 100); one more is answered 452.
const RECIPIENTS_MAX: usize = 1000;
/// Unanswered replies held before the peer is taken for hostile.
const OUT_MAX: usize = 256 * 1024;
/// How long a site that says nothing more holds a connection: longer than any relay waits.
const MUTE: u64 = 1_200_000_000_000;
/// Largest message; a larger announcement is refused at MAIL (RFC 1870 6.1).
const SIZE_MAX: u64 = 268_435_456;

/// What the worker has to do after input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// All input was used: send `out`, wait for more.
    More,
    /// Send `out`; after this many nanoseconds call [`Session::resume`] and pass the rest of the input.
    Pause(u64, usize),
    /// Send `out`, then speak TLS. What follows in the input was not protected and is not looked at (RFC 3207 4.2).
    Secure,
    /// Send `out`, if it goes, and close.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before EHLO or between transactions.
    Idle,
    /// After MAIL.
    Envelope,
    /// After the 354.
    Data,
    /// In a chunk of BDAT: bytes left, whether it is the last, whether it is content.
    Chunk(u64, bool, bool),
}

#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    secure: bool,
    authenticated: bool,
    line: Vec<u8>,
    sender: u64,
    recipients: Vec<Envelope>,
    /// Content by BDAT was begun in this transaction.
    chunked: bool,
    /// The 250 went out behind the 354.
    early: bool,
    /// The code with which the body is broken off.
    broken_off: Option<u16>,
    /// Once TLS is on, the connection is closed.
    dropping: bool,
    messages: u32,
    dots: DotReader,
    content: Content,
    /// Recipients taken whose reply has not left yet: run, message, ordinal.
    unsure: Vec<(u64, u64, u32)>,
    /// Replies to send.
    pub(super) out: Vec<u8>,
    /// The reply that waits for the end of a pause.
    late: Vec<u8>,
}

impl Session {
    /// A session and what to do first.
    pub(super) fn new(context: &mut Context<'_>) -> (Session, Flow) {
        let mut session = Session {
            phase: Phase::Idle,
            secure: context.behaviour.security == Security::Implicit,
            authenticated: false,
            line: Vec::new(),
            sender: 0,
            recipients: Vec::new(),
            chunked: false,
            early: false,
            broken_off: None,
            dropping: false,
            messages: 0,
            dots: DotReader::default(),
            content: Content::default(),
            unsure: Vec::new(),
            out: Vec::new(),
            late: Vec::new(),
        };
        let flow = session.greet(context);
        (session, flow)
    }

    fn greet(&mut self, context: &mut Context<'_>) -> Flow {
        if !context.gate.enter(context.client, context.behaviour.connections) {
            self.refuse(Why::Connections, context);
            return Flow::Close;
        }
        match context.behaviour.draw(Point::Connect, context.random) {
            None => self.answer(Point::Connect, b"220 sink.load.example ESMTP\r\n", context),
            Some(Action::Refuse(code)) => {
                self.refuse(Why::Rule(code), context);
                Flow::Close
            }
            Some(Action::Mute) => Flow::Pause(MUTE, 0),
            Some(_) => {
                Tally::add(&context.tally.disconnects, 1);
                Flow::Close
            }
        }
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self) {
        self.out.append(&mut self.late);
    }

    /// TLS begins: what was said before does not count (RFC 3207 4.2).
    pub(super) fn secured(&mut self) {
        self.end_transaction();
        (self.secure, self.authenticated) = (true, false);
    }

    /// All of `out` has left.
    pub(super) fn sent(&mut self) {
        if self.late.is_empty() {
            self.unsure.clear();
        }
    }

    /// The connection is gone: replies that had not left are lost.
    pub(super) fn closed(&mut self, context: &mut Context<'_>) {
        context.gate.leave(context.client);
        receive::lose_replies(&self.unsure, context);
    }

    /// Takes input in the order it came.
    pub(super) fn input(&mut self, input: &[u8], context: &mut Context<'_>) -> Flow {
        if self.dropping && self.secure {
            return self.hang_up(context);
        }
        let mut at = 0;
        while at < input.len() {
            if self.out.len() > OUT_MAX {
                return Flow::Close;
            }
            let flow = match self.phase {
                Phase::Data if self.broken_off.is_some() => return self.break_off(context),
                Phase::Data => {
                    let content = &mut self.content;
                    match self.dots.read(&input[at..], |bytes| content.push(bytes)) {
                        None => return Flow::More,
                        Some(used) => at += used,
                    }
                    self.end_of_data(context)
                }
                Phase::Chunk(left, last, wanted) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                    if wanted {
                        self.content.push(&input[at..at + take]);
                    }
                    at += take;
                    self.phase = Phase::Chunk(left - take as u64, last, wanted);
                    self.end_of_chunk(context)
                }
                Phase::Idle | Phase::Envelope => {
                    let rest = &input[at..];
                    let Some(end) = memchr(b'\n', rest) else {
                        if self.line.len() + rest.len() > LINE_MAX {
                            return Flow::Close;
                        }
                        self.line.extend_from_slice(rest);
                        return Flow::More;
                    };
                    at += end + 1;
                    self.line(&rest[..end], context)
                }
            };
            match flow {
                Flow::More => {}
                Flow::Pause(nanoseconds, _) => return Flow::Pause(nanoseconds, at),
                Flow::Secure | Flow::Close => return flow,
            }
        }
        Flow::More
    }

    fn line(&mut self, end: &[u8], context: &mut Context<'_>) -> Flow {
        if self.line.is_empty() {
            return self.command(end, context);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        let flow = self.command(&line, context);
        line.clear();
        self.line = line;
        flow
    }

    fn reply(&mut self, text: &[u8]) -> Flow {
        self.out.extend_from_slice(text);
        Flow::More
    }

    /// Replies now, or as late as the site does.
    fn answer(&mut self, point: Point, text: &[u8], context: &mut Context<'_>) -> Flow {
        let pause = context.behaviour.pause(point, context.random);
        self.answer_after(pause, text)
    }

    fn answer_after(&mut self, pause: u64, text: &[u8]) -> Flow {
        if pause == 0 {
            return self.reply(text);
        }
        self.late.extend_from_slice(text);
        Flow::Pause(pause, 0)
    }

    fn command(&mut self, line: &[u8], context: &mut Context<'_>) -> Flow {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let starts =
            |verb: &str| line.len() >= verb.len() && line[..verb.len()].eq_ignore_ascii_case(verb.as_bytes());
        if starts("EHLO") || starts("HELO") {
            self.hello(starts("EHLO"), context)
        } else if starts("MAIL FROM:") {
            self.mail(line, context)
        } else if starts("RCPT TO:") {
            self.rcpt(line, context)
        } else if starts("DATA") {
            self.data(context)
        } else if starts("BDAT ") {
            self.chunk(&line[5..], context)
        } else if starts("STARTTLS") && self.offers_tls(context.behaviour) {
            self.starttls(context)
        } else if starts("AUTH PLAIN ") && context.behaviour.account.is_some() {
            self.authenticate(&line[11..], context)
        } else if starts("RSET") {
            self.end_transaction();
            self.reply(b"250 2.0.0 ok\r\n")
        } else if starts("NOOP") {
            self.reply(b"250 2.0.0 ok\r\n")
        } else if starts("QUIT") {
            self.reply(b"221 2.0.0 bye\r\n");
            Flow::Close
        } else {
            Tally::add(&context.tally.protocol_errors, 1);
            self.reply(b"500 5.5.2 what?\r\n")
        }
    }

    /// Draws what goes wrong at `point`; Some(flow) when something did and was answered.
    fn fails(&mut self, point: Point, context: &mut Context<'_>) -> Option<Flow> {
        let action = context.behaviour.draw(point, context.random);
        self.does(point, action, context)
    }

    fn does(&mut self, point: Point, action: Option<Action>, context: &mut Context<'_>) -> Option<Flow> {
        match action? {
            Action::Refuse(code) if point == Point::Rcpt => Some(self.refuse(Why::Recipient(code), context)),
            Action::Refuse(code) => Some(self.refuse(Why::Rule(code), context)),
            Action::Disconnect => Some(self.hang_up(context)),
            Action::Mute => Some(Flow::Pause(MUTE, 0)),
            Action::Hide | Action::Repeat | Action::Alter | Action::Early | Action::Twice | Action::Drop => {
                None
            }
        }
    }

    fn starttls(&mut self, context: &mut Context<'_>) -> Flow {
        match context.behaviour.draw(Point::StartTls, context.random) {
            Some(Action::Refuse(code)) => return self.refuse(Why::Rule(code), context),
            Some(Action::Disconnect) => return self.hang_up(context),
            Some(Action::Mute) => return Flow::Pause(MUTE, 0),
            Some(Action::Drop) => self.dropping = true,
            _ => {}
        }
        self.reply(b"220 2.0.0 go ahead\r\n");
        Flow::Secure
    }

    /// Refuses in the middle of a body and closes: the rest of it meets a reset.
    fn break_off(&mut self, context: &mut Context<'_>) -> Flow {
        let code = self.broken_off.take().unwrap_or(552);
        if code >= 500 {
            let recipients = self.recipients.iter().map(|envelope| envelope.recipient);
            receive::note_refused(recipients, context);
        }
        self.refuse(Why::Rule(code), context);
        Flow::Close
    }

    fn hang_up(&mut self, context: &Context<'_>) -> Flow {
        Tally::add(&context.tally.disconnects, 1);
        // Not a word: not even what was already answered.
        self.out.clear();
        self.late.clear();
        Flow::Close
    }

    /// Refuses and counts that; after a 421 the session is over (RFC 5321 3.8).
    fn refuse(&mut self, why: Why, context: &Context<'_>) -> Flow {
        let (code, text) = refusal(context.behaviour.texts, why, context.client);
        Tally::add(if code < 500 { &context.tally.tempfails } else { &context.tally.rejects }, 1);
        match why {
            Why::Rate => Tally::add(&context.tally.throttled, 1),
            Why::Connections => Tally::add(&context.tally.turned_away, 1),
            _ => {}
        }
        self.reply(&text);
        if code == 421 { Flow::Close } else { Flow::More }
    }

    fn offers_tls(&self, behaviour: &Behaviour) -> bool {
        !self.secure && matches!(behaviour.security, Security::Offered | Security::Required)
    }

    fn hello(&mut self, extended: bool, context: &mut Context<'_>) -> Flow {
        self.end_transaction();
        if let Some(flow) = self.fails(Point::Hello, context) {
            return flow;
        }
        if !extended {
            return self.answer(Point::Hello, b"250 sink.load.example\r\n", context);
        }
        let behaviour = context.behaviour;
        let size = format!("250-SIZE {}\r\n", behaviour.size.unwrap_or(SIZE_MAX));
        let lines = [
            (true, "250-sink.load.example\r\n"),
            (!behaviour.without_pipelining, "250-PIPELINING\r\n"),
            (!behaviour.without_chunking, "250-CHUNKING\r\n"),
            (self.offers_tls(behaviour), "250-STARTTLS\r\n"),
            (behaviour.account.is_some(), "250-AUTH PLAIN\r\n"),
            (true, &size),
            (true, "250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"),
        ];
        let text: String = lines.iter().filter(|(offered, _)| *offered).map(|(_, line)| *line).collect();
        self.answer(Point::Hello, text.as_bytes(), context)
    }

    fn authenticate(&mut self, initial: &[u8], context: &mut Context<'_>) -> Flow {
        let given =
            base64::engine::general_purpose::STANDARD.decode(initial.trim_ascii()).unwrap_or_default();
        let mut parts = given.splitn(3, |byte| *byte == 0).skip(1);
        let (user, password) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let wanted = context.behaviour.account.as_deref().and_then(|account| account.split_once(':'));
        self.authenticated =
            wanted.is_some_and(|wanted| (wanted.0.as_bytes(), wanted.1.as_bytes()) == (user, password));
        if self.authenticated {
            return self.reply(b"235 2.7.0 welcome\r\n");
        }
        Tally::add(&context.tally.rejects, 1);
        self.reply(b"535 5.7.8 wrong user or password\r\n")
    }

    fn mail(&mut self, line: &[u8], context: &mut Context<'_>) -> Flow {
        let behaviour = context.behaviour;
        if self.phase == Phase::Envelope {
            return self.reply(b"503 5.5.1 nested MAIL\r\n");
        }
        if behaviour.security == Security::Required && !self.secure {
            return self.reply(b"530 5.7.0 Must issue a STARTTLS command first\r\n");
        }
        if behaviour.account.is_some() && !self.authenticated {
            return self.reply(b"530 5.7.0 Authentication required\r\n");
        }
        if announced_size(line).is_some_and(|size| size > behaviour.size.unwrap_or(SIZE_MAX)) {
            return self.reply(b"552 5.3.4 too large\r\n");
        }
        Tally::add(&context.tally.attempts, 1);
        if behaviour.messages.is_some_and(|most| self.messages >= most) {
            Tally::add(&context.tally.overlong, 1);
            self.reply(b"421 4.7.0 enough messages on this connection\r\n");
            return Flow::Close;
        }
        if let Some(flow) = self.fails(Point::Mail, context) {
            return flow;
        }
        if behaviour.rate.is_some_and(|rate| !context.gate.admit(context.client, rate, context.now)) {
            return self.refuse(Why::Rate, context);
        }
        self.phase = Phase::Envelope;
        self.sender = hash(line.split(|byte| *byte == b'>').next());
        self.answer(Point::Mail, b"250 2.1.0 ok\r\n", context)
    }

    fn rcpt(&mut self, line: &[u8], context: &mut Context<'_>) -> Flow {
        if self.phase != Phase::Envelope {
            return self.reply(b"503 5.5.1 MAIL first\r\n");
        }
        let most = context.behaviour.recipients.map_or(RECIPIENTS_MAX, |most| most as usize);
        if self.recipients.len() >= most.min(RECIPIENTS_MAX) {
            return self.refuse(Why::Recipients, context);
        }
        let (recipient, domain) = Recipient::read(line);
        let rejects = context.tally.rejects.load(Ordering::Relaxed);
        if let Some(flow) = self.fails(Point::Rcpt, context) {
            if context.tally.rejects.load(Ordering::Relaxed) > rejects {
                receive::note_refused(std::iter::once(recipient), context);
            }
            return flow;
        }
        if let Some(wait) = context.behaviour.greylist {
            let triplet = hash((context.client, self.sender, line));
            if context.gate.is_new(triplet, wait.as_nanos() as u64, context.now) {
                return self.refuse(Why::Greylist, context);
            }
        }
        let elsewhere = context.responsible.is_elsewhere(domain, context.site);
        self.recipients.push(Envelope { recipient, elsewhere });
        self.answer(Point::Rcpt, b"250 2.1.5 ok\r\n", context)
    }

    /// What DATA and BDAT need before them; Some when it is missing.
    fn lacks(&self) -> Option<&'static [u8]> {
        match self.phase {
            Phase::Envelope if self.recipients.is_empty() => Some(b"554 5.5.1 no valid recipients\r\n"),
            Phase::Envelope => None,
            _ => Some(b"503 5.5.1 MAIL first\r\n"),
        }
    }

    fn begin_content(&mut self) {
        let bounce = matches!(self.recipients[..], [Envelope { recipient: Recipient::Bounce { .. }, .. }]);
        self.content.begin(bounce);
        self.dots.reset();
    }

    fn data(&mut self, context: &mut Context<'_>) -> Flow {
        if let Some(text) = self.lacks() {
            return self.reply(text);
        }
        if self.chunked {
            return self.reply(b"503 5.5.1 BDAT was begun\r\n");
        }
        let action = context.behaviour.draw(Point::Data, context.random);
        if !matches!(action, None | Some(Action::Early)) {
            return self.does(Point::Data, action, context).unwrap_or(Flow::More);
        }
        match context.behaviour.draw(Point::Body, context.random) {
            Some(Action::Disconnect) => {
                // The body that is on its way meets a closed connection.
                Tally::add(&context.tally.disconnects, 1);
                self.reply(b"354 go ahead\r\n");
                return Flow::Close;
            }
            Some(Action::Mute) => {
                self.reply(b"354 go ahead\r\n");
                return Flow::Pause(MUTE, 0);
            }
            Some(Action::Refuse(code)) => self.broken_off = Some(code),
            _ => {}
        }
        self.phase = Phase::Data;
        self.begin_content();
        if action == Some(Action::Early) {
            self.early = true;
            return self.reply(b"354 go ahead\r\n250 2.0.0 taken\r\n");
        }
        self.answer(Point::Data, b"354 go ahead\r\n", context)
    }

    /// BDAT (RFC 3030 2): its bytes follow whatever the reply will be.
    fn chunk(&mut self, arguments: &[u8], context: &mut Context<'_>) -> Flow {
        let mut words = arguments.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let size = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok());
        let last = words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"));
        let Some(size) = size.filter(|size| size.saturating_add(self.content.bytes) <= SIZE_MAX) else {
            // Where the next command begins cannot be known.
            self.reply(b"501 5.5.4 no size, or one too large\r\n");
            return Flow::Close;
        };
        let mut wanted = self.lacks().is_none();
        if wanted && !self.chunked {
            self.begin_content();
            self.chunked = true;
            match context.behaviour.draw(Point::Body, context.random) {
                Some(Action::Disconnect) => return self.hang_up(context),
                _ => wanted = context.behaviour.draw(Point::Data, context.random).is_none(),
            }
        }
        self.phase = Phase::Chunk(size, last, wanted);
        self.end_of_chunk(context)
    }

    fn end_of_chunk(&mut self, context: &mut Context<'_>) -> Flow {
        match self.phase {
            Phase::Chunk(0, true, true) => self.end_of_data(context),
            Phase::Chunk(0, false, true) => {
                self.phase = Phase::Envelope;
                self.reply(b"250 2.0.0 chunk taken\r\n")
            }
            Phase::Chunk(0, _, false) => {
                let text =
                    if self.chunked { &b"451 4.3.0 not now\r\n"[..] } else { b"503 5.5.1 RCPT first\r\n" };
                self.end_transaction();
                self.reply(text)
            }
            _ => Flow::More,
        }
    }

    fn end_transaction(&mut self) {
        (self.phase, self.chunked, self.early, self.broken_off) = (Phase::Idle, false, false, None);
        self.recipients.clear();
    }

    fn end_of_data(&mut self, context: &mut Context<'_>) -> Flow {
        let mut action = context.behaviour.draw(Point::Dot, context.random);
        if std::mem::take(&mut self.early) {
            action = Some(Action::Refuse(550));
        }
        match action {
            Some(Action::Refuse(code)) => {
                if code >= 500 {
                    let recipients = self.recipients.iter().map(|envelope| envelope.recipient);
                    receive::note_refused(recipients, context);
                }
                self.end_transaction();
                let (code, text) = refusal(context.behaviour.texts, Why::Rule(code), context.client);
                Tally::add(if code < 500 { &context.tally.tempfails } else { &context.tally.rejects }, 1);
                if code == 421 {
                    self.reply(&text);
                    return Flow::Close;
                }
                return self.answer(Point::Dot, &text, context);
            }
            Some(Action::Disconnect) => return self.hang_up(context),
            Some(Action::Mute) => return Flow::Pause(MUTE, 0),
            _ => {}
        }
        self.messages += 1;
        let pause = context.behaviour.pause(Point::Dot, context.random);
        if action != Some(Action::Hide) {
            receive::record(&self.recipients, &mut self.content, action, &mut self.unsure, pause, context);
        }
        self.end_transaction();
        if context.behaviour.draw(Point::Reply, context.random) == Some(Action::Disconnect) {
            return self.hang_up(context);
        }
        let twice: &[u8] = b"250 2.0.0 taken\r\n250 2.0.0 taken\r\n";
        self.answer_after(
            pause,
            if action == Some(Action::Twice) { twice } else { &twice[..twice.len() / 2] },
        )
    }
}

/// Not for secrets: a collision only lets one message through early.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The value of a SIZE parameter.
fn announced_size(line: &[u8]) -> Option<u64> {
    let parameters = &line[memchr(b'>', line)? + 1..];
    let size = parameters
        .split(|byte| *byte == b' ')
        .find(|word| word.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"SIZE=")))?;
    // One that does not fit is larger than anything.
    Some(std::str::from_utf8(&size[5..]).ok()?.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
