//! What shaping files say, counted by the hops it is said of, over many shards.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use relevo::queue::suspension::Effect;
use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Defect, Runtime};
use relevo::shaping::key::Key;
use relevo::shaping::value::{Limit, Value};
use relevo::time::Instant;

use super::day::talk::Talk;
use super::floods::{launch, names};
use super::peers::{hand_in_some, hand_in_text};
use super::relay::{run_until_true, suspension};
use super::story;

/// A hop that counts.
#[derive(Default)]
struct Hop {
    /// When it was connected to, when a message was begun, and when it had the end of one.
    connected: RefCell<Vec<Instant>>,
    begun: RefCell<Vec<Instant>>,
    taken: RefCell<Vec<Instant>>,
    /// When each recipient was last asked for.
    last: RefCell<BTreeMap<String, Instant>>,
    /// Each that was asked for, and when.
    heard: RefCell<Vec<(String, Instant)>>,
    /// It puts off all of them.
    busy: Cell<bool>,
    /// It answers no MAIL.
    mute: Cell<bool>,
    /// How long it takes over the end of a message.
    takes: Cell<Duration>,
    /// What it says to the first RCPT of each address.
    first: &'static str,
    asked: RefCell<BTreeMap<String, usize>>,
}

impl Hop {
    fn start(world: &World, at: &str, first: &'static str) -> Rc<Hop> {
        let hop = Rc::new(Hop { first, ..Hop::default() });
        let runtime = world.shard(2, 0);
        let listener = runtime.listen(at.parse().expect("an address")).expect("a free address");
        let (own, serving) = (runtime.clone(), hop.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let talk = Talk::new(own.clone(), stream, Duration::from_secs(3600));
                let (hop, runtime) = (serving.clone(), own.clone());
                hop.connected.borrow_mut().push(runtime.now());
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
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match &*verb {
                "EHLO" => talk.send(b"250-hop.example\r\n250 PIPELINING\r\n").await?,
                "MAIL" => {
                    self.begun.borrow_mut().push(runtime.now());
                    if self.mute.get() {
                        talk.pause(Duration::from_secs(1_000)).await;
                    }
                    talk.send(b"250 2.1.0 ok\r\n").await?;
                }
                "RCPT" => {
                    self.last.borrow_mut().insert(line.clone(), runtime.now());
                    self.heard.borrow_mut().push((line.clone(), runtime.now()));
                    if self.busy.get() {
                        talk.send(b"450 4.2.0 later\r\n").await?;
                        continue;
                    }
                    let times =
                        *self.asked.borrow_mut().entry(line).and_modify(|times| *times += 1).or_insert(1);
                    let refuses = times == 1 && !self.first.is_empty();
                    talk.send(if refuses { self.first } else { "250 2.1.5 ok\r\n" }.as_bytes()).await?;
                }
                "DATA" => {
                    talk.send(b"354 go on\r\n").await?;
                    talk.until_dot().await?;
                    self.taken.borrow_mut().push(runtime.now());
                    talk.pause(self.takes.get()).await;
                    talk.send(b"250 2.0.0 taken\r\n").await?;
                }
                "QUIT" => return talk.send(b"221 2.0.0 bye\r\n").await,
                _ => talk.send(b"250 2.0.0 ok\r\n").await?,
            }
        }
    }
}

/// Recipients that are returned for what a rule says is not final, and classes that events tell of them.
fn ruled(seed: u64, plant: Option<Defect>) -> (u64, Vec<String>) {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world, "10.0.0.2:25", "550 5.1.1 no user while the moon is full\r\n");
    let relay = launch(
        &world,
        2,
        "[retry]\nfirst = \"5s\"\n#: [provider.moon]\n#: match = [{ MXSuffix = '.good0.test' }, { HostName = 'mx.good1.test' }]\n\
         #: [[provider.moon.automation]]\n#: regex = '^550 .*moon'\n#: class = 'greylisted'\n#: permanent = false\n",
    );
    for number in 0..4 {
        hand_in_some(&world, 100 + number, 0..5, vec![format!("u{number}@good{number}.test")]);
    }
    let mut log = Vec::new();
    assert!(run_until_true(&world, Duration::from_secs(120), || {
        log.extend(relay.log());
        hop.taken.borrow().len() as u64 + relay.sum(|of| &of.recipients_bounced) >= 20
    }));
    world.run_for(Duration::from_secs(2));
    log.extend(relay.log());
    let told = log.iter().filter(|record| record["event"] == "deferred" || record["event"] == "bounced");
    let told = told.filter(|record| record["recipients"][0].as_str().is_some_and(|to| to.starts_with('u')));
    let mut classes: Vec<String> = told
        .map(|record| {
            format!("{} {} {}", record["event"], record["class"], record["recipients"]).replace('"', "")
        })
        .collect();
    classes.sort_unstable();
    classes.dedup();
    let bounced = relay.sum(|of| &of.recipients_bounced);
    relay.drain();
    (bounced, classes)
}

#[test]
fn a_rule_says_what_a_reply_of_its_provider_is() {
    story(2, |seed| {
        let (bounced, classes) = ruled(seed, None);
        let of = |number: usize, event: &str| format!("{event} [u{number}@good{number}.test]");
        let wanted = [
            of(2, "bounced bad_mailbox"),
            of(3, "bounced bad_mailbox"),
            of(0, "deferred greylisted"),
            of(1, "deferred greylisted"),
        ];
        assert_eq!((classes, bounced), (wanted.to_vec(), 2));
    });
}

/// The most of these in any second.
fn most_in_a_second(times: &[Instant]) -> usize {
    let within = |from: usize| {
        let end = times[from] + Duration::from_secs(1);
        times[from..].iter().take_while(|at| **at < end).count()
    };
    (0..times.len()).map(within).max().unwrap_or_default()
}

/// Mail for many domains of a provider, and as much for others, over so many shards: the most that began in any second, and how many a second
/// began in all.
fn rated(seed: u64, shards: usize, limit: &str, plant: Option<Defect>) -> (usize, f64) {
    const DOMAINS: u16 = 40;
    const EACH: usize = 50;
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |host| {
        Some(if host.ends_with("big.test") { [10, 0, 0, 2] } else { [10, 0, 0, 3] })
    });
    let (hop, other) = (Hop::start(&world, "10.0.0.2:25", ""), Hop::start(&world, "10.0.0.3:25", ""));
    let more = if limit.starts_with("provider_") {
        format!("#: [provider.big]\n#: match = [{{ MXSuffix = '.big.test' }}]\n#: {limit}\n")
    } else {
        // One site for all of them.
        format!(
            "[[route]]\ndomain = \"*.big.test\"\nto = \"smtp://mx.big.test\"\n#: ['mx.big.test']\n#: {limit}\n"
        )
    };
    let relay = launch(&world, shards, &more);
    for number in 0..DOMAINS {
        hand_in_some(
            &world,
            100 + number,
            0..EACH,
            vec![format!("u@d{number}.big.test"), format!("u@o{number}.test")],
        );
    }
    let all = usize::from(DOMAINS) * EACH;
    let done = run_until_true(&world, Duration::from_secs(60), || hop.taken.borrow().len() == all);
    assert!(done, "{} of {all} came, {} to others", hop.taken.borrow().len(), other.taken.borrow().len());
    let (begun, taken) = (hop.begun.borrow(), hop.taken.borrow());
    let took = begun[all - 1].since(begun[0]).as_secs_f64();
    let others = other.taken.borrow();
    assert!(
        others.len() == all && others[all - 1].since(begun[0]).as_secs_f64() < 10.0,
        "others are not held up"
    );
    assert_eq!(relay.sum(|of| &of.recipients_deferred), 0, "to wait is no failure");
    relay.drain();
    (most_in_a_second(&begun).max(most_in_a_second(&taken)), all as f64 / took)
}

#[test]
fn a_rate_is_used_and_never_exceeded_however_many_shards_there_are() {
    for (limit, shards) in [("max_message_rate", 2), ("provider_max_message_rate", 64)] {
        story(1, |seed| {
            let (most, rate) = rated(seed, shards, &format!("{limit} = '100/s'"), None);
            println!("{most} {rate}");
            assert!((98..=101).contains(&most), "{limit}, {shards} shards: {most} in a second");
            assert!(rate >= 98.0, "{limit}, {shards} shards: {rate} a second");
        });
    }
}

/// Connections to many sites of a provider over some shards: the most at one time, and when each was opened.
fn connected(seed: u64, shards: usize, limit: &str, plant: Option<Defect>) -> (usize, Vec<Instant>) {
    const DOMAINS: u16 = 12;
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let set = limit.strip_prefix("set ").and_then(|most| most.parse().ok());
    let watch = world.watch_connections(1, ["10.0.0.2:25".parse().expect("an address")]);
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world, "10.0.0.2:25", "");
    hop.takes.set(Duration::from_millis(20));
    let relay = launch(
        &world,
        shards,
        &format!(
            "#: [provider.big]\n#: match = [{{ MXSuffix = '.test' }}]\n#: connection_limit = 50\n#: {}\n",
            if set.is_some() { "" } else { limit }
        ),
    );
    if let Some(most) = set {
        let effect = Effect::Set(Key::ProviderConnectionLimit, Value::Limit(Limit { most, local: false }));
        relay.suspend(vec![suspension(&world, 1, effect, "provider=big 3600")]);
        world.run_for(Duration::from_secs(1));
    }
    for number in 0..DOMAINS {
        let messages = if number == 0 { 400 } else { 5 };
        hand_in_some(&world, 100 + number, 0..messages, vec![format!("u@d{number}.test")]);
    }
    let all = 400 + 5 * (usize::from(DOMAINS) - 1);
    let done = run_until_true(&world, Duration::from_secs(120), || hop.taken.borrow().len() == all);
    assert!(done, "{} of {all} came", hop.taken.borrow().len());
    let from: BTreeMap<_, _> = hop.asked.borrow().clone();
    assert_eq!(from.len(), usize::from(DOMAINS));
    // Whoever has little does not wait for the end of who has much.
    let last = hop.last.borrow();
    let little = last.iter().filter(|(line, _)| !line.contains("@d0.")).map(|(_, at)| *at).max();
    let much = last.iter().find(|(line, _)| line.contains("@d0.")).map(|(_, at)| *at);
    if plant.is_none() && limit.starts_with("provider_") {
        assert!(little < much, "{little:?} is behind {much:?}");
    }
    assert_eq!(relay.sum(|of| &of.recipients_deferred), 0, "to wait is no failure");
    relay.drain();
    let connected = hop.connected.borrow().clone();
    (world.connections_peak(watch), connected)
}

#[test]
fn sites_of_a_provider_share_its_connections() {
    story(2, |seed| {
        for shards in [1, 3] {
            let (most, _) = connected(seed, shards, "provider_connection_limit = 3", None);
            assert_eq!(most, 3, "{shards} shards");
            // The same where no file limits it, and a rule does for a while.
            let (most, _) = connected(seed, shards, "set 3", None);
            assert_eq!(most, 3, "{shards} shards");
        }
    });
}

/// Mail by three ways to the same host, over some shards: two routes, of which one says how TLS is used, and its MX. The most connections at one time, and
/// the most messages that began in a second.
fn by_ways(seed: u64, shards: usize, limit: &str, plant: Option<Defect>) -> (usize, usize) {
    const DOMAINS: u16 = 6;
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let watch = world.watch_connections(1, ["10.0.0.2:25".parse().expect("an address")]);
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world, "10.0.0.2:25", "");
    hop.takes.set(Duration::from_millis(20));
    let route = |domain: &str, tls: &str| {
        format!("[[route]]\ndomain = \"*.{domain}.test\"\nto = \"smtp://mx.big.test\"\n{tls}")
    };
    let (plain, other) = (route("plain", ""), route("other", "tls = \"off\"\n"));
    let relay = launch(
        &world,
        shards,
        &format!(
            "{plain}{other}#: [provider.big]\n#: match = [{{ HostName = 'mx.big.test' }}]\n#: {limit}\n"
        ),
    );
    let (much, little) = (60, 5);
    let mut client = 100;
    for number in 0..DOMAINS {
        for (domain, messages) in [("plain", much), ("other", little)] {
            hand_in_some(&world, client, 0..messages, vec![format!("u@d{number}.{domain}.test")]);
            client += 1;
        }
    }
    hand_in_some(&world, client, 0..little, vec!["u@big.test".to_owned()]);
    let all = usize::from(DOMAINS) * (much + little) + little;
    let done = run_until_true(&world, Duration::from_secs(120), || hop.taken.borrow().len() == all);
    assert!(done, "{} of {all} came", hop.taken.borrow().len());
    // Whoever has little does not wait for the end of who has much.
    let last = |domain: &str| {
        let last = hop.last.borrow();
        last.iter().filter(|(line, _)| line.contains(domain)).map(|(_, at)| *at).max().expect("some came")
    };
    let ends = ["plain.test", "other.test", "@big.test"].map(last);
    assert!(ends[1] < ends[0] && ends[2] < ends[0], "{ends:?}");
    assert_eq!(relay.sum(|of| &of.recipients_deferred), 0, "to wait is no failure");
    relay.drain();
    let begun = hop.begun.borrow();
    (world.connections_peak(watch), most_in_a_second(&begun))
}

#[test]
fn all_ways_to_the_same_hosts_share_what_bounds_them() {
    story(2, |seed| {
        for shards in [1, 3] {
            let (most, _) = by_ways(seed, shards, "connection_limit = 3", None);
            assert_eq!(most, 3, "{shards} shards");
            let (_, most) = by_ways(seed, shards, "max_message_rate = '50/s'", None);
            assert!((49..=51).contains(&most), "{most} in a second over {shards} shards");
        }
    });
}

fn ways_apart_are_found(defect: Defect) {
    let (most, _) = by_ways(1, 2, "connection_limit = 3", Some(defect));
    assert!(most > 3, "what is planted is not noticed: {most} connections");
    let (_, most) = by_ways(1, 2, "max_message_rate = '50/s'", Some(defect));
    assert!(most > 51, "what is planted is not noticed: {most} messages in a second");
}

#[test]
fn connections_are_opened_at_their_rate() {
    story(2, |seed| {
        for shards in [1, 3] {
            let (_, opened) = connected(seed, shards, "max_connection_rate = '5/s'", None);
            assert!(opened.len() > 12);
        }
        let (_, opened) = one_site(seed, "max_connection_rate = '5/s'\n#: max_deliveries_per_connection = 1");
        assert!((4..=6).contains(&most_in_a_second(&opened)), "{}", most_in_a_second(&opened));
    });
}

/// Mail for one site, from three shards: messages begun and connections opened.
fn one_site(seed: u64, limit: &str) -> (Vec<Instant>, Vec<Instant>) {
    let world = World::new(seed);
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world, "10.0.0.2:25", "");
    let route = "[[route]]\ndomain = \"*.big.test\"\nto = \"smtp://mx.big.test\"\n";
    let relay = launch(&world, 3, &format!("{route}#: ['mx.big.test']\n#: {limit}\n"));
    for number in 0..6 {
        hand_in_some(&world, 100 + number, 0..5, vec![format!("u@d{number}.big.test")]);
    }
    let done = run_until_true(&world, Duration::from_secs(1_000), || hop.taken.borrow().len() == 30);
    assert!(done, "{} of 30 came", hop.taken.borrow().len());
    relay.drain();
    (hop.begun.take(), hop.connected.take())
}

#[test]
fn between_messages_that_are_far_apart_no_connection_is_held() {
    story(2, |seed| {
        let (begun, opened) = one_site(seed, "max_message_rate = '2/min'");
        let apart: Vec<u64> = begun.windows(2).map(|two| two[1].since(two[0]).as_millis() as u64).collect();
        assert!(apart.iter().all(|apart| (29_850..=30_150).contains(apart)), "{apart:?}");
        assert!(opened.len() >= 30, "{} connections", opened.len());
    });
}

/// A hop that answers no MAIL: when it was asked, and after how many seconds its mail was given up.
fn unanswered(seed: u64, plant: Option<Defect>) -> (Vec<u64>, Option<u64>) {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world, "10.0.0.2:25", "");
    hop.mute.set(true);
    let retry = "[retry]\nfirst = \"10s\"\nmax = \"10s\"\n";
    let relay = launch(
        &world,
        2,
        &format!("{retry}#: ['d.test']\n#: mail_from_timeout = '5s'\n#: max_age = '90s'\n"),
    );
    hand_in_some(&world, 100, 0..1, vec!["u@d.test".to_owned()]);
    let mut end = None;
    for second in 0..400 {
        world.run_for(Duration::from_secs(1));
        let gone = relay.log().iter().any(|record| record["event"] == "expired");
        end = end.or(gone.then_some(second));
    }
    let begun = hop.begun.borrow();
    let apart = begun.windows(2).map(|two| two[1].since(two[0]).as_secs()).collect();
    drop(relay);
    (apart, end)
}

#[test]
fn steps_and_mail_last_as_long_as_a_file_says() {
    story(2, |seed| {
        let (apart, end) = unanswered(seed, None);
        assert!(apart.len() >= 4 && apart.iter().all(|apart| (12..=25).contains(apart)), "{apart:?}");
        // Counted from the next whole second. An attempt that is under way then takes its five seconds.
        assert!(end.is_some_and(|end| (89..=98).contains(&end)), "{end:?}");
        let (apart, end) = unanswered(seed, Some(Defect::ShapingIgnored));
        assert!(apart.iter().all(|apart| *apart > 200) && end.is_none(), "{apart:?} {end:?}");
    });
}

/// Who is tried in the first seconds of a start, of mail that a hop put off for four hours two hours before, and how many are given up then.
fn tried_at_a_start(seed: u64) -> (Vec<String>, u64) {
    let world = World::new(seed);
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world, "10.0.0.2:25", "");
    hop.busy.set(true);
    let more = "[retry]\nfirst = \"4h\"\nmax = \"4h\"\n\
         [[rule]]\nmatch = { sender = \"<>\" }\nset = { expire = \"1h\" }\n";
    let relay = launch(&world, 2, more);
    for (number, domain) in ["old.test", "young.test"].into_iter().enumerate() {
        hand_in_some(&world, 100 + number as u16, 0..1, vec![format!("u@{domain}")]);
    }
    hand_in_text(&world, 102, "u@ended.test", "Subject: x\r\n\r\nx\r\n".to_owned());
    world.run_for(Duration::from_secs(10));
    assert_eq!(hop.heard.take().len(), 3);
    world.kill(1);
    drop(relay);
    world.move_wall(2 * 3_600_000);
    // It was put off when nobody gave it up for its age.
    let ages = "#: ['old.test']\n#: max_age = '1h'\n#: ['young.test']\n#: max_age = '3h'\n";
    let relay = launch(&world, 2, &format!("{more}{ages}"));
    world.run_for(Duration::from_secs(10));
    let expired = relay.sum(|of| &of.recipients_expired);
    drop(relay);
    let mut heard: Vec<String> = hop.heard.take().into_iter().map(|(line, _)| line).collect();
    heard.sort_unstable();
    (heard, expired)
}

#[test]
fn mail_that_is_too_old_at_a_start_is_tried_once_more_at_once() {
    story(2, |seed| {
        let (heard, expired) = tried_at_a_start(seed);
        assert!(
            heard.len() == 2 && heard[0].contains("u@ended.test") && heard[1].contains("u@old.test"),
            "{heard:?}"
        );
        assert_eq!(expired, 2);
    });
}

/// A hop that puts off everybody: how many seconds lie between the attempts on one recipient of each domain.
fn put_off(seed: u64, plant: Option<Defect>) -> BTreeMap<String, Vec<u64>> {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world, "10.0.0.2:25", "");
    hop.busy.set(true);
    let relay = launch(
        &world,
        2,
        "[retry]\nschedule = [\"40s\"]\n\
         [[route]]\ndomain = \"*.route.test\"\nto = \"smtp://10.0.0.2:25\"\nretry = { first = \"60s\", factor = 1.0, max = \"60s\" }\n\
         [[tenant]]\nname = \"shop\"\nretry = { schedule = [\"10s\", \"20s\"] }\n\
         [[rule]]\nmatch = { recipient = \"*.tenant.test\" }\nset = { tenant = \"shop\" }\n\
         [[rule]]\nmatch = { recipient = \"*.rule.test\" }\nset = { tenant = \"shop\", retry = [\"5s\"] }\n",
    );
    let domains = ["a.route.test", "a.tenant.test", "a.rule.test", "site.test"];
    for (number, domain) in domains.into_iter().enumerate() {
        hand_in_some(&world, 100 + number as u16, 0..1, vec![format!("u@{domain}")]);
    }
    world.run_for(Duration::from_secs(200));
    drop(relay);
    let heard = hop.heard.borrow();
    let of = |domain: &str| {
        let times = heard.iter().filter(|(line, _)| line.contains(&format!("u@{domain}")));
        let times: Vec<_> = times.map(|(_, at)| *at).collect();
        times.windows(2).map(|two| two[1].since(two[0]).as_secs()).collect()
    };
    domains.map(|domain| (domain.to_owned(), of(domain))).into()
}

/// Within a fifth, and the second in which the queue looks.
fn are_apart(found: &[u64], wanted: &[u64]) -> bool {
    let last = wanted.last().copied().unwrap_or_default();
    let wanted = wanted.iter().copied().chain(std::iter::repeat(last));
    found.len() >= 2
        && found.iter().zip(wanted).all(|(found, wait)| (wait * 4 / 5..=wait * 6 / 5 + 2).contains(found))
}

#[test]
fn mail_is_tried_again_by_its_rule_its_tenant_its_route_and_its_site() {
    story(2, |seed| {
        let found = put_off(seed, None);
        for (domain, wanted) in [
            ("a.route.test", &[60][..]),
            ("a.tenant.test", &[10, 20]),
            ("a.rule.test", &[5]),
            ("site.test", &[40]),
        ] {
            assert!(are_apart(&found[domain], wanted), "{domain}: {found:?}");
        }
    });
}

/// Plants a defect that leaves what a file says undone: it must be seen.
pub fn is_found(defect: Defect) {
    match defect {
        Defect::RateUncounted => {
            let (most, _) = rated(1, 4, "max_message_rate = '100/s'", Some(defect));
            assert!(most > 110, "{defect:?}: {most} in a second");
        }
        Defect::ProviderUncounted => {
            let (most, _) = connected(1, 2, "provider_connection_limit = 3", Some(defect));
            assert!(most > 3, "{defect:?}: {most} at one time");
        }
        Defect::HopsApart => ways_apart_are_found(defect),
        Defect::ScheduleForgotten => {
            let found = put_off(1, Some(defect));
            assert!(are_apart(&found["a.rule.test"], &[40]), "{found:?}");
        }
        Defect::RulesUnasked => assert_ne!(ruled(1, Some(defect)).0, 2, "{defect:?}"),
        _ => panic!("{defect:?} is no defect of shaping"),
    }
}
