//! When a log's file is moved aside, and what becomes of it then.
//!
//! A file is moved at the end of an event, and another one made in its place. It is compressed, and old ones are removed, when the cursor has left it:
//! until then a start would look for it by its number.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::config::{LogConfig, Rotate};
use crate::control::log::Log;
use crate::control::outlet::pack::{Packs, Rotated};
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::repeat::Repeat;
use crate::runtime::{files, process};
use crate::time::UnixMillis;

/// What a log's configuration says of it.
pub(in crate::control) struct Rotation {
    rule: Rotate,
    compress: bool,
    packs: Arc<Packs>,
    keep: Option<crate::config::Keep>,
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
}

impl Log {
    /// It is moved aside as this says.
    pub(in crate::control) fn use_rotation(&mut self, rotation: Option<Rotation>) {
        self.rotation = rotation;
        self.note_begin();
    }

    /// Another file is written.
    pub(super) fn note_begin(&mut self) {
        let Some(rotation) = &mut self.rotation else { return };
        let meta = self.output.regular().and_then(|file| file.metadata().ok());
        let made = meta.and_then(|meta| meta.created().or_else(|_| meta.modified()).ok());
        let since = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        rotation.began = since.map_or_else(process::wall, |since| UnixMillis(since.as_millis() as u64));
    }

    /// Whether somebody cut it to nothing: a rotator that copies.
    pub(super) fn was_emptied(&self) -> bool {
        let has_head = || !self.feed.head().is_empty();
        self.output.regular().is_some_and(|file| file.metadata().is_ok_and(|meta| meta.len() == 0)) && has_head()
    }

    /// Whether it is to be moved before more is written: it has something, and is large or old enough.
    pub(super) fn is_full(&self) -> bool {
        let Some(rotation) = &self.rotation else { return false };
        let Some(file) = self.output.regular().filter(|_| self.path.is_some()) else { return false };
        if !self.resumed || self.unsaved || self.headless || self.held.is_some() || self.now < rotation.again_at {
            return false;
        }
        let Ok(length) = file.metadata().map(|meta| meta.len()) else { return false };
        if length <= self.feed.head().len() as u64 {
            return false;
        }
        let span = rotation.rule.span.map_or(0, |span| span.as_millis() as u64);
        let is_over = || {
            let part = |time: UnixMillis| time.0.checked_div(span);
            part(process::wall()) > part(rotation.began)
        };
        rotation.rule.size.is_some_and(|most| length >= most) || is_over()
    }

    /// Moves it aside, where it is time for that.
    pub(super) fn rotate(&mut self) {
        if !self.is_full() {
            return;
        }
        let moved = self.move_aside();
        let now = self.now;
        let Some(rotation) = &mut self.rotation else { return };
        match moved {
            Ok(()) => {
                rotation.unpacked = true;
                rotation.trouble.ended(now);
                self.reopen(false);
                self.note_begin();
            }
            Err(error) => {
                rotation.again_at = now + limits::LOG_ROTATED_AGAIN;
                if rotation.trouble.lasts(now) {
                    let name = self.name();
                    say(
                        Level::Error,
                        format_args!(
                            "the log {name} cannot be moved aside: {error}; it grows on, and that is tried again each minute; the relay's user must be \
                             able to write to its directory"
                        ),
                    );
                }
            }
        }
    }

    fn move_aside(&self) -> io::Result<()> {
        let (Some(path), Some(file)) = (&self.path, self.output.regular()) else { return Ok(()) };
        // Of a link what it leads to is moved: the link stays.
        let real = std::fs::canonicalize(path)?;
        let aside = Rotated::name(&real, process::wall());
        file.sync_data()?;
        files::rename_over_nothing(&real, &aside)?;
        sync_directory(&real)
    }

    /// What was moved aside is compressed, and what is old removed, by a thread of its own: the cursor is of the file that is written now.
    pub(super) fn have_packed(&mut self) {
        let Some(path) = self.path.as_deref() else { return };
        let Some(rotation) = self.rotation.as_mut().filter(|rotation| rotation.unpacked) else { return };
        if self.unsaved || self.output.regular().is_none() {
            return;
        }
        rotation.unpacked = false;
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let plain: Vec<PathBuf> = Rotated::all(&real).into_iter().filter(|path| !Rotated::is_packed(path)).collect();
        rotation.packs.give(real, plain, (rotation.compress, rotation.keep));
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
