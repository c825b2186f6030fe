//! Connections to Unix sockets.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Ground, on_shard};
use crate::runtime::{Runtime, Stream};

/// A listener at a path of this name, with room for so many that wait.
fn listening(name: &str, backlog: i32) -> (socket2::Socket, PathBuf) {
    // The same test runs on several runtimes at one time.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("relevo-{name}-{}-{number}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(backlog).unwrap();
    (socket, path)
}

pub(super) fn a_unix_socket_is_a_stream<G: Ground>() {
    let (listener, path) = listening(std::any::type_name::<G>().split("::").nth(4).unwrap_or("x"), 5);
    let bytes = on_shard::<G, _, _>({
        let path = path.clone();
        move |runtime| async move {
            let stream = runtime.connect_path(&path).unwrap();
            poll_fn(|context| stream.poll_writable(context)).await;
            stream.take_error().unwrap();
            let (mut other, _) = listener.accept().unwrap();
            stream.try_send(&[IoSlice::new(b"LHLO "), IoSlice::new(b"x\r\n")]).unwrap();
            let mut sent = [0; 8];
            other.read_exact(&mut sent).unwrap();
            assert_eq!(&sent, b"LHLO x\r\n");
            other.write_all(b"250 y\r\n").unwrap();
            drop(other);
            let (mut bytes, mut buffer) = (Vec::new(), [0; 64]);
            loop {
                match stream.try_recv(&mut buffer) {
                    Ok(0) => break bytes,
                    Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                        poll_fn(|context| stream.poll_readable(context)).await;
                    }
                }
            }
        }
    });
    assert_eq!(bytes, b"250 y\r\n");
    std::fs::remove_file(path).unwrap();
}

/// None of these may look as if there was something to wait for.
pub(super) fn a_unix_socket_connects_at_once_or_not_at_all<G: Ground>() {
    let (listener, path) = listening(std::any::type_name::<G>().split("::").nth(4).unwrap_or("y"), 0);
    on_shard::<G, _, _>(move |runtime| async move {
        let mut waiting = Vec::new();
        let full = loop {
            match runtime.connect_path(&path) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 100, "the queue has a bound");
        };
        assert_eq!(full.to_string(), "too many connections wait to be accepted");
        drop(listener);
        let kind = |path: &std::path::Path| runtime.connect_path(path).err().map(|error| error.kind());
        assert_eq!(kind(&path), Some(io::ErrorKind::ConnectionRefused));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(kind(&path), Some(io::ErrorKind::NotFound));
        let long = PathBuf::from(format!("/{}", "x".repeat(107)));
        assert!(kind(&long).is_some());
    });
}
