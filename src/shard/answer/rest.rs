//! Between two slices of an answer, and between two answers, everything else has its turn: of a busy shard for as long as `shard::pace` says.

use std::time::Duration;

use crate::limits;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::time::Instant;

/// Others have their turn, after a slice that began then.
pub(super) async fn slice<R: Runtime>(shard: &Shard<R>, begun: Instant) {
    let now = shard.runtime.now();
    // More than that was taken from it by others on its core.
    wait(shard, now.since(begun).min(limits::ASK_SLICE), now).await;
}

/// And after an ask: each costs something elsewhere, too.
pub(super) async fn answer<R: Runtime>(shard: &Shard<R>) {
    wait(shard, limits::ASK_LEAST, shard.runtime.now()).await;
}

async fn wait<R: Runtime>(shard: &Shard<R>, spent: Duration, now: Instant) {
    let pause = shard.say.pace.spend(spent, now, shard.runtime.worked());
    if pause.is_zero() {
        shard.runtime.yield_now().await;
    } else {
        shard.timers.sleep_until(now + pause).await;
    }
}
