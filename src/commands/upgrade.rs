//! `relevo upgrade`.

use clap::Args;
use relevo::control::api::shape::upgrade::UpgradeStatus;
use relevo::limits;
use relevo::runtime::process;

use super::client::Relay;
use super::output::{Failure, NO, complain, say};

/// `relevo upgrade`
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// Do nothing; say how far one is, or how the last one ended.
    #[arg(long)]
    status: bool,
    /// As a JSON object.
    #[arg(long)]
    json: bool,
}

/// Exit 0: another process serves; 1: nothing came of it, and the relay goes on as before.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = arguments.relay.client()?;
    let look = || client.get::<UpgradeStatus>("/control/v1/upgrade");
    if arguments.status {
        return tell(&look()?, arguments.json);
    }
    let begun: UpgradeStatus = client.post("/control/v1/upgrade", &serde_json::json!({}))?;
    let until = process::since_boot() + limits::UPGRADE_FOLLOWED;
    let mut last = begun.stage.clone();
    loop {
        process::pause(limits::UPGRADE_FOLLOW);
        // While nobody has the socket a question waits there, or is cut off.
        let now = match look() {
            Ok(now) => now,
            Err(failure) if process::since_boot() >= until => return Err(failure),
            Err(_) => continue,
        };
        // The next process answers before it takes mail, and may fail until then. One that took over from nobody was started by somebody else.
        let is_another = now.process != begun.process && now.stage == "none";
        if is_another || now.stage == "failed" || now.stage == "done" {
            return tell(&now, arguments.json);
        }
        if now.stage != last && !arguments.json {
            complain!("{}", words(&now));
        }
        last = now.stage;
        if process::since_boot() >= until {
            return Err(Failure(
                NO,
                format!("it takes long: {last}; `relevo upgrade --status` says how far it is"),
            ));
        }
    }
}

fn words(status: &UpgradeStatus) -> String {
    let next = || {
        let version = status.next_version.as_deref().unwrap_or("the new version");
        status
            .next_process
            .map_or_else(|| version.to_owned(), |process| format!("process {process} ({version})"))
    };
    match &*status.stage {
        "asked" | "checking" => "the new binary reads the configuration".to_owned(),
        "preparing" => format!("{} gets ready", next()),
        "resting" => "what is under way at next hops ends; mail is taken as before".to_owned(),
        "handing_over" => format!("{} takes over", next()),
        stage => stage.to_owned(),
    }
}

fn tell(status: &UpgradeStatus, json: bool) -> Result<(), Failure> {
    if json {
        say!("{}", serde_json::to_string(status).map_err(|error| error.to_string())?);
    }
    let UpgradeStatus { process, version, problem, waited_seconds, .. } = status;
    match (&*status.stage, waited_seconds) {
        ("failed", _) => {
            let problem = problem.as_deref().unwrap_or("nobody knows why");
            let words =
                format!("nobody took over, and process {process} (relevo {version}) goes on: {problem}");
            return Err(Failure(NO, if json { String::new() } else { words }));
        }
        _ if json => {}
        ("done", Some(waited)) => {
            say!(
                "process {process} (relevo {version}) took over; who came meanwhile waited up to {waited:.2} s"
            );
        }
        ("done", None) => say!("process {process} (relevo {version}) took over"),
        ("none", _) => say!("process {process} (relevo {version}) serves; no upgrade is under way"),
        _ => say!("process {process} (relevo {version}) serves: {}", words(status)),
    }
    Ok(())
}
