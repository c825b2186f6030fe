//! AUTH PLAIN (RFC 4954, RFC 4616), only under TLS.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Credentials, Session, Step};
use crate::limits;
use crate::smtp::reply::words;

impl Session {
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
        if !mechanism.eq_ignore_ascii_case("PLAIN") {
            return self.complain(words::AUTH_MECHANISM, out);
        }
        match initial {
            Some(response) => self.credentials(response.as_bytes(), out),
            None => {
                self.awaiting_credentials = true;
                self.say(words::AUTH_CONTINUE, out);
                Some(Step::Flush)
            }
        }
    }

    /// `authzid NUL authcid NUL passwd`, base64.
    pub(super) fn credentials(&mut self, response: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        if response == b"*" {
            return self.complain(words::AUTH_CANCELLED, out);
        }
        match decode(response) {
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
        self.refuse(words::AUTH_FAILED, out)
    }

    /// Whether they were cannot be told now, and is not the client's fault (RFC 4954 section 6). True: the session is to be closed.
    #[must_use]
    pub fn authentication_unavailable(&mut self, out: &mut Vec<u8>) -> bool {
        self.refuse(words::AUTH_UNAVAILABLE, out)
    }

    fn refuse(&mut self, words: &str, out: &mut Vec<u8>) -> bool {
        self.say(words, out);
        self.auth_failures += 1;
        let enough = self.auth_failures >= limits::AUTH_FAILURES_MAX;
        if enough {
            self.say(words::TOO_MANY_ERRORS, out);
        }
        enough
    }
}

fn decode(response: &[u8]) -> Option<Credentials> {
    let plain = STANDARD.decode(response).ok()?;
    let mut parts = plain.splitn(3, |byte| *byte == 0);
    let (identity, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    // Acting for somebody else is not offered; naming oneself is allowed.
    if name.is_empty() || password.contains(&0) || !(identity.is_empty() || identity == name) {
        return None;
    }
    Some(Credentials { name: String::from_utf8(name.to_vec()).ok()?, password: password.to_vec() })
}
