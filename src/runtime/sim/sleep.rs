//! Waits of a task: for a point in virtual time, or for the others' turn.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::base::Event;
use super::state::WorldState;
use crate::time::Instant;

/// Ready at a point in virtual time.
pub(super) struct Sleep {
    state: Rc<WorldState>,
    at: u64,
    /// The waker the event holds.
    armed: Option<Waker>,
}

impl Sleep {
    pub fn new(state: &Rc<WorldState>, at: u64) -> Sleep {
        Sleep { state: state.clone(), at, armed: None }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.state.base().now() >= self.at {
            return Poll::Ready(());
        }
        let waker = context.waker();
        // An instant at the end of time is never reached, and needs no event.
        if self.at < Instant::FAR.0 && self.armed.as_ref().is_none_or(|armed| !armed.will_wake(waker)) {
            self.state.base().schedule(self.at, Event::Wake(waker.clone()));
            self.armed = Some(waker.clone());
        }
        Poll::Pending
    }
}

/// Pending once.
pub(super) struct YieldNow {
    state: Rc<WorldState>,
    yielded: bool,
}

impl YieldNow {
    pub fn new(state: &Rc<WorldState>) -> YieldNow {
        YieldNow { state: state.clone(), yielded: false }
    }
}

impl Future for YieldNow {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        self.state.executor().defer(context.waker().clone());
        Poll::Pending
    }
}
