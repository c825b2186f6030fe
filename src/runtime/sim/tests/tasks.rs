//! Determinism, timers, tasks, panics, bells.

use super::*;
use crate::runtime::Urgency;

#[test]
fn the_same_seed_gives_the_same_world() {
    let worlds: Vec<_> = (0..8).map(busy_world).collect();
    assert_eq!(worlds, (0..8).map(busy_world).collect::<Vec<_>>());
    assert!((1..8).all(|index| worlds[index] != worlds[index - 1]), "different seeds, different worlds");
}

#[test]
fn timers_fire_in_order_and_never_early() {
    seeds(20, |world| {
        let fired = Rc::new(RefCell::new(Vec::new()));
        for due in [30, 10, 20, 40, 5] {
            let (runtime, fired) = (world.shard(1, 0), fired.clone());
            runtime.clone().spawn(async move {
                runtime.sleep_until(at(due)).await;
                assert!(runtime.now() >= at(due));
                assert!(runtime.now() < at(due) + Duration::from_micros(20));
                fired.borrow_mut().push(due);
            });
        }
        world.run_until(at(25));
        assert_eq!(*fired.borrow(), [5, 10, 20]);
        assert_eq!(world.now(), at(25));
        assert!(world.run_until_idle(Duration::from_secs(1)));
        assert_eq!(*fired.borrow(), [5, 10, 20, 30, 40]);
        assert_eq!(world.panics(1), 0);
        assert_eq!(world.shard(1, 0).wall(), UnixMillis(EPOCH.0 + 40));
    });
}

#[test]
fn the_seed_chooses_the_order_of_ready_tasks() {
    let order = |seed| {
        let world = World::new(seed);
        let ran = Rc::new(RefCell::new(Vec::new()));
        for task in 0..5 {
            let ran = ran.clone();
            world.shard(1, task).spawn(async move { ran.borrow_mut().push(task) });
        }
        assert!(world.run_until_idle(Duration::from_secs(1)));
        ran.take()
    };
    assert!((0..10).any(|seed| order(seed) != order(seed + 1)));
    assert_eq!(order(3), order(3));
}

#[test]
fn yielding_lets_every_ready_task_run() {
    seeds(50, |world| {
        let counts = Rc::new(RefCell::new([0; 4]));
        for task in 0..4 {
            let (runtime, counts) = (world.shard(1, 0), counts.clone());
            runtime.clone().spawn(async move {
                for turn in 0..100 {
                    let slowest = *counts.borrow().iter().min().unwrap();
                    assert!(turn <= slowest + 2, "task {task} ran ahead");
                    counts.borrow_mut()[task] += 1;
                    runtime.yield_now().await;
                }
            });
        }
        assert!(world.run_until_idle(Duration::from_secs(1)));
        assert_eq!((*counts.borrow(), world.panics(1)), ([100; 4], 0));
    });
}

#[test]
fn what_was_woken_before_a_yield_runs_before_its_end() {
    seeds(50, |world| {
        let runtime = world.shard(1, 0);
        let ran = Rc::new(Cell::new(0));
        world.block_on(async {
            for round in 1..10 {
                for _ in 0..3 {
                    let ran = ran.clone();
                    runtime.spawn(async move { ran.set(ran.get() + 1) });
                }
                runtime.yield_now().await;
                assert_eq!(ran.get(), round * 3);
            }
        });
    });
}

#[test]
fn a_spinning_task_does_not_stop_time() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    world.block_on(async {
        while runtime.now() < at(1) {
            runtime.yield_now().await;
        }
    });
}

#[test]
fn a_panic_costs_its_task_and_is_counted() {
    let world = World::new(1);
    let runtime = world.shard(1, 0);
    runtime.spawn(async { panic!("on purpose") });
    let bell = runtime.bell().clone();
    runtime.spawn(async move { bell.ring() });
    assert!(world.run_until_idle(Duration::from_secs(1)));
    assert_eq!((runtime.panics(), world.panics(1), world.tasks(1)), (1, 1, 0));
    assert!(runtime.bell().is_rung());
    let priority = Priority { urgency: Urgency::Ordinary, rank: 0, calm: true };
    let failed = world.block_on(runtime.compute(priority, |_| -> u8 { panic!("on purpose") }));
    assert_eq!(failed, Err(Uncomputed::Failed));
    assert_eq!(world.block_on(runtime.compute(priority, |_| 7)), Ok(7));
}

#[test]
fn a_panic_in_a_vital_task_reaches_the_test() {
    let world = World::new(1);
    world.shard(4, 2).spawn_vital("lane writer", async { panic!("no disk") });
    let payload =
        catch_unwind(AssertUnwindSafe(|| world.run_until_idle(Duration::from_secs(1)))).unwrap_err();
    let words = payload.downcast_ref::<String>().unwrap();
    assert_eq!(words, "the lane writer task of shard 2 of node 4 panicked: no disk");
    // The world can still be driven.
    assert!(world.run_until_idle(Duration::from_secs(1)));
}

#[test]
fn a_bell_wakes_its_listener_once_for_many_rings() {
    seeds(20, |world| {
        let runtime = world.shard(1, 0);
        let heard = Rc::new(Cell::new(0));
        let (bell, count) = (runtime.bell().clone(), heard.clone());
        runtime.spawn(async move {
            loop {
                poll_fn(|context| bell.poll_rung(context)).await;
                count.set(count.get() + 1);
            }
        });
        world.run_until_idle(Duration::from_secs(1));
        for rings in 1..4 {
            (0..3).for_each(|_| runtime.bell().ring());
            assert!(world.run_until_idle(Duration::from_secs(1)));
            assert_eq!(heard.get(), rings);
        }
    });
}

#[test]
fn a_future_nothing_can_wake_is_told_from_one_that_waits() {
    let world = World::new(1);
    assert_eq!(world.block_on_within(Duration::from_secs(5), std::future::pending::<()>()), None);
    assert_eq!(world.now(), Instant(world.now().0.min(1_000_000)), "nothing was waited for");
    let runtime = world.shard(1, 0);
    assert_eq!(world.block_on_within(Duration::from_secs(5), runtime.sleep_until(at(60_000))), None);
    assert_eq!(world.block_on_within(Duration::from_secs(60), runtime.sleep_until(at(60_000))), Some(()));
}

#[test]
fn dropping_a_world_drops_its_tasks() {
    let held = Rc::new(());
    let world = World::new(1);
    let (runtime, inside) = (world.shard(1, 0), held.clone());
    echo(&runtime, SERVER);
    runtime.clone().spawn(async move {
        runtime.sleep_until(at(1000)).await;
        drop(inside);
    });
    world.run_until(at(1));
    let state = Rc::downgrade(world.state());
    drop(world);
    assert_eq!((Rc::strong_count(&held), state.strong_count()), (1, 0));
}
