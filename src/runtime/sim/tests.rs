//! What the tests share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::runtime::{Datagram, Listener, Priority, Runtime, Segment, Stream, Uncomputed};
use crate::time::{Instant, UnixMillis};

mod disk;
mod network;
mod tasks;

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
        let segment = disk.create_segment(Path::new("/spool/0/a"), 1 << 16, None).await.unwrap();
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
