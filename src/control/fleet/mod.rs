//! The other nodes of the cluster, as they are looked at: who they are, how they are, what waits there. They are asked while somebody looks, from the
//! service's thread, a bounded number at one time and each for a bounded time; what they said is told again for a moment, to however many look.
//!
//! Nobody who is asked asks others: what is asked are questions about one node.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::fleet::{FleetConfig, bare};
use crate::config::hook::HookUrl;
use crate::control::api::shape::cluster::{ClusterNode, ClusterNodes, NodeSummary};
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::observe::families::{Family, FamilyInfo};
use crate::policy::cluster::nodes::RegisteredNode;
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::time::UnixMillis;
use peer::{Place, Unreached, Wire};

mod peer;
pub(super) mod search;

/// What nodes are asked of themselves.
pub(super) const SUMMARY: &str = "/control/v1/node";

const ANSWERS: &str = "answers";

/// What came of questions to other nodes.
pub(super) const ASKED: FamilyInfo = FamilyInfo {
    name: "cluster_nodes_asked",
    help: "Other nodes of the cluster that were asked how they are, while somebody looked, by what came of it",
    label: "result",
    values: &[ANSWERS, "slow", "away", "refuses", "unfit", "unasked"],
};

/// This node, as others know it.
#[derive(Clone)]
pub(super) struct Own {
    /// Its number.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The way to the others.
pub(super) struct Fleet {
    own: Own,
    wire: Arc<Wire>,
    /// Where Redis is heard.
    mesh: Arc<Mesh>,
    counted: Arc<Family>,
    /// Held by each question for a page of a queue.
    searching: Arc<Semaphore>,
    /// Whoever looks first asks, and those who look meanwhile wait for that.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    latest: Option<(Instant, Arc<View>)>,
    /// By where they are asked.
    known: HashMap<String, Known>,
}

/// What is known of a node from before.
#[derive(Clone, Debug, Default)]
struct Known {
    id: Option<String>,
    name: Option<String>,
    version: Option<String>,
    answered: Option<UnixMillis>,
    /// Since when it is as it is, where it does not answer.
    since: Option<(&'static str, UnixMillis)>,
}

/// The other nodes, as they were just now.
pub(super) struct View {
    pub nodes: Vec<Found>,
    pub as_of: UnixMillis,
    pub trouble: Option<String>,
    pub more: u64,
}

/// One of them, and where it is.
#[derive(Clone)]
pub(super) struct Found {
    pub node: ClusterNode,
    place: Option<Place>,
}

/// One that may be asked, or is only known to be there.
#[derive(Clone, Debug)]
struct Peer {
    place: Option<Place>,
    registered: Option<RegisteredNode>,
}

type Answer = Result<NodeSummary, Unreached>;

impl Fleet {
    pub(super) fn new(
        own: Own,
        config: FleetConfig,
        (settings, mesh, counted): (Arc<dyn WebhookSettings>, Arc<Mesh>, Arc<Family>),
    ) -> Fleet {
        let lookups = Arc::new(Semaphore::new(limits::FLEET_LOOKUPS));
        let wire = Arc::new(Wire { config, settings, lookups });
        let searching = Arc::new(Semaphore::new(limits::FLEET_AT_ONCE));
        Fleet { own, wire, mesh, counted, searching, seen: Mutex::default() }
    }

    /// The cluster.
    pub(super) fn name(&self) -> &str {
        &self.wire.config.name
    }

    /// The others as they are, or were a moment ago.
    pub(super) async fn view(&self) -> Arc<View> {
        let mut seen = self.seen.lock().await;
        if let Some((at, view)) = &seen.latest
            && at.elapsed() < limits::FLEET_FRESH
        {
            return view.clone();
        }
        let (registered, trouble) = match self.mesh.cluster.desk().map(|desk| desk.told()) {
            Some(news) => (news.nodes.clone(), news.trouble.clone()),
            None => (Vec::new(), None),
        };
        let (peers, more) = peers(&self.wire.config.nodes, registered, &self.own.id);
        let answers = self.ask_each(&peers).await;
        let now = process::wall();
        let mut all = Vec::new();
        let before = std::mem::take(&mut seen.known);
        for (peer, answer) in peers.into_iter().zip(answers) {
            let key = peer.key();
            let mut known = before.get(&key).cloned().unwrap_or_default();
            if let Some(answer) = &answer {
                self.count(answer);
                known.hear(answer, now);
            }
            let node = row(&peer, answer, &known);
            seen.known.insert(key, known);
            all.push(Found { node, place: peer.place });
        }
        let nodes = each_once(all, &self.own);
        let view = Arc::new(View { nodes, as_of: now, trouble, more });
        seen.latest = Some((Instant::now(), view.clone()));
        view
    }

    /// What each says of itself; None: it cannot be asked.
    async fn ask_each(&self, peers: &[Peer]) -> Vec<Option<Answer>> {
        let turns = Arc::new(Semaphore::new(limits::FLEET_AT_ONCE));
        let mut asked = JoinSet::new();
        for (at, peer) in peers.iter().enumerate() {
            let Some(place) = peer.place.clone() else { continue };
            let (wire, turns) = (self.wire.clone(), turns.clone());
            asked.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let bounds = (limits::FLEET_SUMMARY_MAX, limits::FLEET_ANSWER);
                let text = wire.get(&place, SUMMARY, bounds).await;
                let unfit = || Unreached::Unfit("what it answers is of no relay".to_owned());
                (at, text.and_then(|text| NodeSummary::read(&text).ok_or_else(unfit)))
            });
        }
        let mut all: Vec<Option<Answer>> = peers.iter().map(|_| None).collect();
        while let Some(done) = asked.join_next().await {
            if let Ok((at, answer)) = done {
                all[at] = Some(answer);
            }
        }
        all
    }

    fn count(&self, answer: &Answer) {
        let word = answer.as_ref().map_or_else(Unreached::word, |_| ANSWERS);
        if let Some(place) = ASKED.values.iter().position(|value| *value == word) {
            self.counted.add(place, 1);
        }
    }
}

impl Peer {
    /// By what it is known again.
    fn key(&self) -> String {
        match (&self.place, &self.registered) {
            (Some(place), _) => bare(&place.url),
            (None, Some(node)) => node.id.clone(),
            (None, None) => String::new(),
        }
    }
}

impl Known {
    fn hear(&mut self, answer: &Answer, now: UnixMillis) {
        match answer {
            Ok(summary) => {
                self.id = Some(summary.id.clone());
                self.name = Some(summary.node.clone());
                self.version = Some(summary.version.clone());
                (self.answered, self.since) = (Some(now), None);
            }
            Err(why) if self.since.is_some_and(|(word, _)| word == why.word()) => {}
            Err(why) => self.since = Some((why.word(), now)),
        }
    }
}

/// Those that are listed, then those that Redis names besides, without this one; and how many are beyond the bound.
fn peers(listed: &[HookUrl], registered: Vec<RegisteredNode>, own: &str) -> (Vec<Peer>, u64) {
    let mut all: Vec<Peer> = listed
        .iter()
        .map(|url| Peer { place: Some(Place { url: url.clone(), listed: true }), registered: None })
        .collect();
    for node in registered.into_iter().filter(|node| node.id != own) {
        let is_it = |peer: &&mut Peer| peer.place.as_ref().map(|place| &place.url) == node.url.as_ref();
        match all.iter_mut().filter(|peer| peer.place.is_some()).find(is_it) {
            Some(peer) if peer.registered.is_none() => peer.registered = Some(node),
            _ => {
                let place = node.url.clone().map(|url| Place { url, listed: false });
                all.push(Peer { place, registered: Some(node) });
            }
        }
    }
    let more = all.len().saturating_sub(limits::FLEET_NODES_MAX) as u64;
    all.truncate(limits::FLEET_NODES_MAX);
    (all, more)
}

/// How a node is shown.
fn row(peer: &Peer, answer: Option<Answer>, known: &Known) -> ClusterNode {
    let registered = peer.registered.as_ref();
    let url = peer.place.as_ref().map(|place| bare(&place.url));
    let said = registered.map(|node| &node.name).or(known.name.as_ref()).or(url.as_ref());
    let node = ClusterNode {
        node: said.cloned().unwrap_or_default(),
        id: known.id.clone().or_else(|| registered.map(|node| node.id.clone())),
        url,
        answered: known.answered.map(iso),
        registered: registered.map(|node| iso(node.said)),
        version: registered.and_then(|node| node.version.clone()).or_else(|| known.version.clone()),
        since: known.since.map(|(_, at)| iso(at)),
        ..ClusterNode::default()
    };
    match answer {
        Some(Ok(summary)) => ClusterNode {
            node: summary.node.clone(),
            id: Some(summary.id.clone()),
            version: Some(summary.version.clone()),
            reach: ANSWERS.to_owned(),
            summary: Some(summary),
            ..node
        },
        Some(Err(why)) => ClusterNode { reach: why.word().to_owned(), words: Some(why.words()), ..node },
        None => {
            let why = "it does not say where it is asked: cluster.advertise of its configuration does";
            let why = Unreached::Unasked(why.to_owned());
            ClusterNode { reach: why.word().to_owned(), words: Some(why.words()), ..node }
        }
    }
}

/// Each of them once, by their names, and not this one: it may be listed, too, and a node may be at two places.
fn each_once(mut all: Vec<Found>, own: &Own) -> Vec<Found> {
    // The place where it answers is the one that is shown.
    all.sort_by_key(|found| found.node.reach != ANSWERS);
    let mut seen = HashMap::from([(own.id.clone(), own.name.clone())]);
    all.retain_mut(|Found { node, .. }| {
        let Some(id) = &node.id else { return true };
        match seen.get(id) {
            None => {
                seen.insert(id.clone(), node.node.clone());
                true
            }
            Some(name) if *name == node.node || node.reach != ANSWERS => false,
            Some(name) => {
                let words = format!("it has the number of {name}: its data_dir is a copy of that one's");
                (node.reach, node.words) = ("unfit".to_owned(), Some(words));
                (node.id, node.summary) = (None, None);
                true
            }
        }
    });
    all.sort_by(|one, other| (&one.node.node, &one.node.url).cmp(&(&other.node.node, &other.node.url)));
    all
}

impl View {
    /// What is told of them, behind this node.
    pub(super) fn told(&self, cluster: &str, own: ClusterNode) -> ClusterNodes {
        let others = self.nodes.iter().map(|found| found.node.clone());
        ClusterNodes {
            cluster: Some(cluster.to_owned()),
            as_of: iso(self.as_of),
            trouble: self.trouble.clone(),
            nodes: std::iter::once(own).chain(others).collect(),
            more: self.more,
        }
    }
}

fn iso(at: UnixMillis) -> String {
    let mut text = Vec::with_capacity(24);
    at.write_iso(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests;
