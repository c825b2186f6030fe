//! A shard's own listener takes connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use crate::limits;
use crate::runtime::{Listener as _, Runtime};
use crate::shard::Shard;
use crate::shard::inbound::listener::{Listener, ListeningSocket};
use crate::shard::inbound::permit::Permit;
use crate::shard::inbound::{receive, reject};
use crate::smtp::words;

/// Accepts until the listener is closed; then takes what waits in the accept queue, and ends. Connections that are left in the queue of a socket that
/// closes are reset, also where another shard has one of the same address. While the node drains, who comes is told so; where another process takes over
/// or a supervisor keeps the socket for the next, who comes waits for that.
pub(super) async fn accept<R: Runtime>(
    shard: Rc<Shard<R>>,
    socket: R::Listener,
    listening: Rc<ListeningSocket>,
) {
    // Whoever keeps connecting does not keep it open.
    let mut last = limits::LISTEN_BACKLOG;
    loop {
        if shard.mesh.stages().hands_over() || (shard.draining.get() && socket.is_kept()) {
            return;
        }
        let ends = listening.is_closing();
        let accepted = socket.try_accept();
        match &accepted {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ if !ends => {}
            _ if last == 0 => return,
            _ => last -= 1,
        }
        match accepted {
            Ok((stream, peer)) => {
                take(&shard, stream, peer, &listening.listener());
                if shard.runtime.should_yield() {
                    shard.runtime.yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if ends {
                    return;
                }
                poll_fn(|context| {
                    // All are polled, so that each wakes.
                    let closes = listening.poll_closing(context).is_ready();
                    if socket.poll_acceptable(context).is_ready() || closes {
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

/// A connection begins its session, or is turned away.
fn take<R: Runtime>(shard: &Rc<Shard<R>>, stream: R::Stream, peer: SocketAddr, listener: &Rc<Listener>) {
    shard.instruments.counters.connections_accepted.add(1);
    if shard.takes_nobody() {
        // Told, and not recorded: the client did nothing wrong, and is served by the next that it asks.
        reject::say_last(&stream, listener.config.kind, words::SHUTTING_DOWN);
        return;
    }
    let most = shard.particulars.connections_inbound_max;
    // Whose connection a proxy brings, it says itself.
    let client = Some(peer.ip()).filter(|address| !listener.config.proxy.is_at(*address));
    let permit = Permit::of_shard(&shard.inbound.connections, most).and_then(|mut permit| {
        client.map_or(Ok(()), |client| permit.of_client(listener, client)).map(|()| permit)
    });
    match permit {
        Ok(permit) => {
            let (own, listener) = (shard.clone(), listener.clone());
            shard.runtime.spawn(receive::receive(own, stream, (peer, permit), listener));
        }
        Err(refused) => reject::turn_away(shard, &stream, (peer, listener.config.kind), refused),
    }
}
