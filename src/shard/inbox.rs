//! The inbox of a shard: what others sent it, and what waits for a turn that nobody else has.

use std::rc::Rc;

use crate::limits;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::message::ShardMessage;
use crate::shard::outbound::deliver::open_begun;
use crate::shard::outbound::dispatch::enqueue;
use crate::shard::outbound::handoff::send_backlog;
use crate::shard::outbound::pump::credited;
use crate::shard::outbound::settled::settle;
use crate::shard::outbound::{hand_over, line, loan};
use crate::shard::store::rebind;
use crate::shard::suspend;

/// Outcomes and credits first, then handoffs; then connections that were begun, and what waits for room elsewhere: what that begins is
/// opened in the next round.
pub async fn exchange<R: Runtime>(shard: Rc<Shard<R>>) {
    loop {
        let mut busy = false;
        shard.live.hear(shard.mesh.generation());
        suspend::hear(&shard);
        while !busy && let Some(message) = shard.mesh.next_message(shard.index) {
            shard.say.handed.took();
            match message {
                ShardMessage::Settled(settled) => settle(&shard, settled),
                ShardMessage::Rebind(rebound) => rebind::take(&shard, rebound),
                ShardMessage::Credits { lane, count } => credited(&shard, lane, count),
                ShardMessage::Standing { from, number, asked } => {
                    hand_over::answer(&shard, (from, number), asked)
                }
                ShardMessage::Stands { number, known } => hand_over::answered(&shard, number, known),
                ShardMessage::Loan(loan) => loan::borrow(&shard, *loan),
                ShardMessage::Returned { from, what } => loan::returned(&shard, from, *what),
            }
            busy = shard.runtime.should_yield();
        }
        for number in 0..limits::INBOX_BATCH {
            // Some in each turn, however many outcomes come.
            if number >= limits::HANDOFFS_LEAST && shard.runtime.should_yield() {
                break;
            }
            let Some(handoff) = shard.mesh.next_handoff(shard.index) else { break };
            let domain = std::str::from_utf8(&handoff.domain).unwrap_or_default();
            enqueue(&shard, (domain, handoff.strand), handoff.group, handoff.client);
            busy = true;
        }
        shard.mesh.announce_room(shard.index);
        busy |= send_backlog(&shard);
        busy |= open_begun(&shard);
        busy |= line::retry_refused(&shard);
        shard.say.answering.listen(shard.mesh.asks(), shard.index);
        if shard.mesh.is_asked(shard.index) {
            line::give_up_idle(&shard);
        }
        if shard.mesh.stopping() && !shard.draining.replace(true) {
            shard.timers.expire_idle();
            shard.wake_writers();
        }
        if busy {
            shard.runtime.yield_now().await;
        } else {
            std::future::poll_fn(|context| shard.runtime.bell().poll_rung(context)).await;
        }
    }
}
