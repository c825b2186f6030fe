//! The writer of standard error: a thread of its own, which takes words from their queues and writes them as fast as they are read.
//!
//! A flood of one kind is told as a few lines and a number: ten thousand sites that fail are no reason for ten thousand lines.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::control::health::Health;
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::{self, Diagnostic, Level};
use crate::runtime::output::{self, Output};

/// What is written, and what waits to be.
pub(super) struct Words {
    pending: VecDeque<String>,
    floods: Floods,
    /// A line could be written only in part.
    torn: bool,
    /// Lines that could not be written.
    lost: u64,
    /// Lines known to be dropped when that was said last.
    said: u64,
    /// Where they are told, too.
    health: Arc<Health>,
}

impl Words {
    pub(super) fn new(health: Arc<Health>) -> Words {
        Words { pending: VecDeque::new(), floods: Floods::default(), torn: false, lost: 0, said: 0, health }
    }

    /// One round. `now` counts from any start. Whether nothing is left to write.
    pub(super) fn write(&mut self, instruments: &[Arc<Instruments>], now: Duration) -> bool {
        loop {
            let more = self.take(instruments, now);
            let written = self.write_pending(output::standard_error());
            if !written || !more {
                break;
            }
        }
        self.count(instruments);
        self.pending.is_empty()
    }

    /// Takes words up to the bound. Whether there may be more.
    fn take(&mut self, instruments: &[Arc<Instruments>], now: Duration) -> bool {
        for told in self.floods.ended(now) {
            self.pending.push_back(told.to_string());
        }
        let all = instruments.iter().map(|shard| &shard.diagnostics);
        for source in all.chain([diagnostics::process()]) {
            while self.pending.len() < limits::WORDS_PENDING {
                let Some(said) = source.take() else { break };
                if self.floods.passes(&said, now) {
                    self.health.notices.heard(&said);
                    self.pending.push_back(said.to_string());
                }
            }
        }
        self.pending.len() >= limits::WORDS_PENDING
    }

    /// False: the reader does not take any more just now.
    fn write_pending(&mut self, output: Option<&Output>) -> bool {
        let Some(output) = output else {
            self.lost += self.pending.drain(..).count() as u64;
            return true;
        };
        while let Some(line) = self.pending.front() {
            let whole = format!("{}{line}\n", if self.torn { "\n" } else { "" });
            match output.write(whole.as_bytes()) {
                Ok(written) => {
                    self.torn = written < whole.len();
                    self.lost += u64::from(self.torn);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // There is nowhere else to say it.
                Err(_) => self.lost += 1,
            }
            self.pending.pop_front();
        }
        true
    }

    /// Publishes how many were dropped, and says it where that is read again.
    fn count(&mut self, instruments: &[Arc<Instruments>]) {
        let mut all = self.lost + diagnostics::process().dropped();
        for (place, shard) in instruments.iter().enumerate() {
            let own = if place == 0 { all } else { 0 };
            let dropped = shard.diagnostics.dropped();
            shard.counters.diagnostics_dropped.set(own + dropped);
            all += dropped;
        }
        if all > self.said && self.pending.is_empty() {
            let news = all - self.said;
            self.said = all;
            super::say::say(
                Level::Warning,
                format_args!(
                    "{news} lines for standard error were dropped: nobody was reading it, or writing failed"
                ),
            );
        }
    }

    /// The end: numbers that were not told yet.
    pub(super) fn finish(&mut self) {
        let last = self.floods.ended(Duration::MAX);
        self.pending.extend(last.into_iter().map(|told| told.to_string()));
        self.write_pending(output::standard_error());
    }
}

/// Lines of each kind in the present window.
#[derive(Default)]
struct Floods {
    /// By the place in the code, of which there are as many as the code has.
    kinds: HashMap<(&'static str, u32), Flood>,
}

struct Flood {
    began: Duration,
    lines: usize,
    left_out: u64,
    last: Option<Diagnostic>,
}

impl Floods {
    /// Whether this line is written.
    fn passes(&mut self, said: &Diagnostic, now: Duration) -> bool {
        let most = if said.level == Level::Error { limits::ERRORS_ALIKE } else { limits::DIAGNOSTICS_ALIKE };
        let key = (said.place.file(), said.place.line());
        let new = Flood { began: now, lines: 0, left_out: 0, last: None };
        let flood = self.kinds.entry(key).or_insert(new);
        flood.lines += 1;
        if flood.lines <= most {
            return true;
        }
        flood.left_out += 1;
        flood.last = Some(said.clone());
        false
    }

    /// What is to be told of windows that are over.
    fn ended(&mut self, now: Duration) -> Vec<Diagnostic> {
        let mut told = Vec::new();
        self.kinds.retain(|_, flood| {
            if now.saturating_sub(flood.began) < limits::WORDS_WINDOW {
                return true;
            }
            if let Some(last) = flood.last.take() {
                let words = format!("{} more like this, the last: {}", flood.left_out, last.words);
                told.push(Diagnostic { words, ..last });
            }
            false
        });
        told
    }
}

/// Panics go to the queue of the process from now on: a hook that writes to standard error itself may wait there.
pub fn tell_panics() {
    crate::runtime::ending::on_panic(|words| {
        super::say::say(Level::Error, words);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::diagnostics::Diagnostics;
    use crate::time::UnixMillis;

    #[test]
    fn a_flood_is_told_as_a_few_lines_and_a_number() {
        let mut floods = Floods::default();
        let queue = Diagnostics::default();
        let mut passed = 0;
        for site in 0..10_000 {
            queue.say(UnixMillis(0), Level::Warning, format_args!("site {site} is down"));
            passed += usize::from(floods.passes(&queue.take().unwrap(), Duration::from_millis(site / 10)));
        }
        queue.say(UnixMillis(0), Level::Warning, format_args!("another kind"));
        assert!(floods.passes(&queue.take().unwrap(), Duration::ZERO));
        assert_eq!(passed, limits::DIAGNOSTICS_ALIKE);
        assert!(floods.ended(Duration::from_secs(9)).is_empty());
        let told = floods.ended(Duration::from_secs(10));
        let expected = format!("{} more like this, the last: site 9999 is down", 10_000 - passed);
        assert_eq!(told.iter().map(|told| &told.words).collect::<Vec<_>>(), [&expected]);
        assert!(floods.kinds.is_empty(), "a new window begins with the next line");
    }

    #[test]
    fn lines_that_a_full_disk_refuses_are_counted_and_nobody_panics() {
        let mut words = Words::new(Arc::default());
        words.pending.extend(["one".to_owned(), "two".to_owned()]);
        let full = Output::open(std::path::Path::new("/dev/full")).unwrap();
        assert!(words.write_pending(Some(&full)));
        assert_eq!((words.lost, words.pending.len()), (2, 0));
    }
}
