//! How far a command is whose answer takes long: told on standard error, and only to a person who watches it.

use std::io::{self, IsTerminal, Write};

use relevo::control::api::shape::ScanProgress;

use super::output::complain;
use super::words::count;

/// What was told so far.
#[derive(Default)]
pub(super) struct Progress {
    last: Option<ScanProgress>,
    is_shown: bool,
}

impl Progress {
    /// It is so far by now.
    pub(super) fn show(&mut self, scanned: Option<ScanProgress>) {
        self.last = scanned.or(self.last);
        let Some(ScanProgress { messages, of, .. }) = scanned.filter(|scanned| scanned.messages < scanned.of)
        else {
            return self.clear();
        };
        if !io::stderr().is_terminal() {
            return;
        }
        let words = format!("\r\x1b[Krelevo: {messages} of {} looked through", count(of, "message"));
        self.is_shown = io::stderr().lock().write_all(words.as_bytes()).is_ok();
    }

    /// It is over: what of it is to be known.
    pub(super) fn end(&mut self) -> Option<ScanProgress> {
        self.clear();
        if let Some(ScanProgress { unreadable: unreadable @ 1.., .. }) = self.last {
            let words = "cannot be read, and may be meant too; `relevo spool verify` says more";
            complain!("{} {words}", count(unreadable, "message"));
        }
        self.last
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = io::stderr().lock().write_all(b"\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    /// Also where the command fails.
    fn drop(&mut self) {
        self.clear();
    }
}
