//! Bytes of a client become a message.
//!
//! What arrives is read into the shard's one receive buffer and handled there; a session owns bytes only of an incomplete
//! line and of the body it gathers, so an idle connection has no buffer at all.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::limits;
use crate::policy::relay::Way;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::listener::Listener;
use crate::shard::inbound::permit::Permit;
use crate::shard::inbound::{arrive, ask, body, introduce, log_in, merge, secure};
use crate::shard::wire::WireError;
use crate::smtp::server::{Overdue, Step};
use crate::smtp::words;

/// Serves one connection, which may be open, to its end. No `async fn`: its arguments would lie in every session twice.
pub(super) fn receive<R: Runtime>(
    shard: Rc<Shard<R>>,
    stream: R::Stream,
    (peer, permit): (SocketAddr, Permit),
    listener: Rc<Listener>,
) -> impl Future<Output = ()> {
    let mut connection = Connection::new(shard, stream, (peer, permit), listener);
    async move { run(&mut connection).await }
}

async fn run<R: Runtime>(connection: &mut Connection<R>) {
    let ended = serve(connection).await;
    if let (Err(WireError::TimedOut), Some(overdue)) = (&ended, connection.overdue) {
        connection.out.clear();
        if connection.shard.takes_nobody() {
            connection.out.extend_from_slice(words::SHUTTING_DOWN.as_bytes());
        } else {
            connection.session.overdue(overdue, &mut connection.out);
            // Who brought mail and then was silent is no intruder, unless there was more to come. Nor is a balancer that looks whether we are there,
            // unless it never says for whom it is there.
            let looks = connection.way == Way::Unnamed && overdue != Overdue::ProxyHeader;
            if !looks && (connection.since.message == 0 || connection.session.transaction().0) {
                connection.session.refused(&connection.out, None);
                connection.record_refusals();
            }
        }
        connection.wire.send_last(&connection.out);
    } else if let Err(error) = ended {
        broke(connection, &error);
    }
    connection.wire.close();
}

/// Records a connection that broke, where TLS did or mail with a recipient was on its way. Who just goes is nobody's concern.
#[cold]
fn broke<R: Runtime>(connection: &mut Connection<R>, error: &WireError) {
    // Balancers look at ports as they like.
    if connection.way == Way::Unnamed {
        return;
    }
    let tls = matches!(error, WireError::Tls(_));
    connection.shard.instruments.counters.tls_failed.add(tls.into());
    if tls || connection.session.transaction().1 {
        connection.session.broke(&error.to_string());
        connection.record_refusals();
    }
}

async fn serve<R: Runtime>(connection: &mut Connection<R>) -> Result<(), WireError> {
    // What comes before is in memory of its own, which an idle session does not have.
    if arrive::is_due(connection) && !Box::pin(arrive::arrive(connection)).await? {
        return connection.flush_last().await;
    }
    connection.session.greet(&mut connection.out);
    if !connection.input.is_empty() {
        // A proxy sent it along with its header.
        let step = connection.handle_pending();
        if !Box::pin(go_on(connection, step)).await? {
            return connection.flush_last().await;
        }
    }
    loop {
        connection.flush().await?;
        connection.await_input().await?;
        if !connection.goes_by_policy().await {
            return connection.flush_last().await;
        }
        let Some(step) = connection.handle_received()? else {
            return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into()));
        };
        if !go_on(connection, step).await? {
            return connection.flush_last().await;
        }
    }
}

/// Carries out a step, and those behind it until the client is to say more. False: the session is over.
async fn go_on<R: Runtime>(connection: &mut Connection<R>, mut step: Step) -> Result<bool, WireError> {
    while step != Step::NeedInput {
        if !act(connection, step).await? {
            return Ok(false);
        }
        // It was our turn meanwhile.
        connection.since.line = connection.seconds();
        if !connection.goes_by_policy().await {
            return Ok(false);
        }
        step = connection.handle_pending();
    }
    Ok(true)
}

/// Carries out a step. False: the session is over.
async fn act<R: Runtime>(connection: &mut Connection<R>, step: Step) -> Result<bool, WireError> {
    match step {
        Step::NeedInput => {}
        Step::Flush => connection.flush().await?,
        // In memory of its own, as are the next: a session that is idle has no room for what comes once, or seldom.
        Step::StartTls => return Box::pin(secure::start_tls(connection)).await,
        Step::Authenticate(credentials) => {
            return Box::pin(log_in::by_password(connection, credentials)).await;
        }
        Step::Challenge => return Ok(log_in::challenge(connection)),
        Step::Prove(proof) => return Box::pin(log_in::by_proof(connection, proof)).await,
        Step::Introduce(said) => return Ok(introduce::introduce(connection, &said)),
        Step::Ask(question) => {
            let close = ask::answer(connection, question);
            connection.record_refusals();
            // One client's burst of RCPT is neither one turn nor one reply without end.
            if connection.out.len() >= limits::REPLY_BACKLOG_MAX {
                connection.flush().await?;
            }
            if connection.shard.runtime.should_yield() {
                connection.shard.runtime.yield_now().await;
            }
            return Ok(!close);
        }
        Step::Body => {
            connection.flush().await?;
            return body::take(connection).await;
        }
        Step::Portion => {
            // What is there whole is answered with what was said before it. Else its client may wait for that.
            let whole =
                connection.session.portion_left().is_none_or(|left| left <= connection.input.len() as u64);
            if !whole || connection.out.len() >= limits::REPLY_BACKLOG_MAX {
                connection.flush().await?;
            }
            if connection.shard.runtime.should_yield() {
                connection.shard.runtime.yield_now().await;
            }
            return body::take(connection).await;
        }
        Step::Part => {
            connection.flush().await?;
            // In memory of its own, as what few sessions do.
            return Box::pin(merge::take(connection)).await;
        }
        Step::Close => return Ok(false),
    }
    Ok(true)
}
