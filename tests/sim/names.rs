//! Names that change, name servers that differ, and answers that come late.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, MX};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use relevo::dns::latest::ResolverFiles;
use relevo::runtime::sim::World;

use super::peers::{Sink, hand_in};
use super::relay::{Launch, Relay, run_until_true};
use super::story;
use relevo::shard::mesh::MeshLimits;

const FIRST: &str = "10.0.9.53:53";
const SECOND: &str = "10.0.9.54:53";

/// What a name server says: records; or that there is no such name; or nothing.
enum Says {
    Records(Vec<RData>),
    NoName,
    Failure,
    Silence,
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).expect("a name")
}

fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, name(host)))
}

fn address(octets: [u8; 4]) -> RData {
    RData::A(A(octets.into()))
}

/// A name server; answers hold for a minute. Counts its questions.
fn serve(
    world: &World,
    at: &str,
    says: impl Fn(&str, RecordType, bool) -> Says + 'static,
) -> Rc<Cell<usize>> {
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    world.serve_datagrams(at.parse().expect("an address"), move |question| {
        count.set(count.get() + 1);
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let text = query.name.to_ascii().trim_end_matches('.').to_owned();
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_query(query.clone());
        match says(&text, query.query_type, question.edns.is_some()) {
            Says::Silence => return None,
            Says::Failure => answer.metadata.response_code = ResponseCode::ServFail,
            Says::NoName => answer.metadata.response_code = ResponseCode::NXDomain,
            Says::Records(all) => {
                for data in all.into_iter().filter(|data| data.record_type() == query.query_type) {
                    answer.add_answer(Record::from_rdata(query.name.clone(), 60, data));
                }
            }
        }
        answer.to_vec().ok()
    });
    asked
}

/// Every domain under `test` has one host, at this address.
fn plain(text: &str, octets: [u8; 4]) -> Says {
    match text {
        _ if text.starts_with("mx.") => Says::Records(vec![address(octets)]),
        _ if text.ends_with(".test") => Says::Records(vec![mx(10, &format!("mx.{text}"))]),
        _ => Says::NoName,
    }
}

/// A relay that asks both.
fn start<'a>(world: &'a World, delivery: &str) -> Relay<'a> {
    let configuration = &format!(
        "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
         [[listener]]\naddress = \"10.0.0.1:25\"\nrelay_from = [\"10.0.0.0/8\"]\n\
         [dns]\nservers = [\"10.0.9.53\", \"10.0.9.54\"]\n\
         [[route]]\ndomain = \"origin.example\"\nto = \"smtp://10.0.0.9:25\"\n\
         [delivery]\nprivate_networks = \"allow\"\nstarttls = false\n{delivery}\n\
         [spool]\nsegment_size = \"4MiB\"\n"
    );
    let (shards, room) = (1, MeshLimits::of(1));
    Relay::launch(world, &Launch { node: 1, shards, lanes: shards, room, configuration }).expect("it starts")
}

/// How long a message to this domain took to come.
fn took(world: &World, sink: &Sink, number: usize, domain: &str) -> Duration {
    let (begun, before) = (world.now(), sink.received.borrow().len());
    hand_in(world, 50, number, vec![format!("u@{domain}")]);
    assert!(
        run_until_true(world, Duration::from_secs(60), || sink.received.borrow().len() > before),
        "no mail for {domain}"
    );
    world.now().since(begun)
}

/// resolv.conf(5): the second is asked if the first gives no answer; what it knows less of is no matter then.
#[test]
fn the_first_name_server_has_the_last_word() {
    story(3, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        serve(&world, FIRST, |text, _, _| plain(text, [10, 0, 0, 2]));
        let asked = serve(&world, SECOND, |_, _, _| Says::NoName);
        let relay = start(&world, "");
        for number in 0..20 {
            took(&world, &sink, number, &format!("d{number}.test"));
        }
        assert_eq!((relay.sum(|of| &of.recipients_bounced), asked.get()), (0, 0));
    });
}

#[test]
fn another_name_server_is_asked_where_the_first_fails_or_is_silent() {
    story(3, |seed| {
        for failure in [true, false] {
            let world = World::new(seed);
            let sink = Sink::start(&world, "10.0.0.2:25");
            let hears = Rc::new(Cell::new(false));
            let own = hears.clone();
            let first = serve(&world, FIRST, move |text, _, _| match (own.get(), failure) {
                (true, _) => plain(text, [10, 0, 0, 2]),
                (false, true) => Says::Failure,
                (false, false) => Says::Silence,
            });
            let second = serve(&world, SECOND, |text, _, _| plain(text, [10, 0, 0, 2]));
            let relay = start(&world, "");
            took(&world, &sink, 0, "d0.test");
            world.run_for(Duration::from_secs(5));
            // It is known by now which one is silent: nobody waits for it.
            for number in 1..10 {
                let took = took(&world, &sink, number, &format!("d{number}.test"));
                assert!(took < Duration::from_secs(1), "{took:?}");
            }
            hears.set(true);
            world.run_for(Duration::from_secs(40));
            let before = (first.get(), second.get());
            took(&world, &sink, 10, "d10.test");
            assert!(first.get() > before.0, "it is asked again when it hears again");
            assert_eq!(second.get(), before.1);
            assert_eq!(relay.sum(|of| &of.recipients_bounced), 0);
        }
    });
}

/// RFC 5321 5.1: what is preferred as much as this relay, or less, is discarded, however it is found out which host that is.
#[test]
fn hosts_preferred_as_much_as_this_relay_get_no_mail() {
    story(8, |seed| {
        let world = World::new(seed);
        let sinks = ["10.0.0.2:25", "10.0.0.3:25"].map(|at| Sink::start(&world, at));
        serve(&world, FIRST, |text, _, _| {
            Says::Records(match text {
                "equal.test" => vec![mx(10, "ours.test"), mx(10, "other.test")],
                "first.test" => vec![mx(0, "ours.test"), mx(0, "other.test"), mx(10, "third.test")],
                "both.test" => vec![mx(10, "both.other.test")],
                "second.test" => vec![mx(5, "other.test"), mx(10, "ours.test"), mx(10, "third.test")],
                "down.test" => vec![mx(5, "nobody.test"), mx(10, "third.test"), mx(10, "ours.test")],
                "behind.test" => vec![mx(5, "nobody.test"), mx(10, "ours.test"), mx(20, "third.test")],
                "ours.test" => vec![address([10, 0, 0, 1])],
                "both.other.test" => vec![address([10, 0, 0, 2]), address([10, 0, 0, 1])],
                "other.test" => vec![address([10, 0, 0, 2])],
                "third.test" => vec![address([10, 0, 0, 3])],
                "nobody.test" => vec![address([10, 0, 0, 77])],
                _ => vec![],
            })
        });
        let relay = start(&world, "");
        let to = |domain: &str| vec![format!("u@{domain}.test")];
        for (number, domain) in ["equal", "first", "both", "down", "behind", "second"].into_iter().enumerate()
        {
            hand_in(&world, 50 + number as u16, number, to(domain));
        }
        world.run_for(Duration::from_secs(120));
        assert_eq!(sinks[0].received.borrow()[..], ["0-5-1-14"], "to the host preferred to us alone");
        assert!(sinks[1].received.borrow().is_empty(), "{:?}", sinks[1].received.borrow());
        assert_eq!(relay.sum(|of| &of.recipients_bounced), 3);
        assert_eq!(relay.sum(|of| &of.queued_recipients), 5, "two of them wait, and three notifications");
    });
}

/// Name servers that never answer for IPv6 addresses are not waited for where there are others.
#[test]
fn no_answer_for_ipv6_holds_up_nobody() {
    story(3, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        serve(&world, FIRST, |text, kind, _| match kind {
            RecordType::AAAA => Says::Silence,
            _ => plain(text, [10, 0, 0, 2]),
        });
        serve(&world, SECOND, |_, _, _| Says::Silence);
        let _relay = start(&world, "");
        for number in 0..10 {
            let took = took(&world, &sink, number, &format!("d{number}.test"));
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
        world.run_for(Duration::from_secs(30));
        let took = took(&world, &sink, 10, "d0.test");
        assert!(took < Duration::from_millis(500), "{took:?}");
    });
}

/// Another address of the same host, and another host, are found while mail comes all the time and connections are kept.
#[test]
fn names_that_change_are_noticed_while_mail_comes_all_the_time() {
    story(3, |seed| {
        let world = World::new(seed);
        let sinks = ["10.0.0.2:25", "10.0.0.3:25"].map(|at| Sink::start(&world, at));
        let moved = Rc::new(Cell::new(false));
        let own = moved.clone();
        serve(&world, FIRST, move |text, _, _| {
            let last = if own.get() { 3 } else { 2 };
            plain(text, [10, 0, 0, last])
        });
        let _relay = start(&world, "");
        let feed = |numbers: std::ops::Range<usize>| {
            for number in numbers {
                hand_in(&world, 1_000 + number as u16, number, vec!["u@d.test".to_owned()]);
                world.run_for(Duration::from_secs(2));
            }
        };
        feed(0..10);
        assert_eq!(sinks[0].received.borrow().len(), 10);
        moved.set(true);
        // The TTL of a minute, and the longest that a connection is kept.
        feed(10..200);
        let before = sinks[0].received.borrow().len();
        assert!((30..195).contains(&before), "{before}");
        feed(200..210);
        assert_eq!(
            (sinks[0].received.borrow().len(), sinks[1].received.borrow().len()),
            (before, 210 - before)
        );
    });
}

#[test]
fn name_servers_that_drop_edns_are_asked_without() {
    story(3, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        for server in [FIRST, SECOND] {
            serve(
                &world,
                server,
                |text, _, edns| if edns { Says::Silence } else { plain(text, [10, 0, 0, 2]) },
            );
        }
        let _relay = start(&world, "");
        took(&world, &sink, 0, "d.test");
    });
}

/// A network that moves has other name servers: resolv.conf is read again.
#[test]
fn other_name_servers_are_asked_when_the_machine_has_others() {
    story(2, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        for server in [FIRST, SECOND] {
            serve(&world, server, |_, _, _| Says::Silence);
        }
        serve(&world, "10.0.9.55:53", |text, _, _| plain(text, [10, 0, 0, 2]));
        let relay = start(&world, "");
        hand_in(&world, 50, 0, vec!["u@d.test".to_owned()]);
        world.run_for(Duration::from_secs(60));
        assert!(sink.received.borrow().is_empty());
        let servers = vec!["10.0.9.55:53".parse().expect("an address")];
        relay.latest.publish(ResolverFiles { servers, ..ResolverFiles::default() });
        took(&world, &sink, 1, "e.test");
        assert!(run_until_true(&world, Duration::from_secs(300), || sink.received.borrow().len() == 2));
    });
}

/// What other name servers said, those of another network above all, says nothing of the names that these know.
#[test]
fn what_other_name_servers_said_is_forgotten() {
    story(3, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let late = Rc::new(Cell::new(false));
        let own = late.clone();
        serve(&world, FIRST, move |text, _, _| {
            if own.get() && text.ends_with("e.test") { Says::Silence } else { Says::NoName }
        });
        serve(&world, SECOND, |_, _, _| Says::NoName);
        serve(&world, "10.0.9.55:53", |text, _, _| plain(text, [10, 0, 0, 2]));
        let relay = start(&world, "");
        hand_in(&world, 50, 0, vec!["u@d.test".to_owned()]);
        assert!(
            run_until_true(&world, Duration::from_secs(5), || relay.sum(|of| &of.recipients_bounced) == 1)
        );
        // Two that still wait for an answer when the servers change; what comes then is that of the old ones.
        late.set(true);
        hand_in(&world, 60, 1, vec!["u@e.test".to_owned()]);
        hand_in(&world, 61, 2, vec!["v@e.test".to_owned()]);
        world.run_for(Duration::from_millis(500));
        let servers = vec!["10.0.9.55:53".parse().expect("an address")];
        relay.latest.publish(ResolverFiles { servers, ..ResolverFiles::default() });
        world.run_for(Duration::from_millis(1_500));
        let took = took(&world, &sink, 3, "d.test");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(run_until_true(&world, Duration::from_secs(30), || sink.received.borrow().len() == 3));
        assert_eq!(relay.sum(|of| &of.recipients_bounced), 1, "what the old ones said late returned nothing");
    });
}

/// A host that is looked for only to see whether it is this relay is not waited for by those; who has no other host waits for it.
#[test]
fn whoever_needs_a_slow_answer_waits_for_it() {
    story(8, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let says = |text: &str| match text {
            "slow.test" | "other.test" => Says::Records(vec![address([10, 0, 0, 2])]),
            "only.test" => Says::Records(vec![mx(10, "slow.test")]),
            _ => Says::Records(vec![mx(10, "other.test"), mx(10, "slow.test")]),
        };
        // The first never answers for that host, so that the second is asked for it long after.
        serve(&world, FIRST, move |text, _, _| if text == "slow.test" { Says::Silence } else { says(text) });
        serve(&world, SECOND, move |text, _, _| says(text));
        let relay = start(&world, "");
        for number in 0..8 {
            hand_in(&world, 50 + number, number.into(), vec![format!("u@equal{number}.test")]);
        }
        world.run_for(Duration::from_millis(100));
        hand_in(&world, 70, 8, vec!["u@only.test".to_owned()]);
        assert!(run_until_true(&world, Duration::from_secs(20), || sink.received.borrow().len() == 9));
        assert_eq!(relay.sum(|of| &of.recipients_deferred), 0);
    });
}

/// What mail goes on to is asked for again before it ends: name servers that are silent when it would have ended hold nobody up.
#[test]
fn a_busy_domain_does_not_wait_for_the_dns() {
    story(3, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let hears = Rc::new(Cell::new(true));
        let asked = [FIRST, SECOND].map(|at| {
            let hears = hears.clone();
            serve(&world, at, move |text, _, _| match hears.get() {
                true => plain(text, [10, 0, 0, 2]),
                false => Says::Silence,
            })
        });
        let _relay = start(&world, "");
        let begun = world.now();
        for number in 0..11 {
            let at = begun + Duration::from_secs(7 * number as u64);
            world.run_for(at.since(world.now()));
            // Answers hold for a minute.
            hears.set(number < 9);
            let took = took(&world, &sink, number, "busy.test");
            // For an address of IPv6 a second is waited, as that there is none holds for a moment only.
            assert!(took < Duration::from_millis(1_500), "message {number} took {took:?}");
        }
        // MX and A, each once more. There is no IPv6 address, which holds for a moment.
        let all: usize = asked.iter().map(|asked| asked.get()).sum();
        assert!(all <= 40, "{all} questions");
    });
}
