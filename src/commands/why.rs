//! `relevo why`: what mail waits for.

use clap::Args;
use relevo::control::api::shape::cluster::ClusterWhy;
use relevo::control::api::shape::why::{Because, Domain, Site, Why};
use relevo::id::MessageId;
use relevo::limits;

use super::client::{Client, Relay};
use super::cluster;
use super::output::{Failure, NO, say};
use super::progress::Progress;
use super::table;
use super::words::{count, plain};

/// `relevo why …`
#[derive(Args)]
pub struct Arguments {
    /// The id of a message, a domain, the address of a recipient, or an account. What has no dot and no @ is an account.
    #[arg(value_name = "ID|DOMAIN|ADDRESS|ACCOUNT")]
    what: String,
    #[command(flatten)]
    relay: Relay,
    /// At all nodes of the cluster. Exit 1 also where one did not answer.
    #[arg(long)]
    cluster: bool,
    /// All that is known, as a JSON object.
    #[arg(long)]
    json: bool,
}

/// The filters that mean what is asked for.
fn filters(what: &str) -> Vec<(&'static str, String)> {
    let what = what.trim();
    if let Ok(id) = what.to_ascii_uppercase().parse::<MessageId>() {
        return vec![("id", id.to_string())];
    }
    if what.contains('/') && !first_called(what).is_empty() {
        return first_called(what);
    }
    if let Some((_, domain)) = what.rsplit_once('@') {
        return vec![("recipient", what.to_owned()), ("domain", domain.to_ascii_lowercase())];
    }
    if what.contains('.') || what.starts_with('[') {
        return vec![("domain", what.trim_end_matches('.').to_ascii_lowercase())];
    }
    vec![("account", what.to_owned())]
}

/// Those that mean what had this id at the node which handed it over.
fn first_called(what: &str) -> Vec<(&'static str, String)> {
    let is_origin = |what: &str| what.rsplit('/').next().is_some_and(|id| id.parse::<MessageId>().is_ok());
    let what = what.trim().to_ascii_uppercase();
    if is_origin(&what) { vec![("origin", what)] } else { Vec::new() }
}

/// Exit 0: something waits; 1: nothing of that, or no relay; 2: wrong use.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { what, relay, cluster, json } = arguments;
    let client = relay.client()?;
    let asked = |filters: Vec<(&'static str, String)>| {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(filters).finish()
    };
    let query = asked(filters(what));
    if *cluster {
        return at_all(what, &client, ([query, asked(first_called(what))], *json));
    }
    let mut found = at_one(&client, &query);
    // Nothing of that waits, which may be told as such.
    let none = match &found {
        Ok(why) => why.recipients + why.under_way == 0,
        Err(Failure(code, _)) => *code == NO,
    };
    if none && !first_called(what).is_empty() {
        // Handed over by another node it has another id here.
        found = at_one(&client, &asked(first_called(what))).or(found);
    }
    let why = found?;
    if *json {
        say!("{}", serde_json::to_string_pretty(&why).map_err(|error| error.to_string())?);
    } else {
        for line in lines(what, &why, table::columns()) {
            say!("{line}");
        }
    }
    Ok(())
}

/// All that the relay says of it.
fn at_one(client: &Client, query: &str) -> Result<Why, Failure> {
    let (mut cursor, mut progress) = (String::new(), Progress::default());
    let why = loop {
        let mut query = form_urlencoded::Serializer::new(query.to_owned());
        query.append_pair("cursor", &cursor);
        let why: Why = client.get(&format!("/control/v1/why?{}", query.finish()))?;
        progress.show(why.scanned);
        match why.next {
            Some(next) => cursor = next,
            None => break why,
        }
    };
    progress.end();
    Ok(why)
}

/// The same at each node that has such mail.
fn at_all(what: &str, client: &Client, ([query, first], json): ([String; 2], bool)) -> Result<(), Failure> {
    let (mut nodes, mut missing) = cluster::why(client, &query)?;
    if nodes.is_empty() && !first.is_empty() {
        // Handed over by the node that it came to first, it has another id now.
        (nodes, missing) = cluster::why(client, &first)?;
    }
    if json {
        let all = ClusterWhy { nodes, missing: missing.clone(), next: None };
        say!("{}", serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?);
        return cluster::told_missing(missing);
    }
    for one in &nodes {
        say!("{}", plain(one.node.as_bytes()));
        for line in lines(what, &one.why, table::columns()) {
            say!("{line}");
        }
    }
    cluster::told_missing(missing)?;
    let nothing = || Failure(NO, format!("nothing of {} waits at any node", plain(what.as_bytes())));
    if nodes.is_empty() { Err(nothing()) } else { Ok(()) }
}

/// What a person reads.
fn lines(what: &str, why: &Why, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let verb = if why.recipients == 1 { "waits" } else { "wait" };
    let mut head = format!("{}: {} {verb}", plain(what.as_bytes()), count(why.recipients, "recipient"));
    if !why.complete {
        head += ", the first of many";
    }
    if why.under_way > 0 {
        head += &format!("; {} under way", why.under_way);
    }
    lines.push(table::fit(&head, columns));
    for cause in &why.causes {
        wrap(&amount(cause.recipients), &words(cause), columns, &mut lines);
    }
    for of in &why.quotas {
        let words = format!("quota of {} {}", of.owner, plain(of.name.as_bytes()));
        let here = of.used_by_all.map_or_else(String::new, |_| format!(" ({} by this node)", of.used));
        let used = of.used_by_all.unwrap_or(of.used);
        let used = format!("{used} of {}/{} used{here}, anew at {}", of.most, of.period, of.until);
        lines.push(table::fit(&format!("{words}: {used}"), columns));
    }
    for (place, heard) in why.replies.iter().enumerate() {
        if place == 0 {
            lines.push("last replies".to_owned());
        }
        let reply = plain(heard.reply.as_bytes());
        lines.push(table::fit(&format!("{}{reply}", amount(heard.recipients)), columns));
    }
    // Queues of a domain that differ in whose mail they are alone say the same.
    let mut said: Vec<Vec<String>> = Vec::new();
    for one in why.domains.iter().take(limits::WHY_SHOWN) {
        let mut block = Vec::new();
        domain(one, columns, &mut block);
        if !said.contains(&block) {
            lines.extend(block.iter().cloned());
            said.push(block);
        }
    }
    let more = why.more_domains + why.domains.len().saturating_sub(limits::WHY_SHOWN) as u64;
    if more > 0 {
        lines.push(format!(
            "and {} more (--json tells of the first {})",
            count(more, "queue"),
            limits::WHY_DOMAINS
        ));
    }
    lines
}

fn amount(recipients: u64) -> String {
    format!("{recipients:>8}  ")
}

fn words(cause: &Because) -> String {
    let words = plain(cause.words.as_bytes());
    if cause.domains > 1 {
        format!("{words} (in {} queues; of the first of them)", cause.domains)
    } else {
        words
    }
}

fn domain(one: &Domain, columns: usize, lines: &mut Vec<String>) {
    let source = match (&one.pool, &one.source) {
        (Some(pool), Some(source)) if pool != source => format!(" by source {source} of pool {pool}"),
        (_, Some(source)) => format!(" by source {source}"),
        _ => String::new(),
    };
    lines.push(table::fit(&format!("{}{}", plain(one.domain.as_bytes()), plain(source.as_bytes())), columns));
    let mut line = |name: &str, text: &str| {
        wrap(&format!("  {name:<7} "), &plain(text.as_bytes()), columns, lines);
    };
    if let Some(why) = &one.source_down {
        let look = one.source_next_look.as_deref().unwrap_or_default();
        line("source", &format!("sends nothing, looked at again {look}: {why}"));
    }
    if let Some(why) = &one.no_site {
        line("route", &format!("not known now: {why}"));
    }
    let Some(site) = &one.site else { return };
    let hosts = site.hosts.join(", ");
    match site.hosts.len() {
        0 => line("route", &site.route),
        _ if site.route == "mx" => line("route", &format!("MX {hosts}")),
        _ => line("route", &format!("by a [[route]] to {hosts}")),
    }
    line("site", &standing(site, one.because.is_none()));
    let rates = site.rates.lines().map(str::to_owned);
    let window = site.window_rate.map(|rate| format!("{rate:.1} messages a second (adaptive window)"));
    let rates: Vec<String> = rates.chain(window).collect();
    if !rates.is_empty() {
        line("rates", &rates.join("; "));
    }
    for of in &site.providers {
        let most = of.connections_max.map_or("any number of".to_owned(), |most| most.to_string());
        let said: Vec<&str> = of.limit.as_deref().into_iter().chain(of.rates.lines()).collect();
        let said = said.join("; ");
        line("provider", &format!("{}: {} of {most} connections; {said}", of.provider, of.connections));
    }
}

/// Its connections and who has them, and whether it rests: why, where no cause says so.
fn standing(site: &Site, tells: bool) -> String {
    let each = |share: &relevo::control::api::shape::why::Share| {
        let idle = if share.idle > 0 { format!(", {} idle", share.idle) } else { String::new() };
        format!("shard {} has {}{idle}", share.shard, share.connections)
    };
    let shards: Vec<String> = site.shards.iter().map(each).collect();
    let shards = if shards.is_empty() { String::new() } else { format!(": {}", shards.join("; ")) };
    let narrow = format!("{} of {} connections{shards}", site.connections, site.connections_max);
    let rests = match (&site.closed_until, site.error.as_ref().filter(|_| tells)) {
        (Some(until), Some(error)) => format!("; rests until {until}: {error}"),
        (Some(until), None) => format!("; rests until {until}"),
        (None, _) => String::new(),
    };
    format!("{narrow} ({}){rests}", site.limit)
}

/// A text in lines of so many columns, behind a head that the further ones leave room for.
fn wrap(head: &str, text: &str, columns: usize, lines: &mut Vec<String>) {
    let room = columns.saturating_sub(head.len()).max(limits::LINE_COLUMNS_LEAST / 2);
    let mut line = String::new();
    let mut head = head.to_owned();
    for word in text.split(' ') {
        if !line.is_empty() && table::wide(&line) + 1 + table::wide(word) > room {
            lines.push(format!("{head}{line}"));
            head = " ".repeat(head.len());
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&table::fit(word, room));
    }
    lines.push(format!("{head}{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use relevo::control::api::shape::why::{LastReply, Share};

    #[test]
    fn what_is_asked_for_is_known_by_its_looks() {
        for (what, name, value) in [
            ("00000000g0000102", "id", "00000000G0000102"),
            ("Example.org.", "domain", "example.org"),
            ("[192.0.2.1]", "domain", "[192.0.2.1]"),
            ("shop", "account", "shop"),
        ] {
            assert_eq!(filters(what), [(name, value.to_owned())]);
        }
        let origin = "00000000000000A1/00000000G0000102";
        assert_eq!(filters(&origin.to_lowercase()), [("origin", origin.to_owned())]);
        assert_eq!(first_called("00000000g0000102"), [("origin", "00000000G0000102".to_owned())]);
        assert!(first_called("example.org").is_empty() && first_called("ada@example.org").is_empty());
        let both = [("recipient", "Ada@Example.org".to_owned()), ("domain", "example.org".to_owned())];
        assert_eq!(filters("Ada@Example.org"), both);
    }

    #[test]
    fn lines_fit_and_say_what_waits_for_what() {
        let because = |words: &str, recipients, domains| Because {
            words: words.to_owned(),
            recipients,
            domains,
            ..Because::default()
        };
        let site = Site {
            route: "mx".to_owned(),
            hosts: vec!["10 mx1.example.net:25".to_owned(), "20 mx2.example.net:25".to_owned()],
            connections: 20,
            connections_max: 20,
            limit: "/etc/relevo/shaping.toml:14 connection_limit = 20".to_owned(),
            shards: vec![
                Share { shard: 0, connections: 12, idle: 0 },
                Share { shard: 1, connections: 8, idle: 3 },
            ],
            ..Site::default()
        };
        let why = Why {
            recipients: 412,
            complete: true,
            under_way: 2,
            causes: vec![
                because("waiting for the next try, the first at 12:04:31Z (in 3m10s)", 400, 1),
                because(
                    "20 of 20 connections to the site are in use (/etc/relevo/shaping.toml:14 connection_limit = 20)",
                    12,
                    1,
                ),
            ],
            replies: vec![LastReply { reply: "451 4.7.1 greylisted\u{1b}[2J".to_owned(), recipients: 400 }],
            domains: vec![
                Domain { domain: "example.org".to_owned(), site: Some(site.clone()), ..Domain::default() },
                Domain { domain: "example.org".to_owned(), site: Some(site), ..Domain::default() },
            ],
            ..Why::default()
        };
        let shown = lines("example.org", &why, 80);
        assert!(shown.len() <= 20 && shown.iter().all(|line| table::wide(line) <= 80), "{shown:#?}");
        let text = shown.join("\n");
        assert_eq!(text.matches("  route   MX").count(), 1, "queues that say the same are one");
        for part in [
            "example.org: 412 recipients wait; 2 under way",
            "     400  waiting for the next try, the first at 12:04:31Z (in 3m10s)",
            "451 4.7.1 greylisted\\u{1b}[2J",
            "  route   MX 10 mx1.example.net:25, 20 mx2.example.net:25",
            "  site    20 of 20 connections: shard 0 has 12; shard 1 has 8, 3 idle",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
