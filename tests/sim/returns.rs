//! Mail that is returned, and tasks that panic over it; mail that comes home from another shard that began it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use relevo::names::ends::End;
use relevo::runtime::sim::{Costs, SimStream, World};
use relevo::runtime::{Defect, Runtime};
use relevo::shard::mesh::MeshLimits;

use super::peers::{Sink, hand_in, hand_in_from};
use super::relay::{Launch, Relay, run_until_true};
use super::story;

/// Hops at an address, each connection of which is served by this.
fn listen<F: Future<Output = ()> + 'static>(
    world: &World,
    at: &str,
    serve: impl Fn(SimStream) -> F + 'static,
) {
    let runtime = world.shard(2, 0);
    let listener = runtime.listen(at.parse().expect("an address")).expect("a free address");
    let own = runtime.clone();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            own.spawn(serve(stream));
        }
    });
}

/// RFC 7504: a host that never takes mail has it returned, all of it, also what a task panics over. What is discarded is, as well.
pub fn loses_none(defect: Defect) {
    let panics = Cell::new(0);
    story(6, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.9:25");
        listen(&world, "10.0.0.2:25", |stream| async move {
            let _ = stream.send(b"521 hop.example does not accept mail\r\n").await;
        });
        world.plant(defect, 0.5);
        let configuration = &"[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\n\
             [[listener]]\naddress = \"10.0.0.1:25\"\nrelay_from = [\"10.0.0.0/8\"]\n\
             [[route]]\ndomain = \"void.example\"\nto = \"discard\"\n\
             [[route]]\ndomain = \"origin.example\"\nto = \"smtp://10.0.0.9:25\"\n\
             [delivery]\nprivate_networks = \"allow\"\n[spool]\nsegment_size = \"4MiB\"\n";
        let launch = Launch { node: 1, shards: 1, lanes: 1, room: MeshLimits::of(1), configuration };
        let relay = Relay::launch(&world, &launch).expect("it starts");
        for number in 0..10 {
            hand_in(
                &world,
                50 + number,
                number.into(),
                vec![format!("u{number}@[10.0.0.2]"), format!("u{number}@void.example")],
            );
        }
        let discarded = || relay.sum(|of| of.ended(End::Discarded));
        let all = run_until_true(&world, Duration::from_secs(120), || {
            sink.bounces.borrow().len() == 10 && discarded() == 10
        });
        assert!(all, "{} of 10 were returned, {} discarded", sink.bounces.borrow().len(), discarded());
        assert_eq!(relay.sum(|of| &of.recipients_bounced), 10);
        panics.set(panics.get() + world.panics(1));
    });
    assert!(panics.get() > 0, "nobody asked for {defect:?}");
}

/// A hop that takes one recipient in a transaction (RFC 5321 4.5.3.1.10).
async fn take_one_by_one(stream: SimStream, took: Rc<RefCell<BTreeSet<String>>>) {
    let _ = stream.send(b"220 hop.example\r\n").await;
    let mut named: Vec<String> = Vec::new();
    while let Ok(line) = stream.recv_until(b"\r\n", 1000).await
        && !line.is_empty()
    {
        let line = String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase();
        let mut answer = "250 ok\r\n";
        if line.starts_with("MAIL") {
            named.clear();
        } else if line.starts_with("RCPT") && !named.is_empty() {
            answer = "452 4.5.3 too many recipients\r\n";
        } else if line.starts_with("RCPT") {
            named.push(line);
        } else if line.starts_with("DATA") {
            let _ = stream.send(b"354 go\r\n").await;
            let text = stream.recv_until(b"\r\n.\r\n", 100_000).await.unwrap_or_default();
            let id = String::from_utf8_lossy(&text);
            let id =
                id.split_once("Message-Id: ").and_then(|(_, rest)| rest.lines().next()).unwrap_or_default();
            took.borrow_mut().extend(named.drain(..).map(|to| format!("{to} of {id}")));
        }
        if stream.send(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The rest of what another shard delivers for the home of its domain goes in the next transaction, as it does at home.
#[test]
fn the_rest_of_what_was_lent_goes_at_once() {
    const SHARDS: usize = 4;
    const MESSAGES: usize = 60;
    const RECIPIENTS: usize = 20;
    const COSTS: Costs = Costs {
        poll: Duration::from_micros(20),
        call: Duration::from_micros(200),
        kibibyte: Duration::from_micros(40),
    };
    story(3, |seed| {
        let world = World::new(seed);
        let took: Rc<RefCell<BTreeSet<String>>> = Rc::default();
        let own = took.clone();
        listen(&world, "10.0.0.2:25", move |stream| take_one_by_one(stream, own.clone()));
        let room = MeshLimits { lend_at: 1, ..MeshLimits::of(SHARDS) };
        let configuration = &super::relay::configuration("");
        let launch = Launch { node: 1, shards: SHARDS, lanes: SHARDS, room, configuration };
        let relay = Relay::launch(&world, &launch).expect("it starts");
        world.count_cores(1, COSTS);
        let to = |_| (0..RECIPIENTS).map(|number| format!("u{number}@hot.example")).collect();
        for client in 0..6 {
            let each = MESSAGES / 6;
            let first = usize::from(client) * each;
            hand_in_from(&world, (50 + client, None), first..first + each, to);
        }
        let begun = Cell::new(None);
        let done = run_until_true(&world, Duration::from_secs(300), || {
            if !took.borrow().is_empty() && begun.get().is_none() {
                begun.set(Some(world.now()));
            }
            took.borrow().len() == MESSAGES * RECIPIENTS
        });
        assert!(done, "{} were taken", took.borrow().len());
        let lasted = world.now().since(begun.get().expect("it began"));
        let lent = relay.sum(|of| &of.jobs_lent);
        println!("{lasted:?}, {lent} lent");
        assert!(lent > 0, "none was lent");
        assert!(
            lasted < Duration::from_secs(RECIPIENTS as u64 / 2),
            "{lasted:?}: a second for each of the rest"
        );
    });
}
