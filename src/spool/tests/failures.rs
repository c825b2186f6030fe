//! What failed commits leave on the disk never counts.

use super::*;
use crate::spool::segment::{Header, Life};

/// A commit that failed although all of it reached the disk stays void, also when the segment that was opened after it
/// could be recycled.
#[test]
fn a_failed_commit_stays_void_for_ever() {
    let mut bench = Bench::new();
    let one = bench.store(message("one@x.example", 1, b"1".to_vec()));
    bench.queue.push_back((Item::Message(message("void@x.example", 1, b"2".to_vec())), 0));
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    bench.lane.failed(batch);
    bench.housekeep();
    for round in 0..60u8 {
        let key = bench.store(message("a@x.example", 1, vec![round; 200_000]));
        bench.settle(key, 0, 1, Fate::Delivered);
        bench.commit();
        if round == 30 {
            // The same after a restart.
            bench.lane = bench.refold().lane;
            bench.housekeep();
        }
    }
    assert_eq!(bench.refold().lane.messages(), 1);
    bench.lane = bench.refold().lane;
    let (one, _) = bench
        .lane
        .entries()
        .find(|(_, entry)| entry.offset == bench.lane.entry(one).unwrap().offset)
        .unwrap();
    bench.settle(one, 0, 1, Fate::Delivered);
    bench.commit();
    bench.housekeep();
    assert_eq!(bench.refold().lane.messages(), 0);
}

/// Two commits fail in a row; of the second, everything reached the disk, or all but its segment's header.
#[test]
fn two_failed_commits_are_both_void() {
    for header in [true, false] {
        let mut bench = Bench::new();
        bench.store(message("one@x.example", 1, b"1".to_vec()));
        for number in 0..2 {
            bench.queue.push_back((Item::Message(message("void@x.example", 1, b"2".to_vec())), 0));
            let mut batch = bench.begin().unwrap();
            if number == 1 && !header {
                assert!(batch.header.take().is_some());
            }
            bench.append(&batch);
            bench.lane.failed(batch);
            bench.housekeep();
        }
        bench.store(message("three@x.example", 1, b"3".to_vec()));
        let folded = bench.refold();
        assert!(folded.damage.is_empty(), "{:?}", folded.damage);
        assert_eq!(state(&folded.lane), state(&bench.lane), "header written: {header}");
    }
}

/// A header that says *free* is believed when it was written and synced by this life of the process: before, the disk may have the
/// old one still, and everything that speaks about its segment must stay.
#[test]
fn a_segment_found_free_is_freed_again_before_its_outcomes_go() {
    let mut bench = Bench::new();
    let old = bench.store(message("old@x.example", 1, b"1".to_vec()));
    let home = bench.lane.entry(old).unwrap().slot;
    let fill = |bench: &mut Bench| {
        let full = bench.last.0;
        while bench.last.0 == full {
            let key = bench.store(message("a@x.example", 1, vec![0; 200_000]));
            bench.settle(key, 0, 1, Fate::Delivered);
            bench.commit();
        }
    };
    fill(&mut bench);
    // The next segment has an outcome about the first one, and nothing that is live.
    let teller = bench.last.0;
    bench.settle(old, 0, 1, Fate::Deferred { attempts: 1, next: 9, reply: "451 later".into() });
    bench.commit();
    fill(&mut bench);
    // What a process sees in memory whose sync of this header failed.
    let mut free = Header::decode(&bench.disk.read(home, 0, 4096).unwrap()).unwrap();
    free.life = Life::Free;
    bench.disk.write(home, 0, &free.encode());
    let mut lane = bench.refold().lane;
    let freed: Vec<u16> = std::iter::from_fn(|| lane.next_to_free().map(|(slot, _)| slot)).collect();
    assert!(freed.contains(&home) && !freed.contains(&teller), "{freed:?}, {home}, {teller}");
    lane.freed(home, Some(Synced::pretended()));
    // Now nobody needs to be told.
    assert_eq!(lane.next_to_free().map(|(slot, _)| slot), Some(teller));
}

/// What a start is to write again and sync before it vouches for it: the last commit.
#[test]
fn the_last_commit_is_named_to_be_secured() {
    let mut bench = Bench::new();
    assert_eq!(bench.refold().last, None);
    for body in [10, 20_000, 30] {
        bench.store(message("a@x.example", 1, vec![0; body]));
        let (slot, from, length) = bench.last;
        let tail = fold::Tail { slot, from, to: from + length as u32 };
        assert_eq!(bench.refold().last, Some(tail));
    }
    // A torn one behind it is none.
    let last = bench.refold().last;
    bench.queue.push_back((Item::Message(message("b@x.example", 1, vec![0; 10])), 0));
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    let (slot, offset, _) = bench.last;
    bench.disk.write(slot, offset + 60, &[0xFF; 8]);
    assert_eq!(bench.refold().last, last);
}

/// Writes and settles until the next segment begins.
fn fill(bench: &mut Bench) {
    let full = bench.last.0;
    while bench.last.0 == full {
        let key = bench.store(message("a@x.example", 1, vec![0; 200_000]));
        bench.settle(key, 0, 1, Fate::Delivered);
        bench.commit();
    }
}

/// The header that says where a commit failed must outlive that commit, which may be free in memory only.
#[test]
fn a_segment_found_free_keeps_the_one_that_states_its_end() {
    let mut bench = Bench::new();
    let old = bench.store(message("old@x.example", 1, b"1".to_vec()));
    let home = bench.last.0;
    bench.queue.push_back((Item::Message(message("void@x.example", 1, b"2".to_vec())), 0));
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    bench.lane.failed(batch);
    bench.housekeep();
    fill(&mut bench);
    let teller = bench.last.0;
    fill(&mut bench);
    bench.settle(old, 0, 1, Fate::Delivered);
    fill(&mut bench);
    let mut free = Header::decode(&bench.disk.read(home, 0, 4096).unwrap()).unwrap();
    let active = free.encode();
    free.life = Life::Free;
    bench.disk.write(home, 0, &free.encode());
    let mut lane = bench.refold().lane;
    while let Some((slot, block)) = lane.next_to_free() {
        // The sync of this one fails.
        let proof = (slot != home).then(Synced::pretended);
        if proof.is_some() {
            bench.disk.write(slot, 0, &block);
        }
        lane.freed(slot, proof);
    }
    assert_eq!(Header::decode(&bench.disk.read(teller, 0, 4096).unwrap()).unwrap().life, Life::Active);
    bench.disk.write(home, 0, &active);
    assert_eq!(bench.refold().lane.messages(), 0);
}

/// The same of a commit that was torn by the end of the machine, and of the header that is written first after it.
#[test]
fn what_was_torn_stays_void_while_its_segment_lives() {
    let mut bench = Bench::new();
    bench.store(message("old@x.example", 1, b"1".to_vec()));
    bench.queue.push_back((Item::Message(message("void@x.example", 1, b"2".to_vec())), 0));
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    let (slot, offset, _) = bench.last;
    // Its mark and half of its record.
    bench.disk.write(slot, offset + 100, &[0; 8]);
    let folded = bench.refold();
    assert_eq!((folded.torn, folded.lane.messages()), (1, 1));
    bench.lane = folded.lane;
    bench.housekeep();
    bench.last.0 = u16::MAX;
    for _ in 0..4 {
        fill(&mut bench);
    }
    let folded = bench.refold();
    assert!(folded.damage.is_empty(), "{:?}", folded.damage);
    assert_eq!(folded.lane.messages(), 1);
}
