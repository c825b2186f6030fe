//! A few times a second a shard passes on what it told, as far as that may be, and vouches for what its lanes recorded.
//!
//! What became of messages is passed on when it is on the disk, which the shards of the lanes know. What a lane has recorded is vouched for
//! when all that was told before is passed on, by whichever shard: each tells of an outcome before it hands it in.

use std::rc::Rc;

use crate::limits;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::progress::Times;
use crate::shard::store::persist;
use crate::time::Instant;

/// Waits for the next tick. Where a segment waits for the journal there are more turns meanwhile.
pub(super) async fn until_tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    let mut now = shard.runtime.now();
    let tick = now + limits::DISPATCH_TICK;
    while now + limits::TOLD_HURRIED < tick && now < shard.mesh.progress().hurried() {
        shard.timers.sleep_until(now + limits::TOLD_HURRIED).await;
        turn(shard);
        now = shard.runtime.now();
    }
    shard.timers.sleep_until(tick).await;
}

/// One turn of it.
pub(super) fn turn<R: Runtime>(shard: &Rc<Shard<R>>) {
    let now = shard.runtime.now();
    let (progress, own) = (shard.mesh.progress(), shard.index);
    let mut events = shard.say.events.borrow_mut();
    let mut times = progress.of(own);
    if times == Times::OVER {
        return;
    }
    if shard.runtime.planted(Defect::OverflowDropped) {
        events.plant_no_overflow();
    }
    if events.flush() {
        times.told = now;
    }
    let Some(journaled) = events.kept().cloned() else {
        progress.set(own, Times { told: now, ..times });
        events.turn(now, progress.all().told);
        return;
    };
    // What a full lane has no room to write is told first: the segment that it needs waits for the journal, and that for what is told.
    let is_stuck = shard.store.writers.iter().any(|writer| writer.is_stuck());
    let early = shard.runtime.planted(Defect::ToldUnwritten) || is_stuck;
    times.written = if early { now } else { written(shard, now) };
    progress.set(own, times);
    let all = progress.all();
    times.passed = events.turn(now, all.told.min(all.written));
    if let Some(since) = shard.say.handed.untold_since() {
        times.passed = times.passed.min(since);
    }
    progress.set(own, times);
    let early = shard.runtime.planted(Defect::VouchedEarly);
    let passed = if early { Instant::FAR } else { progress.all().passed };
    for writer in shard.store.writers.iter().filter(|writer| writer.is_retold()) {
        let lane = writer.lane();
        events.vouch(now, (lane.number(), lane.position()), passed);
        if early {
            events.vouch(now, (lane.number(), lane.position()), passed);
        }
    }
    let behind = events.is_behind();
    drop(events);
    for writer in &shard.store.writers {
        let mut until = journaled.of(writer.lane().number());
        if shard.runtime.planted(Defect::FreedUntold) {
            until = until.map(|_| writer.lane().position());
        }
        if let Some(until) = until
            && writer.lane_mut().set_journaled(until)
        {
            writer.nudge();
        }
        if writer.lane().awaits_journal() {
            progress.hurry(now + limits::HURRY);
        }
        if !behind {
            persist::give_credits(shard, writer);
        }
    }
}

/// The time before which all that was handed to this shard is on the disk.
fn written<R: Runtime>(shard: &Shard<R>, now: Instant) -> Instant {
    let writers = &shard.store.writers;
    let lanes = || writers.iter().map(|writer| writer.outcomes());
    shard.say.handed.written(now, shard.mesh.messages(shard.index), lanes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::runtime::sim::World;
    use crate::shard::alone;

    /// A lane that has begun another segment gets the ones before back when the journal has what they hold: what all shards told until then is to be
    /// there sooner than at their next tick.
    #[test]
    fn while_a_segment_waits_for_the_journal_all_tell_more_often() {
        let world = World::new(1);
        let shard = alone::serving(&world, "");
        let progress = shard.mesh.progress();
        // How many times in a second it was passed on.
        let told = || {
            let mut seen = BTreeSet::new();
            let end = shard.runtime.now() + limits::HURRY;
            while shard.runtime.now() < end {
                let soon = shard.runtime.now() + limits::TOLD_HURRIED / 10;
                world.block_on(shard.runtime.sleep_until(soon));
                seen.insert(progress.of(0).told);
            }
            seen.len() as u32
        };
        let of = |pause: Duration| (limits::HURRY.as_nanos() / pause.as_nanos()) as u32;
        let (calm, hurried) = (of(limits::DISPATCH_TICK), of(limits::TOLD_HURRIED));
        assert!(told() <= calm + 1);
        progress.hurry(shard.runtime.now() + limits::HURRY);
        // A shard with nothing to do finds a new wait within five grains of its timers, and one that hurries begins with the next tick.
        let found = told();
        assert!((2 * calm + 1..=hurried + calm).contains(&found), "{found} times");
        world.block_on(shard.runtime.sleep_until(shard.runtime.now() + limits::DISPATCH_TICK));
        assert!(told() <= calm + 1, "it is over");
    }
}
