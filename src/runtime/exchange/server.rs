//! A name server for tests.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::limits;

/// What a connection is answered.
pub type ByStream = Box<dyn Fn(&[u8]) -> Vec<u8> + Send>;

/// A name server for one test: it answers each datagram by `answer`, and each connection by `by_stream`.
pub fn serve(
    answer: impl Fn(&[u8], usize) -> Option<Vec<u8>> + Send + 'static,
    by_stream: Option<ByStream>,
) -> (SocketAddr, JoinHandle<()>) {
    #![expect(clippy::disallowed_methods, reason = "the test plays a name server")]
    let streams = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = streams.local_addr().unwrap();
    let datagrams = UdpSocket::bind(address).unwrap();
    datagrams.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; limits::DNS_READ];
        for number in 0.. {
            // Nobody asks for that long: the test is over.
            let Ok((length, from)) = datagrams.recv_from(&mut buffer) else { return };
            if buffer[..length] == *b"end" {
                return;
            }
            if let Some(reply) = answer(&buffer[..length], number) {
                datagrams.send_to(&reply, from).unwrap();
            }
            if let Some(by_stream) = &by_stream {
                let (mut stream, _) = streams.accept().unwrap();
                let mut asked = [0; limits::DNS_READ];
                let read = stream.read(&mut asked).unwrap();
                let whole = by_stream(&asked[2..read]);
                let sent = [&(whole.len() as u16).to_be_bytes()[..], &whole].concat();
                // In pieces, as it may come.
                sent.chunks(sent.len() / 3 + 1).for_each(|piece| stream.write_all(piece).unwrap());
            }
        }
    });
    (address, thread)
}

/// Ends it.
pub fn end(server: SocketAddr, thread: JoinHandle<()>) {
    #[expect(clippy::disallowed_methods, reason = "the test plays a name server")]
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.send_to(b"end", server).unwrap();
    thread.join().unwrap();
}
