//! Limits that are shared with other nodes: a thread that looks at what is used of each, and one that asks the server.
//!
//! Nothing that is slow, full or gone there holds up more than the second of these: leases end by the clock of the first, and what a node may use then
//! is its share. What is asked for is decided in `policy::cluster`.

mod counted;
mod line;
mod link;
mod listed;
mod place;
mod windows;
mod words;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use crate::config::ClusterConfig;
use crate::control::decisions::ListDesk;
use crate::control::health::Health;
use crate::control::notices::Concern;
use crate::control::say::say;
use crate::control::setup::Setup;
use crate::control::thread::{Turn, Worker};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::cluster::ledger::Ledger;
use crate::policy::cluster::nodes::said;
use crate::shard::cluster::ClusterNews;
use crate::shard::mesh::Mesh;
use crate::time::Instant;
use line::now;
use link::{Answered, Job, Link};

/// Starts the thread by which the nodes of a cluster tell each other what changes in their suppression lists.
pub(super) fn start_list(setup: &Setup, lists: &ListDesk) -> io::Result<Option<Worker>> {
    let config = setup.cluster.clone().filter(|config| config.suppression);
    let Some((config, settings)) = config.zip(setup.webhooks.clone()) else { return Ok(None) };
    let listed = listed::Listed::new(config, settings, lists.clone());
    Worker::start("relevo-listed", move |turn| listed.run(turn)).map(Some)
}

/// Starts the thread by which they tell each other what sites take.
pub(super) fn start_windows(setup: &Setup) -> io::Result<Option<Worker>> {
    let Some((config, settings)) = setup.cluster.clone().zip(setup.webhooks.clone()) else { return Ok(None) };
    let hints = windows::Hints::new(config, settings, setup.mesh.clone());
    Worker::start("relevo-windows", move |turn| hints.run(turn)).map(Some)
}

/// Starts the thread that has quotas and volumes of warm-up counted for all nodes together.
pub(super) fn start_counts(setup: &Setup) -> io::Result<Option<Worker>> {
    let Some((config, settings)) = setup.cluster.clone().zip(setup.webhooks.clone()) else { return Ok(None) };
    let counted =
        counted::Counted::new(config, (setup.node, setup.mesh.clone()), (settings, setup.health.clone()));
    let worker = Worker::start("relevo-counts", move |turn| {
        counted.run(turn);
        // Whoever ends too soon ends the process.
        while !turn.is_over() {
            turn.pause(limits::CLUSTER_AGAIN);
        }
    })?;
    if let Some(desk) = setup.mesh.cluster.desk() {
        let waker = worker.waker();
        desk.counts.serve(move || waker.unpark());
    }
    Ok(Some(worker))
}

/// Starts them, where the node is in a cluster.
pub(super) fn start(setup: &Setup) -> io::Result<Option<Worker>> {
    let (Some(config), Some(settings)) = (setup.cluster.clone(), setup.webhooks.clone()) else {
        return Ok(None);
    };
    let (jobs, todo) = sync_channel(1);
    let (done, answers) = sync_channel(limits::CLUSTER_BATCHES + 1);
    let mut node = ClusterNode {
        ledger: Ledger::new(config.share),
        mesh: setup.mesh.clone(),
        health: setup.health.clone(),
        jobs,
        answers,
        busy: false,
        here: Instant(0),
        news: ClusterNews::default(),
        said: false,
        no_leases: false,
        config: config.clone(),
    };
    let url = setup.fleet.as_ref().and_then(|fleet| fleet.advertise.as_ref());
    let said = said(&setup.hostname, env!("RELEVO_VERSION"), url);
    let link = Link::new(config, (setup.node, said), (settings, setup.health.clone()));
    Worker::start("relevo-cluster", move |turn| {
        let asker = Worker::start("relevo-leases", move |turn| link.run(&todo, &done, turn));
        match asker {
            Ok(asker) => {
                node.run(turn);
                drop(node);
                asker.stop(limits::CLUSTER_TIME);
            }
            Err(error) => {
                say(Level::Error, format_args!("no limit is shared: its thread does not start: {error}"));
                while !turn.is_over() {
                    turn.pause(limits::CLUSTER_AGAIN);
                }
            }
        }
    })
    .map(Some)
}

/// This node's part.
struct ClusterNode {
    config: ClusterConfig,
    ledger: Ledger,
    mesh: Arc<Mesh>,
    health: Arc<Health>,
    jobs: SyncSender<Job>,
    answers: Receiver<Answered>,
    /// Something was asked that is not answered yet.
    busy: bool,
    /// When it is next said that the node is there.
    here: Instant,
    news: ClusterNews,
    /// Its trouble was said.
    said: bool,
    /// Leases were asked for last in vain.
    no_leases: bool,
}

impl ClusterNode {
    fn run(&mut self, turn: &Turn) {
        while !turn.is_over() {
            self.hear();
            self.look(now());
            self.ask(now());
            self.tell(now());
            turn.pause(limits::CLUSTER_ROUND);
        }
    }

    /// Takes what was answered.
    fn hear(&mut self) {
        loop {
            match self.answers.try_recv() {
                Ok(Answered::Leases(asks, sent, Ok((grace, grants)))) => {
                    self.news.commands[0] += 1;
                    self.ledger.answer(&asks, (grace, &grants), (sent, now()));
                    self.no_leases = false;
                    self.well();
                }
                Ok(Answered::Nodes(Ok(nodes))) => {
                    self.news.commands[0] += 1;
                    let here = nodes.iter().filter(|node| node.is_here).count();
                    self.ledger.nodes(here);
                    if let Some(desk) = self.mesh.cluster.desk() {
                        desk.counts.ledger().nodes(here);
                    }
                    self.news.nodes = nodes;
                    // A node that leases nothing hears of nothing else.
                    if !self.no_leases || self.ledger.standing(now()).keys == 0 {
                        self.well();
                    }
                }
                Ok(Answered::Leases(.., Err(why))) => {
                    self.no_leases = true;
                    self.fails(why);
                }
                Ok(Answered::Nodes(Err(why))) => self.fails(why),
                Ok(Answered::All) => self.busy = false,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    fn fails(&mut self, why: String) {
        self.news.commands[1] += 1;
        self.news.trouble = Some(why);
        self.ledger.fails(now());
    }

    fn well(&mut self) {
        self.news.trouble = None;
        if std::mem::take(&mut self.said) {
            say(
                Level::Info,
                format_args!("{} is asked again: limits are leased", words::place(&self.config)),
            );
        }
    }

    /// Looks at what is used, and says what may be.
    fn look(&mut self, now: Instant) {
        let ClusterNode { ledger, mesh, .. } = self;
        let Some(desk) = mesh.cluster.desk() else { return };
        desk.cut_off(ledger.is_cut_off(now));
        let mut wake = |count: &_| {
            mesh.widened(count);
            // Whoever has a connection for nothing gives it back, if there are too many.
            mesh.ask_for_connection(usize::MAX, count);
        };
        desk.look(now, &mut |key, limit, reading| ledger.observe(key, limit, reading, now), &mut wake);
    }

    /// Asks for what is due, unless an answer is still waited for.
    fn ask(&mut self, now: Instant) {
        let Some(desk) = self.mesh.cluster.desk() else { return };
        if self.busy {
            return;
        }
        let used = desk.used(now);
        let mut batches = Vec::new();
        while batches.len() < limits::CLUSTER_BATCHES {
            let batch = self.ledger.ask(now, |key| used.get(key).copied().unwrap_or(0));
            if batch.is_empty() {
                break;
            }
            batches.push(batch);
        }
        let here = now >= self.here;
        if batches.is_empty() && !here {
            return;
        }
        if self.jobs.try_send(Job { batches, here }).is_ok() {
            self.busy = true;
            if here {
                self.here = now + limits::CLUSTER_HERE;
            }
        }
    }

    fn tell(&mut self, now: Instant) {
        self.news.standing = self.ledger.standing(now);
        let trouble = self.news.trouble.clone().filter(|_| self.ledger.is_silent(now));
        let words = trouble.map(|why| words::trouble(&self.config, &why, self.news.standing));
        if let Some(words) = words.iter().find(|_| !std::mem::replace(&mut self.said, true)) {
            say(Level::Warning, format_args!("{words}"));
        }
        self.health.notices.stand(Concern::Cluster, words.into_iter().collect());
        if let Some(desk) = self.mesh.cluster.desk() {
            desk.tell(self.news.clone());
        }
    }
}
