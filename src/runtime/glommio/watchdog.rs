//! Wakes a shard that went to sleep with work to do.
//!
//! glommio 0.9 parks its thread when the preempt timer is due at the very moment it wants to run tasks: `run_task_queues` then
//! answers "nothing ran", which is taken for "nothing to run". Where cores are shared that happens within minutes, and if
//! neither a timer nor a socket is armed the shard sleeps for ever. A loop that should be running and does not come
//! round is therefore woken from outside, which makes the executor look again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::limits;
use crate::runtime::Bell;

/// The watching thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watchdog {
    /// Watches over the shards with these bells.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of the runtime's own, which only sleeps and looks"
    )]
    pub fn start(bells: Vec<Arc<Bell>>) -> std::io::Result<Watchdog> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::Builder::new().name("relevo-watchdog".into()).spawn(move || {
            let mut last: Vec<Option<u64>> = vec![None; bells.len()];
            let mut awake = false;
            while !stopping.load(Ordering::Relaxed) {
                std::thread::sleep(if awake { limits::WATCHDOG_LOOK } else { limits::WATCHDOG_REST });
                awake = false;
                for (bell, last) in bells.iter().zip(&mut last) {
                    let beats = bell.beats();
                    if beats.is_some() && beats == *last {
                        bell.wake();
                    }
                    awake |= beats.is_some();
                    *last = beats;
                }
            }
        })?;
        Ok(Watchdog { stop, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
