//! When a log's file is moved aside, and what becomes of it then.
//!
//! A file is moved at the end of an event, and another one made in its place. It is compressed, and old ones are removed, when the cursor has left it:
//! until then a start would look for it by its number.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::config::{Keep, LogConfig, Rotate};
use crate::control::outlet::pack::{Packs, Rotated};
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::repeat::Repeat;
use crate::runtime::output::Output;
use crate::runtime::{files, process};
use crate::time::UnixMillis;

/// What a log's configuration says of it.
pub(in crate::control) struct Rotation {
    rule: Rotate,
    compress: bool,
    packs: Arc<Packs>,
    keep: Option<Keep>,
    /// When what is in the file began.
    began: UnixMillis,
    /// Files that were moved aside are to be looked after, once the cursor is of another.
    unpacked: bool,
    /// After an error nothing is moved until then.
    again_at: Duration,
    trouble: Repeat,
}

impl Rotation {
    /// None: the file is left to a log rotator.
    pub(in crate::control) fn of(log: &LogConfig, packs: &Arc<Packs>) -> Option<Rotation> {
        Some(Rotation {
            rule: log.rotate?,
            compress: log.compress,
            packs: packs.clone(),
            keep: log.keep,
            began: process::wall(),
            unpacked: true,
            again_at: Duration::ZERO,
            trouble: Repeat::default(),
        })
    }

    /// This file is written from now on.
    pub(super) fn begins(&mut self, output: &Output) {
        let meta = output.regular().and_then(|file| file.metadata().ok());
        let made = meta.and_then(|meta| meta.created().or_else(|_| meta.modified()).ok());
        let since = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        self.began = since.map_or_else(process::wall, |since| UnixMillis(since.as_millis() as u64));
    }

    /// Whether a file is to be moved before more is written: it has something behind its head, and is large or old enough.
    pub(super) fn is_due(&self, file: &File, head: usize, now: Duration) -> bool {
        if now < self.again_at {
            return false;
        }
        let Ok(length) = file.metadata().map(|meta| meta.len()) else { return false };
        let span = self.rule.span.map_or(0, |span| span.as_millis() as u64);
        let part = |time: UnixMillis| time.0.checked_div(span);
        let is_over = || part(process::wall()) > part(self.began);
        length > head as u64 && (self.rule.size.is_some_and(|most| length >= most) || is_over())
    }

    /// Moves it aside. Whether it was.
    pub(super) fn move_aside(&mut self, path: &Path, file: &File, now: Duration) -> bool {
        let Err(error) = aside(path, file) else {
            self.unpacked = true;
            self.trouble.ended(now);
            return true;
        };
        self.again_at = now + limits::LOG_ROTATED_AGAIN;
        if self.trouble.lasts(now) {
            let name = path.display();
            say(
                Level::Error,
                format_args!(
                    "the log {name} cannot be moved aside: {error}; it grows on, and that is tried again each minute; the relay's user must be able to \
                     write to its directory"
                ),
            );
        }
        false
    }

    /// What was moved aside is compressed, and what is old removed, by a thread of its own: the cursor is of the file that is written now.
    pub(super) fn have_packed(&mut self, path: &Path) {
        if !std::mem::take(&mut self.unpacked) {
            return;
        }
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let all = Rotated::all(&real).into_iter();
        let plain: Vec<PathBuf> = all.filter(|path| !Rotated::is_packed(path)).collect();
        self.packs.give(real, plain, (self.compress, self.keep));
    }
}

/// Of a link what it leads to is moved: the link stays.
fn aside(path: &Path, file: &File) -> io::Result<()> {
    let real = std::fs::canonicalize(path)?;
    let aside = Rotated::name(&real, process::wall());
    file.sync_data()?;
    files::rename_over_nothing(&real, &aside)?;
    real.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
