//! A whole relay in a world.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, unbounded};
use relevo::config::{Boot, Config, ListenerConfig, Password};
use relevo::dns::latest::Latest;
use relevo::id::MessageId;
use relevo::limits;
use relevo::mail::bounce::verp::Verp;
use relevo::observe::Instruments;
use relevo::observe::counters::{Counter, Counters};
use relevo::observe::journaled::{LaneWatermark, Readers, WriteAck};
use relevo::policy::suppression::shared::Shared;
use relevo::policy::tls;
use relevo::policy::tls_rpt::Tally;
use relevo::queue::group::ANY_LIFETIME;
use relevo::queue::suspension::{Effect, Scope, Suspension, Suspensions};
use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Bell, Runtime};
use relevo::shaping::file::File;
use relevo::shaping::layers::Shaping;
use relevo::shard::ask::{Ask, Reply};
use relevo::shard::assignment::Assignment;
use relevo::shard::capturing::Capturing;
use relevo::shard::hooking::Hooking;
use relevo::shard::inbound::listener::ListenError;
use relevo::shard::live::{Contents, LiveConfig};
use relevo::shard::mesh::{Mesh, MeshLimits};
use relevo::shard::quota::QuotaDesk;
use relevo::shard::reading::Reading;
use relevo::shard::stages::Stages;
use relevo::shard::start::{self, Report, ShardSetup};
use relevo::shard::sts::StsPolicies;
use relevo::shard::verifying::Verifying;
use relevo::shard::warm::WarmCounts;

use crate::schema::Schema;
use crate::secure;
use crate::signing::signing;

/// A running relay, all of its shards on one node of the world.
pub struct Relay<'a> {
    world: &'a World,
    node: u32,
    mesh: Arc<Mesh>,
    /// What is in force.
    live: Arc<LiveConfig>,
    /// The last number that a configuration had, be it in force or given up.
    last: u64,
    runtimes: Vec<SimRuntime>,
    reports: Receiver<Report>,
    /// What its shards count.
    pub instruments: Vec<Arc<Instruments>>,
    /// What the machine's files say of names.
    pub latest: Arc<Latest>,
    /// Live messages found in the spool.
    pub found: usize,
    /// What its start said of damage: the lane, and the message if one is named.
    pub damage: Vec<(u16, Option<MessageId>)>,
    ended: Rc<Cell<usize>>,
}

/// How a relay is started.
pub struct Launch<'a> {
    pub node: u32,
    pub shards: usize,
    /// Lanes there are, or are to be.
    pub lanes: usize,
    /// Handoffs an inbox takes, and credits of a lane.
    pub room: MeshLimits,
    pub configuration: &'a str,
}

/// The lanes a world's relay has, however many shards it runs.
const LANES: usize = 2;

/// A configuration for a relay that listens on 10.0.0.1:25 and delivers to 10.0.0.2:25.
pub fn configuration(more: &str) -> String {
    format!(
        "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
         [[listener]]\naddress = \"10.0.0.1:25\"\nrelay_from = [\"10.0.0.0/8\"]\n\
         [[route]]\ndomain = \"*\"\nto = \"smtp://10.0.0.2:25\"\n\
         [spool]\nsegment_size = \"4MiB\"\n{more}"
    )
}

/// A configuration, with the passwords of lines that begin with `#password: `, each with a name of `[credentials]`.
fn parse(configuration: &str) -> Arc<Config> {
    let mut config = Config::parse(configuration, Path::new("sim")).expect("a valid configuration");
    for line in configuration.lines().filter_map(|line| line.strip_prefix("#password: ")) {
        let (name, password) = line.split_once(' ').expect("a name and a password");
        let password = Password::of_file(password.into()).expect("a password");
        let own = config.credentials.iter_mut().filter(|of| *of.name == *name);
        own.for_each(|of| of.password = password.clone());
    }
    Arc::new(config)
}

/// What the files of a configuration hold.
fn contents(configuration: &str, certificates: Vec<Option<Arc<rustls::ServerConfig>>>) -> Contents {
    let (shaping, signing) = (shaping(configuration), signing(configuration));
    let verifying = configuration.lines().any(|line| line == "#authority").then(secure::verifying);
    let verp = return_paths(configuration);
    Contents { certificates, shaping, signing, verifying, verp, ..Contents::default() }
}

/// The domain of return paths.
pub const VERP_DOMAIN: &str = "bounces.example.net";

/// What signs them, where a configuration names that domain.
pub fn return_paths(configuration: &str) -> Option<Verp> {
    let wanted = configuration.contains("verp_domain");
    wanted.then(|| Verp::new(VERP_DOMAIN, "7", &[7; 32], None, 30).expect("a long secret"))
}

/// The shaping file of a configuration: its lines that begin with `#: `.
fn shaping(configuration: &str) -> Arc<Shaping> {
    let lines = configuration.lines().filter_map(|line| line.strip_prefix("#: "));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let (file, findings) = File::read(&text, Path::new("sim"));
    assert!(findings.errors.is_empty(), "{findings:?}");
    Arc::new(Shaping::of(vec![file]).0)
}

/// What control found suspended at its start: the lines of a configuration that begin with `#suspended: `, each with filters and seconds.
fn suspended(world: &World, configuration: &str) -> Vec<Suspension> {
    let lines = configuration.lines().filter_map(|line| line.strip_prefix("#suspended: "));
    (1..).zip(lines).map(|(id, line)| suspension(world, id, Effect::Wait, line)).collect()
}

/// A suspension by these filters, for so many seconds from now on.
pub fn suspension(world: &World, id: u64, effect: Effect, words: &str) -> Suspension {
    let (mut scope, mut seconds) = (Scope::default(), 0);
    for word in words.split(' ') {
        match word.split_once('=') {
            Some((name, value)) => scope.set(name, value).expect("a filter"),
            None => seconds = word.parse().expect("a number of seconds"),
        }
    }
    let since = world.shard(0, 0).wall();
    let until = since.after(Duration::from_secs(seconds));
    Suspension { id, effect, scope, since, until, by: "user 0".into(), reason: "their MX moves".into() }
}

/// Instruments, and who reads them while a relay starts.
pub type Watched<'r> = (Vec<Arc<Instruments>>, &'r dyn Fn(&Instruments));

impl<'a> Relay<'a> {
    /// Starts a relay and runs the world until it listens on 10.0.0.1:25. `more` is added to its configuration.
    pub fn start(world: &'a World, node: u32, shards: usize, more: &str) -> Relay<'a> {
        let configuration = &configuration(more);
        let launch = Launch { node, shards, lanes: LANES, room: MeshLimits::of(shards), configuration };
        Relay::launch(world, &launch).expect("the node lives")
    }

    /// Starts a relay and runs the world until it listens; None if its node crashes before.
    pub fn launch(world: &'a World, launch: &Launch<'_>) -> Option<Relay<'a>> {
        Relay::launch_with(world, launch, Instruments::of(launch.shards, &Readers::Lossy), &|_| {})
    }

    /// The same with these instruments, of which somebody reads while it starts.
    pub fn launch_with(
        world: &'a World,
        launch: &Launch<'_>,
        instruments: Vec<Arc<Instruments>>,
        read: &dyn Fn(&Instruments),
    ) -> Option<Relay<'a>> {
        Relay::launch_prepared(world, launch, (instruments, read), |_| {})
    }

    /// The same; `prepare` does what control does before any shard starts.
    pub fn launch_prepared(
        world: &'a World,
        launch: &Launch<'_>,
        (instruments, read): Watched<'_>,
        prepare: impl FnOnce(&Mesh),
    ) -> Option<Relay<'a>> {
        let settings = parse(launch.configuration);
        let certificates = settings.listeners.iter().map(certificate).collect();
        let live = Arc::new(LiveConfig::new(
            settings.clone(),
            contents(launch.configuration, certificates),
            launch.shards,
        ));
        let boot = Arc::new(Boot::of(&settings));
        let bells: Vec<_> = (0..launch.shards).map(|_| Arc::new(Bell::new())).collect();
        let particulars = settings.particulars(launch.shards);
        let chosen: Vec<_> = particulars.iter().map(|one| one.lanes.clone()).collect();
        let assignment = Assignment::chosen(&chosen, launch.lanes);
        let mesh = Arc::new(Mesh::with_room(bells.clone(), assignment, launch.room));
        mesh.suspend(Arc::new(Suspensions::new(suspended(world, launch.configuration))));
        prepare(&mesh);
        let (sender, reports) = unbounded();
        let mut runtimes = Vec::new();
        let ended = Rc::new(Cell::new(0));
        for (index, bell) in bells.into_iter().enumerate() {
            let runtime = world.shard_with_bell(launch.node, index as u16, bell);
            let setup = ShardSetup {
                index,
                boot: boot.clone(),
                live: live.clone(),
                particulars: particulars[index].clone(),
                node: 7,
                origins: Arc::default(),
                mesh: mesh.clone(),
                instruments: instruments[index].clone(),
                tls_client: tls::Client::new().expect("the built-in TLS settings are sound"),
                reports: sender.clone(),
            };
            let (own, ended) = (runtime.clone(), ended.clone());
            runtime.spawn_vital("shard", async move {
                // Why it did not is reported.
                if start::run(own, setup).await.is_ok() {
                    ended.set(ended.get() + 1);
                }
            });
            runtimes.push(runtime);
        }
        let node = launch.node;
        let mut relay = Relay {
            world,
            node,
            latest: settings.dns.latest.clone(),
            mesh,
            live,
            last: 0,
            runtimes,
            reports,
            instruments,
            found: 0,
            damage: Vec::new(),
            ended,
        };
        if !relay.await_reports(read) {
            return None;
        }
        relay.mesh.open();
        relay.await_reports(read).then_some(relay)
    }

    /// False: the node is no more, or refused to start because a segment could not be opened.
    fn await_reports(&mut self, read: &dyn Fn(&Instruments)) -> bool {
        let mut heard = 0;
        let mut refused = false;
        let shards = self.runtimes.len();
        let alive = self.runtimes[0].clone();
        let (found, said) = (&mut self.found, &mut self.damage);
        let instruments = &self.instruments[0];
        let all = run_until_true(self.world, Duration::from_secs(60), || {
            read(instruments);
            for report in self.reports.try_iter() {
                match report {
                    Report::Failed(error) => {
                        let words = error.to_string();
                        assert!(words.contains("RLIMIT_NOFILE"), "{words}");
                        refused = true;
                    }
                    Report::Damaged { lane, damage, dropped } => {
                        said.extend(damage.iter().map(|damage| (lane, damage.message)));
                        said.extend(dropped.into_iter().map(|id| (lane, Some(id))));
                        continue;
                    }
                    Report::Read(messages) => *found += messages,
                    Report::Listening => {}
                }
                heard += 1;
            }
            refused || heard == shards || !alive.is_alive()
        });
        assert!(all, "the relay did not start");
        if refused {
            // What the process does then: it ends, and is started again.
            self.world.kill(self.node);
        }
        !refused && heard == shards && alive.is_alive()
    }

    /// How far the node is on its way out.
    pub fn stages(&self) -> &Stages {
        self.mesh.stages()
    }

    /// The order to stop. True as soon as every shard has ended by itself.
    pub fn stop(&self) -> impl Fn() -> bool + use<> {
        self.mesh.stop();
        let (all, ended) = (self.runtimes.len(), self.ended.clone());
        move || ended.get() == all
    }

    /// This is suspended from now on, and nothing else.
    pub fn suspend(&self, all: Vec<Suspension>) {
        self.mesh.suspend(Arc::new(Suspensions::new(all)));
    }

    /// Policies of domains, and whose are wanted.
    pub fn policies(&self) -> &StsPolicies {
        self.mesh.policies()
    }

    /// What sessions came to since this was asked last, as reports of TLS tell it.
    pub fn tls_sessions(&self) -> Tally {
        let mut all = Tally::default();
        self.mesh.sessions().take().for_each(|counted| all.add(&counted, 1000));
        all
    }

    /// Messages that a service is asked about.
    pub fn hooking(&self) -> &Hooking {
        self.mesh.hooking()
    }

    /// What accounts and tenants have left of their quotas.
    pub fn quotas(&self) -> &QuotaDesk {
        self.mesh.quotas()
    }

    /// What sources in warm-up have left.
    pub fn warm(&self) -> &WarmCounts {
        self.mesh.warm()
    }

    /// What waits to be kept of what is captured.
    pub fn capturing(&self) -> &Capturing {
        &self.mesh.capturing
    }

    /// What waits to be read of what came back.
    pub fn reading(&self) -> &Reading {
        self.mesh.reading()
    }

    /// Mail of strangers that waits to be verified.
    pub fn verifying(&self) -> &Verifying {
        self.mesh.verifying()
    }

    /// Who gets no mail.
    pub fn suppression(&self) -> &Shared {
        self.mesh.suppression()
    }

    /// The sum of a level or count over all shards.
    pub fn sum(&self, what: impl Fn(&Counters) -> &Counter) -> u64 {
        self.instruments.iter().map(|one| what(&one.counters).get()).sum()
    }

    /// What the log's writer finds now: the lines of the accounting, in order, each as its schema wants it.
    pub fn log(&self) -> Vec<serde_json::Value> {
        let mut lines = Vec::new();
        each_chunk(&self.instruments[0], |chunk, _| lines.extend(chunk));
        lines
    }

    /// Puts another configuration in force, as control does: all shards prepare it, then one number says so.
    pub fn reload(&mut self, configuration: &str) -> Result<(), ListenError> {
        let (live, asker) = (self.next_live(configuration), Arc::new(()));
        for shard in 0..self.runtimes.len() {
            self.ask_for(&asker, shard, |reply| Ask::Prepare(live.clone(), reply))?;
        }
        self.mesh.put_in_force(live.generation);
        self.live = live;
        Ok(())
    }

    /// Has shards prepare it and, if `all` do, puts it in force at once; waits for nothing.
    pub fn begin_reload(&mut self, configuration: &str, all: bool) {
        let (live, asker) = (self.next_live(configuration), Arc::new(()));
        for shard in 0..self.runtimes.len() {
            self.begin(shard, Ask::Prepare(live.clone(), Reply::new(&asker, drop)));
        }
        if all {
            self.world.run_for(Duration::from_millis(5));
            self.mesh.put_in_force(live.generation);
        }
        self.live = live;
    }

    /// Has shards prepare it, and waits for nothing: [`Relay::put_in_force`] follows, or it is given up when it is dropped.
    pub fn prepare(&mut self, configuration: &str) -> Preparing {
        let (live, asker) = (self.next_live(configuration), Arc::new(()));
        let told = (0..self.runtimes.len()).map(|shard| {
            let (tell, told) = unbounded();
            let reply = Reply::new(&asker, move |answer| drop(tell.send(answer)));
            self.begin(shard, Ask::Prepare(live.clone(), reply));
            told
        });
        let told = told.collect();
        Preparing { live, told, answers: Vec::new(), _asker: asker }
    }

    /// All shards have prepared it.
    pub fn put_in_force(&mut self, prepared: Preparing) {
        self.mesh.put_in_force(prepared.live.generation);
        self.live = prepared.live;
    }

    /// The number of the configuration in force.
    pub fn generation(&self) -> u64 {
        self.live.generation
    }

    fn next_live(&mut self, configuration: &str) -> Arc<LiveConfig> {
        let config = parse(configuration);
        let certificates = config.listeners.iter().map(certificate).collect();
        let live = LiveConfig::new(config, contents(configuration, certificates), self.runtimes.len());
        self.last += 1;
        Arc::new(live.after(&self.live, self.last, ("sim", &[])))
    }

    /// Asks a shard as control does, and runs the world until it has answered.
    pub fn ask<T: Send + 'static>(&self, shard: usize, ask: impl FnOnce(Reply<T>) -> Ask) -> T {
        self.ask_for(&Arc::new(()), shard, ask)
    }

    fn ask_for<T: Send + 'static>(
        &self,
        asker: &Arc<()>,
        shard: usize,
        ask: impl FnOnce(Reply<T>) -> Ask,
    ) -> T {
        let (tell, told) = unbounded();
        let reply = Reply::new(asker, move |answer| drop(tell.send(answer)));
        self.mesh.asks().ask(shard, ask(reply)).expect("nothing else is asked");
        let mut answer = None;
        run_until_true(self.world, Duration::from_secs(60), || {
            answer = answer.take().or_else(|| told.try_recv().ok());
            answer.is_some()
        });
        answer.expect("an answer within a minute")
    }

    /// Asks a shard and waits for nothing.
    pub fn begin(&self, shard: usize, ask: Ask) {
        self.mesh.asks().ask(shard, ask).expect("nothing else is asked");
    }

    /// Mail lives for as long as nobody knows by a number: all of them are given to others.
    pub fn forget_lifetimes(&self) {
        let others = 1..=limits::LIFETIMES_MAX as u32;
        assert!(others.map(|lives| self.mesh.lifetimes().number(lives)).all(|number| number != ANY_LIFETIME));
    }

    /// Lanes of its data directory.
    pub fn lanes(&self) -> usize {
        self.mesh.lanes()
    }

    /// Whether its process still runs.
    pub fn is_alive(&self) -> bool {
        self.runtimes[0].is_alive()
    }

    /// Tasks of the node beyond those that run for ever: six a shard, a lane writer and a compactor a lane.
    pub fn sessions(&self) -> isize {
        let immortal = 6 * self.runtimes.len() + 2 * self.mesh.lanes();
        self.world.tasks(self.node) as isize - immortal as isize
    }

    /// Stops the relay in order: every shard ends by itself within the bound.
    pub fn drain(self) {
        self.mesh.stop();
        let all = self.runtimes.len();
        let ended = run_until_true(self.world, Duration::from_secs(40), || self.ended.get() == all);
        assert!(ended, "a shard did not end");
        assert!(self.runtimes.iter().all(|runtime| runtime.panics() == 0), "a session panicked");
    }
}

/// A configuration that shards prepare; dropped, it is given up.
pub struct Preparing {
    live: Arc<LiveConfig>,
    told: Vec<Receiver<Result<(), ListenError>>>,
    answers: Vec<Result<(), ListenError>>,
    _asker: Arc<()>,
}

impl Preparing {
    /// What a shard has against it, as soon as all have answered.
    pub fn refused(&mut self) -> Option<Option<&ListenError>> {
        self.answers.extend(self.told.iter().flat_map(|told| told.try_iter()));
        let all = self.answers.len() == self.told.len();
        all.then(|| self.answers.iter().find_map(|answer| answer.as_ref().err()))
    }
}

/// What shards have passed on, in order: lines, each as its schema wants it, and what is vouched for behind them.
pub fn each_chunk(
    instruments: &Instruments,
    mut each: impl FnMut(Vec<serde_json::Value>, Option<LaneWatermark>),
) {
    while let Some(chunk) = instruments.chunks.take() {
        let records = serde_json::Deserializer::from_slice(&chunk.lines).into_iter();
        let lines = records.map(|record| {
            let record = record.expect("a record of the log is JSON");
            let wrong = Schema::published().wrong(&record);
            assert!(wrong.is_empty(), "{record}: {wrong:?}");
            record
        });
        each(lines.collect(), chunk.recorded);
        chunk.awaited.into_iter().for_each(WriteAck::written);
        instruments.chunks.give_back(chunk.lines);
    }
}

/// Runs a world until `done`, looking now and then; false if that did not come to pass in time.
pub fn run_until_true(world: &World, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = world.now() + limit;
    while world.now() < end {
        if done() {
            return true;
        }
        world.run_for(Duration::from_millis(10));
    }
    done()
}

/// Of this listener.
fn certificate(listener: &ListenerConfig) -> Option<Arc<rustls::ServerConfig>> {
    listener
        .tls
        .as_ref()
        .map(|files| tls::server(files, |path| std::fs::read(path)).expect("a certificate and its key"))
}
