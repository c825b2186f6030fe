//! What is known of those who log in: the accounts of the node, and the passwords that this shard has checked just now.
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

use crate::policy::accounts::{Accounts, SaltKey};
use crate::policy::guesses::Guesses;
use crate::policy::guesses::kept::KnownPairs;
use crate::policy::verified::{Digest, DigestKey, Verified};
use crate::shard::timers::Deadline;
use crate::time::Instant;

/// The accounts of the node, and what is remembered of those who logged in or tried to. What was verified goes when the accounts are read
/// anew; who guesses is known as long as the process lives.
pub struct Logins {
    pub(super) accounts: Accounts,
    pub(super) digest_key: DigestKey,
    pub(super) verified: Mutex<Verified>,
    /// The same of keys that were proven by SCRAM.
    pub(super) proven: Mutex<Verified>,
    pub(super) salts: SaltKey,
    pub(super) guesses: Arc<Mutex<Guesses>>,
}

impl Logins {
    /// With nothing remembered. `keys`: bytes nobody knows, drawn once a process.
    pub fn new(accounts: Accounts, keys: &[[u8; 32]; 2]) -> Logins {
        Logins {
            accounts,
            digest_key: DigestKey::new(&keys[0]),
            verified: Mutex::default(),
            proven: Mutex::default(),
            salts: SaltKey::new(&keys[0]),
            guesses: Arc::new(Mutex::new(Guesses::new(&keys[1]))),
        }
    }

    /// Other accounts, with nothing remembered but who guesses. `key`: bytes nobody knows, drawn for them alone.
    pub fn again(&self, accounts: Accounts, key: &[u8; 32]) -> Logins {
        let (digest_key, guesses) = (DigestKey::new(key), self.guesses.clone());
        let (verified, proven) = (Mutex::default(), Mutex::default());
        Logins { accounts, digest_key, verified, proven, salts: self.salts.clone(), guesses }
    }

    /// What names that nobody has are salted with, in place of what dies with the process.
    pub fn salt_by(&mut self, salts: SaltKey) {
        self.salts = salts;
    }

    /// Whether who has logged in is known from before, or is to be kept.
    pub fn is_kept(&self) -> bool {
        lock(&self.guesses).is_kept()
    }

    /// What was kept of who has logged in. Who is known already is forgotten.
    pub fn remember(&mut self, known: &KnownPairs) {
        self.guesses = Arc::new(Mutex::new(Guesses::with(known)));
    }

    /// All who have logged in, if somebody has who is not kept yet.
    pub fn newly_known(&self) -> Option<KnownPairs> {
        if !lock(&self.guesses).take_changed() {
            return None;
        }
        let parts = (0..).map_while(|part| lock(&self.guesses).pairs_of(part));
        let all = parts.flatten().collect();
        Some(lock(&self.guesses).known_pairs(all))
    }

    /// They could not be kept.
    pub fn not_kept(&self) {
        lock(&self.guesses).not_kept();
    }

    /// Who has one.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Whether nobody guesses passwords.
    pub fn is_calm(&self, now: Instant) -> bool {
        lock(&self.guesses).calm(now)
    }

    /// Whether who logged in as this account may be it still, as the accounts were read anew: nobody changed how it logs in, nor from where it may.
    pub(super) fn keeps(&self, before: &Logins, name: &str, client: IpAddr) -> bool {
        self.accounts.is_as_in(&before.accounts, name) && self.lets(name, client)
    }

    /// Whether an account may log in from there.
    pub(super) fn lets(&self, name: &str, client: IpAddr) -> bool {
        self.accounts.own(name).is_none_or(|own| own.may_come_from(client))
    }
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
    /// They are, and the account has as many connections as it may: this one ends.
    Full,
    /// As before, or wrong, and too many sessions wait for their answer already: this one ends.
    Cut,
}

/// Passwords that are being checked for sessions of this shard.
#[derive(Default)]
pub struct Checks {
    pub(super) under_way: RefCell<HashMap<(Digest, IpAddr), Rc<Check>>>,
    /// Sessions that wait for their answer though it is known.
    pub(super) delayed: Cell<usize>,
}

/// One of them. All who come with the same credentials meanwhile hear the same: a client that opens many connections at once costs one hash.
#[derive(Default)]
pub(super) struct Check {
    pub(super) outcome: Cell<Option<LoginOutcome>>,
    pub(super) waiting: RefCell<Vec<Waker>>,
}

impl Check {
    /// What became of it, or that this is not known in time.
    pub(super) async fn outcome(&self, deadline: &Deadline) -> LoginOutcome {
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

#[derive(Clone, Copy, Debug)]
pub(super) struct LoginOutcome {
    pub(super) login: Login,
    /// How long the client waits until it hears of it.
    pub(super) delay: Duration,
    /// Whether that much is known against its network that others go before it where too many wait.
    pub(super) yields: bool,
}

/// For now nobody can tell, and that is ours.
pub(super) const POSTPONED: LoginOutcome =
    LoginOutcome { login: Login::Postponed, delay: Duration::ZERO, yields: false };

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
