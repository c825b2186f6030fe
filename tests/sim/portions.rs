//! Messages that come by BDAT (RFC 3030) in portions of any size, some given up half-way, over connections some of which break: what is answered
//! arrives as it was, with nothing of the others in it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::limits::server;
use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Defect, Runtime};

use super::day::dice::Dice;
use super::day::talk::Talk;
use super::peers::Sink;
use super::relay::{Relay, run_until_true};
use super::story;

const CLIENTS: u64 = 4;
const MESSAGES: usize = 12;
const RELAY: &str = "10.0.0.1:25";

/// What clients got an answer for, and how many of them are done.
#[derive(Default)]
struct Told {
    acknowledged: RefCell<BTreeSet<String>>,
    done: Cell<u64>,
}

async fn connect(runtime: &SimRuntime) -> io::Result<Talk> {
    let to: SocketAddr = RELAY.parse().expect("an address");
    let talk = Talk::new(runtime.clone(), runtime.connect(None, to)?, Duration::from_secs(24 * 3600));
    talk.connected().await?;
    Ok(talk)
}

/// A text that the sink can judge, and its id. Some are so large that they go to the spool in pieces.
fn text(dice: &mut Dice, client: u64, number: usize) -> (String, String) {
    let large = dice.chance(0.1);
    let (lines, length) = if large { (6_000, 99) } else { (dice.below(40), dice.below(90)) };
    let id = format!("{client}-{number}-{lines}-{length}");
    let body = format!("{}\r\n", "x".repeat(length as usize)).repeat(lines as usize);
    let head = format!("From: Me <me@origin.example>\r\nMessage-Id: <{id}>\r\nSubject: test\r\n\r\n.dot\r\n");
    (id, head + &body)
}

/// Sends until all messages are taken, or the connection breaks.
async fn serve(
    talk: &mut Talk,
    dice: &mut Dice,
    client: u64,
    next: &mut usize,
    told: &Told,
) -> io::Result<()> {
    talk.reply().await?;
    talk.ask("EHLO client.example\r\n").await?;
    while *next < MESSAGES {
        let (id, text) = text(dice, client, *next);
        for command in ["MAIL FROM:<sender@origin.example>\r\n", "RCPT TO:<any@d1.example>\r\n"] {
            assert_eq!(talk.ask(command).await?, 250);
        }
        let (mut rest, give_up) = (text.as_bytes(), dice.chance(0.2));
        let breaks = dice.chance(0.1);
        let largest = dice.pick(&[50u64, 5_000, 1_000_000]).max(rest.len() as u64 / 500);
        let code = loop {
            let size = 1 + dice.below(largest.min(rest.len() as u64));
            let (portion, more) = rest.split_at(size as usize);
            rest = more;
            // An empty one may be the last.
            let last = rest.is_empty() && dice.chance(0.7);
            let end = if last { " LAST" } else { "" };
            talk.send(format!("BDAT {size}{end}\r\n").as_bytes()).await?;
            if breaks && dice.chance(0.3) {
                talk.send(&portion[..portion.len() / 2]).await?;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            talk.send(portion).await?;
            let code = talk.reply().await?;
            if last || code != 250 {
                break code;
            }
            if rest.is_empty() {
                break talk.ask("BDAT 0 LAST\r\n").await?;
            }
            if give_up && dice.chance(0.5) {
                break talk.ask("RSET\r\n").await? + 1;
            }
        };
        match code {
            250 => {
                told.acknowledged.borrow_mut().insert(id);
                *next += 1;
            }
            251 => {}
            code => panic!("{code} for {id}"),
        }
    }
    talk.ask("QUIT\r\n").await?;
    Ok(())
}

fn portions(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    let relay = Relay::start(&world, 1, 2, "");
    let told = Rc::new(Told::default());
    for client in 0..CLIENTS {
        let (runtime, told) = (world.shard(9, 0), told.clone());
        let mut dice = Dice::new(seed, 40 + client);
        runtime.clone().spawn(async move {
            let mut next = 0;
            while next < MESSAGES {
                let Ok(mut talk) = connect(&runtime).await else { continue };
                let _ = serve(&mut talk, &mut dice, client, &mut next, &told).await;
            }
            told.done.set(told.done.get() + 1);
        });
    }
    let all = CLIENTS as usize * MESSAGES;
    let done = || told.done.get() == CLIENTS && sink.received.borrow().len() >= all;
    assert!(run_until_true(&world, Duration::from_secs(600), done), "it does not end");
    let received: BTreeSet<String> = sink.received.borrow().iter().cloned().collect();
    assert_eq!(received, *told.acknowledged.borrow());
    assert_eq!(sink.received.borrow().len(), all, "each comes once");
    world.run_for(Duration::from_secs(5));
    assert_eq!(relay.sum(|of| &of.client_memory), 0, "memory of what was given up is kept");
    relay.drain();
}

#[test]
fn what_comes_in_portions_arrives_whole() {
    story(4, |seed| portions(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| portions(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}

/// A portion has the time of a body, and so has a message: no more, however its bytes drip.
#[test]
fn a_portion_has_its_time() {
    let gaps = [(Duration::from_secs(170), server::DATA), (Duration::from_secs(190), server::DATA_BLOCK)];
    for (size, (gap, span)) in [("1000000", gaps[0]), ("1000000", gaps[1]), ("1", gaps[0])] {
        let world = World::new(1);
        let relay = Relay::start(&world, 1, 1, "");
        let ended = Rc::new(RefCell::new(None));
        let (runtime, told) = (world.shard(9, 0), ended.clone());
        runtime.clone().spawn(async move {
            let mut talk = connect(&runtime).await.expect("a connection");
            talk.reply().await.expect("a greeting");
            for command in ["EHLO c\r\n", "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<x@y.example>\r\n"] {
                talk.ask(command).await.expect("an answer");
            }
            let began = runtime.now();
            let one = size == "1";
            let portion = format!("BDAT {size}\r\n");
            let _ = talk.send(portion.as_bytes()).await;
            while talk.send(b"x").await.is_ok() {
                talk.pause(gap).await;
                if one && talk.send(portion.as_bytes()).await.is_err() {
                    break;
                }
            }
            let mut last = String::new();
            while let Ok(line) = talk.line().await {
                last = line;
            }
            *told.borrow_mut() = Some((last, runtime.now().since(began)));
        });
        let done = || ended.borrow().is_some();
        assert!(run_until_true(&world, Duration::from_secs(24 * 3600), done), "it never ends");
        let (last, took) = ended.borrow_mut().take().expect("it is there");
        assert!(last.starts_with("421 4.4.2 Timeout"), "{last}");
        assert!((span..span + 2 * gap + Duration::from_secs(10)).contains(&took), "{took:?}, not {span:?}");
        world.run_for(Duration::from_secs(5));
        assert_eq!(relay.sum(|of| &of.client_memory), 0);
    }
}
