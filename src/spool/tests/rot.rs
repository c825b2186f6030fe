//! Files that are not what was written: nothing is lost in silence, and what is whole counts.

use super::*;
use crate::spool::inspect;
use crate::spool::segment::{Header, Mark};

impl Bench {
    /// A lane with some settled and some live mail in one segment.
    fn with_mail() -> (Bench, u16) {
        let mut bench = Bench::new();
        for number in 0..6 {
            let key = bench.store(message("a@x.example", 2, vec![number; 5_000]));
            if number % 3 == 0 {
                bench.settle(key, 0, 2, Fate::Delivered);
            }
        }
        bench.commit();
        let slot = bench.last.0;
        (bench, slot)
    }

    fn verify(&self) -> inspect::LaneReport {
        inspect::verify(&self.disk, SHAPE.lane, BIRTHPLACE).unwrap()
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
            self.settle(key, 0, 1, Fate::Delivered);
            self.commit();
        }
        assert!(self.disk.0.borrow()[&slot] == before, "it was written");
        assert_eq!(self.refold().lane.messages(), live);
        let keys: Vec<_> = self.lane.entries().map(|(key, _)| key).collect();
        for key in keys {
            let total = self.lane.entry(key).unwrap().total;
            self.settle(key, 0, total, Fate::Delivered);
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
    bench.settle(key, 0, 1, Fate::Delivered);
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
        bench.settle(*key, 0, 1, Fate::Delivered);
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
}

/// A power cut in the first commit of a new file may leave it without its header: no rot, and nothing is lost by taking it.
#[test]
fn a_first_commit_without_its_header_is_no_rot() {
    for torn in [false, true] {
        let mut bench = Bench::new();
        bench.queue.push_back((Item::Message(message("one@x.example", 1, vec![1; 5_000])), 0));
        let mut batch = bench.begin().unwrap();
        batch.header = None;
        bench.append(&batch);
        let (slot, offset, _) = bench.last;
        if torn {
            bench.disk.write(slot, offset + 60, &[0; 8]);
        }
        let folded = bench.refold();
        assert!(folded.damage.is_empty(), "{:?}", folded.damage);
        assert_eq!((folded.lane.messages(), folded.torn), (usize::from(!torn), u32::from(torn)));
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
    bench.disk.0.borrow_mut().remove(&slot);
    let folded = bench.refold();
    assert_eq!(folded.damage.len(), 1, "{:?}", folded.damage);
    assert_eq!(bench.verify().rot.len(), 1);
    bench.lane = folded.lane;
    bench.housekeep();
    for _ in 0..40 {
        bench.store(message("b@x.example", 1, vec![9; 250_000]));
    }
    assert!(!bench.disk.0.borrow().contains_key(&slot));
}

#[test]
fn records_behind_a_lost_mark_and_a_lost_record_count() {
    let mut bench = Bench::new();
    for number in 0..5 {
        bench.queue.push_back((Item::Message(message("a@x.example", 1, vec![number; 5_000])), 0));
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

/// A mark of a later version, whole with its CRC, is not rot.
#[test]
fn a_later_mark_refuses_the_lane() {
    let (bench, slot) = Bench::with_mail();
    let mut mark = bench.disk.read(slot, 4096, 48).unwrap();
    mark[4..8].copy_from_slice(&7u32.to_le_bytes());
    bench.disk.write(slot, 4096, &mark);
    assert!(bench.refold_or().is_ok(), "a version that rotted is rot");
    let crc = crc32c::crc32c(&mark[..44]);
    mark[44..].copy_from_slice(&crc.to_le_bytes());
    bench.disk.write(slot, 4096, &mark);
    assert!(Mark::read(&mark, 2, 4096).is_none());
    assert!(matches!(bench.refold_or(), Err(Refusal::Newer(words)) if words.contains("version 7")));
}

impl Bench {
    fn refold_or(&self) -> Result<fold::Folded, Refusal> {
        fold::fold(SHAPE, &self.disk)
    }
}
