//! The quota of a tenant over the simulated network: what is taken of its mail in a day, over all shards, over kills and while the clock is set.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use relevo::policy::quota::{Owner, Spent};
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use relevo::shard::quota::ledger::{Keeps, Ledger, QuotaRows};

use super::day::talk::Talk;
use super::relay::{Launch, Relay, configuration};
use super::story;

const RELAY: &str = "10.0.0.1:25";
const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nA line.\r\n.\r\n";
const DAY: i64 = 86_400_000;
/// Recipients a day.
const QUOTA: usize = 61;

/// `control.db`, which outlasts a kill.
#[derive(Default)]
struct Disk(BTreeMap<(Owner, Box<str>), Vec<Spent>>);

impl Keeps for Disk {
    fn rows(&mut self, owner: Owner, name: &str) -> Option<Vec<Spent>> {
        Some(self.0.get(&(owner, name.into())).cloned().unwrap_or_default())
    }

    fn keep(&mut self, all: &[QuotaRows]) -> bool {
        self.0.extend(all.iter().map(|one| ((one.owner, one.name.clone()), one.rows.clone())));
        true
    }
}

struct Scene<'a> {
    world: &'a World,
    disk: Disk,
    /// Recipients of messages that were answered 250.
    taken: Rc<Cell<usize>>,
    /// Other answers to a message.
    refused: Rc<RefCell<Vec<u16>>>,
    over: Rc<Cell<bool>>,
}

impl<'a> Scene<'a> {
    /// Six clients bring messages to two recipients as long as it goes on.
    fn begin(world: &'a World) -> Scene<'a> {
        let (taken, refused, over) = Default::default();
        let scene = Scene { world, disk: Disk::default(), taken, refused, over };
        for number in 0..6u16 {
            let runtime = world.shard(9, number);
            let (own, over) = (runtime.clone(), scene.over.clone());
            let (taken, refused) = (scene.taken.clone(), scene.refused.clone());
            runtime.spawn(async move {
                while !over.get() {
                    let stream = own.connect(None, RELAY.parse().expect("an address")).expect("a socket");
                    let talk = Talk::new(own.clone(), stream, Duration::from_secs(60));
                    bring(talk, (&taken, &refused), &over).await;
                    own.sleep_until(own.now() + Duration::from_millis(700 + 30 * u64::from(number))).await;
                }
            });
        }
        scene
    }

    fn launch(&self) -> Relay<'a> {
        let more = format!(
            "[[tenant]]\nname = \"shop\"\nquota = [\"{QUOTA}/d\", \"1000/month\"]\n\
             [[rule]]\nmatch = {{ sender = \"*\" }}\nset = {{ tenant = \"shop\" }}\n"
        );
        let configuration = configuration(&more).replace("smtp://10.0.0.2:25", "discard");
        let room = relevo::shard::mesh::MeshLimits::of(3);
        let launch = Launch { node: 1, shards: 3, lanes: 3, room, configuration: &configuration };
        Relay::launch(self.world, &launch).expect("a relay")
    }

    /// Runs the world, and control beside it, for so many tenths of a second, or until so many were taken.
    fn run(&mut self, relay: &Relay<'_>, ledger: &mut Ledger, (tenths, taken): (usize, usize)) {
        for _ in 0..tenths {
            if self.taken.get() >= taken {
                return;
            }
            self.world.run_for(Duration::from_millis(100));
            let (works, _) = ledger.serve(relay.quotas(), self.world.shard(0, 0).wall(), &mut self.disk);
            assert!(works);
        }
    }
}

/// Messages until the connection breaks, or one is refused.
async fn bring(
    mut talk: Talk,
    (taken, refused): (&Cell<usize>, &RefCell<Vec<u16>>),
    over: &Cell<bool>,
) -> Option<()> {
    talk.connected().await.ok()?;
    talk.reply().await.ok().filter(|code| *code == 220)?;
    talk.ask("EHLO client.example\r\n").await.ok()?;
    while !over.get() {
        for command in ["MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "RCPT TO:<c@e.example>"] {
            talk.ask(&format!("{command}\r\n")).await.ok().filter(|code| *code == 250)?;
        }
        talk.ask("DATA\r\n").await.ok().filter(|code| *code == 354)?;
        talk.send(MESSAGE).await.ok()?;
        match talk.reply().await.ok()? {
            250 => taken.set(taken.get() + 2),
            other => {
                refused.borrow_mut().push(other);
                return talk.ask("QUIT\r\n").await.ok().map(drop);
            }
        }
    }
    None
}

/// Kills in the midst of it; how many recipients were taken in the day.
fn taken_over_kills(seed: u64, plant: Option<Defect>) -> usize {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let mut scene = Scene::begin(&world);
    for kill in 1..4 {
        let (relay, mut ledger) = (scene.launch(), Ledger::default());
        scene.run(&relay, &mut ledger, (100, 10 * kill));
        world.kill(1);
        drop(relay);
    }
    let (relay, mut ledger) = (scene.launch(), Ledger::default());
    scene.run(&relay, &mut ledger, (300, usize::MAX));
    let taken = scene.taken.get();
    if plant.is_none() {
        // What is under way when it is killed may be stored and not answered; what six clients waited for is lost with it.
        assert!((QUOTA / 3..=QUOTA).contains(&taken), "{taken}");
        assert!(scene.refused.borrow().iter().all(|code| *code == 451), "{:?}", scene.refused.borrow());
        // A day later there is as much again, and whatever the clock does then, no day has more.
        let mut most = taken;
        for (step, fresh) in [(DAY, QUOTA), (-DAY, 0), (DAY, 0), (DAY, QUOTA), (-2 * DAY, 0)] {
            world.move_wall(step);
            most += fresh;
            scene.run(&relay, &mut ledger, (200, usize::MAX));
            let taken = scene.taken.get();
            assert!((most - 1..=most).contains(&taken), "{taken} of {most} after {step}");
            most = taken;
        }
    }
    scene.over.set(true);
    taken
}

#[test]
fn a_quota_is_never_exceeded_over_kills_and_steps_of_the_clock() {
    story(6, |seed| _ = taken_over_kills(seed, None));
}

/// Plants a defect of quotas: it must be seen.
pub fn is_found(defect: Defect) {
    let found = taken_over_kills(1, Some(defect));
    assert!(found > QUOTA, "{defect:?}: {found} of {QUOTA}");
}
