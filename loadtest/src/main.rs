//! The command: `relevo-load sink`, `relevo-load send`, `relevo-load verdict`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use relevo_load::demo::quantiles;
use relevo_load::{
    Behaviour, DnsServer, Domains, Outcome, Recipients, SendConfig, Sender, Sink, SinkConfig, Sizes, Until,
    Verdict, Zone, sys,
};

/// How often the live line changes.
const TICK: Duration = Duration::from_millis(200);

/// Sends mail to a relay, receives it behind the relay, and says what was lost on the way.
#[derive(Parser)]
#[command(name = "relevo-load", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Receives mail and remembers what arrived; ends with Ctrl-C.
    Sink(SinkArguments),
    /// Sends mail.
    Send(SendArguments),
    /// Answers for the names of a simulated internet, UDP and TCP; ends with Ctrl-C.
    Dns {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:5353", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// The names: lines `NAME TTL A|AAAA|MX|CNAME DATA`, `NAME SERVFAIL|REFUSED|NXDOMAIN|DROP|TRUNCATE`, `NAME DELAY 200ms`;
        /// `*.NAME` for all below it.
        #[arg(long, value_name = "FILE")]
        zone: PathBuf,
    },
    /// Compares the ledgers of `send` and `sink`; exit code 1 when mail was lost, corrupted or misrouted.
    Verdict {
        /// Written by `send --ledger`.
        sent: PathBuf,
        /// Written by `sink --ledger`.
        received: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct SinkArguments {
    /// Addresses to listen on.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2600", value_name = "ADDRESS,...")]
    listen: Vec<SocketAddr>,
    /// How to misbehave: `POINT=ACTION@PROBABILITY` and `delay=MILLISECONDS`, separated by commas. Points: connect,
    /// ehlo, mail, rcpt, data, body, dot, reply (after the message is taken, before its 250). Actions: a code from 400
    /// to 599, or `disconnect`; at the dot also hide, repeat, alter.
    #[arg(long, default_value = "accept")]
    behaviour: Behaviour,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Write every receipt to this file before it is acknowledged.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the counters as JSON at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct SendArguments {
    /// Where to send: HOST:PORT, or several.
    #[arg(long, value_delimiter = ',', required = true, value_name = "HOST:PORT,...")]
    to: Vec<String>,
    /// Connections.
    #[arg(long, short, default_value_t = 10)]
    connections: usize,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Stop after so many messages.
    #[arg(long, short = 'n', conflicts_with = "duration")]
    count: Option<u64>,
    /// Stop after this time: `30`, `30s`, `5m`, `2h`. Without either, Ctrl-C stops.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Messages a second, whatever the relay does (open loop). Without it, each connection sends its next message when
    /// the last was answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of a message, or `mix`: 2 to 60 KiB, half of it below 12 KiB.
    #[arg(long, default_value = "mix")]
    size: Sizes,
    /// Recipients of a message: a number, or a range as in `1-3`.
    #[arg(long, default_value = "1")]
    recipients: Recipients,
    /// Domains of recipients: `providers`, a number (Zipf over so many), `number:exponent`, or `domain=share,...`.
    #[arg(long, default_value = "providers")]
    domains: Domains,
    /// Send one command at a time even where PIPELINING is offered.
    #[arg(long)]
    no_pipelining: bool,
    /// Close a connection after so many messages and make it again.
    #[arg(long, value_name = "COUNT")]
    per_connection: Option<u64>,
    /// Longest wait for a server that says nothing.
    #[arg(long, default_value = "60s", value_parser = duration)]
    timeout: Duration,
    /// Write every acknowledgement to this file before it counts.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the counters as JSON at the end.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Sink(arguments) => sink(arguments),
        Command::Send(arguments) => send(arguments),
        Command::Dns { listen, zone } => dns(listen, &zone),
        Command::Verdict { sent, received, json } => verdict(&sent, &received, json),
    };
    result.unwrap_or_else(|error| {
        eprintln!("relevo-load: {error}");
        ExitCode::from(2)
    })
}

fn dns(listen: SocketAddr, path: &std::path::Path) -> io::Result<ExitCode> {
    let named = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    let zone = Zone::parse(&text).map_err(|error| named(&error))?;
    let interrupted = sys::catch_interrupts();
    let names = zone.len();
    let server = DnsServer::start(listen, zone)?;
    println!("{names} names on {}", server.address());
    while !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
    }
    let counts = server.counts();
    println!(
        "{} questions over UDP, {} over TCP, {} left without an answer",
        counts.udp, counts.tcp, counts.silent
    );
    Ok(ExitCode::SUCCESS)
}

fn sink(arguments: SinkArguments) -> io::Result<ExitCode> {
    prepare();
    let mut config = SinkConfig::new(arguments.listen);
    config.behaviour = arguments.behaviour;
    config.threads = arguments.threads;
    config.journal = arguments.ledger;
    config.seed = arguments.seed;
    let interrupted = sys::catch_interrupts();
    let sink = Sink::start(config)?;
    for address in sink.addresses() {
        eprintln!("listening on {address}");
    }
    let (line, mut before) = (live_line(), 0);
    while !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let counts = sink.counters();
        let rate = per_tick(counts.messages, &mut before);
        line.set_message(format!(
            "{rate} messages/s   {} messages  {} recipients  {} MB   {} connections",
            counts.messages,
            counts.recipients,
            counts.bytes / 1_000_000,
            counts.open,
        ));
    }
    line.finish_and_clear();
    let (ledgers, cpu) = (sink.ledgers(), sink.cpu());
    let counts = sink.stop();
    if arguments.json {
        println!("{}", serde_json::to_string(&counts)?);
        return Ok(ExitCode::SUCCESS);
    }
    let rows = [
        ("messages", counts.messages),
        ("recipients", counts.recipients),
        ("bytes", counts.bytes),
        ("connections", counts.connections),
        ("unknown", counts.unknown),
        ("bounces", counts.bounces),
        ("4xx given", counts.tempfails),
        ("5xx given", counts.rejects),
        ("disconnected", counts.disconnects),
        ("errors of peers", counts.protocol_errors),
    ];
    table(&rows);
    println!("{:<16}{:>12.2} s", "processor time", cpu.as_secs_f64());
    for ledger in ledgers {
        let sums = ledger.sums();
        println!(
            "run {:016x}: {} delivered, {} duplicated, {} corrupted, {} misrouted, {} refused",
            ledger.run(),
            sums.delivered,
            sums.duplicated,
            sums.corrupted,
            sums.misrouted,
            sums.refused
        );
        println!("  {}", quantiles(&ledger.latency()));
    }
    Ok(ExitCode::SUCCESS)
}

fn send(arguments: SendArguments) -> io::Result<ExitCode> {
    prepare();
    let mut config = SendConfig::new(resolve(&arguments.to)?);
    config.connections = arguments.connections;
    config.threads = arguments.threads;
    config.until = match (arguments.count, arguments.duration) {
        (Some(count), _) => Until::Count(count),
        (None, Some(time)) => Until::Time(time),
        (None, None) => Until::Stopped,
    };
    config.rate = arguments.rate;
    config.sizes = arguments.size;
    config.recipients = arguments.recipients;
    config.domains = arguments.domains;
    config.pipelining = !arguments.no_pipelining;
    config.per_connection = arguments.per_connection;
    config.timeout = arguments.timeout;
    config.journal = arguments.ledger;
    config.seed = arguments.seed;
    let interrupted = sys::catch_interrupts();
    let sender = Sender::start(config)?;
    let (line, mut before) = (live_line(), 0);
    while !sender.is_finished() {
        if interrupted.load(Ordering::Relaxed) {
            sender.stop();
        }
        std::thread::sleep(TICK);
        let progress = sender.progress();
        let rate = per_tick(progress.acknowledged, &mut before);
        line.set_message(format!(
            "{rate} messages/s   {} taken  {} refused  {} cut off   {} connections   {}",
            progress.acknowledged,
            progress.tempfails + progress.rejects,
            progress.broken,
            progress.open,
            quantiles(&sender.latency()),
        ));
    }
    line.finish_and_clear();
    let run = sender.ledger().run();
    let outcome = sender.finish()?;
    if arguments.json {
        println!("{}", send_json(run, &outcome));
    } else {
        print_outcome(run, &outcome);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_outcome(run: u64, outcome: &Outcome) {
    let progress = &outcome.progress;
    let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
    println!("run             {run:016x}");
    let rows = [
        ("sent", progress.sent),
        ("acknowledged", progress.acknowledged),
        ("  recipients", progress.recipients),
        ("4xx", progress.tempfails),
        ("5xx", progress.rejects),
        ("cut off", progress.broken),
        ("missed", progress.missed),
        ("connections", progress.connects),
        ("  failed", progress.connects_failed),
    ];
    table(&rows);
    println!("{:<16}{seconds:>12.2} s", "time");
    println!("{:<16}{:>12.2} s", "processor time", outcome.cpu.as_secs_f64());
    println!("{:<16}{:>12.0} messages/s", "rate", progress.acknowledged as f64 / seconds);
    println!("{:<16}{:>12.1} MB/s", "", progress.bytes as f64 / seconds / 1e6);
    println!("{:<16}{}", "latency", quantiles(&outcome.latency));
}

fn send_json(run: u64, outcome: &Outcome) -> serde_json::Value {
    let at = |share: f64| outcome.latency.value_at_quantile(share);
    serde_json::json!({
        "run": format!("{run:016x}"),
        "progress": outcome.progress,
        "seconds": outcome.elapsed.as_secs_f64(),
        "cpu_seconds": outcome.cpu.as_secs_f64(),
        "latency_us": { "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": outcome.latency.max() },
    })
}

fn verdict(sent: &std::path::Path, received: &std::path::Path, json: bool) -> io::Result<ExitCode> {
    let verdict = Verdict::of_files(sent, received)?;
    if json {
        println!("{}", serde_json::to_string(&verdict)?);
    } else {
        println!("{verdict}");
    }
    Ok(if verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Many connections need many descriptors.
fn prepare() {
    if let Err(error) = sys::raise_open_files() {
        eprintln!("relevo-load: the limit on open files stays as it is: {error}");
    }
}

fn resolve(names: &[String]) -> io::Result<Vec<SocketAddr>> {
    let one = |name: &String| {
        let named = |what: String| io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}`: {what}"));
        let mut found = name.to_socket_addrs().map_err(|error| named(error.to_string()))?;
        found.next().ok_or_else(|| named("no address".to_owned()))
    };
    names.iter().map(one).collect()
}

fn live_line() -> ProgressBar {
    let line = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}") {
        line.set_style(style);
    }
    line.enable_steady_tick(TICK);
    line
}

/// A rate per second from a counter read once a tick.
fn per_tick(count: u64, before: &mut u64) -> u64 {
    let more = count.saturating_sub(*before);
    *before = count;
    more * 1000 / TICK.as_millis() as u64
}

fn table(rows: &[(&str, u64)]) {
    for (name, value) in rows {
        println!("{name:<16}{value:>12}");
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("`{text}` is no time: `30`, `30s`, `5m`, `2h`")),
    };
    let number = digits.parse::<u64>().map_err(|_| format!("`{text}` does not begin with a number"))?;
    Ok(Duration::from_secs(number.saturating_mul(factor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        for (text, seconds) in [("30", 30), ("30s", 30), ("5m", 300), ("2h", 7200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "s", "1d", "-1", "1.5"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
