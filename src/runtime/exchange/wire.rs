//! A connection that is kept, with or without TLS, for threads that wait and have nothing else to do. No shard calls any of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::https::Timed;
use super::left;
use crate::limits;

/// One.
pub struct Wire {
    timed: Timed,
    tls: Option<Box<rustls::ClientConnection>>,
}

impl Wire {
    /// Connects, by this point since boot.
    pub fn open(
        server: SocketAddr,
        tls: Option<rustls::ClientConnection>,
        until: Duration,
    ) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&server, left(until)?)?;
        // What is sent is whole, and waited for.
        stream.set_nodelay(true)?;
        Ok(Wire { timed: Timed { stream, until }, tls: tls.map(Box::new) })
    }

    /// Sends this, and gives what comes back to `take`, piece by piece, until it says that this is all (true), by this point since boot.
    pub fn ask(
        &mut self,
        question: &[u8],
        until: Duration,
        take: &mut dyn FnMut(&[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        self.timed.until = until;
        match &mut self.tls {
            Some(tls) => exchange(&mut rustls::Stream::new(tls.as_mut(), &mut self.timed), question, take),
            None => exchange(&mut self.timed, question, take),
        }
    }
}

fn exchange(
    stream: &mut (impl Read + Write),
    question: &[u8],
    take: &mut dyn FnMut(&[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    stream.write_all(question)?;
    stream.flush()?;
    let mut buffer = [0; limits::DNS_READ];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) if take(&buffer[..length])? => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
