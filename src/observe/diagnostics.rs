//! Words to the operator: what a shard has to say besides the accounting goes into a bounded queue that `control` writes to
//! standard error. Nobody waits for it: what does not fit is counted.

use std::fmt::{self, Write};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;

use crate::limits;
use crate::time::UnixMillis;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The course of things.
    Info,
    /// Somebody should look, by and by.
    Warning,
    /// Somebody should look now.
    Error,
}

impl Level {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// When.
    pub at: UnixMillis,
    /// How much it matters.
    pub level: Level,
    /// One line, at most DIAGNOSTIC_MAX bytes, without control characters.
    pub words: String,
    /// Where in the code it is said: those of one place are of one kind, and a flood of them is told as a number.
    pub place: &'static Location<'static>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut time = Vec::new();
        self.at.write_iso(&mut time);
        write!(formatter, "{} {} {}", String::from_utf8_lossy(&time), self.level.word(), self.words)
    }
}

/// The queue. Cloning is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<Diagnostic>,
    dropped: AtomicU64,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared { queue: ArrayQueue::new(limits::DIAGNOSTICS_QUEUE), dropped: AtomicU64::new(0) }
    }
}

/// What no shard says: of the process as a whole, and of panics wherever they are.
pub fn process() -> &'static Diagnostics {
    static PROCESS: OnceLock<Diagnostics> = OnceLock::new();
    PROCESS.get_or_init(Diagnostics::default)
}

/// What was said in this process about something with such a name, as tests look at it: all of them share the queue.
#[cfg(test)]
pub(crate) fn said_of(name: &str) -> Vec<String> {
    static SAID: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let mut said = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    while let Some(one) = process().take() {
        said.push(one.words);
    }
    said.iter().filter(|words| words.contains(name)).cloned().collect()
}

/// Text on one line, cut at a bound.
struct Line(String);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.0.len() + letter.len_utf8() > limits::DIAGNOSTIC_MAX - '…'.len_utf8() {
                self.0.push('…');
                // Whoever formats need not go on.
                return Err(fmt::Error);
            }
            self.0.push(if letter.is_control() { '?' } else { letter });
        }
        Ok(())
    }
}

impl Diagnostics {
    /// Says something, if there is room for it.
    #[track_caller]
    pub fn say(&self, at: UnixMillis, level: Level, words: fmt::Arguments<'_>) {
        let mut line = Line(String::new());
        let _ = line.write_fmt(words);
        let said = Diagnostic { at, level, words: line.0, place: Location::caller() };
        if self.0.queue.push(said).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The writer takes the oldest.
    pub fn take(&self) -> Option<Diagnostic> {
        self.0.queue.pop()
    }

    /// Those dropped so far.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_single_and_the_queue_is_bounded() {
        let diagnostics = Diagnostics::default();
        let long = "ä".repeat(limits::DIAGNOSTIC_MAX);
        diagnostics.say(UnixMillis(0), Level::Error, format_args!("a\r\nb\x1b {long}"));
        let said = diagnostics.take().unwrap();
        assert!(said.words.starts_with("a??b? ää") && said.words.ends_with('…'), "{}", said.words);
        assert!(said.words.len() <= limits::DIAGNOSTIC_MAX);
        assert!(said.to_string().starts_with("1970-01-01T00:00:00.000Z error a??b?"), "{said}");
        for _ in 0..limits::DIAGNOSTICS_QUEUE + 3 {
            diagnostics.say(UnixMillis(0), Level::Info, format_args!("x"));
        }
        assert_eq!(diagnostics.dropped(), 3);
    }
}
