//! `[[shard]]`: what one shard does differently from the others.
//!
//! How many shards there are and which processors the process may use is known for certain only at the start, so some errors are found
//! there ([`judge_shards`](super::Config::judge_shards)); they name file and line all the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::error::ConfigError;
use crate::config::literal::{Fix, Wrong, addresses, at_most, integer, list, numbers};
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::config::{ListenAddress, guess, value};
use crate::limits;

/// `[[shard]]`
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Which shard.
    pub index: usize,
    /// The processor it is pinned to; None: one after the other of those this process may use.
    pub core: Option<usize>,
    /// The listeners it opens, by their places in [`listeners`](super::Config::listeners); None: all.
    pub listeners: Option<Vec<usize>>,
    /// The lanes it keeps besides its own; None: its part of those nobody asks for.
    pub lanes: Option<Vec<u16>>,
    /// Client connections open at one time; None: [`limits::INBOUND_CONNECTIONS_MAX`].
    pub connections_inbound_max: Option<usize>,
    /// Connections to next hops open at one time; None: [`limits::OUTBOUND_CONNECTIONS_MAX`].
    pub connections_outbound_max: Option<usize>,
    /// In place of that of `[tuning]`.
    pub spin: Option<Duration>,
    /// In place of that of `[tuning]`.
    pub commit_delay: Option<Duration>,
    place: SectionLines,
}

/// Where a section stands, for errors that are found later.
#[derive(Clone, Debug)]
struct SectionLines {
    file: PathBuf,
    path: String,
    line: usize,
    lines: BTreeMap<&'static str, usize>,
}

/// What holds for one shard, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Particulars {
    /// The processor it is pinned to, when the configuration says so.
    pub core: Option<usize>,
    /// Whether it opens each listener.
    pub listeners: Vec<bool>,
    /// The lanes it keeps besides its own, when the configuration says so.
    pub lanes: Option<Vec<u16>>,
    /// Client connections open at one time.
    pub connections_inbound_max: usize,
    /// Connections to next hops open at one time.
    pub connections_outbound_max: usize,
    /// Questions to name servers on their way at one time.
    pub questions_max: usize,
    /// How long it looks for work before it sleeps.
    pub spin: Duration,
    /// How long a commit of it waits for more clients.
    pub commit_delay: Duration,
}

/// Keys whose lines are remembered.
const KEYS: [&str; 4] = ["index", "core", "listeners", "lanes"];

pub(super) fn read(sections: &[Section<'_>], listeners: &[ListenAddress]) -> Vec<ShardConfig> {
    sections.iter().map(|section| one(section, listeners)).collect()
}

fn one(section: &Section<'_>, listeners: &[ListenAddress]) -> ShardConfig {
    let most = limits::SHARDS_MAX as u64 - 1;
    if section.line("index").is_none() {
        let fix = Fix::Write("0".to_owned(), ": which shard this is about".to_owned());
        section.fail("index", "", "this key is missing", fix);
    }
    let (file, path, line) = section.place();
    let number =
        |key, most| section.read(key, None, |value| integer(value, 1..=most, most).map(|n| Some(n as usize)));
    let shard = ShardConfig {
        index: section.read("index", 0, |value| integer(value, 0..=most, 0)) as usize,
        core: section.read("core", None, |value| {
            integer(value, 0..=u64::from(u16::MAX), 0).map(|core| Some(core as usize))
        }),
        listeners: section.read("listeners", None, |value| {
            let usual = listeners.first().map(ListenAddress::to_string).unwrap_or_default();
            let listed = list(value, of_listener, guess::listening, &usual)?;
            places(&listed, listeners).map(Some)
        }),
        lanes: section.read("lanes", None, |value| {
            numbers(value, 0..=most).map(|lanes| Some(lanes.into_iter().map(|lane| lane as u16).collect()))
        }),
        connections_inbound_max: number("connections_inbound_max", limits::INBOUND_CONNECTIONS_LIMIT),
        connections_outbound_max: number("connections_outbound_max", limits::OUTBOUND_CONNECTIONS_LIMIT),
        spin: section.read("spin", None, |value| at_most(value, limits::SPIN_MAX).map(Some)),
        commit_delay: section
            .read("commit_delay", None, |value| at_most(value, limits::COMMIT_DELAY_MAX).map(Some)),
        place: SectionLines {
            file,
            path,
            line,
            lines: KEYS.into_iter().filter_map(|key| Some((key, section.line(key)?))).collect(),
        },
    };
    section.finish();
    shard
}

/// As a listener has it.
fn of_listener(text: &str) -> Result<ListenAddress, BadValue> {
    if text.starts_with('/') || text.starts_with("unix:") {
        text.parse()
    } else {
        value::socket(text, None).map(Into::into)
    }
}

/// Addresses as places in the list of listeners.
fn places(listed: &[ListenAddress], listeners: &[ListenAddress]) -> Result<Vec<usize>, Wrong> {
    let mut found = Vec::new();
    let place = |address: &ListenAddress| listeners.iter().position(|listener| listener == address);
    // Those that exist, each once; all where there are none.
    let right = || {
        let mut right: Vec<&ListenAddress> = Vec::new();
        for address in listed.iter().filter(|address| place(address).is_some()) {
            if !right.contains(&address) {
                right.push(address);
            }
        }
        if right.is_empty() {
            right.extend(listeners);
        }
        addresses(right.into_iter())
    };
    for address in listed {
        let Some(place) = place(address) else {
            let known = addresses(listeners.iter());
            let problem = format!("no [[listener]] has the address {address}");
            return Err(Wrong::write(problem, right(), &format!("; there are {known}")));
        };
        if found.contains(&place) {
            return Err(Wrong::write(format!("{address} is listed twice"), right(), ""));
        }
        found.push(place);
    }
    Ok(found)
}

impl ShardConfig {
    /// Whether another says the same, but for the listeners.
    pub fn is_like(&self, other: &ShardConfig) -> bool {
        let ShardConfig { index, core, listeners: _, lanes, spin, commit_delay, place: _, .. } = self;
        let ShardConfig { connections_inbound_max, connections_outbound_max, .. } = self;
        *index == other.index
            && *core == other.core
            && *lanes == other.lanes
            && *connections_inbound_max == other.connections_inbound_max
            && *connections_outbound_max == other.connections_outbound_max
            && *spin == other.spin
            && *commit_delay == other.commit_delay
    }

    /// The line where it begins.
    pub(super) fn line(&self) -> usize {
        self.place.line
    }

    /// Something is wrong with one of its keys.
    pub(super) fn error(&self, key: &'static str, problem: String, fix: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.place.file.clone(),
            line: self.place.lines.get(key).copied().unwrap_or(self.place.line),
            key: format!("{}.{key}", self.place.path),
            value: String::new(),
            problem,
            fix: fix.into(),
        }
    }
}
