//! What a start tells again: what was recorded since a position, and until when that can be read.

use super::*;
use crate::id::Position;
use crate::spool::since::Happened;

const MOST: usize = 100;

fn since(bench: &Bench, from: Position) -> Vec<Happened> {
    fold::fold_since(SHAPE, &bench.disk, Some(from), MOST).unwrap().since.found
}

fn place(bench: &Bench, key: u32) -> Location {
    let entry = bench.lane.entry(key).unwrap();
    Location { lane: 3, slot: entry.slot, offset: entry.offset }
}

#[test]
fn what_was_recorded_since_a_position_is_found_in_order() {
    let mut bench = Bench::new();
    let one = bench.store(message("one@x.example", 3, b"1".to_vec()));
    let first = place(&bench, one);
    let from = bench.lane.position();
    assert_eq!(since(&bench, from), []);
    let later =
        Stored::Deferred(StoredDeferral { attempts: 1, next: 77, reply: "451 later".into(), late: false });
    bench.settle(one, 0, 2, later.clone());
    bench.commit();
    let two = bench.store(message("two@x.example", 1, b"2".to_vec()));
    let second = place(&bench, two);
    bench.settle(two, 0, 1, Stored::Bounced(None));
    bench.settle(one, 0, 3, Stored::Delivered);
    bench.commit();
    // Both are settled: an index has no more of them.
    assert_eq!(bench.refold().lane.messages(), 0);
    assert_eq!(
        since(&bench, from),
        [
            Happened::Outcome { of: first, first: 0, count: 2, disposition: later },
            Happened::Message(second),
            Happened::Outcome { of: second, first: 0, count: 1, disposition: Stored::Bounced(None) },
            Happened::Outcome { of: first, first: 0, count: 3, disposition: Stored::Delivered },
        ]
    );
    let some = fold::fold_since(SHAPE, &bench.disk, Some(Position(0)), 3).unwrap().since;
    assert_eq!((some.found.len(), some.cut), (3, true), "no more than is asked for");
    assert_eq!(since(&bench, Position(0)).len(), 5);
    assert_eq!(since(&bench, bench.lane.position()), []);
}

/// A commit that failed may be found whole, until a later header says that it is void.
#[test]
fn no_position_is_behind_a_commit_that_failed() {
    let mut bench = Bench::new();
    let one = bench.store(message("one@x.example", 1, b"1".to_vec()));
    let before = bench.lane.position();
    bench.settle(one, 0, 1, Stored::Delivered);
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    let items = bench.lane.failed(batch);
    assert_eq!(bench.lane.position(), before);
    assert_eq!(since(&bench, bench.lane.position()).len(), 1, "a start finds it");
    // The next segment is open, and its header is not on the disk.
    bench.queue.extend(items);
    let batch = bench.begin().unwrap();
    assert!(batch.header.is_some());
    assert_eq!(bench.lane.position(), before);
    bench.append(&batch);
    bench.lane.done(batch, Synced::pretended(), |_, _| {});
    assert!(bench.lane.position() > before);
    assert_eq!(since(&bench, before).len(), 1, "the first one is void");
}

/// A message that was settled is read to tell its end, and so is what was written behind it.
#[test]
fn segments_wait_for_the_journal() {
    let mut bench = Bench::new();
    let from = bench.lane.position();
    assert!(!bench.lane.set_journaled(from));
    for _ in 0..12 {
        let keys = [1, 2].map(|fill| bench.store(message("a@x.example", 1, vec![fill; 800_000])));
        keys.into_iter().for_each(|key| bench.settle(key, 0, 1, Stored::Delivered));
        bench.commit();
    }
    let (all, _) = bench.lane.segments();
    assert!(all > 6, "nothing is freed, so {all} are there");
    assert_eq!(since(&bench, from).len(), 48);
    assert!(bench.lane.set_journaled(bench.lane.position()));
    assert!(!bench.lane.set_journaled(bench.lane.position()), "that is no news");
    bench.housekeep();
    let (_, free) = bench.lane.segments();
    assert_eq!(free, all - 1, "all but the one that is open");
}

/// Its segment is older than what the journal lacks, which is its end.
#[test]
fn a_message_waits_until_its_end_is_journaled() {
    let mut bench = Bench::new();
    bench.lane.set_journaled(bench.lane.position());
    let old = bench.store(message("old@x.example", 1, vec![1; 100_000]));
    let first = place(&bench, old);
    for _ in 0..3 {
        let key = bench.store(message("a@x.example", 1, vec![2; 2_000_000]));
        bench.settle(key, 0, 1, Stored::Delivered);
        bench.commit();
    }
    let journaled = bench.lane.position();
    bench.lane.set_journaled(journaled);
    bench.housekeep();
    bench.settle(old, 0, 1, Stored::Delivered);
    bench.commit();
    let of = since(&bench, journaled);
    assert_eq!(of, [Happened::Outcome { of: first, first: 0, count: 1, disposition: Stored::Delivered }]);
    // What a start finds waits as well.
    let mut lane = fold::fold_since(SHAPE, &bench.disk, Some(journaled), MOST).unwrap().lane;
    lane.set_journaled(journaled);
    assert_eq!(lane.next_to_free(), None);
    assert!(lane.set_journaled(lane.position()) && lane.next_to_free().is_some());
}
