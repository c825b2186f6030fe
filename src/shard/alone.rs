//! One simulated shard for tests of its parts: no other shards, an empty spool, nobody at the other end.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam::channel::unbounded;

use crate::config::{Boot, Config};
use crate::policy::tls;
use crate::runtime::Bell;
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::Shard;
use crate::shard::assignment::Assignment;
use crate::shard::inbound::logins::Logins;
use crate::shard::live::{Contents, LiveConfig};
use crate::shard::mesh::Mesh;
use crate::shard::start::{self, ShardSetup};

/// Opens it, with these accounts.
pub(in crate::shard) fn shard(world: &World, accounts: Option<Logins>) -> Rc<Shard<SimRuntime>> {
    opened(world, "", accounts)
}

/// One that stores mail, with so much more configuration.
pub(in crate::shard) fn serving(world: &World, more: &str) -> Rc<Shard<SimRuntime>> {
    let shard = opened(world, more, None);
    start::serve(&shard);
    world.block_on(start::await_segments(&shard));
    shard
}

fn opened(world: &World, more: &str, accounts: Option<Logins>) -> Rc<Shard<SimRuntime>> {
    let text = "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\nshards = 1\n[spool]\nsegment_size = \"4MiB\"\n";
    let config = Config::parse(&format!("{text}{more}"), Path::new("test")).expect("a valid configuration");
    let bell = Arc::new(Bell::new());
    let particulars = config.particulars(1);
    let contents = Contents { accounts: accounts.map(Arc::new), ..Contents::default() };
    let setup = ShardSetup {
        index: 0,
        boot: Arc::new(Boot::of(&config)),
        live: Arc::new(LiveConfig::new(Arc::new(config), contents, 1)),
        particulars: particulars[0].clone(),
        node: 7,
        origins: Arc::default(),
        mesh: Arc::new(Mesh::new(vec![bell.clone()], Assignment::chosen(&[None], 1))),
        instruments: Arc::default(),
        tls_client: tls::Client::new().expect("the built-in TLS settings are sound"),
        reports: unbounded().0,
    };
    start::open(world.shard_with_bell(1, 0, bell), &setup).expect("an empty spool")
}
