//! Answers that take longer than others: a table that is taken in, a message that is given out, sessions that are watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// That what a connection asked goes on, however long it takes. Each request has one among its extensions.
#[derive(Clone, Default)]
pub(in crate::control) struct Working(Arc<AtomicBool>);

impl Working {
    /// It went on.
    pub(in crate::control) fn goes_on(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it did since it was asked last.
    pub(in crate::control) fn has_gone_on(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
