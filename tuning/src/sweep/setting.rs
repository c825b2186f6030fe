//! The settings that are tried: where they stand in a configuration, their defaults, and the values worth trying.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::machine::Machine;
use relevo_load::unfit::Unfit;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// `[node] shards`
    Shards,
    /// `[[shard]] core`, one section a shard: the processors the shards are pinned to.
    Cores,
    /// `[tuning] runtime`
    Runtime,
    /// `[tuning] commit_delay`
    CommitDelay,
    /// `[tuning] spin`
    Spin,
    /// `[tuning] ring_depth`
    RingDepth,
    /// `[spool] segment_size`
    SegmentSize,
    /// `[delivery] connections_per_destination`
    ConnectionsPerDestination,
}

impl Key {
    /// All of them, in the order they are tried.
    pub const ALL: [Key; 8] = [
        Key::Shards,
        Key::Cores,
        Key::Runtime,
        Key::CommitDelay,
        Key::Spin,
        Key::RingDepth,
        Key::SegmentSize,
        Key::ConnectionsPerDestination,
    ];

    /// Section and key of a configuration.
    pub fn place(self) -> (&'static str, &'static str) {
        match self {
            Key::Shards => ("node", "shards"),
            Key::Cores => ("shard", "core"),
            Key::Runtime => ("tuning", "runtime"),
            Key::CommitDelay => ("tuning", "commit_delay"),
            Key::Spin => ("tuning", "spin"),
            Key::RingDepth => ("tuning", "ring_depth"),
            Key::SegmentSize => ("spool", "segment_size"),
            Key::ConnectionsPerDestination => ("delivery", "connections_per_destination"),
        }
    }

    /// As people name it.
    pub fn name(self) -> &'static str {
        match self {
            Key::Cores => "cores",
            key => key.place().1,
        }
    }

    /// What the relay does when nothing is said.
    pub fn default_value(self) -> &'static str {
        match self {
            Key::Shards => "0",
            Key::Cores => "in turn",
            Key::Runtime => "auto",
            Key::CommitDelay => "0ms",
            Key::Spin => "0us",
            Key::RingDepth => "128",
            Key::SegmentSize => "64MiB",
            Key::ConnectionsPerDestination => "20",
        }
    }

    /// Values worth trying on a machine, without the default, smallest first.
    pub fn values(self, machine: &Machine) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match self {
            Key::Shards => shards(machine.processors().len()),
            Key::Cores => {
                let cores = machine.cores();
                // One shard a core, where a core is two processors.
                let first = cores.iter().filter_map(|threads| threads.first().map(usize::to_string));
                let smt = cores.iter().any(|threads| threads.len() > 1);
                if smt { vec![first.collect::<Vec<_>>().join(",")] } else { Vec::new() }
            }
            Key::Runtime => words(&["glommio", "epoll"]),
            Key::CommitDelay => words(&["1ms", "5ms"]),
            Key::Spin => words(&["20us", "100us"]),
            Key::RingDepth => words(&["32", "512"]),
            Key::SegmentSize => words(&["16MiB", "256MiB"]),
            Key::ConnectionsPerDestination => words(&["5", "50", "200"]),
        }
    }
}

/// Fewer shards than processors leave some to the kernel's network work; more are tried because it is cheap to know.
fn shards(processors: usize) -> Vec<String> {
    let processors = processors.max(1);
    let mut counts = vec![1, processors / 2, processors - 1, processors + processors.div_ceil(2)];
    counts.retain(|count| *count > 0 && *count != processors && *count <= 256);
    counts.sort_unstable();
    counts.dedup();
    counts.iter().map(usize::to_string).collect()
}

impl FromStr for Key {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Key, Unfit> {
        Key::ALL.into_iter().find(|key| key.name() == text).ok_or_else(|| {
            let names: Vec<_> = Key::ALL.iter().map(|key| key.name()).collect();
            Unfit::new(format!("`{text}` is no setting that can be tried; there are {}", names.join(", ")))
        })
    }
}

/// What differs from the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Settings(BTreeMap<Key, String>);

impl Settings {
    /// One thing changed.
    pub fn with(&self, key: Key, value: &str) -> Settings {
        let mut changed = self.0.clone();
        changed.insert(key, value.to_owned());
        Settings(changed)
    }

    /// The value of a setting, if it is not the default.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.0.get(&key).map(String::as_str)
    }

    /// Whether it is the default.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is set, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// As sections of a configuration. Processors to pin to say how many shards there are, too.
    pub fn sections(&self) -> Table {
        let mut sections = Table::new();
        for (key, value) in self.iter() {
            if key == Key::Cores {
                continue;
            }
            let (section, name) = key.place();
            let value = value.parse::<i64>().map_or_else(|_| Value::String(value.to_owned()), Value::Integer);
            insert(&mut sections, section, name, value);
        }
        if let Some(cores) = self.get(Key::Cores) {
            let cores: Vec<i64> = cores.split(',').filter_map(|core| core.parse().ok()).collect();
            insert(&mut sections, "node", "shards", Value::Integer(cores.len() as i64));
            let shard = |(index, core): (usize, &i64)| {
                Value::Table(Table::from_iter([
                    ("index".to_owned(), Value::Integer(index as i64)),
                    ("core".to_owned(), Value::Integer(*core)),
                ]))
            };
            let shards = cores.iter().enumerate().map(shard).collect();
            sections.insert("shard".to_owned(), Value::Array(shards));
        }
        sections
    }
}

fn insert(sections: &mut Table, section: &str, key: &str, value: Value) {
    let entry = sections.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(table) = entry {
        table.insert(key.to_owned(), value);
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(out, "the defaults");
        }
        for (at, (key, value)) in self.iter().enumerate() {
            write!(out, "{}{} = {value}", if at == 0 { "" } else { ", " }, key.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_sections() {
        let settings = Settings::default()
            .with(Key::CommitDelay, "1ms")
            .with(Key::RingDepth, "512")
            .with(Key::Shards, "7")
            .with(Key::Cores, "0,4");
        let text = settings.sections().to_string();
        let table: Table = text.parse().unwrap();
        assert_eq!(table["tuning"]["commit_delay"].as_str(), Some("1ms"));
        assert_eq!(table["tuning"]["ring_depth"].as_integer(), Some(512));
        assert_eq!(table["node"]["shards"].as_integer(), Some(2), "the processors say how many");
        assert_eq!(table["shard"][1]["core"].as_integer(), Some(4));
        assert_eq!(settings.to_string(), "shards = 7, cores = 0,4, commit_delay = 1ms, ring_depth = 512");
        assert_eq!(Settings::default().to_string(), "the defaults");
    }

    #[test]
    fn values_fit_the_machine() {
        assert_eq!(shards(1), ["2"]);
        assert_eq!(shards(2), ["1", "3"]);
        assert_eq!(shards(16), ["1", "8", "15", "24"]);
        for key in Key::ALL {
            assert_eq!(key.name().parse(), Ok(key));
            assert!(!key.values(&Machine::default()).contains(&key.default_value().to_owned()), "{key:?}");
        }
        assert!("colour".parse::<Key>().unwrap_err().to_string().contains("spin"));
    }
}
