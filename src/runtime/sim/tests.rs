use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::runtime::{Datagram, Listener, Segment, Stream};

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2525);

fn at(milliseconds: u64) -> Instant {
    Instant(milliseconds * 1_000_000)
}

/// Runs the same test under many seeds.
fn seeds(count: u64, test: impl Fn(World)) {
    (0..count).for_each(|seed| test(World::new(seed)));
}

/// A node that sends back what it receives, until the end of the stream.
fn echo(runtime: &SimRuntime, address: SocketAddr) {
    let listener = runtime.listen(address).unwrap();
    let spawner = runtime.clone();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            spawner.spawn(async move {
                let mut buffer = [0; 1000];
                while let Ok(count @ 1..) = stream.recv(&mut buffer).await {
                    if stream.send(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// The two ends of a connection between nodes 1 and 2.
fn pair(world: &World) -> (SimStream, SimStream) {
    let listener = world.shard(1, 0).listen(SERVER).unwrap();
    let client = world.shard(2, 0);
    world.block_on(async {
        let one = client.connect(None, SERVER).unwrap();
        one.connected().await.unwrap();
        let (other, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, one.local_address().unwrap());
        (one, other)
    })
}

fn recv_all(world: &World, stream: &SimStream) -> (Vec<u8>, Option<ErrorKind>) {
    world.block_on(async {
        let mut all: Vec<u8> = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match stream.recv(&mut buffer).await {
                Ok(0) => return (all, None),
                Ok(count) => all.extend(&buffer[..count]),
                Err(error) => return (all, Some(error.kind())),
            }
        }
    })
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8 + 1).collect()
}

/// Everything at once: several nodes, every fault, a crash.
fn busy_world(seed: u64) -> (u64, u64) {
    let world = World::new(seed);
    {
        let mut faults = world.faults();
        faults.cut = 0.2;
        faults.half_open = 0.1;
        faults.delay = 0.1;
        faults.short = 0.3;
        faults.spurious = 0.1;
    }
    echo(&world.shard(1, 0), SERVER);
    echo(&world.shard(1, 1), SERVER);
    let disk = world.shard(3, 0);
    disk.clone().spawn(async move {
        disk.create_directory(Path::new("/spool/0")).unwrap();
        let segment = disk.create_segment(Path::new("/spool/0/a"), 1 << 16).await.unwrap();
        for index in 0..20 {
            segment.append(index * 3000, &[IoSlice::new(&pattern(2999))]).unwrap();
            let _ = segment.sync().await.unwrap();
        }
    });
    for node in 10..20 {
        let runtime = world.shard(node, 0);
        runtime.clone().spawn(async move {
            let stream = runtime.connect(None, SERVER).unwrap();
            if stream.connected().await.is_err() {
                return;
            }
            let mut buffer = [0; 100];
            for _ in 0..50 {
                let count = 1 + runtime.random() as usize % 2000;
                if stream.send(&pattern(count)).await.is_err() || stream.recv(&mut buffer).await.is_err() {
                    return;
                }
            }
        });
    }
    world.crash_at(3, at(15));
    world.crash_at(1, at(900));
    world.run_until(at(5000));
    (world.fingerprint(), world.random())
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let worlds: Vec<_> = (0..8).map(busy_world).collect();
    assert_eq!(worlds, (0..8).map(busy_world).collect::<Vec<_>>());
    assert!((1..8).all(|index| worlds[index] != worlds[index - 1]), "different seeds, different worlds");
}

#[test]
fn timers_fire_in_order_and_never_early() {
    seeds(20, |world| {
        let fired = Rc::new(RefCell::new(Vec::new()));
        for due in [30, 10, 20, 40, 5] {
            let (runtime, fired) = (world.shard(1, 0), fired.clone());
            runtime.clone().spawn(async move {
                runtime.sleep_until(at(due)).await;
                assert!(runtime.now() >= at(due));
                assert!(runtime.now() < at(due) + Duration::from_micros(20));
                fired.borrow_mut().push(due);
            });
        }
        world.run_until(at(25));
        assert_eq!(*fired.borrow(), [5, 10, 20]);
        assert_eq!(world.now(), at(25));
        assert!(world.run_until_idle(Duration::from_secs(1)));
        assert_eq!(*fired.borrow(), [5, 10, 20, 30, 40]);
        assert_eq!(world.panics(1), 0);
        assert_eq!(world.shard(1, 0).wall(), UnixMillis(EPOCH.0 + 40));
    });
}

#[test]
fn the_seed_chooses_the_order_of_ready_tasks() {
    let order = |seed| {
        let world = World::new(seed);
        let ran = Rc::new(RefCell::new(Vec::new()));
        for task in 0..5 {
            let ran = ran.clone();
            world.shard(1, task).spawn(async move { ran.borrow_mut().push(task) });
        }
        assert!(world.run_until_idle(Duration::from_secs(1)));
        ran.take()
    };
    assert!((0..10).any(|seed| order(seed) != order(seed + 1)));
    assert_eq!(order(3), order(3));
}

#[test]
fn yielding_lets_every_ready_task_run() {
    seeds(50, |world| {
        let counts = Rc::new(RefCell::new([0; 4]));
        for task in 0..4 {
            let (runtime, counts) = (world.shard(1, 0), counts.clone());
            runtime.clone().spawn(async move {
                for turn in 0..100 {
                    let slowest = *counts.borrow().iter().min().unwrap();
                    assert!(turn <= slowest + 2, "task {task} ran ahead");
                    counts.borrow_mut()[task] += 1;
                    runtime.yield_now().await;
                }
            });
        }
        assert!(world.run_until_idle(Duration::from_secs(1)));
        assert_eq!((*counts.borrow(), world.panics(1)), ([100; 4], 0));
    });
}

#[test]
fn a_spinning_task_does_not_stop_time() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    world.block_on(async {
        while runtime.now() < at(1) {
            runtime.yield_now().await;
        }
    });
}

#[test]
fn a_panic_costs_its_task_and_is_counted() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    runtime.spawn(async { panic!("on purpose") });
    let bell = runtime.bell().clone();
    runtime.spawn(async move { bell.ring() });
    assert!(world.run_until_idle(Duration::from_secs(1)));
    assert_eq!((runtime.panics(), world.panics(1), world.tasks(1)), (1, 1, 0));
    assert!(runtime.bell().is_rung());
    let blocking = world.block_on(runtime.run_blocking(|| -> u8 { panic!("on purpose") }));
    assert!(blocking.is_err());
    assert_eq!(world.block_on(runtime.run_blocking(|| 7)).unwrap(), 7);
}

#[test]
fn a_panic_in_a_vital_task_reaches_the_test() {
    let world = World::new(1);
    world.shard(4, 2).spawn_vital("committer", async { panic!("no disk") });
    let payload =
        catch_unwind(AssertUnwindSafe(|| world.run_until_idle(Duration::from_secs(1)))).unwrap_err();
    let words = payload.downcast_ref::<String>().unwrap();
    assert_eq!(words, "the committer task of shard 2 of node 4 panicked: no disk");
    // The world can still be driven.
    assert!(world.run_until_idle(Duration::from_secs(1)));
}

#[test]
fn a_bell_wakes_its_listener_once_for_many_rings() {
    seeds(20, |world| {
        let runtime = world.shard(1, 0);
        let heard = Rc::new(Cell::new(0));
        let (bell, count) = (runtime.bell().clone(), heard.clone());
        runtime.spawn(async move {
            loop {
                poll_fn(|context| bell.poll_rung(context)).await;
                count.set(count.get() + 1);
            }
        });
        world.run_until_idle(Duration::from_secs(1));
        for rings in 1..4 {
            (0..3).for_each(|_| runtime.bell().ring());
            assert!(world.run_until_idle(Duration::from_secs(1)));
            assert_eq!(heard.get(), rings);
        }
    });
}

#[test]
fn a_future_nothing_can_wake_is_told_from_one_that_waits() {
    let world = World::new(1);
    assert_eq!(world.block_on_within(Duration::from_secs(5), std::future::pending::<()>()), None);
    assert_eq!(world.now(), Instant(world.now().0.min(1_000_000)), "nothing was waited for");
    let runtime = world.shard(1, 0);
    assert_eq!(world.block_on_within(Duration::from_secs(5), runtime.sleep_until(at(60_000))), None);
    assert_eq!(world.block_on_within(Duration::from_secs(60), runtime.sleep_until(at(60_000))), Some(()));
}

#[test]
fn dropping_a_world_drops_its_tasks() {
    let held = Rc::new(());
    let world = World::new(1);
    let (runtime, inside) = (world.shard(1, 0), held.clone());
    echo(&runtime, SERVER);
    runtime.clone().spawn(async move {
        runtime.sleep_until(at(1000)).await;
        drop(inside);
    });
    world.run_until(at(1));
    let state = Rc::downgrade(&world.state);
    drop(world);
    assert_eq!((Rc::strong_count(&held), state.strong_count()), (1, 0));
}

#[test]
fn a_pipe_keeps_order_and_its_bound() {
    seeds(30, |world| {
        let (one, other) = pair(&world);
        if world.seed() % 2 == 1 {
            world.faults().short = 0.5;
            world.faults().spurious = 0.3;
            world.faults().delay = 0.1;
        }
        let sent = pattern(300_000);
        let mut taken = 0;
        // Nobody reads: the window fills and the sender is told to wait.
        let refusal = loop {
            match one.try_send(&[IoSlice::new(&sent[taken..][..10]), IoSlice::new(&sent[taken + 10..])]) {
                Ok(count) => taken += count,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!((taken, refusal), (64 * 1024, ErrorKind::WouldBlock));
        assert_eq!(other.try_recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock, "latency");
        let rest = sent[taken..].to_vec();
        world.shard(2, 0).spawn(async move {
            one.send(&rest).await.unwrap();
            one.shutdown(Shutdown::Write).unwrap();
            assert_eq!(one.try_send(&[IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(one.recv_until(b"k", 10).await.unwrap(), b"ok");
        });
        world.shard(1, 0).spawn({
            let sent = sent.clone();
            async move {
                let mut all: Vec<u8> = Vec::new();
                let mut buffer = [0; 5000];
                while let count @ 1.. = other.recv(&mut buffer).await.unwrap() {
                    all.extend(&buffer[..count]);
                }
                assert!(all == sent);
                other.send(b"ok").await.unwrap();
            }
        });
        assert!(world.run_until_idle(Duration::from_secs(3600)));
        assert_eq!((world.panics(1), world.panics(2), world.tasks(2)), (0, 0, 0));
        assert!(world.state.network.borrow().is_quiet(), "closed connections are forgotten");
    });
}

#[test]
fn closing_with_unread_bytes_resets_the_peer() {
    let world = World::new(1);
    let (one, other) = pair(&world);
    one.try_send(&[IoSlice::new(b"never read")]).unwrap();
    other.try_send(&[IoSlice::new(b"421 bye")]).unwrap();
    assert!(world.run_until_idle(Duration::from_secs(1)));
    drop(other);
    assert_eq!(recv_all(&world, &one), (b"421 bye".to_vec(), Some(ErrorKind::ConnectionReset)));
    assert_eq!(one.try_recv(&mut [0; 1]).unwrap(), 0, "the error is told once");
    assert_eq!(one.try_send(&[IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn sending_to_a_closed_peer_succeeds_once_and_then_fails() {
    let world = World::new(1);
    let (one, other) = pair(&world);
    drop(other);
    assert_eq!(recv_all(&world, &one), (vec![], None));
    assert_eq!(one.try_send(&[IoSlice::new(b"x")]).unwrap(), 1);
    assert!(world.run_until_idle(Duration::from_secs(1)));
    assert_eq!(one.try_send(&[IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn an_attempt_ends_well_refused_or_unanswered() {
    let world = World::new(1);
    let client = world.shard(2, 0);
    let attempt = |to| {
        let stream = client.connect(None, to).unwrap();
        assert!(stream.take_error().is_ok(), "no error yet while it is under way");
        assert_eq!(stream.try_send(&[IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let before = world.now();
        let result = world.block_on(stream.connected()).map_err(|error| error.kind());
        (result, world.now().since(before))
    };
    let (nobody, took) = attempt(SERVER);
    assert_eq!(nobody, Err(ErrorKind::ConnectionRefused));
    assert!(took >= Duration::from_micros(100), "there and back");
    let listener = world.shard(1, 0).listen(SERVER).unwrap();
    assert_eq!(attempt(SERVER).0, Ok(()));
    world.faults().blackhole.insert(SERVER);
    let (silence, took) = attempt(SERVER);
    assert_eq!(silence, Err(ErrorKind::TimedOut));
    assert_eq!(took.as_secs(), 127);
    world.faults().blackhole.clear();
    world.faults().refuse.insert(SERVER);
    assert_eq!(attempt(SERVER).0, Err(ErrorKind::ConnectionRefused));
    assert!(listener.try_accept().is_ok(), "one of them was made");
    assert_eq!(listener.try_accept().err().unwrap().kind(), ErrorKind::WouldBlock);
    let mismatch = client.connect(Some("::1".parse().unwrap()), SERVER);
    assert_eq!(mismatch.err().unwrap().kind(), ErrorKind::InvalidInput);
}

#[test]
fn listeners_of_one_address_share_it_and_wildcards_give_way() {
    let world = World::new(1);
    let (a, b) = (world.shard(1, 0).listen(SERVER).unwrap(), world.shard(1, 1).listen(SERVER).unwrap());
    let taken = world.shard(2, 0).listen(SERVER);
    assert_eq!(taken.err().unwrap().kind(), ErrorKind::AddrInUse);
    let client = world.shard(3, 0);
    let streams: Vec<_> = (0..40).map(|_| client.connect(None, SERVER).unwrap()).collect();
    assert!(world.run_until_idle(Duration::from_secs(1)));
    let count = |listener: &SimListener| std::iter::from_fn(|| listener.try_accept().ok()).count();
    let (of_a, of_b) = (count(&a), count(&b));
    assert!(of_a > 5 && of_b > 5 && of_a + of_b == streams.len(), "{of_a} {of_b}");

    let wild = world.shard(4, 0).listen("0.0.0.0:25".parse().unwrap()).unwrap();
    let at_node = client.connect(None, SocketAddr::new(World::address(4), 25)).unwrap();
    world.block_on(at_node.connected()).unwrap();
    assert_eq!(wild.try_accept().unwrap().1.ip(), World::address(3));
    let elsewhere = client.connect(None, SocketAddr::new(World::address(5), 25)).unwrap();
    assert!(world.block_on(elsewhere.connected()).is_err());
    // A listener that goes resets who was never accepted.
    let waiting = client.connect(None, SocketAddr::new(World::address(4), 25)).unwrap();
    world.block_on(waiting.connected()).unwrap();
    drop(wild);
    assert_eq!(recv_all(&world, &waiting), (vec![], Some(ErrorKind::ConnectionReset)));
}

#[test]
fn a_cut_delivers_a_prefix_and_a_reset() {
    let lengths = RefCell::new(BTreeSet::new());
    seeds(40, |world| {
        world.faults().cut = 1.0;
        let (one, other) = pair(&world);
        // Longer than the latest cut, and in both directions: one of them breaks.
        let sent = pattern(1 << 20);
        let got = Rc::new(RefCell::new(Vec::new()));
        let streams = [(one, other)].map(|(one, other)| [Rc::new(one), Rc::new(other)])[0].clone();
        let reset = Rc::new(Cell::new(0));
        for side in 0..2 {
            let (from, to) = (streams[side].clone(), streams[1 - side].clone());
            let (sent, got, reset) = (sent.clone(), got.clone(), reset.clone());
            let told = reset.clone();
            world.shard(2, 0).spawn(async move {
                if from.send(&sent).await.is_err() {
                    told.set(told.get() + 1);
                }
            });
            world.shard(1, 0).spawn(async move {
                let mut bytes = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    match to.recv(&mut buffer).await {
                        Ok(0) => break,
                        Ok(count) => bytes.extend(&buffer[..count]),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                            reset.set(reset.get() + 1);
                            break;
                        }
                    }
                }
                got.borrow_mut().push(bytes);
            });
        }
        drop(streams);
        assert!(world.run_until_idle(Duration::from_secs(10)));
        assert!(reset.get() > 0 && world.panics(1) == 0);
        for bytes in &*got.borrow() {
            assert!(sent.starts_with(bytes));
            lengths.borrow_mut().insert(bytes.len());
        }
    });
    assert!(lengths.borrow().len() > 30, "cuts at many places");
}

#[test]
fn a_deaf_connection_says_nothing_more() {
    seeds(10, |world| {
        world.faults().half_open = 1.0;
        let (one, other) = pair(&world);
        let sent = pattern(3 << 20);
        world.shard(2, 0).spawn(async move {
            let _ = one.send(&sent).await;
        });
        let hung = world.block_on_within(Duration::from_secs(600), async {
            while let Ok(1..) = other.recv(&mut [0; 4096]).await {}
        });
        assert_eq!(hung, None, "neither an end nor an error ever comes");
    });
}

#[test]
fn a_crash_cuts_the_node_off() {
    seeds(20, |world| {
        let server = world.shard(1, 0);
        echo(&server, SERVER);
        let client = world.shard(2, 0);
        let stream = client.connect(None, SERVER).unwrap();
        world.block_on(async {
            stream.connected().await.unwrap();
            stream.send(b"hello").await.unwrap();
            assert_eq!(stream.recv_until(b"o", 10).await.unwrap(), b"hello");
            world.crash(1);
        });
        assert_eq!(world.tasks(1), 0);
        assert_eq!(recv_all(&world, &stream), (vec![], Some(ErrorKind::ConnectionReset)));
        // The old life can do nothing any more.
        assert!(!server.is_alive());
        assert!(server.listen(SERVER).is_err() && server.connect(None, SERVER).is_err());
        server.spawn(async { panic!("a task of a dead node ran") });
        let again = client.connect(None, SERVER).unwrap();
        assert_eq!(world.block_on(again.connected()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // The next one can.
        echo(&world.shard(1, 0), SERVER);
        let again = client.connect(None, SERVER).unwrap();
        world.block_on(again.connected()).unwrap();
        assert_eq!(world.panics(1), 0);
    });
}

#[test]
fn datagrams_are_answered_lost_doubled_and_reordered() {
    let world = World::new(5);
    let to = SocketAddr::new(World::address(9), 53);
    let socket = world.shard(1, 0).datagram(to).unwrap();
    let mut buffer = [0; 100];
    socket.try_send(b"?").unwrap();
    assert!(world.run_until_idle(Duration::from_secs(1)));
    let refused = socket.try_recv(&mut buffer).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(socket.try_send(&[0; 70_000]).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));

    world.serve_datagrams(to, |question| (question != b"quiet").then(|| question.to_vec()));
    let mut ask = |count: u8| {
        for index in 0..count {
            socket.try_send(&[index]).unwrap();
        }
        assert!(world.run_until_idle(Duration::from_secs(10)));
        std::iter::from_fn(|| socket.try_recv(&mut buffer).ok().map(|_| buffer[0])).collect::<Vec<u8>>()
    };
    assert_eq!(ask(100).len(), 100);
    world.faults().datagram_loss = 0.3;
    let got = ask(100);
    assert!((30..70).contains(&got.len()), "about half survives both ways, not {}", got.len());
    world.faults().datagram_loss = 0.0;
    world.faults().datagram_reorder = 0.5;
    assert!(!ask(50).is_sorted());
    world.faults().datagram_reorder = 0.0;
    world.faults().datagram_duplicate = 1.0;
    assert_eq!(ask(10).len(), 40);
    world.faults().blackhole.insert(to);
    assert_eq!(ask(10).len(), 0);
    assert_eq!(socket.try_recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

const PATH: &str = "/spool/lane-0/segment-0";
const SIZE: u64 = 1 << 20;

fn segment(world: &World, runtime: &SimRuntime) -> SimSegment {
    runtime.create_directory(Path::new("/spool/lane-0")).unwrap();
    world.block_on(runtime.create_segment(Path::new(PATH), SIZE)).unwrap()
}

fn append(segment: &SimSegment, offset: u64, bytes: &[u8]) {
    let (head, tail) = bytes.split_at(bytes.len() / 3);
    segment.append(offset, &[IoSlice::new(head), IoSlice::new(tail)]).unwrap();
}

#[test]
fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
    // Counts of pages of 4 KiB: kept whole, lost whole, torn.
    let fates = RefCell::new([0; 3]);
    seeds(60, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        let (synced, loose) = (pattern(10_000), pattern(40_000));
        append(&segment, 0, &synced);
        let _ = world.block_on(segment.sync()).unwrap();
        append(&segment, 12_288, &loose);
        assert!(segment.map().slice(12_288, loose.len()) == Some(&loose[..]), "visible at once");
        world.crash(1);
        assert!(segment.append(0, &[IoSlice::new(b"x")]).is_err(), "a handle of the old life writes nothing");
        assert!(world.block_on(segment.sync()).is_err());

        let runtime = world.shard(1, 0);
        assert_eq!(runtime.list(Path::new("/spool/lane-0")).unwrap(), ["segment-0"]);
        let again = runtime.open_segment(Path::new(PATH)).unwrap();
        assert!(again.map().slice(0, synced.len()) == Some(&synced[..]), "every synced byte");
        let survived = again.map().slice(12_288, loose.len()).unwrap();
        for (page, wanted) in survived.chunks(4096).zip(loose.chunks(4096)) {
            let kept = page == wanted;
            let lost = page.iter().all(|byte| *byte == 0);
            fates.borrow_mut()[if kept {
                0
            } else if lost {
                1
            } else {
                2
            }] += 1;
            for (sector, wanted) in page.chunks(512).zip(wanted.chunks(512)) {
                assert!(sector == wanted || sector.iter().all(|byte| *byte == 0), "sectors are whole");
            }
        }
        assert!(segment.map().slice(12_288, loose.len()) == Some(&loose[..]), "the old map stays");
        assert_eq!(world.block_on(runtime.read(again.map(), 0, 100)).unwrap(), synced[..100]);
    });
    assert!(fates.borrow().iter().all(|count| *count > 50), "{fates:?}");
}

#[test]
fn a_sync_covers_what_was_appended_before_its_call() {
    seeds(40, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        append(&segment, 0, &pattern(5000));
        let (during, done) = (segment.clone(), Rc::new(Cell::new(false)));
        let flag = done.clone();
        runtime.spawn(async move {
            let _ = during.sync().await.unwrap();
            flag.set(true);
        });
        world.run_for(Duration::from_micros(50));
        append(&segment, 5000, &pattern(5000));
        assert!(!done.get(), "a sync takes time");
        world.run_for(Duration::from_millis(5));
        assert!(done.get());
        assert_eq!(world.stable(1, PATH, 0, 5000).unwrap(), pattern(5000));
        assert!(world.stable(1, PATH, 5000, 5000).unwrap().iter().all(|byte| *byte == 0), "not yet");
        let _ = world.block_on(segment.sync()).unwrap();
        assert_eq!(world.stable(1, PATH, 5000, 5000).unwrap(), pattern(5000));
    });
}

#[test]
fn a_crash_during_a_sync_settles_its_pages_by_chance() {
    let seen = RefCell::new([false; 2]);
    seeds(40, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        append(&segment, 0, &pattern(4096));
        runtime.spawn(async move {
            let _ = segment.sync().await;
            panic!("this task must be gone");
        });
        world.run_for(Duration::from_micros(50));
        world.crash(1);
        assert!(world.run_until_idle(Duration::from_secs(1)));
        assert_eq!(world.panics(1), 0);
        let whole = world.stable(1, PATH, 0, 4096).unwrap() == pattern(4096);
        seen.borrow_mut()[usize::from(whole)] = true;
        // The next life's first sync finds no other under way.
        let again = world.shard(1, 0).open_segment(Path::new(PATH)).unwrap();
        let _ = world.block_on(again.sync()).unwrap();
    });
    assert_eq!(*seen.borrow(), [true; 2]);
}

#[test]
fn a_failed_sync_forgets_its_pages() {
    let lost = Cell::new(0);
    seeds(60, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        append(&segment, 0, &pattern(4096));
        world.disk_faults(1).fail_syncs = 1;
        assert!(world.block_on(segment.sync()).is_err());
        assert!(segment.map().slice(0, 4096) == Some(&pattern(4096)[..]), "the page cache still shows it");
        append(&segment, 8192, &pattern(100));
        let _ = world.block_on(segment.sync()).unwrap();
        let before = world.stable(1, PATH, 0, 4096).unwrap();
        world.crash(1);
        assert_eq!(world.stable(1, PATH, 0, 4096).unwrap(), before, "its fate was settled when it failed");
        assert_eq!(world.stable(1, PATH, 8192, 100).unwrap(), pattern(100));
        lost.set(lost.get() + u32::from(before != pattern(4096)));
    });
    assert!((10..60).contains(&lost.get()), "{}", lost.get());
}

#[test]
fn a_killed_process_leaves_the_page_cache() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    let old = segment(&world, &runtime);
    append(&old, 0, &pattern(5000));
    world.kill(1);
    assert!(!runtime.is_alive());
    let again = world.shard(1, 0).open_segment(Path::new(PATH)).unwrap();
    assert!(again.map().slice(0, 5000) == Some(&pattern(5000)[..]));
    assert_ne!(world.stable(1, PATH, 0, 5000).unwrap(), pattern(5000));
    let _ = world.block_on(again.sync()).unwrap();
    assert_eq!(
        world.stable(1, PATH, 0, 5000).unwrap(),
        pattern(5000),
        "the new life syncs the old one's pages"
    );
}

#[test]
fn appends_fail_whole_short_and_out_of_bounds() {
    let short = Cell::new(0);
    seeds(30, |world| {
        let runtime = world.shard(1, 0);
        let segment = segment(&world, &runtime);
        assert!(segment.append(SIZE - 1, &[IoSlice::new(b"xy")]).is_err());
        assert!(segment.append(u64::MAX, &[IoSlice::new(b"xy")]).is_err());
        world.disk_faults(1).append_error = 1.0;
        let error = segment.append(0, &[IoSlice::new(b"xy")]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        assert_eq!(segment.map().slice(0, 2), Some(&[0, 0][..]));
        world.disk_faults(1).append_error = 0.0;
        world.disk_faults(1).append_short = 1.0;
        assert!(segment.append(0, &[IoSlice::new(&pattern(5000))]).is_err());
        let written = segment.map().slice(0, 5000).unwrap().iter().take_while(|byte| **byte != 0).count();
        assert!(written < 5000);
        short.set(short.get() + u32::from(written > 0));
        world.disk_faults(1).append_short = 0.0;
        append(&segment, 0, &pattern(5000));
    });
    assert!(short.get() > 20);
}

#[test]
fn the_disk_has_names_and_a_size() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    assert_eq!(runtime.list(Path::new("/spool")).unwrap_err().kind(), ErrorKind::NotFound);
    let early = world.block_on(runtime.create_segment(Path::new(PATH), SIZE));
    assert_eq!(early.err().unwrap().kind(), ErrorKind::NotFound);
    segment(&world, &runtime);
    runtime.create_directory(Path::new("/spool/lane-1")).unwrap();
    assert_eq!(runtime.list(Path::new("/spool")).unwrap(), ["lane-0", "lane-1"]);
    assert_eq!(runtime.list(Path::new("/spool/./lane-0/")).unwrap(), ["segment-0"]);
    assert!(world.shard(2, 0).list(Path::new("/spool")).is_err(), "each node has a disk of its own");
    let twice = world.block_on(runtime.create_segment(Path::new(PATH), SIZE));
    assert_eq!(twice.err().unwrap().kind(), ErrorKind::AlreadyExists);
    world.disk_faults(1).quota = Some(2 * SIZE);
    world.block_on(runtime.create_segment(Path::new("/spool/lane-1/a"), SIZE)).unwrap();
    let full = world.block_on(runtime.create_segment(Path::new("/spool/lane-1/b"), 1));
    assert_eq!(full.err().unwrap().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(runtime.list(Path::new("/spool/lane-1")).unwrap(), ["a"]);
    assert_eq!(runtime.open_segment(Path::new("/x")).err().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn a_crash_during_creation_leaves_the_whole_file_an_empty_one_or_none() {
    let seen = RefCell::new(BTreeMap::new());
    seeds(60, |world| {
        let runtime = world.shard(1, 0);
        runtime.create_directory(Path::new("/spool/lane-0")).unwrap();
        runtime.clone().spawn(async move {
            let _ = runtime.create_segment(Path::new(PATH), SIZE).await;
        });
        world.run_for(Duration::from_micros(100));
        world.crash(1);
        let length = world.shard(1, 0).open_segment(Path::new(PATH)).map(|segment| segment.map().len());
        *seen.borrow_mut().entry(length.ok()).or_insert(0) += 1;
    });
    assert_eq!(seen.borrow().keys().copied().collect::<Vec<_>>(), [None, Some(0), Some(SIZE as usize)]);
}

#[test]
fn rot_and_unreadable_pages_are_seen_by_readers() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    let segment = segment(&world, &runtime);
    append(&segment, 0, &pattern(20_000));
    let _ = world.block_on(segment.sync()).unwrap();
    world.rot(1, PATH, 4100).unwrap();
    let flipped = segment.map().slice(4100, 1).unwrap()[0] ^ pattern(4101)[4100];
    assert_eq!(flipped.count_ones(), 1);
    world.spoil(1, PATH, 9000).unwrap();
    assert!(runtime.read_now(segment.map(), 4096, 4096).is_ok());
    assert!(runtime.read_now(segment.map(), 4096, 4097).is_err());
    assert!(world.block_on(runtime.read(segment.map(), 12_287, 1)).is_err());
    assert_eq!(runtime.read_now(segment.map(), SIZE - 1, 2).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    world.crash(1);
    let again = world.shard(1, 0).open_segment(Path::new(PATH)).unwrap();
    assert_eq!(again.map().slice(4100, 1).unwrap()[0] ^ pattern(4101)[4100], flipped);
    assert!(runtime.read_now(again.map(), 9000, 1).is_err());
}
