//! `relevo domain check`: whether receivers would believe mail of a domain. No relay is asked.

mod leaving;
mod point;
mod published;
mod sources;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use relevo::check::DEFAULT_PATH;
use relevo::config::Config;
use relevo::dns::{Answer, LookupError, QueryType};
use relevo::lookup::Lookup;

use super::output::{Failure, NO, WRONG_USE, complain, say};
use super::words::{count, plain};
use leaving::Leaving;
use point::{Point, State};

/// `relevo domain …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Compare what the DNS says of a domain with what receivers of its mail ask for: SPF, DKIM, DMARC, MX, names of our addresses, and what else there may be. Exit 1: a large receiver would refuse its mail.
    #[command(
        after_help = "Examples:\n  relevo domain check example.com\n  relevo domain check example.com --address 192.0.2.1 --json\n\nOur addresses are those of [[source]], keys those of [dkim]. Each line that should be published is printed as a zone file has it."
    )]
    Check(CheckArguments),
}

/// What is looked at.
#[derive(Args)]
struct CheckArguments {
    /// That of the From addresses.
    domain: String,
    /// An address that its mail leaves from, as receivers see it, in place of those of [[source]].
    #[arg(long = "address", value_name = "IP")]
    addresses: Vec<IpAddr>,
    /// A list of addresses in the DNS that ours should not be on, beside those of [blocklists].
    #[arg(long = "blocklist", value_name = "ZONE")]
    blocklists: Vec<String>,
    /// The configuration [default: /etc/relevo/relevo.toml if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Exit 0: done; 1: something is wrong; 2: wrong use.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Tool::Check(arguments) = &arguments.tool;
    let domain = super::dkim::domain(&arguments.domain)?;
    let config = configured(arguments.config.as_deref())?;
    let lookup = Lookup::new(&config.dns);
    let ask = |kind: QueryType, name: &str| -> Result<Answer, LookupError> { lookup.ask(kind, name) };
    let leaving = leaving(&config, &arguments.addresses);
    if leaving.is_empty() && !arguments.json {
        complain!(
            "no address is known that this mail leaves from: give --address IP, or [[source]] sections with addresses"
        );
    }
    let mut points = vec![published::spf(&ask, &domain, &leaving)];
    points.extend(published::dkim(&ask, &domain, &config));
    points.extend(published::dmarc(&ask, &domain, &config));
    points.push(published::mx(&ask, &domain, &config));
    points.extend(leaving.iter().flat_map(|one| sources::names(&ask, one)));
    let lists = config.blocklists.zones.iter().map(|zone| &**zone);
    let lists: Vec<&str> = lists.chain(arguments.blocklists.iter().map(String::as_str)).collect();
    points.extend(lists.iter().flat_map(|zone| sources::listed(&ask, zone, &leaving)));
    points.extend(published::optional(&ask, &domain));
    for point in &points {
        if arguments.json {
            say!("{}", point.json());
        } else {
            tell(point)?;
        }
    }
    let wrong = points.iter().filter(|point| point.state == State::Wrong).count();
    if wrong > 0 {
        let words = format!(
            "{domain}: {}: large receivers refuse such mail, or take it for spam",
            count(wrong as u64, "fault")
        );
        return Err(Failure(NO, words));
    }
    if points.iter().any(|point| point.state == State::Unknown) {
        return Err(Failure(NO, format!("{domain}: the DNS did not say all")));
    }
    Ok(())
}

fn tell(point: &Point) -> Result<(), Failure> {
    say!("{:<8} {:<8} {}", point.what, point.state.word(), plain(point.found.as_bytes()));
    if let Some(advice) = &point.advice {
        say!("{:18}{}", "", plain(advice.as_bytes()));
    }
    if let Some(line) = &point.line {
        say!("{:18}{}", "", plain(line.as_bytes()));
    }
    Ok(())
}

fn configured(path: Option<&Path>) -> Result<Config, Failure> {
    let named = path.or(Some(Path::new(DEFAULT_PATH)).filter(|path| path.exists()));
    match named {
        Some(path) => super::check::load(path).map_err(|error| Failure(WRONG_USE, error.to_string())),
        None => Ok(Config::embedded()),
    }
}

fn leaving(config: &Config, given: &[IpAddr]) -> Vec<Leaving> {
    if !given.is_empty() {
        let one = |address: &IpAddr| Leaving { address: *address, ehlo: config.node.hostname.clone() };
        return given.iter().map(one).collect();
    }
    let of = |source: &relevo::config::SourceConfig| {
        let ehlo = source.ehlo.as_deref().unwrap_or(&config.node.hostname).to_owned();
        source.addresses().map(move |address| Leaving { address, ehlo: ehlo.clone() }).collect::<Vec<_>>()
    };
    config.sources.iter().flat_map(of).collect()
}
