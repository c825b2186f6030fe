//! What a shard keeps of its lanes.

use std::cell::RefCell;
use std::rc::Rc;

use crate::runtime::{Runtime, SegmentMap};
use crate::shard::store::writer::LaneWriter;

/// The lanes a shard writes, and what it reads of all.
pub(in crate::shard) struct Store<R: Runtime> {
    /// Lanes this shard writes; its own first.
    pub writers: Vec<Rc<LaneWriter<R>>>,
    /// Copies of the maps, by lane and slot.
    pub maps: RefCell<Vec<Vec<Option<SegmentMap>>>>,
}

impl<R: Runtime> Store<R> {
    /// These lanes, of so many.
    pub fn new(writers: Vec<Rc<LaneWriter<R>>>, lanes: usize) -> Store<R> {
        Store { writers, maps: RefCell::new(vec![Vec::new(); lanes]) }
    }
}
