//! Tenants at a site that takes less than they have: who gets how much of it, and who goes first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Defect, Runtime};
use relevo::time::Instant;

use super::day::talk::Talk;
use super::floods::{launch, names};
use super::peers::hand_in_some;
use super::relay::run_until_true;
use super::story;

/// A hop that takes its time over each message, and notes in which order they come.
#[derive(Default)]
pub struct Hop {
    pub came: RefCell<Vec<(String, Instant)>>,
    pub takes: Cell<Duration>,
}

impl Hop {
    pub fn start(world: &World) -> Rc<Hop> {
        let hop = Rc::new(Hop::default());
        let runtime = world.shard(2, 0);
        let listener = runtime.listen("10.0.0.2:25".parse().expect("an address")).expect("a free address");
        hop.takes.set(Duration::from_millis(100));
        let (own, serving) = (runtime.clone(), hop.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let talk = Talk::new(own.clone(), stream, Duration::from_secs(3600));
                let (hop, runtime) = (serving.clone(), own.clone());
                own.spawn(async move {
                    let _ = hop.serve(talk, runtime).await;
                });
            }
        });
        hop
    }

    async fn serve(&self, mut talk: Talk, runtime: SimRuntime) -> io::Result<()> {
        talk.send(b"220 hop.example\r\n").await?;
        loop {
            let line = talk.line().await?;
            match &*line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase() {
                "EHLO" => talk.send(b"250-hop.example\r\n250 PIPELINING\r\n").await?,
                "RCPT" => {
                    let tenant = line.split(['@', '.']).nth(1).unwrap_or_default();
                    self.came.borrow_mut().push((tenant.to_owned(), runtime.now()));
                    talk.send(b"250 2.1.5 ok\r\n").await?;
                }
                "DATA" => {
                    talk.send(b"354 go on\r\n").await?;
                    talk.until_dot().await?;
                    talk.pause(self.takes.get()).await;
                    talk.send(b"250 2.0.0 taken\r\n").await?;
                }
                "QUIT" => return talk.send(b"221 2.0.0 bye\r\n").await,
                _ => talk.send(b"250 2.0.0 ok\r\n").await?,
            }
        }
    }
}

/// Mail of all domains below `big.test` for one site; who sends it is told by their first label.
fn configuration() -> String {
    let mut text = "[[route]]\ndomain = \"*.big.test\"\nto = \"smtp://mx.big.test\"\n\
                    [[tenant]]\nname = \"three\"\nweight = 3\n"
        .to_owned();
    for (domain, set) in [
        ("one", "tenant = \"one\""),
        ("may", "tenant = \"three\", campaign = \"may\""),
        ("june", "tenant = \"three\", campaign = \"june\""),
        ("july", "tenant = \"three\", campaign = \"july\""),
        ("high", "tenant = \"one\", priority = \"high\""),
        ("low", "tenant = \"three\", priority = \"low\""),
    ] {
        text += &format!("[[rule]]\nmatch = {{ recipient = \"*.{domain}.big.test\" }}\nset = {{ {set} }}\n");
    }
    text + "#: ['mx.big.test']\n#: connection_limit = 4\n"
}

/// Messages of each, as they come to the hop.
const ALL: [(&str, usize); 6] =
    [("one", 260), ("may", 160), ("june", 160), ("july", 160), ("high", 40), ("low", 30)];

/// Which tenant's and campaign's messages the hop was given, in this order.
fn order(seed: u64, plant: Option<Defect>) -> Vec<String> {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world);
    let relay = launch(&world, 1, &configuration());
    let mut client = 100;
    for (name, messages) in ALL.into_iter().filter(|(name, _)| *name != "high") {
        for number in 0..10 {
            hand_in_some(
                &world,
                client,
                0..messages / 10,
                vec![format!("u@{name}.d{number}.{name}.big.test")],
            );
            client += 1;
        }
    }
    let came =
        |many: usize| run_until_true(&world, Duration::from_secs(120), || hop.came.borrow().len() >= many);
    assert!(came(400), "{} came", hop.came.borrow().len());
    for number in 0..10 {
        hand_in_some(&world, client + number, 0..4, vec![format!("u@high.d{number}.high.big.test")]);
    }
    let all = ALL.iter().map(|(_, messages)| messages).sum();
    assert!(came(all), "{} of {all} came", hop.came.borrow().len());
    relay.drain();
    hop.came.take().into_iter().map(|(name, _)| name).collect()
}

fn counted(order: &[String]) -> BTreeMap<&str, usize> {
    let mut by = BTreeMap::new();
    for name in order {
        *by.entry(&**name).or_insert(0) += 1;
    }
    by
}

/// What is amiss with the order.
fn faults(order: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    // All of it waits by then, and none of them has come to the end.
    let by = counted(&order[100..400]);
    let of = |name: &str| by.get(name).copied().unwrap_or_default();
    let low = of("low");
    if !(15..=22).contains(&low) {
        faults.push(format!("low has {low} of 300 messages, and a 16th is its own"));
    }
    let normal = 300 - low;
    for (name, part) in [("one", 4), ("may", 4), ("june", 4), ("july", 4)] {
        let share = of(name) as f64 * f64::from(part) / normal as f64;
        if !(0.95..=1.05).contains(&share) {
            faults.push(format!("{name} has {share:.2} of its part: {by:?}"));
        }
    }
    let high: Vec<usize> = (0..order.len()).filter(|place| order[*place] == "high").collect();
    let span = high[high.len() - 1] - high[0];
    if span > 60 {
        faults.push(format!("40 urgent messages went among {span}"));
    }
    faults
}

pub fn is_found(defect: Defect) {
    let faults = faults(&order(1, Some(defect)));
    assert!(!faults.is_empty(), "all have their parts, and what is planted is not noticed");
}

#[test]
fn tenants_have_their_parts_of_a_site_and_what_is_urgent_goes_first() {
    story(2, |seed| {
        let order = order(seed, None);
        println!("{:?}", counted(&order[100..400]));
        let faults = faults(&order);
        assert!(faults.is_empty(), "{faults:?}");
    });
}

/// Over all shards and sites together; what others send is not held up, also where all of it is for one site.
#[test]
fn a_tenant_has_its_rate_and_no_more() {
    story(4, |seed| {
        let world = World::new(seed);
        let loses_cores = seed > 2;
        if loses_cores {
            // What a tenant waits for may be there before whoever waits for it has begun to.
            world.run_new_tasks(1.0);
            world.lose_core(Duration::from_millis(5));
        }
        names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
        let hop = Hop::start(&world);
        hop.takes.set(Duration::from_millis(5));
        let mut text =
            if seed == 1 { "[[route]]\ndomain = \"*.test\"\nto = \"smtp://mx.big.test\"\n" } else { "" }
                .to_owned();
        text += "[[tenant]]\nname = \"slow\"\nmax_message_rate = \"50/s\"\n";
        for name in ["slow", "fast"] {
            text += &format!(
                "[[rule]]\nmatch = {{ recipient = \"*.{name}.test\" }}\nset = {{ tenant = \"{name}\" }}\n"
            );
        }
        let relay = launch(&world, 3, &text);
        for number in 0..15 {
            for (client, name) in [(100, "slow"), (200, "fast")] {
                hand_in_some(&world, client + number, 0..20, vec![format!("u@{name}.d{number}.{name}.test")]);
            }
        }
        let done = run_until_true(&world, Duration::from_secs(60), || hop.came.borrow().len() == 600);
        assert!(done, "{} of 600 came", hop.came.borrow().len());
        let came = hop.came.borrow();
        let of = |tenant: &str| -> Vec<Instant> {
            came.iter().filter(|(name, _)| name == tenant).map(|(_, at)| *at).collect()
        };
        let (slow, fast) = (of("slow"), of("fast"));
        let within = |from: usize| {
            let end = slow[from] + Duration::from_secs(1);
            slow[from..].iter().take_while(|at| **at < end).count()
        };
        let most = (0..300).map(within).max().unwrap_or_default();
        let rate = 299.0 / slow[299].since(slow[0]).as_secs_f64();
        let others = fast[299].since(fast[0]);
        println!("{most} in a second, {rate:.1} a second, others in {others:?}");
        // Where threads lose their cores, so do all hops and clients of this world.
        let (least, most_others) = if loses_cores { (40.0, 10) } else { (48.0, 3) };
        assert!((40..=52).contains(&most), "{most} in a second");
        assert!(rate >= least, "{rate} a second");
        assert!(others < Duration::from_secs(most_others), "others took {others:?}");
        assert_eq!(relay.sum(|of| &of.recipients_deferred), 0, "to wait is no failure");
        relay.drain();
    });
}

/// A tenant that may send little opens no more connections than that takes, whatever it has.
#[test]
fn a_rate_of_a_tenant_bounds_its_connections() {
    story(2, |seed| {
        let world = World::new(seed);
        names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
        let hop = Hop::start(&world);
        let text = "[[tenant]]\nname = \"slow\"\nmax_message_rate = \"20/s\"\n[[rule]]\nmatch = { recipient = \"*.slow.test\" }\n\
                    set = { tenant = \"slow\" }\n[[route]]\ndomain = \"*.test\"\nto = \"smtp://mx.big.test\"\n\
                    #: ['mx.big.test']\n#: connection_limit = 20\n";
        let relay = launch(&world, 1, text);
        let watch = world.watch_connections(1, ["10.0.0.2:25".parse().expect("an address")]);
        for number in 0..10 {
            hand_in_some(&world, 100 + number, 0..20, vec![format!("u@s.d{number}.slow.test")]);
        }
        let came =
            |many: usize| run_until_true(&world, Duration::from_secs(30), || hop.came.borrow().len() >= many);
        assert!(came(20));
        let from = world.shard(2, 0).now();
        assert!(came(200), "{} of 200 came", hop.came.borrow().len());
        let rate = 180.0 / world.shard(2, 0).now().since(from).as_secs_f64();
        // A message takes 100 ms: two at one time, and one that is ready.
        let peak = world.connections_peak(watch);
        println!("{peak} connections, {rate:.1} a second");
        assert!(peak <= 4, "{peak} connections");
        assert!((18.5..=20.5).contains(&rate), "{rate} a second");
        relay.drain();
    });
}

/// How long each of 50 messages took from their client to the hop, the fastest first, beside so many of another tenant.
fn delays(seed: u64, flood: usize, plant: Option<Defect>) -> Vec<Duration> {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world);
    hop.takes.set(Duration::from_millis(10));
    let mut text = "[[route]]\ndomain = \"*.test\"\nto = \"smtp://mx.big.test\"\n".to_owned();
    for name in ["flood", "victim"] {
        text += &format!(
            "[[rule]]\nmatch = {{ recipient = \"*.{name}.test\" }}\nset = {{ tenant = \"{name}\" }}\n"
        );
    }
    let relay = launch(&world, 1, &(text + "#: ['mx.big.test']\n#: connection_limit = 4\n"));
    for number in 0..10 {
        hand_in_some(&world, 100 + number, 0..flood / 10, vec![format!("u@f.d{number}.flood.test")]);
    }
    world.run_for(Duration::from_secs(1));
    let clock = world.shard(2, 0);
    let mut began = Vec::new();
    for number in 0..50 {
        began.push(clock.now());
        hand_in_some(&world, 200 + number, 0..1, vec![format!("u@v{number}.victim.test")]);
        world.run_for(Duration::from_millis(100));
    }
    let all = 50 + flood / 10 * 10;
    let waits = relay.sum(|of| &of.recipients_delivered) < all as u64;
    assert!(flood == 0 || waits, "the flood is over too early");
    let done = run_until_true(&world, Duration::from_secs(120), || hop.came.borrow().len() == all);
    assert!(done, "{} of {all} came", hop.came.borrow().len());
    relay.drain();
    let came = hop.came.borrow();
    let delay = |number: usize| {
        let own = format!("v{number}");
        let (_, at) = came.iter().find(|(name, _)| *name == own).expect("it came");
        at.since(began[number])
    };
    let mut delays: Vec<Duration> = (0..50).map(delay).collect();
    delays.sort_unstable();
    delays
}

/// Who sends less than his part waits for a connection to be done with what it has, and for nothing that waits before him.
#[test]
fn a_flood_holds_up_nobody_else() {
    story(2, |seed| {
        let (alone, beside) = (delays(seed, 0, None), delays(seed, 4_000, None));
        println!("median {:?}, {:?}; last {:?}, {:?}", alone[25], beside[25], alone[49], beside[49]);
        let turn = Duration::from_millis(25);
        assert!(beside[49] <= alone[49] + turn, "{:?} in place of {:?}", beside[49], alone[49]);
        let one = delays(seed, 4_000, Some(Defect::FlowForgotten));
        assert!(one[25] > alone[49] + turn, "{:?}: what is planted is not noticed", one[25]);
    });
}

/// Mail is given up at its time wherever it waits: for its tenant's rate, for its turn at a slow hop, or behind others of its domain.
#[test]
fn mail_is_given_up_in_time_wherever_it_waits() {
    story(4, |seed| {
        let world = World::new(seed);
        names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
        let hop = Hop::start(&world);
        let (rate, takes) = if seed % 2 == 0 { ("1/h", 100) } else { ("1000/s", 3_600_000) };
        hop.takes.set(Duration::from_millis(takes));
        let text = format!(
            "[[tenant]]\nname = \"shop\"\nmax_message_rate = \"{rate}\"\n[[rule]]\nset = {{ tenant = \"shop\" }}\n\
             [[rule]]\nmatch = {{ header = {{ name = \"Message-Id\", pattern = \"^<0-77\" }} }}\nset = {{ expire = \"10s\" }}\n\
             [[route]]\ndomain = \"*.test\"\nto = \"smtp://mx.big.test\"\n#: ['mx.big.test']\n#: connection_limit = 2\n"
        );
        let relay = launch(&world, 1, &text);
        for number in 0..4 {
            hand_in_some(&world, 100 + number, 0..3, vec![format!("u@d{number}.a.test")]);
        }
        world.run_for(Duration::from_secs(2));
        hand_in_some(&world, 200, 77..78, vec!["code@d1.a.test".to_owned()]);
        hand_in_some(&world, 201, 77..78, vec!["code@alone.a.test".to_owned()]);
        let expired = || relay.sum(|of| &of.recipients_expired);
        world.run_for(Duration::from_secs(8));
        assert_eq!(expired(), 0, "before its time");
        world.run_for(Duration::from_secs(5));
        assert_eq!(expired(), 2, "in time");
        drop(relay);
    });
}
