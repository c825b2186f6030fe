//! Rot in what was synced: how the fold gets out of a damaged commit what is whole.

use std::collections::{HashMap, HashSet};

use memchr::memmem::Finder;

use crate::id::MessageId;
use crate::limits;
use crate::spool::fold::{Files, Fold, Found, Refusal, Spot};
use crate::spool::record::{self, Fate, Kind, MessageView};
use crate::spool::segment::{MARK, Mark};
use crate::spool::survey::read_patchy;

/// Bytes without a mark that are searched at one time.
const STRIDE: u64 = limits::COMMIT_BYTES_MAX as u64;

impl<F: Files> Fold<'_, F> {
    /// Rot in the commit at `at`, which was synced: what is whole of it counts, what is not is named. Returns where to go on,
    /// at most `next`. Bodies are checked when they are sent.
    pub(in crate::spool) fn salvage(&mut self, found: &Found, at: u64, next: u64) -> Result<u64, Refusal> {
        let (slot, salt) = (found.slot, found.header.salt);
        self.quarantined.push(slot);
        let start = at + MARK as u64;
        let files = self.files;
        let read = |offset, length| read_patchy(files, slot, offset, length);
        let mark = Mark::read(&read(at, MARK as u64), salt, at).filter(|mark| mark.end() <= next);
        if let Some(mark) = mark {
            let records = read(start, u64::from(mark.records_length));
            if records.is_empty() {
                self.damage(
                    slot,
                    at,
                    None,
                    format!("damaged between {at} and {next}; some mail there may be lost"),
                );
            }
            self.pick(found, &records, start, records.len(), true)?;
            return Ok(mark.end());
        }
        self.damage(slot, at, None, format!("damaged between {at} and {next}; some mail there may be lost"));
        let mut from = start;
        while from < next {
            // A record that begins in this stretch ends in the one behind it at the latest.
            let bytes = read(from, (2 * STRIDE).min(next - from));
            let own = bytes.len().min(STRIDE as usize);
            from += self.pick(found, &bytes, from, own, false)?.max(STRIDE as usize) as u64;
        }
        Ok(next)
    }

    /// Takes the whole records that begin in the first `own` of these bytes, and names those that do not look whole; returns where the last
    /// one ends. They are found by the salt, which no client has ever seen: no body can pass for one. `tight`: they follow each other.
    fn pick(
        &mut self,
        found: &Found,
        bytes: &[u8],
        start: u64,
        own: usize,
        tight: bool,
    ) -> Result<usize, Refusal> {
        let salt = found.header.salt;
        let finder = Finder::new(&salt.to_le_bytes()).into_owned();
        let (mut place, mut end, mut is_due) = (0, 0, tight);
        while place < own {
            let offset = u32::try_from(start + place as u64).unwrap_or(u32::MAX);
            if let Ok(record) = record::read(&bytes[place..], salt, u64::from(offset)) {
                self.record(found, &bytes[place..], offset)?;
                place += record.length;
                (end, is_due) = (place, tight);
                continue;
            }
            if is_due || record::stands_at(&bytes[place..], salt, u64::from(offset)) {
                self.damaged_record(found, &bytes[place..], offset);
                is_due = false;
            }
            // The salt stands 8 bytes into a record.
            let hit = bytes.get(place + 9..).and_then(|rest| finder.find(rest));
            place = hit.map_or(own, |hit| place + 1 + hit);
        }
        Ok(end)
    }

    /// Messages in the commit at `at`, which does not count.
    pub(in crate::spool) fn torn_names(&self, found: &Found, at: u64, end: u64) -> Vec<MessageId> {
        let (lane, sequence, salt) = (self.shape.birthplace.lane, found.header.sequence, found.header.salt);
        let bytes = self.files.read(found.slot, at, STRIDE.min(end - at) as usize).unwrap_or_default();
        let named = Finder::new(&salt.to_le_bytes()).into_owned();
        let places = named.find_iter(&bytes).filter_map(|hit| hit.checked_sub(8)).filter(|place| *place > 0);
        let messages = places.filter(|place| {
            let offset = at + *place as u64;
            bytes[*place] == Kind::Message as u8 && record::stands_at(&bytes[*place..], salt, offset)
        });
        let id = |place: usize| {
            let offset = u32::try_from(at + place as u64).unwrap_or(u32::MAX);
            let whole = record::read(&bytes[place..], salt, u64::from(offset)).ok();
            let view = whole.and_then(|record| MessageView::parse(record.payload).ok());
            view.map_or(MessageId { lane, sequence, offset }, |view| view.id)
        };
        messages.map(id).collect()
    }

    /// An outcome of a message whose record is not there, though its segment is.
    pub(in crate::spool) fn haunt(&mut self, birth: Spot, first: u16, count: u16, fate: &Fate) {
        let recipients = first..first.saturating_add(count.min(limits::RECIPIENTS_MAX as u16));
        if !matches!(fate, Fate::Deferred { .. }) {
            if let Some(live) = self.ghosts.get_mut(&birth) {
                live.retain(|recipient| !recipients.contains(recipient));
            }
        } else if self.ghosts.len() < limits::GHOSTS_MAX || self.ghosts.contains_key(&birth) {
            self.ghosts.entry(birth).or_default().extend(recipients);
        }
    }

    /// A census of a damaged segment says better than the outcomes before it what of it is live.
    pub(in crate::spool) fn count_ghosts(
        &mut self,
        about: u32,
        listed: &HashMap<u32, Vec<(u16, u16, Fate)>>,
        partial: bool,
    ) {
        let before: Vec<Spot> =
            self.ghosts.range((about, 0)..=(about, u32::MAX)).map(|(spot, _)| *spot).collect();
        for spot in before {
            if !partial || listed.contains_key(&spot.1) {
                self.ghosts.remove(&spot);
            }
        }
        for (offset, ranges) in listed.iter().filter(|(_, ranges)| !ranges.is_empty()) {
            let live = ranges.iter().flat_map(|(first, count, _)| *first..first.saturating_add(*count));
            if self.ghosts.len() < limits::GHOSTS_MAX && self.is_gone((about, *offset)) {
                self.ghosts.insert((about, *offset), live.take(limits::RECIPIENTS_MAX).collect());
            }
        }
    }

    /// Names the messages that only their outcomes still know of.
    pub(in crate::spool) fn name_ghosts(&mut self) {
        let lane = self.shape.birthplace.lane;
        let named: HashSet<MessageId> =
            self.found_damage.iter().filter_map(|damage| damage.message).collect();
        let full = self.ghosts.len() >= limits::GHOSTS_MAX;
        for ((sequence, offset), live) in std::mem::take(&mut self.ghosts) {
            let id = MessageId { lane, sequence, offset };
            let Some(slot) = self.slot_of(sequence) else { continue };
            if live.is_empty() || named.contains(&id) {
                continue;
            }
            let count = live.len();
            let more = if full { "; there may be more like it than are counted" } else { "" };
            let what = format!(
                "message {id} had {count} recipients left and its record is gone: it cannot be delivered{more}"
            );
            self.damage(slot, offset.into(), Some(id), what);
        }
    }

    fn damaged_record(&mut self, found: &Found, bytes: &[u8], offset: u32) {
        let (slot, kind) = (found.slot, bytes[0]);
        let lists_state = [Kind::Census, Kind::PartialCensus].iter().any(|of| *of as u8 == kind);
        let tells_state = lists_state || Kind::is_outcome(kind);
        let (message, what) = if tells_state {
            (None, "what became of some mail is forgotten, it may be delivered again".to_owned())
        } else if kind == Kind::Chunk as u8 {
            (None, "a piece of a body is lost; the message it is of is named when it is sent".to_owned())
        } else {
            // What the record itself says, if it can be read at all: one that moved has the id of where it was born.
            let lane = self.shape.birthplace.lane;
            let claimed = record::claimed_id(bytes).filter(|id| id.lane == lane);
            let id = claimed.unwrap_or(MessageId { lane, sequence: found.header.sequence, offset });
            (Some(id), format!("message {id} cannot be delivered from there; its bytes are kept"))
        };
        self.damage(slot, offset.into(), message, format!("the record at {offset} is damaged: {what}"));
    }
}
