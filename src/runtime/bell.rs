//! How one thread wakes another's shard: a flag that coalesces, and one waker that is never replaced.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

thread_local! {
    /// Bells that this thread has rung and whose sleepers it has not woken yet. None: it wakes them at once.
    static HELD: RefCell<Option<Vec<Arc<Bell>>>> = const { RefCell::new(None) };
}

/// From now on this thread wakes nobody but in [`let_go`], which it must call before it sleeps or ends.
pub(in crate::runtime) fn hold() {
    HELD.set(Some(Vec::new()));
}

/// Wakes whom this thread has rung for, if they still sleep.
pub(in crate::runtime) fn let_go() {
    HELD.with_borrow_mut(|held| {
        for bell in held.iter_mut().flat_map(|held| held.drain(..)) {
            if bell.rung.load(Ordering::SeqCst) && bell.asleep.load(Ordering::SeqCst) {
                bell.call_out();
            }
        }
    });
}

/// The thread ends: it wakes those that are left, and from now on at once.
pub(in crate::runtime) fn hold_no_more() {
    let_go();
    HELD.set(None);
}

/// Wakes one shard's inbox. Any thread may ring; one immortal task of the shard listens.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    /// Whether the listener may be asleep, that is, whether a ring must go through the waker. A runtime whose loop looks
    /// at [`Bell::is_rung`] by itself clears this while it is awake and saves the producers a foreign wake.
    asleep: AtomicBool,
    /// Grows while the runtime's loop is awake, for whoever watches over it.
    beats: AtomicU64,
    waker: OnceLock<Waker>,
    /// What a sleeping runtime listens to, if it has something better than the waker.
    call: OnceLock<OwnedFd>,
}

impl Bell {
    /// A bell nobody listens to yet; rings are remembered.
    pub fn new() -> Bell {
        Bell {
            rung: AtomicBool::new(false),
            asleep: AtomicBool::new(true),
            beats: AtomicU64::new(0),
            waker: OnceLock::new(),
            call: OnceLock::new(),
        }
    }

    /// Wakes the listener, once for any number of rings until it has listened. From a shard's thread a sleeping one is woken when that
    /// has done what it has to do, or eight turns later: it finds more then.
    pub fn ring(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            let held = HELD.with_borrow_mut(|held| held.as_mut().map(|held| held.push(self.clone())));
            if held.is_none() {
                self.call_out();
            }
        }
    }

    fn call_out(&self) {
        match self.call.get() {
            // Nobody reads the counter: the runtime's set is edge-triggered, and it overflows after 2^64 rings.
            Some(eventfd) => drop(rustix::io::write(eventfd, &1u64.to_ne_bytes())),
            None => self.wake(),
        }
    }

    /// From now on a ring that meets a sleeping runtime is written to this eventfd.
    pub(in crate::runtime) fn call_by(&self, eventfd: OwnedFd) {
        let _ = self.call.set(eventfd);
    }

    /// Whether there is a ring that has not been listened to.
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// Ready when the bell was rung since the last time. Always polled by the same task.
    pub fn poll_rung(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.get_or_init(|| context.waker().clone());
        if self.rung.swap(false, Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The runtime is about to sleep: true if it must not, because the bell was rung meanwhile.
    pub(in crate::runtime) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.rung.load(Ordering::SeqCst)
    }

    /// The runtime is awake and looks at the bell by itself.
    pub(in crate::runtime) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// The runtime's loop came round.
    pub(in crate::runtime) fn beat(&self) {
        self.beats.store(self.beats.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How often the loop came round, if it should be running now; None while it may rightly sleep.
    pub(in crate::runtime) fn beats(&self) -> Option<u64> {
        if self.asleep.load(Ordering::SeqCst) { None } else { Some(self.beats.load(Ordering::Relaxed)) }
    }

    /// Wakes the listening task. By reference: the waker belongs to the listener's thread and is never dropped here.
    pub(in crate::runtime) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}
