//! Who may send.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};

use crate::control::say::say;
use crate::observe::diagnostics::Level;
use crate::policy::clients::Client;
use crate::policy::tokens::guesses::{Heard, TokenGuesses};
use crate::policy::tokens::{Role, Tokens};
use crate::time::Instant;

/// Whoever showed a token.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// The name of the token, which is the account that the mail is of.
    pub name: Arc<str>,
    /// The tenant whose mail alone it sends.
    pub tenant: Option<Arc<str>>,
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// No token, or a wrong one.
    Unauthorized,
    /// It may other things.
    Forbidden,
    /// Too many wrong ones come from there.
    TooMany,
}

/// Who says so.
pub(super) struct Gate {
    guesses: Mutex<TokenGuesses>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
}

impl Gate {
    /// By this clock.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Gate {
        Gate { guesses: Mutex::default(), now: Box::new(now) }
    }

    /// Who asks, with a token to send, or with one of a role that looks or changes, and then of more.
    pub fn sender(
        &self,
        role: Role,
        tokens: Option<&Tokens>,
        (client, fields): (IpAddr, &HeaderMap),
    ) -> Result<Sender, Shut> {
        let shown = shown(fields).ok_or(Shut::Unauthorized)?;
        match tokens.and_then(|tokens| tokens.find(shown)) {
            Some(token) if token.role == role || (role > Role::Send && token.role > role) => {
                Ok(Sender { name: token.name.clone(), tenant: token.tenant.clone() })
            }
            Some(_) => Err(Shut::Forbidden),
            None => Err(self.wrong(client)),
        }
    }

    /// A wrong token. A right one is let in whatever others of its network show.
    fn wrong(&self, client: IpAddr) -> Shut {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        match guesses.wrong(Client::from(client), (self.now)()) {
            Heard::Wrong => Shut::Unauthorized,
            Heard::TooManyNow => {
                say(
                    Level::Warning,
                    format_args!("api.http: {client} shows many wrong tokens; until it stops it hears 429"),
                );
                Shut::TooMany
            }
            Heard::TooMany => Shut::TooMany,
        }
    }
}

/// The token of a request: `Authorization: Bearer`, or `Api-Token`.
fn shown(fields: &HeaderMap) -> Option<&str> {
    let one = |name: &str| {
        let mut all = fields.get_all(name).iter();
        let first = all.next()?.to_str().ok()?;
        all.next().is_none().then_some(first.trim())
    };
    if let Some(bearer) = one(header::AUTHORIZATION.as_str()) {
        let (scheme, token) = bearer.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then_some(token.trim());
    }
    one("api-token")
}
