//! Connections of a simulated shard that end as soon as they are begun.

use super::*;
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::alone;

/// A connection to a site none of whose hosts has an address is begun.
fn begin(shard: &Rc<Shard<SimRuntime>>, number: usize) {
    let name = format!("site{number}.example");
    let hop = Hop {
        label: name.clone().into(),
        site: name,
        hosts: Vec::new(),
        protocol: Protocol::Smtp,
        tls: None,
        by_policy: false,
        by_records: false,
        requires_tls: false,
        apart: false,
        hands_over: false,
        credentials: None,
        by: None,
    };
    let (key, site) = sites::site(shard, Rc::new(hop));
    assert!(site.count.take(1, shard.index));
    site.connections.set(1);
    site.opening.set(1);
    shard.outbound.connections.set(shard.outbound.connections.get() + 1);
    shard.outbound.begun.borrow_mut().push_back(OpeningConnection {
        key,
        site,
        unproven: None,
        coming: None,
        places: None,
        token: None,
    });
}

/// Where a new task runs inside the one that makes it, and ends at once, the stack does not grow with their number.
#[test]
fn connections_that_fail_at_once_are_not_opened_one_inside_the_other() {
    const SITES: usize = 12;
    for at_once in [0.5, 1.0] {
        let world = World::new(1);
        world.run_new_tasks(at_once);
        let shard = alone::shard(&world, None);
        (0..SITES).for_each(|number| begin(&shard, number));
        while open_begun(&shard) {}
        world.run_for(Duration::from_secs(1));
        assert_eq!(shard.instruments.counters.outbound_connections_failed.get(), SITES as u64);
        assert_eq!((shard.outbound.connections.get(), world.panics(1)), (0, 0));
        assert!(world.deepest() <= 2, "{} one inside the other", world.deepest());
    }
}
