//! Files that are not what was written: nothing is lost in silence, and what is whole counts.

use super::*;
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::spool::inspect;
use crate::spool::segment::{CommitHeader, Header};

impl Bench {
    /// A lane with some settled and some live mail in one segment.
    fn with_mail() -> (Bench, u16) {
        let mut bench = Bench::new();
        for number in 0..6 {
            let key = bench.store(message("a@x.example", 2, vec![number; 5_000]));
            if number % 3 == 0 {
                bench.settle(key, 0, 2, Stored::Delivered);
            }
        }
        bench.commit();
        let slot = bench.last.0;
        (bench, slot)
    }

    fn verify(&self) -> inspect::LaneReport {
        inspect::verify(&self.disk, SHAPE.lane, LANE_ORIGIN).unwrap()
    }

    /// The next life of this lane, which never touches the file.
    fn lives_on_beside(mut self, slot: u16) {
        let before = self.disk.0.borrow()[&slot].clone();
        let folded = self.refold();
        let live = state(&folded.lane).len();
        self.lane = folded.lane;
        self.housekeep();
        for _ in 0..40 {
            let key = self.store(message("b@x.example", 1, vec![9; 250_000]));
            self.settle(key, 0, 1, Stored::Delivered);
            self.commit();
        }
        assert!(self.disk.0.borrow()[&slot] == before, "it was written");
        assert_eq!(self.refold().lane.messages(), live);
        let keys: Vec<_> = self.lane.entries().map(|(key, _)| key).collect();
        for key in keys {
            let total = self.lane.entry(key).unwrap().total;
            self.settle(key, 0, total, Stored::Delivered);
        }
        self.commit();
        assert_eq!(self.refold().lane.messages(), 0, "what was found there is settled for good");
    }
}

#[test]
fn a_segment_is_read_without_its_header() {
    let two_bits = |header: &mut [u8]| {
        header[40] ^= 3;
    };
    let garbage = |header: &mut [u8]| header[..64].fill(0xAA);
    let blank = |header: &mut [u8]| header.fill(0);
    let one_bit = |header: &mut [u8]| header[33] ^= 0x10;
    for (number, harm) in [two_bits as fn(&mut [u8]), garbage, blank, one_bit].iter().enumerate() {
        let (bench, slot) = Bench::with_mail();
        let mut header = bench.disk.read(slot, 0, 4096).unwrap();
        harm(&mut header);
        bench.disk.write(slot, 0, &header);
        let folded = bench.refold();
        assert_eq!(state(&folded.lane), state(&bench.lane), "{number}");
        assert_eq!(folded.damage.len(), 1, "{number}: {:?}", folded.damage);
        let report = bench.verify();
        assert!(!report.is_sound() && report.messages == 4, "{number}: {report:?}");
        bench.lives_on_beside(slot);
    }
}

/// Of a message whose record is gone its outcomes may still tell: deferred, it is named; delivered, nothing is lost.
#[test]
fn a_message_is_named_by_its_outcomes() {
    let mut bench = Bench::new();
    let mut places = Vec::new();
    for number in 0..3 {
        let key = bench.store(message("a@x.example", 2, vec![number; 5_000]));
        places.push((bench.last, bench.lane.id(key).unwrap(), key));
    }
    let deferred =
        || Stored::Deferred(StoredDeferral { attempts: 1, next: 50, reply: "451 later".into(), late: false });
    for (_, _, key) in &places[..2] {
        bench.settle(*key, 0, 2, deferred());
    }
    bench.commit();
    bench.settle(places[1].2, 0, 2, Stored::Delivered);
    bench.commit();
    for ((slot, offset, _), ..) in &places {
        bench.disk.write(*slot, *offset, &[0xAA; 4096]);
    }
    let named = |damage: &[fold::Damage]| damage.iter().filter_map(|one| one.message).collect::<Vec<_>>();
    let folded = bench.refold();
    assert_eq!((named(&folded.damage), folded.lane.messages()), (vec![places[0].1], 0));
    let report = bench.verify();
    assert!(report.rot.iter().any(|rot| rot.message == Some(places[0].1)), "{report:?}");
}

/// A number that another segment has, or none at all: the messages are named, and none is sent twice.
#[test]
fn a_segment_of_unknown_number_is_named() {
    let (bench, slot) = Bench::with_mail();
    let copy = bench.disk.0.borrow()[&slot].clone();
    let next = bench.disk.0.borrow().len() as u16;
    bench.disk.0.borrow_mut().insert(next, copy);
    bench.disk.write(next, 0, &[0xAA; 64]);
    let folded = bench.refold();
    assert_eq!(state(&folded.lane), state(&bench.lane));
    let named = folded.damage.iter().filter(|damage| damage.message.is_some()).count();
    assert_eq!(named, 6, "{:?}", folded.damage);
    assert_eq!(bench.verify().rot.iter().filter(|rot| rot.message.is_some()).count(), 6);
}

/// Mail that was settled long ago does not rise because the header of an empty segment rots.
#[test]
fn a_free_segment_with_a_damaged_header_holds_nothing() {
    let mut bench = Bench::new();
    let key = bench.store(message("a@x.example", 1, vec![1; 5_000]));
    let slot = bench.last.0;
    bench.settle(key, 0, 1, Stored::Delivered);
    bench.commit();
    while bench.last.0 == slot {
        bench.store(message("b@x.example", 1, vec![1; 250_000]));
    }
    bench.housekeep();
    let live = bench.lane.messages();
    let free = Header::decode(&bench.disk.read(slot, 0, 4096).unwrap()).unwrap();
    assert_eq!(free.life, segment::Life::Active, "mail in it is live");
    let keys: Vec<_> =
        bench.lane.entries().filter(|(_, entry)| entry.slot == slot).map(|(key, _)| key).collect();
    for key in &keys {
        bench.settle(*key, 0, 1, Stored::Delivered);
    }
    bench.commit();
    bench.housekeep();
    let block = bench.disk.read(slot, 0, 4096).unwrap();
    assert_eq!(Header::decode(&block).unwrap().life, segment::Life::Free);
    for harm in [1, 3] {
        bench.disk.write(slot, 30, &[block[30] ^ harm]);
        let folded = bench.refold();
        assert_eq!(
            (folded.lane.messages(), folded.damage.len()),
            (live - keys.len(), 1),
            "{:?}",
            folded.damage
        );
    }
    // Its next life was about to begin, and the disk took only so many bytes of that header.
    let next = Header {
        life: segment::Life::Active,
        sequence: bench.lane.segment(bench.last.0).unwrap().1 + 1,
        salt: 0x0123_4567_89AB_CDEF,
        predecessor: 1,
        predecessor_end: 8192,
        ..Header::decode(&block).unwrap()
    };
    for length in [13, 29, 30, 33, 38, 44, 60] {
        bench.disk.write(slot, 0, &[&next.encode()[..length], &block[length..]].concat());
        let folded = bench.refold();
        let found = (folded.lane.messages(), folded.damage.len());
        assert_eq!(found, (live - keys.len(), 1), "{length}: {:?}", folded.damage);
    }
}

/// A power cut in the first commit of a new file may leave it without its header: no rot, and nobody was told about it.
#[test]
fn a_first_commit_without_its_header_is_no_rot() {
    // Whole, without some of its body, its record or its commit header: who it was can be said of the first two.
    for (harm, live, torn) in [(None, 0, 1), (Some(3_000), 0, 1), (Some(60), 0, 0), (Some(0), 0, 0)] {
        let mut bench = Bench::new();
        bench.queue.push_back(Item::Message(message("one@x.example", 1, vec![1; 5_000]), ()));
        let mut batch = bench.begin().unwrap();
        batch.header = None;
        bench.append(&batch);
        let (slot, offset, _) = bench.last;
        if let Some(place) = harm {
            bench.disk.write(slot, offset + place, &[0; 8]);
        }
        let folded = bench.refold();
        assert!(folded.damage.is_empty(), "{:?}", folded.damage);
        assert_eq!((folded.lane.messages(), folded.torn), (live, torn));
        assert!(bench.verify().is_sound());
        bench.lane = folded.lane;
        bench.housekeep();
        bench.store(message("two@x.example", 1, vec![2; 5_000]));
        assert_eq!(state(&bench.refold().lane), state(&bench.lane));
    }
}

#[test]
fn a_file_that_was_cut_off_is_damage_and_never_made_again() {
    for length in [0, 100, 4096, 5000, 5 * 4096, 9 * 4096] {
        let (bench, slot) = Bench::with_mail();
        bench.disk.0.borrow_mut().get_mut(&slot).unwrap().truncate(length);
        let folded = bench.refold();
        assert!(folded.damage.iter().any(|damage| damage.slot == slot), "{length}: {:?}", folded.damage);
        assert!(!bench.verify().is_sound(), "{length}");
        // Two commits fit into 9 blocks behind the header, and the first message is settled where nobody knows.
        assert_eq!(folded.lane.messages() > 0, length > 4 * 4096, "{length}");
        let mut lane = folded.lane;
        assert_ne!(lane.wants_segment(), Some(slot));
        bench.lives_on_beside(slot);
    }
}

#[test]
fn a_file_that_is_gone_is_said_and_its_name_not_used_again() {
    let (mut bench, slot) = Bench::with_mail();
    let files = bench.disk.0.borrow().len() as u16;
    assert!(slot + 1 < files);
    let live = bench.lane.messages();
    let away = bench.disk.0.borrow_mut().remove(&slot).unwrap();
    let folded = bench.refold();
    assert_eq!(folded.damage.len(), 1, "{:?}", folded.damage);
    assert_eq!(bench.verify().rot.len(), 1);
    bench.lane = folded.lane;
    bench.housekeep();
    for _ in 0..40 {
        bench.store(message("b@x.example", 1, vec![9; 250_000]));
    }
    assert!(!bench.disk.0.borrow().contains_key(&slot));
    // What was written meanwhile does not void what it says when it is put back.
    bench.disk.0.borrow_mut().insert(slot, away);
    let folded = bench.refold();
    assert_eq!((folded.lane.messages(), folded.damage.len()), (live + 40, 0), "{:?}", folded.damage);
}

#[test]
fn records_behind_a_lost_mark_and_a_lost_record_count() {
    let mut bench = Bench::new();
    for number in 0..5 {
        bench.queue.push_back(Item::Message(message("a@x.example", 1, vec![number; 5_000]), ()));
    }
    bench.commit();
    let (slot, offset, _) = bench.last;
    bench.store(message("b@x.example", 1, b"later".to_vec()));
    bench.disk.write(slot, offset, &[0; 100]);
    let folded = bench.refold();
    assert_eq!(folded.lane.messages(), 5, "{:?}", folded.damage);
    // Verify says of each what recovery does.
    let report = bench.verify();
    let delivered = report.rot.iter().filter(|rot| rot.live == Some(true)).count();
    assert_eq!((report.messages, delivered), (5, 4), "{report:?}");
    assert!(report.rot.iter().all(|rot| !rot.what.contains("exported")), "{report:?}");
}

/// A commit header of a later version, whole with its CRC, is not rot.
#[test]
fn a_later_mark_refuses_the_lane() {
    let (bench, slot) = Bench::with_mail();
    let mut commit_header = bench.disk.read(slot, 4096, 48).unwrap();
    commit_header[4..8].copy_from_slice(&7u32.to_le_bytes());
    bench.disk.write(slot, 4096, &commit_header);
    assert!(bench.refold_or().is_ok(), "a version that rotted is rot");
    let crc = crc32c::crc32c(&commit_header[..44]);
    commit_header[44..].copy_from_slice(&crc.to_le_bytes());
    bench.disk.write(slot, 4096, &commit_header);
    assert!(CommitHeader::read(&commit_header, 2, 4096).is_none());
    assert!(matches!(bench.refold_or(), Err(SpoolRefusal::Newer(words)) if words.contains("version 7")));
}

impl Bench {
    fn refold_or(&self) -> Result<fold::Folded, SpoolRefusal> {
        fold::fold(SHAPE, &self.disk)
    }
}

impl Bench {
    fn close(&mut self, clean: bool) -> bool {
        self.salt += 1;
        let Some(batch) = self.lane.close(clean, self.salt) else { return false };
        self.append(&batch);
        self.lane.done(batch, Synced::pretended(), |_, _: DurableItem| panic!("nothing was in it"));
        true
    }
}

/// A lane at rest says that its last commit was synced: damage there is rot, and not a stop in the middle of it.
#[test]
fn rot_in_the_last_commit_of_a_lane_at_rest_is_reported() {
    for clean in [false, true] {
        let mut bench = Bench::new();
        bench.store(message("one@x.example", 1, vec![1; 5_000]));
        bench.store(message("two@x.example", 1, vec![2; 5_000]));
        let (slot, offset, _) = bench.last;
        assert!(bench.close(clean) && bench.refold().clean == clean);
        assert!(!bench.close(false), "it was said");
        assert!(bench.verify().is_sound() && bench.refold().torn == 0);
        let whole = bench.disk.0.borrow()[&slot].clone();
        for (place, left, named) in [(60, 1, true), (0, 2, false)] {
            bench.disk.write(slot, offset + place, &[0xFF; 8]);
            let folded = bench.refold();
            assert_eq!((folded.lane.messages(), folded.torn), (left, 0));
            let id = crate::id::MessageId { lane: 3, sequence: 1, offset: offset + 48 };
            let names: Vec<_> = folded.damage.iter().filter_map(|damage| damage.message).collect();
            assert_eq!(names, if named { vec![id] } else { vec![] }, "{:?}", folded.damage);
            assert!(!folded.damage.is_empty() && !bench.verify().is_sound());
            bench.disk.0.borrow_mut().insert(slot, whole.clone());
        }
        // In its body: it is still there, and said when it is sent or looked at.
        bench.disk.write(slot, offset + 3_000, &[0xFF; 8]);
        assert_eq!((bench.refold().lane.messages(), bench.refold().torn), (2, 0));
        assert!(!bench.verify().is_sound());
    }
}

#[test]
fn a_full_segment_has_room_for_its_last_mark() {
    for size in [250_000, 262_000, 4096 - 500, 100] {
        let mut bench = Bench::new();
        bench.store(message("one@x.example", 1, vec![1; 10]));
        let first = bench.last.0;
        while bench.last.0 == first {
            let before = bench.lane.inner().room();
            bench.store(message("more@x.example", 1, vec![1; size]));
            assert!(bench.lane.inner().room() >= 4096, "{before} before, none after a message of {size}");
        }
    }
}

/// Without an open segment there is none to say it in: one is begun if any mail waits.
#[test]
fn a_start_without_mail_may_end_in_order_too() {
    let mut bench = Bench::new();
    bench.store(message("one@x.example", 1, vec![1; 10]));
    bench.lane = bench.refold().lane;
    bench.housekeep();
    assert!(!bench.refold().clean);
    assert!(!bench.close(false) && bench.close(true));
    assert!(bench.refold().clean && bench.refold().damage.is_empty());
    assert_eq!(bench.refold().lane.messages(), 1);
    assert!(Bench::new().refold().clean);
}

/// A torn commit is dropped, and its messages are named: nobody can tell it from rot.
#[test]
fn messages_of_a_torn_commit_are_named() {
    let mut bench = Bench::new();
    bench.store(message("one@x.example", 1, vec![1; 5_000]));
    bench.queue.push_back(Item::Message(message("two@x.example", 1, vec![2; 5_000]), ()));
    bench.queue.push_back(Item::Message(message("three@x.example", 1, vec![2; 5_000]), ()));
    bench.commit();
    let (slot, offset, _) = bench.last;
    bench.disk.write(slot, offset + 9_000, &[0xFF; 8]);
    let folded = bench.refold();
    assert_eq!((folded.torn, folded.torn_messages.len(), folded.lane.messages()), (1, 2, 1));
    assert_eq!(bench.verify().torn[0].messages, folded.torn_messages);
    // So they are where it is the commit header that is torn.
    for (at, wrong) in [(0, &[0u8; 48][..]), (8, &[0xFF; 1])] {
        bench.disk.write(slot, offset + at, wrong);
        let names = bench.refold().torn_messages;
        assert!(names.len() == 2 && names == bench.verify().torn[0].messages, "{at}: {names:?}");
    }
}

/// A damaged segment is never freed, and outcomes about it would hold what they lie in, and that the next one. Snapshots set them free, and say
/// nothing of a message that could not be read when they were written: when it can be again, it is there.
#[test]
fn a_damaged_segment_does_not_hold_all_later_ones() {
    let mut bench = Bench::new();
    let keys: Vec<u32> = (0..3).map(|at| bench.store(message("a@x.example", 1, vec![at; 20]))).collect();
    let home = bench.last.0;
    let spot = bench.lane.entry(keys[1]).unwrap().offset;
    // Mail that leaves a little later: of each segment some in the next one.
    let fill = |bench: &mut Bench, waiting: &mut VecDeque<u32>| {
        let full = bench.last.0;
        while bench.last.0 == full {
            waiting.push_back(bench.store(message("b@x.example", 1, vec![0; 200_000])));
            if waiting.len() > 3 {
                bench.settle(waiting.pop_front().unwrap(), 0, 1, Stored::Delivered);
                bench.commit();
            }
        }
    };
    // For a while the second message cannot be read.
    let whole = bench.disk.read(home, u64::from(spot) + 40, 4).unwrap();
    bench.disk.write(home, spot + 40, &[0xA5; 4]);
    let folded = bench.refold();
    assert_eq!(folded.damage.len(), 1, "{:?}", folded.damage);
    bench.lane = folded.lane;
    bench.lane.inner().reshape(9);
    bench.housekeep();
    let left: Vec<u32> = bench.lane.entries().map(|(key, _)| key).collect();
    left.into_iter().for_each(|key| bench.settle(key, 0, 1, Stored::Delivered));
    bench.last.0 = u16::MAX;
    let mut waiting = VecDeque::new();
    for _ in 0..30 {
        fill(&mut bench, &mut waiting);
        let (exist, free) = bench.lane.segments();
        assert!(exist - free <= 6, "{exist} segments, {free} of them free");
    }
    assert_eq!(bench.refold().lane.messages(), 3, "the last three of the others");
    bench.disk.write(home, spot + 40, &whole);
    let folded = bench.refold();
    assert_eq!(folded.damage.len(), 0, "{:?}", folded.damage);
    assert_eq!(folded.lane.messages(), 4, "and the second one is there again");
}

/// A snapshot says it too, when the outcomes before it are gone: what it lists is missed, what it does not list is not.
#[test]
fn a_message_is_named_by_a_snapshot() {
    let mut bench = Bench::new();
    let keys = [1, 2].map(|number| bench.store(message("a@x.example", 2, vec![number; 5_000])));
    let ids = keys.map(|key| bench.lane.id(key).unwrap());
    let home = bench.last.0;
    let mut settled = false;
    for round in 0..40 {
        let key = bench.store(message("b@x.example", 1, vec![9; 900_000]));
        bench.settle(key, 0, 1, Stored::Delivered);
        if bench.last.0 != home && !settled {
            let later = Stored::Deferred(StoredDeferral {
                attempts: 1,
                next: round,
                reply: "451 later".into(),
                late: false,
            });
            keys.iter().for_each(|key| bench.settle(*key, 0, 2, later.clone()));
            bench.commit();
            bench.settle(keys[1], 0, 2, Stored::Delivered);
            settled = true;
        }
        bench.commit();
    }
    let home_header = Header::decode(&bench.disk.read(home, 0, 4096).unwrap()).unwrap();
    assert_eq!(bench.lane.entry(keys[0]).map(|entry| entry.slot), Some(home), "{home_header:?}");
    let (at, length) = (4096, 3 * 4096);
    bench.disk.write(home, at, &vec![0xAA; length]);
    let named: Vec<_> = bench.refold().damage.iter().filter_map(|one| one.message).collect();
    assert_eq!(named, [ids[0]]);
}
