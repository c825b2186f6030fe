//! The commands.

pub mod sweep;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use relevo_load::unfit::Unfit;
use relevo_load::{complain, output, say, sys, units};
use relevo_tune::apply::{self, Failure, Plan};
use relevo_tune::machine::Machine;
use relevo_tune::{check, probe};

/// Where the spool is unless said otherwise.
const DATA_DIR: &str = "/var/lib/relevo";

/// What was named has to be there; what was not named may come later.
fn data_dir(named: Option<&PathBuf>) -> io::Result<PathBuf> {
    match named {
        Some(path) if !path.is_dir() => {
            let words = format!("{}: no such directory; give --data-dir one that exists", path.display());
            Err(io::Error::new(io::ErrorKind::NotFound, words))
        }
        Some(path) => Ok(path.clone()),
        None => Ok(PathBuf::from(DATA_DIR)),
    }
}

/// The relay to measure. What was named has to be there.
fn relay(named: Option<&Path>) -> io::Result<Option<PathBuf>> {
    let runs = |path: &Path| {
        Command::new(path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    let path = named.map_or_else(sys::relevo, Path::to_owned);
    match (named, runs(&path)) {
        (_, Ok(status)) if status.success() => Ok(Some(path)),
        (None, _) => Ok(None),
        (Some(_), Ok(status)) => Err(io::Error::other(format!("{}: it ends with {status}", path.display()))),
        (Some(_), Err(error)) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

fn probing(text: &str) -> Result<Duration, Unfit> {
    let duration = units::time(text)?;
    let fits = (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&duration);
    if fits { Ok(duration) } else { Err(Unfit::new("from 1s to 10m")) }
}

#[derive(Args)]
pub struct Check {
    /// Where the spool is or will be: its disk is looked at, and a flush tried.
    /// [default: /var/lib/relevo, or the disk it would be on]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Look at files below another root, for tests.
    #[arg(long, hide = true, default_value = "/", value_name = "DIRECTORY")]
    root: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn check(arguments: &Check) -> io::Result<ExitCode> {
    let findings = check::all(&Machine::at(&arguments.root), Some(&data_dir(arguments.data_dir.as_ref())?));
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        output::print(format_args!("{}", check::text(&findings)))?;
    }
    Ok(ExitCode::from(u8::from(!check::is_fine(&findings))))
}

#[derive(Args)]
pub struct Probe {
    /// Where the flush is measured: the directory of the spool, or one on the same disk.
    /// [default: /var/lib/relevo]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The relay whose signatures, handshakes and threads are measured; default: the one beside this program, or in PATH.
    #[arg(long, alias = "relay", value_name = "FILE")]
    relevo: Option<PathBuf>,
    /// How long all of it takes, about.
    #[arg(long, alias = "seconds", default_value = "10s", value_name = "TIME", value_parser = probing)]
    duration: Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn probe(arguments: &Probe) -> io::Result<ExitCode> {
    let data_dir = data_dir(arguments.data_dir.as_ref())?;
    let relay = relay(arguments.relevo.as_deref())?;
    if relay.is_none() {
        complain!(
            "there is no relevo beside this program or in PATH, so what it pays itself is left out: --relevo FILE"
        );
    }
    let stage = |stage: &str| complain!("measuring: {stage}");
    let measured = probe::all(&data_dir, relay.as_deref(), arguments.duration, stage)?;
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        output::print(format_args!("{}", probe::text(&measured)))?;
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
            say!("{line}");
        }
        if done.is_empty() && failures.is_empty() {
            say!("there is nothing to undo");
        } else {
            reload(&machine);
        }
        return Ok(report(&failures));
    }
    let plan = Plan::of(&machine);
    output::print(format_args!("{}", plan.script(&machine)))?;
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let failures = plan.carry_out(&machine);
    reload(&machine);
    if failures.is_empty() {
        say!("# done; `relevo-tune apply --undo` takes it back");
    }
    Ok(report(&failures))
}

fn report(failures: &[Failure]) -> ExitCode {
    for failure in failures {
        complain!("relevo-tune: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// systemd reads drop-ins when told to. The relay itself is not restarted: when that suits, only its operator knows.
fn reload(machine: &Machine) {
    if machine.is_here()
        && machine.path("/run/systemd/system").exists()
        && let Err(error) = Command::new("systemctl").arg("daemon-reload").status()
    {
        complain!("relevo-tune: systemctl daemon-reload: {error}; run it by hand");
    }
}
