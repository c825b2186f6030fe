//! A source in warm-up over the simulated network: what leaves by it in a day, over all shards, over kills and while the clock is set.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::config::warmup::written;
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use relevo::shaping::warmup::{Day, WarmDay};
use relevo::shard::warm::ledger::{Keeps, Ledger};

use super::floods::{launch, names};
use super::peers::hand_in_some;
use super::relay::Relay;
use super::sources::Hop;
use super::story;

const COLD: &str = "10.9.0.1";
const WARM: &str = "10.9.0.2";
const DAY: i64 = 86_400_000;

/// `control.db`, which outlasts a kill.
#[derive(Default)]
struct Disk(BTreeMap<(Box<str>, Box<str>, u32), Day>);

impl Keeps for Disk {
    fn days(&mut self, (source, provider): (&str, &str)) -> Option<Vec<Day>> {
        let of = |key: &(Box<str>, Box<str>, u32)| *key.0 == *source && *key.1 == *provider;
        Some(self.0.iter().filter(|(key, _)| of(key)).map(|(_, day)| *day).collect())
    }

    fn keep(&mut self, days: &[WarmDay]) -> bool {
        let key = |one: &WarmDay| (one.source.clone(), one.provider.clone(), one.day.day);
        self.0.extend(days.iter().map(|one| (key(one), one.day)));
        true
    }
}

fn today(world: &World) -> u32 {
    world.shard(0, 0).wall().day()
}

/// One of two sources is in warm-up: 20 messages today and 40 tomorrow, to a provider of whom all domains are.
fn configuration(world: &World, alone: bool) -> String {
    let pool = if alone { "\"ip0\"" } else { "\"ip0\", \"ip1\"" };
    let start = written(today(world));
    format!(
        "#: [provider.big]\n#: match = [{{ MXSuffix = \".test\" }}]\n\
         [retry]\nfirst = \"5s\"\nmax = \"20s\"\n\
         [[source]]\nname = \"ip0\"\naddress = \"{COLD}\"\n[[source]]\nname = \"ip1\"\naddress = \"{WARM}\"\n\
         [[pool]]\nname = \"bulk\"\nsources = [{pool}]\n\
         [[warmup]]\nsource = \"ip0\"\nstart = {start}\n\
         plan = [{{ day = 1, per_provider = \"20/d\" }}, {{ day = 2, per_provider = \"40/d\" }}]\n\
         [[rule]]\nmatch = {{ sender = \"*\" }}\nset = {{ pool = \"bulk\" }}\n"
    )
}

struct Scene<'a> {
    world: &'a World,
    hop: Rc<Hop>,
    disk: Disk,
}

impl<'a> Scene<'a> {
    fn begin(world: &'a World) -> Scene<'a> {
        names(world, &Rc::default(), |_| Some([10, 0, 0, 2]));
        Scene { world, hop: Hop::start(world), disk: Disk::default() }
    }

    fn hand_in(&self, clients: std::ops::Range<u16>) {
        for client in clients {
            let to = (0..5).map(|to| format!("u{client}@d{to}.test")).collect();
            hand_in_some(self.world, 100 + client, 0..1, to);
        }
    }

    /// Runs the world, and control beside it, until so many recipients were taken; at most for so long.
    fn run(&mut self, relay: &Relay<'_>, ledger: &mut Ledger, (taken, seconds): (usize, u64)) -> bool {
        for _ in 0..seconds * 10 {
            if self.hop.taken.borrow().len() >= taken {
                return true;
            }
            self.world.run_for(Duration::from_millis(100));
            ledger.serve(relay.warm(), today(self.world), &mut self.disk);
            ledger.note(relay.warm(), today(self.world), &mut self.disk);
        }
        self.hop.taken.borrow().len() >= taken
    }

    fn by(&self, source: &str) -> usize {
        let source: IpAddr = source.parse().expect("an address");
        self.hop.by().get(&source).copied().unwrap_or(0)
    }
}

/// Kills in the midst of it; how many messages left by the source on its first day.
fn cold_after_kills(seed: u64, plant: Option<Defect>) -> usize {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let mut scene = Scene::begin(&world);
    let configuration = configuration(&world, false);
    for kill in 0..3 {
        let (relay, mut ledger) = (launch(&world, 3, &configuration), Ledger::default());
        scene.hand_in(10 * kill..10 * kill + 10);
        scene.run(&relay, &mut ledger, (50 * usize::from(kill) + 9, 20));
        world.kill(1);
        drop(relay);
    }
    let (relay, mut ledger) = (launch(&world, 3, &configuration), Ledger::default());
    let all = scene.run(&relay, &mut ledger, (150, 120));
    assert!(all, "{} of 150 came", scene.hop.taken.borrow().len());
    let used = scene.disk.0.values().map(|day| day.used).max().unwrap_or(0);
    let cold = scene.by(COLD);
    if plant.is_none() {
        assert!(used <= 20 && cold > 0 && cold <= used as usize, "{cold} of {used}");
        assert!(scene.by(WARM) >= 130, "the other took the rest");
    }
    cold
}

#[test]
fn a_day_of_warm_up_is_never_exceeded_and_the_rest_goes_by_others() {
    story(6, |seed| _ = cold_after_kills(seed, None));
}

/// Alone in its pool, what is more waits for the next day; one that repeats has what was used.
#[test]
fn what_is_more_waits_for_midnight_whatever_the_clock_does() {
    story(4, |seed| {
        let world = World::new(seed);
        let mut scene = Scene::begin(&world);
        let (relay, mut ledger) = (launch(&world, 2, &configuration(&world, true)), Ledger::default());
        scene.hand_in(0..20);
        scene.run(&relay, &mut ledger, (100, 60));
        assert_eq!(scene.hop.by().values().sum::<usize>(), 20);
        assert_eq!(relay.sum(|of| &of.recipients_deferred), 0, "it waits, and nothing is tried");
        // Back by a day: the plan has not begun. And on again: what was used is.
        for (step, taken) in [(-DAY, 20), (DAY, 20), (DAY, 60), (-DAY, 60), (DAY, 60), (DAY, 100)] {
            world.move_wall(step);
            scene.run(&relay, &mut ledger, (101, 60));
            assert_eq!(scene.hop.by().values().sum::<usize>(), taken, "after {step}");
        }
        relay.drain();
    });
}

pub fn is_found(defect: Defect) {
    let found = (1..=6).map(|seed| cold_after_kills(seed, Some(defect))).max();
    assert!(found > Some(20), "{found:?} of 20 left");
}
