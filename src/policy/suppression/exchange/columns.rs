//! Which column has what, and what words and times in them mean: by the names that this relay and other services give them.

use super::super::entry::Reason;
use super::cells::{Cells, plain};
use crate::mail::release::date_time;
use crate::time::{Civil, UnixMillis};

/// Where things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub address: usize,
    pub tenant: Option<usize>,
    pub reason: Option<usize>,
    pub added: Option<usize>,
    pub expires: Option<usize>,
    pub note: Option<usize>,
}

/// What the first line is.
pub(super) enum Names {
    /// It names columns.
    Columns(Columns),
    /// It is an entry.
    Entry,
    /// It names columns, and none has addresses.
    NoAddress,
}

const ADDRESS: &[&str] =
    &["address", "email", "emailaddress", "recipient", "mail", "to", "recipientemail", "emails"];
const TENANT: &[&str] = &["tenant", "scope"];
const REASON: &[&str] = &["reason", "type", "suppressionreason", "category", "source", "event"];
const ADDED: &[&str] = &[
    "added",
    "created",
    "createdat",
    "date",
    "timestamp",
    "lastupdatetime",
    "suppressedat",
    "datetime",
    "time",
];
const EXPIRES: &[&str] = &["expires", "expiresat"];
const NOTE: &[&str] =
    &["note", "comment", "description", "error", "message", "details", "diagnostic", "status"];

impl Columns {
    /// Those of an export of ours, without its first line.
    pub(super) fn usual() -> Columns {
        let [tenant, reason, added, expires, note] = [1, 2, 3, 4, 5].map(Some);
        Columns { address: 0, tenant, reason, added, expires, note }
    }

    /// What the first line says.
    pub(super) fn of(first: &Cells) -> Names {
        // No name has that; an address may stand beside a note that is a name.
        if (0..first.len()).any(|place| first.get(place).is_some_and(|cell| cell.contains(&b'@'))) {
            return Names::Entry;
        }
        let names: Vec<String> =
            (0..first.len()).map(|place| name(first.get(place).unwrap_or_default())).collect();
        let column = |known: &[&str]| names.iter().position(|name| known.contains(&name.as_str()));
        let (tenant, reason, added) = (column(TENANT), column(REASON), column(ADDED));
        let (expires, note) = (column(EXPIRES), column(NOTE));
        if let Some(address) = column(ADDRESS) {
            return Names::Columns(Columns { address, tenant, reason, added, expires, note });
        }
        let named = [tenant, reason, added, expires, note].into_iter().flatten().count();
        if named < 2 { Names::Entry } else { Names::NoAddress }
    }
}

/// The name of a column, without what is written in one way or another.
fn name(cell: &[u8]) -> String {
    plain(cell).chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The reason that a word stands for. None: it is no word for one.
pub(super) fn reason(written: &str) -> Option<Reason> {
    Some(match &*name(written.as_bytes()) {
        "hardbounce" | "bounce" | "bounces" | "bounced" | "hardbounces" | "permanent" | "invalid"
        | "invalidemail" | "invalidemails" | "invalidaddress" | "undeliverable" => Reason::HardBounce,
        "complaint" | "complaints" | "spam" | "spamreport" | "spamreports" | "spamcomplaint"
        | "spamcomplaints" | "abuse" | "markedasspam" => Reason::Complaint,
        "unsubscribe" | "unsubscribes" | "unsubscribed" | "unsubscription" | "listunsubscribe"
        | "oneclick" | "globalunsubscribe" | "globalunsubscribes" | "optout" => Reason::Unsubscribe,
        "manual" | "manually" | "manualsuppression" | "manualimport" | "admin" | "user" => Reason::Manual,
        "imported" | "import" => Reason::Imported,
        _ => return None,
    })
}

/// A time as tables have it: RFC 3339, the same with a blank and without a zone (UTC then), a day, or a number of seconds or milliseconds since 1970.
pub fn moment(written: &str) -> Option<UnixMillis> {
    if let Ok(number) = written.parse::<u64>() {
        return match written.len() {
            9 | 10 => Some(UnixMillis(number * 1000)),
            12 | 13 => Some(UnixMillis(number)),
            _ => None,
        };
    }
    if let Some(at) = date_time(written.as_bytes()) {
        return Some(at);
    }
    let bare = written.strip_suffix("UTC").map_or(written, str::trim_end);
    if let Some(day) = Civil::day_named(bare) {
        return Some(UnixMillis::of_day(day));
    }
    let (day, time) = bare.split_once([' ', 'T'])?;
    let zoned = format!("{day}T{time}");
    date_time(format!("{zoned}Z").as_bytes()).or_else(|| date_time(zoned.as_bytes()))
}
