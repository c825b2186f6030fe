//! What holds for a site of a simulated shard, and whether anything is started there.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::id::Location;
use crate::queue::Group;
use crate::queue::destinations::Effect;
use crate::route::Protocol;
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::alone;
use crate::shard::live::{Contents, InForce, LiveConfig};
use crate::shard::outbound::pump;
use crate::shard::outbound::site::Work;

fn hop(name: &str) -> Rc<Hop> {
    Rc::new(Hop { label: name.into(), site: name.to_owned(), hosts: Vec::new(), protocol: Protocol::Smtp })
}

fn reload(shard: &Shard<SimRuntime>, delivery: &str) {
    let text = format!("node.hostname = \"relay.example\"\n[delivery]\n{delivery}\n");
    let config = Config::parse(&text, Path::new("test")).expect("a valid configuration");
    shard.live.set(InForce::new(Arc::new(LiveConfig::new(&config, Contents::default(), 1))));
}

/// Whoever has a site goes by what holds for it now, be it found anew or gone through: connections end where they would not be opened so.
#[test]
fn a_reload_reaches_each_site() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    let renewed = |key: SiteKey, site: &Site| {
        let slots = shard.outbound.destinations.borrow().site_slots();
        let slot = (0..slots).find(|slot| shard.outbound.destinations.borrow().site_at(*slot) == key);
        let era = site.era.get();
        renew(&shard, slot.unwrap(), &shard.live.get().table);
        site.era.get() - era
    };
    let (key, one) = site(&shard, hop("one.example"));
    let (_, other) = site(&shard, hop("other.example"));
    // No domain leads there: that alone ends connections.
    assert_eq!(renewed(key, &one), 1);
    reload(&shard, "connections_per_destination = 100");
    assert_eq!(renewed(key, &one), 1);
    assert_eq!(one.policy.borrow().connections, 100);
    reload(&shard, "connections_per_destination = 99");
    assert_eq!(renewed(key, &one), 2, "there may be too many");
    assert_eq!((one.policy.borrow().connections, other.policy.borrow().connections), (99, 20));
    let era = other.era.get();
    site(&shard, hop("other.example"));
    assert_eq!((other.policy.borrow().connections, other.era.get()), (99, era));
    reload(&shard, "starttls = false");
    site(&shard, hop("other.example"));
    assert_eq!((other.policy.borrow().starttls, other.era.get()), (false, era + 1));
    site(&shard, hop("other.example"));
    assert_eq!(other.era.get(), era + 1, "once");
}

/// Nothing is started at a site that rests, neither this shard's own nor what it borrowed.
#[test]
fn a_site_that_rests_starts_nothing() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    let (key, site) = site(&shard, hop("one.example"));
    let now = shard.seconds();
    let group = Group::bare(Location { lane: 0, slot: 0, offset: 4096 }, 1);
    let effect = shard.outbound.destinations.borrow_mut().push("one.example", group, now);
    let Some(Effect::Resolve(domain, _)) = effect else { panic!("it is to be asked for") };
    let job = shard.own_job(domain, group);
    site.borrowed.jobs.borrow_mut().push_back(job);
    shard.outbound.lending.waiting.set(1);
    shard.outbound.destinations.borrow_mut().close_site(key, now + 60);
    let opens = may_start(&shard, key, now).unwrap_err();
    assert_eq!(shard.clock.read(opens).seconds(), now + 60);
    assert!(!pump::pump(&shard, key));
    assert!(matches!(pump::take(&shard, key, &site), Work::Nothing));
    assert_eq!(may_start(&shard, key, now + 60), Ok(()));
    shard.outbound.destinations.borrow_mut().open_site(key);
    assert!(pump::pump(&shard, key));
    assert!(matches!(pump::take(&shard, key, &site), Work::Job(taken) if taken == job));
}
