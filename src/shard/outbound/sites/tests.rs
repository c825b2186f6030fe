//! What holds for a site of a simulated shard, and whether anything is started there.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::{Config, TlsLevel};
use crate::id::Location;
use crate::queue::Group;
use crate::queue::destinations::Effect;
use crate::queue::suspension::{self, ActiveSuspensions, Suspension, Suspensions};
use crate::route::gate::NamedBy;
use crate::route::{Host, HostAddress, Protocol};
use crate::runtime::sim::{SimRuntime, World};
use crate::shaping::file::File;
use crate::shaping::layers::Shaping;
use crate::shaping::value::{Tls, Value};
use crate::shard::alone;
use crate::shard::live::{Contents, InForce, LiveConfig};
use crate::shard::outbound::pump;
use crate::shard::outbound::site::Work;
use crate::time::UnixMillis;

fn hop(name: &str) -> Rc<Hop> {
    Rc::new(Hop {
        label: name.into(),
        site: name.to_owned(),
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
    })
}

fn reload(shard: &Shard<SimRuntime>, delivery: &str) {
    reload_with(shard, delivery, "");
}

fn reload_with(shard: &Shard<SimRuntime>, delivery: &str, shaping: &str) {
    let text = format!("node.hostname = \"relay.example\"\n[delivery]\n{delivery}\n");
    let config = Config::parse(&text, Path::new("test")).expect("a valid configuration");
    let (file, findings) = File::read(shaping, Path::new("shaping.toml"));
    assert!(findings.errors.is_empty(), "{findings:?}");
    let shaping = Arc::new(Shaping::of(vec![file]).0);
    let before = shard.live.get();
    let live = LiveConfig::new(Arc::new(config), Contents { shaping, ..Contents::default() }, 1);
    shard.live.set(InForce::new(Arc::new(live.after(&before, before.generation + 1, ("", &[])))));
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
        renew(&shard, slot.unwrap(), &shard.live.get());
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
    assert_eq!((other.policy.borrow().tls, other.era.get()), (TlsLevel::Off, era + 1));
    site(&shard, hop("other.example"));
    assert_eq!(other.era.get(), era + 1, "once");
}

/// A rule that sets `enable_tls` at a site sets nothing where the route says what TLS there is.
#[test]
fn the_tls_of_a_route_stands_over_a_rule() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    let one = Suspension {
        id: 1,
        effect: suspension::Effect::Set(Key::EnableTls, Value::Tls(Tls::Disabled)),
        scope: suspension::Scope::default(),
        since: UnixMillis(0),
        until: UnixMillis(u64::MAX),
        by: "".into(),
        reason: "".into(),
    };
    let held = ActiveSuspensions::new(Arc::new(Suspensions::new(vec![one])), |_| u32::MAX);
    shard.outbound.destinations.borrow_mut().suspend(held);
    let tls = |level| {
        let mut hop = Rc::unwrap_or_clone(hop("one.example"));
        hop.ask_for_tls(level);
        let (_, site) = site(&shard, Rc::new(hop));
        let policy = site.policy.borrow().clone();
        policy.tls
    };
    assert_eq!(tls(None), TlsLevel::Off, "the rule holds");
    assert_eq!(tls(Some(TlsLevel::Verified)), TlsLevel::Verified);
}

/// What is said of a domain holds for its site on every shard, from when it is found to lead there.
#[test]
fn a_domain_has_its_say_about_its_site() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    reload_with(&shard, "", "['said.example']\nconnection_limit = 3\n['alone.example']\nmx_rollup = false\n");
    let host = |name: &str| Host {
        name: name.to_owned(),
        at: HostAddress::Name,
        port: 25,
        named_by: NamedBy::Stranger,
        rank: 0,
        weight: 0,
        tls_first: false,
    };
    let led = |domain: &str| {
        let site = "mx.example".to_owned();
        let hosts = vec![host("mx.example")];
        Rc::new(Hop {
            site,
            hosts,
            label: domain.into(),
            protocol: Protocol::Smtp,
            tls: None,
            by_policy: false,
            by_records: false,
            requires_tls: false,
            apart: false,
            hands_over: false,
            credentials: None,
            by: None,
        })
    };
    let (one_key, one) = site(&shard, led("one.example"));
    let limit = |site: &Site| site.policy.borrow().connections;
    assert_eq!((limit(&one), one.policy.borrow().named), (20, false));
    // As another shard does that has the same count.
    one.count.add_beside("said.example");
    assert_eq!(limit(&one), 20, "it has not looked");
    heed(&shard, one_key, &one);
    assert_eq!((limit(&one), one.policy.borrow().named), (3, true));
    let (_, again) = site(&shard, led("said.example"));
    assert!(Rc::ptr_eq(&one, &again) && one.count.besides() == 1);
    reload_with(&shard, "", "");
    heed(&shard, one_key, &one);
    assert_eq!(limit(&one), 20, "nothing is said of it any more");
    assert!(
        Arc::ptr_eq(&one.policy.borrow(), &site(&shard, hop("two.example")).1.policy.borrow()),
        "all have one"
    );
}

/// Each has connections of its own, and there are no more of all than of one.
#[test]
fn ways_to_the_same_hosts_have_one_count() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    reload_with(&shard, "", "['mx.example']\nconnection_limit = 3\n");
    let way = |name: &str, named_by, tls| {
        let mut hop = Rc::unwrap_or_clone(hop(name));
        let (name, at) = ("mx.example".to_owned(), HostAddress::Name);
        hop.hosts = vec![Host { name, at, port: 25, named_by, rank: 0, weight: 0, tls_first: false }];
        hop.ask_for_tls(tls);
        Rc::new(hop)
    };
    let (_, by_mx) = site(&shard, way("d.example", NamedBy::Stranger, None));
    assert_eq!(by_mx.policy.borrow().connections, 20, "nothing is said of the domain");
    let (_, routed) = site(&shard, way("smtp://mx.example:25", NamedBy::Operator, None));
    let (_, other) = site(&shard, way("smtp://mx.example:25", NamedBy::Operator, Some(TlsLevel::Off)));
    let again = by_mx.hop.borrow().clone();
    let (_, by_mx) = site(&shard, again);
    for one in [&by_mx, &routed, &other] {
        assert!(Arc::ptr_eq(&one.count, &routed.count) && one.policy.borrow().connections == 3);
    }
    assert!(!Rc::ptr_eq(&routed, &other) && !Rc::ptr_eq(&routed, &by_mx));
    *other.waits_here.borrow_mut() = Some(other.receiver.wait());
    assert!(routed.must_share(None, 0) && !other.must_share(None, 0));
    other.waits_no_more();
    assert!(!routed.must_share(None, 0));
    routed.set_idle(0, true);
    other.set_idle(0, false);
    assert!(other.has_idle_beside() && !routed.has_idle_beside());
    assert_eq!(
        routed.count.idle().count(),
        1,
        "the other has none to do nothing, and says nothing of this one's"
    );
    routed.set_idle(0, false);
    assert_eq!(routed.count.idle().count(), 0);
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
