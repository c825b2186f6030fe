//! Next hops that take a message slowly, or not at all: each wait for them has an end (RFC 5321 4.5.3.2.5).

use std::time::Duration;

use relevo::limits;
use relevo::runtime::Runtime;
use relevo::runtime::sim::World;
use relevo::time::Instant;

use super::day::talk::Talk;
use super::peers::hand_in_some;
use super::relay::{Relay, run_until_true};
use super::story;

const SIZE: usize = 2 * 1024 * 1024;

/// A hop that goes as far as 354, and then takes so many bytes every so often.
fn hop(world: &World, taken: usize, every: Duration) {
    let runtime = world.shard(2, 0);
    let listener = runtime.listen("10.0.0.2:25".parse().expect("an address")).expect("a free address");
    let own = runtime.clone();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let runtime = own.clone();
            own.spawn(async move {
                let _ = stream.send(b"220 hop.example\r\n").await;
                for answer in [&b"250 hop.example\r\n"[..], b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"] {
                    let _ = stream.recv_until(b"\r\n", 1000).await;
                    let _ = stream.send(answer).await;
                }
                loop {
                    runtime.sleep_until(runtime.now() + every).await;
                    let mut bytes = vec![0; taken];
                    if taken > 0 && stream.recv(&mut bytes).await.is_ok_and(|count| count == 0) {
                        return;
                    }
                }
            });
        }
    });
}

/// How long the one message is under way to such a hop before it is given up for the time being.
fn lasts(seed: u64, taken: usize, every: Duration) -> Duration {
    let world = World::new(seed);
    hop(&world, taken, every);
    let relay = Relay::start(&world, 1, 1, "[retry]\nfirst = \"1h\"\nmax = \"1h\"\n");
    let runtime = world.shard(200, 0);
    let own = runtime.clone();
    runtime.spawn(async move {
        let stream = own.connect(None, "10.0.0.1:25".parse().expect("an address")).expect("a socket");
        let mut talk = Talk::new(own, stream, Duration::from_secs(300));
        let _ = talk.connected().await;
        let _ = talk.reply().await;
        let commands = "HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@d.example>\r\nDATA\r\n";
        for command in commands.split_inclusive('\n') {
            let _ = talk.ask(command).await;
        }
        let _ =
            talk.ask(&format!("Subject: big\r\n\r\n{}.\r\n", "0123456789abcde\r\n".repeat(SIZE / 17))).await;
    });
    assert!(run_until_true(&world, Duration::from_secs(60), || {
        relay.sum(|of| &of.outbound_connections_opened) == 1
    }));
    let begun = world.now().max(Instant(1));
    let deferred = || relay.sum(|of| &of.recipients_deferred) == 1;
    assert!(run_until_true(&world, Duration::from_secs(4 * 3600), deferred), "no end after four hours");
    let lasted = world.now().since(begun);
    relay.drain();
    lasted
}

#[test]
fn a_hop_that_takes_nothing_is_left() {
    for seed in 1..=3 {
        let lasted = lasts(seed, 0, Duration::from_secs(1));
        let bound = limits::client::BLOCK + Duration::from_secs(30);
        assert!(lasted <= bound && lasted + Duration::from_secs(30) >= limits::client::BLOCK, "{lasted:?}");
    }
}

/// A kilobyte a minute is progress, and yet has an end that grows with the message.
#[test]
fn a_hop_that_takes_a_little_at_a_time_is_left() {
    for seed in 1..=2 {
        let lasted = lasts(seed, 1024, Duration::from_secs(60));
        let most = limits::client::BODY + Duration::from_secs(SIZE as u64 / limits::client::BODY_RATE + 30);
        assert!(lasted <= most && lasted > limits::client::BODY, "{lasted:?}, not within {most:?}");
    }
}

/// A site that is tried each second is found closed by nobody who looks once a second.
#[test]
fn mail_for_a_site_that_rests_for_a_second_is_told_and_given_up_in_time() {
    story(8, |seed| {
        let world = World::new(seed);
        let retry = "[retry]\nfirst = \"1s\"\nmax = \"1s\"\nexpire = \"4s\"\n";
        let relay = Relay::start(&world, 1, 1, retry);
        world.run_for(Duration::from_millis(seed * 117));
        hand_in_some(&world, 100, 0..1, vec!["u@d.example".to_owned()]);
        assert!(
            run_until_true(&world, Duration::from_secs(7), || relay.sum(|of| &of.recipients_expired) == 1),
            "it is not given up"
        );
        assert!(relay.sum(|of| &of.recipients_deferred) > 0, "nobody was told why it waits");
        relay.drain();
    });
}
