//! A lane, a model of what it should hold, and crashes at any sector.

use super::super::*;
use crate::queue::outcome::{Hold, Stored, StoredDeferral};
use crate::spool::batch::Moved;
use crate::spool::compact::Candidate;

/// What is live of a recipient: attempts, next, reply.
pub(super) type ModelRecipient = Option<(u16, u32, String)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelMessage {
    pub(super) body: (usize, u32),
    pub(super) recipients: Vec<ModelRecipient>,
}

pub(super) type Model = BTreeMap<String, ModelMessage>;

/// A lane, what it should hold, and those who read in it.
pub(super) struct Story {
    pub(super) bench: Bench,
    pub(super) model: Model,
    /// Key and location as they were handed out, by sender.
    pub(super) told: BTreeMap<String, (u32, Location)>,
    /// Attempts under way: sender, and where they read.
    pub(super) readers: Vec<(String, Location)>,
    pub(super) random: u64,
    pub(super) born: u32,
    pub(super) moves: usize,
    /// A commit failed, and no header came after it.
    pub(super) failed: bool,
    pub(super) crashes: usize,
    pub(super) failures: usize,
}

impl Story {
    pub(super) fn new(seed: u64) -> Story {
        Story {
            bench: Bench::new(),
            model: Model::new(),
            told: BTreeMap::new(),
            readers: Vec::new(),
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            born: 0,
            moves: 0,
            failed: false,
            crashes: 0,
            failures: 0,
        }
    }

    pub(super) fn random(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    pub(super) fn new_message(&mut self, recipients: u16, length: usize) -> NewMessage {
        self.born += 1;
        let fill = self.born.to_le_bytes();
        let body = (0..length).map(|at| fill[at % 4]).collect();
        message(&format!("m{}@x.example", self.born), recipients, body)
    }

    pub(super) fn apply(
        model: &mut Model,
        told: &mut BTreeMap<String, (u32, Location)>,
        done: &DurableItem,
        bench: &Bench,
    ) {
        match done {
            DurableItem::Message(StoredMessage { key, location, message, .. }, ()) => {
                let sender = String::from_utf8(message.envelope.sender.clone()).unwrap();
                let mut body = Vec::new();
                for chunk in &message.chunks {
                    body.extend_from_slice(&bench.piece(chunk));
                }
                body.extend_from_slice(&message.body);
                let recipients = vec![Some((0, 0, String::new())); message.envelope.recipients.len()];
                model.insert(
                    sender.clone(),
                    ModelMessage { body: (body.len(), crc32c::crc32c(&body)), recipients },
                );
                told.insert(sender, (*key, *location));
            }
            DurableItem::Outcome { outcome, .. } => {
                let called =
                    |(_, told): &(&String, &(u32, Location))| **told == (outcome.key, outcome.location);
                let Some((sender, _)) = told.iter().find(called) else { return };
                let sender = sender.clone();
                let known = model.get_mut(&sender).unwrap();
                for place in outcome.first..outcome.first + outcome.count {
                    let recipient = &mut known.recipients[usize::from(place)];
                    *recipient = match (&outcome.disposition, &recipient) {
                        (Stored::Deferred(StoredDeferral { attempts, next, reply, late: _ }), Some(_)) => {
                            Some((*attempts, *next, reply.to_string()))
                        }
                        (Stored::Held(hold), Some((attempts, _, text))) => {
                            let said = text.split_once('\n').map_or(&**text, |(_, said)| said);
                            let words =
                                if hold.until > 0 { format!("{}\n", hold.words) } else { String::new() };
                            Some((*attempts, hold.until, words + said))
                        }
                        _ => None,
                    };
                }
                if known.recipients.iter().all(Option::is_none) {
                    model.remove(&sender);
                    told.remove(&sender);
                }
            }
            _ => {}
        }
    }

    /// What a lane holds, read from the disk.
    pub(super) fn found(bench: &Bench, lane: &Lane) -> (Model, BTreeMap<String, (u32, Location)>) {
        let (mut model, mut told) = (Model::new(), BTreeMap::new());
        for (key, entry) in lane.entries() {
            let (sender, body) = bench.read(lane, key);
            let sender = String::from_utf8(sender).unwrap();
            let mut recipients = vec![None; usize::from(entry.total)];
            for range in entry.live().iter() {
                for place in range.first..range.first + range.count {
                    let reply = lane.reply(range.reply).to_owned();
                    recipients[usize::from(place)] = Some((range.attempts, range.next, reply));
                }
            }
            let location = Location { lane: 3, slot: entry.slot, offset: entry.offset };
            told.insert(sender.clone(), (key, location));
            let known = ModelMessage { body: (body.len(), crc32c::crc32c(&body)), recipients };
            assert!(model.insert(sender.clone(), known).is_none(), "{sender} is there twice");
        }
        (model, told)
    }

    pub(super) fn queue_message(&mut self) {
        let recipients = self.random(4) as u16 + 1;
        let length = if self.random(4) == 0 { self.random(250_000) } else { self.random(20_000) } as usize;
        let mut new = self.new_message(recipients, length);
        if self.random(12) == 0 {
            // A large one: most of it is stored in pieces, among other mail.
            for number in 0..self.random(4) + 1 {
                let piece = vec![number as u8; self.random(200_000) as usize + 50_000];
                new.size += piece.len() as u64;
                self.bench.queue.push_back(Item::Chunk(piece, ()));
                for done in self.commit() {
                    if let DurableItem::Chunk(extent, ()) = done {
                        new.chunks.push(*extent.get());
                    }
                }
            }
        }
        self.bench.queue.push_back(Item::Message(new, ()));
    }

    pub(super) fn queue_outcome(&mut self, keep: bool) {
        if self.told.is_empty() {
            return;
        }
        let place = self.random(self.told.len() as u64) as usize;
        let (sender, (key, location)) = self.told.iter().nth(place).unwrap();
        let (key, location) = (*key, *location);
        // Every tenth message is one that nobody takes for long.
        let old = sender.contains("0@");
        let total = self.model[sender].recipients.len() as u16;
        let first = self.random(u64::from(total)) as u16;
        let count = if old { 1 } else { total - first };
        let first = if old { first } else { 0 };
        let count = if old { count } else { count.max(total) };
        let disposition = if old && self.random(4) == 0 {
            // An operator holds it, or lets it go.
            let until = self.random(3) as u32 * 70;
            Stored::Held(Box::new(Hold::new(until, &format!("by user {until}: no"))))
        } else if keep || (old && self.random(8) > 0) {
            let attempts = self.random(9) as u16 + 1;
            Stored::Deferred(StoredDeferral {
                attempts,
                next: self.random(99) as u32,
                reply: format!("451 {attempts}").into(),
                late: attempts == 2,
            })
        } else {
            Stored::Delivered
        };
        self.bench.queue.push_back(Item::Outcome(Outcome { key, location, first, count, disposition }, ()));
    }

    /// Commits what is queued; nothing fails.
    pub(super) fn commit(&mut self) -> Vec<DurableItem> {
        let mut all = Vec::new();
        while let Some(batch) = self.bench.begin() {
            self.bench.append(&batch);
            all.extend(self.durable(batch));
            self.bench.housekeep();
        }
        all
    }

    pub(super) fn durable(&mut self, batch: Batch) -> Vec<DurableItem> {
        let mut all = Vec::new();
        self.bench.lane.done(batch, Synced::pretended(), |_, done| all.push(done));
        for done in &all {
            Story::apply(&mut self.model, &mut self.told, done, &self.bench);
            self.moves += usize::from(matches!(done, DurableItem::Moved { to: Some(_), .. }));
        }
        all
    }

    /// Writes one commit, if there is one to write; most succeed. False: the node died of it.
    pub(super) fn write(&mut self) -> bool {
        let fortune = self.random(14);
        let Some(batch) = self.bench.begin() else { return true };
        if fortune == 0 {
            self.crash(batch);
            self.crashes += 1;
            return false;
        }
        self.bench.append(&batch);
        if fortune == 1 && self.failures < 3 {
            // Written, but the sync failed.
            self.failures += 1;
            self.failed = true;
            for item in self.bench.lane.failed(batch).into_iter().rev() {
                match item {
                    Item::Message(message, ()) => self.bench.lane.drop_chunks(&message.chunks),
                    item => self.bench.queue.push_front(item),
                }
            }
            return true;
        }
        self.durable(batch);
        self.failed = false;
        self.bench.housekeep();
        true
    }

    /// The node dies while this batch is written: of its sectors some are on disk. Another life begins.
    pub(super) fn crash(&mut self, batch: Batch) {
        let before = self.model.clone();
        let bytes: Vec<u8> = batch.parts().iter().flat_map(|part| part.to_vec()).collect();
        // Until the next header is written a failed commit may count after all, as one that was never answered.
        let header = self.random(8) > 0 || std::mem::take(&mut self.failed);
        if header && let Some(header) = &batch.header {
            self.bench.disk.write(batch.slot, 0, header);
        }
        let (slot, at) = (batch.slot, batch.offset);
        let cut = self.random(bytes.len() as u64 + 4096) as usize;
        let scattered = self.random(2) == 0;
        for (place, sector) in bytes.chunks(512).enumerate() {
            let start = place * 512;
            let kept = if scattered {
                if cut >= bytes.len() || self.random(16) > 0 { 512 } else { 0 }
            } else {
                cut.saturating_sub(start).min(512)
            };
            let kept = kept.min(sector.len());
            if header || batch.header.is_none() {
                self.bench.disk.write(slot, at + start as u32, &sector[..kept]);
            }
        }
        let whole = {
            let files = self.bench.disk.0.borrow();
            files[&slot][at as usize..at as usize + bytes.len()] == bytes[..]
                && (header || batch.header.is_none())
        };
        self.durable(batch);
        let folded = self.bench.refold();
        assert!(folded.damage.is_empty(), "{:?}", folded.damage);
        let (found, told) = Story::found(&self.bench, &folded.lane);
        // Where only padding is lost, the commit counts; otherwise all of it is gone or none.
        if found != self.model {
            let (one, other) = (difference(&found, &before), difference(&found, &self.model));
            assert!(!whole && found == before, "whole {whole}; before: {one}; after: {other}");
            self.model = before;
        }
        self.bench.lane = folded.lane;
        self.bench.queue.clear();
        self.told = told;
        self.readers.clear();
        self.bench.housekeep();
    }

    /// Attempts begin and end; none sees anything but its own message.
    pub(super) fn read(&mut self) {
        if self.random(2) == 0 && !self.told.is_empty() {
            let place = self.random(self.told.len() as u64) as usize;
            let (sender, (key, _)) = self.told.iter().nth(place).unwrap();
            let entry = self.bench.lane.entry(*key).unwrap();
            let location = Location { lane: 3, slot: entry.slot, offset: entry.offset };
            self.readers.push((sender.clone(), location));
        }
        if self.readers.len() > 6 {
            let place = self.random(self.readers.len() as u64) as usize;
            let (sender, location) = self.readers.swap_remove(place);
            // A settled message's place may be anything by now: nobody attempts one.
            let Some(known) = self.model.get(&sender) else { return };
            let (name, body) = self.bench.read_at(location);
            assert_eq!(name, sender.as_bytes());
            assert_eq!((body.len(), crc32c::crc32c(&body)), known.body);
        }
    }

    pub(super) fn leave(&mut self) {
        for slot in self.bench.lane.leaving() {
            if !self.readers.iter().any(|(_, location)| location.slot == slot) {
                self.bench.lane.left(slot);
            }
        }
        self.bench.housekeep();
    }

    /// Reads some messages that are to move and queues them, as the shard does.
    pub(super) fn compact(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let Some(candidate) = self.bench.lane.compaction_next() else { return false };
            self.queue_move(candidate);
        }
        true
    }

    pub(super) fn queue_move(&mut self, candidate: Candidate) {
        let payload = self.bench.payload_at(candidate.location);
        let view = MessageView::parse(&payload).unwrap();
        let (mut pieces, mut fresh, mut body) = (Vec::new(), Vec::new(), Vec::new());
        let whole = self.bench.lane.compaction_takes_whole(&candidate, view.extents());
        for extent in view.extents() {
            let bytes = self.bench.piece(&extent);
            if whole {
                body.extend_from_slice(&bytes);
            } else if self.bench.lane.compaction_takes(&extent) {
                self.bench.queue.push_front(Item::Piece(bytes, ()));
                let batch = self.bench.begin().unwrap();
                self.bench.append(&batch);
                for done in self.durable(batch) {
                    if let DurableItem::Piece(extent, ()) = done {
                        pieces.push(*extent.get());
                        fresh.push(*extent.get());
                    }
                }
            } else {
                pieces.push(extent);
            }
        }
        let Candidate { key, location, sequence } = candidate;
        let moved = Moved::new((key, location, sequence), &payload, pieces, fresh, body).unwrap();
        self.bench.queue.push_front(Item::Move(moved, ()));
    }

    /// Compacts until nothing is left to do, with nobody reading.
    pub(super) fn settle_down(&mut self) {
        self.readers.clear();
        self.leave();
        self.commit();
        while self.bench.lane.compaction_begin() {
            while !self.bench.lane.compaction_scan(100) {}
            while self.compact(50) {
                self.commit();
            }
            self.commit();
            self.bench.lane.compaction_end();
            self.leave();
            self.commit();
        }
        self.bench.housekeep();
        self.commit();
    }

    pub(super) fn assert_bound(&self) {
        let lane = &self.bench.lane;
        let (exist, free) = lane.segments();
        let used = (exist - free) as u64 * SIZE;
        // The slack of two and the open one.
        let bound = lane.live_bytes() * 2 + 3 * SIZE;
        assert!(used <= bound, "{used} bytes for {} live ones", lane.live_bytes());
    }

    pub(super) fn assert_refolds(&self) {
        let folded = self.bench.refold();
        assert!(folded.damage.is_empty(), "{:?}", folded.damage);
        let (found, _) = Story::found(&self.bench, &folded.lane);
        assert!(found == self.model, "{}", difference(&found, &self.model));
        assert_eq!(
            folded.lane.live_bytes(),
            self.bench.lane.live_bytes(),
            "live bytes are the same after a fold"
        );
    }
}

pub(super) fn difference(found: &Model, expected: &Model) -> String {
    let lost: Vec<_> = expected.keys().filter(|sender| !found.contains_key(*sender)).collect();
    let risen: Vec<_> = found.keys().filter(|sender| !expected.contains_key(*sender)).collect();
    let changed: Vec<_> = found
        .iter()
        .filter_map(|(sender, known)| {
            Some((sender, known, expected.get(sender).filter(|other| *other != known)?))
        })
        .collect();
    format!("lost {lost:?}, risen {risen:?}, changed {changed:?}")
}

impl Bench {
    pub(super) fn piece(&self, extent: &Extent) -> Vec<u8> {
        let files = self.disk.0.borrow();
        let piece = files[&extent.slot][extent.offset as usize..][..extent.length as usize].to_vec();
        assert_eq!(crc32c::crc32c(&piece), extent.crc);
        piece
    }

    pub(in crate::spool::tests) fn payload_at(&self, location: Location) -> Vec<u8> {
        let files = self.disk.0.borrow();
        let bytes = &files[&location.slot][location.offset as usize..];
        record::read_known(bytes, u64::from(location.offset)).unwrap().payload.to_vec()
    }

    pub(super) fn read_at(&self, location: Location) -> (Vec<u8>, Vec<u8>) {
        let payload = self.payload_at(location);
        let view = MessageView::parse(&payload).unwrap();
        let body = view.extents().flat_map(|extent| self.piece(&extent)).collect();
        (view.sender.to_vec(), body)
    }
}
