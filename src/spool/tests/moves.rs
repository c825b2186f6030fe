//! Moves: whatever a crash leaves of them, a message is there once, as it was; and the disk stays near what is live.

mod story;

use std::collections::HashMap;

use super::*;
use crate::id::MessageId;
use crate::limits;
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::spool::batch::Moved;
use crate::spool::inspect::{self, RecipientState};
use story::Story;

#[test]
fn random_histories_survive_moves_and_crashes() {
    let mut moves = 0;
    for seed in 1..=10u64 {
        let mut story = Story::new(seed);
        let mut under_way = false;
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
            under_way &= story.write();
            story.leave();
            if step % 65 == 64 {
                story.commit();
                story.assert_refolds();
            }
        }
        assert!(story.crashes > 0, "seed {seed}");
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
    assert!(moves > 300, "only {moves} moves");
}

#[test]
fn one_old_message_a_segment_does_not_hold_the_segments() {
    let mut story = Story::new(1);
    let mut files = 0;
    for round in 0..60u32 {
        // A segment's worth of mail that is delivered at once, and one message that is deferred again and again.
        let old = story.new_message(2, 10_000);
        story.bench.queue.push_back(Item::Message(old, ()));
        story.commit();
        for _ in 0..22 {
            let new = story.new_message(1, 200_000);
            let sender = String::from_utf8(new.envelope.sender.clone()).unwrap();
            story.bench.queue.push_back(Item::Message(new, ()));
            story.commit();
            let (key, location) = story.told[&sender];
            let outcome = Outcome { key, location, first: 0, count: 1, disposition: Stored::Delivered };
            story.bench.queue.push_back(Item::Outcome(outcome, ()));
        }
        for (key, location) in story.told.values() {
            let disposition = Stored::Deferred(StoredDeferral {
                attempts: 3,
                next: round,
                reply: "451 4.3.2 later".into(),
                late: round == 1,
            });
            let outcome = Outcome { key: *key, location: *location, first: 0, count: 1, disposition };
            story.bench.queue.push_back(Item::Outcome(outcome, ()));
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
    story.bench.queue.push_back(Item::Message(old, ()));
    story.commit();
    let (key, location) = story.told["m1@x.example"];
    let sequence = story.bench.lane.segment(location.slot).unwrap().1;
    let id = MessageId { lane: LANE_ORIGIN.lane, sequence, offset: location.offset };
    fill(&mut story, 4);
    // The outcome is under way while the message moves: in the queue before the move, and in the same commit.
    let one = Outcome { key, location, first: 0, count: 1, disposition: Stored::Delivered };
    story.bench.queue.push_back(Item::Outcome(one, ()));
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
    let place = (entry.slot, entry.offset);
    story.assert_refolds();
    // Who looks for it by its id finds it where it lies now.
    assert_looks(&story, id, place, 1);
    // Somebody still reads at the old place: the segment stays.
    let free = story.bench.lane.segments().1;
    story.bench.housekeep();
    assert_eq!(story.bench.lane.segments().1, free);
    assert_eq!(story.bench.read_at(location).1.len(), 5_000);
    // Outcomes that name the old place still count, and a fold knows them under the name of the origin.
    let two = Outcome { key, location, first: 1, count: 1, disposition: Stored::Delivered };
    story.bench.queue.push_back(Item::Outcome(two, ()));
    story.commit();
    story.assert_refolds();
    assert_eq!(story.bench.lane.leaving().into_iter().collect::<Vec<_>>(), [location.slot]);
    story.leave();
    assert!(story.bench.lane.segments().1 > free, "free now");
    story.assert_refolds();
    assert_looks(&story, id, place, 2);
    let three = Outcome { key, location, first: 2, count: 1, disposition: Stored::Delivered };
    story.bench.queue.push_back(Item::Outcome(three, ()));
    story.commit();
    assert!(!story.model.contains_key("m1@x.example"));
    assert_eq!(story.bench.lane.messages(), story.model.len());
    story.assert_refolds();
}

/// The message is found by its id at its new place, with so many recipients delivered, and nothing looks damaged.
fn assert_looks(story: &Story, id: MessageId, (slot, offset): (u16, u32), delivered: usize) {
    let survey = inspect::survey(&story.bench.disk, LANE_ORIGIN).unwrap();
    let placed = inspect::find(&story.bench.disk, &survey, id).unwrap().unwrap();
    assert_eq!((placed.slot, placed.offset), (slot, offset));
    let history = inspect::history(&story.bench.disk, &survey, id, 3);
    assert!(history.counts);
    let states = [
        vec![RecipientState::Known(Stored::Delivered); delivered],
        vec![RecipientState::Waiting; 3 - delivered],
    ];
    assert_eq!(history.recipients, states.concat());
    let report = inspect::verify(&story.bench.disk, SHAPE.lane, LANE_ORIGIN).unwrap();
    assert!(report.rot.is_empty(), "{:?}", report.rot);
}

/// Segments full of mail that is delivered at once.
fn fill(story: &mut Story, segments: usize) {
    let start = story.bench.lane.inner().next_sequence();
    while story.bench.lane.inner().next_sequence() < start + segments as u32 {
        let new = story.new_message(1, 200_000);
        let sender = String::from_utf8(new.envelope.sender.clone()).unwrap();
        story.bench.queue.push_back(Item::Message(new, ()));
        story.commit();
        let (key, location) = story.told[&sender];
        if story.bench.lane.inner().next_sequence() > start {
            let keep = story.new_message(1, 1_000);
            story.bench.queue.push_back(Item::Message(keep, ()));
        }
        let outcome = Outcome { key, location, first: 0, count: 1, disposition: Stored::Delivered };
        story.bench.queue.push_back(Item::Outcome(outcome, ()));
        story.commit();
    }
}

#[test]
fn an_outcome_before_a_move_is_not_lost_in_their_commit() {
    let mut story = Story::new(8);
    let old = story.new_message(2, 5_000);
    story.bench.queue.push_back(Item::Message(old, ()));
    story.commit();
    let (key, location) = story.told["m1@x.example"];
    fill(&mut story, 4);
    assert!(story.bench.lane.compaction_begin());
    while !story.bench.lane.compaction_scan(10) {}
    let candidate = story.bench.lane.compaction_next().unwrap();
    let one = Outcome { key, location, first: 0, count: 1, disposition: Stored::Delivered };
    story.queue_move(candidate);
    story.bench.queue.push_front(Item::Outcome(one, ()));
    story.commit();
    assert_eq!(story.moves, 1);
    story.assert_refolds();
}

#[test]
fn a_moved_message_that_is_gone_does_not_rise_from_its_old_place() {
    for restart in [false, true] {
        let mut story = Story::new(7);
        for _ in 0..2 {
            let old = story.new_message(1, 5_000);
            story.bench.queue.push_back(Item::Message(old, ()));
        }
        story.commit();
        fill(&mut story, 4);
        // One of two moves; the other keeps the old segment.
        assert!(story.bench.lane.compaction_begin());
        while !story.bench.lane.compaction_scan(10) {}
        let candidate = story.bench.lane.compaction_next().unwrap();
        story.queue_move(candidate);
        story.commit();
        story.bench.lane.compaction_end();
        story.leave();
        assert_eq!(story.moves, 1);
        if restart {
            story.bench.lane = story.bench.refold().lane;
            story.told = Story::found(&story.bench, &story.bench.lane).1;
        }
        assert_eq!(story.told["m2@x.example"].1.slot, candidate.location.slot);
        // Everything else is delivered, so that every later segment could be freed.
        for (sender, (key, location)) in story.told.clone() {
            if sender != "m2@x.example" {
                let outcome = Outcome { key, location, first: 0, count: 1, disposition: Stored::Delivered };
                story.bench.queue.push_back(Item::Outcome(outcome, ()));
            }
        }
        story.commit();
        for _ in 0..60 {
            let new = story.new_message(1, 200_000);
            let sender = String::from_utf8(new.envelope.sender.clone()).unwrap();
            story.bench.queue.push_back(Item::Message(new, ()));
            story.commit();
            let (key, location) = story.told[&sender];
            let outcome = Outcome { key, location, first: 0, count: 1, disposition: Stored::Delivered };
            story.bench.queue.push_back(Item::Outcome(outcome, ()));
            story.commit();
        }
        story.assert_refolds();
        assert_eq!(story.bench.lane.messages(), 1);
    }
}

#[test]
fn a_move_of_a_message_that_is_settled_meanwhile_writes_nothing() {
    let mut story = Story::new(4);
    let old = story.new_message(1, 5_000);
    story.bench.queue.push_back(Item::Message(old, ()));
    story.commit();
    let (key, location) = story.told["m1@x.example"];
    fill(&mut story, 4);
    assert!(story.bench.lane.compaction_begin());
    while !story.bench.lane.compaction_scan(10) {}
    let candidate = story.bench.lane.compaction_next().unwrap();
    let outcome = Outcome { key, location, first: 0, count: 1, disposition: Stored::Delivered };
    story.bench.queue.push_back(Item::Outcome(outcome, ()));
    let payload = story.bench.payload_at(candidate.location);
    story.commit();
    assert!(!story.bench.lane.is_still(&candidate));
    let moved = Moved::new((key, location, candidate.sequence), &payload, vec![], vec![], vec![7; 5_000]);
    story.bench.queue.push_back(Item::Move(moved.unwrap(), ()));
    let done = story.commit();
    assert!(matches!(done[..], [DurableItem::Moved { to: None, .. }]), "{done:?}");
    story.assert_refolds();
}

#[test]
fn a_large_message_leaves_a_sparse_segment_piece_by_piece() {
    let mut story = Story::new(5);
    let mut large = story.new_message(1, 30_000);
    let sender = String::from_utf8(large.envelope.sender.clone()).unwrap();
    for number in 0..4u8 {
        story.bench.queue.push_back(Item::Chunk(vec![number; 240_000], ()));
        for done in story.commit() {
            if let DurableItem::Chunk(extent, ()) = done {
                large.size += u64::from(extent.get().length);
                large.chunks.push(*extent.get());
            }
        }
        fill(&mut story, 2);
    }
    story.bench.queue.push_back(Item::Message(large, ()));
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
    // A segment whose snapshot would be too large: many recipients with a history of their own.
    let mut keys = HashMap::new();
    for _ in 0..6 {
        let new = story.new_message(900, 400_000);
        let sender = String::from_utf8(new.envelope.sender.clone()).unwrap();
        story.bench.queue.push_back(Item::Message(new, ()));
        story.commit();
        keys.insert(sender.clone(), story.told[&sender]);
    }
    let mut files = 0;
    for round in 0..24u32 {
        for (number, (key, location)) in keys.values().enumerate() {
            for first in 0..900u16 {
                let reply = format!("451 4.7.{number} {}", "x".repeat(300)).into();
                let disposition =
                    Stored::Deferred(StoredDeferral { attempts: first, next: round, reply, late: false });
                let outcome = Outcome { key: *key, location: *location, first, count: 1, disposition };
                story.bench.queue.push_back(Item::Outcome(outcome, ()));
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
