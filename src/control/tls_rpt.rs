//! Reports of TLS (RFC 8460): keeps what shards count of sessions, and after each day (UTC) tells the domains that want to know.
//!
//! A thread of its own: it waits for name servers and web servers, each report on a thread for as long as that takes, a few at one time.

mod book;
mod reporting;
mod send;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use crate::control::say::say;
use crate::control::thread::Turn;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::families::{Family, FamilyInfo};
use crate::policy::tls_rpt::PolicyCount;
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::spool::layout;
use book::Book;
use reporting::{Due, Tried};
pub use reporting::{ReportSettings, Reporting};

/// What came of reports.
const REPORTS: FamilyInfo = FamilyInfo {
    name: "tls_reports",
    help: "Reports of TLS (RFC 8460) to domains, by what came of them; unwanted: the domain does not ask for any",
    label: "result",
    values: &["mailed", "posted", "unwanted", "failed"],
};
/// What sessions came to. A session counts for each domain whose mail waited for it.
const SESSIONS: FamilyInfo = FamilyInfo {
    name: "tls_rpt_sessions",
    help: "Sessions with hosts of domains as reports of TLS have them; left_out: there was no room to count them by domain",
    label: "result",
    values: &["successful", "failed", "left_out"],
};

/// The same as counters.
#[derive(Clone, Debug)]
pub struct Counts {
    reports: Arc<Family>,
    sessions: Arc<Family>,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { reports: Arc::new(Family::new(&REPORTS)), sessions: Arc::new(Family::new(&SESSIONS)) }
    }
}

impl Counts {
    /// All of them.
    pub fn families(&self) -> [Arc<Family>; 2] {
        [self.reports.clone(), self.sessions.clone()]
    }
}

type Told = ((u32, Box<str>), Tried);

/// Who does all that.
struct Reporter<'a> {
    mesh: &'a Arc<Mesh>,
    settings: &'a Arc<dyn ReportSettings>,
    counts: &'a Counts,
    node: u64,
    book: Book,
    tell: Sender<Told>,
    under_way: usize,
}

/// Counts and sends until it is over.
pub(super) fn run(
    mesh: &Arc<Mesh>,
    settings: &Arc<dyn ReportSettings>,
    (data_dir, counts, node): (&Path, &Counts, u64),
    turn: &Turn,
) {
    let (tell, told) = channel();
    let book = Book::open(&data_dir.join(layout::TLS_REPORTS), node, process::wall().day());
    let mut reporter = Reporter { mesh, settings, counts, node, book, tell, under_way: 0 };
    let clock = turn.clock();
    let mut written = clock();
    while !turn.is_over() {
        reporter.take();
        reporter.hear(&told, clock());
        if clock().saturating_sub(written) >= limits::TLS_RPT_WRITE {
            written = clock();
            reporter.write();
        }
        reporter.send(clock());
        turn.pause(limits::TLS_RPT_ROUND);
    }
    reporter.take();
    reporter.write();
}

impl Reporter<'_> {
    /// Takes what shards counted.
    fn take(&mut self) {
        for counted in self.mesh.sessions().take() {
            if counted.is_empty() {
                continue;
            }
            let sum = |of: fn(&PolicyCount) -> u64| -> u64 {
                counted.days().flat_map(|(_, day)| day.values().flatten()).map(of).sum()
            };
            self.counts.sessions.add(0, sum(|count| count.successful));
            self.counts.sessions.add(1, sum(|count| count.failed));
            let left_out = self.book.add(&counted);
            self.counts.sessions.add(2, left_out);
        }
    }

    fn write(&mut self) {
        if let Err(error) = self.book.write() {
            say(
                Level::Warning,
                format_args!(
                    "what sessions came to cannot be written down for reports of TLS: {error}; a restart forgets it"
                ),
            );
        }
    }

    /// What came of those that were under way.
    fn hear(&mut self, told: &Receiver<Told>, now: Duration) {
        while let Ok(((day, domain), tried)) = told.try_recv() {
            self.under_way -= 1;
            let Tried { mailed, posted, unwanted, failed } = &tried;
            self.counts.reports.add(0, mailed.len() as u64);
            self.counts.reports.add(1, posted.len() as u64);
            self.counts.reports.add(2, u64::from(*unwanted));
            let places: Vec<&str> = mailed.iter().chain(posted).map(|place| &**place).collect();
            if !places.is_empty() {
                let places = places.join(", ");
                say(Level::Info, format_args!("the report of TLS of {domain} was sent to {places}"));
            }
            let is_over = self.book.tried((day, &domain), &tried, now);
            if let Some(why) = failed {
                let next = if is_over { "it is not sent" } else { "it is tried again" };
                say(
                    Level::Warning,
                    format_args!("the report of TLS of {domain} cannot be sent: {why}; {next}"),
                );
                self.counts.reports.add(3, u64::from(is_over));
            }
        }
    }

    /// Sends what is due, a few at one time.
    fn send(&mut self, now: Duration) {
        let today = process::wall().day();
        self.book.forget(today);
        if self.under_way >= limits::TLS_RPT_AT_ONCE || !self.book.has_earlier(today) {
            return;
        }
        let Some(Reporting { config, .. }) = self.settings.reporting() else { return };
        let room = limits::TLS_RPT_AT_ONCE - self.under_way;
        for due in self.book.due((process::wall(), now), config.delay, room) {
            self.begin(due, now);
        }
    }

    /// On a thread of its own; where there is none it is tried again.
    fn begin(&mut self, due: Due, now: Duration) {
        let (mesh, settings, tell, node) =
            (self.mesh.clone(), self.settings.clone(), self.tell.clone(), self.node);
        let of = (due.day, due.domain.clone());
        let spawned = Builder::new().name("relevo-report".into()).spawn({
            let of = of.clone();
            move || {
                process::stand_back();
                let tried = match settings.reporting() {
                    Some(reporting) => send::send(&mesh, &reporting, node, &due),
                    None => Tried { failed: Some("reports were turned off".to_owned()), ..Tried::default() },
                };
                let _ = tell.send((of, tried));
            }
        });
        match spawned {
            Ok(_) => self.under_way += 1,
            Err(error) => {
                let tried = Tried { failed: Some(error.to_string()), ..Tried::default() };
                self.book.tried((of.0, &of.1), &tried, now);
            }
        }
    }
}
