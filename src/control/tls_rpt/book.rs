//! What sessions came to, on disk: a file a day, to which lines of JSON are added, and which is read when the relay starts. A line says what came to a
//! count, or that a report was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::tls_rpt::reporting::{Due, Tried};
use crate::limits;
use crate::policy::tls_rpt::{AppliedPolicy, Day, Failure, PolicyCount, Tally};
use crate::queue::fair;
use crate::runtime::files;
use crate::time::{Civil, UnixMillis};

/// All days that are not told of, and how far that is.
pub(super) struct Book {
    directory: PathBuf,
    node: u64,
    tally: Tally,
    /// What is not written down yet.
    fresh: Tally,
    standings: BTreeMap<u32, BTreeMap<Box<str>, Standing>>,
}

/// How far a report is.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// Places that have it.
    done: BTreeSet<String>,
    /// Nothing more is tried.
    is_over: bool,
    /// Somebody is at it.
    under_way: bool,
    tries: u32,
    /// Not before this, by the clock of this process.
    next: Duration,
}

#[derive(Serialize, Deserialize)]
struct Line {
    domain: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<AppliedPolicy>,
    #[serde(default, skip_serializing_if = "is_zero")]
    successful: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    failed: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failures: Vec<(Failure, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    over: bool,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Line {
    fn of(domain: &str) -> Line {
        let (policy, failures, sent) = (None, Vec::new(), None);
        Line { domain: domain.into(), policy, successful: 0, failed: 0, failures, sent, over: false }
    }

    fn of_count(domain: &str, count: &PolicyCount) -> Line {
        let PolicyCount { policy, successful, failed, failures } = count;
        let failures = failures.iter().map(|(failure, times)| (failure.clone(), *times)).collect();
        Line {
            policy: Some(policy.clone()),
            successful: *successful,
            failed: *failed,
            failures,
            ..Line::of(domain)
        }
    }
}

impl Book {
    /// What is there of days whose reports may still be sent. Older ones are removed.
    pub(super) fn open(directory: &Path, node: u64, today: u32) -> Book {
        let (tally, fresh, standings) = Default::default();
        let mut book = Book { directory: directory.to_owned(), node, tally, fresh, standings };
        for name in files::list(directory).unwrap_or_default() {
            let Some(day) = Civil::day_named(&name) else { continue };
            if is_kept(day, today) {
                book.read(day);
            } else {
                let _ = std::fs::remove_file(book.path(day));
            }
        }
        book
    }

    fn path(&self, day: u32) -> PathBuf {
        let civil = UnixMillis::of_day(day).civil();
        self.directory.join(format!("{:04}-{:02}-{:02}", civil.year, civil.month, civil.day))
    }

    /// Lines that make no sense, as the last one that a kill cut off, are passed over.
    fn read(&mut self, day: u32) {
        let Ok(file) = std::fs::File::open(self.path(day)) else { return };
        let whole = io::BufReader::new(file.take(limits::TLS_RPT_FILE_MAX.saturating_mul(2)));
        for line in whole.split(b'\n').map_while(Result::ok) {
            let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
            let Line { domain, policy, successful, failed, failures, sent, over } = line;
            if let Some(policy) = policy {
                let failures = failures.into_iter().collect();
                let count = PolicyCount { policy, successful, failed, failures };
                self.tally.put((day, &domain), &count, limits::TLS_RPT_ENTRIES);
            }
            if sent.is_some() || over {
                let standing = self.standings.entry(day).or_default().entry(domain).or_default();
                standing.done.extend(sent);
                standing.is_over |= over;
            }
        }
    }

    /// Takes what was counted: sessions that found no room.
    pub(super) fn add(&mut self, counted: &Tally) -> u64 {
        let before = self.tally.left_out;
        for tally in [&mut self.fresh, &mut self.tally] {
            tally.add(counted, limits::TLS_RPT_ENTRIES);
        }
        self.tally.left_out - before
    }

    /// Writes down what is new. A file that has grown large is written anew, as one sum.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let fresh = std::mem::take(&mut self.fresh);
        for (day, domains) in fresh.days() {
            let path = self.path(day);
            if std::fs::metadata(&path).is_ok_and(|found| found.len() > limits::TLS_RPT_FILE_MAX) {
                self.write_anew(day)?;
            } else {
                self.append(day, &lines(domains))?;
            }
        }
        Ok(())
    }

    fn append(&self, day: u32, lines: &[u8]) -> io::Result<()> {
        files::make_directories(&self.directory)?;
        let path = self.path(day);
        let mut options = std::fs::OpenOptions::new();
        let mut file = match options.append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files::make_new_file(&path)?,
            opened => opened?,
        };
        // What was cut off ends here.
        file.write_all(b"\n")?;
        file.write_all(lines)?;
        file.sync_data()
    }

    /// Under another name first: a file is whole, or the one before.
    fn write_anew(&self, day: u32) -> io::Result<()> {
        let (path, new) = (self.path(day), self.directory.join(NEW));
        let mut all = self.tally.day(day).map(lines).unwrap_or_default();
        for (domain, standing) in self.standings.get(&day).into_iter().flatten() {
            push(&mut all, &Line { over: standing.is_over, ..Line::of(domain) });
            for sent in &standing.done {
                push(&mut all, &Line { sent: Some(sent.clone()), ..Line::of(domain) });
            }
        }
        let _ = std::fs::remove_file(&new);
        let mut file = files::make_new_file(&new)?;
        file.write_all(&all)?;
        file.sync_data()?;
        std::fs::rename(&new, &path)
    }

    /// Days of which nothing is sent any more go.
    pub(super) fn forget(&mut self, today: u32) {
        let old: Vec<u32> =
            self.tally.days().map(|(day, _)| day).filter(|day| !is_kept(*day, today)).collect();
        for day in old {
            self.tally.forget(day);
            self.fresh.forget(day);
            self.standings.remove(&day);
            let _ = std::fs::remove_file(self.path(day));
        }
    }

    /// Whether there is a day that is over.
    pub(super) fn has_earlier(&self, today: u32) -> bool {
        self.tally.days().any(|(day, _)| day < today)
    }

    /// Reports that are due, so many at most; somebody is at them from now on. Each has its own moment within `delay` of the end of its day, which is
    /// the same after a restart and not that of other nodes.
    pub(super) fn due(
        &mut self,
        (wall, now): (UnixMillis, Duration),
        delay: Duration,
        most: usize,
    ) -> Vec<Due> {
        let mut due = Vec::new();
        for (day, domains) in self.tally.days().filter(|(day, _)| *day < wall.day()) {
            for (domain, counts) in domains {
                if due.len() >= most {
                    break;
                }
                let known = self.standings.get(&day).and_then(|of| of.get(domain));
                if known.is_some_and(|known| known.is_over || known.under_way || known.next > now) {
                    continue;
                }
                if wall < UnixMillis::of_day(day + 1).after(moment(self.node, day, domain, delay)) {
                    continue;
                }
                let done = known.map(|known| known.done.iter().cloned().collect()).unwrap_or_default();
                due.push(Due { day, domain: domain.clone(), counts: counts.clone(), done });
            }
        }
        for one in &due {
            let standings = self.standings.entry(one.day).or_default();
            standings.entry(one.domain.clone()).or_default().under_way = true;
        }
        due
    }

    /// What came of one, which is written down at once: it is not to be sent twice. Whether that is all.
    pub(super) fn tried(&mut self, (day, domain): (u32, &str), tried: &Tried, now: Duration) -> bool {
        // Its day may be forgotten by now.
        let Some(standings) = self.standings.get_mut(&day) else { return true };
        let standing = standings.entry(domain.into()).or_default();
        standing.under_way = false;
        standing.tries += 1;
        standing.next =
            now.saturating_add(limits::TLS_RPT_RETRY.saturating_mul(1 << (standing.tries - 1).min(16)));
        standing.is_over = tried.failed.is_none() || standing.tries >= limits::TLS_RPT_TRIES;
        let is_over = standing.is_over;
        let mut lines = Vec::new();
        for sent in tried.mailed.iter().chain(&tried.posted) {
            standing.done.insert(sent.clone());
            push(&mut lines, &Line { sent: Some(sent.clone()), ..Line::of(domain) });
        }
        if is_over {
            push(&mut lines, &Line { over: true, ..Line::of(domain) });
        }
        if !lines.is_empty() {
            // Where it cannot be written a restart would send it again.
            let _ = self.append(day, &lines);
        }
        is_over
    }
}

/// No day is called so.
const NEW: &str = ".new";

fn is_kept(day: u32, today: u32) -> bool {
    day.saturating_add(limits::TLS_RPT_DAYS) >= today
}

fn lines(domains: &Day) -> Vec<u8> {
    let mut out = Vec::new();
    for (domain, counts) in domains {
        counts.iter().for_each(|count| push(&mut out, &Line::of_count(domain, count)));
    }
    out
}

fn push(out: &mut Vec<u8>, line: &Line) {
    if serde_json::to_writer(&mut *out, line).is_ok() {
        out.push(b'\n');
    }
}

fn moment(node: u64, day: u32, domain: &str, delay: Duration) -> Duration {
    let most = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let drawn = fair::hash(format!("{node:x} {day} {domain}").as_bytes());
    Duration::from_millis((u128::from(most) * u128::from(drawn) / u128::from(u32::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tls_rpt::ResultType;

    const NOW: Duration = Duration::from_secs(100);

    fn counted(day: u32, domain: &str, failed: bool) -> Tally {
        let mut tally = Tally::default();
        let failure = failed.then(|| Failure::new(ResultType::StarttlsNotSupported, "it refuses STARTTLS"));
        tally.count((day, domain), &AppliedPolicy::none(), failure, 100);
        tally
    }

    fn at(day: u32, hours: u64) -> UnixMillis {
        UnixMillis::of_day(day).after(Duration::from_secs(hours * 3600))
    }

    #[test]
    fn a_restart_finds_what_was_counted_and_sent() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("tls-rpt");
        let mut book = Book::open(&directory, 7, 100);
        for failed in [false, true, true] {
            book.add(&counted(100, "a.example", failed));
            book.write().unwrap();
        }
        book.add(&counted(100, "b.example", false));
        book.write().unwrap();
        drop(book);
        // A kill cut off the last line of what came then.
        let path = directory.join("1970-04-11");
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"domain\":\"c.exam");
        std::fs::write(&path, text).unwrap();
        let mut book = Book::open(&directory, 7, 101);
        book.add(&counted(100, "b.example", false));
        book.write().unwrap();
        let day = book.tally.day(100).unwrap().clone();
        assert_eq!((day["a.example"][0].successful, day["a.example"][0].failed), (1, 2));
        assert_eq!(day["a.example"][0].failures.values().sum::<u64>(), 2);
        assert_eq!(day["b.example"][0].successful, 2);
        let due = book.due((at(101, 5), NOW), Duration::from_secs(4 * 3600), 10);
        assert_eq!(due.iter().map(|due| &*due.domain).collect::<Vec<_>>(), ["a.example", "b.example"]);
        assert!(book.due((at(101, 5), NOW), Duration::ZERO, 10).is_empty(), "somebody is at them");
        let sent = Tried { mailed: vec!["mailto:r@a.example".to_owned()], ..Tried::default() };
        assert!(book.tried((100, "a.example"), &sent, NOW));
        let failed = Tried {
            posted: vec!["https://r.example/".to_owned()],
            failed: Some("no".to_owned()),
            ..Tried::default()
        };
        assert!(!book.tried((100, "b.example"), &failed, NOW));
        for book in [&mut book, &mut Book::open(&directory, 7, 101)] {
            let due = book.due((at(101, 6), NOW + limits::TLS_RPT_RETRY), Duration::ZERO, 10);
            assert_eq!(due.len(), 1, "{due:?}");
            assert_eq!(
                (&*due[0].domain, &due[0].done[..]),
                ("b.example", &["https://r.example/".to_owned()][..])
            );
        }
        book.write_anew(100).unwrap();
        let mut again = Book::open(&directory, 7, 101);
        assert_eq!(again.tally, book.tally);
        assert_eq!(again.due((at(101, 6), NOW), Duration::ZERO, 10).len(), 1);
        again.forget(102);
        assert!(!path.exists() && again.tally.is_empty() && again.standings.is_empty());
    }

    #[test]
    fn reports_go_out_at_their_own_time_and_are_tried_so_often() {
        let scratch = tempfile::tempdir().unwrap();
        let mut book = Book::open(scratch.path(), 7, 100);
        for number in 0..200 {
            book.add(&counted(100, &format!("d{number}.example"), false));
        }
        let delay = Duration::from_secs(4 * 3600);
        assert!(book.due((at(100, 23), NOW), delay, 1000).is_empty(), "its day is not over");
        assert!(!book.has_earlier(100) && book.has_earlier(101));
        let mut seen = Vec::new();
        for hour in 1..=4 {
            seen.push(book.due((at(101, hour), NOW), delay, 1000).len());
        }
        assert_eq!(seen.iter().sum::<usize>(), 200, "{seen:?}");
        assert!(seen.iter().all(|some| (20..90).contains(some)), "not all at once: {seen:?}");
        assert_ne!(moment(7, 100, "a.example", delay), moment(8, 100, "a.example", delay));
        let failed = Tried { failed: Some("no".to_owned()), ..Tried::default() };
        let mut now = NOW;
        for tries in 1..=limits::TLS_RPT_TRIES {
            let over = book.tried((100, "d0.example"), &failed, now);
            assert_eq!(over, tries == limits::TLS_RPT_TRIES);
            let is_due = |book: &mut Book, now| {
                book.due((at(101, 5), now), delay, 1000).iter().any(|due| &*due.domain == "d0.example")
            };
            assert!(!is_due(&mut book, now), "there is a wait");
            now += limits::TLS_RPT_RETRY * (1 << (tries - 1));
            assert_eq!(is_due(&mut book, now), !over);
        }
    }
}
