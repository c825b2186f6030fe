//! A lane over files in memory: what the fold finds is what the lane knew, however the last write was cut.

mod discarded;
mod failures;
mod held;
mod moves;
mod older;
mod room;
mod rot;
mod since;
mod tickets;
mod together;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;

use crate::id::Location;
use crate::mail::envelope::{Envelope, Needs, Origin, Recipient, WithProtocol};
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::runtime::Synced;
use crate::spool::batch::{Batch, Item, NewMessage, Outcome};
use crate::spool::fold::{self, Files, SpoolRefusal};
use crate::spool::lane::{Begin, DurableItem, Lane, Shape, StoredMessage};
use crate::spool::record::{self, Extent, MessageView};
use crate::spool::segment::{self, LaneOrigin};
use crate::time::UnixMillis;

const SIZE: u64 = 4 * 1024 * 1024;
const LANE_ORIGIN: LaneOrigin = LaneOrigin { node: 42, lane: 3 };
const SHAPE: Shape = Shape { lane: 3, origin: LANE_ORIGIN, segment_size: SIZE, segments_max: 64 };

#[derive(Default)]
struct Disk(RefCell<BTreeMap<u16, Vec<u8>>>);

impl Files for Disk {
    fn slots(&self) -> Vec<(u16, u64)> {
        self.0.borrow().iter().map(|(slot, file)| (*slot, file.len() as u64)).collect()
    }

    fn read(&self, slot: u16, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let files = self.0.borrow();
        let file = files.get(&slot).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.get(offset as usize..offset as usize + length).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }
}

impl Disk {
    fn write(&self, slot: u16, offset: u32, bytes: &[u8]) {
        let mut files = self.0.borrow_mut();
        files.get_mut(&slot).unwrap()[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }
}

struct Bench {
    disk: Disk,
    lane: Lane,
    queue: VecDeque<Item>,
    salt: u64,
    /// Where the last commit went.
    last: (u16, u32, usize),
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench {
            disk: Disk::default(),
            lane: Lane::new(SHAPE),
            queue: VecDeque::new(),
            salt: 1,
            last: (0, 0, 0),
        };
        bench.housekeep();
        bench
    }

    fn housekeep(&mut self) {
        while let Some((slot, block)) = self.lane.next_to_free() {
            self.disk.write(slot, 0, &block);
            self.lane.freed(slot, Some(Synced::pretended()));
        }
        while let Some(slot) = self.lane.wants_segment() {
            self.disk.0.borrow_mut().insert(slot, vec![0; SIZE as usize]);
            self.lane.segment_created(slot, true);
        }
        for slot in self.lane.snapshot_due() {
            self.queue.push_front(Item::Snapshot(slot));
        }
    }

    fn begin(&mut self) -> Option<Batch> {
        self.salt += 1;
        match self.lane.begin(&mut self.queue, self.salt) {
            Begin::Commit(batch) => Some(batch),
            Begin::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    fn append(&mut self, batch: &Batch) {
        if let Some(header) = &batch.header {
            self.disk.write(batch.slot, 0, header);
        }
        let bytes: Vec<u8> = batch.parts().iter().flat_map(|part| part.to_vec()).collect();
        assert_eq!(bytes.len(), batch.bytes());
        assert_eq!(bytes.len() % 4096, 0);
        self.disk.write(batch.slot, batch.offset, &bytes);
        self.last = (batch.slot, batch.offset, bytes.len());
    }

    fn commit(&mut self) -> Vec<DurableItem> {
        let mut all = Vec::new();
        while let Some(batch) = self.begin() {
            self.append(&batch);
            self.lane.done(batch, Synced::pretended(), |_, done| all.push(done));
            self.housekeep();
        }
        all
    }

    fn store(&mut self, message: NewMessage) -> u32 {
        self.queue.push_back(Item::Message(message, ()));
        let done = self.commit();
        let key = done.iter().rev().find_map(|done| {
            if let DurableItem::Message(StoredMessage { key, .. }, ()) = done { Some(*key) } else { None }
        });
        key.expect("a message was stored")
    }

    fn settle(&mut self, key: u32, first: u16, count: u16, disposition: Stored) {
        let entry = self.lane.entry(key).unwrap();
        let location = Location { lane: 3, slot: entry.slot, offset: entry.offset };
        self.queue.push_back(Item::Outcome(Outcome { key, location, first, count, disposition }, ()));
    }

    fn refold(&self) -> fold::Folded {
        fold::fold(SHAPE, &self.disk).unwrap()
    }

    /// Reads a message as a delivery does.
    fn read(&self, lane: &Lane, key: u32) -> (Vec<u8>, Vec<u8>) {
        let entry = lane.entry(key).unwrap();
        let (salt, _) = lane.segment(entry.slot).unwrap();
        let files = self.disk.0.borrow();
        let bytes = &files[&entry.slot][entry.offset as usize..];
        let record = record::read(bytes, salt, u64::from(entry.offset)).unwrap();
        let view = MessageView::parse(record.payload).unwrap();
        let mut body = Vec::new();
        for extent in view.extents() {
            let piece = &files[&extent.slot][extent.offset as usize..][..extent.length as usize];
            assert_eq!(crc32c::crc32c(piece), extent.crc);
            body.extend_from_slice(piece);
        }
        (view.sender.to_vec(), body)
    }
}

fn message(sender: &str, recipients: u16, body: Vec<u8>) -> NewMessage {
    let recipients = (0..recipients)
        .map(|number| Recipient::new(format!("r{number}@x.example").into_bytes().into(), 0))
        .collect();
    let envelope = Envelope {
        sender: sender.as_bytes().to_vec(),
        recipients,
        arrival: UnixMillis(1),
        expiry: UnixMillis(2),
        origin: Origin {
            client: Some("127.0.0.1:1".parse().unwrap()),
            helo: "h".into(),
            protocol: WithProtocol::Esmtp,
            tls: None,
        },
        account: None,
        needs: Needs::default(),
        needs_stuffing: false,
        mailbox_line: false,
        hides_client: false,
        parameters: None,
        signatures: None,
        handover: None,
    };
    NewMessage {
        envelope: Box::new(envelope),
        size: body.len() as u64,
        header_length: 0,
        chunks: Vec::new(),
        body,
    }
}

/// First, count, attempts, next, reply, whether it is told to be late.
type Range = (u16, u16, u16, u32, String, bool);

fn state(lane: &Lane) -> Vec<(u16, u32, Vec<Range>)> {
    let mut state: Vec<_> = lane
        .entries()
        .map(|(_, entry)| {
            let ranges = entry.live();
            let ranges = ranges
                .iter()
                .map(|r| (r.first, r.count, r.attempts, r.next, lane.reply(r.reply).to_owned(), r.late))
                .collect();
            (entry.slot, entry.offset, ranges)
        })
        .collect();
    state.sort();
    state
}

#[test]
fn what_is_stored_is_found_again() {
    let mut bench = Bench::new();
    let one = bench.store(message("one@x.example", 3, b"first body".to_vec()));
    let two = bench.store(message("two@x.example", 1, vec![b'x'; 200_000]));
    bench.settle(one, 1, 1, Stored::Delivered);
    bench.settle(
        two,
        0,
        1,
        Stored::Deferred(StoredDeferral { attempts: 2, next: 77, reply: "451 later".into(), late: false }),
    );
    bench.commit();
    let folded = bench.refold();
    assert!(folded.damage.is_empty(), "{:?}", folded.damage);
    assert_eq!(folded.torn, 0);
    assert_eq!(state(&folded.lane), state(&bench.lane));
    let bodies: Vec<_> = folded.lane.entries().map(|(key, _)| bench.read(&folded.lane, key)).collect();
    assert_eq!(bodies[0], (b"one@x.example".to_vec(), b"first body".to_vec()));
    assert_eq!(bodies[1], (b"two@x.example".to_vec(), vec![b'x'; 200_000]));
}

#[test]
fn a_chunked_body_is_put_together_and_pins_its_segments() {
    // What goes out before all that came is known last, and stored last.
    const FIRST: &[u8] = b"X-First: known at the end\r\n";
    let mut bench = Bench::new();
    let mut chunks: Vec<Extent> = Vec::new();
    // More than a segment, so that the pieces lie in several.
    let pieces = (0..24u8).map(|number| vec![number; 250_000]).chain([FIRST.to_vec()]);
    for piece in pieces {
        bench.queue.push_back(Item::Chunk(piece, ()));
        match bench.commit().pop() {
            Some(DurableItem::Chunk(extent, ())) => chunks.push(*extent.get()),
            other => panic!("{other:?}"),
        }
    }
    let segments: std::collections::BTreeSet<_> = chunks.iter().map(|extent| extent.slot).collect();
    assert!(segments.len() > 1);
    chunks.rotate_right(1);
    let mut large = message("large@x.example", 1, b"the end".to_vec());
    large.chunks = chunks;
    let key = bench.store(large);
    let folded = bench.refold();
    let (found, _) = folded.lane.entries().next().unwrap();
    let (_, body) = bench.read(&folded.lane, found);
    assert_eq!(body.len(), FIRST.len() + 24 * 250_000 + 7);
    assert!(body.starts_with(FIRST) && body[FIRST.len()] == 0 && body.ends_with(b"\x17the end"));
    let before = bench.lane.segments();
    bench.settle(key, 0, 1, Stored::Delivered);
    bench.commit();
    bench.housekeep();
    assert!(bench.lane.segments().1 > before.1, "its segments are free now");
}

#[test]
fn a_torn_tail_is_dropped_and_nothing_before_it() {
    let mut bench = Bench::new();
    bench.store(message("kept@x.example", 1, vec![b'a'; 9_000]));
    let before = state(&bench.lane);
    bench.store(message("torn@x.example", 1, vec![b'b'; 9_000]));
    let (slot, offset, length) = bench.last;
    let whole = bench.disk.0.borrow()[&slot].clone();
    for lost in (0..length - 4096).step_by(512) {
        // A sector of the last commit never reached the disk.
        bench.disk.write(slot, offset + lost as u32, &[0xAA; 512]);
        let folded = bench.refold();
        assert_eq!(state(&folded.lane), before, "sector at {lost}");
        assert!(folded.damage.is_empty(), "sector at {lost}: {:?}", folded.damage);
        bench.disk.0.borrow_mut().insert(slot, whole.clone());
    }
}

#[test]
fn rot_is_reported_and_later_mail_survives_it() {
    let mut bench = Bench::new();
    bench.store(message("one@x.example", 1, vec![b'a'; 9_000]));
    let (slot, offset, _) = bench.last;
    bench.store(message("two@x.example", 1, vec![b'b'; 9_000]));
    bench.disk.write(slot, offset + 50, &[0xFF; 8]);
    let folded = bench.refold();
    assert_eq!(folded.damage.len(), 1);
    assert_eq!(folded.lane.messages(), 1);
    let (key, _) = folded.lane.entries().next().unwrap();
    assert_eq!(bench.read(&folded.lane, key).0, b"two@x.example");
}

#[test]
fn rot_in_the_last_commit_of_a_sealed_segment_is_no_torn_tail() {
    let mut bench = Bench::new();
    bench.store(message("one@x.example", 1, vec![b'a'; 9_000]));
    bench.store(message("two@x.example", 1, vec![b'b'; 9_000]));
    let (slot, offset, length) = bench.last;
    // A restart: the lane goes on in a fresh segment, whose header says where this one ends.
    bench.lane = bench.refold().lane;
    bench.store(message("three@x.example", 1, b"3".to_vec()));
    assert_ne!(bench.last.0, slot);
    let whole = bench.disk.0.borrow()[&slot].clone();
    bench.disk.write(slot, offset + length as u32 - 8192, &[0xAA; 8]);
    let folded = bench.refold();
    assert_eq!((folded.torn, folded.lane.messages()), (0, 3), "a damaged body is found when it is sent");
    bench.disk.0.borrow_mut().insert(slot, whole);
    bench.disk.write(slot, offset + 60, &[0xAA; 8]);
    let folded = bench.refold();
    assert_eq!((folded.torn, folded.lane.messages()), (0, 2));
    assert_eq!(folded.damage.len(), 1, "{:?}", folded.damage);
}

#[test]
fn a_failed_commit_is_void_and_the_lane_goes_on_elsewhere() {
    let mut bench = Bench::new();
    let one = bench.store(message("one@x.example", 1, b"1".to_vec()));
    bench.queue.push_back(Item::Message(message("void@x.example", 1, b"2".to_vec()), ()));
    let batch = bench.begin().unwrap();
    bench.append(&batch);
    let returned = bench.lane.failed(batch);
    assert_eq!(returned.len(), 1);
    bench.store(message("three@x.example", 1, b"3".to_vec()));
    assert_ne!(bench.lane.entry(one).unwrap().slot, bench.last.0);
    // The void commit is whole on disk, and does not count all the same.
    let folded = bench.refold();
    assert_eq!(state(&folded.lane), state(&bench.lane));
    assert_eq!(folded.lane.messages(), 2);
}

/// What failed commits left on the disk is void, whatever of it got there: `kept` says so for each of them.
fn void_after_failures(kept: &[bool]) {
    let mut bench = Bench::new();
    bench.store(message("one@x.example", 1, b"1".to_vec()));
    for (place, kept) in kept.iter().enumerate() {
        bench.queue.push_back(Item::Message(message("void@x.example", 1, b"2".to_vec()), ()));
        let batch = bench.begin().unwrap();
        assert_eq!(
            batch.header.is_some(),
            place > 0,
            "the first fails behind a good one, each other in a fresh segment"
        );
        if *kept {
            bench.append(&batch);
        }
        bench.lane.failed(batch);
        bench.housekeep();
    }
    bench.store(message("three@x.example", 1, b"3".to_vec()));
    let folded = bench.refold();
    assert_eq!(state(&folded.lane), state(&bench.lane), "{kept:?}");
    assert_eq!(folded.lane.messages(), 2, "{kept:?}");
}

#[test]
fn failed_commits_in_a_row_are_void_whatever_of_them_is_on_disk() {
    for kept in 0..16 {
        void_after_failures(&[kept & 1 > 0, kept & 2 > 0, kept & 4 > 0, kept & 8 > 0]);
    }
}

#[test]
fn segments_are_recycled_and_old_lives_do_not_rise() {
    let mut bench = Bench::new();
    for round in 0..120 {
        let mut keys = Vec::new();
        for _ in 0..4 {
            keys.push(bench.store(message("a@x.example", 1, vec![round; 100_000])));
        }
        for key in keys {
            bench.settle(key, 0, 1, Stored::Delivered);
        }
        bench.commit();
        if round % 17 == 0 {
            let folded = bench.refold();
            assert_eq!(state(&folded.lane), state(&bench.lane), "round {round}");
            assert!(folded.damage.is_empty(), "{:?}", folded.damage);
        }
    }
    assert!(bench.lane.segments().0 <= 8, "48 MB went through {:?} segments", bench.lane.segments());
}

#[test]
fn an_old_message_does_not_hold_everything_after_it() {
    let mut bench = Bench::new();
    let old = bench.store(message("old@x.example", 2, b"old".to_vec()));
    for round in 0..400u32 {
        if round % 4 == 0 {
            bench.settle(
                old,
                0,
                1,
                Stored::Deferred(StoredDeferral {
                    attempts: round as u16,
                    next: round,
                    reply: "451 no".into(),
                    late: false,
                }),
            );
        }
        let key = bench.store(message("a@x.example", 1, vec![1; 200_000]));
        bench.settle(key, 0, 1, Stored::Delivered);
        bench.commit();
    }
    assert!(bench.lane.segments().0 <= 14, "80 MB went through {:?} segments", bench.lane.segments());
    let folded = bench.refold();
    assert_eq!(state(&folded.lane), state(&bench.lane));
}

#[test]
fn foreign_and_newer_spools_are_refused() {
    let mut bench = Bench::new();
    bench.store(message("one@x.example", 1, b"1".to_vec()));
    let foreign = fold::fold(Shape { origin: LaneOrigin { node: 43, ..LANE_ORIGIN }, ..SHAPE }, &bench.disk);
    assert_eq!(foreign.unwrap_err(), SpoolRefusal::ForeignNode { slot: bench.last.0, node: 42 });
    // A later version, whole with its CRC.
    let mut later = bench.disk.read(bench.last.0, 0, segment::HEADER).unwrap();
    later[8..12].copy_from_slice(&9u32.to_le_bytes());
    let crc = crc32c::crc32c(&later[..segment::HEADER - 4]);
    later[segment::HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    bench.disk.write(bench.last.0, 0, &later);
    assert!(matches!(fold::fold(SHAPE, &bench.disk), Err(SpoolRefusal::Newer(_))));
}

#[test]
fn random_histories_fold_to_what_the_lane_knew() {
    for seed in 1..40u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = move |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut bench = Bench::new();
        for _ in 0..150 {
            let keys: Vec<_> = bench.lane.entries().map(|(key, entry)| (key, entry.total)).collect();
            for _ in 0..=next(4) {
                let pick = if keys.is_empty() { None } else { keys.get(next(keys.len() as u64) as usize) };
                match (next(3), pick) {
                    (0, _) | (_, None) => {
                        let body = vec![0; next(200_000) as usize + 1];
                        let new = message("a@x.example", next(6) as u16 + 1, body);
                        bench.queue.push_back(Item::Message(new, ()));
                    }
                    (kind, Some((key, total))) => {
                        let first = next(u64::from(*total)) as u16;
                        let count = next(u64::from(total - first)) as u16 + 1;
                        let disposition = match (kind, next(3)) {
                            (1, _) => Stored::Deferred(StoredDeferral {
                                attempts: 1,
                                next: next(99) as u32,
                                reply: "4".into(),
                                late: next(3) == 0,
                            }),
                            (_, 0) => Stored::Bounced(None),
                            _ => Stored::Delivered,
                        };
                        bench.settle(*key, first, count, disposition);
                    }
                }
            }
            bench.commit();
        }
        let folded = bench.refold();
        assert!(state(&folded.lane) == state(&bench.lane), "seed {seed}");
        assert!(folded.damage.is_empty(), "seed {seed}: {:?}", folded.damage);
    }
}

/// The file with a piece of a body was replaced by a blank one; its slot is used again, and the message that misses the piece must not free it.
#[test]
fn a_lost_piece_frees_nobody_elses_segment() {
    let mut bench = Bench::new();
    let mut chunks = Vec::new();
    for number in 0..17u8 {
        bench.queue.push_back(Item::Chunk(vec![number; 250_000], ()));
        match bench.commit().pop() {
            Some(DurableItem::Chunk(extent, ())) => chunks.push(*extent.get()),
            other => panic!("{other:?}"),
        }
    }
    let lost = chunks[0].slot;
    let mut large = message("large@x.example", 1, b"the end".to_vec());
    large.chunks = chunks;
    bench.store(large);
    assert_ne!(bench.last.0, lost);
    bench.disk.0.borrow_mut().insert(lost, vec![0; SIZE as usize]);
    bench.lane = bench.refold().lane;
    bench.housekeep();
    let (large, _) = bench.lane.entries().next().unwrap();
    while bench.last.0 != lost {
        bench.store(message("kept@x.example", 1, vec![1; 250_000]));
    }
    let kept = bench.lane.messages() - 1;
    bench.settle(large, 0, 1, Stored::Bounced(None));
    bench.commit();
    for _ in 0..40 {
        let later = bench.store(message("later@x.example", 1, vec![2; 250_000]));
        bench.settle(later, 0, 1, Stored::Delivered);
        bench.commit();
    }
    assert_eq!(bench.refold().lane.messages(), kept);
}

#[test]
fn a_copied_segment_is_not_read_twice() {
    let mut bench = Bench::new();
    bench.store(message("one@x.example", 1, b"1".to_vec()));
    let copy = bench.disk.0.borrow()[&bench.last.0].clone();
    let next = bench.disk.0.borrow().len() as u16;
    bench.disk.0.borrow_mut().insert(next, copy);
    let folded = bench.refold();
    assert_eq!((folded.lane.messages(), folded.damage.len()), (1, 1), "{:?}", folded.damage);
    assert_eq!(state(&folded.lane), state(&bench.lane));
    // Whose number cannot be read may have had the highest one.
    bench.disk.write(bench.last.0, 30, &[9]);
    bench.lane = bench.refold().lane;
    bench.housekeep();
    bench.store(message("two@x.example", 1, b"2".to_vec()));
    assert!(bench.lane.segment(bench.last.0).unwrap().1 > 1);
}

/// A segment keeps its size when new ones get another.
#[test]
fn segments_of_a_former_size_are_used_again() {
    let mut bench = Bench::new();
    let key = bench.store(message("one@x.example", 1, b"1".to_vec()));
    let old = bench.last.0;
    bench.settle(key, 0, 1, Stored::Delivered);
    bench.commit();
    let larger = Shape { segment_size: 2 * SIZE, ..SHAPE };
    bench.lane = fold::fold(larger, &bench.disk).unwrap().lane;
    let (slot, _) = bench.lane.next_to_free().unwrap();
    assert_eq!(slot, old);
    bench.lane.freed(slot, Some(Synced::pretended()));
    // All of them are filled, and nothing is written past the end of one.
    while bench.last.0 != old {
        bench.store(message("more@x.example", 1, vec![1; 250_000]));
    }
    while bench.last.0 == old {
        bench.store(message("more@x.example", 1, vec![1; 250_000]));
    }
    assert!(bench.disk.0.borrow()[&old].len() as u64 == SIZE && bench.refold().damage.is_empty());
}

/// The header of the next segment vouches for the last commit of this one as a later commit header vouches for any other.
#[test]
fn rot_at_the_end_of_a_full_segment_is_reported() {
    let mut bench = Bench::new();
    bench.store(message("first@x.example", 1, b"1".to_vec()));
    let mut last = bench.last;
    while bench.last.0 == last.0 {
        last = bench.last;
        bench.store(message("more@x.example", 1, vec![0; 250_000]));
    }
    let (slot, offset, _) = last;
    let whole = bench.disk.0.borrow()[&slot].clone();
    // In the commit header: what stands behind it can still be read. In the record: it is lost. Or the end of the file is gone.
    for (place, lost) in [(8, 0), (80, 1)] {
        bench.disk.write(slot, offset + place, &[0xFF; 8]);
        let folded = bench.refold();
        assert_eq!((folded.damage.len(), folded.torn), (1, 0), "at {place}: {:?}", folded.damage);
        assert_eq!(folded.lane.messages(), bench.lane.messages() - lost);
        bench.disk.0.borrow_mut().insert(slot, whole.clone());
    }
    bench.disk.0.borrow_mut().get_mut(&slot).unwrap().truncate(offset as usize);
    assert!(!bench.refold().damage.is_empty());
}

/// What one start reads, the next reads too: bodies that a commit header or a later segment vouches for are checked when they are sent.
#[test]
fn what_one_start_finds_the_next_finds() {
    let mut bench = Bench::new();
    bench.store(message("one@x.example", 1, vec![1; 9_000]));
    let (slot, offset, _) = bench.last;
    bench.disk.write(slot, offset + 5_000, &[0; 8]);
    bench.store(message("torn@x.example", 1, vec![2; 9_000]));
    bench.disk.write(slot, bench.last.1 + 5_000, &[0; 8]);
    let folded = bench.refold();
    assert_eq!((folded.lane.messages(), folded.torn), (1, 1));
    bench.lane = folded.lane;
    bench.store(message("three@x.example", 1, vec![3; 9_000]));
    assert_eq!(state(&bench.refold().lane), state(&bench.lane));
}
