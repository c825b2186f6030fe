//! Mail that is suspended: nothing of it is tried, it is given up in time, and goes on when that ends.

use std::rc::Rc;
use std::time::Duration;

use relevo::queue::suspension::Effect;
use relevo::runtime::Defect;
use relevo::runtime::sim::World;

use super::floods::{launch, names};
use super::peers::{Sink, hand_in_some};
use super::relay::{Relay, run_until_true, suspension};
use super::story;

/// Mail of two tenants to `good0.test` and `good1.test`, which have a sink of their own each.
struct Scene<'a> {
    relay: Relay<'a>,
    sinks: [Sink; 2],
}

const RULES: &str = "[[rule]]\nmatch = { recipient = \"shop@good0.test\" }\nset = { tenant = \"shop\" }\n\
    [[rule]]\nmatch = { recipient = \"shop@good1.test\" }\nset = { tenant = \"shop\" }\n";

fn begin<'a>(world: &'a World, shards: usize, more: &str) -> Scene<'a> {
    names(world, &Rc::default(), |host| {
        ["good0.test", "good1.test"]
            .iter()
            .position(|known| *known == host)
            .map(|at| [10, 0, 0, 2 + at as u8])
    });
    let sinks = ["10.0.0.2:25", "10.0.0.3:25"].map(|at| Sink::start(world, at));
    Scene { relay: launch(world, shards, &format!("{RULES}{more}")), sinks }
}

impl Scene<'_> {
    fn send(&self, world: &World, client: u16, count: usize, to: &[&str]) {
        hand_in_some(world, client, 0..count, to.iter().map(|to| (*to).to_owned()).collect());
    }

    fn taken(&self) -> [usize; 2] {
        [0, 1].map(|at| self.sinks[at].received.borrow().len())
    }
}

/// Messages that a suspended domain's sink took while it was suspended, and connections it saw.
fn held_back(seed: u64, plant: Option<Defect>) -> usize {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let filters = ["domain=good0.test", "site=mx.good0.test", "domain=*.test"];
    let filter = filters[seed as usize % 3];
    let scene = begin(&world, 2, "");
    scene.relay.suspend(vec![suspension(&world, 1, Effect::Wait, &format!("{filter} 60"))]);
    scene.send(&world, 100, 20, &["u@good0.test"]);
    scene.send(&world, 101, 20, &["u@good1.test"]);
    world.run_for(Duration::from_secs(55));
    let [early, other] = scene.taken();
    assert_eq!(other, if filter == "domain=*.test" { early } else { 20 }, "{filter}");
    if plant.is_none() {
        let counts = scene.relay.sum(|of| &of.recipients_deferred);
        assert_eq!((early, counts), (0, 0), "{filter}: no attempt, and none is told");
        assert!(scene.relay.log().iter().all(|event| event["event"] != "deferred"));
        let opened = scene.relay.sum(|of| &of.outbound_connections_opened);
        assert!(opened <= if filter == "domain=*.test" { 0 } else { 20 }, "{opened}");
    }
    let all = run_until_true(&world, Duration::from_secs(20), || scene.taken() == [20, 20]);
    assert!(all, "{filter}: {:?} came", scene.taken());
    scene.relay.drain();
    early
}

#[test]
fn suspended_mail_waits_and_goes_on_by_itself() {
    story(6, |seed| assert_eq!(held_back(seed, None), 0));
}

/// The suspension comes while mail waits, on a node with more shards than domains; it is ended early.
#[test]
fn what_waits_goes_on_as_soon_as_it_is_resumed() {
    story(4, |seed| {
        let world = World::new(seed);
        let scene = begin(&world, 3, "[retry]\nfirst = \"2h\"\nmax = \"2h\"\n");
        scene.sinks[0].defer.set(true);
        scene.send(&world, 100, 10, &["old@good0.test"]);
        world.run_for(Duration::from_secs(10));
        scene.sinks[0].defer.set(false);
        scene.relay.suspend(vec![
            suspension(&world, 1, Effect::Wait, "domain=good0.test 3600"),
            suspension(&world, 2, Effect::Wait, "domain=good1.test tenant=shop 3600"),
        ]);
        scene.send(&world, 101, 10, &["v@good0.test"]);
        scene.send(&world, 102, 10, &["shop@good1.test"]);
        scene.send(&world, 103, 10, &["shop@good1.test", "other@good1.test"]);
        world.run_for(Duration::from_secs(100));
        assert_eq!(scene.taken(), [0, 10], "of the tenant's neighbour in each message");
        let attempts = scene.relay.sum(|of| &of.recipients_deferred);
        assert_eq!(attempts, 10, "only those of before");
        scene.relay.suspend(vec![suspension(&world, 2, Effect::Wait, "tenant=nobody 3600")]);
        let wanted = [10, 30];
        assert!(
            run_until_true(&world, Duration::from_secs(5), || scene.taken() == wanted),
            "{:?}",
            scene.taken()
        );
        world.run_for(Duration::from_secs(100));
        assert_eq!(scene.taken(), wanted, "what was deferred waits for its time");
        assert_eq!(scene.relay.sum(|of| &of.queued_recipients), 10);
        drop(scene);
    });
}

#[test]
fn what_is_to_go_back_goes_back_once_and_nothing_else() {
    story(4, |seed| {
        let world = World::new(seed);
        let scene = begin(&world, 2, "");
        let origin = Sink::start(&world, "10.0.0.9:25");
        scene.relay.suspend(vec![
            suspension(&world, 1, Effect::Return, "domain=good0.test tenant=shop 300"),
            suspension(&world, 2, Effect::Return, "domain=good1.test 300"),
        ]);
        scene.send(&world, 100, 5, &["shop@good0.test", "u@good0.test"]);
        scene.send(&world, 101, 5, &["u@good1.test"]);
        world.run_for(Duration::from_secs(30));
        assert_eq!(scene.taken(), [5, 0]);
        let bounces = origin.bounces.borrow();
        assert_eq!(bounces.len(), 10);
        let about =
            |who: &str| bounces.iter().filter(|text| text.contains(&format!("rfc822; {who}"))).count();
        assert_eq!((about("shop@good0.test"), about("u@good1.test"), about("u@good0.test")), (5, 5, 0));
        assert!(bounces.iter().all(|text| text.contains("their MX moves") && text.contains("5.7.1")));
        assert_eq!(scene.relay.sum(|of| &of.recipients_bounced), 10);
        drop(bounces);
        scene.relay.drain();
    });
}

/// It is not due for two hours: the tenant's goes back at once, and others' stays as it is.
#[test]
fn what_is_not_due_goes_back_as_well() {
    story(3, |seed| {
        let world = World::new(seed);
        let more = "[[rule]]\nmatch = { recipient = \"old0@good0.test\" }\nset = { tenant = \"shop\" }\n[retry]\nfirst = \"2h\"\nmax = \"2h\"\n";
        let scene = begin(&world, 2, more);
        let origin = Sink::start(&world, "10.0.0.9:25");
        scene.sinks[0].defer.set(true);
        scene.send(&world, 100, 20, &["old0@good0.test", "old1@good0.test", "old0@good1.test"]);
        world.run_for(Duration::from_secs(20));
        assert_eq!((scene.taken(), scene.relay.sum(|of| &of.queued_recipients)), ([0, 20], 40));
        let held = "domain=good0.test tenant=shop 300";
        scene.relay.suspend(vec![suspension(&world, 1, Effect::Return, held)]);
        world.run_for(Duration::from_secs(10));
        assert_eq!(origin.bounces.borrow().len(), 20);
        assert!(
            origin
                .bounces
                .borrow()
                .iter()
                .all(|text| text.contains("old0@good0.test") && !text.contains("old1"))
        );
        assert_eq!(scene.relay.sum(|of| &of.queued_recipients), 20);
        scene.sinks[0].defer.set(false);
        world.run_for(Duration::from_secs(3 * 3600));
        assert_eq!(scene.taken(), [20, 20], "the others' is tried when it is due");
        scene.relay.drain();
    });
}

#[test]
fn suspended_mail_is_given_up_to_the_second() {
    story(2, |seed| {
        let world = World::new(seed);
        let scene = begin(&world, 2, "[retry]\nexpire = \"90s\"\nfirst = \"10s\"\n");
        let filters = ["domain=good0.test", "domain=good1.test"];
        let filter = filters[seed as usize % 2];
        scene.relay.suspend(vec![suspension(&world, 1, Effect::Wait, &format!("{filter} 3600"))]);
        let begun = world.now();
        scene.send(&world, 100, 5, &["u@good0.test", "u@good1.test"]);
        let given_up = || scene.relay.sum(|of| &of.recipients_expired);
        assert!(run_until_true(&world, Duration::from_secs(200), || given_up() == 5), "{}", given_up());
        let took = world.now().since(begun).as_secs();
        assert!((89..=93).contains(&took), "{took} s");
        drop(scene);
    });
}

/// What is suspended holds over a kill, as control puts it in force before shards begin.
#[test]
fn a_kill_forgets_nothing() {
    story(3, |seed| {
        let world = World::new(seed);
        let scene = begin(&world, 2, "");
        let held = "domain=good0.test tenant=shop 120";
        scene.relay.suspend(vec![suspension(&world, 1, Effect::Wait, held)]);
        scene.send(&world, 100, 5, &["shop@good0.test"]);
        world.run_for(Duration::from_secs(10));
        let Scene { relay, sinks } = scene;
        world.kill(1);
        drop(relay);
        let relay = launch(&world, 2, &format!("{RULES}#suspended: {held}\n"));
        world.run_for(Duration::from_secs(60));
        assert!(sinks[0].received.borrow().is_empty());
        let come = || sinks[0].received.borrow().len() == 5;
        assert!(
            run_until_true(&world, Duration::from_secs(120), come),
            "{}",
            sinks[0].received.borrow().len()
        );
        relay.drain();
    });
}

/// Plants a defect that lets suspended mail go: it must be seen.
pub fn is_found(defect: Defect) {
    assert!(held_back(1, Some(defect)) > 0, "{defect:?}");
}
