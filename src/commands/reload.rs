//! `relevo reload`.

use clap::Args;
use relevo::control::api::shape::{Finding, LedElsewhere, Reload, Reloaded};

use super::client::{Relay, ReloadTarget};
use super::output::{Failure, NO, say};
use super::words;

/// `relevo reload`
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// Say what would change, and what is wrong, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// As a JSON object.
    #[arg(long)]
    json: bool,
}

/// Exit 0: it is in force; 1: it is refused, and nothing changed.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { relay, dry_run, json } = arguments;
    let done = match relay.client_of_any()? {
        ReloadTarget::Relay(client) => client.post("/control/v1/reload", &Reload { dry_run: *dry_run })?,
        ReloadTarget::NoToml(refused) => refused,
        ReloadTarget::Unread(words) if !*json => {
            let file = relay.file();
            return Err(Failure(NO, format!("{words}\nrelevo: {file}: refused, nothing changed")));
        }
        ReloadTarget::Unread(problem) => {
            let file = relay.file();
            let (problem, fix) = problem.rsplit_once("; ").unwrap_or((&problem, "mend it"));
            let error = Finding {
                file: file.clone(),
                line: None,
                key: String::new(),
                value: String::new(),
                problem: problem.to_owned(),
                fix: fix.to_owned(),
            };
            Reloaded { file, errors: vec![error], ..Reloaded::default() }
        }
    };
    if *json {
        say!("{}", serde_json::to_string_pretty(&done).map_err(|error| error.to_string())?);
        return if done.ok { Ok(()) } else { Err(Failure(NO, String::new())) };
    }
    for finding in &done.warnings {
        say!("warning: {finding}");
    }
    for finding in &done.needs_restart {
        say!("needs a restart: {finding}");
    }
    if !done.ok {
        let mut lines: Vec<String> = done.errors.iter().map(ToString::to_string).collect();
        lines.push(format!("{}: refused, nothing changed", done.file));
        return Err(Failure(NO, lines.join("\nrelevo: ")));
    }
    for change in &done.changes {
        say!("{change}");
    }
    if let Some(LedElsewhere { recipients, counted }) = done.led_elsewhere {
        let recipients = words::count(recipients, "queued recipient");
        match counted {
            true => say!("{recipients} would be led elsewhere"),
            false => say!("at least {recipients} would be led elsewhere: not all were counted in time"),
        }
    }
    if *dry_run {
        say!("{}: would be in force; nothing changed", done.file);
    } else {
        say!("{}: in force, generation {}", done.file, done.generation);
    }
    Ok(())
}
