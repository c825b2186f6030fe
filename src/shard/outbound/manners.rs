//! Flaws of hosts that are worked round: TLS that breaks, EHLO that is hung up on, commands that are lost.

use std::cell::RefCell;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::failures::Failures;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::session::{Behind, Connection, Starttls};
use crate::shard::wire::WireError;
use crate::smtp::client::Transaction;
use crate::time::Instant;

/// A host has a flaw that is worked round for a while.
pub(super) fn keep_in_mind<R: Runtime>(
    shard: &Shard<R>,
    failures: &RefCell<Failures>,
    named: &str,
    why: &str,
    what: &str,
) {
    if failures.borrow_mut().note(named, shard.timers.recent()) {
        let minutes = limits::MANNERS_KEPT.as_secs() / 60;
        shard.say(Level::Warning, format_args!("{named}: {why}; {what} for {minutes} minutes"));
    }
}

/// A host lost commands that were sent together.
pub(super) fn do_without_pipelining<R: Runtime>(shard: &Shard<R>, named: &str) {
    let why = "it offers PIPELINING, and answered only some of the commands sent together";
    keep_in_mind(shard, &shard.outbound.hosts.pipelining_failures, named, why, "it is sent one at a time");
}

/// A transaction that was begun then is cut short. If the hop answered some of the commands that were sent together, and then nothing for a
/// while, it never had the others.
pub(super) fn notice_lost_group<R: Runtime>(shard: &Shard<R>, hop: &str, begun_at: Instant) {
    if shard.timers.recent().since(begun_at) >= limits::client::GROUP_LOST {
        do_without_pipelining(shard, hop);
    }
}

/// What to say if a failure, before any command of a transaction was answered, may have come of STARTTLS: then plain text is tried, at
/// once. None: it is a failure as any other.
pub(super) fn blame_tls(starttls: Starttls, error: &HopError) -> Option<String> {
    match (starttls, error) {
        (Starttls::Begun, HopError::Wire(_) | HopError::Hostile(_)) => {
            Some(format!("TLS broke (before the first answer under it: {error})"))
        }
        // A hop that is silent now was so in plain text, and would be so again.
        (Starttls::Refused, HopError::Wire(WireError::Lost(_))) => {
            Some(format!("it refused STARTTLS, and left the session then ({error})"))
        }
        _ => None,
    }
}

/// A host is better off without STARTTLS: counted, and kept in mind.
pub(super) fn do_without_tls<R: Runtime>(shard: &Shard<R>, named: &str, why: &str) {
    shard.instruments.counters.tls_fallbacks.add(1);
    if shard.outbound.hosts.tls_failures.borrow_mut().note(named, shard.timers.recent()) {
        let minutes = limits::TLS_FAILURE_KEPT.as_secs() / 60;
        shard.say(
            Level::Warning,
            format_args!("{named}: {why}; its mail goes in plain text for {minutes} minutes"),
        );
    }
}

/// A host that was spoken to in plain text asks for TLS: what broke of that once is tried again, or no mail would go for as long as it is
/// kept in mind.
pub(super) fn heed_call_for_tls<R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    transaction: &Transaction<'_>,
) {
    let mut failures = shard.outbound.hosts.tls_failures.borrow_mut();
    if !failures.is_empty() && connection.tls.is_empty() && transaction.asks_for_tls() {
        failures.forget(&connection.hop);
    }
}

/// Between two messages: whether what is said next is the answer to what is sent next.
pub(super) async fn is_in_step<R: Runtime>(shard: &Shard<R>, connection: &mut Connection<R>) -> bool {
    match connection.behind(shard).await {
        Behind::Nothing if !connection.is_owed() => true,
        // A message whose commands went ahead could not follow them: what is sent now might become its text. Or the hop closed, as it may
        // between two messages.
        Behind::Nothing | Behind::End(_) => false,
        Behind::Words => {
            shard.instruments.counters.replies_unasked.add(1);
            false
        }
    }
}

/// Words behind the last answer would be taken for that to the next command, and show that those before may have been, too. An end
/// there says nothing of what was answered: many hops refuse and close.
pub(super) async fn look_behind<R: Runtime>(
    shard: &Shard<R>,
    connection: &mut Connection<R>,
    transaction: &mut Transaction<'_>,
) {
    match connection.behind(shard).await {
        Behind::Nothing => {}
        Behind::End(_) => transaction.close(),
        Behind::Words => {
            unasked(shard);
            transaction.on_surplus();
        }
    }
}

pub(super) fn unasked<R: Runtime>(shard: &Shard<R>) {
    shard.instruments.counters.replies_unasked.add(1);
}
