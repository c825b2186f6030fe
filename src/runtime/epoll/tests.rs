//! The executor by itself: who is woken, when, from where, and what a panic may do.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::{EpollRuntime, run_shard};
use crate::runtime::os::{Settings, probe};
use crate::runtime::{Bell, Datagram, Runtime, Segment, process};

/// Runs a shard on a thread of its own and gives what its body brings.
fn shard<T, F>(spin: Duration, bell: Arc<Bell>, body: impl FnOnce(EpollRuntime) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let brought = Arc::new(Mutex::new(None));
    let theirs = brought.clone();
    let settings = Settings { core: probe::cores()[0], spin, ring_depth: 0 };
    let thread = super::start_shard(settings, bell, move |runtime| async move {
        let value = body(runtime).await;
        *theirs.lock().unwrap() = Some(value);
        Ok(())
    });
    thread.expect("a thread").join().expect("the shard ends well");
    brought.lock().unwrap().take().expect("the body came to its end")
}

fn on_shard<T, F>(body: impl FnOnce(EpollRuntime) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    shard(Duration::ZERO, Arc::new(Bell::new()), body)
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
fn ten_thousand_tasks_end_and_leave_their_slots() {
    let ended = on_shard(|runtime| async move {
        let ended = Rc::new(Cell::new(0));
        for round in 1..=3 {
            for number in 0..10_000u64 {
                let (ended, own) = (ended.clone(), runtime.clone());
                runtime.spawn(async move {
                    if number % 3 == 0 {
                        own.yield_now().await;
                    } else if number % 1000 == 1 {
                        own.sleep_until(own.now() + Duration::from_millis(number % 7)).await;
                    }
                    ended.set(ended.get() + 1);
                });
            }
            while ended.get() < round * 10_000 {
                runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
            }
        }
        ended.get()
    });
    assert_eq!(ended, 30_000);
}

#[test]
fn yielding_lets_every_other_task_run_once() {
    let order = on_shard(|runtime| async move {
        let order = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b", "c"] {
            let (order, own) = (order.clone(), runtime.clone());
            runtime.spawn(async move {
                for _ in 0..3 {
                    order.borrow_mut().push(name);
                    own.yield_now().await;
                }
            });
        }
        while order.borrow().len() < 9 {
            runtime.yield_now().await;
        }
        order.take()
    });
    assert_eq!(order.concat(), "abcabcabc");
}

/// Tasks that are always ready must not keep sockets, timers and other threads out.
#[test]
fn a_busy_shard_sees_timers_sockets_and_other_threads() {
    on_shard(|runtime| async move {
        let stop = Rc::new(Cell::new(false));
        for _ in 0..300 {
            let (stop, own) = (stop.clone(), runtime.clone());
            runtime.spawn(async move {
                while !stop.get() {
                    own.yield_now().await;
                }
            });
        }
        runtime.sleep_until(runtime.now() + Duration::from_millis(5)).await;
        assert_eq!(runtime.run_blocking(|| 7).await.expect("no panic"), 7);
        let far = std::net::UdpSocket::from(socket());
        let near = runtime.datagram(far.local_addr().unwrap()).unwrap();
        near.try_send(b"ping").unwrap();
        let mut buffer = [0; 16];
        let (_, from) = far.recv_from(&mut buffer).unwrap();
        far.send_to(b"pong", from).unwrap();
        while let Err(error) = near.try_recv(&mut buffer) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            poll_fn(|context| near.poll_readable(context)).await;
        }
        stop.set(true);
    });
}

fn socket() -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket
}

#[test]
fn sleepers_wake_in_order_and_not_early() {
    let woken = on_shard(|runtime| async move {
        let woken = Rc::new(RefCell::new(Vec::new()));
        let begun = runtime.now();
        for micros in [30_000u64, 300, 10_000, 0, 2_500] {
            let (woken, own) = (woken.clone(), runtime.clone());
            let at = begun + Duration::from_micros(micros);
            runtime.spawn(async move {
                own.sleep_until(at).await;
                assert!(own.now() >= at, "woken early");
                woken.borrow_mut().push(micros);
            });
        }
        while woken.borrow().len() < 5 {
            runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
        }
        woken.take()
    });
    assert_eq!(woken, [0, 300, 2_500, 10_000, 30_000]);
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

#[test]
fn a_panic_ends_one_task_and_is_counted() {
    let panics = on_shard(|runtime| async move {
        runtime.spawn(async { panic!("on purpose") });
        let own = runtime.clone();
        runtime.spawn(async move {
            own.yield_now().await;
            panic!("on purpose, later");
        });
        let failed = runtime.run_blocking(|| panic!("on purpose, over there")).await;
        assert!(failed.is_err());
        assert_eq!(runtime.run_blocking(|| 1).await.expect("the thread lives"), 1);
        runtime.panics()
    });
    assert_eq!(panics, 2);
}

/// Plays the process that ends; started by the test below.
#[test]
#[ignore = "ends its process"]
fn vital_victim() {
    on_shard(|runtime| async move {
        runtime.spawn_vital("test", async { panic!("on purpose") });
        runtime.sleep_until(runtime.now() + Duration::from_secs(10)).await;
    });
}

#[test]
fn a_panic_of_a_vital_task_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "runtime::epoll::tests::vital_victim", "--nocapture"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.signal(), Some(libc::SIGABRT), "{words}");
    assert!(words.contains("the test task panicked"), "{words}");
}

#[test]
fn bells_are_heard_asleep_awake_and_spinning() {
    for spin in [0, 200] {
        let bell = Arc::new(Bell::new());
        let (heard, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (ringer, seen, stopped) = (bell.clone(), heard.clone(), stop.clone());
        let ringing = std::thread::Builder::new().spawn(move || {
            for round in 0..2000 {
                let before = seen.load(Ordering::SeqCst);
                ringer.ring();
                if round % 100 == 0 {
                    // By now it sleeps.
                    process::pause(Duration::from_millis(2));
                }
                let mut waits = 0;
                while seen.load(Ordering::SeqCst) == before {
                    process::pause(Duration::from_micros(50));
                    waits += 1;
                    assert!(waits < 100_000, "a ring was not heard");
                }
            }
            stopped.store(true, Ordering::SeqCst);
            ringer.ring();
        });
        shard(Duration::from_micros(spin), bell, move |runtime| async move {
            let bell = runtime.bell().clone();
            while !stop.load(Ordering::SeqCst) {
                poll_fn(|context| bell.poll_rung(context)).await;
                heard.fetch_add(1, Ordering::SeqCst);
            }
        });
        ringing.unwrap().join().expect("every ring was heard");
    }
}

#[test]
fn segments_are_made_written_synced_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000.seg");
    on_shard(move |runtime| async move {
        let segment = runtime.create_segment(&path, 1 << 20).await.expect("room");
        segment.append(4096, &[IoSlice::new(b"a body "), IoSlice::new(b"in two parts")]).unwrap();
        let _ = segment.sync().await.expect("a sound disk");
        assert_eq!(runtime.read(segment.map(), 4096, 19).await.unwrap(), b"a body in two parts");
        assert!(segment.append(1 << 20, &[IoSlice::new(b"x")]).is_err(), "past the end");
        let again = runtime.open_segment(&path).expect("it is there");
        let _ = again.sync().await.expect("a sound disk");
        assert!(runtime.create_segment(std::path::Path::new("/proc/none/0.seg"), 4096).await.is_err());
    });
}

/// Work that blocks for long holds up neither the shard nor a sync.
#[test]
fn a_sync_does_not_wait_for_blocking_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000.seg");
    on_shard(move |runtime| async move {
        let segment = runtime.create_segment(&path, 1 << 16).await.expect("room");
        let release = Arc::new(AtomicBool::new(false));
        let (theirs, own) = (release.clone(), runtime.clone());
        let ended = Rc::new(Cell::new(false));
        let over = ended.clone();
        runtime.spawn(async move {
            let wait = move || {
                while !theirs.load(Ordering::SeqCst) {
                    process::pause(Duration::from_millis(1))
                }
            };
            own.run_blocking(wait).await.expect("no panic");
            over.set(true);
        });
        segment.append(0, &[IoSlice::new(b"x")]).unwrap();
        let _ = segment.sync().await.expect("a sound disk");
        assert!(!ended.get());
        release.store(true, Ordering::SeqCst);
        while !ended.get() {
            runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
        }
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
    let settings = Settings { core: probe::cores()[0], spin: Duration::ZERO, ring_depth: 0 };
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
