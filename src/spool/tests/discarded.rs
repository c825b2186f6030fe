//! Ends that the first version of the format did not know.

use super::*;
use crate::names::ends::End;
use crate::queue::outcome::Stored;
use crate::spool::inspect::{self, RecipientState};
use crate::spool::record::RecordKind;

const DISCARDED: Stored = Stored::Local(End::Discarded);

/// The kind of the first record of the last commit.
pub(super) fn kind_written(bench: &Bench) -> u8 {
    let (slot, offset, _) = bench.last;
    let files = bench.disk.0.borrow();
    // What began a segment has its header before it.
    let commit = (offset as usize).max(segment::FIRST_COMMIT as usize);
    files[&slot][commit + segment::COMMIT_HEADER]
}

/// An older version must not take what it does not know for damage, and deliver what was thrown away: it is to say that the spool is
/// of a later one. What it knows stays as it was.
#[test]
fn an_unknown_end_has_a_record_of_its_own() {
    let mut bench = Bench::new();
    let key = bench.store(message("a@x.example", 3, b"body".to_vec()));
    bench.settle(key, 1, 1, Stored::Delivered);
    bench.commit();
    assert_eq!(kind_written(&bench), RecordKind::Outcome as u8);
    bench.settle(key, 0, 1, DISCARDED);
    bench.commit();
    assert_eq!(kind_written(&bench), 0x86);
    assert_ne!(kind_written(&bench) & record::CRITICAL, 0);
}

/// The same of an end that a version knows which has the first of them.
#[test]
fn an_end_of_a_later_version_refuses_the_spool() {
    let mut bench = Bench::new();
    let key = bench.store(message("a@x.example", 3, b"body".to_vec()));
    bench.settle(key, 0, 1, DISCARDED);
    bench.commit();
    let (slot, commit, _) = bench.last;
    let header = segment::Header::decode(&bench.disk.read(slot, 0, segment::HEADER).unwrap()).unwrap();
    let offset = commit.max(segment::FIRST_COMMIT as u32) + segment::COMMIT_HEADER as u32;
    let mut bytes = bench.disk.read(slot, offset.into(), record::HEADER + 21).unwrap();
    let end = bytes.len();
    let code = record::HEADER + 12;
    assert_eq!(bytes[code], End::Discarded.code());
    for (number, known) in [(End::Discarded.code(), true), (200, false)] {
        bytes[code] = number;
        record::finish(&mut bytes, 0, end, header.salt, offset);
        bench.disk.write(slot, offset, &bytes);
        match fold::fold(SHAPE, &bench.disk) {
            Ok(folded) => assert!(known && folded.damage.is_empty(), "{number}: {:?}", folded.damage),
            Err(refusal) => assert!(!known && matches!(refusal, SpoolRefusal::Newer(_)), "{refusal}"),
        }
    }
}

#[test]
fn what_was_discarded_is_done_with() {
    let mut bench = Bench::new();
    let key = bench.store(message("a@x.example", 3, b"body".to_vec()));
    bench.settle(key, 0, 2, DISCARDED);
    bench.commit();
    let folded = bench.refold();
    assert!(folded.damage.is_empty(), "{:?}", folded.damage);
    assert_eq!(state(&folded.lane), state(&bench.lane));
    let live: Vec<_> = folded.lane.entries().flat_map(|(_, entry)| entry.live().to_vec()).collect();
    assert_eq!(live.iter().map(|range| (range.first, range.count)).collect::<Vec<_>>(), [(2, 1)]);
    // Whoever looks from outside sees the same.
    let id = bench.lane.id(key).expect("it is live");
    let survey = inspect::survey(&bench.disk, LANE_ORIGIN).unwrap();
    let [discarded, waiting] = [RecipientState::Known(DISCARDED), RecipientState::Waiting];
    let history = inspect::history(&bench.disk, &survey, id, 3);
    assert_eq!(history.recipients, [discarded.clone(), discarded, waiting]);
    let report = inspect::verify(&bench.disk, SHAPE.lane, LANE_ORIGIN).unwrap();
    assert!(report.rot.is_empty(), "{:?}", report.rot);
    bench.settle(key, 2, 1, DISCARDED);
    bench.commit();
    assert_eq!(bench.refold().lane.entries().count(), 0);
}
