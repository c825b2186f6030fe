//! The node at a glance. One task on the thread of commands makes it once a second, of counters that shards keep anyway; what only their queues know
//! is asked for seldom, and kept with the time at which it was so. However many look, that is all it costs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Health;
use super::api::shape::ConfigStatus;
use super::api::shape::overview::{History, Overview, QueueTotals, Said};
use super::api::veil::Veil;
use super::asker::{AskFailure, Asker};
use super::journal;
use super::reload::Reload;
use crate::limits;
use crate::observe::Instruments;
use crate::runtime::process;
use crate::shard::ask::Ask;
use crate::time::UnixMillis;
use classes::Texts;
use counts::Counts;
use history::Points;
use sums::NodeSums;

mod classes;
mod counts;
mod history;
mod sums;

/// What it is made of.
pub(super) struct Sources {
    pub asker: Asker,
    pub instruments: Vec<Arc<Instruments>>,
    pub health: Arc<Health>,
    pub reload: Option<Arc<dyn Reload>>,
    /// Where texts of replies go by.
    pub journal: Option<Arc<journal::Shared>>,
    pub hostname: String,
    /// Control's clock.
    pub clock: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// The latest overview, and what went before.
pub(super) struct Overviews {
    of: Sources,
    latest: watch::Sender<Shown>,
    points: Mutex<Points>,
    /// The second of control's clock in which somebody asked last, and one; 0: nobody has.
    asked: AtomicU64,
    summing: AtomicBool,
    sums: Mutex<Sums>,
}

/// An overview, and the same as JSON in one line.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub overview: Arc<Overview>,
    text: Bytes,
    /// The same for those who are shown less, made when the first of them looks.
    veiled: Arc<OnceLock<Bytes>>,
}

#[derive(Debug, Default)]
struct Sums {
    latest: Option<NodeSums>,
    /// When they may be made again, and when that is done though nobody asks.
    next: Option<(Instant, Instant)>,
    /// Why there are none that are newer.
    failed: Option<AskFailure>,
}

impl Overviews {
    pub(super) fn new(of: Sources) -> Arc<Overviews> {
        Arc::new(Overviews {
            of,
            latest: watch::Sender::new(Shown::default()),
            points: Mutex::default(),
            asked: AtomicU64::new(0),
            summing: AtomicBool::new(false),
            sums: Mutex::default(),
        })
    }

    /// Makes one each second, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let (mut counts, mut texts) = (Counts::default(), Texts::default());
        loop {
            let point = counts.read(&self.of.instruments, (self.of.clock)());
            lock(&self.points).add(point);
            if let Some(journal) = &self.of.journal {
                texts.read(&journal.latest(limits::CLASS_TEXTS_READ));
            }
            self.sum_up();
            self.latest.send_replace(Shown::of(self.made(&counts, &texts)));
            tokio::time::sleep(limits::OVERVIEW_EACH).await;
        }
    }

    /// The latest, for somebody who asks.
    pub(super) fn latest(&self) -> Shown {
        self.is_asked();
        self.latest.borrow().clone()
    }

    /// The latest, again and again.
    pub(super) fn follow(&self) -> watch::Receiver<Shown> {
        self.is_asked();
        self.latest.subscribe()
    }

    /// What went before, by the step in seconds. None: there is no such step.
    pub(super) fn history(&self, step: u64) -> Option<History> {
        let series = lock(&self.points).series(step)?;
        Some(History { step_seconds: step, until: iso(process::wall()), series })
    }

    /// Recipients a second that were accepted and delivered: means of the last minute.
    pub(super) fn last_minute(&self) -> (Option<f64>, Option<f64>) {
        lock(&self.points).last_minute()
    }

    fn is_asked(&self) {
        self.asked.store((self.of.clock)().as_secs() + 1, Ordering::Relaxed);
    }

    fn is_watched(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        let since = (self.of.clock)().as_secs().saturating_sub(asked);
        self.latest.receiver_count() > 0 || asked > 0 && since < limits::SUMMARY_UNASKED.as_secs()
    }

    /// Has the queues summed up, if that is due.
    fn sum_up(self: &Arc<Self>) {
        let now = Instant::now();
        let is_due = match lock(&self.sums).next {
            None => true,
            Some((watched, unwatched)) => now >= if self.is_watched() { watched } else { unwatched },
        };
        if !is_due || !self.of.health.is_open() || self.summing.swap(true, Ordering::SeqCst) {
            return;
        }
        let own = self.clone();
        tokio::spawn(async move {
            let asked = own.asked_of_shards().await;
            let took = now.elapsed();
            let mut sums = lock(&own.sums);
            let mut pause = limits::SUMMARY_PAUSE.max(took * limits::SUMMARY_SHARE);
            match asked {
                Ok(made) => {
                    pause = pause.max(made.worked * limits::SUMMARY_WORK);
                    (sums.latest, sums.failed) = (Some(made), None);
                }
                Err(why) => sums.failed = Some(why),
            }
            let next = Instant::now();
            sums.next = Some((next + pause, next + pause.max(limits::SUMMARY_UNASKED)));
            own.summing.store(false, Ordering::SeqCst);
        });
    }

    async fn asked_of_shards(&self) -> Result<NodeSums, AskFailure> {
        let (at, mut shards) = (process::wall(), Vec::new());
        for shard in 0..self.of.asker.shards() {
            shards.push(self.of.asker.ask(shard, Ask::Summary).await?);
        }
        Ok(NodeSums::of(shards, at))
    }

    fn made(&self, counts: &Counts, texts: &Texts) -> Overview {
        let Sources { instruments, health, hostname, clock, .. } = &self.of;
        let uptime = clock().as_secs();
        let (code, words) = health.takes_mail(uptime);
        let ready = code == StatusCode::OK;
        let words = words.trim_end();
        let mut overview = Overview {
            as_of: iso(process::wall()),
            node: hostname.clone(),
            version: env!("RELEVO_VERSION").to_owned(),
            uptime_seconds: uptime,
            draining: words == "draining",
            ready,
            not_ready: (!ready).then(|| words.to_owned()),
            rates: counts.rates(instruments),
            queue: QueueTotals { recipients: counts::queued(instruments), ..QueueTotals::default() },
            classes: texts.told(instruments),
            shards: counts::shards(instruments),
            warnings: self.warnings(),
            ..Overview::default()
        };
        if let Some(sums) = &lock(&self.sums).latest {
            sums.tell(&mut overview, iso);
        }
        overview.said = said(health);
        overview
    }

    fn warnings(&self) -> Vec<String> {
        let ConfigStatus { needs_restart, suspended_sources, .. } =
            self.of.reload.as_ref().map(|reload| reload.standing()).unwrap_or_default();
        let mut warnings = Vec::new();
        let shown = |keys: &[String]| keys[..keys.len().min(limits::WHY_SHOWN)].join(", ");
        match needs_restart.len().saturating_sub(limits::WHY_SHOWN) {
            _ if needs_restart.is_empty() => {}
            0 => {
                warnings.push(format!("changed in the file, waits for a restart: {}", shown(&needs_restart)))
            }
            more => {
                let keys = shown(&needs_restart);
                warnings.push(format!("changed in the file, waits for a restart: {keys} and {more} more"));
            }
        }
        let sources = suspended_sources.iter().take(limits::SUMMARY_NAMES);
        warnings.extend(self.of.health.notices.standing());
        // Where an operator did it the words say whose it is.
        let named = |why: &str| why.starts_with("source ");
        warnings.extend(sources.map(|source| match named(&source.why) {
            true => source.why.clone(),
            false => format!("source {} is suspended: {}", source.source, source.why),
        }));
        let failed = lock(&self.sums).failed.filter(|_| self.of.health.is_open());
        warnings.extend(failed.map(|why| format!("the queues could not be summed up: {why}")));
        warnings
    }
}

impl Shown {
    fn of(overview: Overview) -> Shown {
        let text = line(&overview);
        Shown { overview: Arc::new(overview), text, veiled: Arc::default() }
    }

    /// As JSON, as whoever is behind this veil sees it; empty: none was made yet.
    pub(super) fn text(&self, veil: Veil) -> Bytes {
        if self.text.is_empty() || !veil.is_on() {
            return self.text.clone();
        }
        // Whose addresses a reply quotes nobody knows: any veil shortens all of them.
        self.veiled.get_or_init(|| line(&veil.overview(Overview::clone(&self.overview)))).clone()
    }
}

fn line(overview: &Overview) -> Bytes {
    serde_json::to_vec(overview).unwrap_or_default().into()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was said to the operator of late, the latest first.
pub(super) fn said(health: &Health) -> Vec<Said> {
    let standing = health.notices.standing();
    let lately = health.notices.lately(process::wall()).into_iter();
    // What stands is told as a warning.
    let lately = lately.filter(|said| !standing.contains(&said.words));
    lately
        .map(|said| Said { time: iso(said.at), level: said.level.word().to_owned(), words: said.words })
        .collect()
}

fn iso(at: UnixMillis) -> String {
    let mut text = Vec::with_capacity(24);
    at.write_iso(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::access::Redact;
    use crate::control::api::shape::overview::ClassTotals;
    use crate::policy::tokens::Role;

    #[test]
    fn replies_in_it_name_nobody_to_who_may_only_read() {
        let class = ClassTotals { text: Some("550 <ada@x.example>".to_owned()), ..ClassTotals::default() };
        let shown = Shown::of(Overview { classes: vec![class], ..Overview::default() });
        let text = |shown: &Shown, veil| String::from_utf8(shown.text(veil).to_vec()).expect("text");
        let redact = Redact { recipient: false, sender: true };
        for veil in [Veil::default(), Veil::of(redact, Role::Operate)] {
            assert!(text(&shown, veil).contains("550 <ada@x.example>"), "{veil:?}");
            assert!(shown.veiled.get().is_none(), "it is made for those who need it alone");
        }
        let veil = Veil::of(redact, Role::Read);
        let veiled = text(&shown, veil);
        assert!(veiled.contains("550 <a…@x.example>") && !veiled.contains("ada"), "{veiled}");
        assert_eq!(shown.clone().text(veil).as_ptr(), shown.text(veil).as_ptr(), "once for all");
        assert!(Shown::default().text(veil).is_empty());
    }
}
