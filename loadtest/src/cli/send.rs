//! `relevo-load send`

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, ValueEnum};
use relevo_load::demo::quantiles;
use relevo_load::units::{self, Plan};
use relevo_load::{
    Domains, Outcome, Recipients, SendConfig, Sender, Sizes, Slow, Tls, Until, Verdict, complain, say, sys,
};

use super::{TICK, invalid, live_line, per_tick, prepare, table};

/// Source addresses of one sender.
const SOURCES_MAX: u32 = 65_536;

#[derive(Clone, Copy, ValueEnum)]
enum Security {
    Off,
    Starttls,
    Implicit,
}

#[derive(Args)]
pub struct Arguments {
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
    #[arg(long, alias = "seconds", value_name = "TIME", value_parser = units::time)]
    duration: Option<Duration>,
    /// Messages a second, whatever the relay does (open loop): `500`, `100..5000/30s` for a ramp, or several, as in
    /// `500/10s,5000/2s,500`. Without it, each connection sends its next message when the last was answered.
    #[arg(long)]
    rate: Option<Plan>,
    /// Size of a message: `10KiB` or a number of bytes; `mix`: 2 to 60 KiB, half of it below 12 KiB; or `SIZE=SHARE,...`, as in
    /// `2KiB=9,1MiB=1`.
    #[arg(long, alias = "sizes", default_value = "mix")]
    size: Sizes,
    /// Send the .eml files of this directory in place of made messages.
    #[arg(long, value_name = "DIR")]
    messages: Option<PathBuf>,
    /// Recipients of a message: a number, a range as in `1-3`, or `COUNT=SHARE,...`, as in `1=90,50=10`.
    #[arg(long, default_value = "1")]
    recipients: Recipients,
    /// Domains of recipients: `providers`, a number (Zipf over so many), `number:exponent`, a domain, or `domain=share,...`.
    #[arg(long, default_value = "providers")]
    domains: Domains,
    /// Send one command at a time even where PIPELINING is offered.
    #[arg(long)]
    no_pipelining: bool,
    /// Send content by BDAT; a server without CHUNKING is not used.
    #[arg(long)]
    bdat: bool,
    /// Speak TLS; a server without it is not used.
    #[arg(long, value_enum, default_value = "off")]
    tls: Security,
    /// Accept only certificates of the authorities in this PEM file. Without it any will do.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Log in first, by AUTH PLAIN.
    #[arg(long, value_name = "USER:PASSWORD")]
    auth: Option<String>,
    /// Make this share of the connections slow: `SHARE@BYTES`, as in `0.2@5000`.
    #[arg(long, value_name = "SHARE@BYTES")]
    slow: Option<Slow>,
    /// Send from these addresses: a list, or a range as in `127.0.1.1-127.0.4.254`.
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS,...")]
    from: Vec<String>,
    /// Close a connection after so many messages and make it again.
    #[arg(long, value_name = "COUNT")]
    per_connection: Option<u64>,
    /// Longest wait for a server that says nothing.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = units::time)]
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

fn config(arguments: &Arguments) -> io::Result<SendConfig> {
    let mut config = SendConfig::new(resolve(&arguments.to)?);
    config.connections = arguments.connections;
    config.threads = arguments.threads;
    config.until = match (arguments.count, arguments.duration) {
        (Some(count), _) => Until::Count(count),
        (None, Some(time)) => Until::Time(time),
        (None, None) => Until::Stopped,
    };
    config.rate = arguments.rate.clone();
    config.sizes = arguments.size.clone();
    config.messages = arguments.messages.clone();
    config.recipients = arguments.recipients.clone();
    config.domains = arguments.domains.clone();
    config.pipelining = !arguments.no_pipelining;
    config.chunking = arguments.bdat;
    config.tls = match arguments.tls {
        Security::Off => Tls::Off,
        Security::Starttls => Tls::StartTls,
        Security::Implicit => Tls::Implicit,
    };
    config.authorities = arguments.ca.clone();
    config.server_name = arguments.to[0].rsplit_once(':').map(|(host, _)| host.to_owned());
    if let Some(auth) = &arguments.auth {
        let (user, password) =
            auth.split_once(':').ok_or_else(|| invalid("--auth", "write USER:PASSWORD"))?;
        config.account = Some((user.to_owned(), password.to_owned()));
    }
    config.slow = arguments.slow;
    config.sources = sources(&arguments.from)?;
    config.per_connection = arguments.per_connection;
    config.timeout = arguments.timeout;
    config.journal = arguments.ledger.clone();
    config.seed = arguments.seed;
    Ok(config)
}

pub fn run(arguments: Arguments) -> io::Result<ExitCode> {
    prepare();
    let config = config(&arguments)?;
    let interrupted = sys::catch_interrupts();
    let sender = Sender::start(config)?;
    if sender.messages_skipped() > 0 {
        complain!(
            "relevo-load: {} files are no messages SMTP can carry and are left out",
            sender.messages_skipped()
        );
    }
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
        say!("{}", json(run, &outcome));
    } else {
        print(run, &outcome)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(run: u64, outcome: &Outcome) -> io::Result<()> {
    let progress = &outcome.progress;
    let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
    say!("run             {run:016x}");
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
    table(&rows)?;
    say!("{:<16}{seconds:>12.2} s", "time");
    say!("{:<16}{:>12.2} s", "processor time", outcome.cpu.as_secs_f64());
    say!("{:<16}{:>12.0} messages/s", "rate", progress.acknowledged as f64 / seconds);
    say!("{:<16}{:>12.1} MB/s", "", progress.bytes as f64 / seconds / 1e6);
    say!("{:<16}{}", "connect", quantiles(&outcome.connect));
    say!("{:<16}{}", "accept", quantiles(&outcome.latency));
    Ok(())
}

fn json(run: u64, outcome: &Outcome) -> serde_json::Value {
    let quantiles = |histogram: &hdrhistogram::Histogram<u64>| {
        let at = |share: f64| histogram.value_at_quantile(share);
        serde_json::json!({ "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": histogram.max() })
    };
    serde_json::json!({
        "run": format!("{run:016x}"),
        "progress": outcome.progress,
        "seconds": outcome.elapsed.as_secs_f64(),
        "cpu_seconds": outcome.cpu.as_secs_f64(),
        "latency_us": quantiles(&outcome.latency),
        "connect_us": quantiles(&outcome.connect),
        "answer_us": quantiles(&outcome.answer),
    })
}

/// `relevo-load verdict`
pub fn verdict(sent: &std::path::Path, received: &std::path::Path, json: bool) -> io::Result<ExitCode> {
    let verdict = Verdict::of_files(sent, received)?;
    if json {
        say!("{}", serde_json::to_string(&verdict)?);
    } else {
        say!("{verdict}");
    }
    Ok(if verdict.recipients > 0 && verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub fn resolve(names: &[String]) -> io::Result<Vec<SocketAddr>> {
    let one = |name: &String| {
        let mut found = name.to_socket_addrs().map_err(|error| invalid(name, error))?;
        found.next().ok_or_else(|| invalid(name, "no address"))
    };
    names.iter().map(one).collect()
}

/// Single addresses and ranges.
fn sources(list: &[String]) -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = Vec::new();
    for item in list {
        let Some((first, last)) = item.split_once('-') else {
            found.push(item.parse().map_err(|_| invalid(item, "no address"))?);
            continue;
        };
        let address =
            |text: &str| text.trim().parse::<Ipv4Addr>().map_err(|_| invalid(item, "no range of addresses"));
        let (first, last) = (u32::from(address(first)?), u32::from(address(last)?));
        if last < first || last - first >= SOURCES_MAX {
            return Err(invalid(item, format!("a range has 1 to {SOURCES_MAX} addresses")));
        }
        found.extend((first..=last).map(|address| IpAddr::from(Ipv4Addr::from(address))));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_sources() {
        let of = |text: &str| sources(&[text.to_owned()]).map(|found| found.len()).ok();
        assert_eq!((of("127.0.0.1"), of("127.0.0.250-127.0.1.5")), (Some(1), Some(12)));
        for text in ["x", "127.0.0.2-127.0.0.1", "127.0.0.1-x", "127.0.0.0-127.255.0.0"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
