//! Moves: whatever a crash leaves of them, a message is there once, as it was; and the disk stays near what is live.

use std::collections::HashMap;

use super::*;
use crate::limits;
use crate::spool::batch::Moved;
use crate::spool::compact::Candidate;

/// What is live of a recipient: attempts, next, reply.
type Live = Option<(u16, u32, String)>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    body: (usize, u32),
    recipients: Vec<Live>,
}

type Model = BTreeMap<String, Known>;

/// A lane, what it should hold, and those who read in it.
struct Story {
    bench: Bench,
    model: Model,
    /// Key and location as they were handed out, by sender.
    told: BTreeMap<String, (u32, Location)>,
    /// Attempts under way: sender, and where they read.
    readers: Vec<(String, Location)>,
    random: u64,
    born: u32,
    moves: usize,
    /// A commit failed, and no header came after it.
    failed: bool,
}

impl Story {
    fn new(seed: u64) -> Story {
        Story {
            bench: Bench::new(),
            model: Model::new(),
            told: BTreeMap::new(),
            readers: Vec::new(),
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            born: 0,
            moves: 0,
            failed: false,
        }
    }

    fn random(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn new_message(&mut self, recipients: u16, length: usize) -> NewMessage {
        self.born += 1;
        let fill = self.born.to_le_bytes();
        let body = (0..length).map(|at| fill[at % 4]).collect();
        message(&format!("m{}@x.example", self.born), recipients, body)
    }

    fn apply(model: &mut Model, told: &mut BTreeMap<String, (u32, Location)>, done: &Done, bench: &Bench) {
        match done {
            Done::Message { key, location, message, .. } => {
                let sender = String::from_utf8(message.envelope.sender.clone()).unwrap();
                let mut body = Vec::new();
                for chunk in &message.chunks {
                    body.extend_from_slice(&bench.piece(chunk));
                }
                body.extend_from_slice(&message.body);
                let recipients = vec![Some((0, 0, String::new())); message.envelope.recipients.len()];
                model.insert(sender.clone(), Known { body: (body.len(), crc32c::crc32c(&body)), recipients });
                told.insert(sender, (*key, *location));
            }
            Done::Outcome { outcome, .. } => {
                let called =
                    |(_, told): &(&String, &(u32, Location))| **told == (outcome.key, outcome.location);
                let Some((sender, _)) = told.iter().find(called) else { return };
                let sender = sender.clone();
                let known = model.get_mut(&sender).unwrap();
                for place in outcome.first..outcome.first + outcome.count {
                    let recipient = &mut known.recipients[usize::from(place)];
                    *recipient = match (&outcome.fate, &recipient) {
                        (Fate::Deferred { attempts, next, reply }, Some(_)) => {
                            Some((*attempts, *next, reply.to_string()))
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
    fn found(bench: &Bench, lane: &Lane) -> (Model, BTreeMap<String, (u32, Location)>) {
        let (mut model, mut told) = (Model::new(), BTreeMap::new());
        for (key, entry) in lane.entries() {
            let (sender, body) = bench.read(lane, key);
            let sender = String::from_utf8(sender).unwrap();
            let mut recipients = vec![None; usize::from(entry.total)];
            for range in entry.live() {
                for place in range.first..range.first + range.count {
                    let reply = lane.reply(range.reply).to_owned();
                    recipients[usize::from(place)] = Some((range.attempts, range.next, reply));
                }
            }
            let location = Location { lane: 3, slot: entry.slot, offset: entry.offset };
            told.insert(sender.clone(), (key, location));
            let known = Known { body: (body.len(), crc32c::crc32c(&body)), recipients };
            assert!(model.insert(sender.clone(), known).is_none(), "{sender} is there twice");
        }
        (model, told)
    }

    fn queue_message(&mut self) {
        let recipients = self.random(4) as u16 + 1;
        let length = if self.random(4) == 0 { self.random(250_000) } else { self.random(20_000) } as usize;
        let mut new = self.new_message(recipients, length);
        if self.random(12) == 0 {
            // A large one: most of it is stored in pieces, among other mail.
            for number in 0..self.random(4) + 1 {
                let piece = vec![number as u8; self.random(200_000) as usize + 50_000];
                new.size += piece.len() as u64;
                self.bench.queue.push_back((Item::Chunk(piece), 0));
                for done in self.commit() {
                    if let Done::Chunk(extent) = done {
                        new.chunks.push(*extent.get());
                    }
                }
            }
        }
        self.bench.queue.push_back((Item::Message(new), 0));
    }

    fn queue_outcome(&mut self, keep: bool) {
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
        let fate = if keep || (old && self.random(8) > 0) {
            let attempts = self.random(9) as u16 + 1;
            Fate::Deferred { attempts, next: self.random(99) as u32, reply: format!("451 {attempts}").into() }
        } else {
            Fate::Delivered
        };
        self.bench.queue.push_back((Item::Outcome(Outcome { key, location, first, count, fate }), 0));
    }

    /// Commits what is queued; nothing fails.
    fn commit(&mut self) -> Vec<Done> {
        let mut all = Vec::new();
        while let Some(batch) = self.bench.begin() {
            self.bench.append(&batch);
            all.extend(self.durable(batch));
            self.bench.housekeep();
        }
        all
    }

    fn durable(&mut self, batch: Batch<u32>) -> Vec<Done> {
        let mut all = Vec::new();
        self.bench.lane.done(batch, Synced::pretended(), |_, done, _| all.push(done));
        for done in &all {
            Story::apply(&mut self.model, &mut self.told, done, &self.bench);
            self.moves += usize::from(matches!(done, Done::Moved { to: Some(_), .. }));
        }
        all
    }

    /// The node dies while this batch is written: of its sectors some are on disk. Another life begins.
    fn crash(&mut self, batch: Batch<u32>) {
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
    fn read(&mut self) {
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

    fn leave(&mut self) {
        for slot in self.bench.lane.leaving() {
            if !self.readers.iter().any(|(_, location)| location.slot == slot) {
                self.bench.lane.left(slot);
            }
        }
        self.bench.housekeep();
    }

    /// Reads some messages that are to move and queues them, as the shard does.
    fn compact(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let Some(candidate) = self.bench.lane.compaction_next() else { return false };
            self.queue_move(candidate);
        }
        true
    }

    fn queue_move(&mut self, candidate: Candidate) {
        let payload = self.bench.payload_at(candidate.location);
        let view = MessageView::parse(&payload).unwrap();
        let (mut pieces, mut fresh, mut body) = (Vec::new(), Vec::new(), Vec::new());
        let whole = self.bench.lane.compaction_takes_whole(&candidate, view.extents());
        for extent in view.extents() {
            let bytes = self.bench.piece(&extent);
            if whole {
                body.extend_from_slice(&bytes);
            } else if self.bench.lane.compaction_takes(&extent) {
                self.bench.queue.push_front((Item::Piece(bytes), 99));
                let batch = self.bench.begin().unwrap();
                self.bench.append(&batch);
                for done in self.durable(batch) {
                    if let Done::Chunk(extent) = done {
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
        self.bench.queue.push_front((Item::Move(moved), 0));
    }

    /// Compacts until nothing is left to do, with nobody reading.
    fn settle_down(&mut self) {
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

    fn assert_bound(&self) {
        let lane = &self.bench.lane;
        let (exist, free) = lane.segments();
        let used = (exist - free) as u64 * SIZE;
        // The slack of two and the open one.
        let bound = lane.live_bytes() * 2 + 3 * SIZE;
        assert!(used <= bound, "{used} bytes for {} live ones", lane.live_bytes());
    }

    fn assert_refolds(&self) {
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

fn difference(found: &Model, expected: &Model) -> String {
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
    fn piece(&self, extent: &Extent) -> Vec<u8> {
        let files = self.disk.0.borrow();
        let piece = files[&extent.slot][extent.offset as usize..][..extent.length as usize].to_vec();
        assert_eq!(crc32c::crc32c(&piece), extent.crc);
        piece
    }

    fn payload_at(&self, location: Location) -> Vec<u8> {
        let files = self.disk.0.borrow();
        let bytes = &files[&location.slot][location.offset as usize..];
        record::read_known(bytes, u64::from(location.offset)).unwrap().payload.to_vec()
    }

    fn read_at(&self, location: Location) -> (Vec<u8>, Vec<u8>) {
        let payload = self.payload_at(location);
        let view = MessageView::parse(&payload).unwrap();
        let body = view.extents().flat_map(|extent| self.piece(&extent)).collect();
        (view.sender.to_vec(), body)
    }
}

#[test]
fn random_histories_survive_moves_and_crashes() {
    let mut moves = 0;
    for seed in 1..=16u64 {
        let mut story = Story::new(seed);
        let mut under_way = false;
        let (mut crashes, mut failures) = (0, 0);
        for step in 0..260 {
            for _ in 0..story.random(4) {
                story.queue_message();
            }
            for _ in 0..story.random(6) {
                let keep = story.random(10) == 0;
                story.queue_outcome(keep);
            }
            story.read();
            // A compaction goes on over many commits.
            if !under_way && story.bench.lane.compaction_begin() {
                while !story.bench.lane.compaction_scan(37) {}
                under_way = true;
            }
            if under_way {
                let most = story.random(5) as usize;
                if !story.compact(most) {
                    story.commit();
                    story.bench.lane.compaction_end();
                    under_way = false;
                }
            }
            match (story.random(14), story.bench.begin()) {
                (_, None) => {}
                (0, Some(batch)) => {
                    story.crash(batch);
                    under_way = false;
                    crashes += 1;
                }
                (1, Some(batch)) if failures < 3 => {
                    // Written, but the sync failed.
                    story.bench.append(&batch);
                    failures += 1;
                    story.failed = true;
                    for (item, ticket) in story.bench.lane.failed(batch).into_iter().rev() {
                        match item {
                            Item::Message(message) => story.bench.lane.drop_chunks(&message.chunks),
                            item => story.bench.queue.push_front((item, ticket)),
                        }
                    }
                }
                (_, Some(batch)) => {
                    story.bench.append(&batch);
                    story.durable(batch);
                    story.failed = false;
                    story.bench.housekeep();
                }
            }
            story.leave();
            if step % 65 == 64 {
                story.commit();
                story.assert_refolds();
            }
        }
        assert!(crashes > 0, "seed {seed}");
        // Segments of failed commits serve again after a start.
        story.commit();
        story.assert_refolds();
        story.bench.lane = story.bench.refold().lane;
        story.told = Story::found(&story.bench, &story.bench.lane).1;
        story.settle_down();
        story.assert_bound();
        story.assert_refolds();
        moves += story.moves;
    }
    assert!(moves > 500, "only {moves} moves");
}

#[test]
fn one_old_message_a_segment_does_not_hold_the_segments() {
    let mut story = Story::new(1);
    let mut files = 0;
    for round in 0..60u32 {
        // A segment's worth of mail that is delivered at once, and one message that is deferred again and again.
        let old = story.new_message(2, 10_000);
        story.bench.queue.push_back((Item::Message(old), 0));
        story.commit();
        for _ in 0..22 {
            let new = story.new_message(1, 200_000);
            let sender = String::from_utf8(new.envelope.sender.clone()).unwrap();
            story.bench.queue.push_back((Item::Message(new), 0));
            story.commit();
            let (key, location) = story.told[&sender];
            let outcome = Outcome { key, location, first: 0, count: 1, fate: Fate::Delivered };
            story.bench.queue.push_back((Item::Outcome(outcome), 0));
        }
        for (key, location) in story.told.values() {
            let fate = Fate::Deferred { attempts: 3, next: round, reply: "451 4.3.2 later".into() };
            let outcome = Outcome { key: *key, location: *location, first: 0, count: 1, fate };
            story.bench.queue.push_back((Item::Outcome(outcome), 0));
        }
        story.commit();
        story.settle_down();
        story.assert_bound();
        files = files.max(story.bench.lane.segments().0);
        if round % 7 == 0 {
            story.assert_refolds();
            story.bench.lane = story.bench.refold().lane;
            story.told = Story::found(&story.bench, &story.bench.lane).1;
            story.bench.housekeep();
        }
    }
    assert_eq!(story.model.len(), 60);
    assert!(story.moves >= 57, "{} moves", story.moves);
    // The slack and the open one, two of a round, and what the pool is filled up to.
    assert!(files <= 3 + 2 + limits::SEGMENTS_RESERVED + 2, "{files} files for a megabyte");
    story.assert_refolds();
}

#[test]
fn an_outcome_for_the_old_place_settles_a_moved_message() {
    let mut story = Story::new(3);
    let old = story.new_message(3, 5_000);
    story.bench.queue.push_back((Item::Message(old), 0));
    story.commit();
    let (key, location) = story.told["m1@x.example"];
    fill(&mut story, 4);
    // The outcome is under way while the message moves: in the queue before the move, and in the same commit.
    let one = Outcome { key, location, first: 0, count: 1, fate: Fate::Delivered };
    story.bench.queue.push_back((Item::Outcome(one), 0));
    assert!(story.bench.lane.compaction_begin());
    while !story.bench.lane.compaction_scan(10) {}
    let candidate = story.bench.lane.compaction_next().unwrap();
    assert_eq!((candidate.key, candidate.location), (key, location));
    story.queue_move(candidate);
    assert_eq!(story.bench.queue.len(), 2);
    story.commit();
    story.bench.lane.compaction_end();
    assert_eq!(story.moves, 1);
    let entry = story.bench.lane.entry(key).unwrap();
    assert_ne!((entry.slot, entry.offset), (location.slot, location.offset));
    story.assert_refolds();
    // Somebody still reads at the old place: the segment stays.
    let free = story.bench.lane.segments().1;
    story.bench.housekeep();
    assert_eq!(story.bench.lane.segments().1, free);
    assert_eq!(story.bench.read_at(location).1.len(), 5_000);
    // Outcomes that name the old place still count, and a fold knows them under the name of the birth.
    let two = Outcome { key, location, first: 1, count: 1, fate: Fate::Delivered };
    story.bench.queue.push_back((Item::Outcome(two), 0));
    story.commit();
    story.assert_refolds();
    assert_eq!(story.bench.lane.leaving().into_iter().collect::<Vec<_>>(), [location.slot]);
    story.leave();
    assert!(story.bench.lane.segments().1 > free, "free now");
    story.assert_refolds();
    let three = Outcome { key, location, first: 2, count: 1, fate: Fate::Delivered };
    story.bench.queue.push_back((Item::Outcome(three), 0));
    story.commit();
    assert!(!story.model.contains_key("m1@x.example"));
    assert_eq!(story.bench.lane.messages(), story.model.len());
    story.assert_refolds();
}

/// Segments full of mail that is delivered at once.
fn fill(story: &mut Story, segments: usize) {
    let start = story.bench.lane.next_sequence;
    while story.bench.lane.next_sequence < start + segments as u32 {
        let new = story.new_message(1, 200_000);
        let sender = String::from_utf8(new.envelope.sender.clone()).unwrap();
        story.bench.queue.push_back((Item::Message(new), 0));
        story.commit();
        let (key, location) = story.told[&sender];
        if story.bench.lane.next_sequence > start {
            let keep = story.new_message(1, 1_000);
            story.bench.queue.push_back((Item::Message(keep), 0));
        }
        story.bench.queue.push_back((
            Item::Outcome(Outcome { key, location, first: 0, count: 1, fate: Fate::Delivered }),
            0,
        ));
        story.commit();
    }
}

#[test]
fn a_move_of_a_message_that_is_settled_meanwhile_writes_nothing() {
    let mut story = Story::new(4);
    let old = story.new_message(1, 5_000);
    story.bench.queue.push_back((Item::Message(old), 0));
    story.commit();
    let (key, location) = story.told["m1@x.example"];
    fill(&mut story, 4);
    assert!(story.bench.lane.compaction_begin());
    while !story.bench.lane.compaction_scan(10) {}
    let candidate = story.bench.lane.compaction_next().unwrap();
    let outcome = Outcome { key, location, first: 0, count: 1, fate: Fate::Delivered };
    story.bench.queue.push_back((Item::Outcome(outcome), 0));
    let payload = story.bench.payload_at(candidate.location);
    story.commit();
    assert!(!story.bench.lane.is_still(&candidate));
    let moved = Moved::new((key, location, candidate.sequence), &payload, vec![], vec![], vec![7; 5_000]);
    story.bench.queue.push_back((Item::Move(moved.unwrap()), 0));
    let done = story.commit();
    assert!(matches!(done[..], [Done::Moved { to: None, .. }]), "{done:?}");
    story.assert_refolds();
}

#[test]
fn a_large_message_leaves_a_sparse_segment_piece_by_piece() {
    let mut story = Story::new(5);
    let mut large = story.new_message(1, 30_000);
    let sender = String::from_utf8(large.envelope.sender.clone()).unwrap();
    for number in 0..4u8 {
        story.bench.queue.push_back((Item::Chunk(vec![number; 240_000]), 0));
        for done in story.commit() {
            if let Done::Chunk(extent) = done {
                large.size += u64::from(extent.get().length);
                large.chunks.push(*extent.get());
            }
        }
        fill(&mut story, 2);
    }
    story.bench.queue.push_back((Item::Message(large), 0));
    story.commit();
    fill(&mut story, 2);
    let (used, known) = (story.bench.lane.segments(), story.model[&sender].clone());
    story.settle_down();
    story.assert_bound();
    assert!(story.bench.lane.segments().1 > used.1);
    story.assert_refolds();
    assert_eq!(story.model[&sender], known);
    let (key, _) = story.told[&sender];
    assert_eq!(story.bench.read(&story.bench.lane, key).1.len(), known.body.0);
}

#[test]
fn many_deferrals_of_a_full_segment_do_not_hold_all_later_ones() {
    let mut story = Story::new(6);
    // A segment whose census would be too large: many recipients with a history of their own.
    let mut keys = HashMap::new();
    for _ in 0..6 {
        let new = story.new_message(900, 400_000);
        let sender = String::from_utf8(new.envelope.sender.clone()).unwrap();
        story.bench.queue.push_back((Item::Message(new), 0));
        story.commit();
        keys.insert(sender.clone(), story.told[&sender]);
    }
    let mut files = 0;
    for round in 0..24u32 {
        for (number, (key, location)) in keys.values().enumerate() {
            for first in 0..900u16 {
                let reply = format!("451 4.7.{number} {}", "x".repeat(300)).into();
                let fate = Fate::Deferred { attempts: first, next: round, reply };
                let outcome = Outcome { key: *key, location: *location, first, count: 1, fate };
                story.bench.queue.push_back((Item::Outcome(outcome), 0));
            }
        }
        story.commit();
        story.settle_down();
        files = files.max(story.bench.lane.segments().0);
    }
    // 24 rounds are 46 MB of outcomes for 2.8 MB of mail.
    assert!(files <= 12, "{files} files");
    story.assert_refolds();
}
