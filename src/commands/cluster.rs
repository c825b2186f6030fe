//! `--cluster`: the nodes of a cluster, and what waits at all of them, as the node that is asked sees them.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use relevo::control::api::shape::cluster::{
    ClusterCount, ClusterNode, ClusterNodes, ClusterPage, ClusterWhy, MissingNode, NodeCount, NodeSummary,
    NodeWhy,
};
use relevo::control::api::shape::{Count, ScanProgress};
use relevo::limits;
use serde::Serialize;

use super::client::{Client, Relay};
use super::filters::Filters;
use super::output::{Failure, NO, complain, say};
use super::progress::Progress;
use super::words::{count as counted, plain};
use super::{rows, table};

/// Exit 0: all answer and take mail; 1: one does not.
pub fn status(relay: &Relay, json: bool) -> Result<(), Failure> {
    let told: ClusterNodes = relay.client()?.get("/control/v1/cluster")?;
    if json {
        say!("{}", serde_json::to_string_pretty(&told).map_err(|error| error.to_string())?);
    } else {
        for line in lines(&told, table::columns()) {
            say!("{line}");
        }
    }
    let is_well = |node: &&ClusterNode| node.summary.as_ref().is_some_and(|of| of.state == "ready");
    let ill: Vec<&ClusterNode> = told.nodes.iter().filter(|node| !is_well(node)).collect();
    let all = counted(told.nodes.len() as u64, "node");
    match (ill.first(), told.more) {
        (None, 0) => Ok(()),
        (None, more) => {
            Err(Failure(NO, format!("{} were not asked: there are too many", counted(more, "node"))))
        }
        (Some(first), _) => {
            let name = plain(first.node.as_bytes());
            let words = match ill.len() {
                1 => format!("{name} does not answer, or takes no mail"),
                many => format!("{name} and {} more do not answer, or take no mail", many - 1),
            };
            Err(Failure(NO, format!("of {all}, {words}")))
        }
    }
}

/// A line a node; below it what is not as it should be.
fn lines(told: &ClusterNodes, columns: usize) -> Vec<String> {
    let width = columns.saturating_sub(72).clamp(16, 28);
    let mut lines = Vec::new();
    if told.cluster.is_none() {
        lines.push("this node is in no cluster: its configuration has no [cluster]".to_owned());
    }
    let mut line = |text: String| lines.push(table::fit(text.trim_end(), columns));
    line(format!(
        "{:<width$} {:<9} {:>9} {:>9} {:>7} {:>8} {:>8} {:>8} {:>6}",
        "NODE", "STATE", "QUEUED", "DEFERRED", "OLDEST", "IN/S", "OUT/S", "FREE", "UP"
    ));
    let own = told.nodes.iter().find(|node| node.own).and_then(|node| node.version.clone());
    for node in &told.nodes {
        let name = table::fit(&plain(node.node.as_bytes()), width);
        // What is wide takes more columns than it has letters.
        let name = format!("{name}{}", " ".repeat(width.saturating_sub(table::wide(&name))));
        match &node.summary {
            Some(of) => line(format!("{name} {}", numbers(of))),
            None => line(format!("{name} {}", plain(node.reach.as_bytes()))),
        }
        notes(node, own.as_deref()).into_iter().for_each(|note| line(format!("  {note}")));
    }
    if let Some(trouble) = &told.trouble {
        line(format!("Redis cannot be asked who is there: {}", plain(trouble.as_bytes())));
    }
    if told.more > 0 {
        line(format!("and {} that were not asked", counted(told.more, "node")));
    }
    lines
}

fn numbers(of: &NodeSummary) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    let oldest = of.oldest_seconds.map_or_else(
        || "-".to_owned(),
        |least| match least {
            0 => "<1m".to_owned(),
            least => format!(">{}", span(least)),
        },
    );
    format!(
        "{:<9} {:>9} {:>9} {oldest:>7} {:>8} {:>8} {:>8} {:>6}",
        plain(of.state.as_bytes()),
        of.queued,
        of.deferred.map_or_else(|| "-".to_owned(), |deferred| deferred.to_string()),
        rate(of.accepted),
        rate(of.delivered),
        of.disk_free.map_or_else(|| "-".to_owned(), size),
        span(of.uptime_seconds)
    )
}

/// What is not as it should be.
fn notes(node: &ClusterNode, own: Option<&str>) -> Vec<String> {
    let mut notes = Vec::new();
    if node.summary.is_none() {
        let minute = |time: &String| table::to_the_minute(&plain(time.as_bytes()));
        let since = node.since.as_ref().map(|since| format!(" since {}", minute(since)));
        let answered = node.answered.as_ref().map(|at| format!("; answered last at {}", minute(at)));
        let said = node
            .registered
            .as_ref()
            .map(|at| format!("; last said to Redis that it is there at {}", minute(at)));
        let words = node.words.as_deref().unwrap_or_default();
        let url = node.url.as_deref().map(|url| format!("{url}: ")).unwrap_or_default();
        notes.push(plain(format!("{url}{words}").as_bytes()));
        let times = [since, answered, said].into_iter().flatten().collect::<String>();
        if !times.is_empty() {
            notes.push(format!("so{}", if times.starts_with(';') { format!(" now{times}") } else { times }));
        }
    }
    if let (Some(version), Some(own)) = (&node.version, own)
        && version != own
    {
        notes.push(format!("runs relevo {}, and the node that tells {own}", plain(version.as_bytes())));
    }
    let Some(of) = &node.summary else { return notes };
    notes.extend(of.words.as_ref().map(|words| plain(words.as_bytes())));
    notes.extend(match of.redis.as_deref() {
        Some("kept") => Some("it cannot ask Redis: leases go on until they end".to_owned()),
        Some("share") => Some("it cannot ask Redis: it has its share of each limit".to_owned()),
        _ => None,
    });
    if of.warnings > 0 {
        notes.push(format!("{}: `relevo status` on it tells", counted(of.warnings, "warning")));
    }
    notes
}

/// To one unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn size(bytes: u64) -> String {
    let mib = bytes >> 20;
    if mib < 10 * 1024 { format!("{mib} MiB") } else { format!("{} GiB", mib >> 10) }
}

/// Nodes whose mail is missing, each once.
#[derive(Default)]
struct Missing(BTreeMap<(String, Option<String>), String>);

impl Missing {
    fn add(&mut self, missing: Vec<MissingNode>) {
        self.0.extend(missing.into_iter().map(|one| ((one.node, one.url), one.words)));
    }

    fn all(&self) -> Vec<MissingNode> {
        let one = |((node, url), words): (&(String, Option<String>), &String)| MissingNode {
            node: node.clone(),
            url: url.clone(),
            words: words.clone(),
        };
        self.0.iter().map(one).collect()
    }

    /// Says so: what was printed is not all.
    fn end(&self) -> Result<(), Failure> {
        for ((node, url), words) in &self.0 {
            let url = url.as_ref().map(|url| format!(" ({url})")).unwrap_or_default();
            complain!(
                "the mail of {} is missing: {}",
                plain(format!("{node}{url}").as_bytes()),
                plain(words.as_bytes())
            );
        }
        match self.0.len() as u64 {
            0 => Ok(()),
            some => Err(Failure(NO, format!("{} did not answer", counted(some, "node")))),
        }
    }
}

/// `relevo queue list --cluster`
pub fn list(relay: &Relay, filters: &Filters, limit: u64, json: bool) -> Result<(), Failure> {
    let query = filters.query()?.finish();
    let client = relay.client()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let (mut cursor, mut under_way, mut rows) = (String::new(), 0u64, 0u64);
    let (mut progress, mut missing, columns) = (Progress::default(), Missing::default(), table::columns());
    if !json {
        writeln!(out, "{}", rows::head())?;
    }
    loop {
        let most = left.min(limits::PAGE_ROWS as u64).to_string();
        let mut query = form_urlencoded::Serializer::new(query.clone());
        query.append_pair("limit", &most).append_pair("cursor", &cursor);
        let page: ClusterPage = client.get(&format!("/control/v1/cluster/queue?{}", query.finish()))?;
        progress.show(page.scanned);
        for row in page.rows.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            if json {
                serde_json::to_writer(&mut out, row).map_err(io::Error::from)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", rows::lines(&row.row, Some(&row.node), columns))?;
            }
        }
        out.flush()?;
        left = left.saturating_sub(page.rows.len() as u64);
        rows += page.rows.len() as u64;
        under_way = under_way.saturating_add(page.under_way);
        missing.add(page.missing);
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
        complain!("nothing of that waits at nodes that answered");
    }
    missing.end()
}

/// A count, as one JSON object.
#[derive(Serialize)]
struct AllCounted {
    #[serde(flatten)]
    count: Count,
    nodes: Vec<NodeCount>,
    missing: Vec<MissingNode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned: Option<ScanProgress>,
}

/// `relevo queue count --cluster`
pub fn count(relay: &Relay, filters: &Filters, json: bool) -> Result<(), Failure> {
    let query = filters.query()?.finish();
    let client = relay.client()?;
    let (mut cursor, mut progress, mut missing) = (String::new(), Progress::default(), Missing::default());
    let mut nodes: BTreeMap<String, Count> = BTreeMap::new();
    loop {
        let mut query = form_urlencoded::Serializer::new(query.clone());
        query.append_pair("cursor", &cursor);
        let part: ClusterCount =
            client.get(&format!("/control/v1/cluster/queue/count?{}", query.finish()))?;
        progress.show(part.scanned);
        for one in part.nodes {
            rows::add(nodes.entry(one.node).or_default(), &one.count);
        }
        missing.add(part.missing);
        match part.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    let scanned = progress.end();
    let mut all = Count::default();
    nodes.values().for_each(|one| rows::add(&mut all, one));
    if json {
        let nodes = nodes.into_iter().map(|(node, count)| NodeCount { node, count }).collect();
        let all = AllCounted { count: all, nodes, missing: missing.all(), scanned };
        say!("{}", serde_json::to_string(&all).map_err(|error| error.to_string())?);
    } else {
        for (node, count) in &nodes {
            say!("{}: {}", plain(node.as_bytes()), rows::amount(count));
        }
        say!("all: {}", rows::amount(&all));
    }
    missing.end()
}

/// What mail waits for at each node that has it.
pub fn why(client: &Client, query: &str) -> Result<(Vec<NodeWhy>, Vec<MissingNode>), Failure> {
    let (mut cursor, mut missing) = (String::new(), Missing::default());
    // A node that looks through records answers again and again; the last of it is whole.
    let mut nodes: BTreeMap<String, NodeWhy> = BTreeMap::new();
    loop {
        let mut query = form_urlencoded::Serializer::new(query.to_owned());
        query.append_pair("cursor", &cursor);
        let part: ClusterWhy = client.get(&format!("/control/v1/cluster/why?{}", query.finish()))?;
        nodes.extend(part.nodes.into_iter().map(|one| (one.node.clone(), one)));
        missing.add(part.missing);
        match part.next {
            Some(next) => cursor = next,
            None => return Ok((nodes.into_values().collect(), missing.all())),
        }
    }
}

/// Says which nodes did not answer.
pub fn told_missing(missing: Vec<MissingNode>) -> Result<(), Failure> {
    let mut all = Missing::default();
    all.add(missing);
    all.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, summary: Option<NodeSummary>) -> ClusterNode {
        ClusterNode { node: name.to_owned(), reach: "answers".to_owned(), summary, ..ClusterNode::default() }
    }

    #[test]
    fn a_table_fits_and_tells_what_is_wrong() {
        let fine = NodeSummary {
            state: "ready".to_owned(),
            queued: 1_000_412,
            deferred: Some(999_000),
            oldest_seconds: Some(21_600),
            accepted: Some(4_200.1),
            delivered: Some(3_900.0),
            disk_free: Some(812 << 30),
            uptime_seconds: 200_000,
            redis: Some("kept".to_owned()),
            warnings: 2,
            ..NodeSummary::default()
        };
        let own = ClusterNode {
            own: true,
            version: Some("2".to_owned()),
            ..node("mx1.example.net", Some(fine.clone()))
        };
        let old = ClusterNode { version: Some("1".to_owned()), ..node("\u{1b}[2J", Some(fine)) };
        let away = ClusterNode {
            reach: "away".to_owned(),
            url: Some("http://10.0.0.7:8025".to_owned()),
            words: Some("Connection refused\nmx".to_owned()),
            since: Some("2026-11-30T21:40:07.123Z".to_owned()),
            answered: Some("2026-11-30T21:39:58.000Z".to_owned()),
            ..node("mx3.example.net", None)
        };
        let told = ClusterNodes {
            cluster: Some("relays".to_owned()),
            nodes: vec![own, old, away],
            more: 3,
            ..ClusterNodes::default()
        };
        for columns in [80, 100] {
            let shown = lines(&told, columns);
            assert!(shown.iter().all(|line| table::wide(line) <= columns), "{shown:#?}");
        }
        let text = lines(&told, 100).join("\n");
        for part in [
            "mx1.example.net              ready       1000412    999000     >6h   4200.1   3900.0  812 GiB     2d",
            "it cannot ask Redis: leases go on until they end",
            "2 warnings",
            "\\u{1b}[2J",
            "runs relevo 1, and the node that tells 2",
            "mx3.example.net              away\n  http://10.0.0.7:8025: Connection refused\\nmx\n  so since 2026-11-30T21:40Z; answered last at 2026-11-30T21:39Z",
            "and 3 nodes that were not asked",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let alone = ClusterNodes { nodes: vec![node("mx1", None)], ..ClusterNodes::default() };
        assert!(lines(&alone, 100)[0].contains("in no cluster"));
    }
}
