//! The `relevo` command: arguments, configuration, node. The only place where the process ends.

mod commands;
mod demo;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use relevo::config::{Config, ConfigError};
use relevo::node::Node;
use relevo::policy::accounts;
use relevo::runtime::os::probe;
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
        Command::Run { config } => run(&config),
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
    Ok(())
}

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
    lines.join("\nrelevo: ")
}

fn run(path: &Path) -> Result<(), String> {
    let config = load(path)?;
    process::hold_signals();
    let node = Node::start(config)?;
    eprintln!("relevo: {} shards on {}", node.instruments.len(), node.runtime);
    for listener in &node.settings.listeners {
        eprintln!("relevo: listening on {}", listener.address);
    }
    if node.recovered > 0 {
        eprintln!("relevo: {} messages found in the spool", node.recovered);
    }
    loop {
        match process::wait_for_signal(60_000) {
            Some(process::Signal::Stop) => break,
            Some(process::Signal::Reload) => {
                eprintln!("relevo: SIGHUP: restart to read the configuration again")
            }
            None => {}
        }
    }
    eprintln!("relevo: draining");
    if node.stop() { Ok(()) } else { Err("a shard ended with an error".to_owned()) }
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
