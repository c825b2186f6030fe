//! `relevo demo`: a relay, a sink and a load in one process, on the loopback, for a few seconds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use relevo::config::{Config, DomainPattern, RouteConfig, RouteTarget};
use relevo::node::Node;
use relevo::runtime::process;
use relevo_load::demo::{Live, Load, LoadConfig, Report};
use relevo_load::{Until, demo::quantiles};

/// How long deliveries may take after the last message was sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections of the load, which sends as fast as it is answered.
const CONNECTIONS: usize = 16;
/// Connections to the sink: it is one site, whatever domains the mail is for, and takes more than a stranger would.
const SINK_CONNECTIONS: usize = 100;

/// The demonstration's directory, removed at its end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the demonstration. An error if it could not run, or if mail was lost.
pub fn run(seconds: u64) -> Result<(), String> {
    let scratch = Scratch(std::env::temp_dir().join(format!("relevo-demo-{}", std::process::id())));
    process::hold_signals();
    let mut config = LoadConfig::default();
    config.until = Until::Time(Duration::from_secs(seconds));
    config.connections = CONNECTIONS;
    let mut load = Load::start(config).map_err(|error| format!("cannot open the sink: {error}"))?;
    let sink = *load.sink_addresses().first().ok_or("the sink has no address")?;
    println!(
        "relevo demo: a relay on this machine, {seconds} seconds of bulk mail through it, every message on disk before its 250"
    );
    println!("  spool in {}{}", scratch.0.display(), disk_words(&scratch.0));
    let node = Node::start(settings(&scratch.0, sink))?;
    let relay = node.settings.listeners[0].address;
    println!("  {} shards, relay on {relay}, sink on {sink}", node.instruments.len());
    load.send_to(relay).map_err(|error| format!("cannot send: {error}"))?;
    let before = process::usage();
    let report = watch(load, seconds)?;
    let after = process::usage();
    let cpu = (after.cpu - before.cpu - report.load_cpu.as_secs_f64()).max(0.0);
    print_report(&report, cpu, after.anonymous);
    let stopped = node.stop();
    if !report.verdict.is_clean() {
        return Err(
            "mail was lost, altered or misrouted: please report this with the output above".to_owned()
        );
    }
    if !stopped {
        return Err("a shard did not end well".to_owned());
    }
    println!(
        "\nHow to go on: write a configuration (every key with its default is in deploy/relevo.toml), then"
    );
    println!("  relevo check --config FILE    say what it means");
    println!("  relevo run --config FILE      run it");
    Ok(())
}

/// The embedded defaults, on free ports and in a scratch directory.
fn settings(directory: &Path, sink: SocketAddr) -> Config {
    let mut config = Config::embedded();
    config.node.data_dir = directory.join("spool");
    config.log = Some(directory.join("accounting.jsonl"));
    config.control.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.listeners[0].address.set_port(0);
    config.delivery.connections_per_destination = SINK_CONNECTIONS;
    let to = RouteTarget::Smtp { host: sink.ip().to_string(), port: sink.port() };
    config.routes = vec![RouteConfig { domain: DomainPattern::Any, to }];
    config
}

/// A disk in memory makes syncs free, and the figures better than they are.
fn disk_words(directory: &Path) -> &'static str {
    let mut path = directory;
    while !path.exists() {
        match path.parent() {
            Some(parent) => path = parent,
            None => break,
        }
    }
    if process::is_memory_file_system(path) {
        " (in memory: syncs cost nothing here; set TMPDIR to a real disk)"
    } else {
        ""
    }
}

/// Shows progress until the load is over.
fn watch(load: Load, seconds: u64) -> Result<Report, String> {
    let bar = ProgressBar::new(seconds * 10);
    let style =
        ProgressStyle::with_template("  {bar:24} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    let mut last = Live::default();
    let report = load.finish(PATIENCE, |live| {
        let span = live.elapsed.saturating_sub(last.elapsed).as_secs_f64();
        if span > 0.0 {
            let rate = live.acknowledged.saturating_sub(last.acknowledged) as f64 / span;
            let waiting = live.acknowledged_recipients.saturating_sub(live.delivered);
            bar.set_position((live.elapsed.as_millis() / 100) as u64);
            bar.set_message(format!(
                "{:>9} accepted  {rate:>7.0}/s  {:>9} recipients delivered  {waiting:>6} on their way",
                live.acknowledged, live.delivered
            ));
            last = *live;
        }
        process::wait_for_signal(0).is_none()
    });
    bar.finish();
    report.map_err(|error| format!("the load failed: {error}"))
}

fn print_report(report: &Report, cpu: f64, memory: u64) {
    let per_message = cpu / (report.messages.max(1) as f64) * 1e6;
    println!();
    println!("  messages/s           {:>10.0}   accepted, each on disk before its 250", report.rate);
    println!("  recipients/s         {:>10.0}   delivered to the sink", report.delivery_rate);
    println!("  CPU per message      {per_message:>7.0} us   of the relay, all of its threads");
    println!(
        "  memory               {:>6} MiB   of the whole process, load and sink included, the mapped spool not",
        memory >> 20
    );
    println!("  accept               {}", quantiles(&report.accept_latency));
    println!("  accept to delivery   {}", quantiles(&report.delivery_latency));
    println!("  acknowledged         {:>10}   messages, {} recipients", report.messages, report.recipients);
    println!("  lost                 {:>10}", report.verdict.lost);
    println!("  duplicated           {:>10}", report.verdict.duplicated);
    println!("  corrupted            {:>10}", report.verdict.corrupted);
    println!("  misrouted            {:>10}", report.verdict.misrouted);
}
