//! What load balancers and supervisors are told: whether the process lives, and whether it takes mail.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use axum::http::StatusCode;

use crate::control::notices::Notices;
use crate::control::upgrade::Upgrade;
use crate::control::watch::{REFUSED, joined};
use crate::limits;

/// Why shards take no mail at this moment, in words; empty: all do.
type ShutNow = Box<dyn Fn() -> String + Send + Sync>;

/// The state of the node. `/healthz`: the process lives; `/readyz`: it takes mail.
#[derive(Default)]
pub struct Health {
    shut_now: OnceLock<ShutNow>,
    stage: AtomicU8,
    told: Mutex<HealthReport>,
    /// The second in which control looked last, of its own clock.
    looked: AtomicU64,
    /// What is wrong besides.
    pub(crate) notices: Notices,
    upgrade: Upgrade,
}

#[derive(Debug, Default)]
struct HealthReport {
    /// Shards that do not move, in words; empty: all do.
    standstill: String,
    /// Why mail is refused, as far as more than a moment is needed to see it.
    shut: String,
    /// What is wrong with the journal of events.
    journal: String,
}

const OPEN: u8 = 1;
const DRAINING: u8 = 2;

impl Health {
    /// All listeners are open.
    pub fn open(&self) {
        self.stage.store(OPEN, Ordering::SeqCst);
    }

    /// The node stops.
    pub fn drain(&self) {
        self.stage.store(DRAINING, Ordering::SeqCst);
    }

    /// How far another process is that takes over.
    pub fn upgrade(&self) -> &Upgrade {
        &self.upgrade
    }

    /// Whether mail is taken, as far as the node's life goes.
    pub fn is_open(&self) -> bool {
        self.stage.load(Ordering::SeqCst) == OPEN
    }

    /// Whether the spool is still being read: until then no shard knows what it has.
    pub(super) fn is_starting(&self) -> bool {
        ![OPEN, DRAINING].contains(&self.stage.load(Ordering::SeqCst))
    }

    /// What control saw in this second of its clock.
    pub(super) fn look(&self, second: u64, standstill: String, (shut, journal): (String, String)) {
        *self.told() = HealthReport { standstill, shut, journal };
        self.looked.store(second, Ordering::SeqCst);
    }

    /// Whoever asks whether mail is taken hears of these reasons at once.
    pub(super) fn ask_for_shut(&self, shut_now: ShutNow) {
        let _ = self.shut_now.set(shut_now);
    }

    fn told(&self) -> MutexGuard<'_, HealthReport> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> Option<&'static str> {
        match self.stage.load(Ordering::SeqCst) {
            OPEN => None,
            DRAINING => Some("draining"),
            _ => Some("starting"),
        }
    }

    /// `/healthz`, asked in this second of control's clock.
    pub(super) fn lives(&self, second: u64) -> (StatusCode, String) {
        let looked = self.looked.load(Ordering::SeqCst);
        if let Some(stage) = self.stage() {
            no(stage)
        } else if second.saturating_sub(looked) > limits::ROUNDS_SILENT {
            no(&format!("control has not looked after the shards for {} s", second - looked))
        } else if !self.told().standstill.is_empty() {
            no(&self.told().standstill)
        } else {
            yes()
        }
    }

    /// `/readyz`, asked in this second of control's clock.
    pub(super) fn takes_mail(&self, second: u64) -> (StatusCode, String) {
        let lives = self.lives(second);
        if lives.0 != StatusCode::OK {
            return lives;
        }
        let now = self.shut_now.get().map(|shut_now| shut_now()).unwrap_or_default();
        let told = self.told();
        let shut = joined([&*now, &told.shut]);
        let shut = if shut.is_empty() { shut } else { format!("{REFUSED}: {shut}") };
        match joined([&*told.journal, &shut]) {
            words if words.is_empty() => yes(),
            words => no(&words),
        }
    }
}

fn yes() -> (StatusCode, String) {
    (StatusCode::OK, "ok\n".to_owned())
}

fn no(words: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{words}\n"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn each_reason_is_told_by_who_is_asked_for_it() {
        let health = Health::default();
        let lives = |second| health.lives(second).1;
        let ready = |second| health.takes_mail(second).1;
        assert_eq!((lives(0), ready(0)), ("starting\n".into(), "starting\n".into()));
        assert!(health.is_starting());
        health.open();
        assert!(!health.is_starting());
        assert_eq!((lives(0), ready(0)), ("ok\n".into(), "ok\n".into()));
        let none = || (String::new(), String::new());
        health.look(3, String::new(), ("no room".into(), "it fails".into()));
        assert_eq!((lives(3), ready(3)), ("ok\n".into(), format!("it fails; {REFUSED}: no room\n")));
        health.look(4, "shard 3 has not moved for 12 s".into(), none());
        assert_eq!(health.takes_mail(4), (StatusCode::SERVICE_UNAVAILABLE, lives(4)));
        health.look(5, String::new(), none());
        assert_eq!(lives(5 + limits::ROUNDS_SILENT), "ok\n");
        assert!(
            lives(6 + limits::ROUNDS_SILENT).starts_with("control has not looked"),
            "a control that stands still says so"
        );
        let full = Arc::new(AtomicBool::new(false));
        let is_full = full.clone();
        let words = move || if is_full.load(Ordering::SeqCst) { "full".to_owned() } else { String::new() };
        health.ask_for_shut(Box::new(words));
        for (now, told) in
            [(false, "ok\n".to_owned()), (true, format!("{REFUSED}: full\n")), (false, "ok\n".into())]
        {
            full.store(now, Ordering::SeqCst);
            assert_eq!(ready(5), told, "nobody looked meanwhile");
        }
        health.drain();
        assert_eq!((lives(5), ready(5)), ("draining\n".into(), "draining\n".into()));
    }
}
