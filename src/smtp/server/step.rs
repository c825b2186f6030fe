//! What a session and its driver tell each other.

use std::rc::Rc;
use std::sync::Arc;

use crate::config::{AuthMechanisms, BareNewlines, Content, Kind, Manner};
use crate::limits;
use crate::mail::envelope::{Envelope, Envelopes};
use crate::policy::gateway::Gateway;
use crate::policy::reason::Refused;
use crate::policy::returns::Returns;
use crate::smtp::data::Scanners;
use crate::smtp::server::scram::Proof;
use crate::smtp::words;
use crate::smtp::xclient::Introduction;

/// What holds for every session of a listener.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Our name.
    pub hostname: String,
    /// What the listener is for.
    pub kind: Kind,
    /// Largest message, bytes.
    pub message_size_max: u64,
    /// Recipients of one transaction.
    pub recipients_max: usize,
    /// STARTTLS is offered.
    pub starttls: bool,
    /// How accounts log in, under TLS; none where there are no accounts.
    pub auth: AuthMechanisms,
    /// Senders are told what they ask for (RFC 3461).
    pub dsn: bool,
    /// What becomes of a bare CR or LF in a message.
    pub bare_newlines: BareNewlines,
    /// What else is taken of messages that are not as they should be; None: the usual.
    pub content: Option<Rc<Content>>,
    /// What is said of the session itself.
    pub manner: Manner,
    /// Its bounds are told in EHLO (RFC 9422).
    pub limits: bool,
    /// Where scanners of bodies come from.
    pub scanners: Scanners,
    /// Where envelopes come from.
    pub envelopes: Envelopes,
    /// What is asked before it is taken.
    pub questions: Questions,
    /// Recipients that are taken from anybody, as their mail is read here.
    pub returns: Option<Arc<Returns>>,
    /// Domains that are taken from anybody.
    pub gateway: Option<Arc<Gateway>>,
}

impl SessionConfig {
    /// Where a postmaster without a domain is (RFC 5321 4.5.1).
    pub(super) fn postmaster_domain(&self) -> &str {
        self.gateway.as_ref().map_or(&self.hostname, |gateway| gateway.postmaster_of(&self.hostname))
    }

    /// Under this name, with the usual bounds, nothing offered that needs more, and nobody asked.
    pub fn plain(hostname: &str) -> SessionConfig {
        SessionConfig {
            hostname: hostname.to_owned(),
            kind: Kind::default(),
            message_size_max: limits::MESSAGE_SIZE_DEFAULT,
            recipients_max: limits::RECIPIENTS_MAX,
            starttls: false,
            auth: AuthMechanisms::NONE,
            dsn: false,
            bare_newlines: BareNewlines::default(),
            content: None,
            manner: Manner { chunking: false, smtputf8: false, ..Manner::default() },
            limits: false,
            scanners: Scanners::default(),
            envelopes: Envelopes::default(),
            questions: Questions::default(),
            returns: None,
            gateway: None,
        }
    }
}

/// What of a transaction somebody has to say something about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// Reverse paths.
    pub sender: bool,
    /// Forward paths.
    pub recipient: bool,
}

/// Whether new mail may come in just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// Yes.
    Open,
    /// The disk is short of room.
    NoSpace,
    /// The queue is at its bound.
    QueueFull,
    /// What happens to mail cannot be written down.
    NoJournal,
    /// What clients make the node keep in memory is at its bound: no transaction begins, and none grows.
    NoMemory,
    /// The session is as old as one may be: it ends where its next message would begin.
    Aged,
    /// The node shuts down: sessions end where the next message would begin.
    Closing,
    /// A proxy did not say whose connection it is, as it only looks whether we are there: then nobody is counted, asked or trusted for it.
    NoClient,
}

impl Intake {
    /// What MAIL is answered with, and whether the session ends with it. None: it is taken.
    pub fn refusal(self) -> Option<(&'static str, bool)> {
        Some(match self {
            Intake::Open => return None,
            Intake::NoSpace => (words::NO_SPACE, false),
            Intake::QueueFull => (words::QUEUE_FULL, false),
            Intake::NoJournal => (words::NO_JOURNAL, false),
            Intake::NoMemory => (words::NO_MEMORY, false),
            Intake::Aged => (words::SESSION_OVER, true),
            Intake::Closing => (words::SHUTTING_DOWN, true),
            Intake::NoClient => (words::NO_CLIENT, false),
        })
    }
}

/// What the driver does next. Replies written so far are to be sent first in every case.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Bring more input.
    NeedInput,
    /// Send the replies and call again with the rest of the input.
    Flush,
    /// Discard all input received so far (CVE-2011-0411), shake hands, call
    /// [`Session::tls_established`](super::Session::tls_established).
    StartTls,
    /// Check the credentials, then call [`Session::authenticated`](super::Session::authenticated),
    /// [`Session::authentication_failed`](super::Session::authentication_failed) or
    /// [`Session::authentication_unavailable`](super::Session::authentication_unavailable).
    Authenticate(Credentials),
    /// A client wants to prove that it knows a password: call [`Session::challenge`](super::Session::challenge) for the account that
    /// [`Session::challenged`](super::Session::challenged) names, with what its key is derived with.
    Challenge,
    /// Check what it proves, then call [`Session::proven`](super::Session::proven) or one of those for credentials that were not right.
    Prove(Box<Proof>),
    /// Feed what follows to [`Session::scan`](super::Session::scan) until it is done, then call
    /// [`Session::body_end`](super::Session::body_end).
    Body,
    /// Feed what follows to [`Session::scan`](super::Session::scan) until it is done, then call
    /// [`Session::portion_end`](super::Session::portion_end).
    Portion,
    /// Feed what follows to [`Session::scan`](super::Session::scan) until it is done, what is left of it to
    /// [`Session::part`](super::Session::part), then call [`Session::part_end`](super::Session::part_end).
    Part,
    /// A gateway says for whom it is there: find out what that client may, then call
    /// [`Session::is_introduced`](super::Session::is_introduced) and greet it, or
    /// [`Session::introduction_refused`](super::Session::introduction_refused).
    Introduce(Box<Introduction>),
    /// Find out, then call [`Session::answered`](super::Session::answered).
    Ask(Question),
    /// Send and close.
    Close,
}

/// What a session cannot decide. What it is about is in [`Session::asked`](super::Session::asked).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the sender is wanted.
    Sender,
    /// Whether the recipient is.
    Recipient,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It is taken.
    Proceed,
    /// It is refused.
    Refuse(Refused<'a>),
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
    /// The header of a proxy.
    ProxyHeader,
}

impl Overdue {
    /// What it hears. `turned_away`: it was refused something for a reason of ours.
    pub(super) fn words(self, turned_away: bool) -> &'static str {
        match self {
            Overdue::Command => words::TIMED_OUT,
            Overdue::Message if turned_away => words::NOTHING_TAKEN,
            Overdue::Message => words::NO_MESSAGE,
            Overdue::Session => words::SESSION_OVER,
            Overdue::ProxyHeader => words::NO_PROXY_HEADER,
        }
    }
}

/// An open transaction, and whose it is.
#[derive(Debug)]
pub struct OpenTransaction<'a> {
    /// The account that authenticated.
    pub account: Option<&'a str>,
    /// The client may relay, and is obeyed.
    pub trusted: bool,
    /// Sender and recipients so far.
    pub envelope: &'a mut Envelope,
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
        2 * limits::TEXT_OVERHEAD + self.name.capacity() + self.password.capacity()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}
