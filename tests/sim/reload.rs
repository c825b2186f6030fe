//! Another configuration comes into force in the middle of everything: on all shards, whole, and with nothing lost or late.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use relevo::shard::mesh::MeshLimits;

use super::day::talk::Talk;
use super::peers::{Client, Sink, hand_in_some};
use super::relay::{Launch, Relay, run_until_true};
use super::{check, story};

const SHARDS: usize = 2;

/// All mail goes to this sink, which its tenant tells, and comes by this port.
fn configuration(sink: usize, port: u16) -> String {
    format!(
        "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
         [[listener]]\naddress = \"10.0.0.1:{port}\"\nrelay_from = [\"10.0.0.0/8\"]\n\
         [[route]]\ndomain = \"*\"\nto = \"smtp://10.0.0.{sink}:25\"\n\
         [[rule]]\nset = {{ tenant = \"of-{sink}\" }}\n\
         [retry]\nfirst = \"2h\"\nmax = \"2h\"\n[spool]\nsegment_size = \"4MiB\"\n"
    )
}

fn start<'a>(world: &'a World, configuration: &str) -> Relay<'a> {
    let launch =
        Launch { node: 1, shards: SHARDS, lanes: SHARDS, room: MeshLimits::of(SHARDS), configuration };
    Relay::launch(world, &launch).expect("the node lives")
}

/// One of each of seven domains, so that all shards have some.
fn everybody() -> Vec<String> {
    (0..7).map(|domain| format!("u@d{domain}.example")).collect()
}

fn number(id: &str) -> Option<usize> {
    id.split('-').nth(1)?.parse().ok()
}

/// Ids of messages with these numbers, as often as they came.
fn came(sink: &Sink, numbers: std::ops::Range<usize>) -> usize {
    let is_one = |id: &&String| id.starts_with("0-") && number(id).is_some_and(|one| numbers.contains(&one));
    sink.received.borrow().iter().filter(is_one).count()
}

/// Routes change to and fro under load; what is wrong.
fn routes(seed: u64, defect: Option<Defect>) -> Result<(), String> {
    const EACH: usize = 8;
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sinks = [Sink::start(&world, "10.0.0.2:25"), Sink::start(&world, "10.0.0.3:25")];
    let mut relay = start(&world, &configuration(2, 25));
    let client = Client::start(&world, "10.0.0.1:25", 4, 60);
    for turn in 1..=6 {
        world.run_for(Duration::from_millis(20 + seed * 37 % 90));
        relay.reload(&configuration(2 + turn % 2, 25)).map_err(|error| error.to_string())?;
        // Far from the numbers of the other client.
        let numbers = 1000 * turn..1000 * turn + EACH;
        hand_in_some(&world, 100 + turn as u16, numbers.clone(), everybody());
        let (new, old) = (&sinks[turn % 2], &sinks[1 - turn % 2]);
        let all = EACH * everybody().len();
        run_until_true(&world, Duration::from_secs(30), || {
            came(new, numbers.clone()) + came(old, numbers.clone()) >= all
        });
        if came(old, numbers.clone()) > 0 || came(new, numbers.clone()) != all {
            return Err(format!("turn {turn}: {} where mail went before", came(old, numbers)));
        }
    }
    if !run_until_true(&world, Duration::from_secs(120), || client.is_done()) {
        return Err("a client waits".to_owned());
    }
    world.run_for(Duration::from_secs(5));
    // All of it came, in one of two places. What went to seven domains came seven times, and was counted.
    let rest = std::mem::take(&mut *sinks[1].received.borrow_mut());
    sinks[0].received.borrow_mut().extend(rest);
    sinks[0].received.borrow_mut().retain(|id| number(id).is_none_or(|number| number < 1000));
    check(&client, &sinks[0], 0);
    relay.drain();
    Ok(())
}

#[test]
fn all_shards_go_by_the_same_routes() {
    story(4, |seed| assert_eq!(routes(seed, None), Ok(())));
}

/// Mail that waits for a site that is closed, or to be tried again, leaves for where routes lead by then.
#[test]
fn mail_that_waits_is_routed_anew() {
    story(4, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.3:25");
        // Nobody is there.
        let mut relay = start(&world, &configuration(9, 25));
        let client = Client::start(&world, "10.0.0.1:25", 3, 20);
        assert!(run_until_true(&world, Duration::from_secs(120), || client.is_done()));
        world.run_for(Duration::from_secs(30 + seed));
        assert!(sink.received.borrow().is_empty());
        relay.reload(&configuration(3, 25)).expect("it is in force");
        let ready = |sink: &Sink| sink.received.borrow().len();
        run_until_true(&world, Duration::from_secs(20), || ready(&sink) >= 60);
        check(&client, &sink, 0);
        relay.drain();
    });
}

/// A session that has a transaction open when another configuration comes, and another one after that; then its listener goes. The tenants of both
/// messages, and what it heard last.
fn session(seed: u64, defect: Option<Defect>) -> (Vec<String>, String) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let _sinks = [Sink::start(&world, "10.0.0.2:25"), Sink::start(&world, "10.0.0.3:25")];
    let mut relay = start(&world, &configuration(2, 25));
    let said = Rc::new(RefCell::new(None));
    let (runtime, told) = (world.shard(60, 0), said.clone());
    let own = runtime.clone();
    runtime.spawn(async move {
        let to: SocketAddr = "10.0.0.1:25".parse().expect("an address");
        let stream = own.connect(None, to).expect("a socket");
        let mut talk = Talk::new(own.clone(), stream, Duration::from_secs(600));
        talk.connected().await.expect("a connection");
        assert_eq!(talk.reply().await.ok(), Some(220));
        assert_eq!(talk.ask("EHLO client.example\r\n").await.ok(), Some(250));
        for _ in 0..2 {
            assert_eq!(talk.ask("MAIL FROM:<a@origin.example>\r\n").await.ok(), Some(250));
            assert_eq!(talk.ask("RCPT TO:<u@d1.example>\r\n").await.ok(), Some(250));
            own.sleep_until(own.now() + Duration::from_secs(10)).await;
            assert_eq!(talk.ask("DATA\r\n").await.ok(), Some(354));
            assert_eq!(talk.ask("Message-Id: <0-1-1-14>\r\n\r\nx\r\n.\r\n").await.ok(), Some(250));
        }
        own.sleep_until(own.now() + Duration::from_secs(10)).await;
        let reply =
            talk.ask("NOOP\r\n").await.map_or_else(|error| format!("{error:?}"), |code| code.to_string());
        *told.borrow_mut() = Some(reply);
    });
    world.run_for(Duration::from_secs(5));
    // In the first transaction; behind the second.
    relay.reload(&configuration(3, 25)).expect("it is in force");
    world.run_for(Duration::from_secs(20));
    relay.reload(&configuration(3, 26)).expect("it is in force");
    assert!(run_until_true(&world, Duration::from_secs(60), || said.borrow().is_some()), "it ends");
    world.run_for(Duration::from_secs(2));
    let tenants = relay.log().into_iter().filter(|record| record["event"] == "received");
    let tenants = tenants.map(|record| record["tenant"].as_str().unwrap_or_default().to_owned()).collect();
    let said = said.borrow_mut().take().unwrap_or_default();
    (tenants, said)
}

fn is_right((tenants, said): &(Vec<String>, String)) -> bool {
    tenants == &["of-2", "of-3"] && said == "421"
}

#[test]
fn a_transaction_keeps_the_policy_it_began_with() {
    story(3, |seed| {
        let seen = session(seed, None);
        assert!(is_right(&seen), "{seen:?}");
    });
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let found = |seed| match defect {
        Defect::PolicyMixed => !is_right(&session(seed, Some(defect))),
        _ => std::panic::catch_unwind(|| routes(seed, Some(defect))).map_or(true, |told| told.is_err()),
    };
    assert!((1..=4).any(found), "{defect:?}: not found in 4 stories");
}

/// A kill may come at any moment of a reload: nothing of it is on disk, and nothing is lost.
#[test]
fn a_kill_in_the_middle_of_a_reload_loses_nothing() {
    story(6, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let mut relay = start(&world, &configuration(2, 25));
        let client = Client::start(&world, "10.0.0.1:25", 4, 40);
        for life in 0..4 {
            world.run_for(Duration::from_millis(60 + seed * 23 % 80 + life * 30));
            relay.begin_reload(&configuration(3, 25), seed.wrapping_add(life) % 2 == 0);
            world.run_for(Duration::from_micros(seed * 370 % 900));
            world.crash(1);
            relay = start(&world, &configuration(2, 25));
        }
        assert!(run_until_true(&world, Duration::from_secs(600), || client.is_done()));
        world.run_for(Duration::from_secs(120));
        check(&client, &sink, 4 * 2 * 40 + client.unsure.get());
        relay.drain();
    });
}
