//! `relevo demo`: a relay, a sink and a load in one process, on the loopback, for a few seconds.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use relevo::config::{Choice, Config, DomainPattern, LogConfig, RouteConfig, RouteTarget};
use relevo::limits;
use relevo::node::Node;
use relevo::runtime::process;
use relevo_load::demo::{Live, Load, LoadConfig, Report};
use relevo_load::unfit::Unfit;
use relevo_load::{Until, demo::quantiles, units};

use crate::commands::output::Failure;

mod place;
mod stay;

use place::{Printer, Scratch, disk_words, goes_on};
pub use stay::run as stay;

/// How long mail is to be sent.
pub fn duration(text: &str) -> Result<Duration, Unfit> {
    let duration = units::time(text)?;
    let fits = (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&duration);
    if fits { Ok(duration) } else { Err(Unfit::new("from 1s to 1h")) }
}

/// Runs the demonstration. An error if it could not run, or if mail was lost.
pub fn run(duration: Duration) -> Result<(), Failure> {
    let scratch = Scratch::new();
    process::hold_signals();
    let mut config = LoadConfig::default();
    config.until = Until::Time(duration);
    config.connections = limits::DEMO_CONNECTIONS;
    let mut load = Load::start(config).map_err(|error| format!("cannot open the sink: {error}"))?;
    let sink = *load.sink_addresses().first().ok_or("the sink has no address".to_owned())?;
    let mut out = Printer::default();
    out.line(format_args!(
        "relevo demo: a relay here, {} of bulk mail through it, every message on disk before its 250",
        units::time_words(duration)
    ));
    out.line(format_args!("  spool in {}{}", scratch.0.display(), disk_words(&scratch.0)));
    out.end()?;
    let node = Node::start(settings(&scratch.0, sink)).map_err(|error| error.to_string())?;
    let relay = node.settings.listeners[0].address.network().ok_or("the relay has no address".to_owned())?;
    out.line(format_args!("  {} shards, relay on {relay}, sink on {sink}", node.instruments.len()));
    let before = process::usage();
    let report = load
        .send_to(relay)
        .map_err(|error| format!("cannot send: {error}"))
        .and_then(|()| watch(load, duration).map_err(|error| format!("the load failed: {error}")));
    let after = process::usage();
    let stopped = node.stop();
    let report = report?;
    let cpu = (after.cpu - before.cpu - report.load_cpu.as_secs_f64()).max(0.0);
    print_report(&report, cpu, after.anonymous, &mut out);
    if !report.verdict.is_clean() {
        let words = "mail was lost, altered or misrouted: please report this with the output above";
        return Err(words.to_owned().into());
    }
    if !stopped {
        return Err("a shard did not end well".to_owned().into());
    }
    out.line(format_args!(
        "\nHow to go on: write a configuration (every key with its default is in deploy/relevo.toml), then"
    ));
    out.line(format_args!("  relevo check --config FILE    say what it means"));
    out.line(format_args!("  relevo run --config FILE      run it"));
    Ok(out.end()?)
}

/// The embedded defaults, on free ports and in a scratch directory.
fn settings(directory: &Path, sink: SocketAddr) -> Config {
    let mut config = Config::embedded();
    config.node.data_dir = directory.join("spool");
    config.logs = vec![LogConfig::to(directory.join("accounting.jsonl"))];
    config.control.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    // The usual one is that of a relay that may run here.
    config.control.socket = None;
    config.listeners[0].address = SocketAddr::from(([127, 0, 0, 1], 0)).into();
    config.delivery.connections_per_destination = limits::DEMO_SINK_CONNECTIONS;
    let to = Choice::only(RouteTarget::smtp(sink.ip().to_string(), sink.port()));
    config.routes =
        vec![RouteConfig { domain: DomainPattern::Any, to, tls: None, credentials: None, retry: None }];
    config
}

/// Shows progress until the load is over.
fn watch(load: Load, duration: Duration) -> std::io::Result<Report> {
    let bar = ProgressBar::new((duration.as_millis() / 100) as u64);
    let style =
        ProgressStyle::with_template("  {bar:24} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    let mut last = Live::default();
    let report = load.finish(limits::DEMO_PATIENCE, |live| {
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
        goes_on(process::wait_for_signal(0))
    });
    bar.finish();
    report
}

fn print_report(report: &Report, cpu: f64, memory: u64, out: &mut Printer) {
    let per_message = cpu / (report.messages.max(1) as f64) * 1e6;
    out.line(format_args!(""));
    out.line(format_args!(
        "  messages/s           {:>10.0}   accepted, each on disk before its 250",
        report.rate
    ));
    out.line(format_args!("  recipients/s         {:>10.0}   delivered to the sink", report.delivery_rate));
    out.line(format_args!("  CPU per message      {per_message:>7.0} us   of the relay, all of its threads"));
    out.line(format_args!(
        "  memory               {:>6} MiB   of this process, load and sink included, the mapped spool not",
        memory >> 20
    ));
    out.line(format_args!("  accept               {}", quantiles(&report.accept_latency)));
    out.line(format_args!("  accept to delivery   {}", quantiles(&report.delivery_latency)));
    out.line(format_args!(
        "  acknowledged         {:>10}   messages, {} recipients",
        report.messages, report.recipients
    ));
    out.line(format_args!("  lost                 {:>10}", report.verdict.lost));
    out.line(format_args!("  duplicated           {:>10}", report.verdict.duplicated));
    out.line(format_args!("  corrupted            {:>10}", report.verdict.corrupted));
    out.line(format_args!("  misrouted            {:>10}", report.verdict.misrouted));
}
