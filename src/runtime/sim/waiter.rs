//! Readiness.

use std::task::{Context, Waker};

/// The readiness of one direction of a socket: the waker of the task that waits for it.
#[derive(Debug, Default)]
pub(super) struct Waiter(Option<Waker>);

impl Waiter {
    pub fn register(&mut self, context: &Context<'_>) {
        match &mut self.0 {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    pub fn wake(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}
