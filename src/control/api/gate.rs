//! Who is let in over HTTP. A browser asks by itself whatever the page of another site says; such a question has no token, or another's name.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::actor::Actor;
use super::answers::Problem;
use super::veil::Veil;
use crate::control::reload::{AccessInForce, Reload};
use crate::control::say::say;
use crate::observe::diagnostics::Level;
use crate::policy::clients::Client;
use crate::policy::tokens::Role;
use crate::policy::tokens::guesses::{Heard, TokenGuesses};
use crate::time::Instant;

/// From where somebody asks.
#[derive(Clone, Debug)]
pub(in crate::control) struct Guest {
    address: IpAddr,
    let_in: Arc<AtomicBool>,
}

impl Guest {
    /// From this address.
    pub(in crate::control) fn new(address: IpAddr) -> Guest {
        Guest { address, let_in: Arc::default() }
    }

    /// Whether it was let in.
    pub(in crate::control) fn was_let_in(&self) -> bool {
        self.let_in.load(Ordering::Relaxed)
    }
}

/// Whoever says who is let in.
pub(in crate::control) struct Gate {
    reload: Option<Arc<dyn Reload>>,
    guesses: Mutex<TokenGuesses>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
}

impl Gate {
    /// By what is in force.
    pub(in crate::control) fn new(
        reload: Option<Arc<dyn Reload>>,
        now: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Gate {
        Gate { reload, guesses: Mutex::default(), now: Box::new(now) }
    }

    fn access(&self) -> AccessInForce {
        self.reload.as_ref().map(|reload| reload.access()).unwrap_or_default()
    }

    /// Who asks.
    fn actor(&self, access: &AccessInForce, guest: IpAddr, fields: &HeaderMap) -> Result<Actor, Problem> {
        let tokens = match (&access.tokens, shown(fields)) {
            (Some(tokens), Shown::Token(shown)) => {
                return tokens.find(shown).map(Actor::of).ok_or_else(|| self.wrong(guest));
            }
            (_, Shown::Token(_) | Shown::Nonsense) => return Err(self.wrong(guest)),
            (tokens, Shown::Nothing) => tokens.is_some(),
        };
        // What comes by a proxy on this machine is not of this machine.
        let by_proxy = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
            .iter()
            .any(|name| fields.contains_key(*name));
        match tokens {
            true => Err(Problem::NoToken),
            false if guest.to_canonical().is_loopback() && !by_proxy => Ok(Actor::Loopback),
            false => Err(Problem::Forbidden(
                "control.tokens names no file, so only this machine may ask, and not by a proxy; make a token with `relevo token add`"
                    .to_owned(),
            )),
        }
    }

    /// A wrong token. A right one is let in whatever others of its network show.
    fn wrong(&self, guest: IpAddr) -> Problem {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = guesses.wrong(Client::from(guest), (self.now)());
        drop(guesses);
        match heard {
            Heard::Wrong => return Problem::BadToken,
            Heard::TooManyNow => say(
                Level::Warning,
                format_args!("control.http: {} shows many wrong tokens; until it stops it hears 429", guest),
            ),
            Heard::TooMany => {}
        }
        Problem::TooManyGuesses
    }
}

/// What of a token a request shows.
enum Shown<'a> {
    Nothing,
    Token(&'a str),
    Nonsense,
}

fn shown(fields: &HeaderMap) -> Shown<'_> {
    let mut all = fields.get_all(header::AUTHORIZATION).iter();
    let Some(first) = all.next() else { return Shown::Nothing };
    let token = first.to_str().ok().and_then(|text| text.trim().split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && all.next().is_none() => {
            Shown::Token(token.trim())
        }
        _ => Shown::Nonsense,
    }
}

/// Lets in who may ask at all; what he may is said by each route.
pub(in crate::control) async fn let_in(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = gate.access();
    let guest = request.extensions().get::<Guest>().cloned();
    let Some(guest) = guest else { return Problem::Broken.into_response() };
    match gate.actor(&access, guest.address, request.headers()) {
        Ok(actor) => {
            guest.let_in.store(true, Ordering::Relaxed);
            let veil = Veil::of(access.settings.redact, actor.role());
            request.extensions_mut().insert(veil);
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Refuses what a page of another site has a browser write (RFC 6454 section 7.3). There are no CORS fields in any answer, so that such a page reads nothing.
pub(in crate::control) async fn check_origin(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && !is_of_us(request.headers()) {
        return Problem::OtherOrigin.into_response();
    }
    next.run(request).await
}

fn is_of_us(fields: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| {
        let mut all = fields.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        (all.next(), all.next().is_some())
    };
    let (origin, more) = text(header::ORIGIN);
    let of_browser = fields.get("sec-fetch-site").map(|value| value.as_bytes());
    if more || of_browser.is_some_and(|site| !matches!(site, b"same-origin" | b"none")) {
        return false;
    }
    let Some(origin) = origin else { return true };
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let (host, _) = text(header::HOST);
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// What a route asks of who asks, so that it can be told beside it.
pub(super) fn may(actor: &Actor, role: Role) -> Result<(), Problem> {
    if actor.role() >= role {
        return Ok(());
    }
    let more = match actor {
        Actor::Loopback => {
            "; without control.tokens only reading is allowed over HTTP: make a token with `relevo token add`, or ask by control.socket"
        }
        _ => "",
    };
    Err(Problem::Role(format!(
        "this needs the role {}, and {actor} has {}{more}",
        role.word(),
        actor.role().word()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn fields(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in all {
            fields.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        fields
    }

    #[test]
    fn pages_of_others_write_nothing() {
        let host = ("host", "mx1.example.net:8025");
        for (origin, ours) in [
            ("http://mx1.example.net:8025", true),
            ("https://MX1.example.net:8025", true),
            ("http://mx1.example.net", false),
            ("http://mx1.example.net:8025.evil.example", false),
            ("http://evil.example", false),
            ("mx1.example.net:8025", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(is_of_us(&fields(&[host, ("origin", origin)])), ours, "{origin}");
        }
        assert!(is_of_us(&fields(&[host])), "a program says no origin");
        let ours = ("origin", "http://mx1.example.net:8025");
        assert!(!is_of_us(&fields(&[host, ours, ours])), "two are none");
        for (site, is_ours) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            assert_eq!(is_of_us(&fields(&[host, ("sec-fetch-site", site)])), is_ours, "{site}");
        }
    }

    #[test]
    fn without_tokens_only_this_machine_reads() {
        let gate = Gate::new(None, Instant::default);
        let by = |guest: &str, all: &[(&'static str, &str)]| {
            let guest = guest.parse().expect("an address");
            gate.actor(&AccessInForce::default(), guest, &fields(all)).map(|actor| actor.to_string())
        };
        for guest in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(by(guest, &[]).expect("it may"), "somebody at this machine", "{guest}");
        }
        for guest in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
            assert!(matches!(by(guest, &[]), Err(Problem::Forbidden(_))), "{guest}");
        }
        assert!(matches!(by("127.0.0.1", &[("x-forwarded-for", "192.0.2.1")]), Err(Problem::Forbidden(_))));
        assert!(matches!(by("127.0.0.1", &[("authorization", "Bearer x")]), Err(Problem::BadToken)));
    }
}
