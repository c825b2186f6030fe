//! What operators do to the running relay is told as events, too.

use std::sync::{Arc, Mutex, PoisonError};

use crate::control::say::say;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Admin, Encoder, Notice};
use crate::observe::journaled::Chunk;
use crate::runtime::process;

/// Tells of it.
pub(super) struct Teller {
    instruments: Arc<Instruments>,
    encoder: Mutex<Encoder>,
}

impl Teller {
    /// For a node, by its id; None where there are no shards. No other has this origin.
    pub(super) fn new(instruments: &[Arc<Instruments>], node: u64, origin: &str) -> Option<Teller> {
        let encoder = Mutex::new(Encoder::new(node, process::wall(), origin));
        Some(Teller { instruments: instruments.first()?.clone(), encoder })
    }

    /// Tells it. Where the log is far behind this is said instead, to who reads what else was said of it.
    pub(super) fn tell(&self, admin: Admin<'_>) {
        let mut line = Vec::new();
        let mut encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        encoder.notice(process::wall(), &Notice::Admin(admin), &mut line);
        if self.instruments.chunks.pass(Chunk { lines: line, recorded: None }).is_err() {
            say(Level::Warning, format_args!("the log is too far behind: this admin event is not logged"));
        }
    }
}
