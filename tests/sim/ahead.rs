//! Commands that go behind the body of the message before (RFC 2920 section 3.1), and what is learned of the hop meanwhile.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::Runtime;
use relevo::runtime::sim::{SimRuntime, World};

use super::day::talk::Talk;
use super::peers::hand_in;
use super::relay::{Relay, run_until_true};

/// Recipients and text of all that a hop took.
type Taken = Rc<RefCell<Vec<(String, String)>>>;

/// What came for a recipient.
fn texts(taken: &Taken, name: &str) -> Vec<String> {
    let taken = taken.borrow();
    let of = taken.iter().filter(|(line, _)| line.contains(&format!("<{name}@")));
    of.map(|(_, text)| text.clone()).collect()
}

fn to(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name}@d.example")).collect()
}

/// A hop that takes one recipient of a transaction, knows none whose name begins with `no`, and is slow with the
/// messages for `slow`, `slower` and `a`.
struct Hop {
    talk: Talk,
    taken: Taken,
}

impl Hop {
    fn start(world: &World) -> Taken {
        let taken = Rc::default();
        let runtime = world.shard(2, 0);
        let listener = runtime.listen("10.0.0.2:25".parse().expect("an address")).expect("a free address");
        let (own, all): (SimRuntime, Rc<_>) = (runtime.clone(), Rc::clone(&taken));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let talk = Talk::new(own.clone(), stream, Duration::from_secs(600));
                let hop = Hop { talk, taken: Rc::clone(&all) };
                own.spawn(async move { drop(hop.serve().await) });
            }
        });
        taken
    }

    async fn serve(mut self) -> io::Result<()> {
        self.talk.send(b"220 hop.example\r\n").await?;
        let mut recipient = None;
        loop {
            let line = self.talk.line().await?;
            let answer = match line.get(..4).unwrap_or_default() {
                "EHLO" => "250-hop.example\r\n250 PIPELINING\r\n",
                "RCPT" if line.contains("<no") => "550 5.1.1 who\r\n",
                "RCPT" if recipient.is_some() => "452 4.5.3 too many recipients\r\n",
                "RCPT" => {
                    recipient = Some(line);
                    "250 2.1.5 ok\r\n"
                }
                "DATA" if recipient.is_none() => "554 5.5.1 no valid recipients\r\n",
                "DATA" => {
                    self.take(recipient.take().unwrap_or_default()).await?;
                    continue;
                }
                _ => "250 2.0.0 ok\r\n",
            };
            self.talk.send(answer.as_bytes()).await?;
        }
    }

    async fn take(&mut self, recipient: String) -> io::Result<()> {
        let waits = [("<slow", 2, 5), ("<slower", 0, 65), ("<a@", 3, 0)];
        let waits = waits.iter().filter(|(name, ..)| recipient.contains(name));
        let (data, dot) = waits.fold((0, 0), |(data, dot), wait| (data + wait.1, dot + wait.2));
        self.talk.pause(Duration::from_secs(data)).await;
        self.talk.send(b"354 go\r\n").await?;
        let text = self.talk.until_dot().await?;
        self.talk.pause(Duration::from_secs(dot)).await;
        self.taken.borrow_mut().push((recipient, String::from_utf8_lossy(&text).into_owned()));
        self.talk.send(b"250 2.0.0 taken\r\n").await
    }
}

#[test]
fn what_went_ahead_is_one_transaction_whatever_is_learned_meanwhile() {
    super::story(20, |seed| {
        let world = World::new(seed);
        let taken = Hop::start(&world);
        let more = "[delivery]\nconnections_per_destination = 2\nprivate_networks = \"allow\"\n";
        let relay = Relay::start(&world, 1, 1, more);
        // Both connections are busy when the third message comes: it goes behind the body for `slow`, and while that is taken the message for
        // `a` shows that the hop takes one recipient at a time.
        hand_in(&world, 0, 0, to(&["slow"]));
        hand_in(&world, 1, 1, to(&["a", "b", "c"]));
        hand_in(&world, 2, 2, to(&["no1", "no2", "x", "y", "z"]));
        let all = ["slow", "a", "b", "c", "x", "y", "z"];
        let done = || all.iter().all(|name| !texts(&taken, name).is_empty());
        assert!(run_until_true(&world, Duration::from_secs(100), done), "{:?}", taken.borrow());
        for name in all {
            let texts = texts(&taken, name);
            assert!(texts.len() == 1 && texts[0].contains("Subject: test"), "{name} got {texts:?}");
        }
        world.run_for(Duration::from_secs(10));
        relay.drain();
    });
}

#[test]
fn a_connection_ends_where_the_message_of_commands_that_went_ahead_cannot_be_read() {
    super::story(5, |seed| {
        let world = World::new(seed);
        let taken = Hop::start(&world);
        let more = "[delivery]\nconnections_per_destination = 1\nprivate_networks = \"allow\"\n";
        let relay = Relay::start(&world, 1, 1, more);
        hand_in(&world, 0, 0, to(&["slower"]));
        world.run_for(Duration::from_secs(1));
        hand_in(&world, 1, 1, to(&["lost"]));
        world.run_for(Duration::from_secs(5));
        // By the time the body before it is taken, nobody knows any more whether its pages are in memory: they are read, and cannot be.
        for lane in ["lane-000", "lane-001"] {
            for page in 0..256 {
                let _ = world.spoil(1, format!("/spool/{lane}/00000.seg"), page * 4096);
            }
        }
        let unreadable = || relay.sum(|of| &of.messages_unreadable) > 0;
        assert!(run_until_true(&world, Duration::from_secs(100), unreadable));
        hand_in(&world, 2, 2, to(&["b"]));
        let done = || !texts(&taken, "b").is_empty();
        assert!(run_until_true(&world, Duration::from_secs(100), done), "{:?}", taken.borrow());
        let [slower, b] = ["slower", "b"].map(|name| texts(&taken, name));
        assert!(slower.len() == 1 && b.len() == 1 && b[0].contains("<0-2-1-14>"), "{b:?}");
        assert_eq!(texts(&taken, "lost"), Vec::<String>::new());
        world.run_for(Duration::from_secs(10));
        relay.drain();
    });
}
