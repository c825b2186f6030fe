//! Tries settings of the relay on this machine and keeps what clearly helps.
//!
//! One setting after the other is changed from its default, and the relay with the change is measured alternating with the relay
//! without it, several rounds. A change is kept when the median of the rounds' ratios is clearly above one ([`decision`]); what was kept
//! is then combined, again one after the other beside the best so far ([`mod@search`]). Each measurement is a relay of its own between a
//! sender and a sink in this process ([`trial`]).

pub mod decision;
pub mod fragment;
pub mod page;
pub mod search;
pub mod setting;
pub mod trial;

mod chart;

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use decision::Decision;
use relevo_load::unfit::Unfit;
use setting::{Key, Settings};

pub use search::{Bench, Event, search};

/// What a relay is to be good at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Recipients delivered a second.
    #[default]
    Rate,
    /// Little processor time a message.
    Cpu,
    /// A short wait for the 250, 99 of 100.
    Latency,
}

impl Goal {
    /// What a measurement is worth: more is better.
    pub fn score(self, measured: &Measured) -> f64 {
        match self {
            Goal::Rate => measured.rate,
            Goal::Cpu => 1e6 / measured.cpu_us.max(1e-9),
            Goal::Latency => 1e3 / measured.p99_ms.max(1e-9),
        }
    }

    /// In words, for ratios of it.
    pub fn words(self) -> &'static str {
        match self {
            Goal::Rate => "rate",
            Goal::Cpu => "messages a second of CPU",
            Goal::Latency => "quickness of the 250 (p99)",
        }
    }
}

impl std::str::FromStr for Goal {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Goal, Unfit> {
        match text {
            "rate" => Ok(Goal::Rate),
            "cpu" => Ok(Goal::Cpu),
            "latency" => Ok(Goal::Latency),
            _ => Err(Unfit::new(format!("`{text}`: write rate, cpu or latency"))),
        }
    }
}

/// What one run of the relay came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Recipients delivered a second, from the first message to the last delivery.
    pub rate: f64,
    /// Messages accepted a second.
    pub accepted: f64,
    /// Processor time of the relay, microseconds a message.
    pub cpu_us: f64,
    /// Median wait for the 250, ms.
    pub p50_ms: f64,
    /// Wait for the 250, 99 of 100, ms.
    pub p99_ms: f64,
}

/// Why two settings were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The default beside itself: how far two equal relays are apart here.
    Noise,
    /// One setting changed.
    Single,
    /// One that helped alone, laid over the best so far.
    Combined,
    /// The best beside the default.
    Whole,
}

/// Two settings, measured alternating.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Why.
    pub stage: Stage,
    /// What was changed, when it was one thing.
    pub key: Option<Key>,
    /// What it was compared with.
    pub base: Settings,
    /// What was tried.
    pub tried: Settings,
    /// Base and tried of each round.
    pub pairs: Vec<(Measured, Measured)>,
    /// What follows.
    pub decision: Decision,
}

/// What a sweep came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was aimed at.
    pub goal: Goal,
    /// The load, in words.
    pub load: String,
    /// The machine, in words.
    pub machine: String,
    /// All that was measured.
    pub comparisons: Vec<Comparison>,
    /// What differs from the default in the best; nothing: the default is as good as anything.
    pub best: Settings,
    /// Time ran out before everything was tried.
    pub unfinished: bool,
}

impl Outcome {
    /// The comparison a setting of the best was chosen by.
    pub fn reason(&self, key: Key) -> Option<&Comparison> {
        let value = self.best.get(key)?;
        self.comparisons.iter().find(|one| {
            one.stage == Stage::Single && one.key == Some(key) && one.tried.get(key) == Some(value)
        })
    }

    /// The best beside the default.
    pub fn whole(&self) -> Option<&Comparison> {
        let last = self.comparisons.iter().rfind(|one| one.stage == Stage::Whole);
        last.or_else(|| {
            let mut singles = self.comparisons.iter().filter(|one| one.stage == Stage::Single);
            singles.find(|one| !self.best.is_empty() && one.tried == self.best)
        })
    }
}

/// Why a sweep ended early.
#[derive(Debug)]
pub enum Failure {
    /// The relay does not take a configuration: which, and its words.
    Refused(Settings, String),
    /// Somebody pressed Ctrl-C.
    Interrupted,
    /// The machine: what was tried, and why not.
    Io(String, io::Error),
}

impl Failure {
    /// With a word about what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
        |error| Failure::Io(what.into(), error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(settings, words) => {
                write!(out, "the relay refuses the configuration with {settings}: {words}")
            }
            Failure::Interrupted => write!(out, "interrupted; the relay was stopped and the scratch removed"),
            Failure::Io(what, error) => write!(out, "{what}: {error}"),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Sending time of one measurement.
    pub step: Duration,
    /// Rounds of a comparison, at most.
    pub rounds: usize,
}

impl Effort {
    /// What a measurement takes beside its sending: start, greeting, the last deliveries, stop.
    const AROUND: Duration = Duration::from_millis(1800);

    /// How long so many comparisons take at most.
    pub fn estimate(&self, comparisons: usize) -> Duration {
        // A first, short run of both sides fills the lanes with segments.
        let warm = (self.step / 2 + Effort::AROUND) * 2;
        (warm + (self.step + Effort::AROUND) * 2 * self.rounds as u32) * comparisons as u32
    }
}
