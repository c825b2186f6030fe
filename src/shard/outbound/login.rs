//! Logging in at a smart host, under TLS to a host that has proven who it is (RFC 4954). Mail of a route with credentials goes over no connection
//! that is not logged in.
//!
//! What SCRAM derives of a password takes a core as long as the host wants: threads beside the shards do it, once for each salt.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::config::Credentials;
use crate::limits;
use crate::runtime::{Priority, Runtime, Uncomputed, Urgency};
use crate::shard::Shard;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::known_keys::Known;
use crate::shard::outbound::session::Connection;
use crate::smtp::client::auth::scram::{Costs, Keys};
use crate::smtp::client::auth::{AuthError, AuthStep, Exchange, Login, Mechanism};

/// Proves who we are by the strongest mechanism that the host offers. An error: no mail goes over this connection.
pub(super) async fn log_in<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    credentials: &Arc<Credentials>,
) -> Result<(), HopError> {
    let offered = connection.capabilities.auth;
    let mut tried = Vec::with_capacity(Mechanism::ALL.len());
    let mut last = None;
    loop {
        let mechanism = match (offered.choose(&tried), last.take()) {
            (Ok(mechanism), _) => mechanism,
            // What it said of the last of them is more.
            (Err(error), said) => return Err(failed(shard, connection, credentials, &said.unwrap_or(error))),
        };
        tried.push(mechanism);
        match exchange(shard, connection, credentials, mechanism).await? {
            Ok(()) => return Ok(()),
            Err(error) if error.is_of_the_mechanism() => last = Some(error),
            Err(error) => return Err(failed(shard, connection, credentials, &error)),
        }
    }
}

/// In words, and counted.
fn failed<R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    credentials: &Credentials,
    error: &AuthError,
) -> HopError {
    shard.instruments.counters.logins_failed.add(1);
    let words = format!("{} {error}", connection.hop);
    // A host may repeat what it was told.
    let secret = credentials.password.secret();
    let words = if secret.is_empty() { words } else { words.replace(secret, "(password)") };
    HopError::Login(format!("{words}; the route's credentials are \"{}\"", credentials.name))
}

/// By one mechanism. The outer error is that of the connection.
async fn exchange<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    credentials: &Arc<Credentials>,
    mechanism: Mechanism,
) -> Result<Result<(), AuthError>, HopError> {
    let login = Login { user: &credentials.user, password: credentials.password.secret() };
    let nonce: Vec<u8> = (0..3).flat_map(|_| shard.runtime.random().to_be_bytes()).collect();
    let (mut exchange, mut line) = Exchange::begin(mechanism, login, &nonce);
    for _ in 0..limits::client::AUTH_STEPS_MAX {
        let patience = connection.timeouts.auth;
        connection.send(shard, &line, 1, patience).await?;
        let reply = connection.reply(shard, patience).await?;
        let mut step = exchange.on_reply(reply);
        if let Ok(AuthStep::Derive(costs)) = &step {
            let keys = keys(shard, credentials, costs).await;
            let keys = keys.map_err(|why| HopError::Login(uncomputed(&connection.hop, why)))?;
            step = exchange.on_keys(&keys);
        }
        match step {
            Ok(AuthStep::Say(next)) => line = next,
            Ok(AuthStep::Done) => return Ok(Ok(())),
            Ok(AuthStep::Derive(_)) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Err(AuthError::OutOfStep("it does not come to an end")))
}

fn uncomputed(hop: &str, why: Uncomputed) -> String {
    let why = match why {
        Uncomputed::Full => "too many passwords wait to be computed",
        Uncomputed::Failed => "the computation failed, which is a bug in relevo",
    };
    format!("this relay could not log in at {hop}: {why}")
}

/// Those of a password at a host. Who comes while they are derived waits for them.
async fn keys<R: Runtime>(
    shard: &Rc<Shard<R>>,
    credentials: &Arc<Credentials>,
    costs: &Costs,
) -> Result<Keys, Uncomputed> {
    let known = &shard.outbound.keys.0;
    let found = poll_fn(|context| {
        let mut all = known.borrow_mut();
        match all.iter_mut().find(|one| one.is_of(credentials, costs)) {
            None => Poll::Ready(None),
            Some(Known { keys: Some(keys), .. }) => Poll::Ready(Some(keys.clone())),
            Some(Known { waiting, .. }) => {
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    })
    .await;
    if let Some(keys) = found {
        return Ok(keys);
    }
    let under_way = UnderWay::begin(shard, credentials, costs);
    let accounts = shard.live.get().accounts.clone();
    let calm = accounts.is_none_or(|logins| logins.is_calm(shard.runtime.now()));
    let (theirs, of) = (credentials.clone(), costs.clone());
    let priority = Priority { urgency: Urgency::Prompt, rank: 0, calm };
    let derived = shard
        .runtime
        .compute(priority, move |_| Keys::derive(theirs.password.secret().as_bytes(), &of))
        .await?;
    under_way.done(derived.clone());
    Ok(derived)
}

/// Keys that are being derived. Those who wait go on when it is dropped, and derive them themselves if it came to nothing.
struct UnderWay<'a, R: Runtime> {
    shard: &'a Shard<R>,
    credentials: &'a Credentials,
    costs: &'a Costs,
    keys: RefCell<Option<Keys>>,
}

impl<'a, R: Runtime> UnderWay<'a, R> {
    fn begin(shard: &'a Shard<R>, credentials: &'a Arc<Credentials>, costs: &'a Costs) -> UnderWay<'a, R> {
        let mut all = shard.outbound.keys.0.borrow_mut();
        if all.len() >= limits::client::SCRAM_KEYS_KEPT {
            let first = all.iter().position(|one| one.keys.is_some()).unwrap_or_default();
            let gone = all.remove(first);
            gone.into_iter().flat_map(|gone| gone.waiting).for_each(Waker::wake);
        }
        all.push_back(Known {
            credentials: credentials.clone(),
            costs: costs.clone(),
            keys: None,
            waiting: Vec::new(),
        });
        UnderWay { shard, credentials, costs, keys: RefCell::default() }
    }

    fn done(&self, keys: Keys) {
        self.keys.replace(Some(keys));
    }
}

impl<R: Runtime> Drop for UnderWay<'_, R> {
    fn drop(&mut self) {
        let mut all = self.shard.outbound.keys.0.borrow_mut();
        let Some(at) = all.iter().position(|one| one.is_of(self.credentials, self.costs)) else { return };
        let keys = self.keys.take();
        let waiting = std::mem::take(&mut all[at].waiting);
        match keys {
            Some(keys) => all[at].keys = Some(keys),
            None => drop(all.remove(at)),
        }
        drop(all);
        waiting.into_iter().for_each(Waker::wake);
    }
}
