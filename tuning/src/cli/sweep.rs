//! `relevo-tune sweep`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use relevo_load::unfit::Unfit;
use relevo_load::{Behaviour, Recipients, Sizes, complain, output, report, say, sys, units};
use relevo_tune::machine::Machine;
use relevo_tune::sweep::search::Candidates;
use relevo_tune::sweep::setting::{Key, Settings};
use relevo_tune::sweep::trial::{Mail, Relays};
use relevo_tune::sweep::{Comparison, Effort, Event, Failure, Goal, Outcome, fragment, page, search};
use relevo_tune::table::number;

#[derive(Args)]
pub struct Arguments {
    /// The relay to try; default: the one beside this program, or in PATH.
    #[arg(long, alias = "relay", value_name = "FILE")]
    relevo: Option<PathBuf>,
    /// Where the relays get their spools: a directory on the disk that is to hold the mail.
    #[arg(long, default_value = "/var/tmp", value_name = "DIR")]
    data_dir: PathBuf,
    /// How long mail is sent in one measurement.
    #[arg(long, alias = "seconds-per-step", default_value = "5s", value_name = "TIME", value_parser = units::time)]
    duration: Duration,
    /// Rounds of each comparison, at most: fewer when a change cannot win any more.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=99))]
    rounds: u64,
    /// Where the page, the figures and the settings go.
    #[arg(long, alias = "out", default_value = "relevo-tune-sweep", value_name = "DIR")]
    output: PathBuf,
    /// Try only these settings: shards, cores, runtime, commit_delay, spin, ring_depth, segment_size, connections_per_destination. With
    /// `=`, only these values: `spin=50us/200us`.
    #[arg(long, value_delimiter = ',', value_name = "KEY[=VALUE/...],...")]
    only: Vec<String>,
    /// What the relay is to be good at: rate, cpu (little of it a message) or latency (of the 250, 99 of 100).
    #[arg(long, default_value = "rate")]
    goal: Goal,
    /// Connections of the sender.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Size of a message: `10KiB` or a number of bytes, `mix`, or `SIZE=SHARE,...`.
    #[arg(long, alias = "sizes", default_value = "mix")]
    size: Sizes,
    /// Recipients of a message: a number, a range as in `1-3`, or `COUNT=SHARE,...`, as in `1=90,50=10`.
    #[arg(long, default_value = "1")]
    recipients: Recipients,
    /// What the receiving side does, as in `relevo-load sink --behaviour`: `delay=50ms~800ms`.
    #[arg(long, default_value = "accept", value_name = "BEHAVIOUR")]
    behaviour: String,
}

/// `KEY` or `KEY=VALUE/VALUE`.
fn candidates(only: &[String], machine: &Machine) -> Result<Candidates, Unfit> {
    let mut found = Vec::new();
    let all: Vec<String> = Key::ALL.iter().map(|key| key.name().to_owned()).collect();
    for word in if only.is_empty() { &all } else { only } {
        let (name, values) =
            word.split_once('=').map_or((word.as_str(), None), |(name, values)| (name, Some(values)));
        let key: Key = name.parse()?;
        let values = match values {
            Some(values) => values.split('/').map(str::to_owned).collect(),
            None => key.values(machine),
        };
        found.extend(values.into_iter().map(|value| (key, value)));
    }
    if found.is_empty() {
        Err(Unfit::new("there is nothing to try on this machine"))
    } else {
        Ok(Candidates(found))
    }
}

fn machine_words() -> String {
    let machine = report::Machine::this();
    format!(
        "{} cores ({}), {} GiB, Linux {}",
        machine.cores,
        machine.processor,
        machine.memory >> 30,
        machine.kernel
    )
}

fn load_words(mail: &Mail, behaviour: &str, step: Duration) -> String {
    let sizes = match &mail.sizes {
        Sizes::Fixed(bytes) => format!("messages of {bytes} bytes"),
        Sizes::Mix => "messages of mixed sizes".to_owned(),
        Sizes::Shares(_) => "messages of several sizes".to_owned(),
    };
    let recipients = match &mail.recipients {
        Recipients::Between(1, 1) => "one recipient".to_owned(),
        several => format!("up to {} recipients", several.most()),
    };
    let behaviour = if behaviour == "accept" { String::new() } else { format!(", receivers {behaviour}") };
    format!(
        "{} connections, {sizes} to {recipients}{behaviour}; {} a measurement",
        mail.connections,
        units::time_words(step)
    )
}

pub fn run(arguments: Arguments) -> io::Result<ExitCode> {
    let invalid = |error: Unfit| io::Error::new(io::ErrorKind::InvalidInput, error);
    let step = arguments.duration;
    if !(0.2..=600.0).contains(&step.as_secs_f64()) {
        return Err(invalid(Unfit::new("--duration: write 200ms to 10m")));
    }
    if !arguments.data_dir.is_dir() {
        let words =
            format!("{}: no such directory; give --data-dir one that exists", arguments.data_dir.display());
        return Err(invalid(Unfit::new(words)));
    }
    let effort = Effort { step, rounds: arguments.rounds as usize };
    let candidates = candidates(&arguments.only, &Machine::default()).map_err(invalid)?;
    let interrupted = sys::catch_interrupts();
    let _ = sys::raise_open_files();
    let mail = Mail {
        connections: arguments.connections,
        sizes: arguments.size,
        recipients: arguments.recipients,
        behaviour: arguments.behaviour.parse::<Behaviour>().map_err(invalid)?,
    };
    let load = load_words(&mail, &arguments.behaviour, step);
    fs::create_dir_all(&arguments.output)?;
    let relay = arguments.relevo.unwrap_or_else(sys::relevo);
    let estimate = effort.estimate(candidates.0.len() + 2);
    say!(
        "{} values of {} settings with {}; at most about {}",
        candidates.0.len(),
        candidates.0.iter().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>().len(),
        relay.display(),
        units::time_words(estimate)
    );
    let result = Relays::new(&relay, &arguments.data_dir, mail, step, interrupted).and_then(|mut relays| {
        // All of them before the first measurement: a sweep does not end after ten minutes because of a word.
        for (key, value) in &candidates.0 {
            relays.check(&Settings::default().with(*key, value))?;
        }
        let bar = bar((candidates.0.len() + 1) * effort.rounds);
        let give_up = Instant::now() + estimate + estimate / 2;
        let mut compared = 0;
        let outcome = search(&mut relays, &candidates, (arguments.goal, effort), give_up, &mut |event| {
            show(&bar, event, effort.rounds, &mut compared);
        });
        bar.finish_and_clear();
        outcome
    });
    match result {
        Ok(outcome) => {
            let outcome = Outcome { load, machine: machine_words(), ..outcome };
            write(&outcome, &arguments.output)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failure @ Failure::Interrupted) => {
            complain!("relevo-tune: {failure}");
            Ok(ExitCode::from(130))
        }
        Err(failure) => Err(io::Error::other(failure.to_string())),
    }
}

fn bar(rounds: usize) -> ProgressBar {
    let bar = ProgressBar::new(rounds as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {pos}/{len} rounds, {elapsed}, {eta} left  {msg}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn show(bar: &ProgressBar, event: Event<'_>, rounds: usize, compared: &mut usize) {
    match event {
        Event::Round { tried, round } => {
            let at = (*compared * rounds + round) as u64;
            // Combinations come on top of what was planned.
            bar.set_length(bar.length().unwrap_or(0).max(at + 1));
            bar.set_position(at);
            bar.set_message(tried.to_string());
        }
        Event::Compared(comparison) => {
            *compared += 1;
            // Without a terminal there is no bar, and the lines are all there is.
            if bar.is_hidden() {
                // Relays are running, and end in order: who cannot read this line cannot read the last one either.
                let _ = output::print(format_args!("{}\n", line(comparison)));
            } else {
                bar.println(line(comparison))
            }
        }
    }
}

fn line(comparison: &Comparison) -> String {
    let Comparison { tried, base, decision, pairs, .. } = comparison;
    format!(
        "{:<44} {:>6} of {base} (spread {}, {} pairs){}",
        tried.to_string(),
        number(decision.median),
        number(decision.spread),
        pairs.len(),
        if decision.clear { ": clear" } else { "" }
    )
}

fn write(outcome: &Outcome, out: &Path) -> io::Result<()> {
    let settings = fragment::text(outcome);
    fs::write(out.join("tuned.toml"), &settings)?;
    fs::write(out.join("sweep.json"), serde_json::to_string_pretty(outcome)?)?;
    fs::write(out.join("sweep.html"), page::page(outcome))?;
    say!("\n{settings}");
    say!("written: {0}/tuned.toml, {0}/sweep.json, {0}/sweep.html", out.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_can_be_chosen() {
        let machine = Machine::default();
        let only = |words: &[&str]| {
            candidates(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), &machine)
        };
        let found = only(&["spin=50us/200us", "runtime"]).unwrap().0;
        assert_eq!(found[..2], [(Key::Spin, "50us".to_owned()), (Key::Spin, "200us".to_owned())]);
        assert_eq!(found[2].0, Key::Runtime);
        assert!(only(&["colour"]).unwrap_err().to_string().contains("no setting"));
        assert!(only(&[]).unwrap().0.len() > 8);
    }
}
