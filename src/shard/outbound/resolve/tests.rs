//! A resolver that asks simulated name servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::config::Config;
use crate::route::gate::NamedBy;
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::live::{Contents, LiveConfig};

/// Questions for AAAA that came, and whether they are answered.
type AaaaQuestions = Rc<(Cell<usize>, Cell<bool>)>;

/// A resolver; every name but `none*` has one IPv4 address, none has others.
fn resolver(world: &World) -> (Rc<Resolver<SimRuntime>>, AaaaQuestions) {
    let text = "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\nshards = 1\n\
                [dns]\nservers = [\"10.0.9.53\"]\n[delivery]\nprivate_networks = \"allow\"\n";
    let settings = Arc::new(Config::parse(text, Path::new("test")).expect("a valid configuration"));
    let asked = AaaaQuestions::default();
    let told = asked.clone();
    world.serve_datagrams("10.0.9.53:53".parse().expect("an address"), move |question| {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_query(query.clone());
        if query.query_type == RecordType::AAAA {
            told.0.set(told.0.get() + 1);
            if !told.1.get() {
                return None;
            }
        }
        if query.query_type == RecordType::A && !query.name.to_ascii().starts_with("none") {
            answer.add_answer(Record::from_rdata(query.name, 600, RData::A(A([10, 0, 0, 2].into()))));
        } else {
            let (zone, root) = (query.name, Name::root());
            let data = RData::SOA(SOA::new(root.clone(), root, 1, 600, 600, 600, 600));
            answer.add_authority(Record::from_rdata(zone, 600, data));
        }
        answer.to_vec().ok()
    });
    let (runtime, timers) = (world.shard(1, 0), Timers::new());
    runtime.spawn_vital("timers", timers.clone().run(runtime.clone()));
    let live = InForce::new(Arc::new(LiveConfig::new(settings.clone(), Contents::default(), 1)));
    (Rc::new(Resolver::new(runtime, timers, live, (&settings.node.hostname, 1 << 20))), asked)
}

fn host(name: &str) -> Host {
    let name = name.to_owned();
    Host {
        name,
        at: HostAddress::Name,
        port: 25,
        named_by: NamedBy::Stranger,
        rank: 10,
        weight: 0,
        tls_first: false,
    }
}

/// Of those who wait for a question when its asker gives up one asks, and not each for a moment.
#[test]
fn who_gives_up_leaves_the_question_to_one_who_waits() {
    const WAIT: usize = 60;
    for seed in 1..5 {
        let world = World::new(seed);
        let (resolver, asked) = resolver(&world);
        let runtime = world.shard(1, 1);
        let found = Rc::new(Cell::new(0));
        for number in 0..WAIT as u64 {
            let (resolver, runtime, found) = (resolver.clone(), runtime.clone(), found.clone());
            runtime.clone().spawn(async move {
                runtime.sleep_until(runtime.now() + Duration::from_millis(10 * number)).await;
                let addresses = resolver.addresses(&host("mx.example")).await.expect("it has one");
                found.set(found.get() + addresses.len());
            });
        }
        world.run_for(Duration::from_secs(3));
        assert_eq!((found.get(), world.panics(1)), (WAIT, 0));
        assert!(asked.0.get() <= 3, "{} were asked", asked.0.get());
    }
}

/// Whoever waits longer than the asker has the answer in the end, also behind others who gave up.
#[test]
fn who_has_more_patience_is_not_forgotten() {
    for seed in 1..5 {
        let world = World::new(seed);
        let (resolver, asked) = resolver(&world);
        let runtime = world.shard(1, 1);
        let heard = Rc::new(Cell::new(0));
        for (begins, patience) in [(0, 500), (100, 9_000), (200, 300), (300, 200), (400, 300)] {
            let (resolver, runtime, heard) = (resolver.clone(), runtime.clone(), heard.clone());
            runtime.clone().spawn(async move {
                runtime.sleep_until(runtime.now() + Duration::from_millis(begins)).await;
                let until = runtime.now() + Duration::from_millis(patience);
                let found = resolver.until(until, resolver.lookup(QueryType::Aaaa, "mx.example")).await;
                heard.set(heard.get() + usize::from(found.is_some_and(|found| found.answer.is_ok())));
            });
        }
        world.run_for(Duration::from_millis(650));
        asked.1.set(true);
        world.run_for(Duration::from_millis(1_000));
        assert_eq!((heard.get(), world.panics(1)), (1, 0), "seed {seed}");
    }
}

/// A host that has no IPv4 address, and whose name servers keep silent about others, holds one connection up and not each.
#[test]
fn a_host_about_which_nobody_says_all_is_waited_for_once() {
    let world = World::new(1);
    let (resolver, _) = resolver(&world);
    let hosts = [host("first.example"), host("none.example")];
    let lasts = || {
        let begun = world.now();
        assert_eq!(world.block_on(resolver.leads_back(&hosts)), None);
        world.now().since(begun)
    };
    assert!(lasts() >= limits::EQUALS_PATIENCE);
    assert!(lasts() < Duration::from_secs(1));
}

/// They are part of the task that resolves or connects, and are copied when it is made: what is seldom done is not to make all others dear.
#[test]
fn futures_are_small() {
    let world = World::new(1);
    let (resolver, _) = resolver(&world);
    let (host, hosts) = (host("mx.example"), [host("mx.example")]);
    let sizes = [
        size_of_val(&resolver.lookup(QueryType::A, "mx.example")),
        size_of_val(&resolver.addresses(&host)),
        size_of_val(&resolver.leads_back(&hosts)),
        size_of_val(&resolver.next_hop("a.example", TlsWish::Usual)),
    ];
    assert!(sizes.iter().all(|size| *size < 3000), "{sizes:?}");
}

/// An answer in use is asked for again before it ends, once; whatever comes of that, what is known holds until it ends.
#[test]
fn an_answer_in_use_does_not_end() {
    let world = World::new(1);
    let (resolver, asked) = resolver(&world);
    asked.1.set(true);
    let look = || world.block_on(resolver.lookup(QueryType::Aaaa, "mx.example"));
    let renew = || {
        let due = resolver.due();
        let count = due.len();
        due.into_iter().for_each(|due| world.block_on(resolver.renew(due)));
        count
    };
    look();
    for _ in 0..5 {
        look();
        assert_eq!(renew(), 0);
    }
    assert_eq!(asked.0.get(), 1, "it holds for long");
    world.run_for(Duration::from_secs(550));
    look();
    look();
    assert_eq!(renew(), 1);
    assert_eq!(asked.0.get(), 2);
    world.run_for(Duration::from_secs(300));
    look();
    assert_eq!(asked.0.get(), 2, "nobody waited");
    // The next one fails.
    asked.1.set(false);
    world.run_for(Duration::from_secs(245));
    look();
    assert_eq!(renew(), 1);
    assert!(asked.0.get() > 2 && look().answer.is_ok() && resolver.due().is_empty());
    world.run_for(Duration::from_secs(60));
    assert!(look().answer.is_err());
}
