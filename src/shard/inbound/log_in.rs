//! The steps of AUTH, and what a client hears of them.

use crate::runtime::Runtime;
use crate::shard::inbound::authenticate::authenticate;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::logins::Login;
use crate::shard::inbound::scram;
use crate::shard::wire::WireError;
use crate::smtp::server::{Credentials, Proof};

/// Checks a name and a password. False: the session is over.
pub(super) async fn by_password<R: Runtime>(
    connection: &mut Connection<R>,
    credentials: Credentials,
) -> Result<bool, WireError> {
    connection.flush().await?;
    // Here, and where they are checked.
    connection.count_with(connection.wire.held() + 2 * credentials.held());
    let login = authenticate(&connection.shard, &credentials, connection.session.peer().ip()).await;
    Ok(tell(connection, login, &credentials.name, None))
}

/// Tells a client what its key is derived with. False: the session is over.
pub(super) fn challenge<R: Runtime>(connection: &mut Connection<R>) -> bool {
    let Connection { shard, wire, session, out, .. } = connection;
    scram::challenge(shard, wire, session, out) || !session.authentication_failed(out)
}

/// Checks what it proves. False: the session is over.
pub(super) async fn by_proof<R: Runtime>(
    connection: &mut Connection<R>,
    proof: Box<Proof>,
) -> Result<bool, WireError> {
    connection.flush().await?;
    let (login, signature) = scram::prove(&connection.shard, &proof, connection.session.peer().ip()).await;
    Ok(tell(connection, login, &proof.name, Some(&signature)))
}

/// Counts the connection as one of the account's, if it may have one more.
pub(super) fn enter<R: Runtime>(connection: &mut Connection<R>, account: &str) -> Login {
    let shard = &connection.shard;
    let live = shard.live.get();
    let own = live.accounts.as_ref().and_then(|logins| logins.accounts().own(account));
    // Of another that did not come to its end.
    connection.account = None;
    let most = own.and_then(|own| own.connections_max);
    connection.account = shard.mesh.account(account, shard.runtime.now()).enter(most);
    if connection.account.is_some() { Login::Right } else { Login::Full }
}

/// What came of a login. With a signature the account is logged in when its client has seen that.
fn tell<R: Runtime>(
    connection: &mut Connection<R>,
    login: Login,
    account: &str,
    signature: Option<&[u8; 32]>,
) -> bool {
    let login = if login == Login::Right { enter(connection, account) } else { login };
    let Connection { session, out, .. } = connection;
    let close = match (login, signature) {
        (Login::Right, None) => {
            session.authenticated(account, out);
            false
        }
        (Login::Right, Some(signature)) => {
            session.proven(account, signature, out);
            false
        }
        (Login::Wrong, _) => session.authentication_failed(out),
        (Login::Unavailable, _) => session.authentication_unavailable(out),
        (Login::Postponed, _) => {
            session.authentication_postponed(out);
            false
        }
        (Login::Full, _) => {
            session.authentication_full(out);
            true
        }
        (Login::Cut, _) => {
            session.authentication_cut(out);
            true
        }
    };
    if matches!(out.first(), Some(b'4' | b'5')) {
        session.refused(out, Some(account));
        connection.record_refusals();
    }
    !close
}
