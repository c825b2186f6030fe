//! A pool of sources over the simulated network: who connects from where, also after a kill, and where a source goes away and comes back.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::queue::select::Pattern;
use relevo::queue::suspension::Effect;
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use relevo::shaping::key::Key;
use relevo::shaping::value::Value;

use super::day::talk::Talk;
use super::floods::{launch, names};
use super::peers::hand_in_some;
use super::relay::{Relay, run_until_true, suspension};
use super::story;

pub const SOURCES: [&str; 3] = ["10.9.0.1", "10.9.0.2", "10.9.0.3"];

/// A hop that keeps a ledger: from which addresses each recipient was asked for, and taken.
#[derive(Default)]
pub struct Hop {
    pub asked: RefCell<BTreeMap<String, BTreeSet<IpAddr>>>,
    pub taken: RefCell<BTreeMap<String, Vec<IpAddr>>>,
    /// It takes nothing.
    pub puts_off: Cell<bool>,
}

impl Hop {
    pub fn start(world: &World) -> Rc<Hop> {
        Hop::start_at(world, "10.0.0.2:25")
    }

    fn start_at(world: &World, at: &str) -> Rc<Hop> {
        let hop = Rc::new(Hop::default());
        let runtime = world.shard(2, 0);
        let listener = runtime.listen(at.parse().expect("an address")).expect("a free address");
        let (own, serving) = (runtime.clone(), hop.clone());
        runtime.spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let talk = Talk::new(own.clone(), stream, Duration::from_secs(3600));
                let hop = serving.clone();
                own.spawn(async move {
                    let _ = hop.serve(talk, from.ip()).await;
                });
            }
        });
        hop
    }

    async fn serve(&self, mut talk: Talk, from: IpAddr) -> io::Result<()> {
        talk.send(b"220 hop.example\r\n").await?;
        let mut recipients = Vec::new();
        loop {
            let line = talk.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match &*verb {
                "EHLO" => talk.send(b"250-hop.example\r\n250 PIPELINING\r\n").await?,
                "MAIL" => {
                    recipients.clear();
                    talk.send(b"250 2.1.0 ok\r\n").await?;
                }
                "RCPT" => {
                    self.asked.borrow_mut().entry(line.clone()).or_default().insert(from);
                    let answer: &[u8] =
                        if self.puts_off.get() { b"451 4.3.0 not now\r\n" } else { b"250 2.1.5 ok\r\n" };
                    recipients.extend((!self.puts_off.get()).then_some(line));
                    talk.send(answer).await?;
                }
                "DATA" if recipients.is_empty() => talk.send(b"554 5.5.1 nobody\r\n").await?,
                "DATA" => {
                    talk.send(b"354 go on\r\n").await?;
                    talk.until_dot().await?;
                    for recipient in &recipients {
                        self.taken.borrow_mut().entry(recipient.clone()).or_default().push(from);
                    }
                    talk.send(b"250 2.0.0 taken\r\n").await?;
                }
                "QUIT" => return talk.send(b"221 2.0.0 bye\r\n").await,
                _ => talk.send(b"250 2.0.0 ok\r\n").await?,
            }
        }
    }

    pub fn by(&self) -> BTreeMap<IpAddr, usize> {
        let mut by = BTreeMap::new();
        for from in self.taken.borrow().values().flatten() {
            *by.entry(*from).or_insert(0) += 1;
        }
        by
    }
}

/// A pool of all sources, the first with half of the mail; all mail leaves by it.
pub fn configuration() -> String {
    let source = |(at, address)| format!("[[source]]\nname = \"ip{at}\"\naddress = \"{address}\"\n");
    let sources: String = SOURCES.iter().enumerate().map(source).collect();
    let pool = "[[pool]]\nname = \"bulk\"\nsources = [{ source = \"ip0\", weight = 2 }, \"ip1\", \"ip2\"]\n";
    let rule = "[[rule]]\nmatch = { sender = \"*\" }\nset = { pool = \"bulk\" }\n";
    format!("[retry]\nfirst = \"5s\"\nmax = \"20s\"\n{sources}{pool}{rule}")
}

pub fn hand_in(world: &World, clients: std::ops::Range<u16>) {
    for client in clients {
        hand_in_some(world, 100 + client, 0..1, (0..5).map(|to| format!("u{client}@d{to}.test")).collect());
    }
}

/// Mail that is put off, a kill, and mail that is taken: recipients that were asked for from more than one address.
pub fn strays(seed: u64, plant: Option<Defect>) -> Vec<String> {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world);
    hop.puts_off.set(true);
    let relay = launch(&world, 3, &configuration());
    hand_in(&world, 0..40);
    let all = run_until_true(&world, Duration::from_secs(60), || {
        hop.asked.borrow().len() == 200 && relay.sum(|of| &of.attempts_unsynced) == 0
    });
    assert!(all, "{} of 200 were asked for", hop.asked.borrow().len());
    world.run_for(Duration::from_secs(3));
    world.kill(1);
    drop(relay);
    hop.puts_off.set(false);
    let relay = launch(&world, 3, &configuration());
    let taken = run_until_true(&world, Duration::from_secs(120), || hop.taken.borrow().len() == 200);
    assert!(taken, "{} of 200 came", hop.taken.borrow().len());
    relay.drain();
    let by = hop.by();
    assert_eq!(by.len(), 3, "{by:?}");
    let asked = hop.asked.borrow();
    let strays = asked.iter().filter(|(_, from)| from.len() > 1);
    strays.map(|(line, from)| format!("{line} from {from:?}")).collect()
}

#[test]
fn a_retry_leaves_by_the_source_of_the_attempt_before() {
    story(3, |seed| {
        let strays = strays(seed, None);
        assert!(strays.is_empty(), "{strays:?}");
    });
}

#[test]
fn a_source_that_goes_away_leaves_its_mail_to_the_others() {
    story(3, |seed| {
        let world = World::new(seed);
        names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
        let hop = Hop::start(&world);
        let gone: IpAddr = SOURCES[0].parse().expect("an address");
        world.faults().absent.insert(gone);
        let relay = launch(&world, 3, &configuration());
        hand_in(&world, 0..40);
        let taken = run_until_true(&world, Duration::from_secs(60), || hop.taken.borrow().len() == 200);
        assert!(taken, "{} of 200 came", hop.taken.borrow().len());
        let by = hop.by();
        assert!(by.len() == 2 && !by.contains_key(&gone), "{by:?}");
        world.run_for(Duration::from_secs(2));
        assert_eq!(relay.sum(|of| &of.sources_suspended), 1);
        // All are gone: nothing leaves, by whatever address.
        world
            .faults()
            .absent
            .extend(SOURCES.iter().map(|source| source.parse::<IpAddr>().expect("an address")));
        world.run_for(Duration::from_secs(30));
        hand_in(&world, 40..60);
        world.run_for(Duration::from_secs(60));
        assert_eq!((hop.taken.borrow().len(), relay.sum(|of| &of.sources_suspended)), (200, 3));
        // They are found again within the time after which they are looked at.
        world.faults().absent.clear();
        let taken = run_until_true(&world, Duration::from_secs(600), || hop.taken.borrow().len() == 300);
        assert!(taken, "{} of 300 came", hop.taken.borrow().len());
        world.run_for(Duration::from_secs(600));
        assert_eq!(relay.sum(|of| &of.sources_suspended), 0);
        hand_in(&world, 60..120);
        assert!(run_until_true(&world, Duration::from_secs(60), || hop.taken.borrow().len() == 600));
        assert_eq!(hop.by().len(), 3, "{:?}", hop.by());
        assert!(hop.taken.borrow().values().all(|from| from.len() == 1), "once each");
        relay.drain();
    });
}

/// Another source sends in place of this one to the host of each domain.
fn stands_in(world: &World, relay: &Relay<'_>, pairs: &[(&str, &str)]) {
    let mut all = Vec::new();
    for (source, by) in pairs {
        for to in 0..5 {
            let effect = Effect::Set(Key::FallbackSource, Value::Source((*by).into()));
            let mut one = suspension(world, all.len() as u64 + 1, effect, "site=x 3600");
            one.scope.site = Some(Pattern::Whole(format!("{source} mx:1 mx.d{to}.test:25").into()));
            all.push(one);
        }
    }
    relay.suspend(all);
}

/// All mail is of one source. Half of it has come when another stands in for that for a while: how many then came by which.
fn by_the_fallback(seed: u64, plant: Option<Defect>) -> BTreeMap<IpAddr, usize> {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world);
    let relay = launch(&world, 3, &configuration().replace("pool = \"bulk\"", "pool = \"ip0\""));
    hand_in(&world, 0..20);
    assert!(run_until_true(&world, Duration::from_secs(60), || hop.taken.borrow().len() == 100));
    assert_eq!(hop.by().len(), 1, "{:?}", hop.by());
    hop.puts_off.set(true);
    hand_in(&world, 20..40);
    world.run_for(Duration::from_secs(3));
    hop.puts_off.set(false);
    stands_in(&world, &relay, &[("ip0", "ip1")]);
    hand_in(&world, 40..60);
    run_until_true(&world, Duration::from_secs(60), || hop.taken.borrow().len() == 300);
    let during = hop.by();
    // Control has it end.
    relay.suspend(Vec::new());
    world.run_for(Duration::from_secs(10));
    hand_in(&world, 60..80);
    assert!(run_until_true(&world, Duration::from_secs(60), || hop.taken.borrow().len() == 400));
    let after = hop.by();
    if plant.is_none() {
        assert_eq!(after[&SOURCES[0].parse().expect("an address")], 200, "it sends again: {after:?}");
        assert!(hop.taken.borrow().values().all(|from| from.len() == 1), "once each");
    }
    relay.drain();
    during
}

#[test]
fn the_fallback_of_a_source_sends_in_its_place() {
    story(3, |seed| {
        let by = by_the_fallback(seed, None);
        let of = |source: usize| by.get(&SOURCES[source].parse().expect("an address")).copied();
        assert_eq!([of(0), of(1), of(2)], [Some(100), Some(200), None]);
    });
}

/// What is put off is tried again, by then by the other; a circle of them sends nothing, and goes on when it is over.
#[test]
fn sources_that_stand_in_for_each_other_send_nothing() {
    story(2, |seed| {
        let world = World::new(seed);
        names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
        let hop = Hop::start(&world);
        let relay = launch(&world, 2, &configuration().replace("pool = \"bulk\"", "pool = \"ip0\""));
        stands_in(&world, &relay, &[("ip0", "ip1"), ("ip1", "ip0"), ("ip2", "nobody")]);
        hand_in(&world, 0..20);
        world.run_for(Duration::from_secs(50));
        assert_eq!(hop.taken.borrow().len(), 0);
        assert!(relay.sum(|of| &of.groups_moved) == 0, "nothing goes to and fro");
        relay.suspend(Vec::new());
        assert!(run_until_true(&world, Duration::from_secs(60), || hop.taken.borrow().len() == 100));
        relay.drain();
    });
}

/// The section of a source names who sends while it does not work.
#[test]
fn the_fallback_of_a_section_sends_while_its_source_does_not_work() {
    story(2, |seed| {
        let world = World::new(seed);
        names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
        let hop = Hop::start(&world);
        let (gone, other): (IpAddr, IpAddr) =
            (SOURCES[0].parse().expect("an address"), SOURCES[1].parse().expect("an address"));
        world.faults().absent.insert(gone);
        let shaping = "#: [default.sources.ip0]\n#: fallback_source = 'ip1'\n";
        let relay =
            launch(&world, 3, &(configuration().replace("pool = \"bulk\"", "pool = \"ip0\"") + shaping));
        hand_in(&world, 0..20);
        let taken = run_until_true(&world, Duration::from_secs(60), || hop.taken.borrow().len() == 100);
        assert!(taken, "{} of 100 came", hop.taken.borrow().len());
        hand_in(&world, 20..40);
        assert!(run_until_true(&world, Duration::from_secs(30), || hop.taken.borrow().len() == 200));
        assert_eq!(hop.by(), BTreeMap::from([(other, 200)]));
        world.faults().absent.clear();
        world.run_for(Duration::from_secs(1800));
        hand_in(&world, 40..60);
        assert!(run_until_true(&world, Duration::from_secs(30), || hop.taken.borrow().len() == 300));
        assert_eq!(hop.by(), BTreeMap::from([(gone, 100), (other, 200)]));
        relay.drain();
    });
}

/// What stands for a proxy and the hosts behind it: which of these is meant makes no difference here. While it is broken it takes connections, and
/// closes them or says nothing.
fn stand_for_proxy(world: &World, at: u8, (broken, closes): (Rc<Cell<bool>>, bool)) -> Rc<Hop> {
    let hop = Rc::new(Hop::default());
    let runtime = world.shard(2, 0);
    let at = format!("10.0.0.{at}:2525").parse().expect("an address");
    let listener = runtime.listen(at).expect("a free address");
    let (own, behind) = (runtime.clone(), hop.clone());
    runtime.spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let mut talk = Talk::new(own.clone(), stream, Duration::from_secs(3600));
            let (broken, hop) = (broken.get(), behind.clone());
            own.spawn(async move {
                // The header of the PROXY protocol.
                let mut passes = talk.skip(16 + 12).await.is_ok();
                while broken && passes {
                    passes = !closes && talk.skip(1).await.is_ok();
                }
                if passes {
                    let _ = hop.serve(talk, from.ip()).await;
                }
            });
        }
    });
    hop
}

/// All of it leaves by two proxies, of which one is broken: how much came in an hour.
fn by_a_broken_proxy(seed: u64, closes: bool, plant: Option<Defect>) -> usize {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let number = |host: &str| host.bytes().find(u8::is_ascii_digit).unwrap_or(b'0') - b'0';
    names(&world, &Rc::default(), move |host| Some([10, 0, 1, 1 + number(host)]));
    let broken = Rc::new(Cell::new(true));
    let hops = [(8, broken.clone()), (9, Rc::default())]
        .map(|(at, broken)| stand_for_proxy(&world, at, (broken, closes)));
    let through = |at| {
        let named = format!("name = \"ip{at}\"\naddress = \"10.9.0.{at}\"");
        format!("[[source]]\n{named}\nproxy = \"haproxy://10.0.0.{at}:2525\"\n")
    };
    let pool = "[[pool]]\nname = \"bulk\"\nsources = [\"ip8\", \"ip9\"]\n";
    let rule = "[[rule]]\nmatch = { sender = \"*\" }\nset = { pool = \"bulk\" }\n";
    let retry = "[retry]\nfirst = \"5s\"\nmax = \"20s\"\n";
    let relay = launch(&world, 2, &format!("{retry}{}{}{pool}{rule}", through(8), through(9)));
    hand_in(&world, 0..20);
    let taken = || hops.iter().map(|hop| hop.taken.borrow().len()).sum::<usize>();
    run_until_true(&world, Duration::from_secs(3600), || taken() == 100);
    let came = taken();
    if plant.is_none() {
        assert!(hops[0].taken.borrow().is_empty());
        // It is used again when it works.
        broken.set(false);
        world.run_for(Duration::from_secs(3600));
        hand_in(&world, 20..40);
        assert!(run_until_true(&world, Duration::from_secs(60), || taken() == 200), "{} came", taken());
        assert_eq!(relay.sum(|of| &of.sources_suspended), 0);
        assert!(!hops[0].taken.borrow().is_empty(), "it sends again");
    }
    relay.drain();
    came
}

#[test]
fn a_proxy_that_passes_nothing_on_leaves_its_mail_to_the_others() {
    story(2, |seed| {
        for closes in [true, false] {
            assert_eq!(by_a_broken_proxy(seed, closes, None), 100, "closes: {closes}");
        }
    });
}

/// Without the defect all of it comes.
pub fn silence_is_found(defect: Defect) {
    let came = by_a_broken_proxy(1, true, Some(defect));
    assert!(came < 100, "what is planted is not noticed: {came} came");
}

/// Without the defect all of it comes.
pub fn fallback_is_found(defect: Defect) {
    let by = by_the_fallback(1, Some(defect));
    assert!(by.values().sum::<usize>() < 300, "what is planted is not noticed: {by:?}");
}

/// Without the defect each recipient is asked for from one address.
pub fn is_found(defect: Defect) {
    assert!(
        !strays(1, Some(defect)).is_empty(),
        "mail stays with its source, and what is planted is not noticed"
    );
}

/// A machine without a way out by IPv6: that is found out once, and not at each host. When there is one it is seen, too.
#[test]
fn a_family_without_a_way_is_tried_last() {
    story(2, |seed| {
        let world = World::new(seed);
        world.faults().no_ipv6 = Some(0);
        let hop = Hop::start(&world);
        let route = |number: usize| {
            let to = |host: &str, order: u8| format!("{{ to = \"smtp://{host}:25\", order = {order} }}");
            let hosts = format!("[{}, {}]", to(&format!("[2001:db8::{number}]"), 1), to("10.0.0.2", 2));
            format!("[[route]]\ndomain = \"d{number}.test\"\nto = {hosts}\n")
        };
        let relay = launch(&world, 1, &(1..=40).map(route).collect::<String>());
        let send = |client: u16, domains: std::ops::RangeInclusive<usize>| {
            let before = hop.taken.borrow().len();
            let count = domains.clone().count();
            hand_in_some(&world, client, 0..1, domains.map(|number| format!("u@d{number}.test")).collect());
            let taken = || hop.taken.borrow().len() == before + count;
            assert!(
                run_until_true(&world, Duration::from_secs(30), taken),
                "{} taken",
                hop.taken.borrow().len()
            );
        };
        send(100, 1..=1);
        assert_eq!(world.faults().no_ipv6, Some(1));
        send(101, 2..=20);
        assert_eq!(world.faults().no_ipv6, Some(1), "no other host was asked there");
        // Ten minutes later one is, again.
        world.run_for(Duration::from_secs(610));
        send(102, 21..=21);
        send(103, 22..=40);
        assert_eq!(world.faults().no_ipv6, Some(2));
        relay.drain();
    });
}

/// A source with one of its two addresses sends by that, and is not suspended time and again.
#[test]
fn a_source_without_one_of_its_addresses_sends_by_the_other() {
    story(2, |seed| {
        let world = World::new(seed);
        let (four, six): (IpAddr, IpAddr) =
            ("10.9.0.1".parse().expect("one"), "2001:db8::91".parse().expect("one"));
        world.faults().absent.insert(six);
        let (first, second) = (Hop::start_at(&world, "[2001:db8::2]:25"), Hop::start(&world));
        let route = |domain: &str, hosts: &str| format!("[[route]]\ndomain = \"{domain}\"\nto = [{hosts}]\n");
        let to = |host: &str, order: u8| format!("{{ to = \"smtp://{host}:25\", order = {order} }}");
        let (of_six, of_four) = (to("[2001:db8::2]", 1), to("10.0.0.2", 2));
        let routes = route("both.test", &format!("{of_six}, {of_four}"))
            + &route("four.test", &of_four)
            + &route("six.test", &of_six);
        let source = format!("[[source]]\nname = \"ip1\"\naddress = \"{four}\"\naddress6 = \"{six}\"\n");
        let rule = "[[rule]]\nmatch = { sender = \"*\" }\nset = { pool = \"ip1\" }\n";
        let relay =
            launch(&world, 2, &format!("[retry]\nfirst = \"5s\"\nmax = \"20s\"\n{source}{rule}{routes}"));
        for minute in 0..10 {
            let to = ["both.test", "four.test", "six.test"].map(|domain| format!("u{minute}@{domain}"));
            hand_in_some(&world, 100 + minute, 0..1, to.to_vec());
            for _ in 0..60 {
                world.run_for(Duration::from_secs(1));
                assert_eq!(relay.sum(|of| &of.sources_suspended), 0);
            }
        }
        assert_eq!((first.taken.borrow().len(), second.by()), (0, BTreeMap::from([(four, 20)])));
        // It comes, and the other goes.
        world.faults().absent = BTreeSet::from([four]);
        let all = run_until_true(&world, Duration::from_secs(1200), || first.taken.borrow().len() == 10);
        assert!(all, "{} of 10 came", first.taken.borrow().len());
        hand_in_some(&world, 200, 0..1, vec!["u@both.test".to_owned(), "u@six.test".to_owned()]);
        world.run_for(Duration::from_secs(60));
        assert_eq!((first.by(), relay.sum(|of| &of.sources_suspended)), (BTreeMap::from([(six, 12)]), 0));
        // Without any it is suspended; by then no connection is open.
        world.run_for(Duration::from_secs(1200));
        world.faults().absent = BTreeSet::from([four, six]);
        hand_in_some(&world, 201, 0..1, vec!["u@four.test".to_owned(), "v@six.test".to_owned()]);
        world.run_for(Duration::from_secs(600));
        assert_eq!((second.taken.borrow().len(), relay.sum(|of| &of.sources_suspended)), (20, 1));
        relay.drain();
    });
}

/// That there is no way to one address says nothing of the others of its family: whoever published it would move the mail of all.
#[test]
fn an_address_without_a_way_moves_no_other() {
    story(2, |seed| {
        let world = World::new(seed);
        let nowhere: IpAddr = "2001:db8::bad".parse().expect("an address");
        world.faults().absent.insert(nowhere);
        let (first, second) = (Hop::start_at(&world, "[2001:db8::2]:25"), Hop::start(&world));
        let route = |domain: &str, first: &str| {
            let to = |host: &str, order: u8| format!("{{ to = \"smtp://{host}:25\", order = {order} }}");
            let hosts = format!("[{}, {}]", to(first, 1), to("10.0.0.2", 2));
            format!("[[route]]\ndomain = \"{domain}\"\nto = {hosts}\n")
        };
        let routes = route("bad.test", &format!("[{nowhere}]")) + &route("good.test", "[2001:db8::2]");
        let relay = launch(&world, 1, &routes);
        for (client, domain, hop) in [(100, "bad.test", &second), (101, "good.test", &first)] {
            hand_in_some(&world, client, 0..1, vec![format!("u@{domain}")]);
            let taken = || hop.taken.borrow().len() == 1;
            assert!(run_until_true(&world, Duration::from_secs(30), taken), "{domain}");
        }
        relay.drain();
    });
}

/// A rule acts, and control is not heard of: the site is held for a moment, and goes on by itself, whether or not anything comes for it. The
/// connection that waits meanwhile is open.
#[test]
fn a_site_that_was_held_goes_on_by_itself() {
    story(8, |seed| {
        let world = World::new(seed);
        names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
        let hop = Hop::start(&world);
        let rule = "[retry]\nfirst = \"1h\"\n#: [[default.automation]]\n#: regex = 'not now'\n#: action = 'Suspend'\n#: duration = '1h'\n";
        let relay = launch(&world, 1, rule);
        hop.puts_off.set(true);
        hand_in_some(&world, 100, 0..1, vec!["u@d0.test".to_owned()]);
        let asked = run_until_true(&world, Duration::from_secs(10), || !hop.asked.borrow().is_empty());
        assert!(asked);
        hop.puts_off.set(false);
        world.run_for(Duration::from_millis(50));
        hand_in_some(&world, 101, 0..1, vec!["v@d0.test".to_owned()]);
        world.run_for(Duration::from_millis(1500));
        assert!(hop.taken.borrow().is_empty(), "it is held");
        world.run_for(Duration::from_millis(1000));
        assert_eq!(hop.taken.borrow().len(), 1, "nobody came");
        drop(relay);
    });
}
