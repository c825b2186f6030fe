//! Notifications as the log tells of them: of whom, since when by the wall clock, and which were given up.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use relevo::runtime::sim::EPOCH;
use relevo::time::Instant;

use super::ledger::numbers;

#[derive(Default)]
pub struct Notices {
    /// By the recipient: its notifications, and the milliseconds of the wall clock that date them.
    about: RefCell<BTreeMap<String, Vec<(String, i64)>>>,
    /// Those that expired, and when that was read.
    expired: RefCell<BTreeMap<String, Instant>>,
    /// All notifications to the sender of a try, and what dates them.
    to: RefCell<BTreeMap<usize, Vec<(String, i64)>>>,
    /// Recipients of whose return a start told again: it does not know any more by which notification.
    unnamed: RefCell<BTreeSet<String>>,
}

impl Notices {
    /// A record of the log, read then.
    pub fn log(&self, now: Instant, record: &serde_json::Value) {
        if record["event"] == "expired"
            && let Some(id) = record["id"].as_str()
        {
            self.expired.borrow_mut().entry(id.to_owned()).or_insert(now);
        }
        let dated = record["time"].as_str().and_then(milliseconds).expect("records have a time");
        let recipients =
            || record["recipients"].as_array().into_iter().flatten().filter_map(|one| one.as_str());
        if record["event"] == "received" && record["sender"] == "" {
            let id = record["id"].as_str().unwrap_or_default();
            for (number, _) in recipients().filter_map(numbers) {
                self.to.borrow_mut().entry(number).or_default().push((id.to_owned(), dated));
            }
        }
        let ended = record["event"] == "bounced" || record["event"] == "expired";
        let Some(notice) = record["notification"].as_str() else {
            if ended && record["again"] == true {
                self.unnamed.borrow_mut().extend(recipients().map(str::to_owned));
            }
            return;
        };
        for address in recipients() {
            let mut about = self.about.borrow_mut();
            about.entry(address.to_owned()).or_default().push((notice.to_owned(), dated));
        }
    }

    /// Whether a notification about this recipient expired, and one of these starts may have taken it for as old as that takes (it lives so
    /// many milliseconds): a start goes by the wall clock, which was so far ahead then.
    pub fn was_given_up(
        &self,
        address: &str,
        lives: i64,
        starts: &[Instant],
        ahead: impl Fn(Instant) -> i64,
    ) -> bool {
        let (about, expired) = (self.about.borrow(), self.expired.borrow());
        let given_up = |(notice, dated): &(String, i64)| {
            let Some(read) = expired.get(notice) else { return false };
            starts.iter().any(|start| {
                let wall = (EPOCH.0 + start.0 / 1_000_000) as i64 + ahead(*start);
                let left = Duration::from_millis((lives - (wall - dated)).max(0) as u64);
                *start + left <= *read
            })
        };
        let (to, unnamed) = (self.to.borrow(), self.unnamed.borrow());
        let any =
            numbers(address).filter(|_| unnamed.contains(address)).and_then(|(number, _)| to.get(&number));
        about.get(address).into_iter().chain(any).flatten().any(given_up)
    }
}

/// Since 1970, of `2026-01-01T00:00:00.123Z`.
fn milliseconds(text: &str) -> Option<i64> {
    let numbers: Vec<i64> =
        text.split_terminator(['-', 'T', ':', '.', 'Z']).map_while(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second, milli] = *numbers else { return None };
    // Years begin in March, so that the day that some have more is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli)
}

#[test]
fn times_of_records_are_read() {
    for at in [0, 951_782_400_123, 1_772_323_199_999, EPOCH.0, 4_107_542_400_001] {
        let mut text = Vec::new();
        relevo::time::UnixMillis(at).write_iso(&mut text);
        let text = String::from_utf8(text).expect("ASCII");
        assert_eq!(milliseconds(&text), Some(at as i64), "{text}");
    }
}
