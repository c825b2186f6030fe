//! Transcripts replayed against a server session, whole and cut in two at every byte.
//!
//! A file of `tests/conversations/` reads as the conversation went:
//!
//! ```text
//! # A comment.
//! @ relay=no size=1000          settings of the session, before everything else; bare=normalise is the listener's bare_newlines, kind=submission its kind,
//!                               content=strict refuses what can be refused
//!                               binds=yes is TLS to which logins can be bound; gateway=yes is a client that may say XCLIENT: 192.0.2.0/24 may relay then,
//!                               and bob is the one account; node=yes is another node of the operator
//! @@ [[rule]]                   lines of a configuration: its rules hold
//! C: EHLO client.example        the client says this line
//! R: \n.\r\n                    the client sends these bytes and no CRLF behind them
//! S: 250 relay.example          the server answers this line, exactly
//! E: <a@b> to <x@y> with ESMTP  a message was accepted, with this envelope; parameters, and what is discarded, stand where they belong
//! B: Subject: hi                ... and this line of its body (only looked at in files that have such lines)
//! T:                            the TLS handshake; what the client says next is sent after it
//! X:                            the server closes
//! ```
//!
//! In `C:` and `R:` lines `\r`, `\n`, `\0`, `\\` and `\xHH` are bytes, and `{text*count}` is text repeated.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use relevo::config::{
    AuthMechanism, AuthMechanisms, BareNewlines, Config, Content, FinalNewline, Kind, LongLines, OddBytes,
};
use relevo::mail::envelope::{Envelope, Recipient, TlsWish};
use relevo::mail::parameters::Parameters;
use relevo::policy::acceptance::Acceptance;
use relevo::policy::admit::{Admitted, NotAdmitted, Section, Submitter, admit};
use relevo::policy::gateway::Gateway;
use relevo::policy::reason::{Reason, Refused};
use relevo::policy::rules::{self, Facts};
use relevo::smtp::scram::Verifier;
use relevo::smtp::server::{
    Answer, BodyEnd, Intake, OpenTransaction, PortionEnd, Question, Questions, Session, SessionConfig, Step,
};
use relevo::smtp::xclient::{Address, Introduction};
use relevo::time::UnixMillis;

#[path = "conversations/merging.rs"]
mod merging;
#[path = "conversations/smuggling.rs"]
mod smuggling;
#[path = "conversations/unescape.rs"]
mod unescape;

use unescape::unescape;

/// The account `user`, whose password is `pencil`, and our nonce (RFC 7677 section 3).
const USER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

/// Who the client is, unless a gateway says otherwise.
const PEER: &str = "192.0.2.1:1234";

/// Inputs longer than this are cut at fewer places: around each line's end and every few hundred bytes.
const EVERY_BYTE_MAX: usize = 4000;

/// `content=strict`
const STRICT: Content = Content {
    long_lines: LongLines::Refuse,
    nul: OddBytes::Refuse,
    eight_bit_headers: OddBytes::Refuse,
    utf8_headers: false,
    final_newline: FinalNewline::Refuse,
    header_size_max: 500,
    header_fields_max: 5,
};

struct Transcript {
    relay: bool,
    /// Logins can be bound to TLS, which exports 32 bytes of 7.
    binds: bool,
    /// Its client may say for whom it is there.
    gateway: bool,
    /// It is a node of the same operator.
    node: bool,
    /// When the session begins, seconds.
    now: Option<UnixMillis>,
    gate: Intake,
    config: SessionConfig,
    acceptance: Rc<Acceptance>,
    /// What the client sends, one piece for each stretch between handshakes.
    inputs: Vec<Vec<u8>>,
    /// Everything else, line by line.
    expected: Vec<String>,
    bodies: bool,
}

fn parse(text: &str) -> Result<Transcript, String> {
    let mut transcript = Transcript {
        relay: true,
        binds: false,
        gateway: false,
        node: false,
        now: None,
        gate: Intake::Open,
        config: SessionConfig {
            message_size_max: 1000,
            recipients_max: 3,
            ..SessionConfig::plain("relay.example")
        },
        acceptance: Rc::default(),
        inputs: vec![Vec::new()],
        expected: Vec::new(),
        bodies: false,
    };
    let mut config = String::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
        let (kind, rest) = line.split_at(line.len().min(2));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let input = transcript.inputs.last_mut().expect("there is always one");
        match kind {
            "" => {}
            _ if kind.starts_with('#') => {}
            "@@" => config += &format!("{rest}\n"),
            "@ " => settings(&mut transcript, rest).map_err(|error| wrong(&error))?,
            "C:" => {
                input.extend(unescape(rest).ok_or_else(|| wrong("bad escape"))?);
                input.extend_from_slice(b"\r\n");
            }
            "R:" => input.extend(unescape(rest).ok_or_else(|| wrong("bad escape"))?),
            "S:" | "E:" | "X:" | "B:" | "T:" => {
                transcript.bodies |= kind == "B:";
                transcript.expected.push(format!("{kind} {rest}").trim_end().to_owned());
                if kind == "T:" {
                    transcript.inputs.push(Vec::new());
                }
            }
            _ => return Err(wrong("what is this")),
        }
    }
    let read = Config::parse(&config, Path::new("rules")).map_err(|errors| format!("{errors:?}"))?;
    transcript.acceptance = Rc::new(Acceptance::new(&read));
    let rules::Stages { sender, recipient, header: _ } = transcript.acceptance.stages();
    transcript.config.questions = Questions { sender, recipient };
    transcript.config.gateway = Gateway::new(&read.listeners[0].gateway.domains).map(Arc::new);
    Ok(transcript)
}

fn settings(transcript: &mut Transcript, words: &str) -> Result<(), String> {
    for word in words.split_ascii_whitespace() {
        let (key, value) = word.split_once('=').ok_or("no value")?;
        let number = || value.parse::<usize>().map_err(|error| error.to_string());
        let yes = value == "yes";
        match key {
            "relay" => transcript.relay = yes,
            "now" => transcript.now = Some(UnixMillis(number()? as u64 * 1000)),
            "kind" => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.word() == value);
                transcript.config.kind = kind.ok_or("no such kind")?;
            }
            "starttls" => transcript.config.starttls = yes,
            "accounts" if yes => transcript.config.auth = AuthMechanisms::TOLD,
            "auth" => {
                let one = |name: &str| AuthMechanism::ALL.into_iter().find(|one| one.name() == name);
                transcript.config.auth = value.split(',').filter_map(one).collect();
            }
            "binds" => transcript.binds = yes,
            "gateway" => transcript.gateway = yes,
            "node" => transcript.node = yes,
            "dsn" => transcript.config.dsn = yes,
            "chunking" => transcript.config.manner.chunking = yes,
            "merge" => transcript.config.manner.merge = yes,
            "smtputf8" => transcript.config.manner.smtputf8 = yes,
            "limits" => transcript.config.limits = yes,
            "banner" => transcript.config.manner.banner = value.replace('_', " ").into(),
            "messages" => transcript.config.manner.messages_per_connection = number()? as u32,
            "content" => {
                let content = if value == "strict" { STRICT } else { Content::USUAL };
                transcript.config.content = Some(Rc::new(content));
            }
            "bare" if value == "refuse" => {}
            "bare" if value == "normalise" => transcript.config.bare_newlines = BareNewlines::Normalise,
            "size" => transcript.config.message_size_max = number()? as u64,
            "recipients" => transcript.config.recipients_max = number()?,
            "gate" if value == "nospace" => transcript.gate = Intake::NoSpace,
            "gate" if value == "queuefull" => transcript.gate = Intake::QueueFull,
            "gate" if value == "nojournal" => transcript.gate = Intake::NoJournal,
            "gate" if value == "closing" => transcript.gate = Intake::Closing,
            "gate" if value == "noclient" => transcript.gate = Intake::NoClient,
            _ => return Err(format!("no such setting: {word}")),
        }
    }
    Ok(())
}

/// A session and what happened to it so far.
struct Replay {
    session: Session,
    acceptance: Rc<Acceptance>,
    gate: Intake,
    binds: bool,
    bodies: bool,
    pending: Vec<u8>,
    body: Vec<u8>,
    replies: Vec<u8>,
    events: Vec<String>,
    is_part: bool,
    /// The handshake began in this stretch: plain text behind it reaches nobody.
    shaking: bool,
    closed: bool,
}

impl Replay {
    fn new(transcript: &Transcript) -> Replay {
        let peer: SocketAddr = PEER.parse().expect("an address");
        let mut session = Session::new(Rc::new(transcript.config.clone()), peer, transcript.relay);
        transcript.now.into_iter().for_each(|now| session.begins(now));
        session.may_introduce(transcript.gateway);
        session.is_node(transcript.node);
        let mut replies = Vec::new();
        session.greet(&mut replies);
        Replay {
            session,
            acceptance: transcript.acceptance.clone(),
            gate: transcript.gate,
            binds: transcript.binds,
            bodies: transcript.bodies,
            pending: Vec::new(),
            body: Vec::new(),
            replies,
            events: Vec::new(),
            is_part: false,
            shaking: false,
            closed: false,
        }
    }

    /// The network brings `piece`.
    fn feed(&mut self, piece: &[u8]) {
        if self.closed || self.shaking {
            return;
        }
        self.pending.extend_from_slice(piece);
        while !self.closed && self.turn() {}
        self.hear();
    }

    /// More of a body, or of what is like one. False: more input is needed.
    fn take_body(&mut self) -> bool {
        let scanned = self.session.scan(&mut self.pending);
        match self.is_part {
            true => self.session.part(scanned.body(&self.pending)),
            false => self.body.extend_from_slice(scanned.body(&self.pending)),
        }
        self.pending.drain(..scanned.consumed);
        if scanned.done {
            self.part_end();
        }
        scanned.done
    }

    /// One step of the driver. False: more input is needed.
    fn turn(&mut self) -> bool {
        if self.session.takes_body() {
            return self.take_body();
        }
        let (used, step) = self.session.handle(&self.pending, self.gate, &mut self.replies);
        assert!(used <= self.pending.len());
        self.pending.drain(..used);
        if !self.session.keeps_portions() && !self.session.takes_body() {
            self.body.clear();
        }
        match step {
            Step::NeedInput => return false,
            Step::Flush | Step::Body | Step::Portion => {}
            Step::Part => self.is_part = true,
            Step::StartTls => {
                self.hear();
                self.events.push("T:".into());
                // CVE-2011-0411: what came before the handshake was not said under it.
                self.pending.clear();
                self.shaking = true;
                self.session.tls_established("TLSv1.3 TLS_AES_256_GCM_SHA384".into());
                if self.binds {
                    self.session.can_bind();
                }
                return false;
            }
            Step::Authenticate(credentials) => {
                if credentials.name == "bob" && credentials.password == b"secret" {
                    self.session.authenticated("bob", &mut self.replies);
                } else if self.session.authentication_failed(&mut self.replies) {
                    self.close();
                }
            }
            Step::Challenge => {
                // Everybody is told the same of user's.
                let costs = Verifier::parse(USER).expect("a verifier").costs;
                let binding = self.binds.then_some(&[7; 32]);
                self.session.challenge(costs, (NONCE, binding), &mut self.replies);
            }
            Step::Prove(proof) => {
                let verifier = Verifier::parse(USER).expect("a verifier");
                let is_key = verifier.is_of(&verifier.client_key(&proof.signed, &proof.proof));
                if is_key && proof.name == "user" && !proof.foreign {
                    self.session.proven("user", &verifier.signature(&proof.signed), &mut self.replies);
                } else if self.session.authentication_failed(&mut self.replies) {
                    self.close();
                }
            }
            Step::Introduce(said) => self.introduce(&said),
            Step::Ask(question) => {
                let (sender, recipient) = self.session.asked();
                assert_eq!(recipient.is_some(), question == Question::Recipient);
                let (account, listener, client) = (self.session.account(), Some(0), None);
                let recipient = recipient.map(|(address, _)| address);
                let facts = Facts { account, listener, client, sender, recipient, fields: None };
                let answer = self.acceptance.refuses(&facts).map_or(Answer::Proceed, Answer::Refuse);
                if self.session.answered(answer, &mut self.replies) {
                    self.close();
                }
            }
            Step::Close => self.close(),
        }
        true
    }

    /// A gateway says for whom it is there.
    fn introduce(&mut self, said: &Introduction) {
        if said.login.as_ref().is_some_and(|account| account != "bob") {
            if self.session.introduction_refused(&mut self.replies) {
                self.close();
            }
            return;
        }
        let before = self.session.peer();
        let address = if let Address::Is(address) = said.address { address } else { before.ip() };
        let client = SocketAddr::new(address, said.port.unwrap_or(before.port()));
        let may_relay = matches!(address, IpAddr::V4(address) if address.octets()[..3] == [192, 0, 2]);
        self.session.is_introduced(client, may_relay, said);
        self.session.greet(&mut self.replies);
    }

    /// What rules and instructions make of a body that came whole.
    fn admit(&mut self, body: &mut Vec<u8>) -> Result<Admitted, NotAdmitted> {
        let Some(summary) = self.session.scanner().map(|scanner| scanner.summary()) else {
            return Ok(Admitted::default());
        };
        let OpenTransaction { account, trusted, envelope } = self.session.open().expect("a transaction");
        if !self.acceptance.stages().header && !summary.may_instruct {
            return Ok(Admitted::default());
        }
        let at = Section { length: summary.header_length as usize, mailbox_line: summary.mailbox_line };
        let client = Submitter { account, listener: Some(0), address: None, trusted };
        let mut deciding =
            pin!(admit(self.acceptance.rules(), client, envelope, body, (at, &|_| false), async || ()));
        match deciding.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("there is nothing to wait for"),
        }
    }

    /// All of a body is there, or of a portion of it.
    fn part_end(&mut self) {
        if std::mem::take(&mut self.is_part) {
            return merging::part_end(self);
        }
        if self.session.portion_left().is_none() {
            return self.body_end();
        }
        match self.session.portion_end(&mut self.replies) {
            PortionEnd::More => {}
            PortionEnd::Message(end) => {
                self.body.extend_from_slice(end);
                self.body_end();
            }
            PortionEnd::Refused { close, message: _ } => {
                self.body.clear();
                if close {
                    self.close();
                }
            }
        }
    }

    fn body_end(&mut self) {
        self.hear();
        let mut body = std::mem::take(&mut self.body);
        let length = body.len() as u64;
        let admitted = self.admit(&mut body);
        match self.session.body_end(UnixMillis(5), UnixMillis(9), &mut self.replies) {
            BodyEnd::Accept(envelope, summary) => {
                assert_eq!(summary.size, length);
                let Admitted { grown, eight_bit: _, expire, unsubscribe: _ } = match admitted {
                    Ok(admitted) => admitted,
                    Err(NotAdmitted(reply)) => {
                        let refused = Refused { reply: &reply, reason: Reason::Rule };
                        return self.session.not_admitted(refused, &envelope, &mut self.replies);
                    }
                };
                assert_eq!(length.saturating_add_signed(grown), body.len() as u64);
                let after = expire.map_or(String::new(), |span| format!(" for {}s", span.as_secs()));
                self.events.push(describe(&envelope) + &after);
                if self.bodies {
                    let text = String::from_utf8_lossy(&body);
                    self.events.extend(text.lines().map(|line| format!("B: {line}").trim_end().to_owned()));
                }
                // The 250 proper needs a synced commit, which no test can make.
                self.replies.extend_from_slice(b"250 stored\r\n");
            }
            BodyEnd::Refused { close: true } => self.close(),
            BodyEnd::Refused { close: false } => {}
        }
    }

    fn close(&mut self) {
        self.hear();
        self.closed = true;
        self.events.push("X:".into());
    }

    /// Turns the bytes of replies into lines.
    fn hear(&mut self) {
        let replies = std::mem::take(&mut self.replies);
        let text = String::from_utf8(replies).expect("replies are ASCII");
        assert!(text.is_empty() || text.ends_with("\r\n"), "half a reply: {text:?}");
        assert!(text.split_terminator("\r\n").all(|line| !line.contains(['\r', '\n'])), "{text:?}");
        self.events
            .extend(text.split_terminator("\r\n").map(|line| format!("S: {line}").trim_end().to_owned()));
    }
}

/// Of what its sender wants to hear, and what it calls it.
fn asked(envelope: &Envelope, recipient: &Recipient) -> String {
    let mut words = Vec::new();
    if !recipient.notify.is_unsaid() {
        words.push(b' ');
        recipient.notify.write(&mut words);
    }
    let reports = envelope.parameters.as_ref().map(|all| &all.reports);
    if let Some(original) = reports.and_then(|reports| reports.original(recipient.original)) {
        words.extend([b" ", original].concat());
    }
    words.escape_ascii().to_string()
}

fn describe(envelope: &Envelope) -> String {
    let mut line = format!("E: <{}> to", envelope.sender.escape_ascii());
    for recipient in &envelope.recipients {
        let _ = write!(line, " <{}>", recipient.address.escape_ascii());
        recipient.at_once.into_iter().for_each(|end| _ = write!(line, " ({})", end.word()));
        let own = usize::from(recipient.parameters).checked_sub(1);
        let own = own.and_then(|own| envelope.parameters.as_ref()?.recipients.get(own));
        own.into_iter().for_each(|own| line += &named(own));
        line += &asked(envelope, recipient);
    }
    let ret = envelope.parameters.as_ref().and_then(|all| all.reports.ret);
    ret.into_iter().for_each(|ret| _ = write!(line, " returning {}", ret.word()));
    let _ = write!(line, " with {}", envelope.origin.protocol.keyword());
    let requires = envelope.needs.tls == TlsWish::Required;
    let flags = [(envelope.needs.eight_bit, " 8bit"), (envelope.needs_stuffing, " stuffed")];
    let utf8 = envelope.needs.utf8;
    let wide = [(utf8.is_asked(), " utf8"), (utf8.is_needed(), " needs"), (utf8.has_u_labels(), " U-labels")];
    for (flag, word) in flags.into_iter().chain(wide).chain([(requires, " requiring TLS")]) {
        line.push_str(if flag { word } else { "" });
    }
    if envelope.origin.client.is_some_and(|client| client.to_string() != PEER) {
        envelope.origin.client.into_iter().for_each(|client| _ = write!(line, " from {client}"));
    }
    if let Some(account) = &envelope.account {
        let _ = write!(line, " account {account}");
    }
    envelope.parameters.iter().for_each(|of| line += &named(&of.message));
    line
}

fn named(parameters: &Parameters) -> String {
    let all: Vec<String> = parameters.iter().map(|(key, value)| format!("{}={value}", key.name())).collect();
    if all.is_empty() { String::new() } else { format!(" [{}]", all.join(" ")) }
}

/// Where to cut an input.
fn cuts(input: &[u8]) -> Vec<usize> {
    let near_line_end =
        |place: usize| input[place.saturating_sub(3)..(place + 3).min(input.len())].contains(&b'\n');
    (0..input.len())
        .filter(|place| input.len() <= EVERY_BYTE_MAX || place % 251 == 0 || near_line_end(*place))
        .collect()
}

/// Replays with each stretch delivered as `pieces` says.
fn replay<'a>(transcript: &'a Transcript, pieces: impl Fn(usize, &'a [u8]) -> Vec<&'a [u8]>) -> Vec<String> {
    let mut replay = Replay::new(transcript);
    for (number, input) in transcript.inputs.iter().enumerate() {
        replay.shaking = false;
        for piece in pieces(number, input) {
            replay.feed(piece);
        }
    }
    replay.hear();
    replay.events
}

fn check(transcript: &Transcript) -> Result<(), String> {
    let compare = |events: Vec<String>, how: String| {
        if events == transcript.expected {
            return Ok(());
        }
        let differs = |(place, line): (usize, &String)| transcript.expected.get(place) != Some(line);
        let place =
            events.iter().enumerate().find(|entry| differs(*entry)).map_or(events.len(), |entry| entry.0);
        let (nothing, end) = (String::new(), "(the end)".to_owned());
        let wanted = transcript.expected.get(place).unwrap_or(&end);
        let before = if place == 0 { &nothing } else { &events[place - 1] };
        Err(format!(
            "{how}: after '{before}'\n  wanted {wanted}\n  got    {}",
            events.get(place).unwrap_or(&end)
        ))
    };
    compare(replay(transcript, |_, input| vec![input]), "whole".into())?;
    let all_short = transcript.inputs.iter().all(|input| input.len() <= EVERY_BYTE_MAX);
    if all_short {
        compare(replay(transcript, |_, input| input.chunks(1).collect()), "byte by byte".into())?;
    }
    for (stretch, input) in transcript.inputs.iter().enumerate() {
        for cut in cuts(input) {
            let events = replay(transcript, |number, input| match number == stretch {
                true => vec![&input[..cut], &input[cut..]],
                false => vec![input],
            });
            compare(events, format!("stretch {stretch} cut at byte {cut}"))?;
        }
    }
    Ok(())
}

fn transcripts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let entries = std::fs::read_dir(directory).expect("the transcripts are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "smtp"));
    paths.sort();
    paths
}

#[test]
fn conversations_go_as_written() {
    let paths = transcripts();
    assert!(paths.len() >= 10, "transcripts are missing");
    let mut failures = String::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a readable transcript");
        if let Err(error) = parse(&text).and_then(|transcript| check(&transcript)) {
            let _ = writeln!(failures, "{}: {error}", path.display());
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// The harness notices what it is there to notice.
#[test]
fn a_wrong_transcript_fails() {
    let good = "C: NOOP\nC: QUIT\nS: 220 relay.example ESMTP relevo\nS: 250 2.0.0 Ok\nS: 221 2.0.0 Bye\nX:\n";
    assert_eq!(check(&parse(good).unwrap()), Ok(()));
    for bad in [
        good.replace("S: 250 2.0.0 Ok\n", ""),
        good.replace("250 2.0.0", "250 2.0.1"),
        good.replace("X:\n", ""),
        format!("{good}S: 250 more\n"),
        good.replace("C: QUIT\n", ""),
    ] {
        assert!(check(&parse(&bad).unwrap()).is_err(), "{bad}");
    }
    for unreadable in ["Q: what", "C: \\q", "C: {x}", "@ color=red", "@ size=big"] {
        assert!(parse(unreadable).is_err(), "{unreadable}");
    }
    assert_eq!(unescape("a\\x41\\r{xy*2}\\\\é").unwrap(), "aA\rxyxy\\é".as_bytes());
}
