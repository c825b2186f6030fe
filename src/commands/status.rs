//! `relevo status`.

use clap::Args;
use relevo::control::api::shape::Status;
use relevo::limits;

use super::client::Relay;
use super::cluster;
use super::output::{Failure, NO, say};
use super::words::{count, plain};

/// `relevo status`
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// All nodes of its `[cluster]`. Exit 1: one does not answer, or takes no mail.
    #[arg(long)]
    cluster: bool,
    /// As a JSON object.
    #[arg(long)]
    json: bool,
}

/// Exit 0: it runs and takes mail, or all nodes do; 1: it does not, or one does not.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.cluster {
        return cluster::status(&arguments.relay, arguments.json);
    }
    let status: Status = arguments.relay.client()?.get("/control/v1/status")?;
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&status).map_err(|error| error.to_string())?);
    } else {
        let takes = if status.takes_mail { "takes mail" } else { "takes no mail" };
        say!(
            "{} {takes}; relevo {} on {}, for {} s",
            plain(status.node.as_bytes()),
            status.version,
            status.runtime,
            status.seconds
        );
        say!("shard   queued messages clients connections delivered deferred bounced live MiB");
        for of in &status.shards {
            let note = if of.takes_mail { "" } else { "  refuses" };
            say!(
                "{:>5} {:>8} {:>8} {:>7} {:>11} {:>9} {:>8} {:>7} {:>8.1}{note}",
                of.shard,
                of.queued,
                of.messages,
                of.clients,
                of.connections,
                of.delivered,
                of.deferred,
                of.bounced,
                of.live_bytes as f64 / f64::from(1 << 20)
            );
        }
        for suspended in &status.suspended_sources {
            say!("suspended: {}", plain(suspended.why.as_bytes()));
        }
        for warning in &status.warnings {
            say!("warning: {}", plain(warning.as_bytes()));
        }
        let queued: u64 = status.shards.iter().map(|of| of.queued).sum();
        say!("{} queued", count(queued, "recipient"));
        for (at, said) in status.said.iter().take(limits::STATUS_SAID).enumerate() {
            if at == 0 {
                say!("said of late, the latest first:");
            }
            let time = said.time.get(..19).unwrap_or(&said.time);
            say!("  {time}Z {} {}", said.level, plain(said.words.as_bytes()));
        }
    }
    if status.takes_mail { Ok(()) } else { Err(Failure(NO, status.words)) }
}
