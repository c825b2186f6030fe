//! Changes of the list that other nodes of a cluster are to be told of.

use crate::limits;

/// Who makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Somebody of this node.
    Here,
    /// Another node, which tells of it.
    Others,
    /// The same behind a removal: what was listed before, and for how long, counts no more.
    OthersAnew,
}

/// Changes that other nodes are not told of yet.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// How many; None: nobody is told.
    pub count: Option<usize>,
    /// There was no room to keep one.
    pub lost: bool,
}

impl Untold {
    /// Whether so many more are kept.
    pub fn has_room(&mut self, more: usize) -> bool {
        let has_room = self.count.is_some_and(|count| count + more <= limits::SUPPRESSION_UNTOLD_MAX);
        self.lost |= self.count.is_some() && !has_room;
        has_room
    }

    /// They are kept.
    pub fn add(&mut self, more: usize) {
        self.count = self.count.map(|count| count + more);
    }
}
