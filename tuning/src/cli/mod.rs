//! The commands.

pub mod sweep;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Args;
use relevo_tune::apply::{self, Failure, Plan};
use relevo_tune::machine::Machine;
use relevo_tune::{check, probe};

/// Where the spool is unless said otherwise.
const DATA_DIR: &str = "/var/lib/relevo";

#[derive(Args)]
pub struct Check {
    /// Where the spool is or will be: its disk is looked at, and a flush tried.
    #[arg(long, default_value = DATA_DIR, value_name = "DIRECTORY")]
    data_dir: PathBuf,
    /// Look at files below another root, for tests.
    #[arg(long, hide = true, default_value = "/", value_name = "DIRECTORY")]
    root: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn check(arguments: &Check) -> io::Result<ExitCode> {
    let findings = check::all(&Machine::at(&arguments.root), Some(&arguments.data_dir));
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        print!("{}", check::text(&findings));
    }
    Ok(ExitCode::from(u8::from(!check::is_fine(&findings))))
}

#[derive(Args)]
pub struct Probe {
    /// Where the flush is measured: the directory of the spool, or one on the same disk.
    #[arg(long, default_value = DATA_DIR, value_name = "DIRECTORY")]
    data_dir: PathBuf,
    /// How long all of it takes, about.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn probe(arguments: &Probe) -> io::Result<ExitCode> {
    let time = Duration::from_secs(arguments.seconds);
    let measured = probe::all(&arguments.data_dir, time, |stage| eprintln!("measuring: {stage}"))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print!("{}", probe::text(&measured));
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub struct Apply {
    /// Print the files and commands, and change nothing.
    #[arg(long, required_unless_present_any = ["yes", "undo"], conflicts_with_all = ["yes", "undo"])]
    dry_run: bool,
    /// Write them. What was there before is kept in /var/lib/relevo-tune/undo.json.
    #[arg(long, conflicts_with = "undo")]
    yes: bool,
    /// Put back what was there before.
    #[arg(long)]
    undo: bool,
    /// Files below another root, for tests.
    #[arg(long, hide = true, default_value = "/", value_name = "DIRECTORY")]
    root: PathBuf,
}

pub fn apply(arguments: &Apply) -> io::Result<ExitCode> {
    let machine = Machine::at(&arguments.root);
    if arguments.undo {
        let (done, failures) = apply::undo(&machine);
        for line in &done {
            println!("{line}");
        }
        if done.is_empty() && failures.is_empty() {
            println!("there is nothing to undo");
        } else {
            reload(&machine);
        }
        return Ok(report(&failures));
    }
    let plan = Plan::of(&machine);
    print!("{}", plan.script(&machine));
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let failures = plan.carry_out(&machine);
    reload(&machine);
    if failures.is_empty() {
        println!("# done; `relevo-tune apply --undo` takes it back");
    }
    Ok(report(&failures))
}

fn report(failures: &[Failure]) -> ExitCode {
    for failure in failures {
        eprintln!("relevo-tune: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// systemd reads drop-ins when told to. The relay itself is not restarted: when that suits, only its operator knows.
fn reload(machine: &Machine) {
    if machine.is_here()
        && machine.path("/run/systemd/system").exists()
        && let Err(error) = Command::new("systemctl").arg("daemon-reload").status()
    {
        eprintln!("relevo-tune: systemctl daemon-reload: {error}; run it by hand");
    }
}
