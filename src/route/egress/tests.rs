//! Sources, pools, and what each message gets.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::*;

fn config(pools: &str) -> Config {
    let source =
        |name: &str| format!("[[source]]\nname = \"{name}\"\naddress = \"192.0.2.{}\"\n", &name[2..]);
    let sources: String = ["ip1", "ip2", "ip3"].map(source).concat();
    Config::parse(&format!("{sources}{pools}"), Path::new("relevo.toml")).expect("a configuration")
}

fn id(offset: u32) -> MessageId {
    MessageId { lane: 1, sequence: 7, offset }
}

const BULK: &str = "[[pool]]\nname = \"bulk\"\nsources = [{ source = \"ip1\", weight = 6 }, { source = \"ip2\", weight = 3 }, \"ip3\"]\n";

fn name(egresses: &Egresses, key: EgressKey) -> String {
    egresses.get(key).map_or("node".to_owned(), |egress| format!("{}/{}", egress.pool, egress.source.name()))
}

fn shares(egresses: &Egresses, pool: Option<&str>) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for message in 0..10_000 {
        *shares.entry(name(egresses, egresses.choose(pool, seed(id(message), b"d.example")))).or_insert(0) +=
            1;
    }
    shares
}

#[test]
fn sources_have_their_shares() {
    let egresses = Egresses::new(&config(BULK));
    let bulk = shares(&egresses, Some("bulk"));
    let near = |name: &str, wanted: usize| bulk[name].abs_diff(wanted) < 200;
    assert!(near("bulk/ip1", 6_000) && near("bulk/ip2", 3_000) && near("bulk/ip3", 1_000), "{bulk:?}");
    assert_eq!(shares(&egresses, Some("ip2")), BTreeMap::from([("ip2/ip2".to_owned(), 10_000)]));
    for none in [None, Some("other")] {
        assert_eq!(shares(&egresses, none), BTreeMap::from([("node".to_owned(), 10_000)]));
    }
    let by_default = Egresses::new(&config(&format!("{BULK}[delivery]\npool = \"ip3\"\n")));
    for none in [None, Some("other")] {
        assert_eq!(shares(&by_default, none), BTreeMap::from([("ip3/ip3".to_owned(), 10_000)]));
    }
    // One message's mail for many domains is shared as well.
    let domains = (0..100).map(|at| egresses.choose(Some("bulk"), seed(id(7), format!("d{at}").as_bytes())));
    assert_eq!(domains.collect::<std::collections::BTreeSet<_>>().len(), 3);
}

/// What an operator says and what fails are two things: either is enough, and the end of one is not that of the other.
#[test]
fn an_operator_holds_a_source() {
    let egresses = Egresses::new(&config(BULK));
    let source = egresses.sources().find(|source| source.name() == "ip1").expect("ip1").clone();
    let (now, end) = (Instant(7_000_000_000), Instant(9_000_000_000));
    assert!(source.hold(Some(("moves".into(), end))) && !source.hold(Some(("still moves".into(), end))));
    assert!(source.is_suspended() && source.is_held());
    assert_eq!(source.held().as_deref(), Some("still moves"));
    assert_eq!(source.suspension().told(), ("still moves".into(), end));
    assert!(!source.is_due(Instant(8_000_000_000)), "nobody looks whether it works");
    assert!(!source.resume() && source.is_suspended(), "that it works is not the question");
    let shares = shares(&egresses, Some("bulk"));
    assert!(!shares.contains_key("bulk/ip1") && shares.len() == 2, "{shares:?}");
    assert!(source.suspend("gone", (now, 7)));
    assert!(source.hold(None) && !source.hold(None));
    assert_eq!((source.is_suspended(), &*source.suspension().why), (true, "gone"));
    assert!(source.resume() && !source.is_suspended());
}

#[test]
fn only_mail_of_a_suspended_source_goes_by_others() {
    let egresses = Egresses::new(&config(BULK));
    let seeds = || (0..2_000).map(|message| seed(id(message), b"d.example"));
    let before: Vec<_> = seeds().map(|seed| egresses.choose(Some("bulk"), seed)).collect();
    let now = Instant(7_000_000_000);
    let source = egresses.sources().find(|source| source.name() == "ip1").expect("ip1").clone();
    assert!(source.suspend("gone", (now, 7)) && !source.suspend("gone", (now, 7)));
    assert_eq!(&*source.suspension().why, "gone");
    for (seed, before) in seeds().zip(&before) {
        let after = egresses.choose(Some("bulk"), seed);
        let moved = egresses.instead(*before, seed);
        if name(&egresses, *before) == "bulk/ip1" {
            assert!(!egresses.is_suspended(after) && moved == Some(after));
        } else {
            assert_eq!((after, moved), (*before, None));
        }
    }
    // Who may leave by nothing else waits.
    let alone = egresses.choose(Some("ip1"), 1);
    assert_eq!((name(&egresses, alone), egresses.instead(alone, 1)), ("ip1/ip1".to_owned(), None));
    assert!(!source.is_due(now) && source.is_due(now + limits::SITE_PAUSE_MAX * 2));
    assert!(source.resume() && !source.resume());
    assert!(seeds().zip(before).all(|(seed, before)| egresses.choose(Some("bulk"), seed) == before));
}

#[test]
fn what_a_source_has_no_room_for_goes_by_those_that_are_warm() {
    let egresses = Egresses::new(&config(&format!("{BULK}[[pool]]\nname = \"rest\"\nsources = [\"ip2\"]\n")));
    let own = (0..99).map(|seed| egresses.choose(Some("bulk"), seed));
    let own = own.into_iter().find(|key| name(&egresses, *key) == "bulk/ip1").expect("it has a share");
    let beside = |pool: Option<&str>, warm: &[&str]| {
        let found: std::collections::BTreeSet<_> = (0..200)
            .filter_map(|seed| egresses.beside(own, pool, seed, |source| warm.contains(&source)))
            .map(|key| name(&egresses, key))
            .collect();
        found.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(beside(None, &["ip1", "ip2", "ip3"]), "bulk/ip2 bulk/ip3");
    assert_eq!(
        (beside(None, &["ip1", "ip3"]), beside(None, &["ip1"])),
        ("bulk/ip3".to_owned(), String::new())
    );
    assert_eq!(beside(Some("rest"), &["ip2", "ip3"]), "rest/ip2");
    assert_eq!((beside(Some("ip1"), &["ip1"]), beside(Some("gone"), &["ip2"])), Default::default());
    egresses
        .sources()
        .filter(|source| source.name() == "ip2")
        .for_each(|source| _ = source.suspend("gone", (Instant(1), 1)));
    assert_eq!(beside(None, &["ip1", "ip2", "ip3"]), "bulk/ip3");
    assert_eq!(egresses.beside(EgressKey::NODE, None, 1, |_| true), None);
}

#[test]
fn a_source_is_looked_at_ever_more_seldom() {
    let source = Source::new(config("").sources[0].clone());
    let mut now = Instant(7_000_000_000);
    let mut last = Duration::ZERO;
    for _ in 0..3 {
        source.suspend("gone", (now, 1 << 63));
        // What others find meanwhile is the same failure.
        source.suspend("gone", (now, 1 << 63));
        let until = source.suspension().until;
        assert!(until.since(now) > last, "{last:?}");
        last = until.since(now);
        now = until;
    }
}

#[test]
fn numbers_outlast_a_reload() {
    let before = Egresses::new(&config(BULK));
    let key = |of: &Egresses, wanted: &str| {
        let mut keys = (0..20).map(EgressKey);
        keys.find(|key| name(of, *key) == wanted).expect("it is known")
    };
    before.sources().for_each(|source| _ = source.suspend("gone", (Instant(1), 1)));
    let fewer = "[[pool]]\nname = \"bulk\"\nsources = [\"ip3\", \"ip2\"]\n[[pool]]\nname = \"new\"\nsources = [\"ip1\"]\n";
    let after = Egresses::new(&config(fewer)).after(&before);
    for kept in ["bulk/ip1", "bulk/ip2", "bulk/ip3", "ip1/ip1"] {
        assert_eq!(key(&before, kept), key(&after, kept), "{kept}");
    }
    assert!(after.is_suspended(key(&after, "new/ip1")), "it is the same source");
    after.sources().for_each(|source| _ = source.resume());
    assert!(before != after && before == Egresses::new(&config(BULK)) && after.are_numbered());
    let left = after.instead(key(&after, "bulk/ip1"), 7).expect("it left the pool");
    assert!(["bulk/ip2", "bulk/ip3"].contains(&&*name(&after, left)));
    assert_eq!(after.instead(key(&after, "bulk/ip2"), 7), None);
    let none = Egresses::new(&config("")).after(&after);
    assert_eq!(none.instead(key(&none, "new/ip1"), 7), Some(EgressKey::NODE), "its pool is gone");
    let default = Egresses::new(&config("[delivery]\npool = \"ip2\"\n")).after(&none);
    assert_eq!(name(&default, default.instead(EgressKey::NODE, 7).expect("there is a default")), "ip2/ip2");
    // Another address is another source, of which nothing is known.
    let mut other = config("");
    other.sources[0].address = Some([192, 0, 2, 9].into());
    after.sources().for_each(|source| _ = source.suspend("gone", (Instant(1), 1)));
    let other = Egresses::new(&other).after(&after);
    assert!(!other.is_suspended(key(&other, "ip1/ip1")) && other.is_suspended(key(&other, "ip2/ip2")));
}

/// What mail asks of TLS stays with it, by whatever source it leaves.
#[test]
fn mail_that_asks_for_tls_is_queued_apart() {
    let egresses = Egresses::new(&config(BULK));
    let drawn = egresses.choose(Some("bulk"), 1);
    for wish in [TlsWish::Usual, TlsWish::Waived, TlsWish::Required] {
        for key in [EgressKey::NODE, drawn, EgressKey(limits::EGRESSES_MAX as u16)] {
            let own = key.for_tls(wish);
            assert_eq!((own.tls(), own.plain(), own == key), (wish, key, wish == TlsWish::Usual));
            assert_eq!(own.for_tls(TlsWish::Usual), key);
        }
        let own = drawn.for_tls(wish);
        assert_eq!(name(&egresses, own), name(&egresses, drawn));
        assert_eq!(egresses.instead(own, 1), None);
        let other = egresses.in_place(own, "ip3", 1, |_| true);
        assert!(other.is_some_and(|other| other.tls() == wish && name(&egresses, other) == "ip3/ip3"));
        egresses.get(drawn).unwrap().source.suspend("test", (Instant(1), 1));
        let other = egresses.instead(own, 1).expect("another of its pool");
        assert_eq!((other.tls(), other.plain() == drawn), (wish, false));
        egresses.get(drawn).unwrap().source.resume();
    }
}
