//! Logins by SCRAM: what a client is told, and whether it has proven that it knows the password.
//!
//! Nothing of that takes a thread of its own: a proof costs three hashes. What fails costs the guesser what a wrong password does, and whether the account
//! is there is told neither by what is said nor by the time that it takes.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::limits;
use crate::policy::guesses::Ruling;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::authenticate::{delay, rejected};
use crate::shard::inbound::logins::{Login, LoginOutcome, Logins, POSTPONED, lock};
use crate::shard::wire::Wire;
use crate::smtp::server::{Proof, Session};

/// Tells a client what its key is derived with. False: there is nobody to be any more.
pub(super) fn challenge<R: Runtime>(
    shard: &Shard<R>,
    wire: &Wire<R>,
    session: &mut Session,
    out: &mut Vec<u8>,
) -> bool {
    let (live, name) = (shard.live.get(), session.challenged());
    let Some((logins, name)) = live.accounts.as_ref().zip(name) else { return false };
    let (verifier, _) = logins.accounts.verifier(name, &logins.salts);
    let random = [(); 3].map(|()| shard.runtime.random().to_be_bytes());
    let nonce = STANDARD_NO_PAD.encode(random.as_flattened());
    session.challenge(verifier.costs, (&nonce, wire.exporter().as_ref()), out);
    true
}

/// Whether what a client proves is right, when it may hear so; then also our own proof.
pub(super) async fn prove<R: Runtime>(
    shard: &Rc<Shard<R>>,
    proof: &Proof,
    client: IpAddr,
) -> (Login, [u8; 32]) {
    let Some(logins) = shard.live.get().accounts.clone() else { return (Login::Wrong, [0; 32]) };
    let (outcome, signature) = outcome_of(shard, &logins, proof, client);
    rejected(shard, outcome.login);
    let login = if delay(shard, outcome).await { outcome.login } else { Login::Cut };
    (login, signature)
}

fn outcome_of<R: Runtime>(
    shard: &Shard<R>,
    logins: &Logins,
    proof: &Proof,
    client: IpAddr,
) -> (LoginOutcome, [u8; 32]) {
    let (name, now) = (&proof.name, shard.runtime.now());
    let counters = &shard.instruments.counters;
    let (verifier, place) = logins.accounts.verifier(name, &logins.salts);
    let of = |login, delay| (LoginOutcome { login, delay, yields: delay > limits::GUESS_DELAY }, [0; 32]);
    if verifier.costs != proof.costs {
        // The accounts were read anew meanwhile.
        return (POSTPONED, [0; 32]);
    }
    let mut key = verifier.client_key(&proof.signed, &proof.proof).to_vec();
    let is_key = key.first_chunk().is_some_and(|key| verifier.is_of(key));
    let right = is_key & place.is_some() & !proof.foreign & logins.lets(name, client);
    let signature = verifier.signature(&proof.signed);
    // The same wrong password gives the same key each time.
    key.push(proof.foreign.into());
    let digest = logins.digest_key.digest(name, &key, &verifier.text());
    let place = place.filter(|_| right);
    if place.is_some_and(|place| lock(&logins.proven).knows(place, &digest, now)) {
        counters.auth_cached.add(1);
        lock(&logins.guesses).recognised(client, name, now);
        return (LoginOutcome { login: Login::Right, delay: Duration::ZERO, yields: false }, signature);
    }
    let mut guesses = lock(&logins.guesses);
    match guesses.ask(client, name, digest.fingerprint(), now) {
        Ruling::Try { attempt, .. } => {
            counters.auth_checked.add(1);
            let Some(place) = place else { return of(Login::Wrong, guesses.failed(attempt, now)) };
            guesses.succeeded(attempt, now);
            lock(&logins.proven).remember(place, digest, now);
            (LoginOutcome { login: Login::Right, delay: Duration::ZERO, yields: false }, signature)
        }
        Ruling::Refuse(delay) => {
            counters.auth_refused.add(1);
            of(Login::Unavailable, delay)
        }
        Ruling::Again(delay) => of(Login::Wrong, delay),
        Ruling::Busy(delay) => {
            counters.auth_shed.add(1);
            let login = if delay.is_zero() { Login::Postponed } else { Login::Unavailable };
            of(login, delay.max(limits::GUESS_DELAY))
        }
    }
}

#[cfg(test)]
mod tests;
