//! The accounting: the journal of events and the logs that are written of it. All is opened before a start goes on, and ends after the shards.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;

use crate::config::{Config, LogConfig};
use crate::control::analytics::{self, Analytics};
use crate::control::erase::Eraser;
use crate::control::error::StartError;
use crate::control::journal::{self, Journal, Shared};
use crate::control::log::{Log, Rotation};
use crate::control::outlet::Shape;
use crate::control::outlet::pack::{self, Packs};
use crate::control::outward::{Counts, Sent};
use crate::control::say::say;
use crate::control::stream::Stream;
use crate::control::thread::{Turn, Worker};
use crate::control::webhook::{Webhook, WebhookSettings};
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::observe::journaled::{Journaled, Readers};
use crate::runtime::files::Reserve;

/// What was opened.
pub struct Opened {
    journal: Journal,
    logs: Vec<Log>,
    packs: Option<Arc<Packs>>,
    webhooks: Vec<Webhook>,
    streams: Vec<Stream>,
    analytics: Option<analytics::Reader>,
    eraser: Arc<Eraser>,
    journaled: Arc<Journaled>,
}

/// The running threads.
pub(super) struct Accounting {
    journal: journal::Threads,
    logs: Vec<Worker>,
    pack: Option<Worker>,
    webhooks: Vec<Worker>,
    analytics: Option<Worker>,
}

/// Opens the logs of a configuration, and the journal that they are written of, and which the suppression list may be fed by; and who reads what
/// shards tell then. None: nobody does, and so there is no journal.
pub fn open(config: &Config) -> Result<(Option<Opened>, Readers), StartError> {
    let data_dir = &config.node.data_dir;
    let logs = config.logs.iter().filter(|log| !log.is_nowhere());
    if !config.keeps_journal() {
        journal::remove(data_dir);
        return Ok((None, Readers::Nobody));
    }
    let mut journal =
        Journal::open(data_dir).map_err(|error| StartError::Journal(journal::directory(data_dir), error))?;
    let packs = Arc::<Packs>::default();
    let open = |log: &LogConfig| {
        let opened =
            Shape::of_log(log, data_dir).and_then(|shape| Log::open(log.path.clone(), &journal, shape));
        opened
            .map(|mut opened| {
                opened.use_rotation(Rotation::of(log, &packs));
                opened
            })
            .map_err(|error| StartError::Log(log.section.to_string(), log.path.clone(), error))
    };
    let logs = logs.map(open).collect::<Result<Vec<Log>, StartError>>()?;
    let packs = config.logs.iter().any(|log| log.rotate.is_some()).then_some(packs);
    let webhooks = config.webhooks.iter().map(|webhook| Webhook::open(webhook, &journal));
    let webhooks = webhooks
        .collect::<io::Result<Vec<Webhook>>>()
        .map_err(|error| StartError::Journal(journal::directory(data_dir), error))?;
    let streams = config.streams.iter().map(|stream| Stream::open(stream, &journal));
    let streams = streams
        .collect::<io::Result<Vec<Stream>>>()
        .map_err(|error| StartError::Journal(journal::directory(data_dir), error))?;
    let cursors = logs.iter().map(Log::cursor_name).chain(webhooks.iter().map(Webhook::cursor_name));
    let cursors = cursors.chain(streams.iter().map(Stream::cursor_name));
    journal.forget_others(&cursors.collect::<Vec<_>>());
    let journaled = Arc::new(journal.journaled(limits::SHARDS_MAX));
    let readers = Readers::Journal(journaled.clone());
    let analytics = config.control.analytics.then(|| analytics::Reader::open(data_dir, &journal.shared));
    let counted = analytics.as_ref().map(analytics::Reader::counted);
    let eraser = Arc::new(Eraser::new(config, Some(&journal.shared), counted));
    Ok((Some(Opened { journal, logs, packs, webhooks, streams, analytics, eraser, journaled }), readers))
}

/// How webhooks are to be reached now, and where their batches are counted.
type Webhooks = (Arc<dyn WebhookSettings>, Sent);

impl Opened {
    /// The journal.
    pub(super) fn shared(&self) -> Arc<Shared> {
        self.journal.shared.clone()
    }

    /// What is counted of mail (None: nothing is), and where people are named.
    pub(super) fn counted(&self) -> (Option<Arc<Analytics>>, Arc<Eraser>) {
        (self.analytics.as_ref().map(analytics::Reader::counted), self.eraser.clone())
    }

    /// Starts the threads. The journal has this many bytes at the most; logs are opened again when `reopen` changes.
    pub(super) fn start(
        self,
        instruments: &[Arc<Instruments>],
        (reserve, webhooks): (&Arc<Reserve>, Option<Webhooks>),
        size_max: u64,
        reopen: &Arc<AtomicU64>,
    ) -> io::Result<Accounting> {
        let journal = self.journal.start(instruments, reserve, size_max, &self.journaled)?;
        let start = |mut log: Log| {
            log.use_reserve(reserve.clone());
            let wanted = reopen.clone();
            Worker::start("relevo-log", move |turn| write(log, &wanted, turn))
        };
        let logs = self.logs.into_iter().map(start).collect::<io::Result<Vec<Worker>>>()?;
        let pack = self.packs.map(pack::start).transpose()?;
        let mut sending = Vec::new();
        if let Some((settings, Sent { webhooks, streams })) = webhooks {
            let (counts, streamed) = (Counts::new(webhooks), Counts::new(streams));
            for webhook in self.webhooks {
                sending.push(webhook.start(settings.clone(), counts.clone())?);
            }
            for stream in self.streams {
                sending.push(stream.start(settings.clone(), streamed.clone())?);
            }
        }
        let analytics = self.analytics.map(analytics::Reader::start).transpose()?;
        Ok(Accounting { journal, logs, pack, webhooks: sending, analytics })
    }
}

impl Accounting {
    /// Wakes the journal's writer by its `unpark`.
    pub(super) fn writer(&self) -> Thread {
        self.journal.writer()
    }

    /// The logs are to look at once whether they are to be opened again.
    pub(super) fn wake(&self) {
        self.logs.iter().for_each(Worker::wake);
    }

    /// Writes what shards have passed on to the journal, and from there what the logs take within a bound.
    pub(super) fn stop(self) {
        self.journal.stop();
        // All at one time: the bound is that of one.
        self.logs.iter().chain(&self.webhooks).chain(&self.analytics).for_each(Worker::end);
        for log in self.logs {
            log.stop(limits::LAST_WRITES);
        }
        for worker in self.pack.into_iter().chain(self.webhooks).chain(self.analytics) {
            worker.stop(limits::LAST_WRITES);
        }
    }
}

fn write(mut log: Log, wanted: &AtomicU64, turn: &Turn) {
    let clock = turn.clock();
    let mut reopened = 0;
    loop {
        let (stop, reopen) = (turn.is_over(), wanted.load(Ordering::SeqCst));
        let written = log.write(clock(), reopen != reopened);
        reopened = reopen;
        // A pipe that nobody has open is not waited for.
        if stop && ((written && log.is_taken()) || log.is_unread() || turn.is_late()) {
            log.finish();
            if !written || !log.is_taken() {
                say(
                    Level::Warning,
                    format_args!(
                        "the log {} did not take all events: the rest stays in the journal for the next start",
                        log.name()
                    ),
                );
            }
            return;
        }
        if written {
            turn.pause(limits::CONTROL_ROUND);
        } else if !log.has_more() {
            log.await_room(limits::CONTROL_ROUND);
            turn.pause(if log.is_quick() { limits::CONTROL_ROUND / 10 } else { limits::CONTROL_ROUND });
        }
    }
}
