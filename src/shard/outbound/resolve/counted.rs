//! One of a count, as long as it is kept.

use std::cell::Cell;

/// One of them.
pub(super) struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    /// One more.
    pub(super) fn new(count: &'a Cell<usize>) -> Counted<'a> {
        count.set(count.get() + 1);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
