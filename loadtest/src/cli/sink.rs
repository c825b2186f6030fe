//! `relevo-load sink`

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use relevo_load::demo::quantiles;
use relevo_load::tls::Authority;
use relevo_load::unfit::Unfit;
use relevo_load::{Behaviour, Sink, SinkConfig, Site, complain, say, sys};

use super::{TICK, invalid, live_line, per_tick, prepare, table};

#[derive(Args)]
pub struct Arguments {
    /// Addresses to listen on.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2600", value_name = "ADDRESS,...")]
    listen: Vec<SocketAddr>,
    /// How to behave, items separated by commas. POINT=ACTION@PROBABILITY: points are connect, ehlo, mail, rcpt, data, body,
    /// dot, reply (after the message is taken, before its 250); actions a code from 400 to 599 or disconnect, at the
    /// dot also hide, repeat, alter. delay=TIME (reply to the dot), delay.POINT=TIME, tarpit=TIME (all replies); a TIME is 20ms,
    /// 10ms..50ms or MEDIAN~P99. greylist=TIME, rate=MESSAGES/s and connections=N of a client, rcpts=N, messages=N of
    /// a connection, size=BYTES, texts=plain|gmail|yahoo|outlook|icloud, tls=offered|required|implicit,
    /// auth=USER:PASSWORD, no-pipelining, no-chunking.
    #[arg(long, default_value = "accept")]
    behaviour: Behaviour,
    /// One more site: NAME;ADDRESS,...;DOMAIN,...;BEHAVIOUR. Mail for its domains belongs there and counts as misrouted
    /// elsewhere. Repeat for more.
    #[arg(long, value_name = "SITE", value_parser = site)]
    site: Vec<Site>,
    /// Write the certificate of the authority behind the sink's TLS to this file.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Names in the sink's certificate, besides its addresses.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    names: Vec<String>,
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

fn site(text: &str) -> Result<Site, Unfit> {
    let parts: Vec<&str> = text.split(';').collect();
    let [name, addresses, domains, behaviour] = parts[..] else {
        return Err(Unfit::new("write NAME;ADDRESS,...;DOMAIN,...;BEHAVIOUR"));
    };
    let address =
        |text: &str| text.parse().map_err(|_| Unfit::new(format!("`{text}` is no address with a port")));
    let mut site = Site::new(name, addresses.split(',').map(address).collect::<Result<_, _>>()?);
    site.domains = domains.split(',').filter(|domain| !domain.is_empty()).map(str::to_owned).collect();
    site.behaviour = behaviour.parse()?;
    Ok(site)
}

pub fn run(arguments: Arguments) -> io::Result<ExitCode> {
    prepare();
    let mut first = Site::new("sink", arguments.listen);
    first.behaviour = arguments.behaviour;
    let names: Vec<String> = std::iter::once(first.name.clone())
        .chain(arguments.site.iter().map(|site| site.name.clone()))
        .collect();
    let mut config = SinkConfig::of_sites(std::iter::once(first).chain(arguments.site).collect());
    config.threads = arguments.threads;
    config.journal = arguments.ledger;
    config.seed = arguments.seed;
    config.names = arguments.names;
    if let Some(path) = arguments.ca {
        let authority = Authority::new()?;
        std::fs::write(&path, authority.pem()).map_err(|error| invalid(&path.to_string_lossy(), error))?;
        config.authority = Some(Arc::new(authority));
    }
    let interrupted = sys::catch_interrupts();
    let sink = Sink::start(config)?;
    for address in sink.addresses() {
        complain!("listening on {address}");
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
    report(sink, &names, arguments.json)
}

fn report(sink: Sink, names: &[String], json: bool) -> io::Result<ExitCode> {
    let (ledgers, cpu) = (sink.ledgers(), sink.cpu());
    let sites: Vec<_> =
        (0..names.len()).map(|at| (sink.site_counters(at), sink.site_connections_peak(at))).collect();
    let counts = sink.stop();
    if json {
        say!("{}", serde_json::to_string(&counts)?);
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
    table(&rows)?;
    say!("{:<16}{:>12.2} s", "processor time", cpu.as_secs_f64());
    if names.len() > 1 {
        for (name, (counts, peak)) in names.iter().zip(sites) {
            say!("{name:<16}{:>12} recipients, at most {peak} connections", counts.recipients);
        }
    }
    for ledger in ledgers {
        let sums = ledger.sums();
        say!(
            "run {:016x}: {} delivered, {} duplicated, {} corrupted, {} misrouted, {} refused",
            ledger.run(),
            sums.delivered,
            sums.duplicated,
            sums.corrupted,
            sums.misrouted,
            sums.refused
        );
        say!("  {}", quantiles(&ledger.latency()));
    }
    Ok(ExitCode::SUCCESS)
}
