//! Mail of strangers is verified before it is answered, by somebody who is late, or never answers, or is killed: what is answered 250 arrives, with what was
//! found of it and nothing that passes for that.

use std::sync::Arc;
use std::time::Duration;

use relevo::limits;
use relevo::mail::results::{Findings, Spf, Verdict};
use relevo::runtime::Defect;
use relevo::runtime::sim::World;
use relevo::shard::mesh::MeshLimits;
use relevo::shard::verifying::Question;
use relevo::time::Instant;

use super::day::dice::Dice;
use super::peers::{Client, Sink};
use super::relay::{Launch, Relay, configuration};
use super::{check, story};

const SHARDS: usize = 2;
const CONNECTIONS: usize = 6;
const MESSAGES: usize = 10;

/// Nobody may relay, and strangers reach the domains that the client writes to.
fn settings() -> String {
    let domains = (0..7).map(|number| format!("\"d{number}.example\"")).collect::<Vec<_>>().join(", ");
    let taken = format!("relay_from = [\"192.0.2.1/32\"]\nrelay_to = [{domains}]\n");
    configuration("[retry]\nfirst = \"2s\"\nmax = \"4s\"\n")
        .replace("relay_from = [\"10.0.0.0/8\"]\n", &taken)
}

fn start<'a>(world: &'a World, configuration: &str) -> Relay<'a> {
    let room = MeshLimits::of(SHARDS);
    let launch = Launch { node: 1, shards: SHARDS, lanes: SHARDS, room, configuration };
    Relay::launch(world, &launch).expect("it starts")
}

/// The thread that verifies: at once, late, too late, or never.
struct Verifier {
    dice: Dice,
    late: Vec<(Instant, Arc<Question>)>,
}

impl Verifier {
    fn turn(&mut self, world: &World, relay: &Relay<'_>) {
        let now = world.now();
        while let Some(question) = relay.verifying().next() {
            assert_eq!(&*question.about().sender, b"sender@origin.example");
            let header = String::from_utf8_lossy(&question.about().header).into_owned();
            assert!(
                header.contains("Authentication-Results: relay.example; dmarc=pass"),
                "as it came: {header}"
            );
            let wait = match self.dice.below(10) {
                0..=4 => 0,
                5..=7 => self.dice.below(5_000),
                // Nobody waits for that any more.
                8 => 1_000 * limits::VERIFY_WAIT.as_secs() + self.dice.below(2_000),
                _ => continue,
            };
            self.late.push((now + Duration::from_millis(wait), question));
        }
        let known = || Spf { verdict: Verdict::Pass, domain: "origin.example".into(), of_helo: false };
        self.late.retain(|(at, question)| {
            let is_due = *at <= now;
            if is_due {
                question.answer(Findings { spf: known(), ..Findings::default() });
            }
            !is_due
        });
    }
}

fn kills(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    *sink.verified.borrow_mut() = Some(Vec::new());
    let configuration = settings();
    let mut relay = start(&world, &configuration);
    let client = Client::start_stranger(&world, "10.0.0.1:25", CONNECTIONS, MESSAGES);
    let mut verifier = Verifier { dice: Dice::new(seed, 78), late: Vec::new() };
    let lives = 4;
    for _ in 0..lives {
        for _ in 0..20 + verifier.dice.below(200) {
            verifier.turn(&world, &relay);
            world.run_for(Duration::from_millis(7));
        }
        world.kill(1);
        drop(relay);
        relay = start(&world, &configuration);
    }
    let all = CONNECTIONS * MESSAGES;
    let mut rounds = 0;
    while !(client.is_done()
        && sink.received.borrow().len() >= all
        && relay.sum(|of| &of.spool_messages) == 0)
    {
        verifier.turn(&world, &relay);
        world.run_for(Duration::from_millis(20));
        rounds += 1;
        let wrong = |field: &String| field.contains("fields");
        assert!(!sink.verified.borrow().iter().flatten().any(wrong), "each is to have one field, ours");
        assert!(rounds < 30_000, "{} of {all} came", sink.received.borrow().len());
    }
    assert_eq!(client.acknowledged.borrow().len(), all);
    check(&client, &sink, lives * SHARDS * 40 + client.unsure.get());
    let found = sink.verified.borrow_mut().take().expect("it is looked for");
    let is = |words: &str| found.iter().filter(|field| field.contains(words)).count();
    assert_eq!(is("spf=pass smtp.mailfrom=origin.example") + is("spf=temperror"), found.len(), "{found:?}");
    assert!(is("spf=pass") > 0 && is("spf=temperror") > 0, "{found:?}");
    relay.drain();
}

#[test]
fn strangers_wait_until_they_are_verified_and_no_longer() {
    story(4, |seed| kills(seed, None));
}

pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| kills(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}
