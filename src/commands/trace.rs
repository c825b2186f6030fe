//! `relevo trace`: what sessions say, as they say it.

use std::io::{self, Write};

use clap::Args;
use relevo::control::api::shape::trace::Told;

use super::client::Relay;
use super::output::{Failure, NO, WRONG_USE, complain};
use super::words::plain;

/// `relevo trace …`
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// Sessions with mail to this address, or such: ada@example.org, @example.org, *.example.org.
    #[arg(long, value_name = "PATTERN")]
    rcpt: Option<String>,
    /// Sessions with mail from this sender; <> is the null sender.
    #[arg(long, value_name = "PATTERN")]
    sender: Option<String>,
    /// Sessions of this client: an address or a network.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Sessions with this next hop: its host, or *. and a domain.
    #[arg(long, value_name = "HOST")]
    site: Option<String>,
    /// Show the messages too, the first 16 KiB of each.
    #[arg(long)]
    bodies: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Exit 1: it ended otherwise than by who asked.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { relay, rcpt, sender, client, site, bodies, json } = arguments;
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("rcpt", rcpt), ("sender", sender), ("client", client), ("site", site)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if rcpt.is_none() && sender.is_none() && client.is_none() && site.is_none() {
        let words = "say whose sessions: --rcpt, --sender, --client or --site";
        return Err(Failure(WRONG_USE, words.to_owned()));
    }
    if *bodies {
        query.append_pair("bodies", "1");
    }
    let path = format!("/control/v1/trace?{}", query.finish());
    let mut out = io::stdout().lock();
    let mut last = String::new();
    relay.client()?.follow(&path, |line| {
        if line.is_empty() {
            return Ok(());
        }
        let told: Told = serde_json::from_slice(line).map_err(|error| {
            format!("what the relay says is not understood: {error}; is it of another version?")
        })?;
        if *json {
            out.write_all(line)?;
            writeln!(out)?;
        } else if let Some(time) = &told.time {
            if last != told.session {
                let side = if told.side == "in" { "client" } else { "next hop" };
                writeln!(out, "--- {} {side} {}", told.session, plain(told.peer.as_bytes()))?;
                last.clone_from(&told.session);
            }
            // The day is known to who watches.
            let clock = time.get(11..23).unwrap_or(time);
            writeln!(out, "{clock} {} {}", told.dir, plain(told.line.as_bytes()))?;
        }
        if let Some(dropped) = told.dropped {
            complain!("{dropped} lines are missing here: more was said than could be told");
        }
        out.flush()?;
        match told.ended {
            Some(why) => Err(Failure(NO, why)),
            None => Ok(()),
        }
    })?;
    Err(Failure(NO, "the relay ended it".to_owned()))
}
