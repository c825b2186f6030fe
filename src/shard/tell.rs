//! A few times a second a shard passes on what it told, as far as that may be, and vouches for what its lanes recorded.
//!
//! What became of messages is passed on when it is on the disk, which the shards of the lanes know. What a lane has recorded is vouched for
//! when all that was told before is passed on, by whichever shard: each tells of an outcome before it hands it in.

use std::cell::{Cell, RefCell};

use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::progress::Times;
use crate::shard::store::persist;
use crate::time::Instant;

/// How far a shard's lanes are with what other shards hand in.
#[derive(Debug, Default)]
pub(super) struct Handed {
    /// Messages taken from the inbox.
    taken: Cell<u64>,
    stage: Cell<Stage>,
    /// Outcomes that each lane must have on the disk.
    wanted: RefCell<Vec<u64>>,
    /// What was handed in before this is on the disk.
    written: Cell<Instant>,
    /// Outcomes that were handed in and are not told yet, and since when there are any.
    untold: Cell<(u32, Instant)>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Nothing,
    /// What lay in the inbox then: so many messages are to be taken.
    Inbox(Instant, u64),
    /// What was in the queues of the lanes after that.
    Lanes(Instant),
}

impl Handed {
    /// A message was taken from the inbox.
    pub fn took(&self) {
        self.taken.set(self.taken.get() + 1);
    }
}

/// An outcome is handed in and told only later: while one is held, nothing is vouched for that was recorded since.
pub(super) struct Untold<'a, R: Runtime>(&'a Shard<R>);

impl<'a, R: Runtime> Untold<'a, R> {
    pub(super) fn new(shard: &'a Shard<R>) -> Untold<'a, R> {
        let (count, since) = shard.say.handed.untold.get();
        let since = if count == 0 { shard.runtime.now() } else { since };
        shard.say.handed.untold.set((count + 1, since));
        Untold(shard)
    }
}

impl<R: Runtime> Drop for Untold<'_, R> {
    fn drop(&mut self) {
        let (count, since) = self.0.say.handed.untold.get();
        self.0.say.handed.untold.set((count - 1, since));
    }
}

/// One turn of it.
pub(super) fn turn<R: Runtime>(shard: &std::rc::Rc<Shard<R>>) {
    let now = shard.runtime.now();
    let (progress, own) = (shard.mesh.progress(), shard.index);
    let mut journal = shard.say.journal.borrow_mut();
    let mut times = progress.of(own);
    if times == Times::OVER {
        return;
    }
    if shard.runtime.planted(Defect::OverflowDropped) {
        journal.plant_no_overflow();
    }
    if journal.flush() {
        times.told = now;
    }
    let Some(journaled) = journal.kept().cloned() else {
        progress.set(own, Times { told: now, ..times });
        journal.turn(now, progress.all().told);
        return;
    };
    times.written = if shard.runtime.planted(Defect::ToldUnwritten) { now } else { written(shard, now) };
    progress.set(own, times);
    let all = progress.all();
    times.passed = journal.turn(now, all.told.min(all.written));
    if let (1.., since) = shard.say.handed.untold.get() {
        times.passed = times.passed.min(since);
    }
    progress.set(own, times);
    let early = shard.runtime.planted(Defect::VouchedEarly);
    let passed = if early { Instant::FAR } else { progress.all().passed };
    for writer in shard.store.writers.iter().filter(|writer| writer.retold.get()) {
        let lane = writer.lane.borrow();
        journal.vouch(now, (lane.number(), lane.position()), passed);
        if early {
            journal.vouch(now, (lane.number(), lane.position()), passed);
        }
    }
    let behind = journal.is_behind();
    drop(journal);
    for writer in &shard.store.writers {
        let until = journaled.of(writer.lane.borrow().number());
        if let Some(until) = until
            && writer.lane.borrow_mut().set_journaled(until)
        {
            writer.nudge();
        }
        if !behind {
            persist::give_credits(shard, writer);
        }
    }
}

/// The time before which all that was handed to this shard is on the disk.
fn written<R: Runtime>(shard: &Shard<R>, now: Instant) -> Instant {
    let handed = &shard.say.handed;
    let writers = &shard.store.writers;
    loop {
        match handed.stage.get() {
            Stage::Nothing => {
                let upto = handed.taken.get() + shard.mesh.messages(shard.index) as u64;
                handed.stage.set(Stage::Inbox(now, upto));
            }
            Stage::Inbox(since, upto) if handed.taken.get() >= upto => {
                let mut wanted = handed.wanted.borrow_mut();
                wanted.clear();
                wanted.extend(writers.iter().map(|writer| writer.outcomes_queued.get()));
                handed.stage.set(Stage::Lanes(since));
            }
            Stage::Lanes(since)
                if handed
                    .wanted
                    .borrow()
                    .iter()
                    .zip(writers)
                    .all(|(wanted, writer)| writer.outcomes_written.get() >= *wanted) =>
            {
                handed.written.set(since);
                handed.stage.set(Stage::Nothing);
                if since == now {
                    break;
                }
            }
            Stage::Inbox(..) | Stage::Lanes(_) => break,
        }
    }
    handed.written.get()
}
