//! Tenants at a site that takes less than they have, where their domains are at home on different shards: shares are those of the node.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use relevo::route::home_shard;
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};

use super::fair::Hop;
use super::floods::{launch, names};
use super::peers::hand_in_some;
use super::relay::{Relay, run_until_true};
use super::story;

const SHARDS: usize = 4;
/// Mail of a tenant at a shard: one message for each of so many domains in turn.
const DOMAINS: usize = 5;

/// Domains of a tenant that are at home on a shard.
fn domains(tenant: &str, shard: usize) -> impl Iterator<Item = String> {
    let all = (0..).map(move |number| format!("{tenant}.d{number}.{tenant}.test"));
    let tenant = tenant.len();
    all.filter(move |domain| tenant > 0 && home_shard(domain.as_bytes(), SHARDS) == shard)
}

/// Whose mail is for domains of which name, and how urgent it is.
const SENDERS: [(&str, &str); 7] = [
    ("light", "tenant = \"light\""),
    ("other", "tenant = \"other\""),
    ("heavy", "tenant = \"heavy\""),
    ("high", "tenant = \"high\", priority = \"high\""),
    ("may", "tenant = \"shop\", campaign = \"may\""),
    ("june", "tenant = \"shop\", campaign = \"june\""),
    ("july", "tenant = \"shop\", campaign = \"july\""),
];

/// A relay whose mail is all for one site with so few connections. `heavy` weighs 3, all others 1.
fn start<'a>(world: &'a World, plant: Option<Defect>, connections: usize) -> (Rc<Hop>, Relay<'a>) {
    start_with(world, plant, &format!("connection_limit = {connections}"))
}

/// The same with another bound.
fn start_with<'a>(world: &'a World, plant: Option<Defect>, bound: &str) -> (Rc<Hop>, Relay<'a>) {
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(world);
    let mut text = "[[route]]\ndomain = \"*.test\"\nto = \"smtp://mx.big.test\"\n\
                    [[tenant]]\nname = \"heavy\"\nweight = 3\n"
        .to_owned();
    for (name, set) in SENDERS {
        text += &format!("[[rule]]\nmatch = {{ recipient = \"*.{name}.test\" }}\nset = {{ {set} }}\n");
    }
    let relay = launch(world, SHARDS, &format!("{text}#: ['mx.big.test']\n#: {bound}\n"));
    (hop, relay)
}

/// So many messages of a tenant for domains of each of these shards.
fn flood(world: &World, client: &mut u16, tenant: &str, shards: &[usize], messages: usize) {
    for shard in shards {
        for domain in domains(tenant, *shard).take(DOMAINS) {
            hand_in_some(world, *client, 0..messages / DOMAINS / shards.len(), vec![format!("u@{domain}")]);
            *client += 1;
        }
    }
}

/// A tenant, the shards of its mail, and its part of all.
type Party = (&'static str, &'static [usize], f64);

/// Parts of what the hop got from the 200th message on, by tenant, beside what they should be; and connections opened for each 1000 messages.
fn parts(seed: u64, (parties, connections, messages): Case, plant: Option<Defect>) -> (Vec<f64>, u64) {
    let world = World::new(seed);
    let (hop, relay) = start(&world, plant, connections);
    let (mut client, all) = (100, messages + 200);
    for (tenant, shards, part) in parties {
        // Enough that nobody comes to his end before, also where some get too much.
        flood(&world, &mut client, tenant, shards, (1.6 * all as f64 * part) as usize);
    }
    let done = run_until_true(&world, Duration::from_secs(400), || hop.came.borrow().len() >= all);
    assert!(done, "{} came", hop.came.borrow().len());
    let opened = relay.sum(|of| &of.outbound_connections_opened) * 1_000 / all as u64;
    let mut by: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in &hop.came.borrow()[200..all] {
        *by.entry(name.clone()).or_default() += 1;
    }
    relay.drain();
    let part =
        |(name, _, part): &Party| by.get(*name).copied().unwrap_or_default() as f64 / messages as f64 / part;
    let found: Vec<f64> = parties.iter().map(part).collect();
    println!("{parties:?} over {connections}: {found:.3?} of their parts, {opened} connections");
    (found, opened)
}

/// Who sends, connections of the site, and messages that are counted.
type Case = (&'static [Party], usize, usize);

const CASES: [Case; 6] = [
    (&[("light", &[0], 0.5), ("other", &[1], 0.5)], 4, 800),
    (&[("light", &[0], 0.25), ("heavy", &[1], 0.75)], 4, 800),
    (&[("light", &[0, 1, 2, 3], 0.5), ("other", &[0], 0.5)], 4, 800),
    (&[("light", &[0, 1, 2, 3], 0.25), ("heavy", &[0, 3], 0.75)], 16, 1_600),
    (&[("light", &[0, 1, 2], 0.25), ("heavy", &[3], 0.75)], 2, 800),
    (&[("light", &[0], 0.2), ("other", &[1], 0.2), ("heavy", &[2], 0.6)], 1, 2_000),
];

/// What each tenant had of 800 messages behind the first 100 of its part, at a site that takes 100 a second; and how many it took a second.
fn rated(seed: u64, parties: &[Party], plant: Option<Defect>) -> (Vec<f64>, f64) {
    let world = World::new(seed);
    let (hop, relay) = start_with(&world, plant, "max_message_rate = '100/s'");
    let mut client = 100;
    for (tenant, shards, part) in parties {
        flood(&world, &mut client, tenant, shards, (1_600.0 * part) as usize);
    }
    let done = run_until_true(&world, Duration::from_secs(60), || hop.came.borrow().len() >= 900);
    assert!(done, "{} came", hop.came.borrow().len());
    let came = hop.came.borrow().clone();
    relay.drain();
    let had = |name: &str| came[100..900].iter().filter(|(came, _)| came == name).count();
    let parts = parties.iter().map(|(name, _, part)| had(name) as f64 / 800.0 / part).collect();
    (parts, 799.0 / came[899].1.since(came[100].1).as_secs_f64())
}

/// Those of which several are campaigns of one tenant: each has the same part of what the tenant has, on whichever shards its domains are at home.
const OF_CAMPAIGNS: [Case; 6] = [
    (&[("may", &[0, 1, 2], 0.5), ("june", &[3], 0.5)], 4, 800),
    (&[("may", &[0, 1, 2, 3], 0.5), ("june", &[2], 0.5)], 4, 800),
    (&[("may", &[0, 1, 2], 0.25), ("june", &[3], 0.25), ("light", &[0], 0.5)], 8, 1_600),
    (&[("may", &[0], 0.25), ("june", &[1], 0.25), ("light", &[1], 0.5)], 4, 800),
    (&[("may", &[0, 1], 0.333), ("june", &[2], 0.333), ("july", &[2], 0.333)], 4, 1_600),
    (&[("may", &[0, 1, 2], 0.125), ("june", &[3], 0.125), ("heavy", &[0, 3], 0.75)], 8, 1_600),
];

const RATED_CAMPAIGNS: [&[Party]; 3] = [
    &[("may", &[0, 1, 2], 0.5), ("june", &[3], 0.5)],
    &[("may", &[0, 1, 2, 3], 0.5), ("june", &[2], 0.5)],
    &[("may", &[0, 1, 2], 0.25), ("june", &[3], 0.25), ("light", &[3], 0.5)],
];

const RATED: [&[Party]; 3] = [
    &[("light", &[0, 1, 2], 0.5), ("other", &[3], 0.5)],
    &[("light", &[0, 1, 2, 3], 0.25), ("heavy", &[2], 0.75)],
    &[("light", &[0], 0.2), ("other", &[1, 2], 0.2), ("heavy", &[3], 0.6)],
];

fn campaigns_of_shards_are_found(defect: Defect) {
    let (found, _) = parts(1, OF_CAMPAIGNS[0], Some(defect));
    assert!(!are_right(&found), "all have their parts, and what is planted is not noticed");
    let (found, _) = rated(1, RATED_CAMPAIGNS[0], Some(defect));
    assert!(!are_right(&found), "all have their parts of a rate, and what is planted is not noticed");
}

fn rates_of_shards_are_found(defect: Defect) {
    let (found, _) = rated(1, RATED[0], Some(defect));
    assert!(!are_right(&found), "all have their parts, and what is planted is not noticed");
}

fn rates_are_shared(all: &[&[Party]]) {
    story(2, |seed| {
        for parties in all {
            let (found, rate) = rated(seed, parties, None);
            println!("{parties:?}: {found:.3?} of their parts, {rate:.1} a second");
            assert!(are_right(&found), "{parties:?}: {found:?}");
            assert!((98.0..=101.0).contains(&rate), "{parties:?}: {rate} a second");
        }
    });
}

#[test]
fn shares_of_a_rate_hold_over_the_node() {
    rates_are_shared(&RATED);
}

#[test]
fn campaigns_have_the_same_each_of_a_rate_over_the_node() {
    rates_are_shared(&RATED_CAMPAIGNS);
}

fn shares_of_shards_are_found(defect: Defect) {
    let (found, _) = parts(1, CASES[0], Some(defect));
    assert!(!are_right(&found), "all have their parts, and what is planted is not noticed");
}

pub fn is_found(defect: Defect) {
    match defect {
        Defect::NoSpareConnection => busy_connections_are_found(defect),
        Defect::CampaignsOfShards => campaigns_of_shards_are_found(defect),
        Defect::RateOfShards => rates_of_shards_are_found(defect),
        _ => shares_of_shards_are_found(defect),
    }
}

fn are_right(parts: &[f64]) -> bool {
    parts.iter().all(|part| (0.95..=1.05).contains(part))
}

fn are_shared(all: &[Case]) {
    story(2, |seed| {
        for case in all {
            let (found, opened) = parts(seed, *case, None);
            assert!(are_right(&found), "{case:?}: {found:?}");
            assert!(opened <= 120, "{case:?}: connections go to and fro, {opened} for 1000 messages");
        }
    });
}

#[test]
fn shares_hold_over_the_node() {
    are_shared(&CASES);
}

#[test]
fn campaigns_have_the_same_each_over_the_node() {
    are_shared(&OF_CAMPAIGNS);
}

/// A flood of so many messages for domains of these shards, at a site with so many connections.
type Flood = (usize, &'static [usize], usize);

/// How long each of 50 messages took, now and then, from their client to the hop, in their order, beside that much of another tenant.
fn delays(
    seed: u64,
    (flood_of, shards, connections): Flood,
    every: Duration,
    plant: Option<Defect>,
) -> Vec<Duration> {
    let world = World::new(seed);
    let (hop, relay) = start(&world, plant, connections);
    let mut client = 100;
    flood(&world, &mut client, "light", shards, flood_of);
    world.run_for(Duration::from_secs(5));
    let clock = world.shard(2, 0);
    let mut began = Vec::new();
    for domain in domains("other", 3).take(50) {
        began.push((domain.clone(), clock.now()));
        hand_in_some(&world, client, 0..1, vec![format!("u@{domain}")]);
        client += 1;
        world.run_for(every);
    }
    let of = |name: &str| hop.came.borrow().iter().filter(|(came, _)| came == name).count();
    println!("{} of the flood and {} of the victim came by then", of("light"), of("other"));
    assert!(flood_of == 0 || of("light") < flood_of / 15 * 15, "the flood is over too early");
    let done = run_until_true(&world, Duration::from_secs(600), || of("other") == 50);
    assert!(done, "{} of 50 came", of("other"));
    relay.drain();
    let came = hop.came.borrow();
    let came: Vec<_> = came.iter().filter(|(name, _)| name == "other").collect();
    (0..50).map(|number| came[number].1.since(began[number].1)).collect()
}

fn sorted(mut delays: Vec<Duration>) -> Vec<Duration> {
    delays.sort_unstable();
    delays
}

#[test]
fn a_flood_on_other_shards_holds_up_nobody() {
    story(2, |seed| {
        for every in [300, 1_500].map(Duration::from_millis) {
            let alone = sorted(delays(seed, (0, &[0, 1, 2], 4), every, None));
            let beside = sorted(delays(seed, (4_500, &[0, 1, 2], 4), every, None));
            println!(
                "every {every:?}: median {:?}, {:?}; last {:?}, {:?}",
                alone[25], beside[25], alone[49], beside[49]
            );
            // A message of those under way, then a goodbye and a connect.
            assert!(beside[25] <= alone[25] + Duration::from_millis(150), "median {:?}", beside[25]);
            assert!(beside[49] <= alone[49] + Duration::from_millis(250), "last {:?}", beside[49]);
        }
    });
}

/// The slowest of one who sends now and then, alone and beside a flood that has all connections: those that come behind the first are timed, as
/// nobody knows before that there is somebody.
fn slowest(seed: u64, flood: Flood, every: Duration, plant: Option<Defect>) -> [Duration; 2] {
    let slowest = |delays: Vec<Duration>| delays[3..].iter().max().copied().expect("there are 50");
    let (_, shards, connections) = flood;
    [(0, shards, connections), flood].map(|flood| slowest(delays(seed, flood, every, plant)))
}

/// Each of five connections takes a message in 100 ms: who finds all of them busy waits for one that ends.
const KEPT_FREE: [(Flood, Duration); 3] = [
    ((3_000, &[3], 20), Duration::from_millis(130)),
    ((4_500, &[0, 1, 2, 3], 24), Duration::from_millis(170)),
    ((3_000, &[0], 20), Duration::from_millis(170)),
];

fn busy_connections_are_found(defect: Defect) {
    let [alone, beside] = slowest(1, KEPT_FREE[0].0, KEPT_FREE[0].1, Some(defect));
    assert!(
        beside > alone + Duration::from_millis(20),
        "{alone:?}, {beside:?}: what is planted is not noticed"
    );
}

#[test]
fn a_flood_does_not_hold_up_who_sends_now_and_then() {
    story(2, |seed| {
        for (flood, every) in KEPT_FREE {
            let [alone, beside] = slowest(seed, flood, every, None);
            println!("{flood:?}, every {every:?}: the slowest {alone:?} alone, {beside:?} beside it");
            // So much the way there makes of itself.
            assert!(
                beside <= alone + Duration::from_millis(3),
                "{flood:?}: {alone:?} alone, {beside:?} beside it"
            );
        }
    });
}

/// Who is idle leaves all to the others.
#[test]
fn what_one_does_not_use_others_on_other_shards_do() {
    story(2, |seed| {
        let world = World::new(seed);
        let (hop, relay) = start(&world, None, 4);
        let mut client = 100;
        flood(&world, &mut client, "light", &[0], 600);
        flood(&world, &mut client, "other", &[1], 100);
        let done = run_until_true(&world, Duration::from_secs(60), || hop.came.borrow().len() == 700);
        assert!(done, "{} came", hop.came.borrow().len());
        let came = hop.came.borrow();
        let last = came.iter().rposition(|(name, _)| name == "other").expect("some came");
        let rate = (690 - last) as f64 / came[689].1.since(came[last].1).as_secs_f64();
        drop(came);
        assert!(rate >= 36.0, "{rate} a second");
        println!("{rate:.1} messages a second when the other had no more");
        relay.drain();
    });
}
