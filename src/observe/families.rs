//! Counters that differ by labels. Written by one shard and read by anyone, like all counters: whoever counts has the place at hand, so
//! counting looks up, locks and allocates nothing.
//!
//! A [`Family`] has one label whose values are known when it is written. A [`NamedCounters`] has one more, whose values are names that come up
//! while the relay runs: so many and no more; what comes later is counted as [`OTHER`].

use std::fmt;
use std::sync::OnceLock;

use crate::limits;
use crate::names::{CLASSES, REASONS, VERDICTS};
use crate::observe::counters::Counter;

/// The value of a label for all that have none of their own.
pub const OTHER: &str = "other";

/// What a family is called, and its label.
#[derive(Debug)]
pub struct FamilyInfo {
    /// Its name, without prefix and suffix.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// The label.
    pub label: &'static str,
    /// Its values.
    pub values: &'static [&'static str],
}

/// Counters, one a value of a label.
#[derive(Debug)]
pub struct Family {
    what: &'static FamilyInfo,
    counters: Box<[Counter]>,
}

impl Family {
    /// All 0.
    pub fn new(what: &'static FamilyInfo) -> Family {
        Family { what, counters: what.values.iter().map(|_| Counter::default()).collect() }
    }

    /// What it is.
    pub fn what(&self) -> &'static FamilyInfo {
        self.what
    }

    /// Adds to the counter of a value, by its place in [`FamilyInfo::values`].
    pub fn add(&self, place: usize, count: u64) {
        debug_assert!(place < self.counters.len(), "{}: there is no value {place}", self.what.name);
        if let Some(counter) = self.counters.get(place) {
            counter.add(count);
        }
    }

    /// The counter of a value, by its place.
    pub fn get(&self, place: usize) -> u64 {
        self.counters.get(place).map_or(0, Counter::get)
    }

    /// All values, and their counts.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.what.values.iter().copied().zip(self.counters.iter().map(Counter::get))
    }
}

/// Where a name has its counters; the default is that of [`OTHER`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamePlace(u16);

/// Counters, one a name and value of a label.
pub struct NamedCounters {
    /// The label whose values are names.
    label: &'static str,
    what: &'static FamilyInfo,
    /// The first is [`OTHER`].
    names: Box<[OnceLock<Box<str>>]>,
    counters: Box<[Counter]>,
}

impl NamedCounters {
    /// All 0, and no names.
    pub fn new(label: &'static str, what: &'static FamilyInfo) -> NamedCounters {
        NamedCounters::with_names(limits::METRIC_NAMES_MAX, label, what)
    }

    /// The same with room for so many names.
    pub fn with_names(rows: usize, label: &'static str, what: &'static FamilyInfo) -> NamedCounters {
        let names: Box<[OnceLock<Box<str>>]> = (0..rows).map(|_| OnceLock::new()).collect();
        let _ = names[0].set(OTHER.into());
        let counters = (0..rows * what.values.len()).map(|_| Counter::default()).collect();
        NamedCounters { label, what, names, counters }
    }

    /// What it is, and its other label.
    pub fn what(&self) -> (&'static str, &'static FamilyInfo) {
        (self.label, self.what)
    }

    /// The place of a name, by the one shard that counts here: to be kept, as this goes through all names. Where there are too many, that of
    /// [`OTHER`].
    pub fn place(&self, name: &str) -> NamePlace {
        for (place, slot) in self.names.iter().enumerate() {
            if &**slot.get_or_init(|| name.into()) == name {
                return NamePlace(place as u16);
            }
        }
        NamePlace::default()
    }

    /// Adds to the counter of a name and value, by their places.
    pub fn add(&self, NamePlace(name): NamePlace, value: usize, count: u64) {
        debug_assert!(value < self.what.values.len(), "{}: there is no value {value}", self.what.name);
        if let Some(counter) = self.counters.get(usize::from(name) * self.what.values.len() + value) {
            counter.add(count);
        }
    }

    /// All names that came up and all values, and their counts.
    pub fn each(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        let values = self.what.values;
        let rows = self.names.iter().zip(self.counters.chunks(values.len().max(1)));
        rows.filter_map(|(name, row)| Some((name.get()?, row))).flat_map(move |(name, row)| {
            values.iter().zip(row).map(move |(value, counter)| (&**name, *value, counter.get()))
        })
    }
}

impl fmt::Debug for NamedCounters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.each().map(|(name, value, count)| ((name, value), count))).finish()
    }
}

/// Values of `rejected`: the reasons in their order, and [`OTHER`] for refusals of which no reason was kept.
pub const REJECTED: [&str; REASONS.len() + 1] = {
    let mut values = [OTHER; REASONS.len() + 1];
    let mut at = 0;
    while at < REASONS.len() {
        values[at] = REASONS[at];
        at += 1;
    }
    values
};

/// What came back to this node: what was told as an event, what is counted alone, and what nobody believes.
pub const CAME_BACK: [&str; 12] = [
    "bounce",
    "complaint",
    "delay",
    "receipt",
    "auto_reply",
    "other",
    "forged",
    "expired",
    "altered",
    "other_node",
    "unmatched",
    "unsubscribe",
];

/// Connections of balancers: whose the header said whose they are, which were looks whether we are there, and whose header is none.
pub const PROXIED: [&str; 3] = ["ok", "check", "bad"];

/// Ways out of a list that a rule asked for, by what came of it.
pub const WAYS_OUT: [&str; 5] = ["added", "present", "several_recipients", "too_long", "signed"];

/// Messages that the service of `[hook]` was asked about, by what it said; or it failed, is left alone for that, or too much waited.
pub const HOOK: [&str; 7] = ["accept", "reject", "defer", "discard", "failed", "resting", "late"];

const QUOTA_REFUSED: FamilyInfo = FamilyInfo {
    name: "quota_refused",
    help: "Messages that were refused as a quota is used, by whose it is",
    label: "owner",
    values: &["account", "tenant"],
};

const HOOKED: FamilyInfo = FamilyInfo {
    name: "hook",
    help: "Messages that the service of [hook] was asked about, by what came of it",
    label: "result",
    values: &HOOK,
};

const BY_SOURCE: FamilyInfo = FamilyInfo {
    name: "source_recipients",
    help: "Recipients in attempts over a connection by a source, and what became of them",
    label: "outcome",
    values: &["delivered", "deferred", "bounced"],
};

const BY_PROVIDER: FamilyInfo = FamilyInfo {
    name: "provider_recipients",
    help: "Recipients in attempts over a connection, by provider of the shaping files (the busiest; other: all else) and by what became of them",
    label: "outcome",
    values: &["delivered", "deferred", "bounced"],
};

const BY_TENANT: FamilyInfo = FamilyInfo {
    name: "tenant_recipients",
    help: "Recipients of tenants (the busiest; other: all else) by what became of them; those given up for age are bounced",
    label: "outcome",
    values: &["delivered", "deferred", "bounced"],
};

/// What became of recipients in attempts, by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The hop took them.
    Delivered,
    /// They are tried again.
    Deferred,
    /// They go back.
    Bounced,
}

/// All families of a shard.
#[derive(Debug)]
pub struct Families {
    /// Refusals to clients, by [`REJECTED`].
    pub rejected: Family,
    /// Recipients that were not delivered when they were tried or given up, by [`CLASSES`].
    pub classified: Family,
    /// Adaptive windows, by what was narrowed ([`crate::shaping::window::Narrows`]).
    pub narrowed: Family,
    /// Bounces and complaints that came back, by [`CAME_BACK`].
    pub came_back: Family,
    /// Ways out of lists, by [`WAYS_OUT`].
    pub ways_out: Family,
    /// Connections from `proxy_from`, by [`PROXIED`].
    pub proxied: Family,
    /// Messages that were refused as a quota is used, by whose it is ([`crate::policy::quota::Owner`]).
    pub quota_refused: Family,
    /// Messages that a service was asked about, by [`HOOK`].
    pub hook: Family,
    /// Recipients in attempts over a connection, by route and [`Tried`].
    pub attempted: NamedCounters,
    /// The same, by source and [`Tried`]; what left by the node's own addresses is not in it.
    pub by_source: NamedCounters,
    /// The same, by provider of the shaping files and [`Tried`]; a site of none is in [`OTHER`].
    pub by_provider: NamedCounters,
    /// Recipients of tenants, by tenant and [`Tried`]; mail of nobody in particular is not in it.
    pub by_tenant: NamedCounters,
    /// Messages of strangers, by what was verified ([`CHECKS`](crate::names::CHECKS)) and what it came to ([`VERDICTS`]).
    pub verified: NamedCounters,
}

impl Default for Families {
    fn default() -> Families {
        Families {
            rejected: Family::new(&FamilyInfo {
                name: "rejected",
                help: "Refusals to clients by their reason",
                label: "reason",
                values: &REJECTED,
            }),
            classified: Family::new(&FamilyInfo {
                name: "classified_recipients",
                help: "Recipients deferred, bounced or expired, by what the reply to them is about",
                label: "class",
                values: &CLASSES,
            }),
            narrowed: Family::new(&FamilyInfo {
                name: "windows_narrowed",
                help: "Times that a site got less for what it refused, by what it got less of",
                label: "of",
                values: &["connections", "messages"],
            }),
            came_back: Family::new(&FamilyInfo {
                name: "came_back",
                help: "Mail that came back to this node, by what it was",
                label: "what",
                values: &CAME_BACK,
            }),
            ways_out: Family::new(&FamilyInfo {
                name: "unsubscribe_fields",
                help: "Messages that were to get List-Unsubscribe by a rule, by what came of it",
                label: "result",
                values: &WAYS_OUT,
            }),
            proxied: Family::new(&FamilyInfo {
                name: "proxied",
                help: "Connections of balancers (proxy_from), by what their PROXY header said",
                label: "result",
                values: &PROXIED,
            }),
            quota_refused: Family::new(&QUOTA_REFUSED),
            hook: Family::new(&HOOKED),
            attempted: NamedCounters::new(
                "route",
                &FamilyInfo {
                    name: "attempted_recipients",
                    help: "Recipients in attempts over a connection, by route and by what became of them",
                    label: "outcome",
                    values: &["delivered", "deferred", "bounced"],
                },
            ),
            by_source: NamedCounters::new("source", &BY_SOURCE),
            by_provider: NamedCounters::new("provider", &BY_PROVIDER),
            by_tenant: NamedCounters::with_names(limits::METRIC_TENANTS_MAX, "tenant", &BY_TENANT),
            verified: NamedCounters::new(
                "check",
                &FamilyInfo {
                    name: "verified",
                    help: "Messages of strangers to domains of relay_to, by what was verified and what it came to",
                    label: "result",
                    values: &VERDICTS,
                },
            ),
        }
    }
}

impl Families {
    /// Those with one label.
    pub fn plain(&self) -> [&Family; 8] {
        let Families { rejected, classified, narrowed, came_back, ways_out, proxied, .. } = self;
        let Families { quota_refused, hook, .. } = self;
        [rejected, classified, narrowed, came_back, ways_out, proxied, quota_refused, hook]
    }

    /// Those with names that all shards together count, the busiest by their names.
    pub fn ranked(&self) -> [&NamedCounters; 2] {
        [&self.by_provider, &self.by_tenant]
    }

    /// Those with names.
    pub fn named(&self) -> [&NamedCounters; 3] {
        [&self.attempted, &self.by_source, &self.verified]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_counter() {
        let families = Families::default();
        families.rejected.add(0, 2);
        families.rejected.add(REJECTED.len() - 1, 1);
        families.rejected.add(0, 3);
        let counted: Vec<_> = families.rejected.each().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(REJECTED[0], 5), (OTHER, 1)]);
        assert_eq!(families.rejected.each().count(), REJECTED.len());
    }

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let Families { attempted, .. } = Families::default();
        let places: Vec<NamePlace> =
            (0..limits::METRIC_NAMES_MAX + 2).map(|name| attempted.place(&format!("route {name}"))).collect();
        assert_eq!(attempted.place("route 0"), places[0]);
        assert_ne!(places[0], places[1]);
        let room = limits::METRIC_NAMES_MAX - 1;
        assert!(places[..room].iter().all(|place| *place != NamePlace::default()));
        assert!(places[room..].iter().all(|place| *place == NamePlace::default()), "{places:?}");
        for place in &places {
            attempted.add(*place, Tried::Deferred as usize, 1);
        }
        attempted.add(places[4], Tried::Bounced as usize, 7);
        let count = |name: &str, value: &str| {
            attempted.each().find(|(one, other, _)| (*one, *other) == (name, value)).map(|(.., count)| count)
        };
        assert_eq!((count(OTHER, "deferred"), count(OTHER, "bounced")), (Some(3), Some(0)));
        assert_eq!((count("route 4", "deferred"), count("route 4", "bounced")), (Some(1), Some(7)));
        assert_eq!((count("route 5", "bounced"), count("route 5", "delivered")), (Some(0), Some(0)));
        // Who is called so is counted there, too.
        assert_eq!(attempted.place(OTHER), NamePlace::default());
        let families = Families::default();
        assert_eq!(families.attempted.each().count(), 3, "names that did not come up are not shown");
    }
}
