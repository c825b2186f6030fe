//! `relevo-load run`, `compare` and `scenarios`

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use relevo_load::report::{Report, compare, html, text};
use relevo_load::run::scenario::{Kills, SHIPPED};
use relevo_load::run::{Plan, RelayKind, Scenario, Target, conduct};
use relevo_load::{Tls, input, output, say, sys, units};

use super::{invalid, live_line, prepare};

#[derive(Args)]
pub struct Arguments {
    /// A shipped scenario by its name (see `scenarios`), or a file.
    scenario: String,
    /// The relevo to test; default: the one beside this program, or in PATH.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "to"])]
    relevo: Option<PathBuf>,
    /// A shell command that runs another relay in the foreground. It is told by LOAD_LISTEN, LOAD_DNS, LOAD_MX_PORT, LOAD_DIR
    /// and LOAD_SHARDS where to listen, whom to ask, where to deliver and what it may use.
    #[arg(long, value_name = "COMMAND", conflicts_with = "to")]
    command: Option<String>,
    /// A relay that runs already. It has to use the name server and the port this program prints.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<SocketAddr>,
    /// Its process, for its CPU and memory.
    #[arg(long, requires = "to")]
    pid: Option<u32>,
    /// What to call it in the report.
    #[arg(long, default_value = "relevo")]
    label: String,
    /// Run the same through another relay, alternating: `NAME=COMMAND`, as in `postfix=loadtest/peers/postfix.sh`. Repeat for more.
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<String>,
    /// Rounds, each with one run of every relay.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// So many times the messages, or the time.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Kill the relay every so often, in place of what the scenario says.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    kill: Option<Duration>,
    /// How often in all.
    #[arg(long, default_value_t = 3, requires = "kill")]
    kills: u32,
    /// Threads the relay may use; 0: one a core.
    #[arg(long, default_value_t = 0)]
    shards: usize,
    /// Send over TLS, or in plain text, whatever the scenario says.
    #[arg(long, value_name = "BOOLEAN")]
    tls: Option<bool>,
    /// Where report.json and report.html go.
    #[arg(long, alias = "out", default_value = "relevo-load-report", value_name = "DIR")]
    output: PathBuf,
    /// Where relays get their directories; should be a disk, not memory.
    #[arg(long, alias = "scratch", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A file, or a shipped one.
fn load(name: &str) -> io::Result<Scenario> {
    if let Some(shipped) = Scenario::shipped(name) {
        return shipped.map_err(|error| invalid(name, error));
    }
    let text = input::read_text(Path::new(name)).map_err(|error| {
        let names: Vec<_> = SHIPPED.iter().map(|(name, _)| *name).collect();
        invalid(name, format!("no shipped scenario ({}), and as a file: {error}", names.join(", ")))
    })?;
    Scenario::parse(&text).map_err(|error| invalid(name, error))
}

fn relays(arguments: &Arguments) -> io::Result<Vec<(String, RelayKind)>> {
    let first = match (&arguments.command, arguments.to, &arguments.relevo) {
        (Some(command), ..) => RelayKind::Other(Target::Command(command.clone())),
        (_, Some(address), _) => RelayKind::Other(Target::Running(address, arguments.pid)),
        (_, _, binary) => RelayKind::Relevo(binary.clone().unwrap_or_else(sys::relevo)),
    };
    let mut relays = vec![(arguments.label.clone(), first)];
    for peer in &arguments.peer {
        let (name, command) = peer.split_once('=').ok_or_else(|| invalid(peer, "write NAME=COMMAND"))?;
        relays.push((name.to_owned(), RelayKind::Other(Target::Command(command.to_owned()))));
    }
    Ok(relays)
}

fn scenario(arguments: &Arguments) -> io::Result<(Scenario, String)> {
    if !(arguments.scale.is_finite() && (0.001..=1000.0).contains(&arguments.scale)) {
        return Err(invalid("--scale", "from 0.001 to 1000"));
    }
    let mut scenario = load(&arguments.scenario)?.scaled(arguments.scale);
    let mut settings = String::new();
    if arguments.scale != 1.0 {
        settings += &format!(", scale {}", arguments.scale);
    }
    if let Some(every) = arguments.kill {
        if every.is_zero() || arguments.kills > 1000 {
            return Err(invalid("--kill", "a time above 0, and at most 1000 kills"));
        }
        scenario.kills = Kills { pause: scenario.kills.pause, ..Kills::every(every, arguments.kills) };
        settings += &format!(", killed every {}", units::time_words(every));
    }
    if let Some(tls) = arguments.tls {
        scenario.load.tls = if tls { Tls::StartTls } else { Tls::Off };
        settings += if tls { ", TLS" } else { ", plain text" };
    }
    if arguments.shards > 0 {
        settings += &format!(", {} shards", arguments.shards);
    }
    Ok((scenario, settings))
}

pub fn run(arguments: Arguments) -> io::Result<ExitCode> {
    prepare();
    let (scenario, settings) = scenario(&arguments)?;
    let relays = relays(&arguments)?;
    let scratch = arguments.data_dir.clone().unwrap_or_else(std::env::temp_dir);
    if !scratch.is_dir() {
        return Err(invalid(
            &scratch.to_string_lossy(),
            "no such directory; give --data-dir one that exists",
        ));
    }
    fs::create_dir_all(&arguments.output)
        .map_err(|error| invalid(&arguments.output.to_string_lossy(), error))?;
    let interrupted = sys::catch_interrupts();
    say!("{}: {}", scenario.name, scenario.about);
    let mut report = Report::default();
    for round in 0..arguments.rounds.max(1) {
        for (label, target) in &relays {
            let plan = Plan {
                label: label.clone(),
                target: target.clone(),
                scenario: scenario.clone(),
                shards: arguments.shards,
                seed: arguments.seed.wrapping_add(u64::from(round)),
                settings: settings.clone(),
                scratch: scratch.clone(),
            };
            let line = live_line();
            let runs_already = matches!(target, RelayKind::Other(Target::Running(..)));
            let run = conduct(&plan, |live| {
                if let Some((dns, port)) = live.internet.filter(|_| runs_already) {
                    line.suspend(|| {
                        // Who cannot read this can read nothing later either; a relay is running, and ends in order.
                        let _ = output::print(format_args!(
                            "{label} is to ask the name server {dns}, and to deliver to port {port}\n"
                        ));
                    });
                }
                line.set_message(format!(
                    "{label}  {:<10}  {:>8} accepted  {:>6.0}/s  delivered {:>6.0}/s  {:>8} queued  {}",
                    live.stage,
                    live.accepted,
                    live.accepted_rate,
                    live.delivered_rate,
                    live.queue,
                    if live.kills > 0 { format!("{} kills", live.kills) } else { String::new() },
                ));
                !interrupted.load(Ordering::Relaxed)
            });
            line.finish_and_clear();
            let run = run.map_err(|error| io::Error::new(error.kind(), format!("{label}: {error}")))?;
            say!("\n{}", text::table(&run));
            report.runs.push(run);
            // After each run, so that a long series that is cut short has what it got.
            write(&arguments.output, &report)?;
        }
    }
    let labels = report.labels();
    for other in labels.iter().skip(1) {
        if let (Some(one), Some(other)) = (report.median(labels[0]), report.median(other)) {
            say!("{}", compare::table(one, other));
        }
    }
    say!("{}", arguments.output.join("report.html").display());
    let own = report.runs_of(&arguments.label).all(relevo_load::report::Run::is_clean);
    Ok(if own { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(directory: &Path, report: &Report) -> io::Result<()> {
    let named = |path: &Path, error: io::Error| invalid(&path.to_string_lossy(), error);
    let (json, page) = (directory.join("report.json"), directory.join("report.html"));
    fs::write(&json, serde_json::to_string(report)?).map_err(|error| named(&json, error))?;
    fs::write(&page, html::page(report)).map_err(|error| named(&page, error))
}

/// `relevo-load compare`
pub fn compare(one: &Path, other: &Path) -> io::Result<ExitCode> {
    let read = |path: &Path| -> io::Result<Report> {
        let path = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
        let named = |error: &dyn std::fmt::Display| invalid(&path.to_string_lossy(), error);
        let text = input::read_text(&path).map_err(|error| named(&error))?;
        serde_json::from_str(&text).map_err(|error| named(&error))
    };
    let (one, other) = (read(one)?, read(other)?);
    let table = compare::reports(&one, &other);
    say!("{}", table.ok_or_else(|| io::Error::other("the two reports are of different scenarios"))?);
    Ok(ExitCode::SUCCESS)
}

/// `relevo-load scenarios`
pub fn scenarios(name: Option<&str>) -> io::Result<ExitCode> {
    let Some(name) = name else {
        // Where help wraps, and where what scenarios are about begins.
        const COLUMNS: usize = 100;
        const NAME: usize = 16;
        for (name, text) in SHIPPED {
            let about = Scenario::parse(text).map(|scenario| scenario.about).unwrap_or_default();
            let room =
                sys::columns().map_or(COLUMNS, |columns| columns.min(COLUMNS)).saturating_sub(NAME).max(NAME);
            let mut name: &str = name;
            for line in wrapped(&about, room) {
                say!("{name:<NAME$}{line}");
                name = "";
            }
        }
        return Ok(ExitCode::SUCCESS);
    };
    let found = SHIPPED.iter().find(|(other, _)| *other == name);
    output::print(format_args!(
        "{}",
        found.ok_or_else(|| invalid(name, "no shipped scenario has this name"))?.1
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// A text in lines of so many columns at the most, where its words let it.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines
            .last_mut()
            .filter(|line| line.chars().count() + 1 + word.chars().count() <= columns || line.is_empty());
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_between_words() {
        let text = "a relay of three hundred receivers";
        assert_eq!(wrapped(text, 12), ["a relay of", "three", "hundred", "receivers"]);
        assert_eq!(wrapped(text, 100), [text]);
        assert_eq!(wrapped("", 9), [""]);
    }
}
