//! How far an upgrade is: another process takes over from this one. The main thread does it; who asks is told here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::api::shape::upgrade::UpgradeStatus;

/// What is known of it.
#[derive(Debug, Default)]
pub struct Upgrade(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Who asked, and was not heard yet.
    asked: Option<String>,
    under_way: bool,
    status: UpgradeStatus,
}

impl Upgrade {
    /// Somebody wants one. False: one is under way.
    pub(super) fn ask(&self, by: &str) -> bool {
        let mut known = self.lock();
        if known.under_way || known.asked.is_some() {
            return false;
        }
        known.status.stage = "asked".to_owned();
        known.status.problem = None;
        known.asked = Some(by.to_owned());
        true
    }

    /// It begins. By whom.
    pub fn begin(&self) -> String {
        let mut known = self.lock();
        known.under_way = true;
        known.status = UpgradeStatus { stage: "checking".to_owned(), ..UpgradeStatus::default() };
        known.asked.take().unwrap_or_else(|| "SIGUSR2".to_owned())
    }

    /// Whether one is under way.
    pub fn is_under_way(&self) -> bool {
        self.lock().under_way
    }

    /// How far it is: a word.
    pub fn stage(&self, stage: &str) {
        stage.clone_into(&mut self.lock().status.stage);
    }

    /// Which process takes over, and its version.
    pub fn next(&self, process: u32, version: &str) {
        let status = &mut self.lock().status;
        status.next_process = Some(process);
        status.next_version = Some(version.to_owned());
    }

    /// Nothing came of it: why. This process goes on.
    pub fn failed(&self, problem: &str) {
        let mut known = self.lock();
        known.under_way = false;
        known.status.stage = "failed".to_owned();
        known.status.problem = Some(problem.to_owned());
    }

    /// This process took over, and clients waited so long.
    pub fn took_over(&self, waited: Option<Duration>) {
        let status = &mut self.lock().status;
        status.stage = "done".to_owned();
        status.waited_seconds = waited.map(|waited| waited.as_secs_f64());
    }

    /// All of it.
    pub(super) fn status(&self) -> UpgradeStatus {
        let version = env!("RELEVO_VERSION").to_owned();
        UpgradeStatus { process: std::process::id(), version, ..self.lock().status.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_who_asked_is_known() {
        let upgrade = Upgrade::default();
        assert_eq!(upgrade.status().stage, "none");
        assert!(upgrade.ask("token ops") && !upgrade.ask("user 0, process 7"), "one at a time");
        assert_eq!((upgrade.begin(), upgrade.ask("token ops")), ("token ops".to_owned(), false));
        upgrade.next(7, "relevo 9");
        upgrade.failed("it is no relevo");
        let status = upgrade.status();
        assert_eq!((&*status.stage, status.problem.as_deref()), ("failed", Some("it is no relevo")));
        assert_eq!((status.next_process, status.process), (Some(7), std::process::id()));
        assert_eq!(upgrade.begin(), "SIGUSR2");
        assert_eq!(upgrade.status().problem, None);
    }
}
