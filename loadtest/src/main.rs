//! The command: the parts of `relevo-load` one by one, and together in `relevo-load run`.

mod cli;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::{Parser, Subcommand};
use relevo_load::{DnsServer, Zone, input, output, say, sys};

/// Send mail to a relay, receive it behind the relay, and say what was lost on the way.
#[derive(Parser)]
#[command(name = "relevo-load", version = env!("RELEVO_VERSION"), arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Start here: relevo-load scenarios, then relevo-load run steady.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Receive mail and remember what arrived; ends with Ctrl-C.
    #[command(
        after_help = "Example: relevo-load sink --listen 127.0.0.1:2600 --behaviour rcpt=450@0.1,delay=50ms"
    )]
    Sink(cli::sink::Arguments),
    /// Send mail. Exit 1: nothing could be sent.
    #[command(
        after_help = "Examples:\n  relevo-load send --to 127.0.0.1:2525 --duration 30s\n  relevo-load send --to 127.0.0.1:2525 --rate 100..5000/30s --count 100000 --json"
    )]
    Send(cli::send::Arguments),
    /// Answer for the names of a simulated internet, UDP and TCP; ends with Ctrl-C.
    #[command(after_help = "Example: relevo-load dns --zone names.txt --listen 127.0.0.1:5353")]
    Dns {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:5353", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// The names: lines `NAME TTL A|AAAA|MX|CNAME DATA`, `NAME SERVFAIL|REFUSED|NXDOMAIN|DROP|TRUNCATE`, `NAME DELAY 200ms`;
        /// `*.NAME` for all below it.
        #[arg(long, value_name = "FILE")]
        zone: PathBuf,
    },
    /// Play a scenario: a simulated internet, a relay it starts (and kills), mail, a report. Exit 1: mail was lost, altered,
    /// misrouted or repeated without a reason, or is still queued.
    #[command(
        after_help = "Examples:\n  relevo-load run steady\n  relevo-load run bulk --peer postfix=loadtest/peers/postfix.sh --rounds 3 --output report"
    )]
    Run(Box<cli::run::Arguments>),
    /// Print the ratios of two reports of the same scenario: report.json files or their directories.
    #[command(after_help = "Example: relevo-load compare before/ after/")]
    Compare {
        /// The first: ratios are of its figures to those of the other.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// List the shipped scenarios, or print one, to start from.
    #[command(after_help = "Example: relevo-load scenarios bulk > mine.toml")]
    Scenarios {
        /// Which to print.
        name: Option<String>,
    },
    /// Compare the ledgers of `send` and `sink`. Exit 1: mail was lost, corrupted or misrouted, or none was accepted.
    #[command(after_help = "Example: relevo-load verdict sent.txt received.txt")]
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

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::end_of_arguments("relevo-load", &error),
    };
    let result = match arguments.command {
        Command::Sink(arguments) => cli::sink::run(arguments),
        Command::Send(arguments) => cli::send::run(arguments),
        Command::Dns { listen, zone } => dns(listen, &zone),
        Command::Run(arguments) => cli::run::run(*arguments),
        Command::Compare { one, other } => cli::run::compare(&one, &other),
        Command::Scenarios { name } => cli::run::scenarios(name.as_deref()),
        Command::Verdict { sent, received, json } => cli::send::verdict(&sent, &received, json),
    };
    output::end("relevo-load", result)
}

fn dns(listen: SocketAddr, path: &Path) -> io::Result<ExitCode> {
    let named = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let text = input::read_text(path).map_err(|error| named(&error))?;
    let zone = Zone::parse(&text).map_err(|error| named(&error))?;
    let interrupted = sys::catch_interrupts();
    let names = zone.len();
    let server = DnsServer::start(listen, zone)?;
    say!("{names} names on {}", server.address());
    while !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(cli::TICK);
    }
    let counts = server.counts();
    say!(
        "{} questions over UDP, {} over TCP, {} left without an answer",
        counts.udp,
        counts.tcp,
        counts.silent
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
