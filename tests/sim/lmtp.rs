//! A mail store behind a Unix socket that speaks LMTP (RFC 2033), one that breaks its rules at times, and a kill in between: each recipient
//! ends as the store says of it, whatever it says of the others.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Defect, Runtime};

use super::day::talk::Talk;
use super::peers::{Sink, hand_in_from};
use super::relay::Relay;
use super::story;

const SOCKET: &str = "/run/store/lmtp";
const MESSAGES: usize = 20;
const RECIPIENTS: usize = 8;

/// What the store does with a recipient: told by its number, so that the end of each is known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mailbox {
    Takes,
    /// Its first attempts are put off, behind the dot.
    TakesLater,
    /// Over quota: refused behind the dot.
    Full,
    /// Refused at RCPT.
    Unknown,
}

fn mailbox(number: usize) -> Mailbox {
    [Mailbox::Takes, Mailbox::Full, Mailbox::TakesLater, Mailbox::Takes, Mailbox::Unknown][number % 5]
}

fn address(number: usize) -> String {
    format!("r{number}@store.example")
}

/// The number in an address of a line.
fn number(line: &str) -> Option<usize> {
    let from = line.split("<r").nth(1).or_else(|| line.split("; r").nth(1))?;
    from.split("@store.example").next()?.parse().ok()
}

/// How the replies behind a dot go wrong.
#[derive(Clone, Copy)]
enum Flaw {
    None,
    /// The connection ends behind so many.
    Ends(usize),
    /// It is silent behind so many.
    Silent(usize),
    /// Those refused at RCPT have one too, where it is their turn.
    ForAll,
    /// The same, and the connection ends behind as many as there should be.
    ForAllAndEnds,
    /// One too many at the end.
    Surplus,
}

/// What the store knows.
#[derive(Default)]
struct Store {
    /// Times that it saved a message for a recipient, or tried to say so.
    saved: RefCell<BTreeMap<usize, usize>>,
    tried: RefCell<BTreeMap<usize, usize>>,
    random: Cell<u64>,
    /// One of so many transactions has a flaw; 0: none.
    flaws: u64,
    /// The reply to QUIT.
    quit_reply: &'static str,
}

impl Store {
    fn start(world: &World, flaws: u64, quit_reply: &'static str) -> Rc<Store> {
        let store = Rc::new(Store { flaws, quit_reply, random: Cell::new(world.seed()), ..Store::default() });
        let runtime = world.shard(3, 0);
        let at = World::socket(1, Path::new(SOCKET));
        let listener = runtime.listen(at).expect("a free address");
        let (own, serving) = (runtime.clone(), store.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let talk = Talk::new(own.clone(), stream, Duration::from_secs(3600));
                let (store, runtime) = (serving.clone(), own.clone());
                own.spawn(async move {
                    let _ = store.serve(talk, runtime).await;
                });
            }
        });
        store
    }

    fn draw(&self, below: u64) -> u64 {
        // SplitMix64.
        let state = self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33) % below
    }

    fn flaw(&self, taken: usize) -> Flaw {
        if self.flaws == 0 || self.draw(self.flaws) > 0 {
            return Flaw::None;
        }
        let behind = self.draw(taken as u64) as usize;
        match self.draw(5) {
            0 => Flaw::Ends(behind),
            1 => Flaw::Silent(behind),
            2 => Flaw::ForAll,
            3 => Flaw::ForAllAndEnds,
            _ => Flaw::Surplus,
        }
    }

    async fn serve(&self, mut talk: Talk, runtime: SimRuntime) -> io::Result<()> {
        talk.send(b"220 store.example LMTP\r\n").await?;
        let mut named = Vec::new();
        loop {
            let line = talk.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match &*verb {
                "LHLO" => talk.send(b"250-store.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n").await?,
                "MAIL" => {
                    named.clear();
                    talk.send(b"250 2.1.0 ok\r\n").await?;
                }
                "RCPT" => {
                    let who = number(&line).expect("a recipient of ours");
                    named.push(who);
                    let unknown = mailbox(who) == Mailbox::Unknown;
                    let reply = if unknown { "550 5.1.1 no such mailbox\r\n" } else { "250 2.1.5 ok\r\n" };
                    talk.send(reply.as_bytes()).await?;
                }
                "DATA" if named.iter().all(|who| mailbox(*who) == Mailbox::Unknown) => {
                    talk.send(b"503 5.5.1 nobody was taken\r\n").await?;
                }
                "DATA" => {
                    talk.send(b"354 go on\r\n").await?;
                    while talk.line().await? != "." {}
                    if !self.answer(&mut talk, &named, &runtime).await? {
                        return Ok(());
                    }
                }
                "QUIT" => return talk.send(self.quit_reply.as_bytes()).await,
                "RSET" => talk.send(b"250 2.0.0 ok\r\n").await?,
                // EHLO and HELO are no commands of LMTP (RFC 2033 section 4.1).
                other => panic!("a store was told {other}"),
            }
        }
    }

    /// The replies behind a dot. False: the connection ends.
    async fn answer(&self, talk: &mut Talk, named: &[usize], runtime: &SimRuntime) -> io::Result<bool> {
        let taken = named.iter().filter(|who| mailbox(**who) != Mailbox::Unknown).count();
        let flaw = self.flaw(taken);
        let mut given = 0;
        for who in named {
            match flaw {
                Flaw::Ends(behind) if given == behind => return Ok(false),
                Flaw::ForAllAndEnds if given == taken => return Ok(false),
                Flaw::Silent(behind) if given == behind => {
                    runtime.sleep_until(runtime.now() + Duration::from_secs(4 * 3600)).await;
                    return Ok(false);
                }
                _ => {}
            }
            let times = *self.tried.borrow_mut().entry(*who).and_modify(|times| *times += 1).or_insert(1);
            let reply = match mailbox(*who) {
                Mailbox::Unknown if !matches!(flaw, Flaw::ForAll | Flaw::ForAllAndEnds) => continue,
                Mailbox::Unknown => "550 5.1.1 no such mailbox\r\n",
                Mailbox::Full => "552 5.2.2 over quota\r\n",
                Mailbox::TakesLater if times < 3 => "451 4.2.0 busy\r\n",
                Mailbox::Takes | Mailbox::TakesLater => {
                    *self.saved.borrow_mut().entry(*who).or_insert(0) += 1;
                    "250 2.0.0 saved\r\n"
                }
            };
            given += 1;
            talk.send(reply.as_bytes()).await?;
        }
        if matches!(flaw, Flaw::Surplus) {
            talk.send(b"250 2.0.0 saved\r\n").await?;
        }
        Ok(true)
    }
}

/// Recipients of which a notification tells.
fn returned(sink: &Sink) -> BTreeSet<usize> {
    let notices = sink.bounces.borrow();
    let lines = notices.iter().flat_map(|notice| notice.lines());
    lines.filter(|line| line.starts_with("Final-Recipient:")).filter_map(number).collect()
}

/// What went wrong in a run, in words; nothing if each recipient ended as it should.
fn run(seed: u64, flaws: u64, cuts: f64, defect: Option<Defect>) -> Vec<String> {
    run_with(seed, (flaws, cuts), defect, QUIT_REPLY).0
}

/// What the answer to QUIT should be.
const QUIT_REPLY: &str = "221 2.0.0 bye\r\n";

/// The same with another answer to QUIT; and the most often that a message was saved for a recipient.
fn run_with(
    seed: u64,
    (flaws, cuts): (u64, f64),
    defect: Option<Defect>,
    quit_reply: &'static str,
) -> (Vec<String>, usize) {
    let world = World::new(seed);
    let store = Store::start(&world, flaws, quit_reply);
    let sink = Sink::start(&world, "10.0.0.2:25");
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let route = format!(
        "[[route]]\ndomain = \"store.example\"\nto = \"lmtp:{SOCKET}\"\n[retry]\nfirst = \"5s\"\nmax = \"30s\"\n"
    );
    let relay = Relay::start(&world, 1, 2, &route);
    hand_in_from(&world, (0, None), 0..MESSAGES, |message| {
        (message * RECIPIENTS..(message + 1) * RECIPIENTS).map(address).collect()
    });
    world.run_for(Duration::from_secs(1));
    world.faults().cut = cuts;
    let all = MESSAGES * RECIPIENTS;
    let takes = |who: usize| matches!(mailbox(who), Mailbox::Takes | Mailbox::TakesLater);
    let ended = || {
        let (saved, returned) = (store.saved.borrow(), returned(&sink));
        (0..all)
            .filter(|who| if takes(*who) { saved.contains_key(who) } else { returned.contains(who) })
            .count()
    };
    // Where all goes well that is a minute; each silence is ten.
    let limit = Duration::from_secs(if flaws > 0 { 24 * 3600 } else { 600 });
    let end = world.now() + limit;
    while ended() < all && world.now() < end {
        world.run_for(Duration::from_secs(10));
    }
    world.faults().cut = 0.0;
    // What else is under way comes too.
    world.run_for(Duration::from_secs(900));
    let mut wrong = Vec::new();
    if ended() < all {
        wrong.push(format!("{} of {all} have ended", ended()));
    }
    let returned = returned(&sink);
    for who in 0..all {
        let saved = store.saved.borrow().get(&who).copied().unwrap_or(0);
        let takes = takes(who);
        if takes == returned.contains(&who) {
            wrong.push(format!("{:?} {}: returned {}", mailbox(who), address(who), !takes));
        }
        if takes && saved == 0 {
            wrong.push(format!("{} is lost", address(who)));
        }
        if saved > 1 && flaws == 0 && cuts == 0.0 && quit_reply == QUIT_REPLY {
            wrong.push(format!("{} was saved {saved} times", address(who)));
        }
    }
    relay.drain();
    let most = store.saved.borrow().values().copied().max().unwrap_or(0);
    (wrong, most)
}

#[test]
fn each_recipient_of_a_store_ends_once() {
    story(10, |seed| assert_eq!(run(seed, 0, 0.0, None), Vec::<String>::new()));
}

#[test]
fn a_store_that_breaks_the_rules_loses_and_returns_nobody() {
    story(10, |seed| assert_eq!(run(seed, 2, 0.1, None), Vec::<String>::new()));
}

/// Whether there was a reply too many cannot be told of a store that answers QUIT with another code: all are tried again, one at a time then, and
/// not for ever.
#[test]
fn a_store_that_answers_quit_in_its_own_way_delivers_twice_at_most() {
    story(10, |seed| {
        let (wrong, most) = run_with(seed, (0, 0.0), None, "250 2.0.0 bye\r\n");
        assert_eq!((wrong, most), (Vec::new(), 2));
    });
}

/// Without it the same run is clean, as the first story tells.
pub fn is_found(defect: Defect) {
    let found = run(1, 0, 0.0, Some(defect));
    assert!(found.iter().any(|words| words.contains("Full") || words.contains("is lost")), "{found:?}");
}
