//! A lane's commits, and what a start makes of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::Duration;

use relevo::id::{Durable, Location, MessageId};
use relevo::mail::envelope::{Envelope, Needs, Origin, Recipient, WithProtocol};
use relevo::queue::outcome::{Stored, StoredDeferral};
use relevo::runtime::sim::{SimSegment, World};
use relevo::runtime::{Runtime, Segment, Synced};
use relevo::spool::batch::{Batch, Item, NewMessage, Outcome};
use relevo::spool::fold::{self, Files, Folded};
use relevo::spool::lane::{Begin, DurableItem, Lane, Shape, StoredMessage};
use relevo::spool::segment::LaneOrigin;
use relevo::time::UnixMillis;

use super::Routine;
use super::inputs::{self, BODY};

/// When everything happens.
pub const NOW: UnixMillis = UnixMillis(1_764_061_200_000);
/// Messages of one commit.
pub const TOGETHER: usize = 16;
/// Records folded.
pub const FOLDED: u64 = 20_000;

/// A lane of the usual size.
pub const SHAPE: Shape =
    Shape { lane: 0, origin: LaneOrigin { node: 42, lane: 0 }, segment_size: 64 << 20, segments_max: 64 };

/// A message with this body.
pub fn message(body: Vec<u8>) -> Item {
    let domain_at = "ada.example@".len() as u16;
    let envelope = Envelope {
        sender: b"bounce+4711@news.shop.example".to_vec(),
        recipients: vec![Recipient::new(b"ada.example@mail.example"[..].into(), domain_at)],
        arrival: NOW,
        expiry: NOW.after(Duration::from_secs(5 * 86_400)),
        origin: Origin {
            client: Some("192.0.2.17:40000".parse().expect("an address")),
            helo: "app7.shop.example".into(),
            protocol: WithProtocol::Esmtp,
            tls: None,
        },
        account: None,
        needs: Needs::default(),
        needs_stuffing: true,
        mailbox_line: false,
        hides_client: false,
        parameters: None,
        signatures: None,
        handover: None,
    };
    let size = body.len() as u64;
    let header_length = size.min(1000) as u32;
    let message = NewMessage { envelope: Box::new(envelope), size, header_length, chunks: Vec::new(), body };
    Item::Message(message, ())
}

/// What became of a message.
pub fn outcome((key, location): (u32, Location), disposition: Stored) -> Item {
    Item::Outcome(Outcome { key, location, first: 0, count: 1, disposition }, ())
}

/// A lane without files. Its proofs come from a simulated disk, which is not measured.
pub struct Store {
    lane: Lane,
    queue: VecDeque<Item>,
    world: World,
    segment: SimSegment,
    salt: u64,
    /// Messages stored and not settled.
    stored: Vec<(u32, Location)>,
}

impl Store {
    /// An empty lane with segments in its pool.
    pub fn new() -> Store {
        Store::with(SHAPE)
    }

    fn with(shape: Shape) -> Store {
        let world = World::new(1);
        let runtime = world.shard(0, 0);
        runtime.create_directory(Path::new("/lane")).expect("a simulated disk");
        let segment = world
            .block_on(runtime.create_segment(Path::new("/lane/a"), 4096, None))
            .expect("a simulated disk");
        let lane = Lane::new(shape);
        let mut store = Store {
            lane,
            queue: VecDeque::new(),
            world,
            segment,
            salt: 0,
            stored: Vec::with_capacity(TOGETHER),
        };
        store.housekeep();
        store
    }

    fn proof(&self) -> Synced {
        self.world.block_on(self.segment.sync()).expect("a simulated disk")
    }

    fn housekeep(&mut self) {
        while let Some((slot, _)) = self.lane.next_to_free() {
            let proof = self.proof();
            self.lane.freed(slot, Some(proof));
        }
        while let Some(slot) = self.lane.wants_segment() {
            self.lane.segment_created(slot, true);
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

    fn done(&mut self, batch: Batch, proof: Synced) {
        let stored = &mut self.stored;
        self.lane.done(batch, proof, |_, done| {
            if let DurableItem::Message(StoredMessage { key, location, .. }, ()) = done {
                stored.push((key, location));
            }
        });
    }

    fn commit(&mut self, mut each: impl FnMut(&Batch)) {
        while let Some(batch) = self.begin() {
            each(&batch);
            let proof = self.proof();
            self.done(batch, proof);
            self.housekeep();
        }
    }

    /// Queues outcomes of all that is stored.
    fn settle(&mut self) {
        let delivered = |stored| outcome(stored, Stored::Delivered);
        self.queue.extend(self.stored.drain(..).map(delivered));
    }

    /// Stores one message: its id.
    pub fn store_one(&mut self) -> Durable<MessageId> {
        self.queue.push_back(message(inputs::body(BODY)));
        let batch = self.begin().expect("one message");
        let (proof, mut found) = (self.proof(), None);
        self.lane.done(batch, proof, |_, done| {
            if let DurableItem::Message(StoredMessage { id, .. }, ()) = done {
                found = Some(id);
            }
        });
        found.expect("a message")
    }

    fn queue_messages(&mut self) {
        let body = inputs::body(BODY);
        self.queue.extend((0..TOGETHER).map(|_| message(body.clone())));
    }
}

/// A commit is laid out, up to what the write is given.
struct Layout {
    store: Store,
    batch: Option<Batch>,
}

impl Routine for Layout {
    fn prepare(&mut self) {
        if let Some(batch) = self.batch.take() {
            let proof = self.store.proof();
            self.store.done(batch, proof);
            self.store.settle();
            self.store.commit(|_| ());
        }
        self.store.queue_messages();
    }

    fn run(&mut self) {
        let batch = self.store.begin().expect("messages wait");
        assert_eq!(black_box(batch.parts()).len(), TOGETHER + 2);
        self.batch = Some(batch);
    }
}

/// The layout of one commit.
pub fn layout() -> Box<dyn Routine> {
    Box::new(Layout { store: Store::new(), batch: None })
}

/// Messages and then their outcomes: two commits, everything but the disk's part.
struct Commit {
    store: Store,
    proofs: Vec<Synced>,
}

impl Routine for Commit {
    fn prepare(&mut self) {
        self.store.housekeep();
        self.store.queue_messages();
        self.proofs = vec![self.store.proof(), self.store.proof()];
    }

    fn run(&mut self) {
        for _ in 0..2 {
            let batch = self.store.begin().expect("items wait");
            black_box(batch.parts());
            let proof = self.proofs.pop().expect("two proofs");
            self.store.done(batch, proof);
            self.store.settle();
        }
    }
}

/// The whole life of messages in the spool.
pub fn commit() -> Box<dyn Routine> {
    Box::new(Commit { store: Store::new(), proofs: Vec::new() })
}

/// Files in memory.
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
    fn write(&self, batch: &Batch, size: u64) {
        let mut files = self.0.borrow_mut();
        let file = files.entry(batch.slot).or_insert_with(|| vec![0; size as usize]);
        let header = batch.header.iter().map(|header| (0, &header[..]));
        let mut at = batch.offset as usize;
        let parts = batch.parts();
        let parts = parts.iter().map(|part| {
            at += part.len();
            (at - part.len(), &part[..])
        });
        for (at, bytes) in header.chain(parts) {
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

struct Fold {
    shape: Shape,
    disk: Disk,
    folded: Option<Folded>,
}

impl Routine for Fold {
    fn prepare(&mut self) {
        self.folded = None;
    }

    fn run(&mut self) {
        let folded = fold::fold(self.shape, &self.disk).expect("a sound lane");
        self.folded = Some(folded);
    }
}

/// The fold of a lane: half of the records are messages, of which a tenth are settled and the others deferred.
pub fn fold() -> Box<dyn Routine> {
    let shape = Shape { segment_size: 4 << 20, ..SHAPE };
    let mut store = Store::with(shape);
    let disk = Disk::default();
    let texts = ["451 4.3.0 try again later", "450 4.2.1 mailbox busy", "421 4.7.0 too many connections"];
    let messages = FOLDED as usize / 2;
    for some in 0..messages / 100 {
        store.queue.extend((0..100).map(|_| message(inputs::body(1024)[..200].to_vec())));
        store.commit(|batch| disk.write(batch, shape.segment_size));
        for (number, stored) in std::mem::take(&mut store.stored).into_iter().enumerate() {
            let reply = texts[(some + number) % texts.len()].into();
            let disposition = match number % 10 {
                0 => Stored::Delivered,
                _ => Stored::Deferred(StoredDeferral {
                    attempts: 1,
                    next: NOW.seconds() + 600,
                    reply,
                    late: false,
                }),
            };
            store.queue.push_back(outcome(stored, disposition));
        }
        store.commit(|batch| disk.write(batch, shape.segment_size));
    }
    let fold = Fold { shape, disk, folded: None };
    let found = fold::fold(shape, &fold.disk).expect("a sound lane");
    assert!(found.lane.messages() == messages * 9 / 10 && found.damage.is_empty(), "{:?}", found.damage);
    Box::new(fold)
}
