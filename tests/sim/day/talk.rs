//! Lines, replies and bodies over a stream, with a patience.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use relevo::runtime::sim::{SimRuntime, SimStream};
use relevo::runtime::{Runtime, Stream};

/// One end of a conversation.
pub struct Talk {
    pub runtime: SimRuntime,
    stream: SimStream,
    input: Vec<u8>,
    start: usize,
    /// No wait is longer.
    pub patience: Duration,
}

impl Talk {
    pub fn new(runtime: SimRuntime, stream: SimStream, patience: Duration) -> Talk {
        Talk { runtime, stream, input: Vec::new(), start: 0, patience }
    }

    /// Waits for one direction of the stream.
    async fn ready(&self, write: bool) -> io::Result<()> {
        let mut late = pin!(self.runtime.sleep_until(self.runtime.now() + self.patience));
        poll_fn(|context| {
            let ready =
                if write { self.stream.poll_writable(context) } else { self.stream.poll_readable(context) };
            if ready.is_ready() {
                return Poll::Ready(Ok(()));
            }
            late.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    pub async fn connected(&self) -> io::Result<()> {
        self.ready(true).await?;
        self.stream.take_error()
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.input.drain(..std::mem::take(&mut self.start));
        let mut buffer = [0; 32 * 1024];
        loop {
            match self.stream.try_recv(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.input.extend_from_slice(&buffer[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(false).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// The next line, without its end.
    pub async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.input[self.start..]) {
                let line = &self.input[self.start..self.start + length];
                let line = String::from_utf8_lossy(line).trim_end().to_owned();
                self.start += length + 1;
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// So many bytes come, and are forgotten.
    pub async fn skip(&mut self, count: usize) -> io::Result<()> {
        while self.input.len() - self.start < count {
            self.fill().await?;
        }
        self.start += count;
        Ok(())
    }

    /// All up to the final dot, as it came over the wire.
    pub async fn until_dot(&mut self) -> io::Result<Vec<u8>> {
        let mut looked = 0usize;
        loop {
            let rest = &self.input[self.start..];
            if rest.starts_with(b".\r\n") {
                self.start += 3;
                return Ok(Vec::new());
            }
            let from = looked.saturating_sub(4);
            if let Some(place) = memchr::memmem::find(&rest[from..], b"\r\n.\r\n") {
                let text = rest[..from + place + 2].to_vec();
                self.start += from + place + 5;
                return Ok(text);
            }
            looked = rest.len();
            self.fill().await?;
        }
    }

    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_send(&[IoSlice::new(bytes)]) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(true).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The code of the next whole reply.
    pub async fn reply(&mut self) -> io::Result<u16> {
        Ok(self.reply_in_full().await?.0)
    }

    /// The same, and its last line.
    pub async fn reply_in_full(&mut self) -> io::Result<(u16, String)> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|code| code.parse().ok());
                return Ok((code.ok_or(io::ErrorKind::InvalidData)?, line));
            }
        }
    }

    pub async fn ask(&mut self, command: &str) -> io::Result<u16> {
        self.send(command.as_bytes()).await?;
        self.reply().await
    }

    pub async fn pause(&self, span: Duration) {
        self.runtime.sleep_until(self.runtime.now() + span).await;
    }
}
