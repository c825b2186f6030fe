//! Warm-up: shards that ask for a block of a day's volume get it, once it is in `control.db`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::WarmupConfig;
use crate::control::say::say;
use crate::control::store::Store;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::cluster::counts::{Credits, NoOthers};
use crate::runtime::process;
use crate::shaping::warmup::{Complaint, Day, WarmDay, WarmupStage};
use crate::shard::mesh::Mesh;
use crate::shard::warm::ledger::{Keeps, Ledger, Slowed};
use crate::time::{Instant, UnixMillis};

/// Keeps the counts.
pub(super) struct Warmups {
    mesh: Arc<Mesh>,
    ledger: Ledger,
    /// Since when nothing could be kept.
    failed: Option<Duration>,
    next: Duration,
    /// The day that all of it was last told of.
    today: u32,
}

/// The file, and what was wrong with it last.
struct Disk<'a>(&'a mut Store, Option<String>);

impl Keeps for Disk<'_> {
    fn days(&mut self, names: (&str, &str)) -> Option<Vec<Day>> {
        self.0.warm_days(names).map_err(|error| self.1 = Some(error.to_string())).ok()
    }

    fn keep(&mut self, days: &[WarmDay]) -> bool {
        self.0.save_warm_days(days).map_err(|error| self.1 = Some(error.to_string())).is_ok()
    }
}

impl Warmups {
    /// What is kept of these plans is shown before mail asks for it.
    pub(super) fn resume(mesh: &Arc<Mesh>, store: &mut Store, plans: &[WarmupConfig]) -> Warmups {
        let plans: HashMap<&str, Arc<WarmupConfig>> =
            plans.iter().map(|plan| (&*plan.source, Arc::new(plan.clone()))).collect();
        let names = if plans.is_empty() { Vec::new() } else { store.warm_names().unwrap_or_default() };
        for (source, provider) in names {
            let Some(plan) = plans.get(&*source) else { continue };
            mesh.warm().get((&source, &provider), plan);
        }
        Warmups {
            mesh: mesh.clone(),
            ledger: Ledger::default(),
            failed: None,
            next: Duration::ZERO,
            today: 0,
        }
    }

    /// Answers who asks, and keeps what happened.
    pub(super) fn serve(&mut self, store: &mut Store, now: Duration) {
        if self.failed.is_some_and(|since| now < since.saturating_add(limits::STORE_AGAIN)) {
            return;
        }
        let (today, mut disk) = (process::wall().day(), Disk(store, None));
        if std::mem::replace(&mut self.today, today) != today {
            self.begin_day(&mut disk);
        }
        let notes = now >= self.next;
        if notes {
            self.next = now.saturating_add(limits::WARMUP_NOTED);
        }
        let (wall, here) = (process::wall(), Instant(1) + process::since_boot());
        let mesh = self.mesh.clone();
        let works = match mesh.cluster.desk() {
            Some(desk) => self.count((wall, notes), &mut disk, &mut desk.counts.at(here)),
            None => self.count((wall, notes), &mut disk, &mut NoOthers),
        };
        let problem = disk.1.take().filter(|_| !works);
        let at = store.path().display();
        match problem {
            Some(problem) if self.failed.replace(now).is_none() => {
                let words = "sources in warm-up get no mail beyond what was reserved for them";
                say(Level::Error, format_args!("{at} cannot be used: {problem}; {words}"));
            }
            Some(_) => {}
            None if self.failed.take().is_some() => {
                say(Level::Info, format_args!("{at} can be used again: sources in warm-up go on"));
            }
            None => {}
        }
    }

    fn count(
        &mut self,
        (wall, notes): (UnixMillis, bool),
        disk: &mut Disk<'_>,
        credits: &mut impl Credits,
    ) -> bool {
        let works = self.ledger.serve_within(self.mesh.warm(), (wall, notes), disk, credits);
        if notes {
            self.ledger.note_within(self.mesh.warm(), wall, disk, credits).iter().for_each(tell);
        }
        works
    }

    /// What is shown is of today.
    fn begin_day(&mut self, disk: &mut Disk<'_>) {
        // Seldom there are any: what cannot be forgotten now can be tomorrow.
        let _ = disk.0.forget_warm_days();
        self.mesh.warm().all().iter().for_each(|count| self.ledger.show(count, self.today, disk));
    }

    /// The node stops: what was reserved and not used goes back.
    pub(super) fn finish(&mut self, store: &mut Store) {
        self.ledger.finish(self.mesh.warm(), process::wall().day(), &mut Disk(store, None));
    }
}

fn tell((count, complaint, tomorrow): &Slowed) {
    let (source, provider) = (&count.source, &count.provider);
    let said = if *complaint == Complaint::Blocked { "blocks it" } else { "throttles it" };
    let next = match tomorrow {
        WarmupStage::Day(day, volume) => format!("tomorrow is day {day} of its plan, {volume} messages"),
        WarmupStage::Before | WarmupStage::Warm => "its plan ends all the same".to_owned(),
    };
    say(Level::Warning, format_args!("source {source} is in warm-up and {provider} {said}: {next}"));
}
