//! What every runtime on a core must do, each of them through the same tests.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

mod paths;
mod sleep;

use paths::{a_unix_socket_connects_at_once_or_not_at_all, a_unix_socket_is_a_stream};
use sleep::sleepers_wake_in_order_and_not_early;

use super::helper::{Helper, Helpers};
use super::{Compute, Settings, ShardThread, probe};
use crate::limits;
use crate::runtime::{
    Bell, Datagram, Priority, Runtime, Segment, Uncomputed, Urgency, epoll, glommio, process,
};

/// What is tested.
trait Ground {
    type Runtime: Runtime;
    fn start<F>(
        settings: Settings,
        bell: Arc<Bell>,
        body: impl FnOnce(Self::Runtime) -> F + Send + 'static,
    ) -> io::Result<ShardThread>
    where
        F: Future<Output = io::Result<()>> + 'static;
    fn helpers(runtime: &Self::Runtime) -> &Helpers;
}

macro_rules! tests {
    ($($test:ident),*) => {
        $(#[test]
        fn $test() {
            super::$test::<Here>();
        })*
    };
}

macro_rules! ground {
    ($module:ident, $runtime:path, $start:path) => {
        mod $module {
            use super::*;

            struct Here;

            impl Ground for Here {
                type Runtime = $runtime;
                fn start<F>(
                    settings: Settings,
                    bell: Arc<Bell>,
                    body: impl FnOnce(Self::Runtime) -> F + Send + 'static,
                ) -> io::Result<ShardThread>
                where
                    F: Future<Output = io::Result<()>> + 'static,
                {
                    $start(settings, bell, body)
                }
                fn helpers(runtime: &Self::Runtime) -> &Helpers {
                    runtime.helpers()
                }
            }

            tests!(
                ten_thousand_tasks_end_and_leave_their_slots,
                yielding_lets_every_other_task_run_once,
                a_busy_shard_sees_timers_sockets_and_other_threads,
                sleepers_wake_in_order_and_not_early,
                a_panic_ends_one_task_and_is_counted,
                bells_are_heard_asleep_awake_and_spinning,
                segments_are_made_written_synced_and_read,
                no_kind_of_work_waits_for_another,
                what_is_too_much_is_refused,
                idle_threads_help,
                aid_is_bounded,
                the_best_placed_are_computed_first,
                a_unix_socket_is_a_stream,
                a_unix_socket_connects_at_once_or_not_at_all
            );

            /// Plays the process that ends; started by the test below.
            #[test]
            #[ignore = "ends its process"]
            fn vital_victim() {
                super::vital_victim::<Here>();
            }

            #[test]
            fn a_panic_of_a_vital_task_ends_the_process() {
                let module = concat!("runtime::os::tests::", stringify!($module));
                super::a_panic_of_a_vital_task_ends_the_process(&format!("{module}::vital_victim"));
            }
        }
    };
}

ground!(on_epoll, epoll::EpollRuntime, epoll::start_shard);
ground!(on_glommio, glommio::GlommioRuntime, glommio::start_shard);
// As where glommio's rings cannot be told from those of others.
ground!(on_glommio_parking, glommio::GlommioRuntime, glommio::start_parking);

/// Runs a shard on a thread of its own and gives what its body brings.
fn shard<G, T, F>(spin: Duration, bell: Arc<Bell>, body: impl FnOnce(G::Runtime) -> F + Send + 'static) -> T
where
    G: Ground,
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let brought = Arc::new(Mutex::new(None));
    let theirs = brought.clone();
    let compute = Some(Arc::new(Compute::start(1).expect("threads")));
    let settings = Settings { core: probe::cores()[0], spin, ring_depth: 128, compute };
    let thread = G::start(settings, bell, move |runtime| async move {
        let value = body(runtime).await;
        *theirs.lock().unwrap() = Some(value);
        Ok(())
    });
    let thread = thread.expect("a thread");
    // A task that panics is missed by whoever waits for it: that is a failure, not a wait.
    let (sender, ended) = mpsc::channel();
    let joining = thread::Builder::new().spawn(move || sender.send(thread.join()));
    joining.expect("a thread");
    ended.recv_timeout(Duration::from_secs(120)).expect("the body hangs").expect("the shard ends well");
    brought.lock().unwrap().take().expect("the body came to its end")
}

fn on_shard<G, T, F>(body: impl FnOnce(G::Runtime) -> F + Send + 'static) -> T
where
    G: Ground,
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    shard::<G, _, _>(Duration::ZERO, Arc::new(Bell::new()), body)
}

fn ten_thousand_tasks_end_and_leave_their_slots<G: Ground>() {
    let ended = on_shard::<G, _, _>(|runtime| async move {
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

fn yielding_lets_every_other_task_run_once<G: Ground>() {
    let order = on_shard::<G, _, _>(|runtime| async move {
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
fn a_busy_shard_sees_timers_sockets_and_other_threads<G: Ground>() {
    on_shard::<G, _, _>(|runtime| async move {
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
        assert_eq!(G::helpers(&runtime).reads.run(|| 7).await.expect("no panic"), 7);
        assert_eq!(runtime.compute(now(Urgency::Spare), |_| 7).await, Ok(7));
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

fn a_panic_ends_one_task_and_is_counted<G: Ground>() {
    let panics = on_shard::<G, _, _>(|runtime| async move {
        runtime.spawn(async { panic!("on purpose") });
        let own = runtime.clone();
        runtime.spawn(async move {
            own.yield_now().await;
            panic!("on purpose, later");
        });
        let failed = G::helpers(&runtime).reads.run(|| panic!("on purpose, over there")).await;
        assert!(failed.is_err());
        assert_eq!(G::helpers(&runtime).reads.run(|| 1).await.expect("the thread lives"), 1);
        for urgency in URGENCIES {
            let failed = runtime.compute(now(urgency), |_| panic!("on purpose, over there")).await;
            assert_eq!(failed, Err(Uncomputed::Failed));
            assert_eq!(runtime.compute(now(urgency), |_| 1).await, Ok(1), "the thread lives");
        }
        // Work elsewhere may be done before the second task has had its second turn.
        for _ in 0..1000 {
            if runtime.panics() < 2 {
                runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
            }
        }
        runtime.panics()
    });
    assert_eq!(panics, 2);
}

/// Plays the process that ends; started by the test below.
fn vital_victim<G: Ground>() {
    on_shard::<G, _, _>(|runtime| async move {
        runtime.spawn_vital("test", async { panic!("on purpose") });
        runtime.sleep_until(runtime.now() + Duration::from_secs(10)).await;
    });
}

fn a_panic_of_a_vital_task_ends_the_process(victim: &str) {
    use std::os::unix::process::ExitStatusExt;
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", victim, "--nocapture"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.signal(), Some(libc::SIGABRT), "{words}");
    assert!(words.contains("the test task panicked"), "{words}");
}

fn bells_are_heard_asleep_awake_and_spinning<G: Ground>() {
    for spin in [0, 200] {
        let bell = Arc::new(Bell::new());
        let (heard, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (ringer, seen, stopped) = (bell.clone(), heard.clone(), stop.clone());
        let ringing = thread::Builder::new().spawn(move || {
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
        shard::<G, _, _>(Duration::from_micros(spin), bell, move |runtime| async move {
            let bell = runtime.bell().clone();
            while !stop.load(Ordering::SeqCst) {
                poll_fn(|context| bell.poll_rung(context)).await;
                heard.fetch_add(1, Ordering::SeqCst);
            }
        });
        ringing.unwrap().join().expect("every ring was heard");
    }
}

fn segments_are_made_written_synced_and_read<G: Ground>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000.seg");
    on_shard::<G, _, _>(move |runtime| async move {
        let segment = runtime.create_segment(&path, 1 << 20, None).await.expect("room");
        segment.append(4096, &[IoSlice::new(b"a body "), IoSlice::new(b"in two parts")]).unwrap();
        let _ = segment.sync().await.expect("a sound disk");
        assert_eq!(runtime.read(segment.map(), 4096, 19).await.unwrap(), b"a body in two parts");
        assert!(segment.append(1 << 20, &[IoSlice::new(b"x")]).is_err(), "past the end");
        let again = runtime.open_segment(&path).expect("it is there");
        let _ = again.sync().await.expect("a sound disk");
        assert!(runtime.create_segment(std::path::Path::new("/proc/none/0.seg"), 4096, None).await.is_err());
    });
}

const URGENCIES: [Urgency; 3] = [Urgency::Prompt, Urgency::Ordinary, Urgency::Spare];

fn now(urgency: Urgency) -> Priority {
    Priority { urgency, rank: 0, calm: false }
}

/// Work that takes until it is let go.
#[derive(Clone, Default)]
struct Stalled(Arc<AtomicBool>);

impl Stalled {
    fn work(&self) -> impl FnOnce() + Send + 'static {
        let go = self.0.clone();
        move || {
            while !go.load(Ordering::SeqCst) {
                process::pause(Duration::from_millis(1));
            }
        }
    }

    fn on(&self, helper: &Helper) -> impl Future<Output = io::Result<()>> {
        helper.run(self.work())
    }

    fn go(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The shard's own work, a sync, a read that meets the disk, a segment that is made, and what is computed: none holds up another.
fn no_kind_of_work_waits_for_another<G: Ground>() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_owned();
    on_shard::<G, _, _>(move |runtime| async move {
        let segment = runtime.create_segment(&place.join("00000.seg"), 1 << 16, None).await.expect("room");
        for stalled in ["fills", "reads", "compute"] {
            let (stall, ended) = (Stalled::default(), Rc::new(Cell::new(0)));
            let own = (runtime.clone(), stall.clone(), ended.clone());
            runtime.spawn(async move {
                let (runtime, stall, ended) = own;
                let done = match stalled {
                    "fills" => stall.on(&G::helpers(&runtime).fills).await,
                    "reads" => stall.on(&G::helpers(&runtime).reads).await,
                    _ => Ok(()),
                };
                done.expect("no panic");
                ended.set(ended.get() + 1);
            });
            for urgency in URGENCIES.into_iter().filter(|_| stalled == "compute") {
                let (own, work, ended) = (runtime.clone(), stall.work(), ended.clone());
                runtime.spawn(async move {
                    own.compute(now(urgency), move |_| work()).await.expect("no panic");
                    ended.set(ended.get() + 1);
                });
            }
            runtime.sleep_until(runtime.now() + Duration::from_millis(20)).await;
            let before = ended.get();
            segment.append(0, &[IoSlice::new(b"x")]).unwrap();
            let _ = segment.sync().await.expect("a sound disk");
            if stalled != "fills" {
                let path = place.join(format!("{stalled}.seg"));
                drop(runtime.create_segment(&path, 1 << 16, None).await.expect("room"));
            }
            if stalled != "reads" {
                assert_eq!(G::helpers(&runtime).reads.run(|| 7).await.expect("no panic"), 7);
            }
            if stalled != "compute" {
                assert_eq!(runtime.compute(now(Urgency::Ordinary), |_| 7).await, Ok(7));
            }
            assert_eq!(ended.get(), before, "{stalled}: it was stalled all the time");
            stall.go();
            let all = if stalled == "compute" { 4 } else { 1 };
            while ended.get() < all {
                runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
            }
        }
    });
}

/// What waits is bounded, for each kind, and what comes above the bound is told so at once.
fn what_is_too_much_is_refused<G: Ground>() {
    on_shard::<G, _, _>(|runtime| async move {
        let (stall, ended) = (Stalled::default(), Rc::new(Cell::new(0)));
        // One is at work, the others wait.
        for number in 0..=limits::FILLS_WAITING_MAX {
            let (own, stall, ended) = (runtime.clone(), stall.clone(), ended.clone());
            runtime.spawn(async move {
                stall.on(&G::helpers(&own).fills).await.expect("room and no panic");
                ended.set(ended.get() + 1);
            });
            if number == 0 {
                runtime.sleep_until(runtime.now() + Duration::from_millis(20)).await;
            }
        }
        runtime.sleep_until(runtime.now() + Duration::from_millis(20)).await;
        let refused = G::helpers(&runtime).fills.run(|| ()).await.expect_err("no room");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let told = Rc::new(RefCell::new(Vec::new()));
        // In the calm, as many strangers may wait as are known; when it ends, those above the bound are told so.
        for (urgency, calm, bound, refused) in [
            (Urgency::Prompt, false, limits::COMPUTE_PROMPT_MAX, 2),
            (Urgency::Ordinary, true, limits::COMPUTE_PROMPT_MAX, 2),
            (Urgency::Ordinary, false, 0, limits::COMPUTE_PROMPT_MAX - limits::COMPUTE_WAITING_MAX + 3),
            (Urgency::Spare, false, limits::COMPUTE_WAITING_MAX, 2),
        ] {
            for number in 0..bound + 3 {
                let (own, work, told) = (runtime.clone(), stall.work(), told.clone());
                let rank = number as u32;
                runtime.spawn(async move {
                    let priority = Priority { urgency, rank, calm };
                    let answer = own.compute(priority, move |_| work()).await;
                    told.borrow_mut().push(answer);
                });
                if number == 0 {
                    runtime.sleep_until(runtime.now() + Duration::from_millis(20)).await;
                }
            }
            runtime.sleep_until(runtime.now() + Duration::from_millis(20)).await;
            assert_eq!(told.take(), vec![Err(Uncomputed::Full); refused], "{urgency:?}, calm: {calm}");
            assert!(runtime.computing_later() >= bound);
        }
        // A task that waits for too long is told so, too.
        let begun = runtime.now();
        while runtime.computing_later() > 0 {
            runtime.sleep_until(runtime.now() + Duration::from_millis(20)).await;
            assert!(runtime.now().since(begun) < limits::COMPUTE_WAIT_MAX + Duration::from_secs(5));
        }
        stall.go();
        while ended.get() <= limits::FILLS_WAITING_MAX {
            runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
        }
    });
}

/// A stranger's work is done by the threads of those who are known while nobody attacks, and a suspect's by those of strangers.
fn idle_threads_help<G: Ground>() {
    on_shard::<G, _, _>(|runtime| async move {
        for (urgency, rank, calm, helped) in [
            (Urgency::Spare, 1, false, true),
            (Urgency::Ordinary, 1, true, true),
            (Urgency::Ordinary, 1, false, false),
            // One whom nothing speaks against, now and then.
            (Urgency::Ordinary, 0, false, true),
            (Urgency::Prompt, 0, true, false),
        ] {
            let (stall, ended) = (Stalled::default(), Rc::new(Cell::new(0)));
            for work in [Some(stall.work()), None] {
                let (own, ended) = (runtime.clone(), ended.clone());
                runtime.spawn(async move {
                    let work = move |_: &mut _| work.map_or((), |work| work());
                    own.compute(Priority { urgency, rank, calm }, work).await.expect("room");
                    ended.set(ended.get() + 1);
                });
                runtime.sleep_until(runtime.now() + Duration::from_millis(50)).await;
            }
            // Help comes at once, on a machine that is not busy.
            let give_up = runtime.now() + Duration::from_secs(if helped { 10 } else { 0 });
            while ended.get() == 0 && runtime.now() < give_up {
                runtime.sleep_until(runtime.now() + Duration::from_millis(5)).await;
            }
            assert_eq!(ended.get() == 1, helped, "{urgency:?} {rank}, calm: {calm}");
            stall.go();
            while ended.get() < 2 {
                runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
            }
        }
    });
}

/// For others than its own a thread has a part of its time while somebody guesses.
fn aid_is_bounded<G: Ground>() {
    on_shard::<G, _, _>(|runtime| async move {
        let stall = Stalled::default();
        // The thread of their own is busy.
        let (own, work) = (runtime.clone(), stall.work());
        runtime.spawn(async move {
            let _ = own.compute(Priority { rank: 9, ..now(Urgency::Ordinary) }, move |_| work()).await;
        });
        runtime.sleep_until(runtime.now() + Duration::from_millis(50)).await;
        // Long beside what a busy machine is late.
        let each = Duration::from_millis(200);
        let (begun, mut ends) = (runtime.now(), Vec::new());
        for _ in 0..3 {
            let work = move |_: &mut _| process::pause(each);
            runtime.compute(now(Urgency::Ordinary), work).await.expect("room");
            ends.push(runtime.now().since(begun));
        }
        let least = |number| each * (1 + number * (1 + limits::COMPUTE_AID_REST));
        assert!(ends[0] < each * limits::COMPUTE_AID_REST, "{ends:?}");
        assert!(ends[1] >= least(1) && ends[2] >= least(2), "{ends:?}");
        stall.go();
    });
}

/// Threads that hash for strangers never have a core before a shard that wants it; nor do those of guessers before anybody.
#[test]
fn hashing_threads_stand_back() {
    let compute = super::compute::Compute::start(8).expect("threads");
    let told = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
        let stats = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        let hashing = stats.filter(|stat| stat.contains("(relevo-hash-"));
        let fields = |stat: String| -> Vec<String> {
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        // proc(5): nice is field 19, the policy 41; 3 is the first behind the name.
        let mut found: Vec<_> =
            hashing.map(fields).map(|fields| (fields[16].clone(), fields[38].clone())).collect();
        found.sort();
        found
    };
    let has = |found: &[(String, String)], nice: &str, policy: libc::c_int| {
        found.iter().any(|one| one.0 == nice && one.1 == policy.to_string())
    };
    let give_up = 200;
    for round in 0..=give_up {
        let found = told();
        if has(&found, "0", libc::SCHED_OTHER)
            && has(&found, "10", libc::SCHED_OTHER)
            && has(&found, "0", libc::SCHED_IDLE)
        {
            break;
        }
        assert!(round < give_up, "{found:?}");
        process::pause(Duration::from_millis(10));
    }
    drop(compute);
}

/// Those with the lowest rank first; among equals that nobody knows the newest, and it takes the place of the oldest. While nobody attacks,
/// in the order in which they came.
fn the_best_placed_are_computed_first<G: Ground>() {
    for (urgency, calm, expected) in [
        (Urgency::Prompt, false, "befacd"),
        (Urgency::Ordinary, false, "ebfdca"),
        (Urgency::Spare, false, "ebfdca"),
        (Urgency::Prompt, true, "abcdef"),
        (Urgency::Ordinary, true, "abcdef"),
        (Urgency::Spare, true, "abcdef"),
    ] {
        let done = on_shard::<G, _, _>(move |runtime| async move {
            let (stall, done) = (Stalled::default(), Arc::new(Mutex::new(String::new())));
            // Threads that would help are busy, and longer.
            let helpers = Stalled::default();
            for busy in URGENCIES {
                let own = runtime.clone();
                let work = if busy == urgency { stall.work() } else { helpers.work() };
                runtime.spawn(async move {
                    let _ = own.compute(now(busy), move |_| work()).await;
                });
                runtime.sleep_until(runtime.now() + Duration::from_millis(20)).await;
            }
            let ended = Rc::new(Cell::new(0));
            for (name, rank) in [('a', 2), ('b', 0), ('c', 2), ('d', 2), ('e', 0), ('f', 1)] {
                let (own, done, ended) = (runtime.clone(), done.clone(), ended.clone());
                runtime.spawn(async move {
                    let work = move |_: &mut _| done.lock().unwrap().push(name);
                    own.compute(Priority { urgency, rank, calm }, work).await.expect("room");
                    ended.set(ended.get() + 1);
                });
            }
            runtime.sleep_until(runtime.now() + Duration::from_millis(20)).await;
            stall.go();
            while ended.get() < 6 {
                runtime.sleep_until(runtime.now() + Duration::from_millis(1)).await;
            }
            helpers.go();
            done.lock().unwrap().clone()
        });
        assert_eq!(done, expected, "{urgency:?}, calm: {calm}");
    }
}
