//! One request under TLS, and what comes back, for threads that wait and have nothing else to do. No shard calls any of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{left, timed_out};
use crate::limits;

/// A socket each of whose waits ends at a point since boot: a peer that sends a byte now and then keeps nobody for longer.
pub(super) struct Timed {
    pub stream: TcpStream,
    pub until: Duration,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Sends a request and gives what comes back to `take`, piece by piece, until it says that this is all (true), or the end comes.
pub fn request(
    server: SocketAddr,
    mut connection: rustls::ClientConnection,
    request: &[u8],
    until: Duration,
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&server, left(until)?)?;
    let mut timed = Timed { stream, until };
    exchange(&mut rustls::Stream::new(&mut connection, &mut timed), request, &mut take)
}

/// The same without TLS, for networks that an operator names.
pub fn request_plain(
    server: SocketAddr,
    request: &[u8],
    until: Duration,
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&server, left(until)?)?;
    exchange(&mut Timed { stream, until }, request, &mut take)
}

fn exchange(
    stream: &mut (impl Read + Write),
    request: &[u8],
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut buffer = [0; limits::DNS_READ];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) if take(&buffer[..length]) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Many web servers do not say that they close.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
