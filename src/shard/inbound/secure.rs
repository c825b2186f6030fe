//! TLS begins on a connection of a client.

use std::io;

use crate::limits;
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::wire::WireError;

/// What STARTTLS asked for.
pub(super) async fn start_tls<R: Runtime>(connection: &mut Connection<R>) -> Result<(), WireError> {
    connection.flush().await?;
    // What was pipelined in plain text behind STARTTLS is never read as part of the protected session.
    connection.input = Vec::new();
    let Some(config) = connection.listener.tls.clone() else {
        return Err(WireError::Lost(io::ErrorKind::Unsupported.into()));
    };
    let tls = rustls::ServerConnection::new(config).map_err(WireError::Tls)?;
    connection.overdue = None;
    connection.wire.limit(&connection.shard.timers, limits::server::HANDSHAKE);
    connection.count_with(limits::TLS_SESSION_MEMORY + limits::HANDSHAKE_MAX);
    // However a handshake ends early, it is TLS that failed.
    let shaken = connection.wire.protect(tls.into(), limits::HANDSHAKE_MAX).await;
    shaken.map_err(|error| match error {
        WireError::Tls(_) => error,
        other => WireError::Tls(rustls::Error::General(other.to_string())),
    })?;
    connection.session.tls_established(connection.wire.describe_tls());
    if connection.wire.exporter().is_some() {
        connection.session.can_bind();
    }
    connection.shard.instruments.counters.tls_sessions.add(1);
    connection.count();
    Ok(())
}
