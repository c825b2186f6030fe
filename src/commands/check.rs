//! `relevo check`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use relevo::check::{self, Checked, LookedAt, ReadError};
use relevo::config::{Config, ConfigError};
use serde_json::json;

use super::output::{Failure, NO, say};

/// Which configuration.
#[derive(Args, Clone, Debug)]
pub struct Configuration {
    /// The configuration (TOML; every key is in deploy/relevo.toml).
    #[arg(long, value_name = "FILE", default_value = check::DEFAULT_PATH)]
    pub config: PathBuf,
}

/// `relevo check`
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Configuration,
    /// Look at the file alone: not at what it names on this machine (certificates, addresses, directories).
    #[arg(long)]
    file_only: bool,
    /// Try no port and no socket: a supervisor may hold them for the relay, as deploy/relevo.socket does.
    #[arg(long)]
    no_ports: bool,
    /// Print a JSON object: ok, errors, warnings, summary.
    #[arg(long)]
    json: bool,
}

/// Errors and warnings in the order of the lines, then what it means. Exit 1: the relay would not start.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.place.config;
    let text = match check::read(path) {
        Ok(text) => text,
        Err(error) if arguments.json => {
            let problem = error.to_string();
            let error =
                json!({ "file": path, "line": null, "key": "", "value": "", "problem": problem, "fix": "" });
            say!("{}", json!({ "ok": false, "errors": [error], "warnings": [], "summary": [] }));
            return Err(Failure(NO, String::new()));
        }
        Err(error) => return Err(error.to_string().into()),
    };
    let looked_at = match (arguments.file_only, arguments.no_ports) {
        (true, _) => LookedAt::File,
        (false, true) => LookedAt::MachineButPorts,
        (false, false) => LookedAt::Machine,
    };
    let checked = check::check(&text, path, looked_at);
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&checked.summary()).map_err(|error| error.to_string())?);
        return if checked.is_fine() { Ok(()) } else { Err(Failure(NO, String::new())) };
    }
    if checked.is_fine() {
        super::output::print(format_args!("{}", checked.description()))?;
    }
    for warning in &checked.warnings {
        say!("warning: {warning}");
    }
    if checked.is_fine() {
        say!("{}: {}", path.display(), verdict(&checked));
        return Ok(());
    }
    Err(Failure(NO, format!("{}\nrelevo: {}: {}", lines(&checked.errors), path.display(), verdict(&checked))))
}

fn verdict(checked: &Checked) -> String {
    let count = |number: usize, noun: &str| super::words::count(number as u64, noun);
    let (errors, warnings) = (checked.errors.len(), checked.warnings.len());
    match (errors, warnings) {
        (0, 0) => "fine".to_owned(),
        (0, _) => format!("fine, with {}", count(warnings, "warning")),
        (_, 0) => format!("not usable: {}", count(errors, "error")),
        _ => format!("not usable: {}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

/// Why there is no configuration to work with.
#[derive(Debug)]
pub enum LoadError {
    /// The file is no text.
    Read(ReadError),
    /// All that is wrong with it.
    Wrong(Vec<ConfigError>),
}

impl fmt::Display for LoadError {
    /// With a line for each thing that is wrong.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Read(error) => write!(formatter, "{error}"),
            LoadError::Wrong(errors) => formatter.write_str(&lines(errors)),
        }
    }
}

/// A configuration to work with.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    Config::parse(&check::read(path).map_err(LoadError::Read)?, path).map_err(LoadError::Wrong)
}

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
    lines.join("\nrelevo: ")
}
