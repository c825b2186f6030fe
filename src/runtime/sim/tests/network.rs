//! Pipes, attempts, listeners, datagrams, and what breaks them.

use std::collections::BTreeSet;

use super::*;
use crate::runtime::Defect;

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
        assert!(world.state().network().is_quiet(), "closed connections are forgotten");
    });
}

#[test]
fn a_late_piece_holds_up_what_follows() {
    seeds(10, |world| {
        let (one, other) = pair(&world);
        world.faults().delay = 1.0;
        one.try_send(&[IoSlice::new(b"late ")]).unwrap();
        world.faults().delay = 0.0;
        let sent = world.now();
        one.try_send(&[IoSlice::new(b"and early")]).unwrap();
        assert_eq!(world.block_on(other.recv_until(b" ", 100)).unwrap(), b"late ");
        let took = world.now().since(sent);
        assert_eq!(world.block_on(other.recv_until(b"y", 100)).unwrap(), b"and early");
        assert!(took > Duration::from_millis(5), "drawn from two seconds: {took:?}");
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

#[test]
fn a_watch_knows_the_most_connections_at_one_time() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    let to: [SocketAddr; 3] = ["10.0.0.2:25", "10.0.0.2:26", "10.0.0.3:25"].map(|to| to.parse().unwrap());
    let watch = world.watch_connections(1, to[..2].iter().copied());
    assert_eq!(world.connections_peak(watch), 0);
    let first = runtime.connect(None, to[0]).unwrap();
    let _elsewhere = runtime.connect(None, to[2]).unwrap();
    let _of_another = world.shard(5, 0).connect(None, to[0]).unwrap();
    assert_eq!(world.connections_peak(watch), 1);
    drop(first);
    let _second = runtime.connect(None, to[1]).unwrap();
    assert_eq!(world.connections_peak(watch), 1, "one at a time");
    let _third = runtime.connect(None, to[0]).unwrap();
    assert_eq!(world.connections_peak(watch), 2);
}

#[test]
fn only_what_was_planted_shows() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    assert!(!runtime.planted(Defect::OutcomeLost));
    world.plant(Defect::OutcomeLost, 1.0);
    assert!(runtime.planted(Defect::OutcomeLost) && !runtime.planted(Defect::RetryLate));
}

/// Who listens where a path leads is reached by that path, from its own node only.
#[test]
fn a_path_leads_to_its_node() {
    seeds(5, |world| {
        let path = std::path::Path::new("/run/store/lmtp");
        let listener = world.shard(3, 0).listen(World::socket(2, path)).unwrap();
        let (near, far) = (world.shard(2, 0), world.shard(1, 0));
        world.block_on(async {
            let one = near.connect_path(path).unwrap();
            one.connected().await.unwrap();
            let (other, _) = listener.accept().await.unwrap();
            one.send(b"LHLO").await.unwrap();
            assert_eq!(other.recv_until(b"O", 10).await.unwrap(), b"LHLO");
            let refused = far.connect_path(path).unwrap().connected().await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            let elsewhere = near.connect_path(std::path::Path::new("/run/store/other"));
            assert!(elsewhere.unwrap().connected().await.is_err());
        });
    });
}
