//! Between two slices of an answer, and between two answers, everything else has its turn: of a busy shard for as long as `shard::pace` says.

use std::time::Duration;

use crate::limits;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::time::Instant;

/// Others have their turn, after a slice that began then.
pub(super) async fn slice<R: Runtime>(shard: &Shard<R>, begun: Instant) {
    let now = shard.runtime.now();
    let spent = now.since(begun);
    // More than a slice takes was taken from it by others on its core.
    wait(shard, (spent, spent.min(limits::ASK_SLICE)), now).await;
}

/// And after an ask: each costs something elsewhere, too.
pub(super) async fn answer<R: Runtime>(shard: &Shard<R>) {
    wait(shard, (Duration::ZERO, limits::ASK_LEAST), shard.runtime.now()).await;
}

async fn wait<R: Runtime>(shard: &Shard<R>, spent: (Duration, Duration), now: Instant) {
    let pause = shard.say.pace.spend(spent, now, shard.runtime.worked());
    let is_urgent = || shard.mesh.asks().is_urgent(shard.index);
    if pause.is_zero() || is_urgent() {
        shard.runtime.yield_now().await;
        return;
    }
    let until = now + pause;
    while shard.runtime.now() < until && !is_urgent() {
        let next = shard.runtime.now() + limits::ASK_LOOK;
        shard.timers.sleep_until(next.min(until)).await;
    }
}
