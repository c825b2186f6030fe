//! AUTH (RFC 4954), only under TLS: SCRAM-SHA-256 and -PLUS (RFC 7677), PLAIN (RFC 4616) and LOGIN (no RFC: the draft
//! draft-murchison-sasl-login).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::identity::Identity;
use super::scram::{Exchange, Fault, Proof};
use super::step::Credentials;
use crate::config::{AuthMechanism, AuthMechanisms};
use crate::limits;
use crate::smtp::scram::Costs;
use crate::smtp::words;

/// How far an exchange is, and how many of them failed.
#[derive(Debug, Default)]
pub(super) struct Auth {
    /// The next line is one of an exchange.
    awaiting: Option<Box<Awaited>>,
    failures: u32,
}

/// What the next line of an exchange is to bring.
#[derive(Debug)]
enum Awaited {
    /// All of PLAIN.
    Plain,
    /// LOGIN's name.
    LoginName,
    /// LOGIN's password, for this name.
    LoginPassword(String),
    /// SCRAM's first message. Bound to the connection: by the name of the mechanism; because that is offered.
    ScramFirst { plus: bool, can_bind: bool },
    /// Its last one.
    ScramProof(Exchange),
    /// Nothing more: this account is logged in, and has our own proof to look at first (RFC 4954 section 4).
    ScramEnd(String),
}

/// What comes of a line.
pub(super) enum AuthStep {
    /// The client is to send another one.
    Ask(&'static str),
    /// The exchange is over without credentials.
    Refuse(&'static str),
    /// It failed, without anything to be checked.
    Fail(&'static str),
    /// They are to be checked.
    Check(Credentials),
    /// The client is to be told what its key is derived with.
    Challenge,
    /// What it proves is to be checked.
    Prove(Box<Proof>),
    /// This account is logged in.
    Done(String),
}

/// Why AUTH cannot be said now.
pub(super) fn forbidden(offered: bool, client: &Identity, in_transaction: bool) -> Option<&'static str> {
    if !offered {
        Some(words::NOT_OFFERED)
    } else if !client.is_protected() {
        Some(words::AUTH_NEEDS_TLS)
    } else if !client.said_hello() {
        Some(words::NEED_HELLO)
    } else if client.account().is_some() || in_transaction {
        // RFC 4954 section 4: once a session, and not inside a transaction.
        Some(words::BAD_SEQUENCE)
    } else {
        None
    }
}

impl Auth {
    /// Whether the next line is one of an exchange, whatever it looks like.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaiting.is_some()
    }

    /// An AUTH command, with an initial response or without. `offered`: what this session may use.
    pub(super) fn begin(&mut self, name: &str, initial: Option<&str>, offered: AuthMechanisms) -> AuthStep {
        let can_bind = offered.has(AuthMechanism::ScramSha256Plus);
        let awaited = match offered.named(name) {
            Some(AuthMechanism::ScramSha256Plus) => Awaited::ScramFirst { plus: true, can_bind },
            Some(AuthMechanism::ScramSha256) => Awaited::ScramFirst { plus: false, can_bind },
            Some(AuthMechanism::Plain) => Awaited::Plain,
            Some(AuthMechanism::Login) => Awaited::LoginName,
            None => return AuthStep::Refuse(words::AUTH_MECHANISM),
        };
        match initial {
            Some(response) => self.respond(awaited, response.as_bytes()),
            None => self.ask(awaited),
        }
    }

    /// The line that is awaited.
    pub(super) fn line(&mut self, line: &[u8]) -> AuthStep {
        match self.awaiting.take() {
            Some(awaited) => self.respond(*awaited, line),
            None => AuthStep::Refuse(words::BAD_SEQUENCE),
        }
    }

    /// What was to be the response is none, whatever it was.
    pub(super) fn give_up(&mut self) {
        self.awaiting = None;
    }

    fn ask(&mut self, awaited: Awaited) -> AuthStep {
        let words = match awaited {
            Awaited::Plain | Awaited::ScramFirst { .. } => words::AUTH_CONTINUE,
            Awaited::ScramProof(_) | Awaited::ScramEnd(_) => words::AUTH_CONTINUE,
            Awaited::LoginName => words::AUTH_USERNAME,
            Awaited::LoginPassword(_) => words::AUTH_PASSWORD,
        };
        self.awaiting = Some(Box::new(awaited));
        AuthStep::Ask(words)
    }

    /// The account that a challenge is for.
    pub(super) fn challenged(&self) -> Option<&str> {
        match self.awaiting.as_deref() {
            Some(Awaited::ScramProof(exchange)) => Some(exchange.name()),
            _ => None,
        }
    }

    /// Tells the client what its key is derived with, as [`Exchange::challenge`] has it.
    pub(super) fn challenge(
        &mut self,
        costs: Costs,
        (nonce, binding): (&str, Option<&[u8; 32]>),
        out: &mut Vec<u8>,
    ) {
        if let Some(Awaited::ScramProof(exchange)) = self.awaiting.as_deref_mut() {
            say(exchange.challenge(costs, nonce, binding), out);
        }
    }

    /// The client has proven that it knows the password of this account, and is told that we do.
    pub(super) fn proven(&mut self, account: &str, signature: &[u8; 32], out: &mut Vec<u8>) {
        self.awaiting = Some(Box::new(Awaited::ScramEnd(account.to_owned())));
        say(&format!("v={}", STANDARD.encode(signature)), out);
    }

    /// The account that is logged in when the client has seen that.
    pub(super) fn logs_in(&self) -> Option<&str> {
        match self.awaiting.as_deref() {
            Some(Awaited::ScramEnd(account)) => Some(account),
            _ => None,
        }
    }

    /// A line of the exchange, base64. RFC 4954 section 4: `*` alone cancels it, `=` alone is an initial response of no bytes.
    fn respond(&mut self, awaited: Awaited, line: &[u8]) -> AuthStep {
        if line == b"*" {
            return AuthStep::Refuse(words::AUTH_CANCELLED);
        }
        let Ok(response) = STANDARD.decode(line) else { return AuthStep::Refuse(words::AUTH_MALFORMED) };
        let credentials = match awaited {
            Awaited::Plain => plain(&response),
            Awaited::LoginName => match login_name(response) {
                Some(name) => return self.ask(Awaited::LoginPassword(name)),
                None => None,
            },
            // A NUL is what no password can hold, here as in PLAIN.
            Awaited::LoginPassword(name) => {
                (!response.contains(&0)).then_some(Credentials { name, password: response })
            }
            Awaited::ScramFirst { plus, can_bind } => {
                return match Exchange::begin(response, plus, can_bind) {
                    Ok(exchange) => {
                        self.awaiting = Some(Box::new(Awaited::ScramProof(exchange)));
                        AuthStep::Challenge
                    }
                    Err(fault) => fault.into(),
                };
            }
            Awaited::ScramProof(exchange) => {
                return exchange
                    .prove(response)
                    .map_or_else(AuthStep::from, |it| AuthStep::Prove(Box::new(it)));
            }
            Awaited::ScramEnd(account) if response.is_empty() => return AuthStep::Done(account),
            Awaited::ScramEnd(_) => None,
        };
        credentials.map_or(AuthStep::Refuse(words::AUTH_MALFORMED), AuthStep::Check)
    }

    /// An exchange came to nothing. False: it was the last that a session may have.
    pub(super) fn may_fail(&mut self) -> bool {
        self.failures += 1;
        self.failures < limits::AUTH_FAILURES_MAX
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        let of = |awaited: &Awaited| match awaited {
            Awaited::LoginPassword(name) | Awaited::ScramEnd(name) => name.len(),
            Awaited::ScramProof(exchange) => exchange.held(),
            Awaited::Plain | Awaited::LoginName | Awaited::ScramFirst { .. } => 0,
        };
        self.awaiting.as_ref().map_or(0, |awaited| size_of::<Awaited>() + limits::TEXT_OVERHEAD + of(awaited))
    }
}

/// Where an exchange of SCRAM ends early.
impl From<Fault> for AuthStep {
    fn from(fault: Fault) -> AuthStep {
        match fault {
            Fault::Malformed => AuthStep::Refuse(words::AUTH_MALFORMED),
            Fault::Downgraded => AuthStep::Fail(words::AUTH_DOWNGRADED),
            Fault::Binding => AuthStep::Fail(words::AUTH_OTHER_CHANNEL),
        }
    }
}

/// A challenge (RFC 4954 section 4).
fn say(challenge: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"334 ");
    out.extend_from_slice(STANDARD.encode(challenge).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `authzid NUL authcid NUL passwd`.
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (identity, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    if password.contains(&0) {
        return None;
    }
    let mut password = password.to_vec();
    // Nobody may act for somebody else (RFC 4616 section 2: that fails); naming oneself is allowed. Checked with a NUL in it the password is
    // wrong, whatever it was: this takes as long, is answered and counts as any wrong one, and says nothing about the one that was given.
    if !(identity.is_empty() || identity == name) {
        password.push(0);
        password.extend_from_slice(identity);
    }
    Some(Credentials { name: login_name(name.to_vec())?, password })
}

fn login_name(name: Vec<u8>) -> Option<String> {
    // No account has a longer one, and LOGIN keeps it for as long as the client is silent.
    if name.len() > limits::ACCOUNT_NAME_MAX {
        return None;
    }
    let mut name = String::from_utf8(name).ok()?;
    name.shrink_to_fit();
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_acts_for_somebody_else() {
        let read = |response: &[u8]| plain(response).map(|read| (read.name, read.password));
        let right = Some(("bob".to_owned(), b"secret".to_vec()));
        assert_eq!((read(b"\0bob\0secret"), read(b"bob\0bob\0secret")), (right.clone(), right));
        for other in [&b"ann"[..], b"Bob", b"bo", b"\xff"] {
            let (name, password) =
                read(&[other, b"\0bob\0secret"].concat()).expect("it is checked, and fails");
            assert_eq!(name, "bob");
            assert!(password.starts_with(b"secret\0"), "no account has a NUL in its password: {password:?}");
        }
        assert_eq!(
            (read(b"\0bob\0sec\0ret"), read(b"ann\0\0secret"), read(b"bob\0secret")),
            (None, None, None)
        );
    }
}
