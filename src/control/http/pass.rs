//! What a connection asks for says which thread answers: metrics and health control itself, all else the service, so that nothing that is asked there
//! keeps control from saying how the node is.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::limits;

/// What control answers.
const OWN: [&str; 3] = [METRICS, LIVES, READY];
pub(super) const METRICS: &str = "/metrics";
pub(super) const LIVES: &str = "/healthz";
pub(super) const READY: &str = "/readyz";

/// A connection that is passed on, with what was read of it.
pub(in crate::control) struct Passed {
    stream: std::net::TcpStream,
    head: Vec<u8>,
    /// Who is at its other end.
    pub guest: IpAddr,
}

/// Where connections are passed to.
pub(in crate::control) type Passing = mpsc::Sender<Passed>;

impl Passed {
    /// As this thread's runtime reads it.
    pub(in crate::control) fn open(self) -> io::Result<Begun<TcpStream>> {
        Ok(Begun { head: self.head, read: 0, stream: TcpStream::from_std(self.stream)? })
    }
}

/// A connection of which a piece was read.
pub(in crate::control) struct Begun<S> {
    head: Vec<u8>,
    read: usize,
    stream: S,
}

impl Begun<TcpStream> {
    /// Reads so much of it that it is known what is asked for.
    pub(super) async fn hear(stream: TcpStream) -> io::Result<Begun<TcpStream>> {
        let (mut head, mut length) = (vec![0; limits::HTTP_HEADER_BYTES], 0);
        while length < head.len() && request_line(&head[..length]).is_none() {
            stream.readable().await?;
            match stream.try_read(&mut head[length..]) {
                Ok(0) => break,
                Ok(piece) => length += piece,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        head.truncate(length);
        head.shrink_to_fit();
        Ok(Begun { head, read: 0, stream })
    }

    /// Whether control itself answers: where nobody can tell what is asked, HTTP says what is wrong with it.
    pub(super) fn is_for_control(&self) -> bool {
        request_line(&self.head)
            .and_then(path)
            .is_none_or(|path| OWN.iter().any(|own| own.as_bytes() == path))
    }

    /// Passes it on. None: it went; else it is here still, as there is no room.
    pub(super) fn pass(self, guest: IpAddr, to: &Passing) -> Option<Begun<TcpStream>> {
        let Ok(room) = to.try_reserve() else { return Some(self) };
        // One that cannot be taken out of the runtime ends.
        if let Ok(stream) = self.stream.into_std() {
            room.send(Passed { stream, head: self.head, guest });
        }
        None
    }
}

/// The first line that is not empty (RFC 9112 section 2.2), once it is whole.
fn request_line(head: &[u8]) -> Option<&[u8]> {
    let end = head.iter().rposition(|byte| *byte == b'\n')?;
    head[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty())
}

/// What it asks for, without a query, in each form that it may have (RFC 9112 section 3.2).
fn path(line: &[u8]) -> Option<&[u8]> {
    let target = line.split(|byte| *byte == b' ').nth(1)?;
    let target = target.split(|byte| *byte == b'?').next()?;
    match memchr::memmem::find(target, b"://") {
        Some(scheme) if target[0] != b'/' => {
            let rest = &target[scheme + 3..];
            rest.iter().position(|byte| *byte == b'/').map(|begin| &rest[begin..])
        }
        _ => Some(target),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = &this.head[this.read..];
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let piece = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..piece]);
        this.read += piece;
        if this.read == this.head.len() {
            (this.head, this.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A connection that ends where its client takes nothing of what is written for so long that nobody reads there.
pub(in crate::control) struct Stalling<S> {
    stream: S,
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    pub(in crate::control) fn new(stream: S) -> Stalling<S> {
        Stalling { stream, until: None }
    }

    /// What came of writing; an error where that stands for too long.
    fn judged<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(limits::HTTP_STALL)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judged(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judged(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judged(ended, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_line_says_who_answers() {
        let own = |head: &str| {
            request_line(head.as_bytes())
                .and_then(path)
                .is_none_or(|path| OWN.iter().any(|own| own.as_bytes() == path))
        };
        for head in [
            "GET /metrics HTTP/1.1\r\n",
            "GET /healthz?x=/control/v1 HTTP/1.0\n",
            "\r\n\r\nHEAD /readyz HTTP/1.1\r\nHost: x\r\n",
            "GET http://x.example:8025/metrics HTTP/1.1\r\n",
            // What HTTP itself refuses.
            "GET\r\n",
            "nonsense\r\n",
        ] {
            assert!(own(head), "{head:?}");
        }
        for head in [
            "GET / HTTP/1.1\r\n",
            "GET /control/v1/status HTTP/1.1\r\n",
            "GET /control/v1/why?domain=http://x/metrics HTTP/1.1\r\n",
            "GET /metricsx HTTP/1.1\r\n",
            "GET http://x.example/control/v1/me HTTP/1.1\r\n",
            "POST /events HTTP/1.1\r\n",
            "GET /http://x/metrics HTTP/1.1\r\n",
        ] {
            assert!(!own(head), "{head:?}");
        }
        assert_eq!(request_line(b"GET /metrics HT"), None, "it is not whole");
    }
}
