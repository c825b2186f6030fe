//! What came of a run: the data, and three ways to look at it.

pub mod compare;
pub mod html;
pub mod plot;
pub mod text;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::verdict::Verdict;

/// All runs of one command, in the order they were made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Report {
    /// The runs.
    pub runs: Vec<Run>,
}

/// One run of one relay.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Run {
    /// Of the relay.
    pub label: String,
    /// The scenario and what it shows.
    pub scenario: String,
    /// See above.
    pub about: String,
    /// When it began, seconds since 1970.
    pub began: u64,
    /// The machine.
    pub machine: Machine,
    /// Settings that differ from the scenario's own, as text.
    pub settings: String,
    /// The sender's side.
    pub load: Load,
    /// The receivers' side.
    pub delivery: Delivery,
    /// What the relay used.
    pub cost: Cost,
    /// When it was killed.
    pub kills: Vec<Kill>,
    /// How receivers that take only so much were treated, where that is asked.
    #[serde(default)]
    pub throttling: Option<Throttling>,
    /// What hostile clients did.
    #[serde(default)]
    pub attacks: Vec<crate::attack::Outcome>,
    /// The receivers one by one.
    pub sites: Vec<SiteOutcome>,
    /// What was lost.
    pub verdict: Verdict,
    /// Whether all was settled before patience ended.
    pub drained: bool,
    /// How the relay ended.
    pub ending: String,
    /// The relay's directory, with its log, spool and output, where it was left for a look; empty when all went well.
    #[serde(default)]
    pub left: String,
    /// What was measured on the way.
    pub samples: Vec<Sample>,
}

/// Where a run was made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Machine {
    /// Processors this process may use.
    pub cores: usize,
    /// Their model.
    pub processor: String,
    /// The kernel's release.
    pub kernel: String,
    /// Bytes.
    pub memory: u64,
}

/// What was sent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Load {
    /// The sender's counters.
    pub progress: crate::send::Progress,
    /// From the first message to the last acknowledgement.
    pub seconds: f64,
    /// Messages acknowledged a second.
    pub rate: f64,
    /// Processor time of sender and sink.
    pub cpu_seconds: f64,
    /// Until a transaction could begin on a new connection.
    pub connect: Latency,
    /// From the moment a message was due to its 250.
    pub accept: Latency,
    /// From the moment it was begun.
    pub answer: Latency,
}

/// What was delivered.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Delivery {
    /// Recipients reached, each counted once.
    pub recipients: u64,
    /// From the first message to the last delivery.
    pub seconds: f64,
    /// Recipients a second.
    pub rate: f64,
    /// From the moment a message was due to its delivery.
    pub latency: Latency,
}

/// What the relay used. Zero when its process is not known.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Cost {
    /// Processor time while the run lasted.
    pub cpu_seconds: f64,
    /// A message acknowledged.
    pub cpu_us_per_message: f64,
    /// Most memory of its own, bytes.
    pub anonymous_peak: u64,
    /// Most memory in use, mapped files included, bytes.
    pub resident_peak: u64,
}

/// One SIGKILL.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Kill {
    /// Seconds since the first message.
    pub at: f64,
    /// Seconds from the start of the command to its greeting.
    pub back_after: f64,
}

/// One receiver.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct SiteOutcome {
    /// Its name.
    pub name: String,
    /// Its share of the recipients, 0 to 1.
    pub share: f64,
    /// Its counters.
    pub counts: crate::sink::Counts,
    /// The most connections at one time.
    pub connections_peak: u64,
    /// From due to delivered.
    pub latency: Latency,
}

/// Microseconds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Latency {
    /// Values.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90 of 100 are below.
    pub p90: u64,
    /// And so on.
    pub p99: u64,
    /// And so on.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// Share above, and the value: from all to the last of ten thousand.
    pub curve: Vec<(f64, u64)>,
}

impl Latency {
    /// From a histogram of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Latency {
        if histogram.is_empty() {
            return Latency::default();
        }
        let at = |share: f64| histogram.value_at_quantile(share);
        let above = (0..=80).map(|step| 10f64.powf(-f64::from(step) / 20.0));
        Latency {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            curve: above.map(|above| (above, at(1.0 - above))).collect(),
        }
    }
}

/// How receivers that take only so much were treated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Throttling {
    /// Messages that those of them whose limits are known took.
    pub due: u64,
    /// Those that they had by when they could have had all.
    pub in_time: u64,
    /// The least share that was asked.
    pub least_taken: f64,
    /// Messages begun, at all receivers.
    pub attempts: u64,
    /// Those deferred because too many came in a time.
    pub deferred: u64,
    /// The largest share that was asked.
    pub most_deferred: f64,
    /// Connections refused because there were too many.
    pub turned_away: u64,
    /// Refusals of receivers whose limits the relay was told.
    pub exceeded: u64,
}

impl Throttling {
    /// The share that was given in time.
    pub fn taken(&self) -> f64 {
        if self.due == 0 { 1.0 } else { self.in_time as f64 / self.due as f64 }
    }

    /// The share that was deferred.
    pub fn share_deferred(&self) -> f64 {
        self.deferred as f64 / self.attempts.max(1) as f64
    }

    /// Whether it was as was asked.
    pub fn is_kept(&self) -> bool {
        self.taken() >= self.least_taken && self.share_deferred() <= self.most_deferred && self.exceeded == 0
    }
}

/// One look at a run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Sample {
    /// Seconds since the first message.
    pub at: f64,
    /// Messages acknowledged since the last look, a second.
    pub accepted: f64,
    /// Recipients delivered since the last look, a second.
    pub delivered: f64,
    /// Recipients acknowledged and not settled.
    pub queue: u64,
    /// Accept latency of the messages acknowledged since the last look, microseconds.
    pub accept_p50: u64,
    /// See above.
    pub accept_p99: u64,
    /// Cores the relay kept busy since the last look.
    pub cores: f64,
    /// Its own memory, bytes.
    pub anonymous: u64,
    /// All memory in use, bytes.
    pub resident: u64,
    /// Connections open at the sink.
    pub connections: u64,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory: memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024,
        }
    }
}

impl Report {
    /// The labels, in the order they first came.
    pub fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !labels.contains(&run.label.as_str()) {
                labels.push(&run.label);
            }
        }
        labels
    }

    /// The runs of one relay.
    pub fn runs_of<'a>(&'a self, label: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.label == label)
    }

    /// The run of one relay with the median rate of acceptance.
    pub fn median(&self, label: &str) -> Option<&Run> {
        let mut runs: Vec<&Run> = self.runs.iter().filter(|run| run.label == label).collect();
        runs.sort_by(|one, other| one.load.rate.total_cmp(&other.load.rate));
        runs.get(runs.len() / 2).copied()
    }

    /// Whether every run of every relay lost, repeated and altered nothing, and settled all.
    pub fn is_clean(&self) -> bool {
        self.runs.iter().all(Run::is_clean)
    }
}

impl Run {
    /// Whether all is well, in a sentence.
    pub fn answer(&self) -> String {
        let sentence = self.verdict.sentence();
        let undrained = self.verdict.recipients > 0 && !self.drained;
        if undrained { format!("NOT DRAINED, and so far {sentence}") } else { sentence }
    }

    /// Whether it took mail, lost, repeated and altered nothing, and settled all.
    pub fn is_clean(&self) -> bool {
        let kept = self.throttling.as_ref().is_none_or(Throttling::is_kept);
        self.verdict.recipients > 0 && self.drained && self.verdict.is_clean() && kept
    }
}
