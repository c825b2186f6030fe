//! A whole relay in a world.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, unbounded};
use relevo::config::Config;
use relevo::observe::Instruments;
use relevo::policy::tls;
use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Bell, Runtime};
use relevo::shard::mesh::Mesh;
use relevo::shard::start::{self, Report, Setup};

/// A running relay, all of its shards on one node of the world.
pub struct Relay<'a> {
    world: &'a World,
    mesh: Arc<Mesh>,
    runtimes: Vec<SimRuntime>,
    reports: Receiver<Report>,
}

/// The lanes a world's relay has, however many shards it runs.
const LANES: usize = 2;

impl<'a> Relay<'a> {
    /// Starts a relay and runs the world until it listens on 10.0.0.1:25. `more` is added to its configuration.
    pub fn start(world: &'a World, node: u32, shards: usize, more: &str) -> Relay<'a> {
        let text = format!(
            "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
             [[listener]]\naddress = \"10.0.0.1:25\"\nrelay_from = [\"10.0.0.0/8\"]\n\
             [[route]]\ndomain = \"*\"\nto = \"smtp://10.0.0.2:25\"\n\
             [spool]\nsegment_size = \"4MiB\"\n{more}"
        );
        let settings = Arc::new(Config::parse(&text, Path::new("sim")).expect("a valid configuration"));
        let bells: Vec<_> = (0..shards).map(|_| Arc::new(Bell::new())).collect();
        let mesh = Arc::new(Mesh::new(bells.clone(), LANES.max(shards)));
        let (sender, reports) = unbounded();
        let mut runtimes = Vec::new();
        for (index, bell) in bells.into_iter().enumerate() {
            let runtime = world.shard_with_bell(node, index as u16, bell);
            let setup = Setup {
                index,
                settings: settings.clone(),
                node: 7,
                owners: Arc::default(),
                mesh: mesh.clone(),
                instruments: Arc::new(Instruments::default()),
                accounts: None,
                certificates: vec![None],
                tls_client: tls::Client::new().expect("the built-in TLS settings are sound"),
                reports: sender.clone(),
            };
            let own = runtime.clone();
            runtime.spawn_vital("shard", async move {
                start::run(own, setup).await.expect("the shard ends well")
            });
            runtimes.push(runtime);
        }
        let relay = Relay { world, mesh, runtimes, reports };
        relay.await_reports();
        relay.mesh.open();
        relay.await_reports();
        relay
    }

    fn await_reports(&self) {
        let mut heard = 0;
        let shards = self.runtimes.len();
        let all = run_until_true(self.world, Duration::from_secs(60), || {
            for report in self.reports.try_iter() {
                assert!(!matches!(report, Report::Failed(_)), "{report:?}");
                heard += 1;
            }
            heard == shards
        });
        assert!(all, "the relay did not start");
    }

    /// Stops the relay in order: every shard ends by itself within the bound.
    pub fn drain(self) {
        self.mesh.stop();
        self.world.run_for(Duration::from_secs(40));
        assert!(self.runtimes.iter().all(|runtime| runtime.panics() == 0), "a session panicked");
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
