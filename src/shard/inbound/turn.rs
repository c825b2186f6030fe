//! One at a time, in the order in which they asked.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What only one task of a shard may do at a time.
#[derive(Default)]
pub struct Turn {
    is_taken: Cell<bool>,
    /// At most one for each session.
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

#[derive(Default)]
struct Waiter {
    waker: RefCell<Option<Waker>>,
    is_given: Cell<bool>,
    is_gone: Cell<bool>,
}

/// Whose turn it is; over when this is dropped.
pub(super) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits for it.
    pub(super) fn take(&self) -> impl Future<Output = Taken<'_>> {
        Wait { turn: self, waiter: None }
    }

    /// It goes to the next who still waits.
    fn pass_on(&self) {
        while let Some(next) = self.waiting.borrow_mut().pop_front() {
            if !next.is_gone.get() {
                next.is_given.set(true);
                next.waker.take().into_iter().for_each(Waker::wake);
                return;
            }
        }
        self.is_taken.set(false);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

struct Wait<'a> {
    turn: &'a Turn,
    waiter: Option<Rc<Waiter>>,
}

impl<'a> Future for Wait<'a> {
    type Output = Taken<'a>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Taken<'a>> {
        let turn = self.turn;
        match &self.waiter {
            None if !turn.is_taken.replace(true) => return Poll::Ready(Taken(turn)),
            None => {
                let waiter = Rc::new(Waiter::default());
                turn.waiting.borrow_mut().push_back(waiter.clone());
                self.waiter = Some(waiter);
            }
            Some(waiter) if waiter.is_given.get() => {
                self.waiter = None;
                return Poll::Ready(Taken(turn));
            }
            Some(_) => {}
        }
        if let Some(waiter) = &self.waiter {
            waiter.waker.replace(Some(context.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.is_gone.set(true);
            if waiter.is_given.get() {
                self.turn.pass_on();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn turns_go_to_those_who_wait_in_their_order() {
        let turn = Turn::default();
        let first = poll(pin!(turn.take())).expect("nobody has it");
        let (mut second, mut fourth) = (pin!(turn.take()), pin!(turn.take()));
        let mut third = Box::pin(turn.take());
        assert!(poll(second.as_mut()).is_none() && poll(third.as_mut()).is_none());
        drop(first);
        assert!(poll(fourth.as_mut()).is_none(), "it was given to another");
        let taken = poll(second.as_mut()).expect("it was given");
        drop(taken);
        // It was given to one who goes before he takes it.
        drop(third);
        let taken = poll(fourth.as_mut()).expect("it was passed on");
        let mut gone = Box::pin(turn.take());
        assert!(poll(gone.as_mut()).is_none());
        drop(gone);
        drop(taken);
        assert!(poll(pin!(turn.take())).is_some(), "nobody waits any more");
    }
}
