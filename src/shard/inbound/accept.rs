//! A shard's own listener takes connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use crate::limits;
use crate::policy::clients::Full;
use crate::runtime::{Listener as _, Runtime, Stream};
use crate::shard::Shard;
use crate::shard::inbound::listener::{Listener, enter};
use crate::shard::inbound::{receive, reject};
use crate::smtp::reply::words;
use crate::time::Instant;

/// Accepts until the node drains; then empties the accept queue and ends.
pub async fn accept<R: Runtime>(shard: Rc<Shard<R>>, socket: R::Listener, listener: Rc<Listener>) {
    let drain = shard.timers.deadline();
    loop {
        match socket.try_accept() {
            Ok((stream, peer)) => {
                shard.instruments.counters.connections_accepted.add(1);
                match enter(&shard, &listener, peer) {
                    Ok(()) => {
                        shard.runtime.spawn(receive::receive(shard.clone(), stream, peer, listener.clone()))
                    }
                    Err(full) => turn_away(&shard, &stream, peer, full),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if shard.draining.get() {
                    return;
                }
                drain.set_idle(Instant::FAR);
                poll_fn(|context| {
                    // Both are polled, so that either wakes.
                    let drained = drain.poll_passed(context).is_ready();
                    if socket.poll_acceptable(context).is_ready() || drained {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            }
            // The connection was gone before we took it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Out of descriptors or memory: the queue keeps the connections meanwhile.
            Err(_) => {
                let until = shard.runtime.now() + limits::ACCEPT_PAUSE;
                shard.timers.sleep_until(until).await;
            }
        }
    }
}

/// Every connection that is refused is refused here: no session comes of it.
fn turn_away<R: Runtime>(shard: &Shard<R>, stream: &R::Stream, peer: SocketAddr, full: Full) {
    let counters = &shard.instruments.counters;
    let words = match full {
        Full::Listener => {
            counters.connections_refused.add(1);
            words::TOO_BUSY
        }
        Full::Client => {
            counters.connections_refused_client.add(1);
            words::TOO_MANY_OF_CLIENT
        }
    };
    reject::of_connection(shard, peer, words);
    let _ = stream.try_send(&[io::IoSlice::new(words.as_bytes())]);
}
