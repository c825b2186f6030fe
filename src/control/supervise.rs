//! What a supervisor is told of the relay, as often as control looks after it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use crate::control::health::Health;
use crate::observe::Instruments;
use crate::observe::counters::Counters;
use crate::runtime::notify;

/// Whether it takes mail, and if not why; `lives`: every shard moves. That is told only while they do, so that a supervisor with a watchdog starts
/// the relay anew where one stands still for good.
pub(super) fn tell((health, shards): (&Health, &[Arc<Instruments>]), now: Duration, lives: bool) {
    let Some(supervisor) = notify::supervisor() else { return };
    let (status, words) = health.takes_mail(now.as_secs());
    if status != StatusCode::OK {
        return supervisor.look(now, lives, words.trim_end(), "");
    }
    let sum =
        |level: fn(&Counters) -> u64| -> u64 { shards.iter().map(|shard| level(&shard.counters)).sum() };
    let queued = sum(|counters| counters.queued_recipients.get());
    let (clients, hops) = (
        sum(|counters| counters.connections_inbound.get()),
        sum(|counters| counters.connections_outbound.get()),
    );
    let details = format!("; {queued} recipients queued, {clients} clients and {hops} connections to hops");
    supervisor.look(now, lives, "takes mail", &details);
}
