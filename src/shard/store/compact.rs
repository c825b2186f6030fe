//! Beside persist: live messages move out of sparse segments, so that the disk use of a lane follows what is live in it.
//!
//! One task a lane picks, reads and queues; the lane writer writes the moves with everything else. At most
//! [`limits::COMPACTION_BYTES_MAX`] are queued at one time, half a commit, and the next ones are read meanwhile.

use std::io;
use std::rc::Rc;

use crate::id::Location;
use crate::limits;
use crate::observe::repeat;
use crate::runtime::{Defect, Runtime, Segment};
use crate::shard::Shard;
use crate::shard::promise::{Promise, promise};
use crate::shard::store::load::{self, StoredRecord};
use crate::shard::store::places::Places;
use crate::shard::store::writer::LaneWriter;
use crate::spool::batch::Moved;
use crate::spool::compact::Candidate;
use crate::spool::record::Extent;
use crate::time::Instant;

/// The right to read a message: while it is held, its bytes stay where they are.
pub(in crate::shard) struct Pinned<R: Runtime> {
    shard: Rc<Shard<R>>,
    /// Where the message lies.
    pub location: Location,
}

impl<R: Runtime> Pinned<R> {
    /// Pins a live message that was handed out with the location `told`.
    pub fn new(shard: &Rc<Shard<R>>, key: u32, told: Location) -> Pinned<R> {
        let location = shard.mesh.places(told.lane).pin(shard.index, key, told);
        Pinned { shard: shard.clone(), location }
    }
}

impl<R: Runtime> Drop for Pinned<R> {
    fn drop(&mut self) {
        self.shard.mesh.places(self.location.lane).unpin(self.shard.index, self.location.slot);
    }
}

/// The compactor of a lane.
pub async fn compact<R: Runtime>(shard: Rc<Shard<R>>, writer: Rc<LaneWriter<R>>) {
    let places = shard.mesh.places(writer.lane().number());
    loop {
        let until = shard.runtime.now() + limits::COMPACTION_PAUSE;
        shard.timers.sleep_until(until).await;
        release(&writer, places);
        writer.vouch(shard.runtime.now());
        let_go(&writer, shard.runtime.now());
        while !shard.draining.get() && writer.lane_mut().compaction_begin() {
            empty_victims(&shard, &writer).await;
            release(&writer, places);
        }
    }
}

/// Pages of segments that are read through the map no more leave the memory of this process.
fn let_go<R: Runtime>(writer: &LaneWriter<R>, now: Instant) {
    writer.mapped.borrow_mut().retain(|slot, written| {
        let is_fresh = now <= *written + limits::MAPPED_READ_MAX;
        if !is_fresh && let Some(segment) = writer.segment(*slot) {
            segment.map().let_go();
        }
        is_fresh
    });
}

/// Segments that moved messages came from and nobody reads any more may be freed.
fn release<R: Runtime>(writer: &LaneWriter<R>, places: &Places) {
    let mut lane = writer.lane_mut();
    let left: Vec<u16> = lane.leaving().into_iter().filter(|slot| !places.is_pinned(*slot)).collect();
    for slot in &left {
        lane.left(*slot);
    }
    drop(lane);
    if !left.is_empty() {
        writer.nudge();
    }
}

async fn empty_victims<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) {
    while !writer.lane_mut().compaction_scan(limits::COMPACTION_SCAN) {
        shard.runtime.yield_now().await;
    }
    let mut under_way: Option<Promise<()>> = None;
    loop {
        let moves = gather(shard, writer).await;
        if let Some(before) = under_way.take() {
            before.await;
        }
        if moves.is_empty() {
            break;
        }
        under_way = Some(queue(shard, writer, moves));
    }
    writer.lane_mut().compaction_end();
}

/// Reads the next messages to move.
async fn gather<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) -> Vec<Moved> {
    let (mut moves, mut bytes) = (Vec::new(), 0);
    while bytes < limits::COMPACTION_BYTES_MAX - limits::BODY_GATHER_MAX
        && moves.len() < limits::MOVES_QUEUED_MAX
        && !shard.draining.get()
    {
        let next = writer.lane_mut().compaction_next();
        let Some(candidate) = next else { break };
        match read(shard, writer, &candidate).await {
            Ok(mut moved) => {
                if shard.runtime.planted(Defect::ParametersStay) {
                    moved.plant_no_parameters();
                }
                if shard.runtime.planted(Defect::SignatureLost) {
                    moved.plant_no_signatures();
                }
                if shard.runtime.planted(Defect::MovedFreedEarly) {
                    let slot = candidate.location.slot;
                    let of_nobody = Extent { sequence: 0, slot, offset: 0, length: 0, crc: 0 };
                    writer.lane_mut().drop_chunks(&[of_nobody]);
                }
                bytes += moved.bytes();
                moves.push(moved);
            }
            // Settled while it was read: what was read may be anything.
            Err(_) if !writer.lane().is_still(&candidate) => {}
            Err(error) => {
                report_unmoved(shard, writer, &candidate, &error);
            }
        }
    }
    moves
}

/// It is tried again whenever something else of its segment has left, and told now and then.
fn report_unmoved<R: Runtime>(
    shard: &Shard<R>,
    writer: &LaneWriter<R>,
    candidate: &Candidate,
    error: &io::Error,
) {
    let now = shard.runtime.now().since(Instant::default());
    let Some(times) = writer.unmoved.borrow_mut().happened(now) else {
        return shard.instruments.counters.messages_unreadable.add(1);
    };
    let words = format!(
        "cannot be moved: {error}; it stays where it is, and so does its segment{}; `relevo spool verify` names all such",
        repeat::more(times)
    );
    load::report_unreadable(shard, writer.lane().id(candidate.key), candidate.location, &words);
}

/// Reads a message, and stores the pieces of a large one that have to move.
async fn read<R: Runtime>(
    shard: &Rc<Shard<R>>,
    writer: &Rc<LaneWriter<R>>,
    candidate: &Candidate,
) -> io::Result<Moved> {
    let source = StoredRecord::read(shard, candidate.location).await?;
    let extents: Vec<Extent> = source.view()?.extents().collect();
    let whole = writer.lane().compaction_takes_whole(candidate, extents.iter().copied());
    let lane = candidate.location.lane;
    let (mut pieces, mut fresh, mut body) = (Vec::new(), Vec::new(), Vec::new());
    for extent in extents {
        let takes = writer.lane().compaction_takes(&extent);
        if !whole && !takes {
            pieces.push(extent);
            continue;
        }
        let stored = match load::read_extent(shard, lane, extent).await {
            Ok(bytes) if whole => {
                body.extend_from_slice(&bytes);
                continue;
            }
            // What is settled needs no place any more.
            Ok(_) if !writer.lane().is_still(candidate) => Err(io::ErrorKind::NotFound.into()),
            Ok(bytes) => store(shard, writer, bytes).await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(stored) => {
                pieces.push(stored);
                fresh.push(stored);
            }
            Err(error) => {
                writer.lane_mut().drop_chunks(&fresh);
                return Err(error);
            }
        }
    }
    let Candidate { key, location, sequence } = *candidate;
    Moved::new((key, location, sequence), source.payload()?, pieces, fresh, body).map_err(|_| load::damaged())
}

/// Stores a piece of a body.
async fn store<R: Runtime>(
    shard: &Rc<Shard<R>>,
    writer: &Rc<LaneWriter<R>>,
    bytes: Vec<u8>,
) -> io::Result<Extent> {
    let (fulfil, stored) = promise();
    writer.push_piece(shard.runtime.now(), bytes, fulfil);
    stored.await.map_err(|_| io::Error::other("its pieces could not be written"))
}

/// Queues moves.
fn queue<R: Runtime>(shard: &Shard<R>, writer: &LaneWriter<R>, moves: Vec<Moved>) -> Promise<()> {
    let (fulfil, moved) = promise();
    writer.push_moves(shard.runtime.now(), moves, fulfil);
    moved
}
