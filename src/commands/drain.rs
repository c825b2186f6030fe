//! `relevo drain`: all that waits goes to another relay, and nothing new is taken in.

use std::time::Duration;

use clap::Args;
use relevo::config::value;
use relevo::control::api::shape::drain::Drain;
use relevo::control::api::shape::{Change, Resume, Status, SuspensionEntry, Suspensions};
use relevo::limits;
use relevo::runtime::process;
use serde_json::json;

use super::client::{Client, Relay};
use super::output::{Failure, NO, complain, say};
use super::words::{count, plain};
use super::{queue, suspend};

/// `relevo drain`
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// Where all mail goes: smtp://host:port. The relay there must take it from this machine (relay_from).
    #[arg(long, value_name = "HOST", required_unless_present_any = ["end", "status"])]
    to: Option<String>,
    /// For how long at most: then the rest goes its own way, and mail is taken in again.
    #[arg(long = "for", value_name = "TIME", value_parser = value::duration, default_value = "1d")]
    lasts: Duration,
    /// Why; `suspend --list` tells it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Begin it, and do not wait until nothing is left.
    #[arg(long)]
    no_wait: bool,
    /// End it: what is left goes its own way, and mail is taken in again.
    #[arg(long, conflicts_with_all = ["to", "status", "no_wait"])]
    end: bool,
    /// Do nothing; say how far it is.
    #[arg(long, conflicts_with_all = ["to", "no_wait"])]
    status: bool,
    /// Print the report as a JSON object.
    #[arg(long)]
    json: bool,
}

/// Exit 0: nothing is left, or what was asked for is done; 1: it ended before, or something is held that does not go.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = arguments.relay.client()?;
    if arguments.end {
        return end(&client, arguments.json);
    }
    let Some(to) = &arguments.to else { return show(&client, arguments.json) };
    let before: Status = client.get("/control/v1/status")?;
    let asked =
        Drain { to: to.clone(), seconds: arguments.lasts.as_secs(), reason: arguments.reason.clone() };
    let done: Suspensions = client.post("/control/v1/drain", &asked)?;
    suspend::unkept(&done);
    let ids: Vec<u64> = done.suspensions.iter().map(|one| one.id).collect();
    if !arguments.json {
        complain!(
            "no mail is taken in any more; all that waits goes to {}: {}",
            plain(to.as_bytes()),
            left(&before)
        );
        complain!("`relevo drain --end` has mail taken in again; who only looks on may go (Ctrl-C)");
    }
    // What waits for its next attempt goes now. Where some is left to itself its time comes.
    let _ = queue::change_all(&client, "retry", &mut all());
    if arguments.no_wait {
        return Ok(());
    }
    follow(&client, &ids, (&before, to, arguments))
}

/// All that waits.
fn all() -> Change {
    Change { all: true, ..Change::default() }
}

/// Waits until nothing is left, and reports.
fn follow(
    client: &Client,
    ids: &[u64],
    (before, to, arguments): (&Status, &str, &Arguments),
) -> Result<(), Failure> {
    let began = process::since_boot();
    let (mut last, mut told, mut alone, mut stood) = (before.clone(), began, 0, 0);
    loop {
        process::pause(limits::DRAIN_FOLLOW);
        let now = process::since_boot();
        // A relay that starts anew goes on with it, and has nothing to tell before it has read its spool.
        let status = client.get::<Status>("/control/v1/status").ok().filter(|status| !status.starting);
        let Some(status) = status else {
            if now >= began + arguments.lasts {
                return Err(Failure(
                    NO,
                    format!("the relay does not answer; {} when it did last", left(&last)),
                ));
            }
            continue;
        };
        if status.seconds < last.seconds {
            // It knows of the drain, and not that what was deferred is to go at once.
            let _ = queue::change_all(client, "retry", &mut all());
        }
        last = status;
        let report = Report::of(before, &last, to, now - began);
        if messages(&last) == 0 {
            return report.tell(arguments.json);
        }
        if !is_on(client, ids) {
            report.tell(arguments.json)?;
            return Err(Failure(NO, format!("it was ended, and mail is taken in again: {}", left(&last))));
        }
        alone = if recipients(&last) == stood { alone + 1 } else { 0 };
        stood = recipients(&last);
        // Not counted each time: that takes longer the more waits.
        let held = if alone > 0 && alone % limits::DRAIN_HELD_LOOKS == 0 { held(client) } else { 0 };
        if held > 0 && held >= stood {
            report.tell(arguments.json)?;
            let words = "are held, by an operator or until the time at which they are to go (queue list --state held): release them, or bounce them";
            return Err(Failure(NO, format!("{} {words}", count(held, "recipient"))));
        }
        if alone > 0 && alone % limits::DRAIN_HELD_LOOKS == 0 {
            // Nothing moves: what was put off, as the peer was away, is to go now that it may be there again.
            let _ = queue::change_all(client, "retry", &mut all());
        }
        if now >= told + limits::DRAIN_TOLD && !arguments.json {
            told = now;
            complain!("{}", left(&last));
        }
    }
}

fn messages(status: &Status) -> u64 {
    status.shards.iter().map(|shard| shard.messages).sum()
}

fn recipients(status: &Status) -> u64 {
    status.shards.iter().map(|shard| shard.queued).sum()
}

fn left(status: &Status) -> String {
    if status.starting {
        return "the relay is starting, and does not know yet what is left".to_owned();
    }
    format!("{} of {} left", count(recipients(status), "recipient"), count(messages(status), "message"))
}

/// Recipients that do not go by themselves; none where that cannot be told now.
fn held(client: &Client) -> u64 {
    queue::count_all(client, "state=held").map_or(0, |(count, _)| count.recipients)
}

fn drains(client: &Client) -> Result<Vec<SuspensionEntry>, Failure> {
    let all: Suspensions = client.get("/control/v1/suspensions")?;
    Ok(all.suspensions.into_iter().filter(|one| one.effect == "drain").collect())
}

/// Whether one of these is in force, as far as is known.
fn is_on(client: &Client, ids: &[u64]) -> bool {
    drains(client).map_or(true, |all| all.iter().any(|one| ids.contains(&one.id)))
}

fn end(client: &Client, json: bool) -> Result<(), Failure> {
    let all = drains(client)?;
    for one in &all {
        let done: Suspensions =
            client.post("/control/v1/resume", &Resume { id: Some(one.id), ..Resume::default() })?;
        suspend::unkept(&done);
    }
    let status: Status = client.get("/control/v1/status")?;
    if json {
        say!(
            "{}",
            json!({ "ended": all.len(), "messages": messages(&status), "recipients": recipients(&status) })
        );
    } else if !all.is_empty() {
        say!("mail is taken in again; {}", left(&status));
    }
    if all.is_empty() { Err(Failure(NO, "nobody drains it".to_owned())) } else { Ok(()) }
}

fn show(client: &Client, json: bool) -> Result<(), Failure> {
    let (all, status) = (drains(client)?, client.get::<Status>("/control/v1/status")?);
    if json {
        let drains: Vec<_> =
            all.iter().map(|one| json!({ "id": one.id, "to": one.to, "until": one.until })).collect();
        say!(
            "{}",
            json!({ "drains": drains, "messages": messages(&status), "recipients": recipients(&status) })
        );
    }
    for one in all.iter().filter(|_| !json) {
        let to = plain(one.to.as_deref().unwrap_or_default().as_bytes());
        say!("all mail goes to {to} until {}, by {}: {}", one.until, plain(one.by.as_bytes()), left(&status));
    }
    if all.is_empty() { Err(Failure(NO, "nobody drains it".to_owned())) } else { Ok(()) }
}

/// What came of it.
struct Report<'a> {
    to: &'a str,
    delivered: u64,
    handed_over: u64,
    handed_anew: u64,
    bounced: u64,
    messages: u64,
    recipients: u64,
    took: Duration,
    /// The relay started anew meanwhile, so that less was counted.
    anew: bool,
}

impl<'a> Report<'a> {
    fn of(before: &Status, now: &Status, to: &'a str, took: Duration) -> Report<'a> {
        let anew = now.seconds < before.seconds + took.as_secs() / 2;
        let sum = |status: &Status, of: fn(&relevo::control::api::shape::ShardStatus) -> u64| {
            status.shards.iter().map(of).sum::<u64>()
        };
        let more = |of| sum(now, of).saturating_sub(if anew { 0 } else { sum(before, of) });
        Report {
            to,
            delivered: more(|shard| shard.delivered),
            handed_over: more(|shard| shard.handed_over),
            handed_anew: more(|shard| shard.handed_anew),
            bounced: more(|shard| shard.bounced),
            messages: messages(now),
            recipients: recipients(now),
            took,
            anew,
        }
    }

    fn tell(&self, json: bool) -> Result<(), Failure> {
        let Report { to, delivered, handed_over, handed_anew, bounced, messages, recipients, took, anew } =
            self;
        if json {
            let told = json!({
                "to": to, "delivered": delivered, "handed_over": handed_over, "handed_anew": handed_anew, "bounced": bounced, "messages": messages, "recipients": recipients,
                "seconds": took.as_secs_f64(), "restarted": anew,
            });
            say!("{told}");
            return Ok(());
        }
        let since = if *anew { ", as far as is known since a start" } else { "" };
        say!(
            "{} went out, {} came back{since}, in {} s; {} of {} left",
            count(*delivered, "recipient"),
            count(*bounced, "recipient"),
            took.as_secs(),
            count(*recipients, "recipient"),
            count(*messages, "message")
        );
        if *handed_anew > 0 {
            say!(
                "of {} the relay there knows no attempts, no age and no parameters, as it takes over none from this node (handover_from): they begin anew",
                count(*handed_anew, "recipient")
            );
        }
        if *messages == 0 {
            say!(
                "nothing is left: this relay may be stopped, or `relevo drain --end` has mail taken in again"
            );
        }
        Ok(())
    }
}
