use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;

use super::*;
use crate::policy::tls::Client;

/// What a peer sent, received in pieces of so many bytes.
struct Sent(RefCell<VecDeque<u8>>, Cell<usize>);

impl Stream for Sent {
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.0.borrow_mut();
        let count = bytes.len().min(buffer.len()).min(self.1.get());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        bytes.drain(..count).zip(buffer).for_each(|(byte, place)| *place = byte);
        Ok(count)
    }
    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(parts.iter().map(|part| part.len()).sum())
    }
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
    fn take_error(&self) -> io::Result<()> {
        Ok(())
    }
    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }
    fn abort(&self) -> io::Result<()> {
        Ok(())
    }
    fn local_address(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A client and a server that have shaken hands.
fn pair() -> (rustls::Connection, rustls::Connection) {
    let made = rcgen::generate_simple_self_signed(["mx.example".to_owned()]).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let (certificate, key) = (scratch.path().join("chain.pem"), scratch.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = crate::config::TlsFiles { certificate, key };
    let config = crate::policy::tls::server(&files, |path| std::fs::read(path)).unwrap();
    let mut server = rustls::Connection::from(rustls::ServerConnection::new(config).unwrap());
    let mut client = Client::new().unwrap().connection("mx.example").unwrap();
    for _ in 0..4 {
        for (from, to) in [(0, 1), (1, 0)] {
            let mut bytes = Vec::new();
            let both = [&mut client, &mut server];
            while both[from].wants_write() {
                both[from].write_tls(&mut bytes).unwrap();
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                both[to].read_tls(&mut rest).unwrap();
                both[to].process_new_packets().unwrap();
            }
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (client, server)
}

fn ciphertext(client: &mut rustls::Connection, text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in text.chunks(30_000) {
        client.writer().write_all(piece).unwrap();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
    }
    bytes
}

/// All that comes, and how it ended: true is the end, false that no more is there now.
fn receive(
    server: &mut rustls::Connection,
    bytes: &[u8],
    step: usize,
) -> (Vec<u8>, bool, Result<bool, WireError>) {
    let server = &mut Tls {
        connection: std::mem::replace(server, pair().1),
        records: Records::default(),
        is_last: false,
    };
    let sent = Sent(RefCell::new(bytes.iter().copied().collect()), Cell::new(step));
    let (mut scratch, mut buffer) = (vec![0; limits::CIPHERTEXT], vec![0; limits::SCRATCH]);
    let (mut text, mut ended) = (Vec::new(), false);
    loop {
        match recv_tls(server, &sent, &mut ended, &mut scratch, &mut buffer) {
            Ok(0) => return (text, ended, Ok(true)),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (text, ended, Ok(false));
            }
            Err(error) => return (text, ended, Err(error)),
        }
    }
}

#[test]
fn records_come_whole_however_they_are_cut() {
    let text: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
    for step in [1, 5, 4096, 16_406, limits::CIPHERTEXT, usize::MAX] {
        let (mut client, mut server) = pair();
        let bytes = ciphertext(&mut client, &text);
        let (came, ended, end) = receive(&mut server, &bytes, step);
        assert!(came == text && !ended && matches!(end, Ok(false)), "{step}");
    }
}

#[test]
fn an_end_behind_the_last_bytes_is_noticed() {
    let (mut client, mut server) = pair();
    let mut bytes = ciphertext(&mut client, b"QUIT\r\n");
    client.send_close_notify();
    client.write_tls(&mut bytes).unwrap();
    bytes.extend_from_slice(b"what follows is nobody's");
    let (came, ended, end) = receive(&mut server, &bytes, usize::MAX);
    assert!(came == b"QUIT\r\n" && ended && matches!(end, Ok(true)), "{end:?}");
}

#[test]
fn what_was_sound_before_an_error_comes_first() {
    let (mut client, mut server) = pair();
    let mut bytes = ciphertext(&mut client, b"250 queued\r\n");
    bytes.extend_from_slice(&[23, 3, 3, 0, 40]);
    bytes.extend_from_slice(&[7; 40]);
    let (came, _, end) = receive(&mut server, &bytes, usize::MAX);
    assert!(came == b"250 queued\r\n" && matches!(end, Err(WireError::Tls(_))), "{end:?}");
}

/// Takes what it is sent, at most so much at a time, and says how often.
struct Taken(RefCell<Vec<Vec<u8>>>, usize);

impl Stream for Taken {
    fn try_recv(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        bytes.truncate(self.1);
        let count = bytes.len();
        self.0.borrow_mut().push(bytes);
        Ok(count)
    }
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
    fn take_error(&self) -> io::Result<()> {
        Ok(())
    }
    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }
    fn abort(&self) -> io::Result<()> {
        Ok(())
    }
    fn local_address(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What is owed at the end of a handshake goes with the first words, and the end of TLS with the last ones: each a packet less.
#[test]
fn what_belongs_together_is_sent_together() {
    let (mut client, mut server) = pair();
    // As after a handshake: something is owed to the peer.
    server.refresh_traffic_keys().unwrap();
    assert!(server.wants_write());
    let mut tls = Tls { connection: server, records: Records::default(), is_last: false };
    for (words, most, sends) in
        [("220 first\r\n", usize::MAX, 1), ("250 more\r\n", 7, 0), ("221 last\r\n", usize::MAX, 1)]
    {
        let stream = Taken(RefCell::default(), most);
        tls.is_last = words.starts_with("221");
        let mut parts = [IoSlice::new(words.as_bytes())];
        assert!(send_tls(&mut tls, &stream, &mut &mut parts[..]).unwrap());
        let sent = stream.0.into_inner();
        assert!(sends == 0 || sent.len() == sends, "{words}: {} sends", sent.len());
        let bytes = sent.concat();
        let mut rest = &bytes[..];
        let mut state = None;
        while !rest.is_empty() && client.read_tls(&mut rest).unwrap() > 0 {
            state = Some(client.process_new_packets().unwrap());
        }
        let mut text = vec![0; words.len()];
        client.reader().read_exact(&mut text).unwrap();
        assert_eq!(text, words.as_bytes());
        assert_eq!(state.unwrap().peer_has_closed(), tls.is_last);
    }
}
