//! Beside stages 1 and 2: what is refused to clients is recorded, so many a second and no more, so that an attack fills no disk.

use std::cell::Cell;
use std::net::SocketAddr;

use crate::limits;
use crate::mail::envelope::Envelope;
use crate::observe::accounting::{Event, Kind};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::smtp::reply;
use crate::smtp::server::{NotStored, Refusal, Refusals, Session};
use crate::time::Instant;

/// How many records of refusals may still be made, and how many were left out since the last.
pub struct Allowance {
    /// Milli-records.
    left: Cell<u64>,
    at: Cell<Instant>,
    left_out: Cell<u64>,
}

impl Default for Allowance {
    fn default() -> Allowance {
        let left = Cell::new(limits::REJECTED_BURST * 1000);
        Allowance { left, at: Cell::new(Instant(0)), left_out: Cell::new(0) }
    }
}

impl Allowance {
    /// Whether one more may be recorded; then, how many were left out before it.
    fn take(&self, now: Instant) -> Option<u64> {
        let grown = now.since(self.at.get()).as_millis() as u64 * limits::REJECTED_A_SECOND;
        if grown > 0 {
            self.at.set(now);
        }
        let left = self.left.get().saturating_add(grown).min(limits::REJECTED_BURST * 1000);
        let takes = left >= 1000;
        self.left.set(if takes { left - 1000 } else { left });
        if takes {
            return Some(self.left_out.take());
        }
        self.left_out.set(self.left_out.get() + 1);
        None
    }
}

/// Records what was refused in a session.
pub(in crate::shard) fn of_session<R: Runtime>(shard: &Shard<R>, session: &Session, refusals: &Refusals) {
    let counters = &shard.instruments.counters;
    for refusal in &refusals.held {
        record(shard, session.peer(), session.helo(), session.account(), refusal);
    }
    counters.rejections.add(refusals.left_out);
    counters.rejections_left_out.add(refusals.left_out);
    shard.allowance.left_out.set(shard.allowance.left_out.get() + refusals.left_out);
}

/// Records a connection that was turned away.
pub(in crate::shard) fn of_connection<R: Runtime>(shard: &Shard<R>, peer: SocketAddr, words: &str) {
    let reply = words.trim_end().to_owned();
    record(shard, peer, None, None, &Refusal { reply, ..Refusal::default() });
}

/// Records a message that came whole and could not be stored.
#[cold]
pub(in crate::shard) fn of_message<R: Runtime>(shard: &Shard<R>, envelope: &Envelope, why: NotStored) {
    if let Some(peer) = envelope.origin.client {
        let refusal = Refusal::of_message(why.words(), envelope);
        let (helo, account) = (&*envelope.origin.helo, envelope.account.as_deref());
        record(shard, peer, (!helo.is_empty()).then_some(helo), account, &refusal);
    }
}

fn record<R: Runtime>(
    shard: &Shard<R>,
    peer: SocketAddr,
    helo: Option<&str>,
    account: Option<&str>,
    refusal: &Refusal,
) {
    let counters = &shard.instruments.counters;
    counters.rejections.add(1);
    let Some(left_out) = shard.allowance.take(shard.timers.recent()) else {
        counters.rejections_left_out.add(1);
        return;
    };
    let recipients: Vec<&[u8]> = refusal.recipients.iter().map(|path| &path[..]).collect();
    let event = Event {
        client: Some(peer),
        helo,
        account: refusal.account.as_deref().or(account),
        sender: refusal.sender.as_deref(),
        recipients: &recipients,
        reply: Some(&refusal.reply),
        enhanced: reply::enhanced(&refusal.reply),
        reason: Some(refusal.reason()),
        left_out,
        ..Event::of_nobody(Kind::Rejected, shard.runtime.wall())
    };
    shard.journal.borrow_mut().record(&event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_so_many_a_second_and_the_rest_is_counted() {
        let allowance = Allowance::default();
        let at = |millis: u64| Instant(10_000_000_000 + millis * 1_000_000);
        assert_eq!(allowance.take(at(0)), Some(0));
        let more = (0..5000).filter(|_| allowance.take(at(0)).is_some()).count() as u64;
        assert_eq!(more, limits::REJECTED_BURST - 1);
        // A look more often than a record grows loses nothing.
        let later = (1..=1000).filter_map(|millis| allowance.take(at(millis))).collect::<Vec<_>>();
        assert_eq!(later.len() as u64, limits::REJECTED_A_SECOND);
        assert_eq!(later[0], 5000 - more + 9, "what was left out is said with the next");
        assert_eq!(
            (0..5000).filter(|_| allowance.take(at(100_000)).is_some()).count() as u64,
            limits::REJECTED_BURST
        );
    }
}
