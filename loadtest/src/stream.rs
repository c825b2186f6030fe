//! A connection, with or without TLS, that never blocks.

use std::io::{self, IoSlice, Read, Write};

use mio::net::TcpStream;
use rustls::Connection;

/// A socket of `mio` and, from some moment on, the TLS on it.
pub struct Stream {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
}

impl Stream {
    /// In plain text, for now.
    pub fn new(socket: TcpStream) -> Stream {
        Stream { socket, tls: None }
    }

    /// Speaks TLS from the next byte on. Everything written before must have been flushed.
    pub fn secure(&mut self, tls: impl Into<Connection>) {
        self.tls = Some(Box::new(tls.into()));
    }

    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// For registering with `mio`.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Receives. `WouldBlock` when there is nothing yet; 0 at the end. What TLS has to say by itself (a handshake, an
    /// answer to a key update) is sent on the way.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                // A peer that closes without close_notify is common, and SMTP has its own end of everything.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            let processed = tls.process_new_packets();
            // An alert that explains a failure leaves too, if it can.
            let sent = send(tls, &mut self.socket);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            sent?;
        }
    }

    /// Sends what the socket takes; `WouldBlock` when that is nothing. With TLS, bytes taken may wait inside: see
    /// [`Stream::flush`].
    pub fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write_vectored(parts) };
        let taken = tls.writer().write_vectored(parts)?;
        send(tls, &mut self.socket)?;
        if taken == 0 && parts.iter().any(|part| !part.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Sends what TLS holds, as far as the socket takes it. True when nothing is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        send(tls, &mut self.socket)?;
        Ok(!tls.wants_write())
    }

    /// Whether the peer is seen to have closed, without reading what it sent before.
    pub fn is_gone(&self) -> bool {
        match self.socket.peek(&mut [0]) {
            Ok(seen) => seen == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Says that no more will be sent. Best effort: the connection is about to be closed.
    pub fn shut_tls(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = send(tls, &mut self.socket);
        }
    }
}

fn send(tls: &mut Connection, socket: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
