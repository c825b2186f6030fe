//! A lane over files in memory, and proofs of syncs for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use relevo::id::{Durable, MessageId};
use relevo::mail::envelope::{Envelope, Needs, Origin, Recipient, WithProtocol};
use relevo::runtime::sim::{SimSegment, World};
use relevo::runtime::{Runtime, Segment, Synced};
use relevo::spool::batch::{Batch, Item, NewMessage};
use relevo::spool::fold::Files;
use relevo::spool::lane::{Begin, DurableItem, Lane, Shape, StoredMessage};
use relevo::spool::segment::LaneOrigin;
use relevo::time::UnixMillis;

/// Small segments, so that short histories go round them.
pub const SIZE: u64 = 64 * 1024;
pub const SHAPE: Shape =
    Shape { lane: 3, origin: LaneOrigin { node: 42, lane: 3 }, segment_size: SIZE, segments_max: 24 };

thread_local! {
    /// A simulated disk that syncs on demand: only a runtime makes the proofs a lane asks for.
    static PROOFS: (World, SimSegment) = {
        let world = World::new(1);
        let shard = world.shard(1, 0);
        let made = world.block_on(async move {
            shard.create_directory(Path::new("/proofs"))?;
            shard.create_segment(Path::new("/proofs/0"), 4096, None).await
        });
        let segment = made.expect("the simulated disk is sound");
        (world, segment)
    };
}

/// The proof of a sync.
pub fn proof() -> Synced {
    PROOFS.with(|(world, segment)| world.block_on(segment.sync()).expect("the simulated disk is sound"))
}

/// The proof that some message is stored.
pub fn durable() -> Durable<MessageId> {
    thread_local! {
        static MADE: Durable<MessageId> = {
            let mut bench = Bench::new();
            bench.queue.push_back(Item::Message(message(b"", 1, b"x".to_vec()), ()));
            let mut made = None;
            bench.commit(|_, done| {
                if let DurableItem::Message(StoredMessage { id, .. }, ()) = done {
                    made = Some(id);
                }
            });
            made.expect("it was stored")
        };
    }
    MADE.with(|made| *made)
}

/// The files of a lane.
#[derive(Default)]
pub struct Disk(pub RefCell<BTreeMap<u16, Vec<u8>>>);

impl Files for Disk {
    fn slots(&self) -> Vec<(u16, u64)> {
        self.0.borrow().iter().map(|(slot, file)| (*slot, file.len() as u64)).collect()
    }

    fn read(&self, slot: u16, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let files = self.0.borrow();
        let file = files.get(&slot).ok_or(io::ErrorKind::NotFound)?;
        assert!(length as u64 <= SIZE, "a read of {length} bytes");
        let range = offset as usize..offset as usize + length;
        Ok(file.get(range).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }
}

impl Disk {
    /// Writes where there is room; a lane that writes elsewhere is at fault.
    pub fn write(&self, slot: u16, offset: u32, bytes: &[u8]) {
        let mut files = self.0.borrow_mut();
        let file = files.get_mut(&slot).expect("a lane writes to files that exist");
        let place = file.get_mut(offset as usize..offset as usize + bytes.len());
        place.expect("a lane writes inside of its files").copy_from_slice(bytes);
    }
}

/// A lane and its driver.
pub struct Bench {
    pub disk: Disk,
    pub lane: Lane,
    pub queue: VecDeque<Item>,
    pub salt: u64,
}

impl Bench {
    pub fn new() -> Bench {
        let mut bench =
            Bench { disk: Disk::default(), lane: Lane::new(SHAPE), queue: VecDeque::new(), salt: 0x5A17 };
        bench.housekeep();
        bench
    }

    pub fn housekeep(&mut self) {
        while let Some(slot) = self.lane.wants_segment() {
            self.disk.0.borrow_mut().insert(slot, vec![0; SIZE as usize]);
            self.lane.segment_created(slot, true);
        }
        for _ in 0..SHAPE.segments_max * 2 {
            let Some((slot, block)) = self.lane.next_to_free() else { break };
            if self.disk.0.borrow().get(&slot).is_some_and(|file| file.len() >= block.len()) {
                self.disk.write(slot, 0, &block);
                self.lane.freed(slot, Some(proof()));
            } else {
                self.lane.freed(slot, None);
            }
        }
        for slot in self.lane.snapshot_due() {
            self.queue.push_front(Item::Snapshot(slot));
        }
    }

    /// The next commit, if one fits. What is refused is forgotten.
    pub fn begin(&mut self) -> Option<Batch> {
        for _ in 0..2 {
            // Salts are random: no two lives share one.
            self.salt = self.salt.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678_9ABC_DEF1);
            match self.lane.begin(&mut self.queue, self.salt) {
                Begin::Commit(batch) => return Some(batch),
                Begin::Refused(refused) | Begin::Held(refused) => {
                    drop(refused);
                }
                Begin::Nothing | Begin::Stalled => return None,
            }
        }
        None
    }

    pub fn append(&mut self, batch: &Batch) {
        if let Some(header) = &batch.header {
            self.disk.write(batch.slot, 0, header);
        }
        let bytes: Vec<u8> = batch.parts().iter().flat_map(|part| part.to_vec()).collect();
        assert_eq!((bytes.len(), bytes.len() % 4096), (batch.bytes(), 0));
        self.disk.write(batch.slot, batch.offset, &bytes);
    }

    /// Commits all that waits.
    pub fn commit(&mut self, mut each: impl FnMut(&mut Lane, DurableItem)) {
        for _ in 0..64 {
            let Some(batch) = self.begin() else { return };
            self.append(&batch);
            self.lane.done(batch, proof(), &mut each);
            self.housekeep();
        }
    }
}

/// A client's message to `count` recipients.
pub fn message(sender: &[u8], count: usize, body: Vec<u8>) -> NewMessage {
    let recipients = (0..count)
        .map(|number| Recipient::new(format!("r{number}@x.example").into_bytes().into(), 3))
        .collect();
    let client = Some("127.0.0.1:1".parse().expect("an address"));
    let envelope = Envelope {
        sender: sender.to_vec(),
        recipients,
        arrival: UnixMillis(1),
        expiry: UnixMillis(2),
        origin: Origin { client, helo: "h".into(), protocol: WithProtocol::Esmtp, tls: None },
        account: None,
        needs: Needs::default(),
        needs_stuffing: false,
        mailbox_line: false,
        hides_client: false,
        parameters: None,
        signatures: None,
        handover: None,
    };
    let size = body.len() as u64;
    NewMessage { envelope: Box::new(envelope), size, header_length: 0, chunks: Vec::new(), body }
}
