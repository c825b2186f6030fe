//! `relevo demo --stay`: a relay that is left up, with its page, and a small internet behind it for it to cope with.
//!
//! The relay runs by a configuration file as any other, so that all commands reach it with `--config`. What it keeps is in the
//! demonstration's directory and has its bounds there.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use relevo::limits;
use relevo::node::Node;
use relevo::policy::tokens::{self, Role, edit};
use relevo::runtime::{browser, files, process};
use relevo_load::ledger::{Ledger, Sums};
use relevo_load::run::Scenario;
use relevo_load::run::internet::Internet;
use relevo_load::send::{SendConfig, Sender};
use relevo_load::tls::Authority;
use relevo_load::{Until, port};

use super::place::{Printer, Scratch, disk_words, goes_on};
use crate::commands::check;
use crate::commands::output::Failure;

/// What is behind the relay.
const INTERNET: &str = include_str!("internet.toml");

/// Its parts, for whoever reads what is printed.
const BEHIND: [(&str, &str); 4] = [
    ("prompt.example", "takes what comes"),
    ("throttling.example", "takes 40 messages a second, then for half a minute 3: the rest hears 451"),
    ("greylisting.example", "puts off whom it does not know, and takes him 3 s later"),
    ("picky.example", "knows four recipients of five, and refuses the fifth"),
];

/// Where everything is.
struct Places {
    directory: PathBuf,
    config: PathBuf,
    page: String,
    token: String,
}

/// Runs until it is told to stop.
pub fn run() -> Result<(), Failure> {
    let scratch = Scratch::new();
    process::hold_signals();
    let scenario = Scenario::parse(INTERNET).map_err(|error| error.to_string())?;
    let round = match scenario.load.until {
        Until::Time(round) => round,
        _ => return Err("the internet has no round".to_owned().into()),
    };
    let internet = Authority::new()
        .and_then(|authority| Internet::start(&scenario, 1, 1, &Arc::new(authority)))
        .map_err(|error| format!("cannot open the internet: {error}"))?;
    let places = Places::make(&scratch.0, &scenario, &internet)?;
    let config = check::load(&places.config).map_err(|error| error.to_string())?;
    let node = Node::start(config).map_err(|error| error.to_string())?;
    let relay = node.settings.listeners[0].address.network().ok_or("the relay has no address".to_owned())?;
    let mut out = Printer::default();
    places.tell(relay, &mut out);
    if out.is_sound() {
        browser::open(&places.page);
    }
    let (mut send, load) = (SendConfig::new(vec![relay]), &scenario.load);
    (send.connections, send.rate, send.until) = (load.connections, load.rate.clone(), Until::Stopped);
    (send.sizes, send.recipients) = (load.sizes.clone(), load.recipients.clone());
    send.domains = internet.domains.clone();
    let ledger = send.ledger();
    internet.sink.watch(Arc::clone(&ledger));
    // Whatever becomes of the load, the relay ends in order.
    let sent = Sender::start(send).and_then(|sender| {
        if out.is_sound() {
            watch(&sender, &ledger, &internet, (&scenario, round));
        }
        sender.stop();
        sender.finish()
    });
    let stopped = node.stop();
    sent.map_err(|error| format!("the load failed: {error}"))?;
    let sums = ledger.sums();
    out.line(format_args!("\n  {}", words(&sums)));
    out.line(format_args!("  {} is removed, and what waited with it", places.directory.display()));
    if sums.corrupted + sums.misrouted + sums.repeated > 0 {
        let words = "mail was altered, misrouted or repeated: please report this with the output above";
        return Err(words.to_owned().into());
    }
    if !stopped {
        return Err("a shard did not end well".to_owned().into());
    }
    Ok(out.end()?)
}

impl Places {
    /// Writes what the relay is to read.
    fn make(directory: &Path, scenario: &Scenario, internet: &Internet) -> Result<Places, Failure> {
        let made = || -> io::Result<Places> {
            let (smtp, http) = (port::free()?, port::free()?);
            let token = tokens::secret(&process::random_bytes());
            let line = edit::add("", ("demo", Role::Operate, ""), &tokens::hash(&token));
            let line = line.map_err(|error| io::Error::other(error.to_string()))?;
            files::make_directory(directory)?;
            let write = |name: &str, text: &str| -> io::Result<PathBuf> {
                let path = directory.join(name);
                files::make_new_file(&path)?.write_all(text.as_bytes())?;
                Ok(path)
            };
            write("tokens", &line)?;
            write("shaping.toml", &scenario.shaping)?;
            let text = settings(directory, [smtp, http], internet);
            let (config, page) = (write("relevo.toml", &text)?, format!("http://{http}/"));
            Ok(Places { directory: directory.to_owned(), config, page, token })
        };
        made().map_err(|error| format!("{}: {error}", directory.display()).into())
    }

    fn tell(&self, relay: SocketAddr, out: &mut Printer) {
        let (config, directory) = (self.config.display(), self.directory.display());
        out.line(format_args!("relevo demo: a relay, and a small internet behind it; Ctrl-C ends it\n"));
        out.line(format_args!("  page    {}", self.page));
        out.line(format_args!("  token   {}   to sign in there: it may look, suspend, retry", self.token));
        out.line(format_args!("  relay   {relay}, which has mail already and takes yours"));
        out.line(format_args!("  files   {directory}{}, removed at the end", disk_words(&self.directory)));
        out.line(format_args!("\nMail goes to"));
        for (domain, words) in BEHIND {
            out.line(format_args!("  {domain:19}  {words}"));
        }
        out.line(format_args!("\nBeside the page, in another terminal:"));
        for command in ["top", "why throttling.example", "log stats --by class"] {
            out.line(format_args!("  relevo {command} --config {config}"));
        }
    }
}

/// As a user would write it. Whatever grows has a bound: half a gigabyte of mail, two logs of 16 MiB beside the one that is written, the
/// smallest journal of events, mail that is given up after a quarter of an hour.
fn settings(directory: &Path, [smtp, http]: [SocketAddr; 2], internet: &Internet) -> String {
    let file = |name: &str| toml_text(&directory.join(name).to_string_lossy());
    let (spool, log, tokens) = (file("spool"), file("relevo.jsonl"), file("tokens"));
    let (shaping, dns, port) = (file("shaping.toml"), internet.dns.address(), internet.port);
    format!(
        r#"# The relay of `relevo demo --stay`.
[node]
hostname = "demo.example"
data_dir = {spool}

[[listener]]
address = "{smtp}"

[control]
http = "{http}"
tokens = {tokens}
journal_size_max = "128MiB"

[log]
path = {log}
rotate = "16MiB"
keep = 2

[spool]
segment_size = "4MiB"
size_max = "512MiB"

[dns]
servers = ["{dns}"]
hosts = ""
timeout = "1s"

# All of the internet is on this machine.
[delivery]
mx_port = {port}
allow_loopback_mx = true

# Soon again, so that one can watch it.
[retry]
first = "4s"
max = "16s"
expire = "15m"

# Each recipient is met once.
[suppression]
auto = []

[shaping]
files = [{shaping}]
"#
    )
}

/// A string of TOML.
fn toml_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted += &format!("\\u{:04X}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Has the internet change its mind when it is time, round after round, until a signal comes or nobody sends any more.
fn watch(sender: &Sender, ledger: &Ledger, internet: &Internet, (scenario, round): (&Scenario, Duration)) {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut begun = Duration::ZERO;
    let mut changes = internet.changes.iter();
    while !sender.is_finished() && goes_on(process::wait_for_signal(limits::DEMO_LOOK)) {
        let time = sender.elapsed().saturating_sub(begun);
        if time >= round {
            begun += round;
            changes = internet.changes.iter();
            let first = scenario.sites.iter().map(|site| site.behaviour.clone());
            first.enumerate().for_each(|(site, behaviour)| internet.sink.behave(site, behaviour));
        }
        while let Some((after, site, behaviour)) = changes.clone().next()
            && *after <= time
        {
            internet.sink.behave(*site, behaviour.clone());
            changes.next();
        }
        bar.set_message(words(&ledger.sums()));
    }
    bar.finish_and_clear();
}

fn words(sums: &Sums) -> String {
    let settled = sums.delivered + sums.refused;
    let waiting = sums.acknowledged_recipients.saturating_sub(settled);
    let Sums { acknowledged, delivered, refused, .. } = sums;
    format!("{acknowledged} accepted, {delivered} delivered, {refused} refused for good, {waiting} waiting")
}

#[cfg(test)]
mod tests {
    use super::*;
    use relevo::config::Config;

    #[test]
    fn the_internet_is_sound_and_small() {
        let scenario = Scenario::parse(INTERNET).unwrap();
        assert!(matches!(scenario.load.until, Until::Time(_)));
        // On average it takes more than comes, or mail would wait ever longer.
        let shares: f64 = scenario.sites.iter().map(|site| site.share).sum();
        let site = scenario.sites.iter().find(|site| !site.later.is_empty()).unwrap();
        let [(narrow, less), (wide, more)] = &site.later[..] else { panic!("{:?}", site.later) };
        let Until::Time(round) = scenario.load.until else { panic!("no round") };
        let narrow_for = (*wide - *narrow).as_secs_f64() / round.as_secs_f64();
        let taken = less.rate.unwrap() * narrow_for + more.rate.unwrap() * (1.0 - narrow_for);
        let rate = 1e9 / (scenario.load.rate.clone().unwrap().due(1) as f64);
        let comes = rate * site.share / shares;
        assert!(comes < taken && comes > less.rate.unwrap(), "{comes} come and {taken} are taken");
        assert_eq!(more, &site.behaviour, "a round ends as it begins");
        for name in scenario.sites.iter().map(|site| &site.name) {
            let told = |(domain, _): &(&str, &str)| *domain == format!("{name}.example");
            assert!(BEHIND.iter().any(told), "{name} is not told of");
        }
    }

    #[test]
    fn its_settings_mean_what_they_say() {
        let scenario = Scenario::parse(INTERNET).unwrap();
        let internet = Internet::start(&scenario, 1, 1, &Arc::new(Authority::new().unwrap())).unwrap();
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let place = Path::new("/tmp/a \"b\\");
        let text = settings(place, [at(10_025), at(10_080)], &internet);
        let config =
            Config::parse(&text, Path::new("demo.toml")).unwrap_or_else(|errors| panic!("{errors:?}"));
        assert_eq!(config.node.data_dir, place.join("spool"));
        assert_eq!(config.control.http, Some(at(10_080)));
        assert!(config.spool.size_max > 0 && config.logs.iter().all(|log| log.keep.is_some()));
    }
}
