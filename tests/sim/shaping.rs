//! What shaping files say, counted by the hops it is said of, over many shards.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};

use super::crowds::{launch, names};
use super::day::talk::Talk;
use super::peers::hand_in_some;
use super::relay::run_until_true;
use super::story;

/// A hop that counts.
#[derive(Default)]
struct Hop {
    /// Messages it took.
    taken: Cell<usize>,
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
                let hop = serving.clone();
                own.spawn(async move {
                    let _ = hop.serve(talk).await;
                });
            }
        });
        hop
    }

    async fn serve(&self, mut talk: Talk) -> io::Result<()> {
        talk.send(b"220 hop.example\r\n").await?;
        loop {
            let line = talk.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match &*verb {
                "EHLO" => talk.send(b"250-hop.example\r\n250 PIPELINING\r\n").await?,
                "RCPT" => {
                    let times =
                        *self.asked.borrow_mut().entry(line).and_modify(|times| *times += 1).or_insert(1);
                    let refuses = times == 1 && !self.first.is_empty();
                    talk.send(if refuses { self.first } else { "250 2.1.5 ok\r\n" }.as_bytes()).await?;
                }
                "DATA" => {
                    talk.send(b"354 go on\r\n").await?;
                    talk.until_dot().await?;
                    self.taken.set(self.taken.get() + 1);
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
        hop.taken.get() as u64 + relay.sum(|of| &of.recipients_bounced) >= 20
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

/// Plants a defect that leaves what a file says undone: it must be seen.
pub fn is_found(defect: Defect) {
    match defect {
        Defect::RulesUnasked => assert_ne!(ruled(1, Some(defect)).0, 2, "{defect:?}"),
        _ => panic!("{defect:?} is no defect of shaping"),
    }
}
