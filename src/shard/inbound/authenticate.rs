//! Whether a client is who it says it is.
//!
//! Credentials that were verified of late cost a keyed hash and nothing else. Others are checked by the node's threads for that, in the order
//! that the client's past gives them (`policy::guesses`): those who have been this account before have threads of their own. A
//! network that guesses is slowed, then refused before anything is computed. No account is ever locked.

use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::guesses::{Attempt, ClientTrust, Ruling};
use crate::policy::verified::Digest;
use crate::runtime::{Priority, Runtime, Uncomputed, Urgency};
use crate::shard::Shard;
use crate::shard::count_guard::CountGuard;
use crate::shard::inbound::logins::{Check, Login, LoginOutcome, Logins, POSTPONED, lock};
use crate::smtp::server::Credentials;

/// Whether the credentials are an account's, when the client may hear so.
pub(super) async fn authenticate<R: Runtime>(
    shard: &Rc<Shard<R>>,
    credentials: &Credentials,
    client: IpAddr,
) -> Login {
    let Some(logins) = shard.live.get().accounts.clone() else { return Login::Wrong };
    let (name, now) = (&credentials.name, shard.runtime.now());
    let (hash, place) = logins.accounts.stored(name);
    let digest = logins.digest_key.digest(name, &credentials.password, hash);
    // Elsewhere the right password is as wrong as any other, and takes as long.
    let place = place.filter(|_| logins.lets(name, client));
    if place.is_some_and(|place| lock(&logins.verified).knows(place, &digest, now)) {
        shard.instruments.counters.auth_cached.add(1);
        lock(&logins.guesses).recognised(client, name, now);
        return Login::Right;
    }
    let key = (digest, client);
    let running = shard.inbound.checks.under_way.borrow().get(&key).cloned();
    // Not in the session's task: a check that has begun goes on when the session has waited too long or is gone, counts for its
    // client, and answers who comes again.
    let check = running.unwrap_or_else(|| {
        let check = Rc::<Check>::default();
        shard.inbound.checks.under_way.borrow_mut().insert(key, check.clone());
        let told = CheckGuard { shard: shard.clone(), key, check: check.clone() };
        let credentials = Credentials { name: name.clone(), password: credentials.password.clone() };
        shard.runtime.spawn(async move {
            let outcome = outcome_of(&told.shard, &logins, credentials, client, digest).await;
            told.check.outcome.set(Some(outcome));
        });
        check
    });
    let deadline = shard.timers.deadline();
    // A drain ends it, too.
    deadline.set_idle(now + limits::AUTH_WAIT_MAX);
    let outcome = check.outcome(&deadline).await;
    drop(deadline);
    rejected(shard, outcome.login);
    if delay(shard, outcome).await { outcome.login } else { Login::Cut }
}

/// Checks them, if the client may have them checked.
async fn outcome_of<R: Runtime>(
    shard: &Shard<R>,
    logins: &Arc<Logins>,
    credentials: Credentials,
    client: IpAddr,
    digest: Digest,
) -> LoginOutcome {
    let counters = &shard.instruments.counters;
    let (verdict, calm) = {
        let (mut guesses, now) = (lock(&logins.guesses), shard.runtime.now());
        (guesses.ask(client, &credentials.name, digest.fingerprint(), now), guesses.calm(now))
    };
    let (standing, rank, attempt) = match verdict {
        Ruling::Try { standing, rank, attempt } => (standing, rank, attempt),
        Ruling::Refuse(delay) => {
            counters.auth_refused.add(1);
            return LoginOutcome { login: Login::Unavailable, delay, yields: true };
        }
        Ruling::Again(delay) => return LoginOutcome { login: Login::Wrong, delay, yields: true },
        Ruling::Busy(delay) => {
            counters.auth_shed.add(1);
            // Many clients behind one address come at once, too.
            let login = if delay.is_zero() { Login::Postponed } else { Login::Unavailable };
            return LoginOutcome { login, delay: delay.max(limits::GUESS_DELAY), yields: true };
        }
    };
    let mut trying = Trying { logins, attempt: Some(attempt) };
    let urgency = urgency(standing);
    let (theirs, lets) = (logins.clone(), logins.lets(&credentials.name, client));
    let (name, password) = (credentials.name.clone(), credentials.password);
    let verify = shard.runtime.compute(Priority { urgency, rank, calm }, move |workspace| {
        let check = theirs.accounts.check(&name);
        check.verify(&password, workspace.blocks(check.blocks()).ok()?).map(|right| right & lets)
    });
    let (verified, now) = (verify.await, shard.runtime.now());
    counters.auth_checked.add(u64::from(verified.is_ok()));
    match (verified, trying.attempt.take()) {
        (Ok(Some(true)), Some(attempt)) => {
            lock(&logins.guesses).succeeded(attempt, now);
            if let (_, Some(place)) = logins.accounts.stored(&credentials.name) {
                lock(&logins.verified).remember(place, digest, now);
            }
            LoginOutcome { login: Login::Right, delay: Duration::ZERO, yields: false }
        }
        (Ok(Some(false)), Some(attempt)) => {
            let delay = lock(&logins.guesses).failed(attempt, now);
            LoginOutcome { login: Login::Wrong, delay, yields: delay > limits::GUESS_DELAY }
        }
        (Err(Uncomputed::Full), attempt) => {
            attempt.into_iter().for_each(|attempt| lock(&logins.guesses).turned_away(attempt, now));
            counters.auth_shed.add(1);
            // Who could come again at once would only come more often.
            let yields = rank >= limits::RANK_SPOKEN_AGAINST;
            LoginOutcome { login: Login::Postponed, delay: limits::GUESS_DELAY, yields }
        }
        (_, attempt) => {
            trying.attempt = attempt;
            counters.auth_faults.add(1);
            shard.say(
                Level::Error,
                format_args!("a password could not be checked: out of memory, or a bug in relevo"),
            );
            POSTPONED
        }
    }
}

/// How soon a client's password is checked.
fn urgency(standing: ClientTrust) -> Urgency {
    match standing {
        ClientTrust::Known => Urgency::Prompt,
        ClientTrust::New => Urgency::Ordinary,
        ClientTrust::Suspect => Urgency::Spare,
    }
}

/// The one place that every login that did not succeed passes, once a session.
pub(super) fn rejected<R: Runtime>(shard: &Shard<R>, login: Login) {
    if login == Login::Wrong {
        shard.instruments.counters.auth_failures.add(1);
    }
}

/// Waits, or until the node drains. False: too many do.
pub(super) async fn delay<R: Runtime>(shard: &Shard<R>, outcome: LoginOutcome) -> bool {
    let LoginOutcome { delay, yields, .. } = outcome;
    if delay.is_zero() || shard.draining.get() {
        return true;
    }
    let delayed = &shard.inbound.checks.delayed;
    let kept = if yields { limits::NEWCOMERS_DELAYED } else { 0 };
    if delayed.get() >= limits::GUESSERS_DELAYED_MAX - kept {
        return false;
    }
    let _counted = CountGuard::new(delayed);
    let deadline = shard.timers.deadline();
    deadline.set_idle(shard.runtime.now() + delay);
    poll_fn(|context| deadline.poll_passed(context)).await;
    true
}

/// Tells those who wait for a check, also when its task panics.
struct CheckGuard<R: Runtime> {
    shard: Rc<Shard<R>>,
    key: (Digest, IpAddr),
    check: Rc<Check>,
}

impl<R: Runtime> Drop for CheckGuard<R> {
    fn drop(&mut self) {
        self.shard.inbound.checks.under_way.borrow_mut().remove(&self.key);
        self.check.outcome.set(self.check.outcome.get().or(Some(POSTPONED)));
        self.check.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// An attempt whose end nobody has told yet counts as not checked.
struct Trying<'a> {
    logins: &'a Logins,
    attempt: Option<Attempt>,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            lock(&self.logins.guesses).withdrawn(attempt);
        }
    }
}

#[cfg(test)]
mod tests;
