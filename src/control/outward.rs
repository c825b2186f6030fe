//! What webhooks and streams have in common: events are gathered of the journal and sent together, in order and at least once. A batch that was not
//! taken is sent again as it is, ever more seldom; the cursor moves when it was.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::control::journal::{Feed, Journal, LogLines, ReadPosition};
use crate::control::outlet::Shape;
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::families::{Family, FamilyInfo};
use crate::observe::repeat::Repeat;

/// What came of batches for webhooks.
const WEBHOOKED: FamilyInfo = FamilyInfo {
    name: "webhook_batches",
    help: "Batches of events that were sent to webhooks, by what came of it",
    label: "result",
    values: &["ok", "failed"],
};

/// And of those for streams.
const STREAMED: FamilyInfo = FamilyInfo {
    name: "stream_batches",
    help: "Batches of events that were sent to streams, by what came of it",
    label: "result",
    values: &["ok", "failed"],
};

/// What came of all that was sent, as it is counted.
#[derive(Clone, Debug)]
pub struct Sent {
    /// To webhooks.
    pub webhooks: Arc<Family>,
    /// To streams.
    pub streams: Arc<Family>,
}

impl Default for Sent {
    fn default() -> Sent {
        Sent { webhooks: Arc::new(Family::new(&WEBHOOKED)), streams: Arc::new(Family::new(&STREAMED)) }
    }
}

/// What threads of a kind count together.
#[derive(Clone)]
pub(super) struct Counts(Arc<Mutex<Arc<Family>>>);

impl Counts {
    pub fn new(family: Arc<Family>) -> Counts {
        Counts(Arc::new(Mutex::new(family)))
    }

    fn add(&self, failed: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(usize::from(failed), 1);
    }
}

/// Events that go together.
pub trait Batch {
    /// One more, a line of the journal.
    fn add(&mut self, event: &[u8], now: Duration);
    /// How many they are.
    fn count(&self) -> usize;
    /// Nothing is added to it.
    fn is_full(&self) -> bool;
    /// Whether those that there are wait for no more.
    fn is_due(&self, now: Duration) -> bool;
    /// That was all of it: from here on it stays as it is, however often it is sent.
    fn finish(&mut self);
    /// It was taken, and the next one begins.
    fn clear(&mut self);
}

/// Who is sent to, as it is told, and when again where that failed.
pub(super) struct Addressee {
    /// `webhook https://…`, which is the name of its cursor too.
    pub name: String,
    /// How long after the first failure; twice that after the next, and so on.
    pub again: Duration,
    /// And at the latest after this.
    pub again_most: Duration,
}

/// One who is sent events.
pub(super) struct Outward<B> {
    addressee: Addressee,
    feed: Feed,
    held: Option<LogLines>,
    at: usize,
    batch: B,
    /// What is behind the batch; None: it still grows.
    end: Option<ReadPosition>,
    failures: u32,
    /// Nothing is sent before.
    again_at: Duration,
    saved_at: Duration,
    trouble: Repeat,
}

impl<B: Batch> Outward<B> {
    /// Begins where it was, or with what is told from now on.
    pub fn open(addressee: Addressee, shape: Shape, batch: B, journal: &Journal) -> io::Result<Outward<B>> {
        let mut feed = Feed::open(&journal.shared, &addressee.name, shape)?;
        if feed.saved().is_none() {
            // A disk without room has none for events either.
            let here = feed.settled(None, 0).0;
            let _ = feed.save(here, 0, 0);
        }
        Ok(Outward {
            addressee,
            feed,
            held: None,
            at: 0,
            batch,
            end: None,
            failures: 0,
            again_at: Duration::ZERO,
            saved_at: Duration::ZERO,
            trouble: Repeat::default(),
        })
    }

    /// The name of its cursor's file.
    pub fn cursor_name(&self) -> &str {
        self.feed.cursor_name()
    }

    /// Gathers what there is, and sends it when it is time. Whether there may be more at once.
    pub fn round(
        &mut self,
        now: Duration,
        counts: &Counts,
        send: impl FnOnce(&B) -> Result<(), String>,
    ) -> bool {
        if self.end.is_none()
            && let Err(error) = self.gather(now)
        {
            self.complain(now, &format!("the journal cannot be read: {error}"));
            return false;
        }
        let Some(end) = self.end else {
            self.save_idle(now);
            return false;
        };
        if now < self.again_at {
            return false;
        }
        let sent = send(&self.batch);
        counts.add(sent.is_err());
        match sent {
            Ok(()) => {
                self.failures = 0;
                if let Some(lasted) = self.trouble.ended(now) {
                    let (name, seconds) = (&self.addressee.name, lasted.as_secs());
                    say(Level::Info, format_args!("the {name} takes events again, after {seconds} s"));
                }
                self.batch.clear();
                self.end = None;
                if let Err(error) = self.feed.save(end, 0, 0) {
                    self.complain(now, &format!("its cursor cannot be written: {error}"));
                }
                true
            }
            Err(why) => {
                let wait = self.addressee.again.saturating_mul(1 << self.failures.min(16));
                self.again_at = now + wait.min(self.addressee.again_most);
                self.failures = self.failures.saturating_add(1);
                self.complain(now, &why);
                false
            }
        }
    }

    fn complain(&mut self, now: Duration, why: &str) {
        if self.trouble.lasts(now) {
            let (behind, lost) = self.feed.behind();
            let lost =
                if lost > 0 { format!(", {lost} events went before it had them") } else { String::new() };
            say(
                Level::Error,
                format_args!(
                    "the {} takes no events: {why}; they wait in the journal, up to control.journal_size_max: {behind} bytes so far{lost}",
                    self.addressee.name
                ),
            );
        }
    }

    /// Adds events to the batch, and closes it when it is full or its time is over.
    fn gather(&mut self, now: Duration) -> io::Result<()> {
        while !self.batch.is_full() {
            if self.held.is_none() {
                self.at = 0;
                match self.feed.next()? {
                    None => break,
                    held => self.held = held,
                }
            }
            let Some(held) = &self.held else { break };
            let rest = &held.bytes()[self.at..];
            let Some(end) = memchr::memchr(b'\n', rest).map(|end| end + 1) else {
                self.held = None;
                continue;
            };
            self.batch.add(&rest[..end], now);
            self.at += end;
        }
        if self.batch.count() > 0 && (self.batch.is_full() || self.batch.is_due(now)) {
            self.batch.finish();
            self.end = Some(self.feed.settled(self.held.as_ref(), self.at).0);
        }
        Ok(())
    }

    /// What it does not want is not kept for it.
    fn save_idle(&mut self, now: Duration) {
        if self.batch.count() == 0 && now >= self.saved_at + limits::CURSOR_SAVED {
            self.saved_at = now;
            let here = self.feed.settled(self.held.as_ref(), self.at).0;
            // Tried again each second; nothing waits for it but room in the journal.
            let _ = self.feed.save(here, 0, 0);
        }
    }
}
