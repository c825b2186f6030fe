//! Counts that hold for all nodes of a cluster: where whoever gives out blocks finds what this node may give out, and whoever asks the other nodes finds
//! what to ask. Both are control's: no shard comes here.

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::policy::cluster::count_script::{CountKey, Marks};
use crate::policy::cluster::counts::{Count, CountLedger, Credits, Room};
use crate::time::Instant;

/// What this node was granted, and how whoever asks is woken.
pub struct CountDesk {
    ledger: Mutex<CountLedger>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for CountDesk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CountDesk").finish_non_exhaustive()
    }
}

impl CountDesk {
    /// That of a node that has such a share while nobody can be asked.
    pub fn new(share: f64) -> CountDesk {
        CountDesk { ledger: Mutex::new(CountLedger::new(share)), wake: OnceLock::new() }
    }

    /// Somebody asks the other nodes, and is to be woken like this when something is to be asked at once.
    pub fn serve(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// What is known.
    pub fn ledger(&self) -> MutexGuard<'_, CountLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for who gives out blocks at this time.
    pub fn at(&self, now: Instant) -> CreditsAt<'_> {
        CreditsAt { desk: self, now }
    }
}

/// What the node may give out at a time.
#[derive(Clone, Copy, Debug)]
pub struct CreditsAt<'a> {
    desk: &'a CountDesk,
    now: Instant,
}

impl CreditsAt<'_> {
    fn ask(&self, asks: bool) {
        if asks {
            self.desk.wake.get().inspect(|wake| wake());
        }
    }
}

fn key(name: &str, number: u32) -> CountKey {
    (name.into(), number)
}

impl Credits for CreditsAt<'_> {
    fn room(&mut self, name: &str, number: u32, count: Count, wanted: u32) -> Room {
        let (room, asks) = self.desk.ledger().room(&key(name, number), count, wanted, self.now);
        self.ask(asks);
        room
    }

    fn gave(&mut self, name: &str, number: u32, used: u32) {
        self.desk.ledger().gave(&key(name, number), used);
    }

    fn note(&mut self, name: &str, number: u32, count: Count) {
        self.desk.ledger().note(&key(name, number), count, self.now);
    }

    fn marks(&mut self, name: &str, number: u32, count: Count, own: Marks) -> Option<(Marks, bool)> {
        let (marks, asks) = self.desk.ledger().marks(&key(name, number), count, own, self.now);
        self.ask(asks);
        marks
    }

    fn others(&self, name: &str, number: u32) -> Option<u32> {
        self.desk.ledger().others(&key(name, number))
    }
}
