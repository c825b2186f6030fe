//! Next hops that take a message slowly, or not at all: each wait for them has an end (RFC 5321 4.5.3.2.5).

use std::cell::Cell;
use std::rc::Rc;
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

/// A hop that takes nothing, and says so, or goes, in the middle of each transaction: with the reply of this place in the dialogue.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Drops(usize),
    Says421(usize),
}

/// Counts its sessions, and is well as long as it is said to be. `poison`: it ends so only sessions that name this recipient.
fn ending_hop(world: &World, ends: Ends, poison: Option<&'static str>) -> (Rc<Cell<usize>>, Rc<Cell<bool>>) {
    let (sessions, well) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let runtime = world.shard(2, 0);
    let listener = runtime.listen("10.0.0.2:25".parse().expect("an address")).expect("a free address");
    let (own, counts, is_well) = (runtime.clone(), sessions.clone(), well.clone());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counts.set(counts.get() + 1);
            let well = is_well.clone();
            own.spawn(async move {
                let _ = stream.send(b"220 hop.example\r\n").await;
                let mut place = 0;
                let mut poisoned = poison.is_none();
                loop {
                    let until: &[u8] = if place == 4 { b"\r\n.\r\n" } else { b"\r\n" };
                    let Ok(line) = stream.recv_until(until, 10_000).await else { return };
                    if line.is_empty() {
                        return;
                    }
                    let text = String::from_utf8_lossy(&line).to_string();
                    poisoned |= poison.is_some_and(|one| text.contains(one));
                    if text.starts_with("QUIT") {
                        let _ = stream.send(b"221 bye\r\n").await;
                        return;
                    }
                    // RSET and MAIL begin anew.
                    if place != 4 && (text.starts_with("MAIL") || text.starts_with("RSET")) {
                        place = 1;
                    }
                    match ends {
                        Ends::Drops(at) if at == place && poisoned && !well.get() => return,
                        Ends::Says421(at) if at == place && poisoned && !well.get() => {
                            let _ = stream.send(b"421 4.3.0 not now\r\n").await;
                            return;
                        }
                        _ => {}
                    }
                    let answer = if place == 3 { &b"354 go\r\n"[..] } else { b"250 ok\r\n" };
                    if stream.send(answer).await.is_err() {
                        return;
                    }
                    place = if place == 4 { 1 } else { place + 1 };
                }
            });
        }
    });
    (sessions, well)
}

/// RFC 5321 4.5.4.1: however much waits, a hop that takes nothing is asked ever less often; and it has its mail soon after it is well again.
#[test]
fn a_hop_that_ends_each_session_is_left_alone() {
    story(4, |seed| {
        let all = [
            Ends::Drops(1),
            Ends::Drops(2),
            Ends::Drops(4),
            Ends::Says421(2),
            Ends::Says421(3),
            Ends::Says421(4),
        ];
        for ends in all {
            let world = World::new(seed);
            let (sessions, well) = ending_hop(&world, ends, None);
            let relay = Relay::start(&world, 1, 1, "[retry]\nfirst = \"10s\"\nmax = \"10s\"\n");
            hand_in_some(&world, 100, 0..400, vec!["u@d.example".to_owned()]);
            world.run_for(Duration::from_secs(300));
            // Twenty at a time, and the pause grows: it was one for each message each ten seconds.
            let asked = sessions.get();
            assert!((20..400).contains(&asked), "{ends:?}: {asked} sessions in five minutes");
            well.set(true);
            let done = || relay.sum(|of| &of.recipients_delivered) == 400;
            assert!(run_until_true(&world, Duration::from_secs(400), done), "{ends:?}: it is well again");
            relay.drain();
        }
    });
}

/// What one message does to a hop holds up no other.
#[test]
fn a_message_that_a_hop_chokes_on_holds_up_no_other() {
    story(4, |seed| {
        for ends in [Ends::Drops(2), Ends::Drops(4), Ends::Says421(3)] {
            let world = World::new(seed);
            let (_, _) = ending_hop(&world, ends, Some("poison"));
            let relay = Relay::start(&world, 1, 1, "[retry]\nfirst = \"10s\"\nmax = \"10s\"\n");
            for number in 0..3 {
                hand_in_some(&world, 100 + number, 0..1, vec!["poison@d.example".to_owned()]);
            }
            hand_in_some(&world, 200, 10..210, vec!["u@d.example".to_owned()]);
            let done = || relay.sum(|of| &of.recipients_delivered) >= 200;
            assert!(run_until_true(&world, Duration::from_secs(60), done), "{ends:?}");
            relay.drain();
        }
    });
}
