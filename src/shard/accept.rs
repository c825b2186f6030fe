//! Stage 1: a shard's own listener takes connections.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::runtime::{Listener, Runtime, Stream};
use crate::shard::Shard;
use crate::shard::receive::{self, Door};
use crate::smtp::reply::words;
use crate::time::Instant;

/// How long accepting pauses when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the node drains; then empties the accept queue and ends.
pub async fn accept<R: Runtime>(shard: Rc<Shard<R>>, listener: R::Listener, door: Rc<Door>) {
    let drain = shard.timers.deadline();
    loop {
        match listener.try_accept() {
            Ok((stream, peer)) => {
                shard.instruments.counters.connections_accepted.add(1);
                if shard.inbound.get() >= shard.particulars.connections_inbound_max {
                    shard.instruments.counters.connections_refused.add(1);
                    let _ = stream.try_send(&[io::IoSlice::new(words::TOO_BUSY.as_bytes())]);
                    continue;
                }
                let session = receive::receive(shard.clone(), stream, peer, door.clone());
                shard.runtime.spawn(session);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if shard.draining.get() {
                    return;
                }
                drain.set_idle(Instant::FAR);
                poll_fn(|context| {
                    // Both are polled, so that either wakes.
                    let drained = drain.poll_passed(context).is_ready();
                    if listener.poll_acceptable(context).is_ready() || drained {
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
                let until = shard.runtime.now() + PAUSE;
                shard.timers.sleep_until(until).await;
            }
        }
    }
}
