//! Sites that refuse what is too much for them, and how much of it they get, over many shards.

use std::cell::{Cell, RefCell};
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

/// A hop that takes so many connections, and so many messages a second with a second's worth at once.
struct Hop {
    connections: usize,
    rate: f64,
    open: Cell<usize>,
    most: Cell<usize>,
    turned_away: Cell<usize>,
    credit: Cell<(f64, Instant)>,
    deferred: Cell<usize>,
    taken: RefCell<Vec<Instant>>,
}

impl Hop {
    fn start(world: &World, at: &str, connections: usize, rate: f64) -> Rc<Hop> {
        let hop = Rc::new(Hop {
            connections,
            rate,
            open: Cell::default(),
            most: Cell::default(),
            turned_away: Cell::default(),
            credit: Cell::new((rate, Instant(0))),
            deferred: Cell::default(),
            taken: RefCell::default(),
        });
        let runtime = world.shard(2, 0);
        let listener = runtime.listen(at.parse().expect("an address")).expect("a free address");
        let (own, serving) = (runtime.clone(), hop.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let talk = Talk::new(own.clone(), stream, Duration::from_secs(3600));
                let (hop, runtime) = (serving.clone(), own.clone());
                own.spawn(async move {
                    hop.open.set(hop.open.get() + 1);
                    hop.most.set(hop.most.get().max(hop.open.get()));
                    let _ = hop.serve(talk, runtime).await;
                    hop.open.set(hop.open.get() - 1);
                });
            }
        });
        hop
    }

    fn admits(&self, now: Instant) -> bool {
        let (credit, at) = self.credit.get();
        let credit = (credit + now.since(at).as_secs_f64() * self.rate).min(self.rate);
        let admits = credit >= 1.0;
        self.credit.set((if admits { credit - 1.0 } else { credit }, now));
        admits
    }

    async fn serve(&self, mut talk: Talk, runtime: SimRuntime) -> io::Result<()> {
        if self.open.get() > self.connections {
            self.turned_away.set(self.turned_away.get() + 1);
            return talk.send(b"421 4.3.2 too many concurrent connections from you\r\n").await;
        }
        talk.send(b"220 hop.example\r\n").await?;
        loop {
            let line = talk.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match &*verb {
                "EHLO" => talk.send(b"250-hop.example\r\n250 PIPELINING\r\n").await?,
                "MAIL" if !self.admits(runtime.now()) => {
                    self.deferred.set(self.deferred.get() + 1);
                    talk.send(
                        b"451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited\r\n",
                    )
                    .await?;
                }
                "DATA" => {
                    talk.send(b"354 go on\r\n").await?;
                    talk.until_dot().await?;
                    talk.pause(Duration::from_millis(20)).await;
                    self.taken.borrow_mut().push(runtime.now());
                    talk.send(b"250 2.0.0 taken\r\n").await?;
                }
                "QUIT" => return talk.send(b"221 2.0.0 bye\r\n").await,
                _ => talk.send(b"250 2.0.0 ok\r\n").await?,
            }
        }
    }
}

const EACH: usize = 100;

/// Mail for domains of all shards that one hop has, so many times a hundred messages, and how long it may take.
fn sent(seed: u64, shards: usize, hop: (usize, f64), domains: u16, plant: Option<Defect>) -> Rc<Hop> {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world, "10.0.0.2:25", hop.0, hop.1);
    let route = "[[route]]\ndomain = \"*.big.test\"\nto = \"smtp://mx.big.test\"\n";
    let relay = launch(&world, shards, &format!("[retry]\nfirst = \"5s\"\nmax = \"10s\"\n{route}"));
    for number in 0..domains {
        hand_in_some(&world, 100 + number, 0..EACH, vec![format!("u@d{number}.big.test")]);
    }
    let all = usize::from(domains) * EACH;
    let done = run_until_true(&world, Duration::from_secs(300), || hop.taken.borrow().len() == all);
    assert!(done, "{} of {all} came", hop.taken.borrow().len());
    relay.drain();
    hop
}

#[test]
fn a_limit_of_connections_is_learned_by_all_shards() {
    story(2, |seed| {
        for shards in [1, 4] {
            let hop = sent(seed, shards, (5, 1e9), 12, None);
            println!("{shards} shards: {} turned away, at most {}", hop.turned_away.get(), hop.most.get());
            // Those that were on their way when the first was refused, and one try after a while or two.
            assert!(hop.turned_away.get() <= 4 * shards + 6, "{shards} shards: {}", hop.turned_away.get());
        }
    });
}

#[test]
fn a_rate_is_learned_by_all_shards() {
    story(2, |seed| {
        for shards in [1, 4] {
            let hop = sent(seed, shards, (1_000, 50.0), 30, None);
            let taken = hop.taken.borrow();
            let by = taken[0] + Duration::from_secs_f64((taken.len() as f64 - 50.0) / 50.0);
            let in_time = taken.iter().filter(|at| **at <= by).count() as f64 / taken.len() as f64;
            println!("{shards} shards: {} deferred, {in_time:.3} in time", hop.deferred.get());
            assert!(in_time > 0.9, "{shards} shards: {in_time:.3} of what it would have taken");
            assert!(hop.deferred.get() < 100, "{shards} shards: {} deferred", hop.deferred.get());
        }
    });
}

/// Plants a defect that leaves refusals without effect: it must be seen.
pub fn is_found(defect: Defect) {
    let hop = sent(1, 4, (1_000, 50.0), 30, Some(defect));
    assert!(hop.deferred.get() > 300, "{defect:?}: {} deferred", hop.deferred.get());
}
