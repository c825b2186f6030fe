//! Lives of the reader: they end at any point, and nothing is missing or twice.

use super::*;
use crate::control::journal::tests::{Life, Random};

fn line(number: u64, provider: &str) -> String {
    format!(
        "{{\"time\":\"2026-11-30T05:{:02}:01.000Z\",\"event\":\"delivered\",\"event_id\":\"{number}\",\"recipients\":[\"a@y\"],\"provider\":\"{provider}\"}}\n",
        number % 60
    )
}

fn told(reader: &Reader) -> Told {
    let at = crate::time::Civil::time_named("2026-11-30T06:00:00Z").unwrap().0 / 1000;
    let question = Question { since: at - 3600, until: at, now: at, limit: 7, ..Question::default() };
    let store = reader.counted.store();
    ask::answer(store.as_ref().unwrap().connection(), &question).unwrap()
}

#[test]
fn kills_count_nothing_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut random, mut number) = (Random(77), 0);
    for _ in 0..25 {
        let mut journal = Life::begin(scratch.path(), &[]);
        let mut reader = Reader::open(scratch.path(), &journal.shared);
        let mut now = Duration::ZERO;
        for _ in 0..random.below(12) {
            for _ in 0..=random.below(4) {
                journal.tell(&line(number, ["google", "yahoo"][(number % 2) as usize]));
                number += 1;
            }
            assert!(journal.journal());
            now += Duration::from_secs(random.below(4));
            reader.round(now, false);
        }
    }
    let journal = Life::begin(scratch.path(), &[]);
    let mut reader = Reader::open(scratch.path(), &journal.shared);
    reader.round(Duration::from_secs(100), true);
    let told = told(&reader);
    assert_eq!((told.total.delivered, told.step_seconds), (number, 60));
    let rows: Vec<_> = told.rows.iter().map(|row| (&*row.name, row.counts.delivered)).collect();
    assert_eq!(rows, [("google", number.div_ceil(2)), ("yahoo", number / 2)]);
    // What has no end is not asked for ever.
    let behind = journal.shared.progress();
    assert_eq!((&*behind[0].name, behind[0].behind), (READER, 0));
}

#[test]
fn what_cannot_be_written_is_let_go() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join(crate::spool::layout::ANALYTICS);
    std::fs::create_dir(&file).unwrap();
    let mut journal = Life::begin(scratch.path(), &[]);
    let mut reader = Reader::open(scratch.path(), &journal.shared);
    journal.tell(&line(1, "google"));
    assert!(journal.journal());
    reader.round(Duration::from_secs(10), false);
    assert!(!reader.pending.is_empty() && reader.placed != reader.tap.place(), "it is kept for a while");
    reader.round(Duration::from_secs(10) + limits::ANALYTICS_UNWRITTEN, false);
    assert!(
        reader.pending.is_empty() && reader.placed == reader.tap.place(),
        "the journal is not kept for it"
    );
    std::fs::remove_dir(&file).unwrap();
    journal.tell(&line(2, "google"));
    assert!(journal.journal());
    reader.round(Duration::from_secs(200), false);
    assert_eq!(told(&reader).total.delivered, 1);
    // Damaged while it is used, as SQLite finds it.
    assert!(reader.failed.is_none());
}
