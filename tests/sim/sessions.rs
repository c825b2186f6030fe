//! Sessions without end: each bound of a client's session at its edge, in virtual time. Just under it the session goes on, just over
//! it the relay says why and closes.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::limits;
use relevo::limits::server;
use relevo::runtime::Runtime;
use relevo::runtime::sim::World;
use relevo::time::Instant;

use super::day::talk::Talk;
use super::relay::{Relay, run_until_true};

/// What a deadline is late by at most: the sweep of the deadlines, the age of the shard's clock, the network.
const SLACK: Duration = Duration::from_secs(3);
const RELAY: &str = "10.0.0.1:25";

/// Runs a client to its end within a day.
fn play<T: 'static>(world: &World, node: u32, client: impl AsyncFnOnce(Talk) -> T + 'static) -> T {
    let came = Rc::new(RefCell::new(None));
    let runtime = world.shard(node, 0);
    let result = came.clone();
    let own = runtime.clone();
    runtime.spawn(async move {
        let to: SocketAddr = RELAY.parse().expect("an address");
        let stream = own.connect(None, to).expect("a socket");
        let talk = Talk::new(own, stream, Duration::from_secs(24 * 3600));
        talk.connected().await.expect("a connection");
        *result.borrow_mut() = Some(client(talk).await);
    });
    assert!(
        run_until_true(world, Duration::from_secs(24 * 3600), || came.borrow().is_some()),
        "it never ends"
    );
    let came = came.borrow_mut().take();
    came.expect("it is there")
}

/// What a client hears last before the end, and when that is.
async fn end(talk: &mut Talk) -> (String, Instant) {
    let mut last = String::new();
    while let Ok(line) = talk.line().await {
        last = line;
    }
    (last, talk.runtime.now())
}

fn within(at: Instant, began: Instant, span: Duration) {
    let took = at.since(began);
    assert!((span..=span + SLACK).contains(&took), "{took:?}, not {span:?}");
}

async fn greeted(talk: &mut Talk) -> Instant {
    assert_eq!(talk.reply().await.ok(), Some(220));
    assert_eq!(talk.ask("EHLO client.example\r\n").await.ok(), Some(250));
    talk.runtime.now()
}

async fn message(talk: &mut Talk) -> u16 {
    for command in ["MAIL FROM:<a@b.example>\r\n", "RCPT TO:<x@y.example>\r\n", "DATA\r\n"] {
        talk.ask(command).await.expect("an answer");
    }
    talk.ask("Subject: x\r\n\r\nbody\r\n.\r\n").await.expect("an answer")
}

fn relay_of(world: &World) -> Relay<'_> {
    Relay::start(world, 1, 1, "")
}

#[test]
fn a_command_line_has_its_time_however_it_drips() {
    for (gap, whole) in [(server::COMMAND - SLACK, true), (server::COMMAND + SLACK, false)] {
        let world = World::new(1);
        let _relay = relay_of(&world);
        let (code, last, at, began) = play(&world, 9, async move |mut talk| {
            greeted(&mut talk).await;
            talk.send(b"N").await.expect("sent");
            let began = talk.runtime.now();
            // Two more bytes on the way, each of which would be a sign of life.
            for byte in [b"O", b"O"] {
                talk.pause(gap / 3).await;
                talk.send(byte).await.expect("sent");
            }
            talk.pause(gap / 3).await;
            let code =
                if talk.send(b"P\r\n").await.is_ok() && whole { talk.reply().await.ok() } else { None };
            let (last, at) = if whole { (String::new(), began) } else { end(&mut talk).await };
            (code, last, at, began)
        });
        if whole {
            assert_eq!(code, Some(250));
        } else {
            assert_eq!(last, "421 4.4.2 Timeout");
            let _ = (at, began);
        }
    }
    // A byte every 280 seconds, for as long as it is let.
    let world = World::new(2);
    let _relay = relay_of(&world);
    let (began, last, at) = play(&world, 9, async |mut talk| {
        greeted(&mut talk).await;
        talk.send(b"E").await.expect("sent");
        let began = talk.runtime.now();
        talk.pause(Duration::from_secs(280)).await;
        talk.send(b"H").await.expect("sent");
        let (last, at) = end(&mut talk).await;
        (began, last, at)
    });
    assert_eq!(last, "421 4.4.2 Timeout");
    within(at, began, server::COMMAND);
}

#[test]
fn silence_has_its_time() {
    let world = World::new(1);
    let _relay = relay_of(&world);
    let (code, began, last, at) = play(&world, 9, async |mut talk| {
        greeted(&mut talk).await;
        talk.pause(server::COMMAND - SLACK).await;
        let code = talk.ask("NOOP\r\n").await.ok();
        let began = talk.runtime.now();
        let (last, at) = end(&mut talk).await;
        (code, began, last, at)
    });
    assert_eq!((code, &last[..]), (Some(250), "421 4.4.2 Timeout"));
    within(at, began, server::COMMAND);
}

/// NOOP now and then keeps nobody; a message does.
#[test]
fn a_session_without_mail_ends() {
    let world = World::new(1);
    let _relay = relay_of(&world);
    let (began, last, at) = play(&world, 9, async |mut talk| {
        let began = talk.runtime.now();
        greeted(&mut talk).await;
        talk.pause(server::WITHOUT_MAIL / 2 - SLACK).await;
        assert_eq!(talk.ask("RSET\r\n").await.ok(), Some(250));
        talk.pause(server::WITHOUT_MAIL / 2 - SLACK).await;
        assert_eq!(message(&mut talk).await, 250, "just in time");
        let _ = began;
        let began = talk.runtime.now();
        let mut last = 250;
        while last == 250 {
            talk.pause(Duration::from_secs(50)).await;
            match talk.ask("MAIL FROM:<a@b.example>\r\n").await {
                Ok(code) => last = code,
                Err(_) => break,
            }
            if last == 250 {
                last = talk.ask("RSET\r\n").await.unwrap_or(0);
            }
        }
        (began, last, talk.runtime.now())
    });
    assert_eq!(last, 421);
    // It hears of it with the command that is too late.
    let took = at.since(began);
    assert!(
        (server::WITHOUT_MAIL..server::WITHOUT_MAIL + Duration::from_secs(60)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn a_transaction_has_more_time_and_an_end() {
    let world = World::new(1);
    let _relay = relay_of(&world);
    let (began, last, at) = play(&world, 9, async |mut talk| {
        let began = talk.runtime.now();
        greeted(&mut talk).await;
        talk.ask("MAIL FROM:<a@b.example>\r\n").await.expect("an answer");
        let mut number = 0;
        loop {
            number += 1;
            let command = format!("RCPT TO:<u{number}@y.example>\r\n");
            match talk.ask(&command).await {
                Ok(250) => talk.pause(Duration::from_secs(100)).await,
                Ok(code) => break (began, code, talk.runtime.now()),
                Err(_) => break (began, 0, talk.runtime.now()),
            }
        }
    });
    let took = at.since(began);
    assert_eq!(last, 421);
    assert!(
        (server::TRANSACTION..server::TRANSACTION + Duration::from_secs(110)).contains(&took),
        "{took:?}"
    );
}

/// A client that delivers all day is sent away between two messages, and only there.
#[test]
fn a_whole_session_ends_between_two_messages() {
    let world = World::new(1);
    let _relay = relay_of(&world);
    let (began, words, at, taken) = play(&world, 9, async |mut talk| {
        let began = talk.runtime.now();
        greeted(&mut talk).await;
        let mut taken = 0;
        let step = async |talk: &mut Talk, command: &str| -> String {
            talk.send(command.as_bytes()).await.expect("sent");
            talk.reply_in_full().await.map_or(String::new(), |(_, words)| words)
        };
        let words = loop {
            // Silent for a while, with an open ear.
            talk.patience = Duration::from_secs(200);
            if let Ok(words) = talk.line().await {
                break words;
            }
            talk.patience = Duration::from_secs(3600);
            let words = step(&mut talk, "MAIL FROM:<a@b.example>\r\n").await;
            if !words.starts_with("250") {
                break words;
            }
            // In the middle of a message nothing ends.
            for command in ["RCPT TO:<x@y.example>\r\n", "DATA\r\n", "Subject: x\r\n\r\nbody\r\n.\r\n"] {
                talk.pause(Duration::from_secs(60)).await;
                let words = step(&mut talk, command).await;
                assert!(words.starts_with('2') || words.starts_with('3'), "{words}");
            }
            taken += 1;
        };
        (began, words, talk.runtime.now(), taken)
    });
    assert_eq!(words, "421 4.3.2 The session has lasted long enough, connect again");
    let took = at.since(began);
    // Its last message was under way when the time was over; nothing was waited for behind that.
    assert!((server::SESSION..server::SESSION + Duration::from_secs(100)).contains(&took), "{took:?}");
    assert!(taken > 30, "{taken}");
}

/// The same for one that never pauses between two messages: the commands of the next come with the end of each.
#[test]
fn a_session_that_never_pauses_ends_too() {
    let world = World::new(1);
    let _relay = relay_of(&world);
    let (began, last, at) = play(&world, 9, async |mut talk| {
        let began = talk.runtime.now();
        greeted(&mut talk).await;
        let next = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n";
        talk.send(next).await.expect("sent");
        loop {
            // No divisor of the session's time: that must not be over at a message by a hair.
            talk.pause(Duration::from_secs(97)).await;
            if talk.send(&[b"x\r\n.\r\n", &next[..]].concat()).await.is_err() {
                break;
            }
        }
        let (last, _) = end(&mut talk).await;
        (began, last, talk.runtime.now())
    });
    assert_eq!(last, "421 4.3.2 The session has lasted long enough, connect again");
    let took = at.since(began);
    assert!((server::SESSION..server::SESSION + Duration::from_secs(300)).contains(&took), "{took:?}");
}

/// A body that drips: it goes on while its blocks come in time, and ends when all of its time is over.
#[test]
fn a_body_has_its_time_by_its_length() {
    for (gap, span) in
        [(server::DATA_BLOCK - SLACK, server::DATA), (server::DATA_BLOCK + SLACK, server::DATA_BLOCK)]
    {
        let world = World::new(1);
        let _relay = relay_of(&world);
        let (began, last, at) = play(&world, 9, async move |mut talk| {
            greeted(&mut talk).await;
            for command in ["MAIL FROM:<a@b.example>\r\n", "RCPT TO:<x@y.example>\r\n", "DATA\r\n"] {
                talk.ask(command).await.expect("an answer");
            }
            let began = talk.runtime.now();
            while talk.send(b"x").await.is_ok() {
                talk.pause(gap).await;
            }
            let (last, _) = end(&mut talk).await;
            (began, last, talk.runtime.now())
        });
        assert_eq!(last, "421 4.4.2 Timeout");
        let took = at.since(began);
        assert!((span..span + 2 * gap + SLACK).contains(&took), "{took:?}, not {span:?}");
    }
    // A slow line that is at work is waited for, though the whole takes longer than that.
    let world = World::new(1);
    let _relay = relay_of(&world);
    let (code, took) = play(&world, 9, async |mut talk| {
        greeted(&mut talk).await;
        for command in ["MAIL FROM:<a@b.example>\r\n", "RCPT TO:<x@y.example>\r\n", "DATA\r\n"] {
            talk.ask(command).await.expect("an answer");
        }
        let began = talk.runtime.now();
        let line = [&[b'x'; 998][..], b"\r\n"].concat();
        while talk.runtime.now().since(began) < server::DATA + Duration::from_secs(600) {
            talk.send(&line.repeat(100)).await.expect("sent");
            talk.pause(Duration::from_secs(10)).await;
        }
        (talk.ask(".\r\n").await.ok(), talk.runtime.now().since(began))
    });
    assert_eq!(code, Some(250));
    assert!(took > server::DATA);
}

/// Replies nobody reads: the session ends a while after its socket is full, and what it held comes back.
#[test]
fn a_client_that_does_not_read_is_left() {
    let world = World::new(1);
    let relay = relay_of(&world);
    let talk = play(&world, 9, async |mut talk| {
        greeted(&mut talk).await;
        talk.send(b"MAIL FROM:<a@b.example>\r\n").await.expect("sent");
        talk.patience = Duration::from_secs(5);
        let mut number = 0;
        // Until it takes no more, for it cannot answer.
        while talk.send(format!("RCPT TO:<u{number}@y.example>\r\n").as_bytes()).await.is_ok() {
            number = (number + 1) % 900;
        }
        talk
    });
    let closed = || relay.sum(|of| &of.connections_closed);
    world.run_for(server::SEND - Duration::from_secs(5) - SLACK);
    assert_eq!(closed(), 0, "too early");
    assert!(relay.sum(|of| &of.client_memory) > 0);
    world.run_for(2 * SLACK);
    assert_eq!(closed(), 1, "it is still open");
    world.run_for(SLACK);
    assert_eq!(relay.sum(|of| &of.client_memory), 0);
    drop(talk);
}

/// Transactions of a thousand long recipients: over the bound they are told to wait, and all of it comes back.
#[test]
fn what_clients_make_us_keep_has_a_bound_and_comes_back() {
    let world = World::new(1);
    let configuration = super::relay::configuration("")
        .replace("[\"10.0.0.0/8\"]\n", "[\"10.0.0.0/8\"]\nconnections_per_client = 1000\n");
    let memory = 8 << 20;
    let room = relevo::shard::mesh::MeshLimits { memory, ..relevo::shard::mesh::MeshLimits::of(1) };
    let launch = super::relay::Launch { node: 1, shards: 1, lanes: 1, room, configuration: &configuration };
    let relay = Relay::launch(&world, &launch).expect("a relay");
    let told = Rc::new(RefCell::new(Vec::new()));
    for number in 0..60u16 {
        let runtime = world.shard(9, number);
        let (own, told) = (runtime.clone(), told.clone());
        runtime.spawn(async move {
            let stream = own.connect(None, RELAY.parse().expect("an address")).expect("a socket");
            let mut talk = Talk::new(own, stream, Duration::from_secs(3600));
            talk.connected().await.expect("a connection");
            greeted(&mut talk).await;
            let mut codes = [talk.ask("MAIL FROM:<a@b.example>\r\n").await.unwrap_or(0), 0, 0];
            for recipient in 0..1000 {
                let command =
                    format!("RCPT TO:<{recipient:04}{}@{}.example>\r\n", "l".repeat(250), "d".repeat(60));
                match talk.ask(&command).await {
                    Ok(250) => codes[1] += 1,
                    Ok(452) => codes[2] += 1,
                    _ => break,
                }
                if codes[0] != 250 {
                    break;
                }
            }
            told.borrow_mut().push(codes);
            talk.pause(Duration::from_secs(120)).await;
        });
    }
    assert!(run_until_true(&world, Duration::from_secs(3000), || told.borrow().len() == 60));
    world.run_for(Duration::from_secs(2));
    let held = relay.sum(|of| &of.client_memory) as usize;
    assert!((memory / 2..memory + 60 * limits::COMMAND_LINE_MAX + (1 << 20)).contains(&held), "{held}");
    let refused = told.borrow().iter().filter(|codes| codes[2] > 0 || codes[0] == 452).count();
    assert!(refused > 20, "{refused}: {:?}", told.borrow());
    world.run_for(Duration::from_secs(200));
    assert_eq!(relay.sum(|of| &of.client_memory), 0, "not all of it came back");
}

#[test]
fn a_client_has_so_many_connections_over_all_shards() {
    let world = World::new(1);
    let configuration = super::relay::configuration("")
        .replace("[\"10.0.0.0/8\"]\n", "[\"10.0.0.0/8\"]\nconnections_per_client = 5\nconnections_max = 8\n");
    let room = relevo::shard::mesh::MeshLimits::of(2);
    let launch = super::relay::Launch { node: 1, shards: 2, lanes: 2, room, configuration: &configuration };
    let relay = Relay::launch(&world, &launch).expect("a relay");
    let heard = Rc::new(RefCell::new(Vec::new()));
    let open = |node: u32, count: u16, stay: u64| {
        for number in 0..count {
            let runtime = world.shard(node, 100 + number);
            let (own, heard) = (runtime.clone(), heard.clone());
            runtime.spawn(async move {
                let stream = own.connect(None, RELAY.parse().expect("an address")).expect("a socket");
                let mut talk = Talk::new(own, stream, Duration::from_secs(60));
                talk.connected().await.expect("a connection");
                let line = talk.line().await.unwrap_or_default();
                heard.borrow_mut().push((node, line));
                talk.pause(Duration::from_secs(stay)).await;
            });
        }
        world.run_for(Duration::from_secs(2));
    };
    let count = |node: u32, words: &str| {
        heard.borrow().iter().filter(|(from, line)| *from == node && line.starts_with(words)).count()
    };
    open(8, 7, 30);
    assert_eq!((count(8, "220"), count(8, "421 4.7.0 Too many connections from your address")), (5, 2));
    open(9, 7, 30);
    assert_eq!((count(9, "220"), count(9, "421 4.3.2 Too many connections")), (3, 4));
    assert_eq!(relay.sum(|of| &of.connections_refused_client), 2);
    // Who leaves makes room at once.
    world.run_for(Duration::from_secs(40));
    heard.borrow_mut().clear();
    open(8, 6, 1);
    assert_eq!((count(8, "220"), count(8, "421 4.7.0")), (5, 1));
}

/// Nobody's mail is kept out by sessions that are only there: sessions have a bound of their own, at which STARTTLS is put off.
#[test]
fn strangers_in_handshakes_keep_no_mail_out() {
    let world = World::new(1);
    let made = rcgen::generate_simple_self_signed(["mx.example".to_owned()]).expect("a certificate");
    let files = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let tls = format!("tls_certificate = {certificate:?}\ntls_key = {key:?}\n");
    let configuration = super::relay::configuration("")
        .replace("[\"10.0.0.0/8\"]\n", &format!("[\"10.0.0.0/8\"]\nconnections_per_client = 1000\n{tls}"));
    let room = relevo::shard::mesh::MeshLimits { memory: 4 << 20, ..relevo::shard::mesh::MeshLimits::of(1) };
    let launch = super::relay::Launch { node: 1, shards: 1, lanes: 1, room, configuration: &configuration };
    let relay = Relay::launch(&world, &launch).expect("a relay");
    let told = Rc::new(RefCell::new(Vec::new()));
    for number in 0..200u16 {
        let runtime = world.shard(8, number);
        let (own, told) = (runtime.clone(), told.clone());
        runtime.spawn(async move {
            let stream = own.connect(None, RELAY.parse().expect("an address")).expect("a socket");
            let mut talk = Talk::new(own, stream, Duration::from_secs(3600));
            talk.connected().await.expect("a connection");
            greeted(&mut talk).await;
            let code = talk.ask("STARTTLS\r\n").await.unwrap_or(0);
            told.borrow_mut().push(code);
            talk.pause(Duration::from_secs(40)).await;
        });
    }
    world.run_for(Duration::from_secs(10));
    let most = (2 << 20) / (limits::TLS_SESSION_MEMORY + limits::HANDSHAKE_MAX);
    let begun = told.borrow().iter().filter(|code| **code == 220).count();
    let put_off = told.borrow().iter().filter(|code| **code == 454).count();
    assert!((most / 2..=most + 1).contains(&begun) && begun + put_off == 200, "{begun} and {put_off}");
    assert!(relay.sum(|of| &of.session_memory) as usize > begun * limits::TLS_SESSION_MEMORY);
    let codes = play(&world, 9, async |mut talk| {
        greeted(&mut talk).await;
        (message(&mut talk).await, talk.ask("STARTTLS\r\n").await.ok())
    });
    assert_eq!(codes, (250, Some(454)));
    world.run_for(Duration::from_secs(60));
    assert_eq!(relay.sum(|of| &of.client_memory), 0);
    // A ClientHello without an end is not waited for, for rustls keeps all of it.
    let (code, sent) = play(&world, 9, async |mut talk| {
        greeted(&mut talk).await;
        let code = talk.ask("STARTTLS\r\n").await.ok();
        let mut sent = 0;
        let record = [&[22, 3, 1, 8, 0][..], &[1, 0, 0xff, 0], &[0; 2044]].concat();
        while sent < 60 * 1024 && talk.send(&record).await.is_ok() {
            sent += record.len();
            talk.pause(Duration::from_millis(100)).await;
        }
        (code, sent)
    });
    assert_eq!(code, Some(220));
    assert!((limits::HANDSHAKE_MAX..limits::HANDSHAKE_MAX + 3 * 2053).contains(&sent), "{sent}");
}

/// At the bound even a small body goes to the spool as it comes.
#[test]
fn small_bodies_that_come_slowly_stay_within_the_bound() {
    const CLIENTS: u16 = 200;
    let world = World::new(1);
    let configuration = super::relay::configuration("")
        .replace("[\"10.0.0.0/8\"]\n", "[\"10.0.0.0/8\"]\nconnections_per_client = 1000\n");
    let room = relevo::shard::mesh::MeshLimits { memory: 2 << 20, ..relevo::shard::mesh::MeshLimits::of(1) };
    let launch = super::relay::Launch { node: 1, shards: 1, lanes: 1, room, configuration: &configuration };
    let relay = Relay::launch(&world, &launch).expect("a relay");
    let taken = Rc::new(RefCell::new(Vec::new()));
    for number in 0..CLIENTS {
        let runtime = world.shard(9, number);
        let (own, taken) = (runtime.clone(), taken.clone());
        runtime.spawn(async move {
            let stream = own.connect(None, RELAY.parse().expect("an address")).expect("a socket");
            let mut talk = Talk::new(own, stream, Duration::from_secs(3600));
            talk.connected().await.expect("a connection");
            greeted(&mut talk).await;
            for command in ["MAIL FROM:<a@b.example>\r\n", "RCPT TO:<x@y.example>\r\n", "DATA\r\n"] {
                talk.ask(command).await.expect("an answer");
            }
            talk.pause(Duration::from_secs(5)).await;
            let line = [&[b'x'; 498][..], b"\r\n"].concat();
            for _ in 0..31 {
                talk.send(&line).await.expect("sent");
                talk.pause(Duration::from_secs(1)).await;
            }
            talk.pause(Duration::from_secs(30)).await;
            let code = talk.ask(".\r\n").await.unwrap_or(0);
            taken.borrow_mut().push(code);
        });
    }
    let mut most = 0;
    for _ in 0..60 {
        world.run_for(Duration::from_secs(1));
        most = most.max(relay.sum(|of| &of.client_memory));
    }
    let each = 3 * limits::CHUNK_MIN as u64;
    assert!((1 << 19..(1 << 20) + u64::from(CLIENTS) * each).contains(&most), "{most}");
    world.run_for(Duration::from_secs(60));
    assert_eq!(*taken.borrow(), [250; CLIENTS as usize]);
    assert_eq!(relay.sum(|of| &of.client_memory), 0);
}

/// Who types byte by byte waits for no answer longer than he notices, in a line as in a body.
#[test]
fn who_types_is_answered() {
    let world = World::new(1);
    let _relay = relay_of(&world);
    let waits = play(&world, 9, async |mut talk| {
        greeted(&mut talk).await;
        let mut waits = Vec::new();
        for line in [
            "MAIL FROM:<a@b.example>\r\n",
            "RCPT TO:<x@y.example>\r\n",
            "DATA\r\n",
            "Subject: x\r\n\r\nbody\r\n.\r\n",
        ] {
            for byte in line.as_bytes() {
                talk.send(&[*byte]).await.expect("sent");
                talk.pause(Duration::from_millis(70)).await;
            }
            let typed = talk.runtime.now();
            let code = talk.reply().await.expect("an answer");
            assert!([250, 354].contains(&code), "{code}");
            waits.push(talk.runtime.now().since(typed));
        }
        waits
    });
    assert!(waits.iter().all(|wait| *wait < server::DRIP_WAIT.start * 3), "{waits:?}");
}

/// Reading from many that drip takes turns: nobody waits for his longer than the bound, and none of what they send is lost.
#[test]
fn who_drips_among_many_has_his_turn() {
    let world = World::new(1);
    let _relay = relay_of(&world);
    let left = Rc::new(RefCell::new(Vec::new()));
    for number in 0..1500u32 {
        let runtime = world.shard(300 + number / 100, (number % 100) as u16);
        let (own, left) = (runtime.clone(), left.clone());
        runtime.spawn(async move {
            let stream = own.connect(None, RELAY.parse().expect("an address")).expect("a socket");
            let mut talk = Talk::new(own, stream, Duration::from_secs(3600));
            talk.connected().await.expect("a connection");
            greeted(&mut talk).await;
            for byte in b"MAIL FROM:<dripping@b.example>" {
                talk.send(&[*byte]).await.expect("sent");
                talk.pause(Duration::from_secs(1)).await;
            }
            let began = talk.runtime.now();
            let code = talk.ask("\r\n").await.expect("an answer");
            left.borrow_mut().push((code, talk.runtime.now().since(began)));
        });
    }
    let all = || left.borrow().len() == 1500;
    assert!(run_until_true(&world, Duration::from_secs(300), all), "{} of them", left.borrow().len());
    let left = left.borrow();
    assert!(left.iter().all(|(code, _)| *code == 250));
    let longest = left.iter().map(|(_, wait)| *wait).max().unwrap_or_default();
    // A shard reads of a thousand in a second.
    let turn = Duration::from_millis(1500 * 1000 / server::DRIPS_READ);
    assert!((turn / 2..turn + SLACK).contains(&longest), "{longest:?}");
}
