//! What failed commits leave on the disk never counts.

use super::*;

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
