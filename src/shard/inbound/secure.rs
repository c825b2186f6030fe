//! TLS begins on a connection of a client.

use std::io;

use crate::limits;
use crate::policy::reason::{Reason, Refused};
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::logins::Login;
use crate::shard::inbound::{certified, log_in, reject};
use crate::shard::wire::WireError;
use crate::smtp::words;

/// Where there is no room for one more session under TLS.
const NO_ROOM: Refused<'static> = Refused { reply: words::TLS_PUT_OFF, reason: Reason::NoRoom };

/// What STARTTLS asked for. False: the session is over.
pub(super) async fn start_tls<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
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
    // Nothing of it is there yet: a drain ends this wait, and who only looks whether the port is open is nobody's concern.
    connection.wire.limit_idle_at(shard.timers.recent() + limits::server::HANDSHAKE);
    match first_bytes(connection).await {
        Ok(true) => shake(connection).await,
        Err(WireError::TimedOut) if !shard.takes_nobody() => Err(broken(WireError::TimedOut)),
        Ok(false) | Err(_) => Ok(false),
    }
}

/// However a handshake ends early, it is TLS that failed.
fn broken(error: WireError) -> WireError {
    match error {
        WireError::Tls(_) => error,
        other => WireError::Tls(rustls::Error::General(other.to_string())),
    }
}

/// The first bytes of a handshake become input, unless there are some already. False: the client went away.
async fn first_bytes<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
    let shard = connection.shard.clone();
    while connection.input.is_empty() {
        connection.wire.readable().await?;
        let mut scratch = shard.scratch.borrow_mut();
        match connection.wire.try_recv(&mut scratch[..limits::HANDSHAKE_MAX]) {
            Ok(0) => return Ok(false),
            Ok(received) => connection.input.extend_from_slice(&scratch[..received]),
            Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// The handshake. False: the session is over.
async fn shake<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
    let shard = connection.shard.clone();
    let Some(config) = connection.listener.tls.clone() else {
        return Err(WireError::Lost(io::ErrorKind::Unsupported.into()));
    };
    let tls = rustls::ServerConnection::new(config).map_err(WireError::Tls)?;
    connection.overdue = None;
    connection.wire.limit(&shard.timers, limits::server::HANDSHAKE);
    connection.count_with(limits::TLS_SESSION_MEMORY + limits::HANDSHAKE_MAX);
    if !first_bytes(connection).await.map_err(broken)? {
        return Err(broken(WireError::Lost(io::ErrorKind::UnexpectedEof.into())));
    }
    let begun = std::mem::take(&mut connection.input);
    let left = limits::HANDSHAKE_MAX.saturating_sub(begun.len());
    // A signature may take a millisecond: between two of them all others of the shard have their turn.
    let turn = async || {
        let taken = shard.inbound.handshakes.take().await;
        shard.runtime.yield_now().await;
        taken
    };
    let taken = turn().await;
    connection.wire.begin_tls(tls.into(), begun).map_err(broken)?;
    drop(taken);
    connection.wire.shake_hands(left, turn).await.map_err(broken)?;
    connection.session.tls_established(connection.wire.describe_tls());
    let client = connection.session.peer().ip();
    let shown = (client, connection.wire.certificates());
    // A gateway's certificate says nothing of whom it speaks for.
    let account = certified::account(&shard, &connection.listener, shown);
    let own = connection.gateway.is_none();
    if let Some(account) = account.filter(|_| own) {
        if log_in::enter(connection, &account) != Login::Right {
            connection.session.authentication_full(&mut connection.out);
            connection.session.refused(&connection.out, Some(&account));
            connection.record_refusals();
            return Ok(false);
        }
        connection.session.is_account(&account);
        connection.is_certified = true;
    }
    if own && connection.wire.exporter().is_some() {
        connection.session.can_bind();
    }
    shard.instruments.counters.tls_sessions.add(1);
    connection.count();
    Ok(true)
}
