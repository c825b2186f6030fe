//! Whether a client is who it says it is.
//!
//! Credentials that were verified of late cost a keyed hash and nothing else. Others are checked by the node's threads for that, in the order
//! that the client's past gives them (`policy::guesses`): those who have been this account before have threads of their own. A
//! network that guesses is slowed, then refused before anything is computed. No account is ever locked.
//!
//! What is remembered is the node's, behind locks: they are held for a look into a table, by shards alone, and only at AUTH.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::accounts::Accounts;
use crate::policy::guesses::{Attempt, Guesses, Standing, Verdict};
use crate::policy::verified::{Mark, Marker, Verified};
use crate::runtime::{Priority, Runtime, Uncomputed, Urgency};
use crate::shard::Shard;
use crate::shard::timers::Deadline;
use crate::smtp::server::Credentials;

/// The accounts of the node, and what is remembered of those who logged in or tried to. It lasts as long as the process: a changed file is
/// read by a restart, and clients are strangers then.
pub struct Logins {
    accounts: Accounts,
    marker: Marker,
    verified: Mutex<Verified>,
    guesses: Mutex<Guesses>,
}

/// What became of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// The credentials are an account's.
    Right,
    /// They are not.
    Wrong,
    /// We do not tell now: their network guessed too often.
    Unavailable,
    /// Nor now: too many want to know, or it is our fault.
    Postponed,
    /// As before, or wrong, and too many sessions wait for their answer already: this one ends.
    Cut,
}

/// Passwords that are being checked for sessions of this shard.
#[derive(Default)]
pub struct Checks {
    under_way: RefCell<HashMap<(Mark, IpAddr), Rc<Check>>>,
    /// Sessions that wait for their answer though it is known.
    delayed: Cell<usize>,
}

/// One of them. All who come with the same credentials meanwhile hear the same: a client that opens many connections at once costs one hash.
#[derive(Default)]
struct Check {
    outcome: Cell<Option<Outcome>>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Clone, Copy, Debug)]
struct Outcome {
    login: Login,
    /// How long the client waits until it hears of it.
    delay: Duration,
}

/// For now nobody can tell, and that is ours.
const POSTPONED: Outcome = Outcome { login: Login::Postponed, delay: Duration::ZERO };

impl Logins {
    /// With nothing remembered. `keys`: bytes nobody knows, drawn once a process.
    pub fn new(accounts: Accounts, keys: &[[u8; 32]; 2]) -> Logins {
        Logins {
            accounts,
            marker: Marker::new(&keys[0]),
            verified: Mutex::default(),
            guesses: Mutex::new(Guesses::new(&keys[1])),
        }
    }
}

impl<R: Runtime> Shard<R> {
    /// Whether the credentials are an account's, when the client may hear so.
    pub async fn authenticate(self: &Rc<Self>, credentials: &Credentials, client: IpAddr) -> Login {
        let Some(logins) = self.accounts.clone() else { return Login::Wrong };
        let (name, now) = (&credentials.name, self.runtime.now());
        let (hash, place) = logins.accounts.stored(name);
        let mark = logins.marker.mark(name, &credentials.password, hash);
        if place.is_some_and(|place| lock(&logins.verified).knows(place, &mark, now)) {
            self.instruments.counters.auth_cached.add(1);
            lock(&logins.guesses).recognised(client, name, now);
            return Login::Right;
        }
        let key = (mark, client);
        let running = self.checks.under_way.borrow().get(&key).cloned();
        // Not in the session's task: a check that has begun goes on when the session has waited too long or is gone, counts for its
        // client, and answers who comes again.
        let check = running.unwrap_or_else(|| {
            let check = Rc::<Check>::default();
            self.checks.under_way.borrow_mut().insert(key, check.clone());
            let told = Told { shard: self.clone(), key, check: check.clone() };
            let credentials = Credentials { name: name.clone(), password: credentials.password.clone() };
            self.runtime.spawn(async move {
                let outcome = told.shard.check(&logins, credentials, client, mark).await;
                told.check.outcome.set(Some(outcome));
            });
            check
        });
        let deadline = self.timers.deadline();
        // A drain ends it, too.
        deadline.set_idle(now + limits::AUTH_WAIT_MAX);
        let outcome = check.outcome(&deadline).await;
        drop(deadline);
        self.rejected(outcome.login);
        if self.delay(outcome.delay).await { outcome.login } else { Login::Cut }
    }

    /// Checks them, if the client may have them checked.
    async fn check(
        &self,
        logins: &Arc<Logins>,
        credentials: Credentials,
        client: IpAddr,
        mark: Mark,
    ) -> Outcome {
        let counters = &self.instruments.counters;
        let (verdict, calm) = {
            let (mut guesses, now) = (lock(&logins.guesses), self.runtime.now());
            (guesses.ask(client, &credentials.name, mark.fingerprint(), now), guesses.calm(now))
        };
        let (standing, rank, attempt) = match verdict {
            Verdict::Try { standing, rank, attempt } => (standing, rank, attempt),
            Verdict::Refuse(delay) => {
                counters.auth_refused.add(1);
                return Outcome { login: Login::Unavailable, delay };
            }
            Verdict::Again(delay) => return Outcome { login: Login::Wrong, delay },
            Verdict::Busy(delay) => {
                counters.auth_shed.add(1);
                // Many clients behind one address come at once, too.
                let login = if delay.is_zero() { Login::Postponed } else { Login::Unavailable };
                return Outcome { login, delay: delay.max(limits::GUESS_DELAY) };
            }
        };
        let mut trying = Trying { logins, attempt: Some(attempt) };
        let urgency = match standing {
            Standing::Known => Urgency::Prompt,
            Standing::New => Urgency::Ordinary,
            Standing::Suspect => Urgency::Spare,
        };
        let theirs = logins.clone();
        let (name, password) = (credentials.name.clone(), credentials.password);
        let verify = self.runtime.compute(Priority { urgency, rank, calm }, move |workspace| {
            let check = theirs.accounts.check(&name);
            check.verify(&password, workspace.blocks(check.blocks()).ok()?)
        });
        let (verified, now) = (verify.await, self.runtime.now());
        counters.auth_checked.add(u64::from(verified.is_ok()));
        match (verified, trying.attempt.take()) {
            (Ok(Some(true)), Some(attempt)) => {
                lock(&logins.guesses).succeeded(attempt, now);
                if let (_, Some(place)) = logins.accounts.stored(&credentials.name) {
                    lock(&logins.verified).remember(place, mark, now);
                }
                Outcome { login: Login::Right, delay: Duration::ZERO }
            }
            (Ok(Some(false)), Some(attempt)) => {
                let delay = lock(&logins.guesses).failed(attempt, now);
                Outcome { login: Login::Wrong, delay }
            }
            (Err(Uncomputed::Full), attempt) => {
                trying.attempt = attempt;
                counters.auth_shed.add(1);
                // Who could come again at once would only come more often.
                Outcome { login: Login::Postponed, delay: limits::GUESS_DELAY }
            }
            (_, attempt) => {
                trying.attempt = attempt;
                counters.auth_faults.add(1);
                self.say(
                    Level::Error,
                    format_args!("a password could not be checked: no memory for it, or a fault of ours"),
                );
                POSTPONED
            }
        }
    }

    /// The one place that every login that did not succeed passes, once a session.
    fn rejected(&self, login: Login) {
        if login == Login::Wrong {
            self.instruments.counters.auth_failures.add(1);
        }
    }

    /// Waits, or until the node drains. False: too many do.
    async fn delay(&self, delay: Duration) -> bool {
        if delay.is_zero() || self.draining.get() {
            return true;
        }
        let delayed = &self.checks.delayed;
        if delayed.get() >= limits::GUESSERS_DELAYED_MAX {
            return false;
        }
        delayed.set(delayed.get() + 1);
        let _counted = Counted(delayed);
        let deadline = self.timers.deadline();
        deadline.set_idle(self.runtime.now() + delay);
        poll_fn(|context| deadline.poll_passed(context)).await;
        true
    }
}

impl Check {
    /// What became of it, or that this is not known in time.
    async fn outcome(&self, deadline: &Deadline) -> Outcome {
        poll_fn(|context| match self.outcome.get() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                let mut waiting = self.waiting.borrow_mut();
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
                deadline.poll_passed(context).map(|()| POSTPONED)
            }
        })
        .await
    }
}

/// Tells those who wait for a check, also when its task panics.
struct Told<R: Runtime> {
    shard: Rc<Shard<R>>,
    key: (Mark, IpAddr),
    check: Rc<Check>,
}

impl<R: Runtime> Drop for Told<R> {
    fn drop(&mut self) {
        self.shard.checks.under_way.borrow_mut().remove(&self.key);
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

/// Counts down.
struct Counted<'a>(&'a Cell<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
