//! AUTH PLAIN (RFC 4954, RFC 4616) and AUTH LOGIN (no RFC: the draft draft-murchison-sasl-login), only under TLS.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Credentials, NAME, Session, Step};
use crate::limits;
use crate::smtp::reply::words;

/// What the next line of an AUTH exchange is to bring.
#[derive(Debug)]
pub(super) enum Awaited {
    /// All of PLAIN.
    Plain,
    /// LOGIN's name.
    LoginName,
    /// LOGIN's password, for this name.
    LoginPassword(String),
}

impl Awaited {
    /// Bytes in memory of its own.
    pub(super) fn held(&self) -> usize {
        if let Awaited::LoginPassword(name) = self { name.len() } else { 0 }
    }
}

impl Session {
    /// Bytes of the session beside its transaction: names that its client gave.
    pub fn carried(&self) -> usize {
        let hello = self.hello.as_ref().map_or(0, |hello| NAME + hello.name.len());
        let text = |text: &Option<std::rc::Rc<str>>| text.as_ref().map_or(0, |text| NAME + text.len());
        hello
            + text(&self.tls)
            + text(&self.account)
            + self.awaiting.as_ref().map_or(0, |awaited| NAME + awaited.held())
    }

    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>, out: &mut Vec<u8>) -> Option<Step> {
        if !self.rules.accounts {
            return self.complain(words::NOT_OFFERED, out);
        }
        if self.tls.is_none() {
            return self.complain(words::AUTH_NEEDS_TLS, out);
        }
        if self.hello.is_none() {
            return self.complain(words::NEED_HELLO, out);
        }
        // RFC 4954 section 4: once a session, and not inside a transaction.
        if self.account.is_some() || self.transaction.is_some() {
            return self.complain(words::BAD_SEQUENCE, out);
        }
        let awaited = if mechanism.eq_ignore_ascii_case("PLAIN") {
            Awaited::Plain
        } else if mechanism.eq_ignore_ascii_case("LOGIN") {
            Awaited::LoginName
        } else {
            return self.complain(words::AUTH_MECHANISM, out);
        };
        match initial {
            Some(response) => self.auth_line(awaited, response.as_bytes(), out),
            None => self.prompt(awaited, out),
        }
    }

    /// Asks for the next line of the exchange.
    fn prompt(&mut self, awaited: Awaited, out: &mut Vec<u8>) -> Option<Step> {
        let words = match awaited {
            Awaited::Plain => words::AUTH_CONTINUE,
            Awaited::LoginName => words::AUTH_USERNAME,
            Awaited::LoginPassword(_) => words::AUTH_PASSWORD,
        };
        self.awaiting = Some(Box::new(awaited));
        self.say(words, out);
        Some(Step::Flush)
    }

    /// A line of the exchange, base64. RFC 4954 section 4: `*` alone cancels it, `=` alone is an initial response of no bytes.
    pub(super) fn auth_line(&mut self, awaited: Awaited, line: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        if line == b"*" {
            return self.complain(words::AUTH_CANCELLED, out);
        }
        let Ok(response) = STANDARD.decode(line) else {
            return self.complain(words::AUTH_MALFORMED, out);
        };
        let credentials = match awaited {
            Awaited::Plain => plain(&response),
            Awaited::LoginName => match login_name(response) {
                Some(name) => return self.prompt(Awaited::LoginPassword(name), out),
                None => None,
            },
            // A NUL is what no password can hold, here as in PLAIN.
            Awaited::LoginPassword(name) => {
                (!response.contains(&0)).then_some(Credentials { name, password: response })
            }
        };
        match credentials {
            Some(credentials) => Some(Step::Authenticate(credentials)),
            None => self.complain(words::AUTH_MALFORMED, out),
        }
    }

    /// The credentials were right.
    pub fn authenticated(&mut self, account: &str, out: &mut Vec<u8>) {
        self.account = Some(account.into());
        self.say(words::AUTH_OK, out);
    }

    /// They were not. True: the session is to be closed.
    #[must_use]
    pub fn authentication_failed(&mut self, out: &mut Vec<u8>) -> bool {
        self.refuse(words::AUTH_FAILED, words::TOO_MANY_ERRORS, out)
    }

    /// Whether they were cannot be told now, and is not the client's fault (RFC 4954 section 6). True: the session is to be closed.
    #[must_use]
    pub fn authentication_unavailable(&mut self, out: &mut Vec<u8>) -> bool {
        self.refuse(words::AUTH_UNAVAILABLE, words::SESSION_OVER, out)
    }

    /// The same, where we had no time for it: the session may ask again for as long as it may say anything.
    pub fn authentication_postponed(&mut self, out: &mut Vec<u8>) {
        self.turn_away(words::AUTH_UNAVAILABLE, out);
    }

    /// Too many like this client wait already: the session ends.
    pub fn authentication_cut(&mut self, out: &mut Vec<u8>) {
        self.say(words::TOO_MANY_LOGINS, out);
    }

    fn refuse(&mut self, words: &str, end: &str, out: &mut Vec<u8>) -> bool {
        self.say(words, out);
        self.auth_failures += 1;
        let enough = self.auth_failures >= limits::AUTH_FAILURES_MAX;
        if enough {
            self.say(end, out);
        }
        enough
    }
}

/// `authzid NUL authcid NUL passwd`.
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (identity, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    // Acting for somebody else is not offered; naming oneself is allowed.
    if password.contains(&0) || !(identity.is_empty() || identity == name) {
        return None;
    }
    Some(Credentials { name: login_name(name.to_vec())?, password: password.to_vec() })
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
