//! Rates of clients: what they bring over the shards in any window, and what a MAIL costs that comes to no message.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use relevo::time::Instant;

use super::day::talk::Talk;
use super::relay::{Launch, Relay, configuration, run_until_true};

const HOUR: u64 = 3_600_000_000_000;
const RELAY: &str = "10.0.0.1:25";
const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nA line.\r\n.\r\n";

/// When each message of one client was taken, which has ten connections over two shards and sends as much as it may for three hours, and has one MAIL in two come to nothing.
fn brought(seed: u64, limit: &str, defect: Option<Defect>) -> Vec<Instant> {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let listener =
        format!("[\"10.0.0.0/8\"]\nmessages_per_client = \"{limit}\"\nrecipients_per_client = \"1000/s\"\n");
    let configuration =
        configuration("").replace("[\"10.0.0.0/8\"]\n", &listener).replace("smtp://10.0.0.2:25", "discard");
    let room = relevo::shard::mesh::MeshLimits::of(2);
    let launch = Launch { node: 1, shards: 2, lanes: 2, room, configuration: &configuration };
    let _relay = Relay::launch(&world, &launch).expect("a relay");
    let (taken, ended) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(0)));
    for number in 0..10u16 {
        let runtime = world.shard(9, number);
        let (own, taken, ended) = (runtime.clone(), taken.clone(), ended.clone());
        runtime.spawn(async move {
            let began = own.now();
            while own.now().since(began) < Duration::from_secs(3 * 3600) {
                let stream = own.connect(None, RELAY.parse().expect("an address")).expect("a socket");
                let mut talk = Talk::new(own.clone(), stream, Duration::from_secs(3600));
                talk.connected().await.expect("a connection");
                assert_eq!(talk.reply().await.ok(), Some(220));
                assert_eq!(talk.ask("EHLO client.example\r\n").await.ok(), Some(250));
                for turn in 0..8 {
                    match talk.ask("MAIL FROM:<a@b.example>\r\n").await {
                        Ok(250) if turn % 2 == 0 => assert_eq!(talk.ask("RSET\r\n").await.ok(), Some(250)),
                        Ok(250) => {
                            assert_eq!(talk.ask("RCPT TO:<c@d.example>\r\n").await.ok(), Some(250));
                            assert_eq!(talk.ask("DATA\r\n").await.ok(), Some(354));
                            talk.send(MESSAGE).await.expect("it reads");
                            assert_eq!(talk.reply().await.ok(), Some(250));
                            taken.borrow_mut().push(own.now());
                        }
                        other => assert_eq!(other.ok(), Some(451)),
                    }
                }
                let _ = talk.ask("QUIT\r\n").await;
                talk.pause(Duration::from_secs(20 + u64::from(number))).await;
            }
            *ended.borrow_mut() += 1;
        });
    }
    assert!(
        run_until_true(&world, Duration::from_secs(4 * 3600), || *ended.borrow() == 10),
        "they never end"
    );
    let mut taken = taken.take();
    taken.sort();
    taken
}

fn most_within(taken: &[Instant], span: u64) -> usize {
    let within = |from: usize| taken[from..].iter().take_while(|at| at.0 < taken[from].0 + span).count();
    (0..taken.len()).map(within).max().unwrap_or_default()
}

#[test]
fn a_client_brings_no_more_in_any_window_than_it_may() {
    let taken = brought(1, "40/h", None);
    // What was taken for MAIL alone came back, or the hours would have half of it. A reply takes its way.
    let most = most_within(&taken, HOUR - 2_000_000_000);
    assert!(most <= 40 && taken.len() >= 100, "{most} of {}", taken.len());
}

/// Plants a defect of rates: it must be seen.
pub fn is_found(defect: Defect) {
    let most = most_within(&brought(1, "40/h", Some(defect)), HOUR - 2_000_000_000);
    assert!(most > 40, "{defect:?}: {most} in an hour");
}
