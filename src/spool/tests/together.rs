//! A notification and the outcomes that it tells are in one commit: a crash leaves both or neither.

use super::*;
use crate::limits;

/// A notification about the recipients of a message behind so many other items, and how the commits were cut: each as the items of the
/// notification that are in it.
fn commits(others: usize, body: usize, told: usize) -> Vec<(bool, usize)> {
    let mut bench = Bench::new();
    let key = bench.store(message("a@x.example", told as u16, b"1".to_vec()));
    let other = || Item::Message(message("other@x.example", 1, vec![b'o'; body]), ());
    bench.queue.extend((0..others).map(|_| other()));
    bench.queue.push_back(Item::Own(message("", 1, vec![b'n'; body]), ()));
    (0..told).for_each(|first| bench.settle(key, first as u16, 1, Stored::Bounced(None)));
    bench.queue.extend((0..3).map(|_| other()));
    let mut commits = Vec::new();
    while let Some(batch) = bench.begin() {
        bench.append(&batch);
        assert!(batch.len() <= limits::COMMIT_ITEMS_MAX && batch.bytes() <= limits::COMMIT_BYTES_MAX);
        let (mut notices, mut outcomes) = (0, 0);
        bench.lane.done(batch, Synced::pretended(), |_, done| {
            notices += usize::from(matches!(done, DurableItem::Own(..)));
            outcomes += usize::from(matches!(done, DurableItem::Outcome { .. }));
        });
        bench.housekeep();
        commits.push((notices > 0, outcomes));
    }
    assert_eq!(bench.refold().lane.messages(), others + 1 + 3);
    commits
}

#[test]
fn a_notification_is_committed_with_what_it_tells() {
    // Where a commit is full by its items, by its bytes, and where a segment ends.
    let near = limits::COMMIT_ITEMS_MAX;
    for (body, others) in [(10, near - 12..near + 2), (40_000, 0..30), (300_000, 0..16)] {
        for others in others {
            let commits = commits(others, body, 7);
            let apart = commits.iter().any(|(notice, outcomes)| *outcomes != 7 * usize::from(*notice));
            assert!(!apart, "{others} of {body}: {commits:?}");
        }
    }
}

/// What no commit could hold is not held up for ever.
#[test]
fn more_than_a_commit_holds_is_told_in_several() {
    let told = limits::COMMIT_ITEMS_MAX + 10;
    let commits = commits(2, 10, told);
    assert_eq!(commits.iter().map(|(_, outcomes)| outcomes).sum::<usize>(), told);
}
