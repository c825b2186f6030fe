//! The queue summed up: what shards say of all that waits is what a count says, while mail comes, goes and is deferred.

use std::time::Duration;

use relevo::queue::destinations::summary::Waiting;
use relevo::queue::select::{GroupState, ScanPosition};
use relevo::runtime::Defect;
use relevo::runtime::sim::World;
use relevo::shard::ask::Ask;
use relevo::shard::ask::overview::{SitesWanted, Summary};

use super::ask::{SHARDS, deferred, filter, parts};
use super::peers::Client;
use super::relay::Relay;
use super::story;

fn summed(relay: &Relay<'_>, mut between: impl FnMut()) -> Vec<Summary> {
    let one = |shard| {
        let summary = relay.ask(shard, Ask::Summary);
        between();
        summary
    };
    (0..SHARDS).map(one).collect()
}

fn counted(relay: &Relay<'_>, state: GroupState) -> u64 {
    let chosen = filter(&[("state", state.name())]);
    let all = parts(relay, || {}, |from: ScanPosition, reply| Ask::Count(chosen.clone(), from, reply));
    all.iter().map(|part| part.tally.recipients).sum()
}

/// Whether what is summed up is what waits: all of it, in each way in which it is told.
fn is_whole(seed: u64, plant: Option<Defect>) -> bool {
    let world = World::new(seed);
    let (relay, sink, _client) = deferred(&world, 60);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let _more = Client::start_bulk(&world, "10.0.0.1:25", 3, 30, 2);
    let mut whole = true;
    for turn in 0..6 {
        // What waits all along is in each, and nothing that never came.
        let sums = summed(&relay, || world.run_for(Duration::from_millis(seed * 13 % 40)));
        let all: u64 = sums.iter().map(|of| of.queue.all.all()).sum();
        whole &= (60..=60 + 3 * 30).contains(&all);
        world.run_for(Duration::from_millis(200));
        sink.defer.set(turn % 2 == 1);
    }
    world.run_for(Duration::from_secs(60));
    // Nothing moves now: each number is that of a count.
    let sums = summed(&relay, || {});
    let mut all = Waiting::default();
    sums.iter().for_each(|of| all.add(&of.queue.all));
    for (state, met) in GroupState::ALL.into_iter().zip([all.deferred, all.ready, all.suspended, all.held]) {
        whole &= counted(&relay, state) == met;
    }
    for Summary { queue, .. } in &sums {
        whole &= queue.ages.iter().sum::<u64>() == queue.all.all();
        let mut by_domain = Waiting::default();
        queue.by_domain.iter().for_each(|(_, of)| by_domain.add(of));
        whole &= by_domain == queue.all && queue.by_domain.len() as u64 <= queue.domains;
    }
    relay.drain();
    whole
}

#[test]
fn what_waits_is_summed_up() {
    story(4, |seed| assert!(is_whole(seed, None), "a summary told another queue than a count"));
}

/// Plants a defect of what sums up.
pub fn is_found(defect: Defect) {
    assert!((1..=8).any(|seed| !is_whole(seed, Some(defect))));
}

#[test]
fn sites_are_told_in_the_order_of_their_names() {
    let world = World::new(5);
    let (relay, _sink, _client) = deferred(&world, 40);
    let _more = Client::start_bulk(&world, "10.0.0.1:25", 3, 30, 2);
    world.run_for(Duration::from_millis(500));
    let page = |wanted: SitesWanted| {
        let mut names = Vec::new();
        for shard in 0..SHARDS {
            let wanted = wanted.clone();
            let page = relay.ask(shard, |reply| Ask::Sites(wanted, reply));
            assert!(!page.more && page.rows.is_sorted_by(|one, other| one.name < other.name));
            names.extend(page.rows.into_iter().map(|row| row.name));
        }
        names.sort();
        names.dedup();
        names
    };
    let all = page(SitesWanted::default());
    assert!(!all.is_empty());
    let behind = page(SitesWanted { after: all[0].clone(), ..SitesWanted::default() });
    assert_eq!(behind, all[1..]);
    let none = SitesWanted { provider: Some("nobody".into()), ..SitesWanted::default() };
    assert!(page(none).is_empty());
    relay.drain();
}
