//! A destination hotter than one core: the other shards help, and the whole node is about as fast as with mail for everybody.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::Runtime;
use relevo::runtime::sim::{Costs, DiskFaults, SimRuntime, World};
use relevo::shard::mesh::MeshLimits;

use super::day::talk::Talk;
use super::peers::Sink;
use super::relay::{Launch, Relay, run_until_true};

/// A core for each shard, in slow motion, so that a second of it is not too much to simulate: a message costs
/// some ten calls, that is about 5 ms.
const COSTS: Costs = Costs {
    poll: Duration::from_micros(20),
    call: Duration::from_micros(400),
    kibibyte: Duration::from_micros(40),
};

/// One connection that hands in messages as fast as they are taken, so many of a hundred to the hot domain.
async fn send(
    runtime: SimRuntime,
    number: usize,
    messages: usize,
    hot: usize,
    sent: Rc<Cell<u64>>,
) -> std::io::Result<()> {
    let stream = runtime.connect(None, "10.0.0.1:25".parse().expect("an address"))?;
    let mut talk = Talk::new(runtime, stream, Duration::from_secs(300));
    talk.connected().await?;
    talk.reply().await?;
    talk.ask("EHLO client.example\r\n").await?;
    for next in 0..messages {
        let place = (number * 37 + next * 61) % 100;
        let domain = if place < hot {
            "hot.example".to_owned()
        } else {
            // Two next hops either way, so that both runs work over as many sites.
            let of = (number * 131 + next * 17) % 1000;
            format!("d{of}.{}.example", if of.is_multiple_of(2) { "even" } else { "odd" })
        };
        let commands = format!("MAIL FROM:<a@origin.example>\r\nRCPT TO:<u@{domain}>\r\nDATA\r\n");
        talk.send(commands.as_bytes()).await?;
        for _ in 0..3 {
            talk.reply().await?;
        }
        let id = format!("{number}-{next}-3-60");
        let body = format!("{}\r\n", "x".repeat(60)).repeat(3);
        let text = format!("Message-Id: <{id}>\r\nSubject: test\r\n\r\n..dot\r\n{body}.\r\n");
        if talk.ask(&text).await? == 250 {
            sent.set(sent.get() + 1);
        }
    }
    Ok(())
}

/// Messages a (virtual) second, until all of them are delivered, and how many of them were lent.
fn rate(seed: u64, (shards, messages): (usize, usize), hot: usize, lend_at: usize) -> (u64, u64) {
    let world = World::new(seed);
    *world.disk_faults(1) = DiskFaults { sync_max: Duration::from_millis(3), ..DiskFaults::default() };
    let sinks = [Sink::start(&world, "10.0.0.2:25"), Sink::start(&world, "10.0.0.3:25")];
    let configuration = &format!(
        "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
         [[listener]]\naddress = \"10.0.0.1:25\"\nrelay_from = [\"10.0.0.0/8\"]\nconnections_per_client = 1000\n\
         [[route]]\ndomain = \"hot.example\"\nto = \"smtp://10.0.0.3:25\"\n\
         [[route]]\ndomain = \"*.odd.example\"\nto = \"smtp://10.0.0.3:25\"\n\
         [[route]]\ndomain = \"*\"\nto = \"smtp://10.0.0.2:25\"\n\
         [delivery]\nconnections_per_destination = {}\n[spool]\nsegment_size = \"4MiB\"\n",
        shards * 8
    );
    let room = MeshLimits { lend_at, ..MeshLimits::of(shards) };
    let relay = Relay::launch(&world, &Launch { node: 1, shards, lanes: shards, room, configuration });
    let relay = relay.expect("the node lives");
    world.count_cores(1, COSTS);
    let sent = Rc::new(Cell::new(0));
    for number in 0..shards * 8 {
        let runtime = world.shard(200, number as u16);
        let (own, sent) = (runtime.clone(), sent.clone());
        runtime.spawn(async move {
            let _ = send(own, number, messages, hot, sent).await;
        });
    }
    let total = (shards * 8 * messages) as u64;
    let delivered = || sinks.iter().map(|sink| sink.received.borrow().len() as u64).sum::<u64>();
    // The rate of a node that runs: not its first connections, not the last messages.
    let bound = Duration::from_secs(600);
    assert!(run_until_true(&world, bound, || delivered() >= total / 5));
    let begun = world.now();
    assert!(run_until_true(&world, bound, || delivered() >= total * 4 / 5));
    let took = world.now().since(begun);
    assert!(run_until_true(&world, bound, || delivered() == total && sent.get() == total));
    let lent = relay.sum(|of| &of.jobs_lent);
    println!(
        "{shards} shards, {hot} % hot: {total} in {:?}, three fifths of them in {took:?}, {lent} lent",
        world.now()
    );
    (total * 3 / 5 * 1000 / took.as_millis() as u64, lent)
}

/// Worlds of 16 shards.
const WORLDS: u64 = 12;

fn half_of_the_mail_for_one_domain(shards: usize, messages: usize) {
    // One world says little: from one to the next the ratio differs by three hundredths and more, so that twelve tell it to a hundredth. Larger ones
    // tell as much with fewer.
    let worlds = WORLDS * 16 / shards as u64;
    let (mut spread, mut helped) = (0, 0);
    for seed in 7..7 + worlds {
        spread += rate(seed, (shards, messages), 0, 64).0;
        let (of_half, lent) = rate(seed, (shards, messages), 50, 64);
        assert!(lent > 0);
        helped += of_half;
    }
    let (spread, helped) = (spread / worlds, helped / worlds);
    println!("{helped}/s with half of it for one domain, {spread}/s for many");
    assert!(helped >= spread * 9 / 10, "{helped}/s with half of it for one domain, {spread}/s for many");
}

#[test]
fn half_of_the_mail_for_one_domain_on_16_shards() {
    half_of_the_mail_for_one_domain(16, 80);
}

#[test]
fn half_of_the_mail_for_one_domain_on_64_shards() {
    half_of_the_mail_for_one_domain(64, 80);
}

#[test]
fn without_help_one_core_is_the_bound() {
    let (spread, _) = rate(7, (16, 30), 0, 64);
    let (alone, none) = rate(7, (16, 30), 50, usize::MAX);
    assert_eq!(none, 0);
    assert!(alone < spread / 2, "{alone}/s without help against {spread}/s");
}
