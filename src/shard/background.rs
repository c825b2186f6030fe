//! Work that nobody in particular waits for: a step at a time, between everything else that is ready.
//!
//! A message for a thousand new domains is a thousand look-ups, each a few steps of a socket or two. If they were all polled as their
//! answers come, a session that asks for the next reply would wait behind hundreds of them, at each of its commands. So each step waits in a
//! line, and the line moves on when all that is ready had its turn: by one step, or by a share of the time that took, so that a busy
//! shard resolves as well.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::limits;
use crate::runtime::Runtime;

/// The line. Cloning is a reference count.
#[derive(Clone, Default)]
pub struct Background(Rc<Line>);

#[derive(Default)]
struct Line {
    waiting: RefCell<VecDeque<(Rc<Cell<StepState>>, Waker)>>,
    moves: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StepState {
    Elsewhere,
    InLine,
    Next,
}

impl Background {
    /// Does `work`, each step of it in its turn.
    pub async fn steps<R: Runtime, F: Future>(&self, runtime: &R, work: F) -> F::Output {
        let mut work = pin!(work);
        let place = Rc::new(Cell::new(StepState::Elsewhere));
        poll_fn(|context| match place.get() {
            StepState::Next => {
                place.set(StepState::Elsewhere);
                work.as_mut().poll(context)
            }
            StepState::InLine => Poll::Pending,
            StepState::Elsewhere => {
                place.set(StepState::InLine);
                self.0.waiting.borrow_mut().push_back((place.clone(), context.waker().clone()));
                if !self.0.moves.replace(true) {
                    runtime.spawn_vital("background", move_on(runtime.clone(), self.0.clone()));
                }
                Poll::Pending
            }
        })
        .await
    }
}

async fn move_on<R: Runtime>(runtime: R, line: Rc<Line>) {
    let mut since = runtime.now();
    loop {
        runtime.yield_now().await;
        let now = runtime.now();
        let steps = (now.since(since).as_micros() / limits::BACKGROUND_STEP.as_micros())
            .clamp(1, limits::BACKGROUND_STEPS);
        since = now;
        for _ in 0..steps {
            let next = line.waiting.borrow_mut().pop_front();
            let Some((place, waker)) = next else {
                line.moves.set(false);
                return;
            };
            place.set(StepState::Next);
            waker.wake();
        }
    }
}
