//! The `relevo` command: arguments, configuration, node. The only place where the process ends.

mod commands;
mod demo;
mod run;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use relevo::config::{Config, ConfigError};
use relevo::inspect::state;
use relevo::policy::accounts;
use relevo::runtime::os::probe;
use relevo::runtime::output::last_words;
use relevo::runtime::process;

/// A bulk-mail relay: one shard a core, every message on disk before its 250.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay.
    Run {
        /// The configuration (TOML; every key is in deploy/relevo.toml).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say what a configuration means, or what is wrong in it.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show what the relay does on this machine: a relay, a sink and ten seconds of mail.
    Demo {
        /// How long mail is sent.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
    },
    /// Look at the spool of a stopped or running relay; take over that of another one.
    Spool(commands::spool::Arguments),
    /// Read a password from standard input and print its hash for the account file.
    HashPassword,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run { config } => return run(&config),
        Command::Check { config } => check(&config),
        Command::Demo { seconds } => demo::run(seconds),
        Command::Spool(arguments) => return commands::spool::run(arguments),
        Command::HashPassword => hash_password(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("relevo: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn load(path: &Path) -> Result<Config, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{}: {error}; give the path of a configuration file", path.display()))?;
    Config::parse(&text, path).map_err(|errors| lines(&errors))
}

fn check(path: &Path) -> Result<(), String> {
    let config = load(path)?;
    let cores = probe::cores();
    let errors = config.judge_shards(config.shard_count(cores.len()), Some(&cores));
    if !errors.is_empty() {
        return Err(lines(&errors));
    }
    print!("{}", config.describe());
    for warning in config.shard_warnings(&cores) {
        println!("warning: {warning}");
    }
    let data_dir = &config.node.data_dir;
    let room = state::room(&config, config.shard_count(cores.len()));
    for warning in state::modes(data_dir, false).words(data_dir, false).into_iter().chain(room) {
        println!("warning: {warning}");
    }
    Ok(())
}

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
    lines.join("\nrelevo: ")
}

/// Its words go where perhaps nobody reads, and must not wait there.
fn run(path: &Path) -> ExitCode {
    match load(path).and_then(run::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            last_words(&format!("relevo: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn hash_password() -> Result<(), String> {
    let mut password = Vec::new();
    std::io::stdin()
        .take(1024)
        .read_to_end(&mut password)
        .map_err(|error| format!("standard input: {error}"))?;
    let end = password.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    if end == 0 {
        return Err("the password is empty; write it to standard input".to_owned());
    }
    let hash =
        accounts::hash(&password[..end], &process::random_bytes()).map_err(|error| error.to_string())?;
    println!("{hash}");
    Ok(())
}
