//! What a thread will bring to a task that waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a job will bring; None if it panicked.
pub(super) struct Promised<T>(Mutex<Stage<T>>);

enum Stage<T> {
    Open(Option<Waker>),
    Kept(Option<T>),
    Taken,
}

impl<T> Promised<T> {
    pub(super) fn open() -> Promised<T> {
        Promised(Mutex::new(Stage::Open(None)))
    }

    pub(super) fn keep(&self, brought: Option<T>) {
        let before = std::mem::replace(&mut *lock(&self.0), Stage::Kept(brought));
        if let Stage::Open(Some(waker)) = before {
            waker.wake();
        }
    }

    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut stage = lock(&self.0);
        match std::mem::replace(&mut *stage, Stage::Taken) {
            Stage::Kept(brought) => Poll::Ready(brought),
            Stage::Open(_) => {
                *stage = Stage::Open(Some(context.waker().clone()));
                Poll::Pending
            }
            Stage::Taken => Poll::Ready(None),
        }
    }
}

/// Locks, also behind a panic: what is locked here is whole at any time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
