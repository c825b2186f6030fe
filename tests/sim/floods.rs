//! One client brings thousands of domains that lead to silence, to holes or all to one address: others notice nothing.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use relevo::runtime::Defect;
use relevo::runtime::sim::World;
use relevo::time::Instant;

use super::peers::{Sink, hand_in, hand_in_from, hand_in_some};
use super::relay::{Launch, Relay, run_until_true};
use super::story;
use relevo::shard::mesh::MeshLimits;

const SERVER: &str = "10.0.9.53:53";

/// `good*.test` and what `lead` names lead to the addresses it says, `quiet` names to no answer; nothing else is there.
pub fn names(world: &World, deaf: &Rc<Cell<bool>>, lead: impl Fn(&str) -> Option<[u8; 4]> + 'static) {
    let deaf = deaf.clone();
    world.serve_datagrams(SERVER.parse().expect("an address"), move |question| {
        let asked = Message::from_vec(question).ok()?;
        let query = asked.queries.first()?.clone();
        let text = query.name.to_ascii().trim_end_matches('.').to_owned();
        if deaf.get() || text.contains("quiet") {
            return None;
        }
        let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_query(query.clone());
        let host = text.strip_prefix("mx.").unwrap_or(&text);
        match (lead(host), query.query_type) {
            (None, _) => answer.metadata.response_code = ResponseCode::NXDomain,
            (Some(_), RecordType::MX) => {
                let host = Name::from_ascii(format!("mx.{text}.")).expect("a name");
                answer.add_answer(Record::from_rdata(query.name.clone(), 600, RData::MX(MX::new(10, host))));
            }
            (Some(address), RecordType::A) => {
                answer.add_answer(Record::from_rdata(query.name.clone(), 600, RData::A(A(address.into()))));
            }
            _ => {
                let (zone, root) = (query.name.clone(), Name::root());
                let data = RData::SOA(SOA::new(root.clone(), root, 1, 600, 600, 600, 600));
                answer.add_authority(Record::from_rdata(zone, 600, data));
            }
        }
        answer.to_vec().ok()
    });
}

pub fn launch<'a>(world: &'a World, shards: usize, more: &str) -> Relay<'a> {
    let configuration = &format!(
        "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
         [[listener]]\naddress = \"10.0.0.1:25\"\nrelay_from = [\"10.0.0.0/8\"]\nrecipients_max = 1000\n\
         [dns]\nservers = [\"10.0.9.53\"]\n\
         [[route]]\ndomain = \"origin.example\"\nto = \"smtp://10.0.0.9:25\"\n\
         [delivery]\nprivate_networks = \"allow\"\nstarttls = false\n\
         [spool]\nsegment_size = \"4MiB\"\n{more}"
    );
    let room = MeshLimits::of(shards);
    Relay::launch(world, &Launch { node: 1, shards, lanes: shards, room, configuration }).expect("it starts")
}

pub fn flood(world: &World, messages: usize, domain: impl Fn(usize) -> String) {
    for message in 0..messages {
        let to = (0..1_000).map(|place| format!("u@{}", domain(message * 1_000 + place))).collect();
        hand_in(world, 100 + message as u16, message, to);
    }
}

/// Hands in a message for each of some fresh domains, now and then, and says how long the slowest took to come to the sink.
fn slowest(world: &World, sink: &Sink, count: usize, patience: Duration) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in 0..count {
        let (begun, before) = (world.now(), sink.received.borrow().len());
        hand_in(world, 50, 5_000 + number, vec![format!("u@good{number}.test")]);
        assert!(
            run_until_true(world, patience, || sink.received.borrow().len() > before),
            "good mail {number} did not come in {patience:?}"
        );
        slowest = slowest.max(world.now().since(begun));
    }
    slowest
}

fn silent_names(seed: u64, plant: Option<Defect>) -> Result<Duration, String> {
    let told = std::panic::catch_unwind(|| {
        let world = World::new(seed);
        if let Some(defect) = plant {
            world.plant(defect, 1.0);
        }
        let sink = Sink::start(&world, "10.0.0.2:25");
        names(&world, &Rc::default(), |host| host.starts_with("good").then_some([10, 0, 0, 2]));
        let relay = launch(&world, 2, "");
        // Each in a zone of its own: nothing but time tells that they are silent.
        flood(&world, 10, |number| format!("quiet{number}.test"));
        assert!(run_until_true(&world, Duration::from_secs(60), || {
            relay.sum(|of| &of.domains_waiting) + relay.sum(|of| &of.domains_resolving) > 5_000
        }));
        // By then those that were asked for first have been given up, or keep their places.
        world.run_for(Duration::from_secs(3));
        let slowest = slowest(&world, &sink, 8, Duration::from_secs(30));
        drop(relay);
        slowest
    });
    told.map_err(|panic| super::days::words(&*panic))
}

#[test]
fn ten_thousand_silent_names_hold_up_nobody() {
    story(2, |seed| {
        let slowest = silent_names(seed, None).expect("good mail comes");
        assert!(slowest < Duration::from_millis(250), "{slowest:?}");
    });
}

/// Plants a defect that lets silent names hold up others: it must be seen.
pub fn kept_names_are_found(defect: Defect) {
    let slowest = silent_names(1, Some(defect));
    let late = |took: &Duration| *took > Duration::from_millis(250);
    assert!(slowest.as_ref().is_err() || slowest.as_ref().is_ok_and(late), "{defect:?}: {slowest:?}");
}

#[test]
fn a_thousand_domains_at_one_address_take_turns() {
    story(2, |seed| {
        let world = World::new(seed);
        let (sink, busy) = (Sink::start(&world, "10.0.0.2:25"), Sink::start(&world, "10.0.0.3:25"));
        let watch = world.watch_connections(1, ["10.0.0.3:25".parse().expect("an address")]);
        names(&world, &Rc::default(), |host| {
            let good = host.starts_with("good").then_some([10, 0, 0, 2]);
            good.or(host.starts_with("made-up").then_some([10, 0, 0, 3]))
        });
        let relay = launch(&world, 2, "");
        flood(&world, 1, |number| format!("made-up{number}.test"));
        world.run_for(Duration::from_millis(500));
        let slowest = slowest(&world, &sink, 10, Duration::from_secs(30));
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
        let all = run_until_true(&world, Duration::from_secs(120), || busy.received.borrow().len() == 1_000);
        assert!(all, "{} of 1000 came", busy.received.borrow().len());
        let peak = world.connections_peak(watch);
        assert!((10..=20).contains(&peak), "{peak} connections to one address");
        assert_eq!(relay.sum(|of| &of.recipients_deferred), 0, "to wait for a place is no failure");
        relay.drain();
    });
}

/// Messages of a long queue that came before one message for another domain at the same address, all of whose places the queue held.
fn before_a_newcomer(seed: u64, shards: usize, plant: Option<Defect>) -> Result<usize, String> {
    let told = std::panic::catch_unwind(|| {
        let world = World::new(seed);
        if let Some(defect) = plant {
            world.plant(defect, 1.0);
        }
        names(&world, &Rc::default(), |_| Some([10, 0, 0, 3]));
        let relay = launch(&world, shards, "");
        let number_of = 3_000;
        for first in (0..number_of).step_by(50) {
            let to = vec!["u@made0.test".to_owned()];
            hand_in_some(&world, 100 + (first / 50) as u16, first..first + 50, to);
        }
        // All of it waits before anything can go.
        assert!(run_until_true(&world, Duration::from_secs(30), || {
            relay.sum(|of| &of.messages_received) == number_of as u64
        }));
        let sink = Sink::start(&world, "10.0.0.3:25");
        let watch = world.watch_connections(1, ["10.0.0.3:25".parse().expect("an address")]);
        assert!(run_until_true(&world, Duration::from_secs(120), || {
            world.connections_peak(watch) >= 20 && sink.received.borrow().len() > 20
        }));
        let before = sink.received.borrow().len();
        assert!(before < number_of / 2, "{before} have come already");
        hand_in(&world, 50, 5_000, vec!["u@good0.test".to_owned()]);
        let good = || sink.received.borrow().iter().position(|id| id.contains("0-5000-"));
        assert!(run_until_true(&world, Duration::from_secs(60), || good().is_some()));
        let place = good().expect("it came");
        let all =
            run_until_true(&world, Duration::from_secs(120), || sink.received.borrow().len() > number_of);
        assert!(all, "{} came", sink.received.borrow().len());
        relay.drain();
        place - before
    });
    told.map_err(|panic| super::days::words(&*panic))
}

#[test]
fn a_long_queue_at_one_address_lets_others_in() {
    story(2, |seed| {
        for shards in [1, 2] {
            let before = before_a_newcomer(seed, shards, None).expect("good mail comes");
            assert!(before < 1_000, "{before} messages of the long queue came first");
        }
    });
}

/// Plants a defect that lets a long queue keep its places: it must be seen.
pub fn kept_places_are_found(defect: Defect) {
    let before = before_a_newcomer(1, 1, Some(defect));
    let found = before.as_ref().is_err() || before.as_ref().is_ok_and(|before| *before >= 1_000);
    assert!(found, "{defect:?}: {before:?}");
}

#[test]
fn hosts_that_never_answer_leave_places_for_others() {
    story(2, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let hole = |number: usize| [10, 9, (number / 250) as u8, (number % 250) as u8 + 1];
        for number in 0..2_000 {
            world.faults().blackhole.insert(
                format!("{}:25", std::net::Ipv4Addr::from(hole(number))).parse().expect("an address"),
            );
        }
        names(&world, &Rc::default(), move |host| {
            let number = host.strip_prefix("hole").and_then(|rest| rest.strip_suffix(".test")?.parse().ok());
            host.starts_with("good").then_some([10, 0, 0, 2]).or(number.map(hole))
        });
        let relay = launch(&world, 1, "[[shard]]\nindex = 0\nconnections_outbound_max = 60\n");
        flood(&world, 2, |number| format!("hole{number}.test"));
        world.run_for(Duration::from_secs(2));
        let slowest = slowest(&world, &sink, 8, Duration::from_secs(60));
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
        drop(relay);
    });
}

/// What the resolver remembers does not wait behind silent names, not even where these are all of its own client's.
#[test]
fn a_domain_that_is_remembered_waits_in_no_line() {
    story(2, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let deaf = Rc::new(Cell::new(false));
        names(&world, &deaf, |host| host.starts_with("good").then_some([10, 0, 0, 2]));
        let relay = launch(&world, 1, "");
        let send = |number, patience| {
            let before = sink.received.borrow().len();
            hand_in(&world, 50, number, vec!["u@good0.test".to_owned()]);
            run_until_true(&world, patience, || sink.received.borrow().len() > before)
        };
        assert!(send(0, Duration::from_secs(5)));
        // Longer than its site is kept without mail.
        world.run_for(Duration::from_secs(10));
        deaf.set(true);
        flood(&world, 4, |number| format!("good-{number}.test"));
        world.run_for(Duration::from_secs(20));
        assert!(relay.sum(|of| &of.domains_waiting) > 1_000);
        assert!(send(1, Duration::from_millis(500)), "it is remembered");
        drop(relay);
    });
}

/// Mail that a start finds is its client's as before: whose mail is little does not wait behind that of one who brought much.
#[test]
fn a_start_knows_whose_mail_it_finds() {
    story(2, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let deaf = Rc::new(Cell::new(true));
        names(&world, &deaf, |host| host.starts_with("good").then_some([10, 0, 0, 2]));
        let relay = launch(&world, 1, "");
        // A message each, for a zone each: nothing but the client is the same.
        let many = 2_400;
        for first in (0..many).step_by(100) {
            let client = (100 + first as u16, None);
            hand_in_from(&world, client, first..first + 100, |number| vec![format!("u@quiet{number}.test")]);
        }
        assert!(run_until_true(&world, Duration::from_secs(20), || {
            relay.sum(|of| &of.messages_received) == many as u64
        }));
        let other = (50, Some("10.0.0.77".parse().expect("an address")));
        hand_in_from(&world, other, many..many + 1, |_| vec!["u@good.test".to_owned()]);
        assert!(run_until_true(&world, Duration::from_secs(5), || {
            relay.sum(|of| &of.messages_received) > many as u64
        }));
        world.run_for(Duration::from_secs(2));
        world.kill(1);
        drop(relay);
        deaf.set(false);
        let relay = launch(&world, 1, "");
        assert_eq!(relay.found, many + 1);
        let begun = world.now();
        assert!(run_until_true(&world, Duration::from_secs(30), || !sink.received.borrow().is_empty()));
        // Some hundred others are asked for at one time, for a second each.
        let took = world.now().since(begun);
        assert!(took < Duration::from_millis(2_500), "{took:?} behind the mail of another client");
        drop(relay);
    });
}

/// Recipients that records of a kind tell of, and those records that do not hold what they must.
fn told(
    log: &[serde_json::Value],
    event: &str,
    holds: impl Fn(&serde_json::Value) -> bool,
) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for record in log.iter().filter(|record| record["event"] == event) {
        assert!(holds(record), "{record}");
        let recipients = record["recipients"].as_array().expect("a list");
        told.extend(recipients.iter().filter_map(|one| one.as_str().map(str::to_owned)));
    }
    told
}

/// While no name server answers, mail waits and is told so, by its own schedule; when one does, all of it goes at once, whatever was told.
#[test]
fn mail_waits_for_deaf_name_servers_and_is_told_so() {
    story(2, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let deaf = Rc::new(Cell::new(true));
        names(&world, &deaf, |host| host.starts_with("good").then_some([10, 0, 0, 2]));
        let relay = launch(&world, 2, "[retry]\nfirst = \"10m\"\nmax = \"10m\"\n");
        flood(&world, 4, |number| format!("good{number}.test"));
        let mut log = Vec::new();
        let mut run_for = |seconds| {
            (0..seconds).for_each(|_| {
                world.run_for(Duration::from_secs(1));
                log.extend(relay.log());
            });
            log.clone()
        };
        run_for(40);
        let deferred = relay.sum(|of| &of.recipients_deferred);
        assert!(deferred < 500, "{deferred} of the 4000 were told before they had waited for long");
        let log = run_for(80);
        let deferred = told(&log, "deferred", |record| {
            // A few are also looked up, to find out whether the servers answer.
            record["reply"].as_str().is_some_and(|words| words.starts_with("451 4.4.3 "))
                && record["enhanced"].as_str() == Some("4.4.3")
                && record["next"].as_str() > record["time"].as_str()
                && record["attempts"].as_u64().is_some_and(|made| made <= 2)
        });
        assert_eq!(deferred.len(), 4_000, "those that wait are told why");
        assert!(relay.sum(|of| &of.recipients_deferred) < 4_200, "once, by their own schedule");
        deaf.set(false);
        let all = run_until_true(&world, Duration::from_secs(60), || sink.received.borrow().len() >= 3_400);
        assert!(all, "{} of 4000 came at once", sink.received.borrow().len());
        let all = run_until_true(&world, Duration::from_secs(900), || sink.received.borrow().len() >= 4_000);
        assert!(all, "{} of 4000 came", sink.received.borrow().len());
        relay.drain();
    });
}

/// What nobody can look up is given up in time like all other mail, and its sender hears why.
#[test]
fn mail_for_deaf_name_servers_expires() {
    story(2, |seed| {
        let world = World::new(seed);
        names(&world, &Rc::new(Cell::new(true)), |_| None);
        let relay = launch(&world, 2, "[retry]\nfirst = \"2m\"\nmax = \"2m\"\nexpire = \"10m\"\n");
        flood(&world, 2, |number| format!("good{number}.test"));
        let mut log = Vec::new();
        let gone = run_until_true(&world, Duration::from_secs(700), || {
            world.run_for(Duration::from_secs(1));
            log.extend(relay.log());
            relay.sum(|of| &of.recipients_expired) >= 2_000
        });
        assert!(gone, "{} of 2000 were given up", relay.sum(|of| &of.recipients_expired));
        assert!(world.now() >= Instant(0) + Duration::from_secs(600), "not before their time");
        world.run_for(Duration::from_secs(20));
        log.extend(relay.log());
        let expired = told(&log, "expired", |record| {
            record["attempts"].as_u64().is_some_and(|made| (2..12).contains(&made))
                && record["enhanced"].as_str() == Some("4.4.7")
                && record["reply"].as_str().is_some_and(|words| words.contains("look"))
        });
        assert_eq!(expired.len(), 2_000);
        assert_eq!(relay.sum(|of| &of.bounces_made), 2_000, "senders hear of it");
        relay.drain();
    });
}
