//! A value one task of a shard waits for and another brings.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::limits;

#[derive(Debug)]
struct PromiseState<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The side that waits: a future.
#[derive(Debug)]
pub struct Promise<T>(Rc<RefCell<PromiseState<T>>>);

/// The side that brings the value, once.
#[derive(Debug)]
pub struct Fulfil<T>(Rc<RefCell<PromiseState<T>>>);

/// Both sides. A promise whose other side is dropped without a value never ends: the lane writer, which holds them, is vital.
pub fn promise<T>() -> (Fulfil<T>, Promise<T>) {
    let state = Rc::new(RefCell::new(PromiseState { value: None, waker: None }));
    (Fulfil(state.clone()), Promise(state))
}

/// Promises whose memory is used again: one for each message would cost an allocation each.
#[derive(Debug)]
pub struct Promises<T>(RefCell<Vec<Rc<RefCell<PromiseState<T>>>>>);

impl<T> Default for Promises<T> {
    fn default() -> Promises<T> {
        Promises(RefCell::default())
    }
}

impl<T> Promises<T> {
    /// Both sides, as [`promise`] makes them.
    pub fn make(&self) -> (Fulfil<T>, Promise<T>) {
        match self.0.borrow_mut().pop() {
            Some(state) => (Fulfil(state.clone()), Promise(state)),
            None => promise(),
        }
    }

    /// Waits for the value and keeps the memory for the next.
    pub async fn wait(&self, mut promise: Promise<T>) -> T {
        let value = (&mut promise).await;
        let mut kept = self.0.borrow_mut();
        // The other side is gone: it was used up.
        if Rc::strong_count(&promise.0) == 1 && kept.len() < limits::SPARE_BUFFERS {
            kept.push(promise.0);
        }
        value
    }
}

impl<T> Fulfil<T> {
    /// Whether anybody waits for it still.
    pub fn is_awaited(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    /// Brings the value.
    pub fn fulfil(self, value: T) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.value = Some(value);
            state.waker.take()
        };
        // Before the waiter runs, which may be at once.
        drop(self);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Promise<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.borrow_mut();
        match state.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
