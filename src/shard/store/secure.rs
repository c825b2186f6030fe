//! Before persist: what a start found and what may stand in memory only is brought to the disk.
//!
//! Until that is done nothing is written, and nothing is freed: both may depend on it.

use std::io;
use std::rc::Rc;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::{Defect, Runtime, Segment};
use crate::shard::Shard;
use crate::shard::store::refuse::refuse_or_keep;
use crate::shard::store::writer::LaneWriter;
use crate::smtp::server::NotStored;

/// Ends when all of it is synced. Meanwhile clients are refused: their mail could not be kept.
pub(super) async fn secure<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) {
    if shard.runtime.planted(Defect::EndNotSecured) {
        return;
    }
    let mut said = false;
    while let Err(error) = attempt(shard, writer).await {
        if !said {
            let lane = writer.lane().number();
            shard.say(Level::Error, format_args!(
                "lane {lane}: what was written last cannot be written again to make sure of it ({error}); the lane takes no mail until it can"
            ));
            said = true;
        }
        let until = shard.runtime.now() + limits::SECURE_PAUSE;
        shard.timers.sleep_until(until).await;
        let mut queue = writer.queue.borrow_mut();
        for _ in 0..queue.len() {
            let Some(item) = queue.pop_front() else { break };
            queue.extend(refuse_or_keep(shard, item, NotStored::Disk));
        }
    }
}

async fn attempt<R: Runtime>(shard: &Shard<R>, writer: &LaneWriter<R>) -> io::Result<()> {
    let last = writer.unsure.borrow().last;
    if let Some(tail) = last {
        if let Some(found) = writer.segment(tail.slot) {
            again(shard, &found, 0, limits::BLOCK, |_| true).await?;
            let is_same = |bytes: &[u8]| tail.crc.is_none_or(|crc| crc == crc32c::crc32c(bytes));
            again(shard, &found, u64::from(tail.from), u64::from(tail.to - tail.from), is_same).await?;
            let _ = found.sync().await?;
        }
        writer.unsure.borrow_mut().last = None;
    }
    loop {
        let next = writer.unsure.borrow().free.last().copied();
        let Some(slot) = next else { return Ok(()) };
        if let Some(found) = writer.segment(slot) {
            again(shard, &found, 0, limits::BLOCK, |_| true).await?;
            let _ = found.sync().await?;
        }
        writer.unsure.borrow_mut().free.pop();
    }
}

/// Writes what stands there once more. A block that cannot be read is lost, or safe where it is: nothing can be done for it, and the lane
/// must not wait for it.
async fn again<R: Runtime>(
    shard: &Shard<R>,
    found: &R::Segment,
    offset: u64,
    length: u64,
    is_sound: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    if let Ok(bytes) = shard.runtime.read(found.map(), offset, length as usize).await {
        // Memory had it whole when it was folded, and the kernel has dropped that since: all that was made of it is void.
        assert!(
            is_sound(&bytes),
            "the last commit was read whole and is not on the disk, after a failed sync; the process starts afresh from what is there"
        );
        return found.append(offset, &[io::IoSlice::new(&bytes)]);
    }
    for at in (offset..offset + length).step_by(limits::BLOCK as usize) {
        match shard.runtime.read(found.map(), at, limits::BLOCK as usize).await {
            Ok(bytes) => found.append(at, &[io::IoSlice::new(&bytes)])?,
            Err(error) => shard.say(
                Level::Error,
                format_args!("a block of the spool cannot be read ({error}); what it holds may be lost"),
            ),
        }
    }
    Ok(())
}
