//! Connections of a simulated shard that end as soon as they are begun.

use std::path::Path;
use std::sync::Arc;

use crossbeam::channel::unbounded;

use super::*;
use crate::config::Config;
use crate::policy::tls;
use crate::route::hop::SitePolicy;
use crate::runtime::Bell;
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::assignment::Assignment;
use crate::shard::mesh::Mesh;
use crate::shard::start::{self, Setup};

fn shard(world: &World) -> Rc<Shard<SimRuntime>> {
    let text = "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\nshards = 1\n[spool]\nsegment_size = \"4MiB\"\n";
    let settings = Arc::new(Config::parse(text, Path::new("test")).expect("a valid configuration"));
    let bell = Arc::new(Bell::new());
    let particulars = settings.particulars(1);
    let setup = Setup {
        index: 0,
        settings: settings.clone(),
        particulars: particulars[0].clone(),
        node: 7,
        birthplaces: Arc::default(),
        mesh: Arc::new(Mesh::new(vec![bell.clone()], Assignment::chosen(&[None], 1))),
        instruments: Arc::default(),
        accounts: None,
        certificates: Vec::new(),
        tls_client: tls::Client::new().expect("the built-in TLS settings are sound"),
        reports: unbounded().0,
    };
    start::open(world.shard_with_bell(1, 0, bell), &setup).expect("an empty spool")
}

/// A connection to a site none of whose hosts has an address is begun.
fn begin(shard: &Rc<Shard<SimRuntime>>, number: usize) {
    let policy = SitePolicy::of(&shard.settings);
    let name = format!("site{number}.example");
    let hop =
        Hop { label: name.clone().into(), site: name, hosts: Vec::new(), protocol: Protocol::Smtp, policy };
    let (key, site) = sites::site(shard, Rc::new(hop));
    assert!(site.slots.take(1, shard.index));
    site.connections.set(1);
    site.opening.set(1);
    shard.outbound.connections.set(shard.outbound.connections.get() + 1);
    shard.outbound.begun.borrow_mut().push_back(Begun { key, site, unproven: None, coming: None });
}

/// Where a new task runs inside the one that makes it, and ends at once, the stack does not grow with their number.
#[test]
fn connections_that_fail_at_once_are_not_opened_one_inside_the_other() {
    const SITES: usize = 12;
    for at_once in [0.5, 1.0] {
        let world = World::new(1);
        world.run_new_tasks(at_once);
        let shard = shard(&world);
        (0..SITES).for_each(|number| begin(&shard, number));
        while open_begun(&shard) {}
        world.run_for(Duration::from_secs(1));
        assert_eq!(shard.instruments.counters.outbound_connections_failed.get(), SITES as u64);
        assert_eq!((shard.outbound.connections.get(), world.panics(1)), (0, 0));
        assert!(world.deepest() <= 2, "{} one inside the other", world.deepest());
    }
}
