//! Merges (XMRG): what is answered with 250 arrives, a message for each recipient with his own values, whatever write or sync is the node's last.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::{SimRuntime, World};
use relevo::runtime::{Defect, Runtime};
use relevo::shard::mesh::MeshLimits;

use super::day::talk::Talk;
use super::peers::Sink;
use super::relay::{self, Launch, Relay, run_until_true};
use super::story;

const MERGES: usize = 4;
/// More than are on their way to the disk at one time.
const RECIPIENTS: usize = 50;

/// What the client got a 250 for.
#[derive(Default)]
struct Told {
    acknowledged: RefCell<BTreeSet<String>>,
    merges: Cell<usize>,
    /// Merges that were sent to their end and not answered so.
    unsure: Cell<usize>,
}

fn id(merge: usize, number: usize) -> String {
    format!("{merge}-{number}-1-14")
}

/// One merge. False: it was refused.
async fn merge(talk: &mut Talk, told: &Told) -> io::Result<bool> {
    let merge = told.merges.get();
    if talk.ask("XMRG FROM:<sender@origin.example>\r\n").await? != 250 {
        return Ok(false);
    }
    for number in 0..RECIPIENTS {
        let define = format!("XDFN id=\"{}\" *parts={}\r\n", id(merge, number), "1,2");
        let recipient = format!("RCPT TO:<any@d{}.example>\r\n", number);
        if talk.ask(&define).await? != 250 || talk.ask(&recipient).await? != 250 {
            return Ok(false);
        }
    }
    let head = "From: Me <me@origin.example>\r\nMessage-Id: <[ID]>\r\nSubject: test\r\n\r\n..dot\r\n.\r\n";
    let body = format!("{}\r\n.\r\n", "x".repeat(14));
    for (command, text) in [("XPRT 1\r\n", head), ("XPRT 2 LAST\r\n", &body)] {
        if talk.ask(command).await? != 354 {
            return Ok(false);
        }
        talk.send(text.as_bytes()).await?;
        told.unsure.set(told.unsure.get() + usize::from(command.contains("LAST")));
        if talk.reply().await? != 250 {
            return Ok(false);
        }
    }
    told.unsure.set(told.unsure.get() - 1);
    told.acknowledged.borrow_mut().extend((0..RECIPIENTS).map(|number| id(merge, number)));
    told.merges.set(merge + 1);
    Ok(true)
}

async fn serve(runtime: &SimRuntime, told: &Told) -> io::Result<()> {
    let to: SocketAddr = "10.0.0.1:25".parse().expect("an address");
    let mut talk = Talk::new(runtime.clone(), runtime.connect(None, to)?, Duration::from_secs(24 * 3600));
    talk.connected().await?;
    talk.reply().await?;
    talk.ask("EHLO client.example\r\n").await?;
    while told.merges.get() < MERGES {
        if !merge(&mut talk, told).await? {
            talk.pause(Duration::from_millis(200)).await;
            talk.ask("RSET\r\n").await?;
        }
    }
    talk.ask("QUIT\r\n").await.map(drop)
}

fn injector(world: &World) -> Rc<Told> {
    let runtime = world.shard(200, 0);
    let told: Rc<Told> = Rc::default();
    let (own, at) = (told.clone(), runtime.clone());
    runtime.spawn(async move {
        while own.merges.get() < MERGES {
            let _ = serve(&at, &own).await;
            at.sleep_until(at.now() + Duration::from_millis(50)).await;
        }
    });
    told
}

fn launch(world: &World) -> Option<Relay<'_>> {
    let configuration = &relay::configuration("").replace("relay_from", "merge = true\nrelay_from");
    Relay::launch(world, &Launch { node: 1, shards: 2, lanes: 2, room: MeshLimits::of(2), configuration })
}

/// Messages that were acknowledged and did not arrive, and how many came twice beside those that may have.
fn lost(seed: u64, crashes: u32, plant: Option<Defect>) -> (Vec<String>, usize) {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    let mut relay = launch(&world).expect("the node lives");
    let told = injector(&world);
    let is_done = || told.merges.get() == MERGES;
    for life in 0..crashes {
        world.disk_faults(1).crash_in = Some(seed as u32 * 3 + life * 5);
        let over = run_until_true(&world, Duration::from_secs(60), || world.tasks(1) == 0 || is_done());
        assert!(over, "neither crashed nor done");
        if world.tasks(1) > 0 {
            break;
        }
        world.disk_faults(1).crash_in = None;
        drop(relay);
        relay = launch(&world).expect("the node lives");
    }
    world.disk_faults(1).crash_in = None;
    assert!(run_until_true(&world, Duration::from_secs(300), is_done), "the client never got through");
    world.run_for(Duration::from_secs(120));
    let (acknowledged, received) = (told.acknowledged.borrow(), sink.received.borrow());
    let distinct: BTreeSet<&String> = received.iter().collect();
    let lost = acknowledged.iter().filter(|id| !distinct.contains(id)).cloned().collect();
    // Those of a merge whose answer was lost, and attempts that a crash repeats.
    let may = told.unsure.get() * RECIPIENTS + crashes as usize * 80;
    if plant.is_none() {
        assert_eq!(relay.sum(|of| &of.client_memory), 0, "memory of what is over is kept");
    }
    relay.drain();
    (lost, (received.len() - distinct.len()).saturating_sub(may))
}

#[test]
fn a_merge_that_is_answered_arrives_whatever_write_is_the_last() {
    story(24, |seed| {
        assert_eq!(lost(seed, 3, None), (Vec::new(), 0));
    });
    assert_eq!(lost(1, 0, None), (Vec::new(), 0));
}

/// Plants a defect by which a merge is answered before all of it is safe: it must be seen.
pub fn is_found(defect: Defect) {
    let (lost, _) = lost(1, 0, Some(defect));
    assert!(!lost.is_empty(), "{defect:?}");
}
