//! Timers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::{Ground, on_shard};
use crate::runtime::Runtime;

pub(super) fn sleepers_wake_in_order_and_not_early<G: Ground>() {
    let woken = on_shard::<G, _, _>(|runtime| async move {
        // Who begins to sleep when it is time already, as the machine stood still meanwhile, has no order.
        for _ in 0..100 {
            let (woken, late) = sleep_apart(&runtime).await;
            if !late {
                return woken;
            }
        }
        panic!("the machine stands still all the time");
    });
    assert_eq!(woken, [0, 300, 2_500, 10_000, 30_000]);
}

/// The order in which sleepers woke, and whether one began when it was time already.
async fn sleep_apart<R: Runtime>(runtime: &R) -> (Vec<u64>, bool) {
    let (woken, late) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(false)));
    let begun = runtime.now() + Duration::from_millis(5);
    for micros in [30_000, 300, 10_000, 0, 2_500] {
        let (woken, late, own) = (woken.clone(), late.clone(), runtime.clone());
        let at = begun + Duration::from_micros(micros);
        runtime.spawn(async move {
            late.set(late.get() || own.now() >= at);
            own.sleep_until(at).await;
            assert!(own.now() >= at, "woken early");
            woken.borrow_mut().push(micros);
        });
    }
    while woken.borrow().len() < 5 {
        runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
    }
    (woken.take(), late.get())
}
