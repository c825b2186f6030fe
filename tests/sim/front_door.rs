//! Proxies in front of the relay, and TLS from the first byte: what comes before the greeting, in virtual time.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::limits::server;
use relevo::policy::tls::Client;
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use relevo::time::Instant;

use super::day::talk::Talk;
use super::relay::{Relay, run_until_true};
use super::secure::{self, Secure};

/// Beside the usual listener, which takes no headers.
const BEHIND: &str = "10.0.0.1:26";
const TLS_FIRST: &str = "10.0.0.1:465";
/// Clients that a proxy names, and the node that it runs on.
const PROXY: u32 = 9;
const SLACK: Duration = Duration::from_secs(3);

fn relay_of(world: &World) -> Relay<'_> {
    let more = format!(
        "[[listener]]\naddress = \"{BEHIND}\"\nproxy_from = [\"10.0.0.9\"]\nconnections_per_client = 2\n\
         relay_from = [\"127.0.0.0/8\", \"10.0.0.9\", \"10.0.0.77\"]\n"
    );
    Relay::start(world, 1, 2, &more)
}

/// Runs a client of a node to its end, within an hour.
fn play<T: 'static>(
    world: &World,
    (node, to): (u32, &'static str),
    client: impl AsyncFnOnce(Talk) -> T + 'static,
) -> T {
    let came = Rc::new(RefCell::new(None));
    let runtime = world.shard(node, 0);
    let (result, own) = (came.clone(), runtime.clone());
    runtime.spawn(async move {
        let to: SocketAddr = to.parse().expect("an address");
        let stream = own.connect(None, to).expect("a socket");
        let talk = Talk::new(own, stream, Duration::from_secs(3600));
        talk.connected().await.expect("a connection");
        *result.borrow_mut() = Some(client(talk).await);
    });
    assert!(run_until_true(world, Duration::from_secs(3600), || came.borrow().is_some()), "it never ends");
    let came = came.borrow_mut().take();
    came.expect("it is there")
}

fn header(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 10.0.0.1 1234 26\r\n").into_bytes()
}

/// The code that a client's recipient gets behind a header.
async fn recipient(talk: &mut Talk, header: &[u8]) -> u16 {
    talk.send(header).await.expect("sent");
    assert_eq!(talk.reply().await.ok(), Some(220));
    for command in ["EHLO client.example\r\n", "MAIL FROM:<a@b.example>\r\n"] {
        assert_eq!(talk.ask(command).await.ok(), Some(250));
    }
    talk.ask("RCPT TO:<x@y.example>\r\n").await.expect("an answer")
}

/// Whoever is trusted is so by the address that he has, not by that of a proxy, and loopback is a machine's own.
#[test]
fn another_machines_loopback_is_not_ours() {
    let world = World::new(1);
    let relay = relay_of(&world);
    for (client, code) in [
        ("10.0.0.77", 250),
        ("10.0.0.78", 550),
        ("127.0.0.1", 550),
        ("127.1.2.3", 550),
        // As the proxy itself connects, it is a client like others.
        ("10.0.0.9", 250),
    ] {
        let header = header(client);
        let came = play(&world, (PROXY, BEHIND), async move |mut talk| recipient(&mut talk, &header).await);
        assert_eq!(came, code, "{client}");
    }
    // Elsewhere, and at another listener, a header is none.
    for (node, to) in [(8, BEHIND), (PROXY, "10.0.0.1:25")] {
        let last = play(&world, (node, to), async |mut talk| {
            talk.send(&header("10.0.0.77")).await.expect("sent");
            assert_eq!(talk.reply().await.ok(), Some(220));
            talk.line().await.expect("a line")
        });
        assert_eq!(last, "421 4.5.0 No PROXY header is taken from your address");
    }
    assert_eq!(relay.sum(|counters| &counters.messages_received), 0);
}

#[test]
fn a_header_has_its_time_however_it_drips() {
    let world = World::new(1);
    let _relay = relay_of(&world);
    for (pause, whole) in [(0u64, true), (100, true), (1000, false), (u64::MAX, false)] {
        let (said, took) = play(&world, (PROXY, BEHIND), async move |mut talk| {
            let began = talk.runtime.now();
            for byte in header("10.0.0.77") {
                if pause == u64::MAX || talk.send(&[byte]).await.is_err() {
                    break;
                }
                talk.pause(Duration::from_millis(pause)).await;
            }
            (talk.line().await.expect("a line"), talk.runtime.now().since(began))
        });
        if whole {
            assert!(said.starts_with("220 "), "{said}");
        } else {
            assert_eq!(said, "421 4.4.2 Timeout: no PROXY header came, which is due from your address");
            // A client that drips sees it when it has sent the rest.
            assert!(took >= server::PROXY && (pause == 1000 || took <= server::PROXY + SLACK), "{took:?}");
        }
    }
}

/// A flood of looks is no client of anybody, and writes nothing.
#[test]
fn looks_are_told_nowhere() {
    let world = World::new(1);
    let relay = relay_of(&world);
    for round in 0..100 {
        play(&world, (PROXY, BEHIND), async move |mut talk| {
            let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
            let looks: [&[u8]; 4] = [b"", b"PROXY UNK", b"PROXY UNKNOWN\r\n", local];
            talk.send(looks[round % 4]).await.expect("sent");
            if round % 4 > 1 {
                assert_eq!(talk.reply().await.ok(), Some(220));
                assert_eq!(talk.ask("EHLO x\r\n").await.ok(), Some(250));
            }
        });
    }
    // One that is kept open and silent is ended in time, and told nowhere either.
    let last = play(&world, (PROXY, BEHIND), async |mut talk| {
        talk.send(b"PROXY UNKNOWN\r\n").await.expect("sent");
        assert_eq!(talk.reply().await.ok(), Some(220));
        talk.line().await.expect("a line")
    });
    assert_eq!(last, "421 4.4.2 Timeout");
    world.run_for(Duration::from_secs(5));
    assert_eq!(relay.sum(|counters| &counters.rejections), 0);
    assert!(relay.log().iter().all(|event| event["event"] != "rejected"));
}

/// Each client of a proxy has its own connections, over all shards.
fn clients_are_counted(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let relay = relay_of(&world);
    let open: Rc<RefCell<Vec<Talk>>> = Rc::default();
    let greeted = |client: &'static str| {
        let open = open.clone();
        play(&world, (PROXY, BEHIND), async move |mut talk| {
            talk.send(&header(client)).await.expect("sent");
            let code = talk.reply().await.ok();
            open.borrow_mut().push(talk);
            code
        })
    };
    for client in ["10.0.0.77", "10.0.0.78", "127.0.0.1"] {
        assert_eq!([greeted(client), greeted(client), greeted(client)], [Some(220), Some(220), Some(421)]);
    }
    assert_eq!(relay.sum(|counters| &counters.connections_refused_client), 3);
    open.borrow_mut().clear();
    world.run_for(Duration::from_secs(1));
    assert_eq!(greeted("10.0.0.77"), Some(220), "what is closed does not count");
}

#[test]
fn each_client_of_a_proxy_is_counted() {
    clients_are_counted(1, None);
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| clients_are_counted(seed, Some(defect)));
    assert!((1..=2).any(|seed| told(seed).is_err()), "{defect:?}: not found in 2 stories");
}

/// TLS from the first byte, behind a header or not, in pieces or not; silence before it has its time.
#[test]
fn tls_comes_first_where_it_must() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (chain, key) = secure::certificate("relay.example", true);
    let [chain_file, key_file] = ["chain.pem", "key.pem"].map(|name| scratch.path().join(name));
    std::fs::write(&chain_file, chain).expect("written");
    std::fs::write(&key_file, key).expect("written");
    let more = format!(
        "[[listener]]\naddress = \"{TLS_FIRST}\"\nkind = \"submissions\"\nproxy_from = [\"10.0.0.9\"]\n\
         tls_certificate = {chain_file:?}\ntls_key = {key_file:?}\nrelay_from = [\"10.0.0.77\"]\n"
    );
    let world = World::new(3);
    let relay = Relay::start(&world, 1, 1, &more);
    let config = Client::new().expect("a client");
    for (node, first, code) in [
        (8, None, "530 5.7.0 Authentication required"),
        (PROXY, Some(header("10.0.0.78")), "530 5.7.0 Authentication required"),
        (PROXY, Some(header("10.0.0.77")), "250 2.1.0 Ok"),
    ] {
        let came = Rc::new(RefCell::new(None));
        let (result, own) = (came.clone(), world.shard(node, 0));
        let connection = config.connection("relay.example").expect("a connection");
        world.shard(node, 0).spawn(async move {
            let stream = own.connect(None, TLS_FIRST.parse().expect("an address")).expect("a socket");
            stream.connected().await.expect("a connection");
            let mut client = Secure::new(stream);
            if let Some(first) = first {
                client.send(std::str::from_utf8(&first).expect("text")).await.expect("sent");
            }
            client.shake(connection).await.expect("a handshake");
            let mut last = client.line().await.expect("a greeting");
            assert!(last.starts_with("220 "), "{last}");
            client.send("EHLO client.example\r\n").await.expect("sent");
            while !last.starts_with("250 ") {
                last = client.line().await.expect("a line");
                assert!(!last.contains("STARTTLS"), "under TLS it is not offered");
            }
            client.send("MAIL FROM:<a@b.example>\r\n").await.expect("sent");
            *result.borrow_mut() = Some(client.line().await.expect("a line"));
        });
        assert!(run_until_true(&world, Duration::from_secs(60), || came.borrow().is_some()), "{code}");
        assert_eq!(came.borrow().as_deref(), Some(code));
    }
    assert_eq!(relay.sum(|counters| &counters.tls_sessions), 3);
    let silence = |world: &World| -> Duration {
        play(world, (8, TLS_FIRST), async |mut talk| {
            let began: Instant = talk.runtime.now();
            assert!(talk.line().await.is_err(), "nothing is said before TLS");
            talk.runtime.now().since(began)
        })
    };
    let took = silence(&world);
    assert!((server::HANDSHAKE..=server::HANDSHAKE + SLACK).contains(&took), "{took:?}");
    assert_eq!(relay.sum(|counters| &counters.tls_failed), 1);
}
