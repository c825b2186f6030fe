//! Quotas: shards that ask for a block of one get it, once it is in `control.db`.

use std::sync::Arc;
use std::time::Duration;

use crate::config::quota::Period;
use crate::control::admin::Teller;
use crate::control::say::say;
use crate::control::store::Store;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Admin, QuotaUse};
use crate::policy::cluster::counts::NoOthers;
use crate::policy::quota::{Owner, Spent};
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::shard::quota::QuotaTable;
use crate::shard::quota::ledger::{Keeps, Ledger, QuotaRows, Told};
use crate::time::Instant;

/// Keeps the counts.
pub(super) struct QuotaKeeper {
    mesh: Arc<Mesh>,
    ledger: Ledger,
    /// Since when nothing could be kept.
    failed: Option<Duration>,
    /// Those that were shown last.
    shown: Arc<QuotaTable>,
    /// The day on which what is old was forgotten.
    today: u32,
    /// When it is seen whether other nodes gave back what there was no more of.
    look: Duration,
}

/// The file, and what was wrong with it last.
struct Disk<'a>(&'a mut Store, Option<String>);

impl Keeps for Disk<'_> {
    fn rows(&mut self, owner: Owner, name: &str) -> Option<Vec<Spent>> {
        self.0.quota(owner, name).map_err(|error| self.1 = Some(error.to_string())).ok()
    }

    fn keep(&mut self, all: &[QuotaRows]) -> bool {
        self.0.save_quotas(all).map_err(|error| self.1 = Some(error.to_string())).is_ok()
    }
}

impl QuotaKeeper {
    /// Is to be woken when somebody asks.
    pub(super) fn new(mesh: &Arc<Mesh>) -> QuotaKeeper {
        let (ledger, shown) = Default::default();
        QuotaKeeper { mesh: mesh.clone(), ledger, failed: None, shown, today: 0, look: Duration::ZERO }
    }

    /// Answers who asks, and tells what is to be told.
    pub(super) fn serve(&mut self, store: &mut Store, teller: Option<&Teller>, now: Duration) {
        if self.failed.is_some_and(|since| now < since.saturating_add(limits::STORE_AGAIN)) {
            return;
        }
        let (wall, mut disk) = (process::wall(), Disk(store, None));
        let in_force = self.mesh.quotas().in_force();
        if !Arc::ptr_eq(&in_force, &self.shown) {
            match self.mesh.cluster.desk() {
                Some(desk) => self.ledger.show(&in_force, wall, &mut disk, &mut desk.counts.at(here())),
                None => self.ledger.show(&in_force, wall, &mut disk, &mut NoOthers),
            }
            self.shown = in_force;
        }
        if self.mesh.quotas().is_empty() && self.failed.is_none() && !self.ledger.is_short() {
            return;
        }
        if std::mem::replace(&mut self.today, wall.day()) != wall.day() {
            // Seldom there are any: what cannot be forgotten now can be tomorrow.
            let _ = disk.0.forget_quotas();
        }
        let (works, told) = match self.mesh.cluster.desk() {
            Some(desk) => {
                let looks = now >= self.look;
                if looks {
                    self.look = now.saturating_add(limits::COUNT_LOOK);
                }
                let credits = &mut desk.counts.at(here());
                self.ledger.serve_within(self.mesh.quotas(), (wall, looks), &mut disk, credits)
            }
            None => self.ledger.serve(self.mesh.quotas(), wall, &mut disk),
        };
        let problem = disk.1.take().filter(|_| !works);
        let at = store.path().display();
        match problem {
            Some(problem) if self.failed.replace(now).is_none() => {
                let words =
                    "mail of those who have a quota is put off (451) when what was reserved for them is used";
                say(Level::Error, format_args!("{at} cannot be used: {problem}; {words}"));
            }
            Some(_) => {}
            None if self.failed.take().is_some() => {
                say(Level::Info, format_args!("{at} can be used again: quotas are counted again"));
            }
            None => {}
        }
        told.iter().for_each(|one| tell(one, teller));
    }

    /// The node stops: what was reserved and not used goes back.
    pub(super) fn finish(&mut self, store: &mut Store) {
        self.ledger.finish(self.mesh.quotas(), process::wall(), &mut Disk(store, None));
    }
}

/// The clock of those who ask other nodes.
fn here() -> Instant {
    Instant(1) + process::since_boot()
}

fn tell((count, warning): &Told, teller: Option<&Teller>) {
    let (of, words) = (format!("{} {}", count.owner.word(), count.name), warning.words());
    // Those of short periods come again and again.
    if warning.spent.period >= Period::Day {
        say(Level::Warning, format_args!("quota of {of}: {words}"));
    }
    if let Some(teller) = teller {
        teller.tell(Admin::Quota(QuotaUse {
            filter: &of,
            reason: &words,
            percent: warning.spent.told.into(),
            used: warning.spent.used.into(),
            most: warning.most.into(),
            until: warning.until(),
        }));
    }
}
