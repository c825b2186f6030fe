//! AUTH as a client (RFC 4954): SCRAM-SHA-256 (RFC 5802, RFC 7677), PLAIN (RFC 4616) and LOGIN (no RFC: draft-murchison-sasl-login), without IO.
//!
//! Call order: [`Mechanisms::choose`]; [`Exchange::begin`], then [`Exchange::on_reply`] for each reply, and [`Exchange::on_keys`] where it
//! says `Derive`, until it is `Done`. Whoever calls has TLS to a host that has proven who it is: PLAIN and LOGIN give it the password.

pub mod scram;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits;
use crate::smtp::reply::Reply;
use scram::{Costs, Keys, Scram, ScramError};

/// How a password is given, or proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The host learns that we know it, and we that it does.
    ScramSha256,
    /// It is told in one line.
    Plain,
    /// It is told in the second of two lines.
    Login,
}

impl Mechanism {
    /// All that are spoken here, the strongest first.
    pub const ALL: [Mechanism; 3] = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    /// As EHLO and AUTH name it.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }
}

/// What a host offers after the keyword AUTH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    offered: bool,
    known: [bool; Mechanism::ALL.len()],
}

impl Mechanisms {
    /// There is no AUTH.
    pub const NONE: Mechanisms = Mechanisms { offered: false, known: [false; Mechanism::ALL.len()] };

    /// AUTH is offered, whatever with.
    pub(super) fn offer(&mut self) {
        self.offered = true;
    }

    /// With this; others than ours are ignored.
    pub(super) fn add(&mut self, word: &str) {
        for mechanism in Mechanism::ALL {
            self.known[mechanism as usize] |= word.eq_ignore_ascii_case(mechanism.name());
        }
    }

    /// The strongest that is not among these.
    pub fn choose(&self, tried: &[Mechanism]) -> Result<Mechanism, AuthError> {
        let usable = |one: &Mechanism| self.known[*one as usize] && !tried.contains(one);
        match Mechanism::ALL.into_iter().find(usable) {
            Some(mechanism) => Ok(mechanism),
            None if self.offered => Err(AuthError::NothingInCommon),
            None => Err(AuthError::NotOffered),
        }
    }
}

/// Who we are, and how we prove it.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The user's name.
    pub user: &'a str,
    /// Their password.
    pub password: &'a str,
}

/// Never the password.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login")
    }
}

/// Why we are not logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The host knows no AUTH, or not for us.
    NotOffered,
    /// It knows none of our mechanisms.
    NothingInCommon,
    /// It refuses: credentials (535), or for now (454).
    Refused(Reply),
    /// What it said is no step of the exchange.
    OutOfStep(&'static str),
    /// It did not follow SCRAM, or does not know the password itself.
    Scram(ScramError),
}

impl AuthError {
    /// Another mechanism may do: it is the mechanism that is refused, or the password must be told once (RFC 4954 section 6: 432).
    pub fn is_of_the_mechanism(&self) -> bool {
        matches!(self, AuthError::Refused(reply) if matches!(reply.code, 432 | 504))
    }
}

impl fmt::Display for AuthError {
    /// Behind the name of the host.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthError::NotOffered => formatter.write_str("offers no AUTH under TLS"),
            AuthError::NothingInCommon => {
                let names = Mechanism::ALL.map(Mechanism::name).join(", ");
                write!(formatter, "offers AUTH with none of {names}")
            }
            AuthError::Refused(reply) if reply.is_permanent() => {
                write!(formatter, "refuses the user or the password: {}", reply.describe())
            }
            AuthError::Refused(reply) => write!(formatter, "takes no login now: {}", reply.describe()),
            AuthError::OutOfStep(what) => write!(formatter, "does not follow AUTH: {what}"),
            AuthError::Scram(error) => write!(formatter, "{error}"),
        }
    }
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum AuthStep {
    /// This line is sent, which has one reply.
    Say(Vec<u8>),
    /// Keys are to be derived, away from the shard.
    Derive(Costs),
    /// We are logged in.
    Done,
}

/// One AUTH command and all that follows.
#[derive(Debug)]
pub struct Exchange<'a> {
    login: Login<'a>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing is left to be said; 235 is due.
    Told,
    /// The name of LOGIN is asked for.
    LoginUser,
    /// Its password is.
    LoginPassword,
    Scram(Scram),
    /// The host has proven that it knows the password, if the mechanism has that.
    Proven,
    Over,
}

impl<'a> Exchange<'a> {
    /// The line it begins with. `nonce`: bytes nobody can guess.
    pub fn begin(mechanism: Mechanism, login: Login<'a>, nonce: &[u8]) -> (Exchange<'a>, Vec<u8>) {
        let (state, response) = match mechanism {
            Mechanism::ScramSha256 => {
                let (scram, first) = Scram::begin(login.user, nonce);
                (State::Scram(scram), Some(first))
            }
            // RFC 4616 section 2: we act for nobody else.
            Mechanism::Plain => (State::Told, Some(format!("\0{}\0{}", login.user, login.password))),
            Mechanism::Login => (State::LoginUser, None),
        };
        let mut line = format!("AUTH {}", mechanism.name()).into_bytes();
        if let Some(response) = response {
            line.push(b' ');
            line.extend_from_slice(STANDARD.encode(response).as_bytes());
        }
        line.extend_from_slice(b"\r\n");
        (Exchange { login, state }, line)
    }

    /// What the host said to the line before.
    pub fn on_reply(&mut self, reply: Reply) -> Result<AuthStep, AuthError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match reply.code {
            235 => match state {
                State::Told | State::Proven => Ok(AuthStep::Done),
                State::Scram(_) => Err(AuthError::Scram(ScramError::Unproven)),
                _ => Err(AuthError::OutOfStep("it says that we are logged in before it was told who we are")),
            },
            334 => self.on_challenge(state, &challenge(&reply)?),
            code if code >= 400 => Err(AuthError::Refused(reply)),
            _ => Err(AuthError::OutOfStep("a reply that AUTH does not have")),
        }
    }

    fn on_challenge(&mut self, state: State, challenge: &[u8]) -> Result<AuthStep, AuthError> {
        match state {
            // Whatever the words in it are: they differ from host to host.
            State::LoginUser => {
                self.state = State::LoginPassword;
                Ok(say(self.login.user))
            }
            State::LoginPassword => {
                self.state = State::Told;
                Ok(say(self.login.password))
            }
            State::Scram(mut scram) if !scram.is_answered() => {
                let costs = scram.on_first(challenge).map_err(AuthError::Scram)?;
                self.state = State::Scram(scram);
                Ok(AuthStep::Derive(costs))
            }
            State::Scram(scram) => {
                scram.on_last(challenge).map_err(AuthError::Scram)?;
                self.state = State::Proven;
                // RFC 4954 section 4: the last challenge has an answer of no bytes.
                Ok(say(""))
            }
            State::Told | State::Proven | State::Over => {
                Err(AuthError::OutOfStep("it asks for more than the mechanism has"))
            }
        }
    }

    /// The keys that [`AuthStep::Derive`] asked for.
    pub fn on_keys(&mut self, keys: &Keys) -> Result<AuthStep, AuthError> {
        match &mut self.state {
            State::Scram(scram) => scram.prove(keys).map(|proof| say(&proof)).map_err(AuthError::Scram),
            _ => Err(AuthError::OutOfStep("keys nobody asked for")),
        }
    }
}

fn say(response: &str) -> AuthStep {
    let mut line = STANDARD.encode(response).into_bytes();
    line.extend_from_slice(b"\r\n");
    AuthStep::Say(line)
}

/// The bytes of a 334.
fn challenge(reply: &Reply) -> Result<Vec<u8>, AuthError> {
    let [line] = &reply.lines[..] else {
        return Err(AuthError::OutOfStep("a challenge of several lines"));
    };
    let line = line.trim();
    if line.len() > limits::client::CHALLENGE_MAX {
        return Err(AuthError::OutOfStep("a challenge that is too long"));
    }
    STANDARD.decode(line).map_err(|_| AuthError::OutOfStep("a challenge that is no base64"))
}

#[cfg(test)]
mod tests;
