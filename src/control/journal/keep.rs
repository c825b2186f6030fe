//! What looks after the journal once a second, on a thread of its own, as a disk may keep it waiting: syncs what was written and publishes the positions
//! in it, and removes segments that nobody needs or that are too many.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config::value::show_size;
use crate::control::journal::cursor::RemovedLog;
use crate::control::journal::frame::{HEADER, Kind};
use crate::control::journal::place::{FramePosition, ReadPosition};
use crate::control::journal::segment::{self, FrameRead};
use crate::control::journal::shared::Shared;
use crate::control::journal::{retain, writer};
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::journaled::{Journaled, LaneWatermark};
use crate::observe::repeat::Repeat;

/// The looking after.
pub(super) struct Keep {
    shared: Arc<Shared>,
    size_max: u64,
    journaled: Arc<Journaled>,
    /// Events that are told to be lost were counted before; they are told now and then.
    lost: u64,
    told: u64,
    said: Repeat,
    /// What these have not read is counted before any of it goes; of the first of them, so many events were.
    forgotten: Vec<RemovedLog>,
    counted: u64,
    /// The last segment that was there when they were forgotten.
    found: u64,
}

impl Keep {
    pub(super) fn new(
        shared: Arc<Shared>,
        size_max: u64,
        journaled: Arc<Journaled>,
        forgotten: Vec<RemovedLog>,
    ) -> Keep {
        let found = shared.end().segment;
        Keep {
            shared,
            size_max,
            journaled,
            lost: 0,
            told: 0,
            said: Repeat::default(),
            forgotten,
            counted: 0,
            found,
        }
    }

    /// One round; `now` is the time of this machine's clock since it started. Events that were lost in it.
    pub(super) fn round(&mut self, now: Duration) -> u64 {
        self.sync();
        let forgotten = if self.forgotten.is_empty() { 0 } else { self.count_forgotten(now) };
        let lost = self.remove(now);
        self.lost += lost;
        if self.lost > self.told && self.said.lasts(now) {
            say(
                Level::Error,
                format_args!(
                    "{} events went from the journal before a log had them: it is behind by more than control.journal_size_max ({}), or for longer \
                     than {} days; see that it can be written",
                    self.lost - self.told,
                    show_size(self.size_max),
                    limits::JOURNAL_AGE_MAX.as_secs() / 86_400
                ),
            );
            self.told = self.lost;
        }
        forgotten + lost
    }

    /// Syncs what was written, and publishes the positions in it.
    pub(super) fn sync(&self) {
        let Some((file, positions)) = self.shared.unsynced() else { return };
        match file.sync_data() {
            Ok(()) => {
                // What was there before is in it already, or was found to be of another lane.
                let before = self.shared.published();
                if self.shared.synced(&positions) {
                    for (lane, known) in
                        positions.iter().filter(|(lane, known)| before.get(lane) != Some(known))
                    {
                        self.journaled.publish(LaneWatermark { lane: *lane, until: known.until });
                    }
                }
            }
            Err(error) => writer::not_synced(&self.shared, &error),
        }
    }

    fn remove(&self, now: Duration) -> u64 {
        let (kept, read) = self.shared.kept(now);
        let mut all = 0;
        // What is to be counted stays until it is.
        let counted = self.forgotten.iter().map(|one| one.at.frame.segment).min().unwrap_or(u64::MAX);
        let expendable = &kept[..retain::expendable(&kept, read, self.size_max)];
        for segment in expendable.iter().take_while(|segment| segment.sequence < counted) {
            let unread = self.shared.unread(segment.sequence);
            let count = |(reader, at): &(usize, ReadPosition)| (*reader, self.count(segment.sequence, *at));
            let lost: Vec<(usize, u64)> = unread.iter().map(count).collect();
            self.shared.gone(segment.sequence, &lost);
            all += lost.iter().map(|(_, events)| events).sum::<u64>();
            let path = segment::path(self.shared.directory(), segment.sequence);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    say(Level::Error, format_args!("{} cannot be removed: {error}", path.display()));
                }
                _ => {}
            }
        }
        all
    }

    /// One more segment of what a log that is forgotten has not read. Events that are lost to it.
    fn count_forgotten(&mut self, now: Duration) -> u64 {
        let Some(RemovedLog { reader, cursor, at, bytes }) = self.forgotten.first_mut() else { return 0 };
        let (from, until) = (*at, self.found);
        let next = self.shared.kept(now).0.into_iter().map(|kept| kept.sequence);
        if let Some(sequence) = next.into_iter().find(|next| *next >= from.frame.segment && *next <= until) {
            *at = FramePosition { segment: sequence + 1, offset: 0 }.into();
            let events = self.count(sequence, from);
            self.counted += events;
            return events;
        }
        say(
            Level::Warning,
            format_args!(
                "the log {reader} is not configured any more: {bytes} bytes of the journal that it has not read, {} events of all kinds, do not come to it",
                self.counted
            ),
        );
        let _ = std::fs::remove_file(cursor);
        self.forgotten.remove(0);
        self.counted = 0;
        0
    }

    /// Events of a segment that a reader which is there has not read.
    fn count(&self, sequence: u64, at: ReadPosition) -> u64 {
        let Ok(file) = File::open(segment::path(self.shared.directory(), sequence)) else { return 0 };
        let end = file.metadata().map_or(0, |meta| meta.len());
        let (mut place, mut skip) = (HEADER as u64, 0);
        if at.frame.segment == sequence {
            (place, skip) = (at.frame.offset.max(place), usize::try_from(at.within).unwrap_or(usize::MAX));
        }
        let mut events = 0;
        while let Ok(FrameRead::Frame(kind, carried, next)) = segment::read(&file, place, end) {
            if kind == Kind::Lines {
                events += memchr::memchr_iter(b'\n', carried.get(skip..).unwrap_or_default()).count() as u64;
                skip = 0;
            }
            place = next;
        }
        events
    }
}
