//! What comes before the greeting: the header of a proxy, and TLS where it is there from the first byte.
//!
//! All of it is rare, or short beside the handshake that follows: it has memory of its own while it lasts, and idle sessions have none for it.

use std::io;

use crate::limits;
use crate::observe::families::PROXIED;
use crate::policy::relay::Way;
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::{reject, secure};
use crate::shard::wire::WireError;
use crate::smtp::proxy::{self, Flaw, Parsed};
use crate::smtp::server::Overdue;
use crate::smtp::words;

/// Whether anything comes before it.
pub(super) fn is_due<R: Runtime>(connection: &Connection<R>) -> bool {
    connection.way == Way::Unnamed || connection.listener.config.kind.is_tls_first()
}

/// Does all of it. False: no session comes of this connection.
pub(super) async fn arrive<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
    if connection.way == Way::Unnamed && !introduce(connection).await? {
        return Ok(false);
    }
    if connection.listener.config.kind.is_tls_first() {
        return secure::begin(connection).await;
    }
    Ok(true)
}

/// A proxy says whose connection this is.
async fn introduce<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
    connection.wire.limit_idle_at(connection.shard.timers.recent() + limits::server::PROXY);
    connection.overdue = Some(Overdue::ProxyHeader);
    loop {
        let (length, client, tls) = match proxy::parse(&connection.input) {
            Parsed::More => {
                connection.count();
                if !more(connection).await? {
                    // A balancer that looks whether the port is open.
                    count(connection, if connection.input.is_empty() { "check" } else { "bad" });
                    return Ok(false);
                }
                continue;
            }
            Parsed::Bad(flaw) => {
                misread(connection, flaw);
                return Ok(false);
            }
            Parsed::Whole(length, header) => (length, header.client, header.tls.map(|tls| tls.to_string())),
        };
        connection.input.drain(..length);
        connection.overdue = None;
        // In version 1 HAProxy's checks name their own end of this very connection.
        let own = connection.session.peer();
        let Some(client) = client.filter(|client| *client != own) else {
            count(connection, "check");
            let leaves = connection.shard.takes_nobody() || connection.shard.mesh.stages().is_leaving();
            if leaves {
                connection.out.extend_from_slice(words::SHUTTING_DOWN.as_bytes());
            }
            return Ok(!leaves);
        };
        count(connection, "ok");
        if !connection.is_of(client) {
            return Ok(false);
        }
        if let Some(tls) = tls.filter(|_| connection.listener.config.proxy.tls) {
            connection.session.tls_established(tls);
        }
        return Ok(true);
    }
}

/// Receives what there is. False: that was the end.
async fn more<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
    let shard = connection.shard.clone();
    loop {
        match connection.wire.readable().await {
            Ok(()) => {}
            Err(WireError::Lost(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut scratch = shard.scratch.borrow_mut();
        match connection.wire.try_recv(&mut scratch) {
            Ok(received) => {
                connection.input.extend_from_slice(&scratch[..received]);
                return Ok(received > 0);
            }
            Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(WireError::Lost(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// What a proxy sent is no header. That is for its operator to see.
#[cold]
fn misread<R: Runtime>(connection: &mut Connection<R>, flaw: Flaw) {
    count(connection, "bad");
    let refused = flaw.refusal();
    reject::of_connection(&connection.shard, connection.session.peer(), refused);
    reject::say_last(connection.wire.stream(), connection.listener.config.kind, refused.reply);
}

fn count<R: Runtime>(connection: &Connection<R>, result: &str) {
    let place = PROXIED.iter().position(|one| *one == result).unwrap_or_default();
    connection.shard.instruments.families.proxied.add(place, 1);
}
