//! A whole server session: what it answers and accepts does not depend on how the bytes were cut.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;

use relevo::config::{AuthMechanisms, Content, Kind, Manner, OddBytes};
use relevo::id::{Durable, MessageId};
use relevo::limits;
use relevo::mail::address::{is_domain, is_literal};
use relevo::mail::envelope::Envelope;
use relevo::policy::reason::{Reason, Refused};
use relevo::smtp::scram::Costs;
use relevo::smtp::server::{
    Answer, BodyEnd, Intake, NotStored, PartEnd, PortionEnd, Question, Questions, Session, SessionConfig,
    Step,
};
use relevo::smtp::words;
use relevo::smtp::xclient::{Address, Introduction};
use relevo::time::UnixMillis;

use super::input::{Input, splits};
use super::lane::durable;

/// Where a stretch ends: what a client sends up to there after STARTTLS is plain text, and lost in the handshake. The byte that opens
/// a TLS record.
const HANDSHAKE: u8 = 0x16;
const RECIPIENTS_MAX: usize = 3;
const SIZE_MAX: u64 = 400;

#[derive(Clone, Copy)]
struct Setting {
    may_relay: bool,
    starttls: bool,
    accounts: bool,
    kind: Kind,
    gate: Intake,
    disk_fails: bool,
    chunking: bool,
    strict: bool,
    gateway: bool,
}

struct Talk {
    session: Session,
    setting: Setting,
    message: Durable<MessageId>,
    pending: Vec<u8>,
    body: Vec<u8>,
    replies: Vec<u8>,
    /// Everything that was said and accepted.
    heard: Vec<u8>,
    /// What comes in is a part of a merge.
    is_part: bool,
    shaking: bool,
    protected: bool,
    closed: bool,
}

impl Talk {
    fn new(setting: Setting) -> Talk {
        let refuse = OddBytes::Refuse;
        let strict =
            Content { nul: refuse, eight_bit_headers: refuse, header_fields_max: 4, ..Content::USUAL };
        let config = SessionConfig {
            kind: setting.kind,
            content: setting.strict.then(|| Rc::new(strict)),
            manner: Manner {
                chunking: setting.chunking,
                smtputf8: setting.chunking,
                merge: setting.chunking,
                messages_per_connection: u32::from(setting.chunking) * 2,
                ..Manner::default()
            },
            limits: setting.chunking,
            message_size_max: SIZE_MAX,
            recipients_max: RECIPIENTS_MAX,
            starttls: setting.starttls,
            auth: AuthMechanisms::all_that(|_| setting.accounts),
            dsn: setting.accounts,
            questions: Questions { sender: setting.accounts, recipient: setting.accounts },
            ..SessionConfig::plain("relay.example")
        };
        let peer: SocketAddr = "192.0.2.1:1234".parse().expect("an address");
        let mut session = Session::new(Rc::new(config), peer, setting.may_relay);
        session.may_introduce(setting.gateway);
        let mut replies = Vec::new();
        session.greet(&mut replies);
        Talk {
            session,
            setting,
            message: durable(),
            pending: Vec::new(),
            body: Vec::new(),
            replies,
            heard: Vec::new(),
            is_part: false,
            shaking: false,
            protected: false,
            closed: false,
        }
    }

    fn feed(&mut self, piece: &[u8]) {
        if self.closed || self.shaking {
            return;
        }
        self.pending.extend_from_slice(piece);
        // Each turn uses input or changes what comes next: a body at most, then a command.
        let most = self.pending.len() * 2 + 4;
        let mut turns = 0;
        while !self.closed && self.turn() {
            turns += 1;
            assert!(turns <= most, "the session stands still");
        }
        self.hear();
        assert!(self.pending.len() < limits::AUTH_LINE_MAX, "{} bytes are kept", self.pending.len());
    }

    /// More of a body, or of what is like one. False: more input is needed.
    fn take_body(&mut self) -> bool {
        let scanned = self.session.scan(&mut self.pending);
        match self.is_part {
            true => self.session.part(scanned.body(&self.pending)),
            false => self.body.extend_from_slice(scanned.body(&self.pending)),
        }
        self.pending.drain(..scanned.consumed);
        assert!(self.body.len() as u64 <= SIZE_MAX, "more is kept than a message may have");
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
        let (used, step) = self.session.handle(&self.pending, self.setting.gate, &mut self.replies);
        assert!(used <= self.pending.len());
        assert!(self.replies.len() < limits::REPLY_BACKLOG_MAX + 2048, "replies without bound");
        self.pending.drain(..used);
        if !self.session.keeps_portions() && !self.session.takes_body() {
            self.body.clear();
        }
        match step {
            Step::NeedInput => return false,
            Step::Flush => self.hear(),
            Step::Body => assert!(self.setting.gate == Intake::Open, "a body through a closed gate"),
            Step::Part => {
                assert!(self.setting.gate == Intake::Open, "a part through a closed gate");
                self.is_part = true;
            }
            Step::Portion => {} // One that is not wanted comes all the same.
            Step::StartTls => {
                assert!(self.setting.starttls && !self.protected);
                self.hear();
                self.heard.extend_from_slice(b"[handshake]\r\n");
                self.pending.clear();
                (self.shaking, self.protected) = (true, true);
                self.session.tls_established("TLSv1.3 X".into());
                if self.setting.disk_fails {
                    self.session.can_bind();
                }
                return false;
            }
            Step::Authenticate(credentials) => {
                assert!(self.protected && self.setting.accounts && self.session.account().is_none());
                if credentials.password == b"secret" {
                    self.session.authenticated(&credentials.name, &mut self.replies);
                } else if self.session.authentication_failed(&mut self.replies) {
                    self.close();
                }
            }
            Step::Challenge => self.challenge(),
            Step::Prove(proof) => {
                assert!(self.protected && self.setting.accounts && self.session.account().is_none());
                assert!(proof.signed.contains("nonce,s=") && !proof.name.is_empty());
                // One in two is right.
                if proof.proof[0] & 1 == 0 && !proof.foreign {
                    self.session.proven(&proof.name, &[1; 32], &mut self.replies);
                } else if self.session.authentication_failed(&mut self.replies) {
                    self.close();
                }
            }
            Step::Introduce(said) => self.introduce(&said),
            Step::Ask(question) => {
                let (sender, recipient) = self.session.asked();
                assert!((question == Question::Recipient) == recipient.is_some());
                let wanted = !recipient.map_or(sender, |(address, _)| address).ends_with(b"e");
                let unwanted = Refused { reply: "550 5.7.1 Not wanted\r\n", reason: Reason::Rule };
                let answer = if wanted { Answer::Proceed } else { Answer::Refuse(unwanted) };
                if self.session.answered(answer, &mut self.replies) {
                    self.close();
                }
            }
            Step::Close => self.close(),
        }
        true
    }

    /// All of a body is there, or of a portion of it.
    fn part_end(&mut self) {
        if std::mem::take(&mut self.is_part) {
            return match self.session.part_end(&mut self.replies) {
                PartEnd::More => {}
                PartEnd::Whole(whole) => {
                    assert!(!whole.envelope.recipients.is_empty());
                    self.replies.extend_from_slice(words::OK.as_bytes());
                }
                PartEnd::Refused { close } if close => self.close(),
                PartEnd::Refused { .. } => {}
            };
        }
        if self.session.portion_left().is_none() {
            return self.body_end();
        }
        match self.session.portion_end(&mut self.replies) {
            PortionEnd::More => assert!(self.setting.gate == Intake::Open && self.session.keeps_portions()),
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

    /// One in two logins is of an account.
    fn introduce(&mut self, said: &Introduction) {
        assert!(self.setting.gateway && !self.session.transaction().0);
        if said.login.as_ref().is_some_and(|name| name.len().is_multiple_of(2)) {
            if self.session.introduction_refused(&mut self.replies) {
                self.close();
            }
            return;
        }
        let address =
            if let Address::Is(address) = said.address { address } else { self.session.peer().ip() };
        let client = SocketAddr::new(address, said.port.unwrap_or_default());
        self.session.is_introduced(client, self.setting.may_relay, said);
        assert!(self.session.account() == said.login.as_deref() && self.session.peer() == client);
        self.session.greet(&mut self.replies);
    }

    /// The same for whoever asks.
    fn challenge(&mut self) {
        assert!(self.protected && self.setting.accounts && self.session.account().is_none());
        assert!(self.session.challenged().is_some());
        let (salt, iterations) = ([3; 16].into(), NonZeroU32::new(4096).expect("not 0"));
        let binding = self.setting.disk_fails.then_some(&[7; 32]);
        self.session.challenge(Costs { salt, iterations }, ("nonce", binding), &mut self.replies);
    }

    fn body_end(&mut self) {
        let body = std::mem::take(&mut self.body);
        match self.session.body_end(UnixMillis(5), UnixMillis(9), &mut self.replies) {
            BodyEnd::Accept(envelope, summary) => {
                assert_eq!(summary.size, body.len() as u64);
                assert!(self.setting.may_relay || self.session.account().is_some(), "an open relay");
                assert_envelope(&envelope, self.protected);
                self.hear();
                self.heard.extend_from_slice(format!("{envelope:?} {summary:?} {body:?}\r\n").as_bytes());
                if self.setting.disk_fails {
                    self.session.not_stored(NotStored::Disk, &mut self.replies);
                } else {
                    self.session.accepted(&self.message, &mut self.replies);
                }
            }
            BodyEnd::Refused { close: true } => self.close(),
            BodyEnd::Refused { close: false } => {}
        }
    }

    fn close(&mut self) {
        self.hear();
        self.heard.extend_from_slice(b"[closed]\r\n");
        self.closed = true;
    }

    /// Takes the replies so far: whole lines, each with its code.
    fn hear(&mut self) {
        let replies = std::mem::take(&mut self.replies);
        let text = std::str::from_utf8(&replies).expect("replies are ASCII");
        assert!(text.is_empty() || text.ends_with("\r\n"), "half a reply: {text:?}");
        for line in text.split_terminator("\r\n") {
            let bytes = line.as_bytes();
            assert!(line.len() <= 510 && bytes.iter().all(|byte| (32..127).contains(byte)), "{line:?}");
            assert!(matches!(bytes[0], b'2'..=b'5') && bytes[..3].iter().all(u8::is_ascii_digit));
            assert!(matches!(bytes[3], b' ' | b'-'));
        }
        self.heard.extend_from_slice(&replies);
    }
}

fn assert_envelope(envelope: &Envelope, protected: bool) {
    assert!((1..=RECIPIENTS_MAX).contains(&envelope.recipients.len()));
    let utf8 = envelope.needs.utf8.is_asked();
    let clean = |bytes: &[u8]| {
        let is_visible = |byte: &u8| (32..127).contains(byte) || utf8 && !byte.is_ascii();
        bytes.iter().all(is_visible) && std::str::from_utf8(bytes).is_ok()
    };
    assert!(clean(&envelope.sender) && !envelope.origin.helo.chars().any(char::is_control));
    assert!(!envelope.origin.helo.is_empty());
    for recipient in &envelope.recipients {
        assert!(clean(&recipient.address));
        assert!(is_domain(recipient.domain()) || is_literal(recipient.domain()));
        assert_eq!(recipient.address[usize::from(recipient.domain_at) - 1], b'@');
    }
    assert_eq!(envelope.origin.tls.is_some(), protected);
    let domains: Vec<_> = envelope.recipients.iter().map(|r| r.domain().to_ascii_lowercase()).collect();
    assert!(domains.is_sorted(), "equal domains do not stand together");
}

/// A session with arbitrary input, cut in several ways.
pub fn server(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let setting = Setting {
        may_relay: flags & 1 == 0,
        starttls: flags & 2 != 0,
        accounts: flags & 4 != 0,
        gate: [Intake::Open, Intake::Open, Intake::NoSpace, Intake::QueueFull][usize::from(flags >> 3 & 3)],
        disk_fails: flags & 32 != 0,
        kind: if flags & 192 == 128 { Kind::Submission } else { Kind::Relay },
        chunking: flags & 64 != 0,
        strict: flags & 128 != 0,
        // By a bit that says something else too: the inputs that there are stay what they are.
        gateway: flags & 8 != 0,
    };
    let choices = input.piece(8);
    let stretches: Vec<_> = input.0.split(|byte| *byte == HANDSHAKE).collect();
    let mut first = None;
    for way in 0..splits(&[], choices).len() {
        let mut talk = Talk::new(setting);
        for stretch in &stretches {
            talk.shaking = false;
            let ways = splits(stretch, choices);
            for piece in &ways[way.min(ways.len() - 1)] {
                talk.feed(piece);
            }
        }
        talk.hear();
        let first = first.get_or_insert_with(|| talk.heard.clone());
        assert_eq!(
            first.escape_ascii().to_string(),
            talk.heard.escape_ascii().to_string(),
            "another cut, another conversation"
        );
    }
}
