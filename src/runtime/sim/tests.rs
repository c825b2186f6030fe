//! The simulator keeps its own promises: repeatable, and no kinder to shards than a machine.

use super::*;
use crate::runtime::{Datagram, Listener, Segment, Stream};
use std::io::IoSlice;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

async fn receive_all(stream: &SimStream) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match stream.try_recv(&mut buffer) {
            Ok(0) => return Ok(all),
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll_fn(|context| stream.poll_readable(context)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A megabyte over one connection; returns the fingerprint and what arrived.
fn transfer(seed: u64, faults: Faults) -> (u64, io::Result<usize>) {
    let world = World::new(seed);
    world.set_faults(faults);
    let (server, client) = (world.runtime(1), world.runtime(2));
    let listener = server.listen(address("10.0.0.1:25")).unwrap();
    let result = Rc::new(RefCell::new(None));
    let kept = result.clone();
    server.spawn(async move {
        poll_fn(|context| listener.poll_acceptable(context)).await;
        let (stream, _) = listener.try_accept().unwrap();
        *kept.borrow_mut() = Some(receive_all(&stream).await.map(|bytes| bytes.len()));
    });
    let sender = client.clone();
    client.spawn(async move {
        let stream = sender.connect(None, address("10.0.0.1:25")).unwrap();
        poll_fn(|context| stream.poll_writable(context)).await;
        stream.take_error().unwrap();
        let mut left = 1_000_000;
        while left > 0 {
            match stream.try_send(&[IoSlice::new(&vec![7; left.min(5_000)])]) {
                Ok(sent) => left -= sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| stream.poll_writable(context)).await;
                }
                Err(_) => return,
            }
        }
    });
    world.run_for(Duration::from_secs(100));
    let result = result.take().expect("the transfer ended");
    (world.fingerprint(), result)
}

#[test]
fn streams_bring_everything_and_a_seed_repeats_itself() {
    let faults = Faults { short_transfer: 300_000, ..Faults::default() };
    let (one, arrived) = transfer(5, faults);
    assert_eq!(arrived.unwrap(), 1_000_000);
    assert_eq!(transfer(5, faults).0, one);
    assert_ne!(transfer(6, faults).0, one);
    let cut = transfer(5, Faults { cut: 50_000, ..Faults::default() }).1;
    assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn nobody_listening_is_a_refusal() {
    let world = World::new(1);
    let client = world.runtime(1);
    let seen = Rc::new(Cell::new(false));
    let (runtime, kept) = (client.clone(), seen.clone());
    client.spawn(async move {
        let stream = runtime.connect(None, address("10.0.0.9:25")).unwrap();
        poll_fn(|context| stream.poll_writable(context)).await;
        assert_eq!(stream.take_error().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        kept.set(true);
    });
    world.run_for(Duration::from_secs(1));
    assert!(seen.get());
    assert_eq!(client.panics(), 0);
}

#[test]
fn sleeps_end_in_order_and_on_time() {
    let world = World::new(1);
    let runtime = world.runtime(1);
    let order = Rc::new(RefCell::new(Vec::new()));
    for millis in [30u64, 10, 20] {
        let (own, order) = (runtime.clone(), order.clone());
        runtime.spawn(async move {
            own.pause(Duration::from_millis(millis)).await;
            order.borrow_mut().push((millis, own.now().0 / 1_000_000));
        });
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(*order.borrow(), [(10, 10), (20, 20), (30, 30)]);
}

#[test]
fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
    let world = World::new(3);
    let runtime = world.runtime(1);
    let path = Path::new("/d/1.seg");
    let own = runtime.clone();
    runtime.spawn(async move {
        let segment = own.create_segment(Path::new("/d/1.seg"), 1 << 20).await.unwrap();
        segment.append(0, &[IoSlice::new(&[1; 40_960])]).unwrap();
        let _ = segment.sync().await.unwrap();
        segment.append(40_960, &[IoSlice::new(&[2; 409_600])]).unwrap();
        assert_eq!(segment.map().slice(40_960, 1), Some(&[2][..]), "seen at once");
    });
    world.run_for(Duration::from_secs(1));
    world.crash(1);
    assert_eq!(runtime.list(Path::new("/d")).unwrap(), ["1.seg"]);
    let segment = world.runtime(1).open_segment(path).unwrap();
    assert!(segment.map().slice(0, 40_960).unwrap().iter().all(|byte| *byte == 1));
    let kept = segment.map().slice(40_960, 409_600).unwrap().iter().filter(|byte| **byte == 2).count();
    assert!(kept > 100_000 && kept < 300_000, "{kept} of 409600");
    world.rot(1, path, 5);
    assert_ne!(segment.map().slice(5, 1), Some(&[1][..]));
}

#[test]
fn a_failed_sync_proves_nothing_and_is_not_repeated() {
    let world = World::new(3);
    world.set_faults(Faults { sync_error: 1_000_000, disk_quota: 1 << 20, ..Faults::default() });
    let runtime = world.runtime(1);
    let own = runtime.clone();
    runtime.spawn(async move {
        let segment = own.create_segment(Path::new("/d/1.seg"), 1 << 20).await.unwrap();
        segment.append(0, &[IoSlice::new(&[1; 4096])]).unwrap();
        assert!(segment.sync().await.is_err());
        assert!(segment.append(4096, &[IoSlice::new(&[1; 4096])]).is_err());
        let full = own.create_segment(Path::new("/d/2.seg"), 1 << 20).await;
        assert_eq!(full.err().unwrap().kind(), io::ErrorKind::StorageFull);
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!(runtime.panics(), 0);
}

#[test]
fn datagrams_are_answered_or_lost() {
    for (loss, wanted) in [(0, true), (1_000_000, false)] {
        let world = World::new(9);
        world.set_faults(Faults { datagram_loss: loss, ..Faults::default() });
        world.serve_datagrams(address("10.0.0.53:53"), |question| Some(question.to_vec()));
        let runtime = world.runtime(1);
        let answered = Rc::new(Cell::new(false));
        let (own, kept) = (runtime.clone(), answered.clone());
        runtime.spawn(async move {
            let socket = own.datagram(address("10.0.0.53:53")).unwrap();
            socket.try_send(b"hello").unwrap();
            poll_fn(|context| socket.poll_readable(context)).await;
            let mut buffer = [0; 10];
            assert_eq!(socket.try_recv(&mut buffer).unwrap(), 5);
            kept.set(true);
        });
        world.run_for(Duration::from_secs(1));
        assert_eq!(answered.get(), wanted);
    }
}
