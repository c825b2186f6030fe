//! Sink, sender and verdict around a relay: what a demonstration and a crash test need.
//!
//! [`Load::start`] opens the sink, so that a relay can be told where to deliver; [`Load::send_to`] starts sending to
//! that relay; [`Load::finish`] waits until all it took has arrived, and reports.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::ledger::Ledger;
use crate::mix::{Domains, Recipients, Sizes};
use crate::send::{Outcome, SendConfig, Sender, Until};
use crate::sink::{Behaviour, Sink, SinkConfig, Site};
use crate::units::Plan;
use crate::verdict::Verdict;

/// How often progress is told while waiting.
const TICK: Duration = Duration::from_millis(100);

/// What to drive. Made by [`LoadConfig::default`], changed field by field.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadConfig {
    /// Where the sink listens; port 0 lets the kernel choose.
    pub sink_addresses: Vec<SocketAddr>,
    /// How the sink misbehaves.
    pub behaviour: Behaviour,
    /// Connections to the relay.
    pub connections: usize,
    /// Threads of the sender, and as many of the sink.
    pub threads: usize,
    /// When messages of an open loop are due; None is a closed loop: as fast as the relay answers.
    pub rate: Option<Plan>,
    /// When to stop.
    pub until: Until,
    /// Of messages.
    pub sizes: Sizes,
    /// Of each message.
    pub recipients: Recipients,
    /// Where recipients are.
    pub domains: Domains,
    /// What chance is drawn from.
    pub seed: u64,
}

impl Default for LoadConfig {
    /// Ten seconds of bulk mail over 50 connections in a closed loop, to a sink on the loopback.
    fn default() -> LoadConfig {
        LoadConfig {
            sink_addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            behaviour: Behaviour::default(),
            connections: 50,
            threads: 1,
            rate: None,
            until: Until::Time(Duration::from_secs(10)),
            sizes: Sizes::Mix,
            recipients: Recipients::between(1, 3),
            domains: Domains::providers(),
            seed: 1,
        }
    }
}

/// A sink, and a sender once it was told where to.
pub struct Load {
    config: LoadConfig,
    sink: Sink,
    run: Option<(Sender, Arc<Ledger>)>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live {
    /// Since sending began.
    pub elapsed: Duration,
    /// Whether messages are still being sent; after that only deliveries are waited for.
    pub sending: bool,
    /// Messages begun.
    pub sent: u64,
    /// Messages the relay acknowledged.
    pub acknowledged: u64,
    /// Recipients of those.
    pub acknowledged_recipients: u64,
    /// Recipients reached at the sink, each counted once.
    pub delivered: u64,
    /// Recipients the sink refused for good.
    pub refused: u64,
    /// Messages the relay answered 4xx or 5xx.
    pub rejected: u64,
    /// Messages whose connection was lost before they were answered.
    pub broken: u64,
}

/// What came of it.
#[derive(Clone)]
pub struct Report {
    /// Messages acknowledged.
    pub messages: u64,
    /// Recipients of those.
    pub recipients: u64,
    /// From the first message to the last acknowledgement.
    pub duration: Duration,
    /// From the first message to the last delivery.
    pub delivery_duration: Duration,
    /// Messages acknowledged a second.
    pub rate: f64,
    /// Recipients reached a second.
    pub delivery_rate: f64,
    /// From due to acknowledged, microseconds, one value a message.
    pub accept_latency: Histogram<u64>,
    /// From due to delivered, microseconds, one value a recipient.
    pub delivery_latency: Histogram<u64>,
    /// What was lost, duplicated, corrupted and misrouted.
    pub verdict: Verdict,
    /// The sender's side.
    pub outcome: Outcome,
    /// Processor time the load itself took, sender and sink: what the relay could not have.
    pub load_cpu: Duration,
}

impl Load {
    /// Opens the sink.
    pub fn start(config: LoadConfig) -> io::Result<Load> {
        let mut site = Site::new("sink", config.sink_addresses.clone());
        site.behaviour = config.behaviour.clone();
        let mut sink = SinkConfig::of_sites(vec![site]);
        sink.threads = config.threads;
        sink.seed = config.seed;
        Ok(Load { sink: Sink::start(sink)?, config, run: None })
    }

    /// Where the relay is to deliver everything.
    pub fn sink_addresses(&self) -> &[SocketAddr] {
        self.sink.addresses()
    }

    /// The sink, for its counters.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Starts sending to a relay that listens there. Once; a second call is an error.
    pub fn send_to(&mut self, relay: SocketAddr) -> io::Result<()> {
        if self.run.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this load is sending already"));
        }
        let mut send = SendConfig::new(vec![relay]);
        send.connections = self.config.connections;
        send.threads = self.config.threads;
        send.rate = self.config.rate.clone();
        send.until = self.config.until;
        send.sizes = self.config.sizes.clone();
        send.recipients = self.config.recipients.clone();
        send.domains = self.config.domains.clone();
        send.seed = self.config.seed;
        let ledger = send.ledger();
        self.sink.watch(Arc::clone(&ledger));
        self.run = Some((Sender::start(send)?, ledger));
        Ok(())
    }

    /// Begins no more messages.
    pub fn stop(&self) {
        if let Some((sender, _)) = &self.run {
            sender.stop();
        }
    }

    /// How far it is.
    pub fn live(&self) -> Live {
        let Some((sender, ledger)) = &self.run else { return Live::default() };
        let (progress, sums) = (sender.progress(), ledger.sums());
        Live {
            elapsed: sender.elapsed(),
            sending: !sender.is_finished(),
            sent: progress.sent,
            acknowledged: sums.acknowledged,
            acknowledged_recipients: sums.acknowledged_recipients,
            delivered: sums.delivered,
            refused: sums.refused,
            rejected: progress.tempfails + progress.rejects,
            broken: progress.broken,
        }
    }

    /// Waits for the sender to end and then until every acknowledged recipient was reached or refused, at most for
    /// `patience`; tells `each` how far it is about ten times a second. Returning false from `each` ends the sending,
    /// or the waiting for deliveries. Closes the sink.
    pub fn finish(mut self, patience: Duration, mut each: impl FnMut(&Live) -> bool) -> io::Result<Report> {
        if self.run.is_none() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "this load was never told where to send"));
        }
        while self.live().sending {
            if !each(&self.live()) {
                self.stop();
            }
            std::thread::sleep(TICK);
        }
        let since = Instant::now();
        while let Some((_, ledger)) = &self.run
            && ledger.missing() > 0
            && since.elapsed() < patience
            && each(&self.live())
        {
            std::thread::sleep(TICK);
        }
        each(&self.live());
        let Some((sender, ledger)) = self.run.take() else { return Err(io::ErrorKind::NotFound.into()) };
        let started = sender.started();
        let outcome = sender.finish()?;
        let load_cpu = outcome.cpu + self.sink.cpu();
        self.sink.stop();
        let sums = ledger.sums();
        let delivery_duration = Duration::from_nanos(sums.last_delivery.saturating_sub(started));
        let per_second = |count: u64, time: Duration| count as f64 / time.as_secs_f64().max(1e-9);
        Ok(Report {
            messages: sums.acknowledged,
            recipients: sums.acknowledged_recipients,
            duration: outcome.elapsed,
            delivery_duration,
            rate: per_second(sums.acknowledged, outcome.elapsed),
            delivery_rate: per_second(sums.delivered, delivery_duration),
            accept_latency: outcome.latency.clone(),
            delivery_latency: ledger.latency(),
            verdict: Verdict::of(&ledger),
            outcome,
            load_cpu,
        })
    }
}

/// Writes the usual quantiles of a histogram of microseconds, as in `p50 0.8 ms  p99 3.1 ms  max 12.0 ms`.
pub fn quantiles(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return "none".to_owned();
    }
    let at = |share: f64| histogram.value_at_quantile(share) as f64 / 1000.0;
    let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
    format!(
        "p50 {p50:.2} ms  p99 {p99:.2} ms  p99.9 {p999:.2} ms  max {:.2} ms",
        histogram.max() as f64 / 1000.0
    )
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, delivered) = (self.duration.as_secs_f64(), self.verdict.delivered);
        writeln!(out, "accepted        {:>12.0} messages/s over {seconds:.1} s", self.rate)?;
        writeln!(out, "                {}", quantiles(&self.accept_latency))?;
        let seconds = self.delivery_duration.as_secs_f64();
        writeln!(
            out,
            "delivered       {:>12.0} recipients/s, {delivered} in {seconds:.1} s",
            self.delivery_rate
        )?;
        writeln!(out, "                {}", quantiles(&self.delivery_latency))?;
        write!(out, "{}", self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_straight_into_its_own_sink() {
        let config = LoadConfig { until: Until::Count(3000), connections: 20, ..LoadConfig::default() };
        let mut load = Load::start(config).unwrap();
        let sink = load.sink_addresses()[0];
        load.send_to(sink).unwrap();
        assert!(load.send_to(sink).is_err());
        let mut told = 0;
        let report = load
            .finish(Duration::from_secs(20), |_| {
                told += 1;
                true
            })
            .unwrap();
        assert!(report.verdict.is_clean() && told > 0, "{report}");
        assert_eq!((report.messages, report.verdict.delivered), (3000, report.recipients));
        assert!((5500..6500).contains(&report.recipients), "{}", report.recipients);
        assert_eq!(report.accept_latency.len(), 3000);
        assert_eq!(report.delivery_latency.len(), report.recipients);
        assert!(report.rate > 0.0 && report.to_string().contains("clean"));
    }

    #[test]
    fn a_load_ends_when_told() {
        let mut load = Load::start(LoadConfig { until: Until::Stopped, ..LoadConfig::default() }).unwrap();
        load.send_to(load.sink_addresses()[0]).unwrap();
        let report = load.finish(Duration::from_secs(20), |live| live.acknowledged < 100).unwrap();
        assert!(report.messages >= 100 && report.verdict.is_clean(), "{report}");
    }
}
