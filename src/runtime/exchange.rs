//! One question over the network and its answer, for commands: these wait, and have nothing else to do. No shard calls any of it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::limits;
use crate::runtime::process;

pub mod https;
pub mod wire;
#[cfg(test)]
pub mod server;

/// What is left of the time up to a point since boot; an error: nothing.
fn left(until: Duration) -> io::Result<Duration> {
    match until.saturating_sub(process::since_boot()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// As waits of the system call it is another kind.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// Asks over UDP, from a port of the kernel's choice, and returns the first datagram of the server that `accept` makes something of.
pub fn datagram<T>(
    server: SocketAddr,
    question: &[u8],
    until: Duration,
    mut accept: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<T> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    #[expect(clippy::disallowed_methods, reason = "a command waits, and no shard is behind it")]
    let socket = UdpSocket::bind((any, 0))?;
    // Nobody else's datagrams are heard then.
    socket.connect(server)?;
    socket.send(question)?;
    let mut buffer = [0; limits::DNS_READ];
    loop {
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(found) = accept(&buffer[..length]) {
                    return Ok(found);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed_out(error)),
        }
    }
}

/// Asks over TCP, where two bytes of length go before each message (RFC 7766), and returns what is answered: at most 64 KiB.
pub fn stream(server: SocketAddr, question: &[u8], until: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?)?;
    let length = u16::try_from(question.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).map_err(timed_out)?;
    let mut length = [0; 2];
    read_all(&mut stream, &mut length, until)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_all(&mut stream, &mut answer, until)?;
    Ok(answer)
}

/// All of them by then, however slowly they come.
fn read_all(stream: &mut TcpStream, mut bytes: &mut [u8], until: Duration) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(some) => bytes = &mut bytes[some..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed_out(error)),
        }
    }
    Ok(())
}
