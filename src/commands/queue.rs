//! `relevo queue`: what waits in the running relay, and what is to become of it.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use relevo::config::value;
use relevo::control::api::shape::{
    Change, Changed, Count, CountPage, Message, Page, Redirect, ScanProgress, Suspensions,
};
use relevo::limits;
use relevo::queue::select::Filter;
use serde::Serialize;

use super::client::{Client, Relay};
use super::filters::Filters;
use super::output::{Failure, NO, WRONG_USE, complain, say};
use super::progress::Progress;
use super::words::{count as counted, plain};
use super::{cluster, export, rows, suspend, table};

/// `relevo queue …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// List what waits, page by page: a row for the recipients of one message in one domain.
    #[command(
        after_help = "Examples:\n  relevo queue list --domain example.org\n  relevo queue list --older 2h --state deferred --limit 0 --json\n  relevo queue list --cluster --recipient ada@example.org\n  relevo queue list --sender @news.example.com --reply '4\\.7\\.'"
    )]
    List {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        filters: Box<Filters>,
        /// At most so many rows; 0 is all of them.
        #[arg(long, default_value_t = 100, value_name = "ROWS")]
        limit: u64,
        /// Of all nodes of the cluster. Exit 1: one did not answer, and its mail is missing.
        #[arg(long)]
        cluster: bool,
        /// One JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// Count what waits.
    #[command(
        after_help = "Examples:\n  relevo queue count\n  relevo queue count --site mx.example.org --json"
    )]
    Count {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        filters: Box<Filters>,
        /// At all nodes of the cluster. Exit 1: one did not answer, and its mail is missing.
        #[arg(long)]
        cluster: bool,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Show a message that waits or is under way: its recipients, and why they wait.
    #[command(after_help = "Example: relevo queue show 00000000G0000102")]
    Show {
        /// Its id, as logs and `list` have it.
        id: String,
        #[command(flatten)]
        relay: Relay,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Try it now, whenever it would be due; sites that rest after failures are tried too. Exit 1: nothing matched.
    #[command(
        after_help = "Examples:\n  relevo queue retry --domain example.org\n  relevo queue retry --all"
    )]
    Retry {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        change: Box<ChangeArguments>,
    },
    /// Return it to its sender now. Exit 1: nothing matched.
    #[command(
        after_help = "Example: relevo queue bounce --domain exmaple.org --older 1d --reason 'no such domain'"
    )]
    Bounce {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        change: Box<ChangeArguments>,
        /// Why; the sender is told.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Hold it: it is not tried until it is released, or for so long. Its time goes on. Exit 1: nothing matched.
    #[command(
        after_help = "Examples:\n  relevo queue hold --campaign autumn --reason 'wrong prices'\n  relevo queue hold --domain example.org --for 2h --reason 'they asked us to wait'"
    )]
    Hold {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        change: Box<ChangeArguments>,
        /// For how long: 30m, 2h, 3d. Without it until it is released.
        #[arg(long = "for", value_name = "TIME", value_parser = value::duration)]
        lasts: Option<Duration>,
        /// Why; `list`, `show` and `why` tell it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Lead it elsewhere for a while: what waits and what comes for a domain, a site or a provider. `resume` ends it.
    #[command(
        after_help = "Example: relevo queue redirect --domain example.org --to smtp://backup.example.net --for 2h --reason 'their MX is down'"
    )]
    Redirect {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        change: Box<ChangeArguments>,
        /// Where: smtp://host:port, smtps://host, lmtp://host:port.
        #[arg(long, value_name = "HOST")]
        to: String,
        /// For how long: 30m, 2h, 3d.
        #[arg(long = "for", value_name = "TIME", value_parser = value::duration)]
        lasts: Duration,
        /// Why; `suspend --list` tells it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Give it another tenant, campaign, pool or priority: it waits on as before, in that queue. Exit 1: nothing to change.
    #[command(
        after_help = "Examples:\n  relevo queue rebind --pool bulk --domain example.org --to-pool rest --reason 'ip1 is listed'\n  relevo queue rebind --campaign autumn --to-campaign winter --to-priority low"
    )]
    Rebind {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        change: Box<ChangeArguments>,
        #[command(flatten)]
        to: Rebinding,
        /// Why, for the log.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Write what waits to files, byte for byte as it was accepted. Exit 1: nothing matched, or some could not be read.
    #[command(
        after_help = "Examples:\n  relevo queue export --sender @shop.example --to /var/tmp/mail\n  relevo queue export --id 00000000G0000102 --to -"
    )]
    Export {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        filters: Box<Filters>,
        /// A directory, for a file ID.eml each; -: standard output, a line of JSON with its `size` in front of each message.
        #[arg(long, value_name = "DIR")]
        to: String,
    },
    /// Let go what is held: it is tried now, or at its hour if it has one. Exit 1: nothing of that is held.
    #[command(
        after_help = "Examples:\n  relevo queue release --campaign autumn\n  relevo queue release --all"
    )]
    Release {
        #[command(flatten)]
        relay: Relay,
        #[command(flatten)]
        change: Box<ChangeArguments>,
        /// Why, for the log.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// What a change is of.
#[derive(Args)]
struct ChangeArguments {
    #[command(flatten)]
    filters: Filters,
    /// All mail that waits; instead of a filter.
    #[arg(long)]
    all: bool,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

impl ChangeArguments {
    /// The filters, or none where all mail is meant.
    fn filter(&self) -> Result<BTreeMap<String, String>, Failure> {
        let filter = self.filters.by_name()?;
        if filter.is_empty() == self.all {
            return Ok(filter);
        }
        let words = if self.all {
            "--all means all mail: leave the filters out, or leave it out"
        } else {
            "all mail would be meant: give a filter, or --all"
        };
        Err(Failure(WRONG_USE, words.to_owned()))
    }
}

/// What mail is rebound to.
#[derive(Args)]
struct Rebinding {
    /// Its tenant from now on.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["to_campaign", "to_pool", "to_priority"])]
    to_tenant: Option<String>,
    /// Its campaign.
    #[arg(long, value_name = "NAME")]
    to_campaign: Option<String>,
    /// The `[[pool]]` or `[[source]]` that it leaves by.
    #[arg(long, value_name = "NAME")]
    to_pool: Option<String>,
    /// Its priority.
    #[arg(long, value_name = "high|normal|low")]
    to_priority: Option<String>,
}

impl Rebinding {
    /// By their names.
    fn by_name(self) -> BTreeMap<String, String> {
        let Rebinding { to_tenant, to_campaign, to_pool, to_priority } = self;
        let all =
            [("tenant", to_tenant), ("campaign", to_campaign), ("pool", to_pool), ("priority", to_priority)];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Exit 0: done; 1: nothing of that, or no relay; 2: wrong use, or a filter that is not built yet.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.tool {
        Tool::List { relay, filters, limit, cluster: true, json } => {
            cluster::list(&relay, &filters, limit, json)
        }
        Tool::List { relay, filters, limit, cluster: false, json } => list(&relay, &filters, limit, json),
        Tool::Count { relay, filters, cluster: true, json } => cluster::count(&relay, &filters, json),
        Tool::Count { relay, filters, cluster: false, json } => count(&relay, &filters, json),
        Tool::Show { id, relay, json } => show(&relay, &id, json),
        Tool::Retry { relay, change } => {
            self::change(&relay, &change, ("retry", "tried now"), Change::default())
        }
        Tool::Bounce { relay, change, reason } => {
            self::change(&relay, &change, ("bounce", "returned"), Change { reason, ..Change::default() })
        }
        Tool::Hold { relay, change, lasts, reason } => {
            let seconds = lasts.map(|lasts| lasts.as_secs().max(1));
            let wish = Change { reason, seconds, ..Change::default() };
            self::change(&relay, &change, ("hold", "held"), wish)
        }
        Tool::Redirect { relay, change, to, lasts, reason } => redirect(&relay, &change, (to, lasts, reason)),
        Tool::Rebind { relay, change, to, reason } => {
            let wish = Change { reason, set: to.by_name(), ..Change::default() };
            self::change(&relay, &change, ("rebind", "rebound"), wish)
        }
        Tool::Export { relay, filters, to } => export::run(&relay, &filters.query()?.finish(), &to),
        Tool::Release { relay, change, reason } => {
            self::change(&relay, &change, ("release", "released"), Change { reason, ..Change::default() })
        }
    }
}

fn list(relay: &Relay, filters: &Filters, limit: u64, json: bool) -> Result<(), Failure> {
    let query = filters.query()?.finish();
    let client = relay.client()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let (mut cursor, mut under_way, mut rows) = (String::new(), 0, 0u64);
    let (mut progress, columns) = (Progress::default(), table::columns());
    if !json {
        writeln!(out, "{}", rows::head())?;
    }
    loop {
        let most = left.min(limits::PAGE_ROWS as u64).to_string();
        let mut query = form_urlencoded::Serializer::new(query.clone());
        query.append_pair("limit", &most).append_pair("cursor", &cursor);
        let page: Page = client.get(&format!("/control/v1/queue?{}", query.finish()))?;
        progress.show(page.scanned);
        for row in &page.rows {
            if json {
                serde_json::to_writer(&mut out, row).map_err(io::Error::from)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", rows::lines(row, None, columns))?;
            }
        }
        out.flush()?;
        left = left.saturating_sub(page.rows.len() as u64);
        rows += page.rows.len() as u64;
        under_way += page.under_way;
        match page.next {
            None => break,
            Some(_) if left == 0 => {
                complain!("that is all that was asked for, and there is more: --limit 0 lists all");
                break;
            }
            Some(next) => cursor = next,
        }
    }
    progress.end();
    if under_way > 0 {
        complain!("{} under way, and in no row", counted(under_way, "group"));
    }
    if rows == 0 && !json {
        complain!("nothing of that waits");
    }
    Ok(())
}

fn count(relay: &Relay, filters: &Filters, json: bool) -> Result<(), Failure> {
    let (all, scanned) = count_all(&relay.client()?, &filters.query()?.finish())?;
    if json {
        let all = AllCounted { count: all, scanned };
        say!("{}", serde_json::to_string(&all).map_err(|error| error.to_string())?);
    } else {
        say!("{}", rows::amount(&all));
    }
    Ok(())
}

/// How much of that waits, and how far records were looked through for it.
pub(super) fn count_all(client: &Client, query: &str) -> Result<(Count, Option<ScanProgress>), Failure> {
    let (mut all, mut cursor, mut progress) = (Count::default(), String::new(), Progress::default());
    loop {
        let mut query = form_urlencoded::Serializer::new(query.to_owned());
        query.append_pair("cursor", &cursor);
        let part: CountPage = client.get(&format!("/control/v1/queue/count?{}", query.finish()))?;
        progress.show(part.scanned);
        rows::add(&mut all, &part.count);
        match part.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    Ok((all, progress.end()))
}

/// A count, as one JSON object.
#[derive(Serialize)]
struct AllCounted {
    #[serde(flatten)]
    count: Count,
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned: Option<ScanProgress>,
}

/// The ids here of the first two messages that were called so at the node which handed them over: one for several domains comes as several.
fn first_called(client: &Client, id: &str) -> Result<Vec<String>, Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("origin", id).append_pair("limit", "100");
    let query = query.finish();
    let mut found: Vec<String> = Vec::new();
    let (mut cursor, mut progress) = (String::new(), Progress::default());
    loop {
        let mut query = form_urlencoded::Serializer::new(query.clone());
        query.append_pair("cursor", &cursor);
        let page: Page = client.get(&format!("/control/v1/queue?{}", query.finish()))?;
        progress.show(page.scanned);
        found.extend(page.rows.into_iter().map(|row| row.id));
        found.dedup();
        match page.next {
            Some(next) if found.len() < 2 => cursor = next,
            _ => break,
        }
    }
    progress.end();
    Ok(found)
}

/// The one that is meant by the id of another node.
fn handed_over(client: &Client, id: &str) -> Result<Option<Message>, Failure> {
    let found = first_called(client, id)?;
    if found.len() > 1 {
        complain!("several messages were called so: `relevo queue list --origin {id}` has them all");
    }
    let own = |id: &String| client.get::<Message>(&format!("/control/v1/queue/message/{id}"));
    found.first().map(own).transpose()
}

fn show(relay: &Relay, id: &str, json: bool) -> Result<(), Failure> {
    let (of_node, id) = id.rsplit_once('/').map_or((None, id), |(node, id)| (Some(node), id));
    let mut filter = Filter::default();
    filter.set("id", id).map_err(|bad| Failure(WRONG_USE, bad.to_string()))?;
    let id = filter.id.map(|id| id.to_string()).unwrap_or_default();
    let client = relay.client()?;
    let message = match of_node {
        Some(node) => {
            let none = || Failure(NO, format!("nothing here was {id} at the node {node}"));
            handed_over(&client, &format!("{node}/{id}"))?.ok_or_else(none)?
        }
        // Handed over by another node it has another id here.
        None => match client.get::<Message>(&format!("/control/v1/queue/message/{id}")) {
            Err(none) => handed_over(&client, &id)?.ok_or(none)?,
            Ok(shown) => shown,
        },
    };
    if json {
        say!("{}", serde_json::to_string_pretty(&message).map_err(|error| error.to_string())?);
        return Ok(());
    }
    say!(
        "id        {}{}\nlane      {}\nsender    <{}>\naccepted  {}\nexpires   {}\nsize      {} bytes\nleft      {} of {}, {} of them under way",
        message.id,
        message.origin.as_ref().map(|origin| format!("\norigin    {origin}")).unwrap_or_default(),
        message.lane,
        plain(message.sender.as_bytes()),
        message.accepted,
        message.expires,
        message.size,
        message.left,
        counted(message.recipients.into(), "recipient"),
        message.under_way
    );
    for part in &message.waiting {
        let next = part.next_attempt.as_deref().filter(|_| part.state != "ready");
        say!(
            "waits     {} in {}, {}{}{}",
            counted(part.count.into(), "recipient"),
            plain(part.domain.as_bytes()),
            part.state,
            next.map(|next| format!(" until {next}")).unwrap_or_default(),
            part.site_closed_until
                .as_ref()
                .map(|until| format!(", its site rests until {until}"))
                .unwrap_or_default()
        );
    }
    say_recipients(&message)
}

/// Each recipient that is left, as far as the answer has them.
fn say_recipients(message: &Message) -> Result<(), Failure> {
    let mut said: &[String] = &[];
    for recipient in &message.live {
        let reply = recipient.last_reply.as_deref().unwrap_or("never tried");
        say!(
            "to        <{}>, {}: {}",
            plain(recipient.address.as_bytes()),
            counted(recipient.attempts.into(), "attempt"),
            plain(reply.as_bytes())
        );
        if let Some(hold) = &recipient.hold {
            say!("          held {}", plain(hold.as_bytes()));
        }
        if recipient.dialogue != said {
            said = &recipient.dialogue;
            for line in said {
                say!("          {}", plain(line.as_bytes()));
            }
        }
    }
    if (message.live.len() as u32) < message.left {
        say!("          and {} more", message.left - message.live.len() as u32);
    }
    Ok(())
}

fn change(
    relay: &Relay,
    meant: &ChangeArguments,
    (verb, done): (&str, &str),
    wish: Change,
) -> Result<(), Failure> {
    let filter = meant.filter()?;
    let client = relay.client()?;
    let mut change = Change { filter, all: meant.all, ..wish };
    let all = change_all(&client, verb, &mut change)?;
    if meant.json {
        say!("{}", serde_json::to_string(&all).map_err(|error| error.to_string())?);
    } else {
        let besides = match all.under_way {
            0 => String::new(),
            left => format!("; {} under way left alone", counted(left, "group")),
        };
        say!("{} {done}{besides}", counted(all.recipients, "recipient"));
    }
    if all.recipients == 0 {
        let words = match verb {
            "hold" => "nothing of that waits, or all of it is held for as long already",
            "release" => "nothing of that is held",
            "rebind" => "nothing of that waits, or all of it has that already",
            _ => "nothing of that waits",
        };
        Err(Failure(NO, words.to_owned()))
    } else if all.unwritten > 0 {
        let words = "is not on disk yet, which is slow or fails: the log says more. A kill now would leave it as it was";
        Err(Failure(NO, format!("{} of that {words}", counted(all.unwritten, "group"))))
    } else {
        Ok(())
    }
}

/// Has mail led elsewhere.
fn redirect(
    relay: &Relay,
    meant: &ChangeArguments,
    (to, lasts, reason): (String, Duration, String),
) -> Result<(), Failure> {
    let filter = meant.filter()?;
    let asked = Redirect { filter, all: meant.all, to, seconds: lasts.as_secs(), reason };
    let done: Suspensions = relay.client()?.post("/control/v1/queue/redirect", &asked)?;
    for one in &done.suspensions {
        if meant.json {
            suspend::print(one)?;
        } else {
            let to = one.to.as_deref().unwrap_or_default();
            say!("{}: {} goes to {to} until {}", one.id, plain(one.mail.as_bytes()), one.until);
        }
    }
    suspend::unkept(&done);
    Ok(())
}

pub(super) fn change_all(client: &Client, verb: &str, change: &mut Change) -> Result<Changed, Failure> {
    let (mut all, mut vain, mut progress) = (Changed::default(), 0, Progress::default());
    loop {
        let part: Changed =
            client.post(&format!("/control/v1/queue/{verb}"), change).map_err(|Failure(code, words)| {
                let done = if all.recipients > 0 {
                    format!(", {} before that", counted(all.recipients, "recipient"))
                } else {
                    String::new()
                };
                Failure(code, words + &done)
            })?;
        all.recipients += part.recipients;
        all.groups += part.groups;
        all.under_way += part.under_way;
        all.unwritten += part.unwritten;
        change.until = part.until;
        // Nothing was changed or looked through, and the next request would begin where this one did.
        let stands = part.groups == 0 && part.next == change.cursor && part.scanned == all.scanned;
        progress.show(part.scanned);
        all.scanned = part.scanned;
        vain = if part.waits_for_spool || stands { vain + 1 } else { 0 };
        match part.next {
            None => {
                progress.end();
                return Ok(all);
            }
            Some(_) if vain > limits::CHANGES_IN_VAIN => {
                let words = if part.waits_for_spool {
                    "the spool takes no more outcomes: is its disk slow, or does it fail? The log says more; the rest still waits"
                } else {
                    "what is left of one domain takes longer to look at than a request may: give a narrower filter; the rest still waits"
                };
                return Err(Failure(
                    NO,
                    format!("{} changed; {words}", counted(all.recipients, "recipient")),
                ));
            }
            next => change.cursor = next,
        }
    }
}
