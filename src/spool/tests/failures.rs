//! What failed commits leave on the disk never counts.

use super::*;
use crate::queue::outcome::Stored;
use crate::spool::batch::Snapshot;
use crate::spool::segment::{Header, Life};

/// A commit that failed although all of it reached the disk stays void, also when the segment that was opened after it
/// could be recycled.
#[test]
fn a_failed_commit_stays_void_for_ever() {
    let mut bench = Bench::new();
    let one = bench.store(message("one@x.example", 1, b"1".to_vec()));
    bench.queue.push_back(Item::Message(message("void@x.example", 1, b"2".to_vec()), ()));
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    bench.lane.failed(batch);
    bench.housekeep();
    for round in 0..60u8 {
        let key = bench.store(message("a@x.example", 1, vec![round; 200_000]));
        bench.settle(key, 0, 1, Stored::Delivered);
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
    bench.settle(one, 0, 1, Stored::Delivered);
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
            bench.queue.push_back(Item::Message(message("void@x.example", 1, b"2".to_vec()), ()));
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

/// A header that says *free* may stand in memory only: it is named, to be written again before anything else is.
#[test]
fn a_segment_found_free_is_to_be_secured() {
    let mut bench = Bench::new();
    let old = bench.store(message("old@x.example", 1, b"1".to_vec()));
    let home = bench.last.0;
    bench.settle(old, 0, 1, Stored::Delivered);
    assert!(bench.refold().unsure.free.is_empty());
    fill(&mut bench);
    fill(&mut bench);
    let life = Header::decode(&bench.disk.read(home, 0, 4096).unwrap()).unwrap().life;
    assert_eq!(life, Life::Free);
    let mut folded = bench.refold();
    assert!(folded.unsure.free.contains(&home), "{:?}", folded.unsure);
    assert!(folded.lane.inner().is_in_pool(home), "it is used again afterwards");
}

/// What a start is to write again and sync before it vouches for it: the last commit.
#[test]
fn the_last_commit_is_named_to_be_secured() {
    let mut bench = Bench::new();
    assert_eq!(bench.refold().unsure.last, None);
    for body in [10, 20_000, 30] {
        bench.store(message("a@x.example", 1, vec![0; body]));
        let (slot, from, length) = bench.last;
        let crc = Some(crc32c::crc32c(&bench.disk.read(slot, from.into(), length).unwrap()));
        let tail = fold::Tail { slot, from, to: from + length as u32, crc };
        assert_eq!(bench.refold().unsure.last, Some(tail));
    }
    // A torn one behind it is none.
    let last = bench.refold().unsure.last;
    bench.queue.push_back(Item::Message(message("b@x.example", 1, vec![0; 10]), ()));
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    let (slot, offset, _) = bench.last;
    bench.disk.write(slot, offset + 60, &[0xFF; 8]);
    assert_eq!(bench.refold().unsure.last, last);
}

/// Writes and settles until the next segment begins.
fn fill(bench: &mut Bench) {
    let full = bench.last.0;
    while bench.last.0 == full {
        let key = bench.store(message("a@x.example", 1, vec![0; 200_000]));
        bench.settle(key, 0, 1, Stored::Delivered);
        bench.commit();
    }
}

/// The header that states where a commit failed must outlive it, and any later one may be the only one that is on the disk.
#[test]
fn every_later_header_keeps_what_failed_void() {
    let mut bench = Bench::new();
    bench.store(message("old@x.example", 1, b"1".to_vec()));
    let home = bench.last.0;
    let fail = |bench: &mut Bench, whole: bool| {
        bench.queue.push_back(Item::Message(message("void@x.example", 1, b"2".to_vec()), ()));
        let batch = bench.begin().unwrap();
        if whole {
            bench.append(&batch);
        } else if let Some(header) = &batch.header {
            bench.disk.write(batch.slot, 0, header);
        }
        let slot = batch.slot;
        bench.lane.failed(batch);
        bench.housekeep();
        slot
    };
    fail(&mut bench, true);
    // Of this one there is nothing but a header, and that in memory only.
    let header_only = fail(&mut bench, false);
    fill(&mut bench);
    bench.lane = bench.refold().lane;
    bench.housekeep();
    bench.last.0 = u16::MAX;
    (0..4).for_each(|_| fill(&mut bench));
    bench.disk.write(header_only, 0, &[0; 64]);
    let folded = bench.refold();
    assert_eq!(folded.lane.messages(), 1, "the message in {home} alone; {:?}", folded.damage);
}

/// A snapshot that waited while its segment was freed and used again says nothing.
#[test]
fn a_snapshot_of_a_former_life_is_not_written() {
    let mut bench = Bench::new();
    let old = bench.store(message("old@x.example", 1, b"1".to_vec()));
    let home = bench.last.0;
    let (_, sequence) = bench.lane.segment(home).unwrap();
    let stale = Snapshot::new(home, sequence);
    bench.settle(old, 0, 1, Stored::Delivered);
    while bench.last.0 != home || bench.lane.segment(home).unwrap().1 == sequence {
        fill(&mut bench);
    }
    let key = bench.store(message("new@x.example", 1, b"2".to_vec()));
    bench.queue.push_back(Item::Snapshot(stale));
    bench.queue.push_back(Item::Snapshot(Snapshot::new(home, sequence + 1000)));
    // Of the segment that it would be written to.
    let own = bench.lane.segment(bench.last.0).unwrap().1;
    bench.queue.push_back(Item::Snapshot(Snapshot::new(bench.last.0, own)));
    bench.commit();
    assert!(bench.lane.entry(key).is_some());
    assert_eq!(state(&bench.refold().lane), state(&bench.lane));
    assert_eq!(bench.refold().lane.messages(), 1);
}

/// The same of a commit that was torn by the end of the machine, and of the header that is written first after it.
#[test]
fn what_was_torn_stays_void_while_its_segment_lives() {
    let mut bench = Bench::new();
    bench.store(message("old@x.example", 1, b"1".to_vec()));
    bench.queue.push_back(Item::Message(message("void@x.example", 1, b"2".to_vec()), ()));
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    let (slot, offset, _) = bench.last;
    // Its commit header and half of its record.
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

/// The segment behind it is gone, and would not be if a commit had failed there: what is left of the last one was acknowledged.
#[test]
fn rot_in_the_last_mark_of_a_sealed_segment_loses_nothing() {
    let mut bench = Bench::new();
    let (mut kept, mut lost) = (0, (0, 0, 0));
    bench.store(message("first@x.example", 1, b"1".to_vec()));
    let home = bench.last.0;
    loop {
        let key = bench.store(message("a@x.example", 1, vec![0; 200_000]));
        if bench.last.0 != home {
            break;
        }
        bench.settle(key, 0, 1, Stored::Delivered);
        bench.commit();
        bench.store(message("kept@x.example", 1, vec![1; 500]));
        (kept, lost) = (kept + 1, bench.last);
    }
    assert_eq!(lost.0, home);
    for _ in 0..3 {
        let keys: Vec<_> = bench.lane.entries().filter(|(_, entry)| entry.slot != home).collect();
        let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| bench.settle(key, 0, 1, Stored::Delivered));
        fill(&mut bench);
    }
    let sealed = bench.refold();
    assert!(sealed.damage.is_empty() && sealed.torn == 0);
    let live = sealed.lane.messages();
    assert!(live > kept);
    bench.disk.write(lost.0, lost.1, &[0; 48]);
    let folded = bench.refold();
    assert_eq!((folded.lane.messages(), folded.torn), (live, 0), "{:?}", folded.damage);
    assert!(!folded.damage.is_empty());
}
