//! What each view of `relevo top` lists: its columns, its rows, and what can be done with one of them.

use std::collections::BTreeMap;

use clap::ValueEnum;
use relevo::control::api::shape::SuspensionEntry;
use relevo::control::api::shape::analytics::AnalyticsRow;
use relevo::control::api::shape::overview::{Overview, SiteTotals};
use relevo::limits;

use super::super::words::plain;

/// What is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// What waits for each provider of the shaping files.
    #[default]
    Providers,
    /// What waits for each domain.
    Domains,
    /// The sites that mail goes to.
    Sites,
    /// What replies said since the start.
    Errors,
    /// The shards.
    Shards,
    /// What is suspended.
    Suspensions,
    /// What became of the mail of each tenant in the last hour.
    Tenants,
}

impl View {
    /// All of them, in the order of their keys.
    pub const ALL: [View; 7] = [
        View::Providers,
        View::Domains,
        View::Sites,
        View::Errors,
        View::Shards,
        View::Suspensions,
        View::Tenants,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            View::Providers => "providers",
            View::Domains => "domains",
            View::Sites => "sites",
            View::Errors => "errors",
            View::Shards => "shards",
            View::Suspensions => "suspensions",
            View::Tenants => "tenants",
        }
    }

    /// What stands there where there is nothing.
    pub fn empty(self) -> &'static str {
        match self {
            View::Providers => "nothing waits for a provider of the shaping files, and no site is one's",
            View::Domains => "nothing waits",
            View::Sites => "mail goes to no site now",
            View::Errors => "no reply was an error since the start",
            View::Shards => "nothing is known yet",
            View::Suspensions => "nothing is suspended",
            View::Tenants => "of no tenant's mail anything became in the last hour",
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What stands above it.
    pub title: &'static str,
    /// How wide it is; 0: as wide as there is room.
    pub width: usize,
    /// Numbers stand at its right side.
    pub right: bool,
    /// In a narrow terminal it is left out.
    pub spare: bool,
}

/// How a row is to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Usual,
    /// It gets less than it might, or waits.
    Warning,
    /// It does not work.
    Bad,
}

/// A row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// One a column.
    pub cells: Vec<String>,
    /// How it is to be seen.
    pub tone: Tone,
    /// What mail it means, by the names of filters.
    pub filter: BTreeMap<String, String>,
    /// The suspension that it is.
    pub suspension: Option<u64>,
    /// What more there is to say, line by line.
    pub more: Vec<String>,
}

const fn left(title: &'static str, width: usize) -> Column {
    Column { title, width, right: false, spare: false }
}

const fn right(title: &'static str, width: usize) -> Column {
    Column { title, width, right: true, spare: false }
}

const fn spare(column: Column) -> Column {
    Column { spare: true, ..column }
}

/// Its columns.
pub fn columns(view: View) -> &'static [Column] {
    match view {
        View::Providers => {
            &const {
                [
                    left("PROVIDER", 0),
                    right("WAITING", 11),
                    right("READY", 9),
                    right("DEFERRED", 11),
                    spare(right("SUSPENDED", 10)),
                    right("SITES", 6),
                    right("CONN", 6),
                    right("NARROWED", 9),
                ]
            }
        }
        View::Domains => {
            &const { [left("DOMAIN", 0), right("WAITING", 12), right("READY", 12), right("DEFERRED", 12)] }
        }
        View::Sites => {
            &const {
                [
                    left("SITE", 0),
                    spare(left("PROVIDER", 12)),
                    spare(left("SOURCE", 8)),
                    right("CONN", 9),
                    right("WINDOW", 7),
                    right("RATE", 9),
                    right("READY", 8),
                    left("STATE", 16),
                ]
            }
        }
        View::Errors => &const { [left("CLASS", 21), right("RECIPIENTS", 12), left("LATEST REPLY", 0)] },
        View::Shards => {
            &const {
                [
                    right("SHARD", 5),
                    right("BUSY", 6),
                    right("LONGEST TURN", 13),
                    right("CLIENTS", 9),
                    right("OUT", 9),
                    right("QUEUED", 12),
                    right("SPOOL", 11),
                    left("", 0),
                ]
            }
        }
        View::Suspensions => {
            &const {
                [right("ID", 5), left("EFFECT", 7), left("MAIL", 0), left("UNTIL", 17), spare(left("BY", 24))]
            }
        }
        View::Tenants => {
            &const {
                [
                    left("TENANT", 0),
                    right("DELIVERED", 12),
                    right("DEFERRED", 11),
                    right("BOUNCED", 10),
                    right("BOUNCE", 8),
                    spare(right("COMPLAINTS", 11)),
                    spare(left("MOST ERRORS", 21)),
                ]
            }
        }
    }
}

/// A number, with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in few columns.
pub fn compact(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{:.1}M", number as f64 / 1e6),
    }
}

fn named(name: &str, value: &str) -> BTreeMap<String, String> {
    // What is put together is no mail that can be named.
    if value == "other" { BTreeMap::new() } else { [(name.to_owned(), value.to_owned())].into() }
}

fn shown(text: &str) -> String {
    plain(text.as_bytes())
}

/// The rows of views that the overview tells.
pub fn of_overview(view: View, overview: &Overview) -> Vec<Row> {
    match view {
        View::Providers => {
            let all = overview.providers.iter().flatten();
            all.map(|of| Row {
                cells: vec![
                    shown(&of.name),
                    grouped(of.recipients),
                    grouped(of.ready),
                    grouped(of.deferred),
                    grouped(of.suspended),
                    grouped(of.sites),
                    grouped(of.connections),
                    grouped(of.narrowed),
                ],
                tone: if of.narrowed > 0 { Tone::Warning } else { Tone::Usual },
                filter: named("provider", &of.name),
                ..Row::default()
            })
            .collect()
        }
        View::Domains => {
            let all = overview.domains.iter().flatten();
            all.map(|of| Row {
                cells: vec![shown(&of.name), grouped(of.recipients), grouped(of.ready), grouped(of.deferred)],
                filter: named("domain", &of.name),
                more: vec![format!("relevo why {} says what it waits for", shown(&of.name))],
                ..Row::default()
            })
            .collect()
        }
        View::Errors => {
            let all = overview.classes.iter();
            all.map(|of| {
                let text = of.text.as_deref().map(shown).unwrap_or_default();
                Row {
                    cells: vec![of.class.clone(), grouped(of.recipients), text.clone()],
                    more: vec![text],
                    ..Row::default()
                }
            })
            .collect()
        }
        View::Shards => {
            let all = overview.shards.iter();
            all.map(|of| Row {
                cells: vec![
                    of.shard.to_string(),
                    format!("{:.0} %", of.busy_ratio * 100.0),
                    format!("{:.1} ms", of.longest_turn_seconds * 1000.0),
                    grouped(of.connections_in),
                    grouped(of.connections_out),
                    grouped(of.queued),
                    format!("{:.1} MiB", of.spool_bytes as f64 / f64::from(1 << 20)),
                    String::new(),
                ],
                tone: if of.busy_ratio >= limits::TOP_BUSY { Tone::Warning } else { Tone::Usual },
                ..Row::default()
            })
            .collect()
        }
        View::Sites | View::Suspensions | View::Tenants => Vec::new(),
    }
}

/// A site in a word: hosts at one address, as next hops of a test often are, differ by their ports.
fn place(of: &SiteTotals) -> &str {
    let rest = of.name.split_once("://").map_or(&*of.name, |(_, rest)| rest);
    let port = rest.strip_prefix(&*of.site).and_then(|rest| rest.strip_prefix(':'));
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_some_and(is_port) { rest } else { &of.site }
}

/// The rows of sites.
pub fn of_sites(sites: &[SiteTotals]) -> Vec<Row> {
    let one = |of: &SiteTotals| {
        let (state, tone) = match of {
            SiteTotals { suspended: Some(_), .. } => ("suspended".to_owned(), Tone::Warning),
            SiteTotals { closed_until: Some(until), .. } => (format!("rests to {}", clock(until)), Tone::Bad),
            SiteTotals { narrowed: true, .. } => ("narrowed".to_owned(), Tone::Warning),
            _ => (String::new(), Tone::Usual),
        };
        let dash = || "-".to_owned();
        let mut more = vec![shown(&of.name)];
        more.extend(of.suspended.as_deref().map(|why| format!("suspended: {}", shown(why))));
        more.extend(of.closed_until.as_deref().map(|until| format!("nothing is begun there before {until}")));
        more.extend(of.last_reply.as_deref().map(|reply| format!("last trouble: {}", shown(reply))));
        Row {
            cells: vec![
                shown(place(of)),
                of.provider.as_deref().map_or_else(dash, shown),
                of.source.as_deref().map_or_else(dash, shown),
                format!("{}/{}", of.connections, of.connection_limit),
                of.window.map_or_else(dash, |window| window.to_string()),
                of.message_rate.clone().unwrap_or_else(dash),
                grouped(of.ready as u64),
                state,
            ],
            tone,
            filter: named("site", &of.site),
            more,
            ..Row::default()
        }
    };
    sites.iter().map(one).collect()
}

/// The rows of suspensions.
pub fn of_suspensions(all: &[SuspensionEntry]) -> Vec<Row> {
    let one = |of: &SuspensionEntry| {
        let set = of.key.as_ref().zip(of.value.as_ref()).map(|(key, value)| format!(": {key} = {value}"));
        Row {
            cells: vec![
                of.id.to_string(),
                shown(&of.effect),
                format!("{}{}", shown(&of.mail), set.unwrap_or_default()),
                super::super::table::to_the_minute(&of.until),
                shown(&of.by),
            ],
            suspension: Some(of.id),
            more: vec![shown(&of.mail), format!("by {}: {}", shown(&of.by), shown(&of.reason))],
            ..Row::default()
        }
    };
    all.iter().map(one).collect()
}

/// The rows of tenants.
pub fn of_tenants(all: &[AnalyticsRow]) -> Vec<Row> {
    let one = |of: &AnalyticsRow| {
        let (counts, class) = (&of.counts, of.classes.first());
        let gone = counts.bounced + counts.expired + counts.returned;
        let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
        let rate = |name: &str, ratio: Option<f64>| ratio.map(|ratio| format!("{name}: {}", percent(ratio)));
        let mut more =
            vec![format!("expired {}, on the suppression list {}", counts.expired, counts.suppressed)];
        more.extend(rate("deferred", counts.deferral_rate));
        more.extend(rate("complaints", counts.complaint_rate));
        more.extend(
            of.classes.iter().map(|class| format!("{}: {}", shown(&class.class), grouped(class.recipients))),
        );
        Row {
            cells: vec![
                if of.name.is_empty() { "(none)".to_owned() } else { shown(&of.name) },
                grouped(counts.delivered),
                grouped(counts.deferred),
                grouped(gone),
                counts.bounce_rate.map_or_else(|| "-".to_owned(), percent),
                grouped(counts.complaints),
                class.map(|class| shown(&class.class)).unwrap_or_default(),
            ],
            tone: if counts.bounce_rate.is_some_and(|rate| rate >= limits::TOP_BOUNCES) {
                Tone::Warning
            } else {
                Tone::Usual
            },
            // Mail of nobody has no name to be suspended by.
            filter: if of.name.is_empty() { BTreeMap::new() } else { named("tenant", &of.name) },
            more,
            ..Row::default()
        }
    };
    all.iter().map(one).collect()
}

/// Hours, minutes and seconds of an RFC 3339 time.
pub fn clock(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_at_one_address_are_told_apart() {
        let of = |site: &str, name: &str| SiteTotals {
            site: site.into(),
            name: name.into(),
            ..SiteTotals::default()
        };
        for (site, name, wanted) in [
            ("127.0.0.1", "smtp://127.0.0.1:2601", "127.0.0.1:2601"),
            ("mx.example", "smtp://mx.example", "mx.example"),
            ("mx.example", "lmtp://mx.example:24,b.example:24", "mx.example"),
            ("mx.example", "mx.example, mx2.example", "mx.example"),
        ] {
            assert_eq!(place(&of(site, name)), wanted);
        }
    }
}
