//! Recipients that an operator holds: found so by every start, and by no version that would let them go.

use super::discarded::kind_written;
use super::*;
use crate::queue::outcome::{Hold, Stored, StoredDeferral};
use crate::spool::batch::Moved;
use crate::spool::inspect::{self, RecipientState};
use crate::spool::record::RecordKind;

fn hold(until: u32) -> Stored {
    Stored::Held(Box::new(Hold::new(until, "by user 0: bad list")))
}

/// First, how many, attempts, until when, what was said and who holds them.
fn told(lane: &Lane) -> Vec<(u16, u16, u16, u32, String, Option<String>)> {
    let (_, entry) = lane.entries().next().unwrap();
    let one = |range: &crate::spool::index::LiveRange| {
        let (said, by) = lane.said(range);
        (range.first, range.count, range.attempts, range.next, said.to_owned(), by.map(str::to_owned))
    };
    entry.live().iter().map(one).collect()
}

#[test]
fn what_is_held_keeps_its_history_and_is_let_go() {
    let mut bench = Bench::new();
    let key = bench.store(message("a@x.example", 3, b"body".to_vec()));
    let later = StoredDeferral { attempts: 2, next: 77, reply: "451 later".into(), late: true };
    bench.settle(key, 0, 2, Stored::Deferred(later));
    bench.settle(key, 1, 2, hold(9000));
    bench.commit();
    assert_eq!(kind_written(&bench), RecordKind::Outcome as u8, "as it was");
    let by = Some("by user 0: bad list".to_owned());
    let held = [
        (0, 1, 2, 77, "451 later".to_owned(), None),
        (1, 1, 2, 9000, "451 later".to_owned(), by.clone()),
        (2, 1, 0, 9000, String::new(), by),
    ];
    assert_eq!(told(&bench.lane), held);
    assert_eq!(told(&bench.refold().lane), held);
    let survey = inspect::survey(&bench.disk, LANE_ORIGIN).unwrap();
    let id = bench.lane.id(key).unwrap();
    let history = inspect::history(&bench.disk, &survey, id, 3);
    let RecipientState::Known(Stored::Held(one)) = &history.recipients[1] else { panic!("{history:?}") };
    assert_eq!((&*one.reply, one.attempts, one.late), ("451 later", 2, true));
    assert!(history.recipients.iter().all(RecipientState::is_live));
    // Longer, and let go.
    bench.settle(key, 1, 2, hold(9900));
    bench.settle(key, 2, 1, Stored::Held(Box::default()));
    bench.commit();
    assert_eq!(kind_written(&bench), 0x86);
    assert_eq!(told(&bench.lane)[1].3, 9900);
    assert_eq!(told(&bench.lane)[2], (2, 1, 0, 0, String::new(), None));
    assert_eq!(told(&bench.refold().lane), told(&bench.lane));
    bench.settle(key, 0, 3, Stored::Delivered);
    bench.commit();
    assert_eq!(bench.lane.messages(), 0);
}

/// A move lists what is live in a field, and a snapshot in a record, that versions before this one refuse the spool for.
#[test]
fn what_lists_held_mail_is_of_a_later_version() {
    let kinds = (0x80..=0x8f).map(RecordKind::snapshot);
    let snapshots: Vec<_> = (0x80..=0x8f).zip(kinds).filter_map(|(kind, of)| Some((kind, of?))).collect();
    assert_eq!(snapshots, [(0x84, false), (0x85, true), (0x87, false), (0x88, true)]);
    for (until, tag) in [(0, 0x8009u16), (9000, 0x8015)] {
        let mut bench = Bench::new();
        let key = bench.store(message("a@x.example", 2, b"body".to_vec()));
        bench.settle(key, 0, 1, hold(until));
        bench.commit();
        let before = told(&bench.lane);
        let payload = |bench: &Bench| {
            let entry = bench.lane.entry(key).unwrap();
            let (salt, sequence) = bench.lane.segment(entry.slot).unwrap();
            let files = bench.disk.0.borrow();
            let bytes = &files[&entry.slot][entry.offset as usize..];
            let payload = record::read(bytes, salt, entry.offset.into()).unwrap().payload.to_vec();
            (Location { lane: 3, slot: entry.slot, offset: entry.offset }, sequence, payload)
        };
        for _ in 0..2 {
            let (location, sequence, record) = payload(&bench);
            let pieces: Vec<_> = MessageView::parse(&record).unwrap().extents().collect();
            let moved =
                Moved::new((key, location, sequence), &record, pieces, Vec::new(), Vec::new()).unwrap();
            bench.queue.push_back(Item::Move(moved, ()));
            bench.commit();
        }
        let (.., record) = payload(&bench);
        let has = |tag: u16| record.windows(2).any(|two| two == tag.to_le_bytes());
        assert!(has(tag), "{until}");
        assert_eq!(told(&bench.lane), before);
        assert_eq!(told(&bench.refold().lane), before);
    }
}
