//! How long a thread had something to do.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::limits;

/// Reads what the kernel's scheduler knows of the thread that made it: time on a core plus time it was ready and waited for one. On
/// a machine with more to do than cores, the time on a core alone would call a thread idle that never gets to run.
pub(super) struct Effort {
    /// `schedstat` of the thread, where the kernel has one.
    statistics: Option<File>,
    last: Cell<Duration>,
}

impl Effort {
    /// Of the calling thread.
    pub(super) fn new() -> Effort {
        Effort { statistics: File::open("/proc/thread-self/schedstat").ok(), last: Cell::default() }
    }

    /// Never less than before.
    pub(super) fn total(&self) -> Duration {
        let total = self.scheduled().unwrap_or_else(|| {
            let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            Duration::from_secs(used.tv_sec as u64) + Duration::from_nanos(used.tv_nsec as u64)
        });
        self.last.set(total.max(self.last.get()));
        self.last.get()
    }

    /// Three numbers: nanoseconds on a core, nanoseconds ready, times it was given a core.
    fn scheduled(&self) -> Option<Duration> {
        let mut text = [0; limits::PROC_LINE_MAX];
        let length = self.statistics.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
        Some(Duration::from_nanos(numbers.next()?? + numbers.next()??))
    }
}
