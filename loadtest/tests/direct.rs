//! Sender straight into sink: nothing between them, so whatever the verdict says is about themselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relevo_load::port;
use relevo_load::tls::Authority;
use relevo_load::units::Plan;
use relevo_load::{
    Action, Behaviour, Outcome, Point, Recipients, Security, SendConfig, Sender, Sink, SinkConfig, Sizes,
    Slow, Tls, Until, Verdict,
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Sends with `change`d settings to a sink that behaves so; what the sender, the verdict and the sink say.
fn run(behaviour: Behaviour, change: impl Fn(&mut SendConfig)) -> (Outcome, Verdict, relevo_load::Counts) {
    let mut config = SinkConfig::new(vec![LOOPBACK]);
    config.sites[0].behaviour = behaviour;
    let sink = Sink::start(config).unwrap();
    let mut config = SendConfig::new(sink.addresses().to_vec());
    config.until = Until::Count(2000);
    config.sizes = Sizes::Fixed(2048);
    config.timeout = Duration::from_secs(20);
    change(&mut config);
    let ledger = config.ledger();
    sink.watch(Arc::clone(&ledger));
    let outcome = Sender::start(config).unwrap().finish().unwrap();
    (outcome, Verdict::of(&ledger), sink.stop())
}

#[test]
fn everything_arrives() {
    for (pipelining, threads) in [(true, 1), (false, 2)] {
        let (outcome, verdict, counts) = run(Behaviour::default(), |config| {
            (config.pipelining, config.threads) = (pipelining, threads);
            config.sizes = Sizes::Mix;
            config.recipients = Recipients::between(1, 3);
        });
        assert!(verdict.is_clean() && verdict.duplicated == 0 && verdict.unacknowledged == 0, "{verdict}");
        assert_eq!((verdict.messages, outcome.progress.sent, counts.messages), (2000, 2000, 2000));
        assert_eq!((verdict.delivered, counts.recipients), (verdict.recipients, verdict.recipients));
        assert_eq!((outcome.latency.len(), counts.protocol_errors, counts.unknown), (2000, 0, 0));
        assert_eq!((counts.connections, outcome.progress.connects), (10, 10));
    }
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let (outcome, verdict, _) = run(Behaviour::default(), |config| {
        (config.rate, config.until, config.threads) =
            (Plan::constant(500.0), Until::Time(Duration::from_secs(1)), 2);
    });
    assert_eq!((verdict.messages, outcome.progress.missed, verdict.lost), (500, 0, 0), "{verdict}");
    assert!((0.9..5.0).contains(&outcome.elapsed.as_secs_f64()), "{:?}", outcome.elapsed);
}

#[test]
fn an_open_loop_counts_from_the_intended_time() {
    // One connection and 10 ms a message carry 100 a second of the 500 that are due.
    let slow = Behaviour::default().delayed(Duration::from_millis(10));
    let (outcome, verdict, _) = run(slow, |config| {
        (config.rate, config.until, config.connections) =
            (Plan::constant(500.0), Until::Time(Duration::from_secs(1)), 1);
    });
    assert!(verdict.messages < 150 && outcome.progress.missed > 300, "{verdict}");
    assert_eq!(outcome.progress.sent + outcome.progress.missed, 500);
    assert!(outcome.latency.max() > 500_000, "the last one waited: {} us", outcome.latency.max());
}

#[test]
fn one_message_a_connection() {
    let (outcome, verdict, counts) = run(Behaviour::default(), |config| {
        (config.per_connection, config.until) = (Some(1), Until::Count(200));
    });
    assert_eq!((verdict.messages, verdict.lost, outcome.progress.broken), (200, 0, 0));
    assert!((200..=220).contains(&counts.connections), "{}", counts.connections);
}

#[test]
fn refusals_and_lost_connections_are_counted() {
    let behaviour = Behaviour::default()
        .with(Point::Mail, Action::Refuse(450), 0.01)
        .with(Point::Rcpt, Action::Refuse(550), 0.1)
        .with(Point::Body, Action::Disconnect, 0.02)
        .with(Point::Reply, Action::Disconnect, 0.02);
    let (outcome, verdict, counts) = run(behaviour, |config| config.recipients = Recipients::between(2, 2));
    let progress = outcome.progress;
    assert_eq!(progress.sent, 2000);
    assert_eq!(
        progress.sent,
        progress.acknowledged + progress.tempfails + progress.rejects + progress.broken
    );
    assert!(progress.tempfails > 0 && progress.rejects > 0 && progress.broken > 20, "{progress:?}");
    assert_eq!(progress.broken, counts.disconnects);
    // A message taken whose reply never came: it arrived, but nobody was promised that.
    assert!(verdict.is_clean() && verdict.unacknowledged > 10 && verdict.refused > 100, "{verdict}");
}

#[test]
fn the_verdict_sees_each_fault() {
    let faulty = |action| {
        let behaviour = Behaviour::default().with(Point::Dot, action, 0.01);
        run(behaviour, |_| {}).1
    };
    let hidden = faulty(Action::Hide);
    assert!((5..60).contains(&hidden.lost) && !hidden.is_clean(), "{hidden}");
    assert_eq!(hidden.delivered + hidden.lost, 2000);
    let repeated = faulty(Action::Repeat);
    assert!((5..60).contains(&repeated.repeated) && !repeated.is_clean(), "{repeated}");
    let altered = faulty(Action::Alter);
    assert!((5..60).contains(&altered.corrupted) && !altered.is_clean(), "{altered}");
}

#[test]
fn journals_say_the_same_as_memory() {
    let path =
        |name: &str| std::env::temp_dir().join(format!("relevo-load-direct-{}-{name}", std::process::id()));
    let (sent, received): (PathBuf, PathBuf) = (path("sent"), path("received"));
    let mut config = SinkConfig::new(vec![LOOPBACK, LOOPBACK]);
    (config.journal, config.threads) = (Some(received.clone()), 2);
    config.sites[0].behaviour = Behaviour::default()
        .with(Point::Dot, Action::Hide, 0.005)
        .with(Point::Dot, Action::Repeat, 0.005)
        .with(Point::Dot, Action::Alter, 0.005)
        .with(Point::Dot, Action::Refuse(550), 0.005);
    let sink = Sink::start(config).unwrap();
    let mut config = SendConfig::new(sink.addresses().to_vec());
    (config.until, config.journal, config.threads) = (Until::Count(3000), Some(sent.clone()), 2);
    let ledger = config.ledger();
    sink.watch(Arc::clone(&ledger));
    Sender::start(config).unwrap().finish().unwrap();
    let mut memory = Verdict::of(&ledger);
    let mut file = Verdict::of_files(&sent, &received).unwrap();
    assert!(file.lost > 0 && file.duplicated > 0 && file.corrupted > 0 && file.refused > 0, "{file}");
    // Two threads write one file: the examples may come in another order.
    for verdict in [&mut memory, &mut file] {
        verdict.places = Default::default();
        // Files do not know which repeats have a reason.
        verdict.repeated = 0;
    }
    assert_eq!(memory, file);
    for path in [sent, received] {
        let _ = std::fs::remove_file(path);
    }
}

/// Mail that was sent and not taken is not mail that was not sent, in memory and in files.
#[test]
fn nothing_accepted_is_not_nothing_sent() {
    for (name, point, action) in [
        ("refused", Point::Mail, Action::Refuse(550)),
        ("put-off", Point::Body, Action::Refuse(421)),
        ("cut", Point::Body, Action::Disconnect),
    ] {
        let path =
            |end: &str| std::env::temp_dir().join(format!("relevo-load-{name}-{}-{end}", std::process::id()));
        let (sent, received): (PathBuf, PathBuf) = (path("sent"), path("received"));
        std::fs::write(&received, "").unwrap();
        let mut config = SinkConfig::new(vec![LOOPBACK]);
        config.sites[0].behaviour = Behaviour::default().with(point, action, 1.0);
        let sink = Sink::start(config).unwrap();
        let mut config = SendConfig::new(sink.addresses().to_vec());
        (config.until, config.journal) = (Until::Count(3), Some(sent.clone()));
        let ledger = config.ledger();
        Sender::start(config).unwrap().finish().unwrap();
        for verdict in [Verdict::of(&ledger), Verdict::of_files(&sent, &received).unwrap()] {
            assert!(verdict.to_string().ends_with("NOTHING ACCEPTED"), "{name}: {verdict}");
            assert_eq!(verdict.sentence(), "nothing was accepted");
        }
        for path in [sent, received] {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whatever the sender counts is in its file by then, and in the sink's file too, since the sink said 250.
#[test]
fn journals_are_written_before_anything_is_promised() {
    let path =
        |name: &str| std::env::temp_dir().join(format!("relevo-load-ahead-{}-{name}", std::process::id()));
    let (sent, received): (PathBuf, PathBuf) = (path("sent"), path("received"));
    let mut config = SinkConfig::new(vec![LOOPBACK]);
    config.journal = Some(received.clone());
    let sink = Sink::start(config).unwrap();
    let mut config = SendConfig::new(sink.addresses().to_vec());
    (config.until, config.journal, config.sizes) =
        (Until::Count(3000), Some(sent.clone()), Sizes::Fixed(1000));
    let ledger = config.ledger();
    sink.watch(Arc::clone(&ledger));
    let sender = Sender::start(config).unwrap();
    let lines =
        |path: &PathBuf| std::fs::read(path).unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
    let mut between = 0;
    while !sender.is_finished() {
        let acknowledged = ledger.sums().acknowledged;
        assert!(lines(&sent) >= acknowledged && lines(&received) >= acknowledged);
        between += u64::from((1..3000).contains(&acknowledged));
    }
    assert!(between > 0, "looked while it ran");
    assert_eq!((lines(&sent), lines(&received)), (3000, 3000));
    for path in [sent, received] {
        let _ = std::fs::remove_file(path);
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let closed = port::free().unwrap();
    let mut config = SendConfig::new(vec![closed]);
    config.timeout = Duration::from_millis(300);
    let error = Sender::start(config).unwrap().finish().err().expect("nothing listens there");
    assert!(error.to_string().contains(&closed.to_string()), "{error}");
    assert!(Sender::start(SendConfig::new(Vec::new())).is_err());
}

/// A server that dies and comes back, as in a crash test: the sender goes on where it is.
#[test]
fn the_sender_outlives_its_server() {
    let addresses = vec![port::free().unwrap()];
    let first = Sink::start(SinkConfig::new(addresses.clone())).unwrap();
    let mut config = SendConfig::new(addresses.clone());
    config.sizes = Sizes::Fixed(1000);
    let ledger = config.ledger();
    first.watch(Arc::clone(&ledger));
    let sender = Sender::start(config).unwrap();
    let wait_for = |count: u64| {
        let since = std::time::Instant::now();
        while ledger.sums().acknowledged < count {
            assert!(since.elapsed() < Duration::from_secs(20), "{:?}", sender.progress());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait_for(200);
    drop(first);
    std::thread::sleep(Duration::from_millis(100));
    let before = ledger.sums().acknowledged;
    let second = Sink::start(SinkConfig::new(addresses)).unwrap();
    second.watch(Arc::clone(&ledger));
    wait_for(before + 200);
    sender.stop();
    let outcome = sender.finish().unwrap();
    assert!(outcome.progress.connects_failed > 0 && Verdict::of(&ledger).is_clean());
}

#[test]
fn every_way_to_talk() {
    type Change = fn(&mut SendConfig);
    let ways: [(&str, Change); 8] = [
        ("tls=offered", |config| config.tls = Tls::StartTls),
        ("tls=required,auth=joe:secret", |config| {
            config.tls = Tls::StartTls;
            config.account = Some(("joe".to_owned(), "secret".to_owned()));
        }),
        ("tls=implicit", |config| (config.tls, config.sizes) = (Tls::Implicit, Sizes::Fixed(300_000))),
        ("tls=implicit,no-pipelining", |config| {
            (config.tls, config.per_connection) = (Tls::Implicit, Some(7))
        }),
        ("accept", |config| config.chunking = true),
        ("no-pipelining", |config| (config.chunking, config.recipients) = (true, Recipients::between(1, 3))),
        ("tls=offered", |config| (config.tls, config.chunking) = (Tls::StartTls, true)),
        ("rate=5000,connections=1", |config| {
            config.sources = (1..=10).map(|host| Ipv4Addr::new(127, 0, 9, host).into()).collect();
        }),
    ];
    for (behaviour, change) in ways {
        let (outcome, verdict, counts) = run(behaviour.parse().unwrap(), |config| {
            change(config);
            config.until = Until::Count(300);
        });
        assert!(verdict.is_clean() && verdict.messages == 300, "{behaviour}: {verdict}");
        assert_eq!((counts.protocol_errors, counts.unknown, counts.tempfails), (0, 0, 0), "{behaviour}");
        assert_eq!(outcome.answer.len(), 300, "{behaviour}");
        assert_eq!(outcome.connect.len(), outcome.progress.connects, "{behaviour}");
    }
}

#[test]
fn a_server_without_tls_is_not_used() {
    for tls in [Tls::StartTls, Tls::Implicit] {
        let sink = Sink::start(SinkConfig::new(vec![LOOPBACK])).unwrap();
        let mut config = SendConfig::new(sink.addresses().to_vec());
        (config.tls, config.timeout) = (tls, Duration::from_millis(300));
        assert!(Sender::start(config).unwrap().finish().is_err(), "{tls:?}");
        assert_eq!(sink.counters().messages, 0);
    }
}

#[test]
fn certificates_are_looked_at_when_asked_for() {
    let path = std::env::temp_dir().join(format!("relevo-load-ca-{}.pem", std::process::id()));
    let (trusted, other) = (Arc::new(Authority::new().unwrap()), Authority::new().unwrap());
    for (pem, works) in [(trusted.pem(), true), (other.pem(), false)] {
        std::fs::write(&path, pem).unwrap();
        let mut config = SinkConfig::new(vec![LOOPBACK]);
        config.sites[0].behaviour.security = Security::Offered;
        config.authority = Some(Arc::clone(&trusted));
        let sink = Sink::start(config).unwrap();
        let mut config = SendConfig::new(sink.addresses().to_vec());
        (config.tls, config.authorities) = (Tls::StartTls, Some(path.clone()));
        (config.until, config.timeout) = (Until::Count(50), Duration::from_millis(500));
        assert_eq!(Sender::start(config).unwrap().finish().is_ok(), works);
        assert_eq!(sink.counters().messages, if works { 50 } else { 0 });
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn slow_clients_are_slow() {
    let (outcome, verdict, _) = run(Behaviour::default(), |config| {
        (config.until, config.connections) = (Until::Count(10), 10);
        config.slow = Some(Slow { share: 0.5, bytes_per_second: 4000 });
    });
    assert!(verdict.is_clean() && verdict.messages == 10, "{verdict}");
    let (fast, slow) = (outcome.answer.value_at_quantile(0.4), outcome.answer.max());
    assert!(fast < 200_000 && (400_000..5_000_000).contains(&slow), "{fast} and {slow} us");
}

#[test]
fn messages_from_files_arrive_as_they_are() {
    let directory = std::env::temp_dir().join(format!("relevo-load-files-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let texts = [
        "From: a@b\nSubject: one\n\n.dot\n..\nlast",
        "From: a@b\nSubject: zwei\n\nGr\u{fc}\u{df}e\n",
        "A: b\n",
    ];
    for (at, text) in texts.iter().enumerate() {
        std::fs::write(directory.join(format!("{at}.eml")), text).unwrap();
    }
    for chunking in [false, true] {
        let (_, verdict, counts) = run(Behaviour::default(), |config| {
            (config.messages, config.chunking) = (Some(directory.clone()), chunking);
            config.until = Until::Count(200);
        });
        assert!(verdict.is_clean() && verdict.delivered == 200, "{verdict}");
        assert_eq!(counts.unknown, 0);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// A sink that says nothing for a second must show in the tail of an open loop, and cannot in a closed one.
#[test]
fn a_stall_is_seen_by_all_it_held_up() {
    let stall = |rate: Option<Plan>| {
        let sink = Sink::start(SinkConfig::new(vec![LOOPBACK])).unwrap();
        let mut config = SendConfig::new(sink.addresses().to_vec());
        (config.rate, config.until) = (rate, Until::Time(Duration::from_secs(4)));
        (config.connections, config.sizes) = (2, Sizes::Fixed(1000));
        let sender = Sender::start(config).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        sink.behave(0, "tarpit=1s".parse().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        sink.behave(0, Behaviour::default());
        sender.finish().unwrap()
    };
    let outcome = stall(Plan::constant(500.0));
    let late = outcome.latency.value_at_quantile(0.95);
    assert!((500_000..6_000_000).contains(&late), "a quarter of the time stood still: {late} us");
    let hidden = stall(None).latency.value_at_quantile(0.95);
    assert!(hidden < 300_000, "a closed loop waits with the server: {hidden} us");
}

/// One fault in ten thousand is found, whatever it is.
#[test]
fn a_rare_fault_is_seen() {
    for (fault, found) in [("hide", "lost"), ("repeat", "repeated"), ("alter", "corrupted")] {
        let behaviour = format!("dot={fault}@0.0001").parse().unwrap();
        let (_, verdict, _) = run(behaviour, |config| {
            (config.until, config.sizes) = (Until::Count(30_000), Sizes::Fixed(0));
        });
        let counts =
            [("lost", verdict.lost), ("repeated", verdict.repeated), ("corrupted", verdict.corrupted)];
        for (name, count) in counts {
            assert_eq!(count > 0, name == found, "{fault}: {verdict}");
        }
        assert!(!verdict.is_clean());
    }
}
