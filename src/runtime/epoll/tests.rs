//! What only this executor does: wakers for any thread, and what is left at its end.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::{EpollRuntime, run_shard};
use crate::runtime::os::{Settings, probe};
use crate::runtime::{Bell, Runtime, process};

fn on_shard<T, F>(body: impl FnOnce(EpollRuntime) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let brought = Arc::new(Mutex::new(None));
    let theirs = brought.clone();
    let settings = Settings { core: probe::cores()[0], spin: Duration::ZERO, ring_depth: 0, compute: None };
    let thread = super::start_shard(settings, Arc::new(Bell::new()), move |runtime| async move {
        let value = body(runtime).await;
        *theirs.lock().unwrap() = Some(value);
        Ok(())
    });
    thread.expect("a thread").join().expect("the shard ends well");
    brought.lock().unwrap().take().expect("the body came to its end")
}

/// Pending once, with the waker given away.
async fn give_waker(to: impl FnOnce(Waker)) {
    let mut to = Some(to);
    poll_fn(|context| match to.take() {
        Some(to) => {
            to(context.waker().clone());
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
    .await;
}

#[test]
fn wakers_work_from_other_threads_and_after_the_end() {
    let late = on_shard(|runtime| async move {
        let late = Arc::new(Mutex::new(Vec::new()));
        for round in 0..50u64 {
            let own = late.clone();
            give_waker(move |waker| {
                own.lock().unwrap().push(waker.clone());
                std::thread::Builder::new()
                    .spawn(move || {
                        // Now and then the shard surely sleeps by then, now and then surely not.
                        process::pause(Duration::from_micros(round % 5 * 500));
                        waker.wake_by_ref();
                        waker.wake();
                    })
                    .unwrap();
            })
            .await;
        }
        // Far more wakes than are remembered one by one: every task is woken.
        let ended = Rc::new(Cell::new(0));
        for _ in 0..100 {
            let (ended, late) = (ended.clone(), late.clone());
            runtime.spawn(async move {
                give_waker(|waker| late.lock().unwrap().push(waker)).await;
                ended.set(ended.get() + 1);
            });
        }
        runtime.yield_now().await;
        let theirs = late.clone();
        std::thread::Builder::new()
            .spawn(move || {
                let wakers = theirs.lock().unwrap();
                (0..10_000).for_each(|number| wakers[number % wakers.len()].wake_by_ref());
            })
            .unwrap();
        while ended.get() < 100 {
            runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
        }
        late.lock().unwrap().clone()
    });
    // Their executor is no more.
    late.iter().for_each(Waker::wake_by_ref);
}

/// A waker of a task that ended must not touch the task that has its slot now.
#[test]
fn a_waker_dies_with_its_task() {
    on_shard(|runtime| async move {
        let kept = Rc::new(RefCell::new(None));
        let theirs = kept.clone();
        runtime.spawn(async move { give_waker(|waker| *theirs.borrow_mut() = Some(waker)).await });
        runtime.yield_now().await;
        let old: Waker = kept.take().expect("it ran");
        old.wake_by_ref();
        runtime.yield_now().await;
        let polls = Rc::new(Cell::new(0));
        let counted = polls.clone();
        runtime.spawn(async move {
            poll_fn(|_| {
                counted.set(counted.get() + 1);
                Poll::<()>::Pending
            })
            .await
        });
        runtime.yield_now().await;
        old.wake_by_ref();
        runtime.yield_now().await;
        assert_eq!(polls.get(), 1);
    });
}

/// Tasks left at the end are dropped, in whatever way they hang together.
#[test]
fn what_is_left_is_dropped() {
    struct Dropped(Arc<AtomicUsize>, EpollRuntime);
    impl Drop for Dropped {
        fn drop(&mut self) {
            if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
                let next = Dropped(self.0.clone(), self.1.clone());
                self.1.spawn(async move {
                    let _next = next;
                    std::future::pending::<()>().await;
                });
            }
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let theirs = count.clone();
    let settings = Settings { core: probe::cores()[0], spin: Duration::ZERO, ring_depth: 0, compute: None };
    let thread = std::thread::Builder::new().spawn(move || {
        run_shard(settings, Arc::new(Bell::new()), move |runtime| async move {
            let dropped = Dropped(theirs, runtime.clone());
            runtime.spawn(async move {
                let _dropped = dropped;
                std::future::pending::<()>().await;
            });
            runtime.yield_now().await;
            Ok(())
        })
    });
    thread.unwrap().join().unwrap().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
}
