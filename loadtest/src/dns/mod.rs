//! An authoritative name server for a simulated internet: MX with preferences, addresses, aliases, and the ways name servers
//! fail. UDP and TCP on one port of the loopback.

mod zone;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use zone::{Zone, ZoneError};

/// TCP connections served at one time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// Answers held back at one time; more are dropped, as a name server under load does.
const DELAYED_MAX: usize = 100_000;
/// A TCP client that says nothing for so long is closed.
const TCP_PATIENCE: Duration = Duration::from_secs(5);
/// How often the threads look whether they are to end.
const LOOK: Duration = Duration::from_millis(50);
/// Longest datagram read.
const DATAGRAM: usize = 4096;

/// How an answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Bounded by what the client announced.
    Udp,
    /// Up to 64 KiB.
    Tcp,
}

/// What was asked and answered so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsCounts {
    /// Questions over UDP.
    pub udp: u64,
    /// Questions over TCP.
    pub tcp: u64,
    /// Questions that got no answer, on purpose or because they were none.
    pub silent: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    udp: AtomicU64,
    tcp: AtomicU64,
    silent: AtomicU64,
    connections: AtomicUsize,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl DnsServer {
    /// Serves `zone` on `address`, UDP and TCP; with port 0 the kernel chooses one for both.
    pub fn start(address: SocketAddr, zone: Zone) -> io::Result<DnsServer> {
        let (udp, tcp) = bind(address)?;
        let address = udp.local_addr()?;
        let (shared, zone) = (Arc::new(Shared::default()), Arc::new(zone));
        udp.set_read_timeout(Some(LOOK))?;
        tcp.set_nonblocking(true)?;
        let mut threads = Vec::new();
        let (own, names) = (Arc::clone(&shared), Arc::clone(&zone));
        threads.push(
            std::thread::Builder::new()
                .name("dns-udp".into())
                .spawn(move || serve_udp(&udp, &names, &own))?,
        );
        let own = Arc::clone(&shared);
        threads.push(
            std::thread::Builder::new().name("dns-tcp".into()).spawn(move || serve_tcp(&tcp, &zone, &own))?,
        );
        Ok(DnsServer { address, shared, threads })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked so far.
    pub fn counts(&self) -> DnsCounts {
        DnsCounts {
            udp: self.shared.udp.load(Ordering::Relaxed),
            tcp: self.shared.tcp.load(Ordering::Relaxed),
            silent: self.shared.silent.load(Ordering::Relaxed),
        }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One port for both; with port 0 some tries, for the port UDP got may be taken for TCP.
fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = None;
    for _ in 0..20 {
        let udp = UdpSocket::bind(address)?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if address.port() == 0 => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn serve_udp(socket: &UdpSocket, zone: &Zone, shared: &Shared) {
    let mut buffer = [0; DATAGRAM];
    let mut delayed: BinaryHeap<Reverse<(Instant, SocketAddr, Vec<u8>)>> = BinaryHeap::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        while let Some(Reverse((due, ..))) = delayed.peek() {
            if *due > now {
                break;
            }
            if let Some(Reverse((_, to, answer))) = delayed.pop() {
                let _ = socket.send_to(&answer, to);
            }
        }
        let patience = delayed.peek().map_or(LOOK, |Reverse((due, ..))| due.duration_since(now).min(LOOK));
        let _ = socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))));
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        shared.udp.fetch_add(1, Ordering::Relaxed);
        match zone.answer(&buffer[..length], Transport::Udp) {
            Some((answer, delay)) if delay.is_zero() => {
                let _ = socket.send_to(&answer, from);
            }
            Some((answer, delay)) if delayed.len() < DELAYED_MAX => {
                delayed.push(Reverse((Instant::now() + delay, from, answer)));
            }
            _ => {
                shared.silent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Arc<Zone>, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(LOOK / 5);
            continue;
        };
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (zone, own) = (Arc::clone(zone), Arc::clone(shared));
        let served = std::thread::Builder::new().name("dns-client".into()).spawn(move || {
            let _ = serve_connection(stream, &zone, &own);
            own.connections.fetch_sub(1, Ordering::Relaxed);
        });
        if served.is_err() {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// RFC 7766: messages one after the other, each with its length in front.
fn serve_connection(mut stream: TcpStream, zone: &Zone, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TCP_PATIENCE))?;
    stream.set_write_timeout(Some(TCP_PATIENCE))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        shared.tcp.fetch_add(1, Ordering::Relaxed);
        let Some((answer, delay)) = zone.answer(&question, Transport::Tcp) else {
            shared.silent.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        std::thread::sleep(delay);
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
    }
}

#[cfg(test)]
mod tests;
