//! TLS begins on a connection of a client.

use std::io;

use crate::limits;
use crate::policy::reason::{Reason, Refused};
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::{certified, reject};
use crate::shard::wire::WireError;
use crate::smtp::words;

/// Where there is no room for one more session under TLS.
const NO_ROOM: Refused<'static> = Refused { reply: words::TLS_PUT_OFF, reason: Reason::NoRoom };

/// What STARTTLS asked for.
pub(super) async fn start_tls<R: Runtime>(connection: &mut Connection<R>) -> Result<(), WireError> {
    connection.flush().await?;
    // What was pipelined in plain text behind STARTTLS is never read as part of the protected session.
    connection.input = Vec::new();
    shake(connection).await
}

/// TLS from the first byte (RFC 8314 section 3.3). What there is already begins it. False: no session comes of this connection.
pub(super) async fn begin<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
    let shard = connection.shard.clone();
    if shard.inbound.session_memory.is_full(shard.mesh.session_memory()) {
        reject::of_connection(&shard, connection.session.peer(), NO_ROOM);
        reject::say_last(connection.wire.stream(), connection.listener.config.kind, NO_ROOM.reply);
        return Ok(false);
    }
    connection.overdue = None;
    if connection.input.is_empty() {
        // Nothing of it is there yet: a drain ends this wait, and who only looks whether the port is open is nobody's concern.
        connection.wire.limit_idle_at(shard.timers.recent() + limits::server::HANDSHAKE);
        match connection.wire.readable().await {
            Ok(()) => {}
            Err(WireError::TimedOut) if !shard.draining.get() => {
                return Err(broken(WireError::TimedOut));
            }
            Err(_) => return Ok(false),
        }
        let mut scratch = shard.scratch.borrow_mut();
        match connection.wire.try_recv(&mut scratch[..limits::HANDSHAKE_MAX]) {
            Ok(received) if received > 0 => connection.input.extend_from_slice(&scratch[..received]),
            Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return Ok(false),
        }
    }
    shake(connection).await?;
    Ok(true)
}

/// However a handshake ends early, it is TLS that failed.
fn broken(error: WireError) -> WireError {
    match error {
        WireError::Tls(_) => error,
        other => WireError::Tls(rustls::Error::General(other.to_string())),
    }
}

/// The handshake, which begins with the input that is there.
async fn shake<R: Runtime>(connection: &mut Connection<R>) -> Result<(), WireError> {
    let Some(config) = connection.listener.tls.clone() else {
        return Err(WireError::Lost(io::ErrorKind::Unsupported.into()));
    };
    let tls = rustls::ServerConnection::new(config).map_err(WireError::Tls)?;
    connection.overdue = None;
    connection.wire.limit(&connection.shard.timers, limits::server::HANDSHAKE);
    connection.count_with(limits::TLS_SESSION_MEMORY + limits::HANDSHAKE_MAX);
    let begun = std::mem::take(&mut connection.input);
    connection.wire.protect(tls.into(), limits::HANDSHAKE_MAX, begun).await.map_err(broken)?;
    connection.session.tls_established(connection.wire.describe_tls());
    let shown = connection.wire.certificates();
    if let Some(account) = certified::account(&connection.shard, &connection.listener, shown) {
        connection.session.is_account(&account);
        connection.is_certified = true;
    }
    connection.shard.instruments.counters.tls_sessions.add(1);
    connection.count();
    Ok(())
}
