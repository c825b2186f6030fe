//! One commit: what goes into it and how its bytes lie.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::id::{Location, MessageId};
use crate::limits;
use crate::mail::envelope::Envelope;
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::spool::parameters;
use crate::spool::rebind::{self, Changes};
use crate::spool::record::{self, Extent, MessageView, RecordError, RecordKind};
use crate::spool::segment::{COMMIT_HEADER, CommitHeader};

/// A message to be stored.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its envelope.
    pub envelope: Box<Envelope>,
    /// Canonical bytes of the whole body.
    pub size: u64,
    /// Bytes of its header section.
    pub header_length: u32,
    /// Pieces that are stored already.
    pub chunks: Vec<Extent>,
    /// The rest of the body, or all of it.
    pub body: Vec<u8>,
}

/// What became of some recipients of a stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The message's entry in the lane's index.
    pub key: u32,
    /// Where its record lay when the message was stored or found: keys are reused, places of live messages are not.
    pub location: Location,
    /// First ordinal.
    pub first: u16,
    /// How many.
    pub count: u16,
    /// What became of them.
    pub disposition: Stored,
}

/// A live message on its way out of a segment that is to be freed.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Its entry in the lane's index.
    pub key: u32,
    /// Where it was read.
    pub from: Location,
    /// Sequence number of that segment: a place of another life is another place.
    pub sequence: u32,
    /// Pieces of its body that are stored, in order; some may stay where they are.
    pub pieces: Vec<Extent>,
    /// Those of them that were stored for the move; they are nobody's until it is durable.
    pub fresh: Vec<Extent>,
    /// Its body, if no piece of it is stored elsewhere.
    pub body: Vec<u8>,
    fields: Vec<u8>,
    total: u16,
}

impl Moved {
    /// A move of the message whose record has this payload. Without pieces, `body` is the whole body.
    pub fn new(
        (key, from, sequence): (u32, Location, u32),
        payload: &[u8],
        pieces: Vec<Extent>,
        fresh: Vec<Extent>,
        body: Vec<u8>,
    ) -> Result<Moved, RecordError> {
        let total = MessageView::parse(payload)?.count;
        let fields = record::lasting_fields(payload)?;
        Ok(Moved { key, from, sequence, pieces, fresh, body, fields, total })
    }

    /// Where it lies next these recipients (first, count) have what is set.
    pub fn rebind(&mut self, (first, count): (u16, u16), set: &Changes) -> Result<(), RecordError> {
        self.fields = rebind::fields(&self.fields, (first, count, self.total), set)?;
        Ok(())
    }

    /// A planted defect: its parameters are forgotten.
    pub fn plant_no_parameters(&mut self) {
        self.fields = record::without_parameters(&self.fields);
    }

    /// A planted defect: its signatures are forgotten.
    pub fn plant_no_signatures(&mut self) {
        self.fields = record::without_signatures(&self.fields);
    }

    /// About as many bytes as it will take.
    pub fn bytes(&self) -> usize {
        self.fields.len() + self.body.len()
    }
}

/// What the driver wants back with each kind of item: who waits for it. By type, so that no answer can go to who waits for another
/// kind.
pub trait Tickets: std::fmt::Debug {
    /// With a client's message.
    type Message: std::fmt::Debug;
    /// With a message of the relay's own.
    type Notification: std::fmt::Debug;
    /// With a piece of a body on its way in.
    type Chunk: std::fmt::Debug;
    /// With a piece of the body of a stored message that is to move.
    type Piece: std::fmt::Debug;
    /// With an outcome.
    type Outcome: std::fmt::Debug;
    /// With a move.
    type Move: std::fmt::Debug;
}

/// Nobody waits for anything.
impl Tickets for () {
    type Message = ();
    type Notification = ();
    type Chunk = ();
    type Piece = ();
    type Outcome = ();
    type Move = ();
}

/// What a commit is made of, and who waits for it.
#[derive(Debug)]
pub enum Item<T: Tickets = ()> {
    /// A client's message.
    Message(NewMessage, T::Message),
    /// A message of the relay's own, as a bounce is.
    Own(NewMessage, T::Notification),
    /// A piece of a body.
    Chunk(Vec<u8>, T::Chunk),
    /// A piece of the body of a stored message that is to move.
    Piece(Vec<u8>, T::Piece),
    /// An outcome.
    Outcome(Outcome, T::Outcome),
    /// Everything live of a segment.
    Snapshot(Snapshot),
    /// A stored message in a new place.
    Move(Moved, T::Move),
}

/// What a client brings: all that is refused where there is no room for it.
#[derive(Debug)]
pub enum ClientItem<T: Tickets = ()> {
    /// A message.
    Message(NewMessage, T::Message),
    /// A piece of a body.
    Chunk(Vec<u8>, T::Chunk),
}

impl<T: Tickets> From<ClientItem<T>> for Item<T> {
    fn from(incoming: ClientItem<T>) -> Item<T> {
        match incoming {
            ClientItem::Message(message, ticket) => Item::Message(message, ticket),
            ClientItem::Chunk(body, ticket) => Item::Chunk(body, ticket),
        }
    }
}

/// Which segment a snapshot is of: the life of a file, which may be another's by the time it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    slot: u16,
    sequence: u32,
}

impl Snapshot {
    pub(in crate::spool) fn new(slot: u16, sequence: u32) -> Snapshot {
        Snapshot { slot, sequence }
    }

    /// The file, and the sequence number of that life of it.
    pub(in crate::spool) fn of(self) -> (u16, u32) {
        (self.slot, self.sequence)
    }
}

impl<T: Tickets> Item<T> {
    /// Whether it may use the segments kept in reserve: all may but what clients bring.
    pub fn may_use_reserve(&self) -> bool {
        !matches!(self, Item::Message(..) | Item::Chunk(..))
    }

    /// Itself, unless a client brought it and it may have to be refused.
    pub fn unless_incoming(self) -> Result<Item<T>, ClientItem<T>> {
        match self {
            Item::Message(message, ticket) => Err(ClientItem::Message(message, ticket)),
            Item::Chunk(body, ticket) => Err(ClientItem::Chunk(body, ticket)),
            other => Ok(other),
        }
    }

    /// The part of a body that is written with it.
    fn body(&self) -> &[u8] {
        match self {
            Item::Message(NewMessage { body, .. }, _)
            | Item::Own(NewMessage { body, .. }, _)
            | Item::Move(Moved { body, .. }, _) => body,
            Item::Chunk(body, _) | Item::Piece(body, _) => body,
            Item::Outcome(..) | Item::Snapshot(_) => &[],
        }
    }

    /// Whether it tells the state before its commit, so that no outcome of that commit may stand before it.
    fn tells_state(&self) -> bool {
        matches!(self, Item::Snapshot(_) | Item::Move(..))
    }

    /// At most so many bytes of a commit; a snapshot is measured by the lane.
    pub(in crate::spool) fn bound(&self) -> usize {
        match self {
            Item::Message(message, _) | Item::Own(message, _) => {
                let envelope = &message.envelope;
                let recipients: usize =
                    envelope.recipients.iter().map(|recipient| recipient.address.len() + 4).sum();
                let words = envelope.origin.helo.len()
                    + envelope.origin.tls.as_ref().map_or(0, |words| words.len())
                    + envelope.account.as_ref().map_or(0, |words| words.len())
                    + envelope.signatures.as_ref().map_or(0, |signatures| signatures.len());
                512 + envelope.sender.len()
                    + recipients
                    + words
                    + parameters::bound(envelope)
                    + record::handover_bound(envelope)
                    + 20 * message.chunks.len()
                    + message.body.len()
            }
            Item::Chunk(body, _) | Item::Piece(body, _) => 64 + body.len(),
            Item::Move(moved, _) => {
                let state = usize::from(moved.total) * (record::DISPOSITION + limits::REPLY_MOVED_MAX);
                64 + moved.bytes() + 20 * (moved.pieces.len() + 1) + state
            }
            Item::Outcome(outcome, _) => match &outcome.disposition {
                Stored::Deferred(StoredDeferral { reply, .. }) => 80 + reply.len(),
                Stored::Held(hold) => 80 + hold.words.len() + hold.reply.len(),
                _ => 80,
            },
            Item::Snapshot(_) => limits::SNAPSHOT_MAX,
        }
    }
}

/// Where an item of a batch lies.
#[derive(Clone, Copy, Debug)]
pub(in crate::spool) struct RecordPlace {
    /// Offset of the record in its segment.
    pub offset: u32,
    /// Bytes of the record; 0 if none was written, because its message is not live any more.
    pub length: u32,
    /// The part of its body that lies in this commit.
    pub extent: Option<Extent>,
}

/// A commit on its way to disk.
#[derive(Debug)]
pub struct Batch<T: Tickets = ()> {
    /// The file it goes to.
    pub slot: u16,
    /// That segment's sequence number.
    pub sequence: u32,
    /// Where it begins.
    pub offset: u32,
    /// The header block of a segment that begins its life with this commit; written at offset 0.
    pub header: Option<Vec<u8>>,
    end: u32,
    items: Vec<(Item<T>, RecordPlace)>,
    spare: CommitBuffers,
    padding: usize,
}

/// Memory of one commit after the other.
#[derive(Debug, Default)]
pub(in crate::spool) struct CommitBuffers {
    /// CommitHeader and records.
    front: Vec<u8>,
    /// Start and end of each record in `front`, and where its own extent stands.
    records: Vec<(usize, usize, Option<usize>)>,
}

static ZEROS: [u8; limits::BLOCK as usize] = [0; limits::BLOCK as usize];

impl<T: Tickets> Batch<T> {
    /// The bytes, in order, for one vectored write.
    pub fn parts(&self) -> Vec<IoSlice<'_>> {
        let mut parts = Vec::with_capacity(self.items.len() + 2);
        parts.push(IoSlice::new(&self.spare.front));
        for (item, place) in &self.items {
            if place.extent.is_some() {
                parts.push(IoSlice::new(item.body()));
            }
        }
        parts.push(IoSlice::new(&ZEROS[..self.padding]));
        parts
    }

    /// Where it ends, what is in it and where that lies, and the memory that it used.
    pub(in crate::spool) fn into_parts(self) -> (u32, Vec<(Item<T>, RecordPlace)>, CommitBuffers) {
        (self.end, self.items, self.spare)
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes written.
    pub fn bytes(&self) -> usize {
        (self.end - self.offset) as usize
    }
}

/// Where a batch goes.
#[derive(Clone, Copy, Debug)]
pub(in crate::spool) struct Target {
    pub lane: u16,
    pub slot: u16,
    pub sequence: u32,
    pub salt: u64,
    pub offset: u32,
    /// Bytes left in the segment.
    pub room: usize,
}

/// What an outcome's message is called on disk, and what a snapshot says: the lane knows.
pub(in crate::spool) trait Names {
    /// Sequence number of the segment and offset of the record, if the message is still live.
    fn name(&self, outcome: &Outcome) -> Option<(u32, u32)>;
    /// Writes a snapshot.
    fn snapshot(&self, of: Snapshot, out: &mut Vec<u8>) -> Option<RecordKind>;
    /// Writes what is live of a message that moves, and whether some of it is held; None if it is not live any more where it was read.
    fn state(&self, moved: &Moved, out: &mut Vec<u8>) -> Option<bool>;
}

/// What of the front of the queue goes into one commit together, if one can hold it: how many items, and at most so many bytes.
/// A message of our own is a notification; the outcomes of one message right behind it are what it tells, and a crash leaves all of that
/// or nothing.
pub(in crate::spool) fn together<T: Tickets>(queue: &VecDeque<Item<T>>) -> Option<(usize, usize)> {
    let first = queue.front()?;
    let alone = (1, first.bound());
    let (Item::Own(..), Some(Item::Outcome(told, _))) = (first, queue.get(1)) else { return Some(alone) };
    let of_it = |item: &&Item<T>| matches!(item, Item::Outcome(one, _) if (one.key, one.location) == (told.key, told.location));
    let items = 1 + queue.iter().skip(1).take(limits::COMMIT_ITEMS_MAX).take_while(of_it).count();
    let bound = queue.range(..items).map(Item::bound).sum();
    let fits = items <= limits::COMMIT_ITEMS_MAX && bound <= room(limits::COMMIT_BYTES_MAX);
    Some(if fits { (items, bound) } else { alone })
}

/// Takes items off the front of `queue` as long as they fit and lays them out.
pub(in crate::spool) fn build<T: Tickets>(
    queue: &mut VecDeque<Item<T>>,
    target: Target,
    names: &impl Names,
    header: Option<Vec<u8>>,
    spare: CommitBuffers,
) -> Batch<T> {
    let room = room(target.room.min(limits::COMMIT_BYTES_MAX));
    let CommitBuffers { mut front, mut records } = spare;
    front.clear();
    front.resize(COMMIT_HEADER, 0);
    records.clear();
    let mut items: Vec<(Item<T>, RecordPlace)> =
        Vec::with_capacity(queue.len().min(limits::COMMIT_ITEMS_MAX));
    let mut bound = 0;
    let mut outcomes = false;
    // Items that are in it because the one before is.
    let mut tied = 0;
    while items.len() < limits::COMMIT_ITEMS_MAX {
        let Some(item) = queue.front() else { break };
        let too_late = outcomes && item.tells_state();
        outcomes |= matches!(item, Item::Outcome(..));
        if tied == 0 {
            let Some((with, bytes)) = together(queue) else { break };
            (tied, bound) = (with, bound + bytes);
            let too_many = items.len() + with > limits::COMMIT_ITEMS_MAX;
            if !items.is_empty() && (bound > room || too_late || too_many) {
                break;
            }
        }
        tied -= 1;
        let Some(item) = queue.pop_front() else { break };
        let start = front.len();
        let place = write(&item, &mut front, target, names);
        records.push((start, front.len(), place));
        let offset = target.offset + u32::try_from(start).expect("a commit is small");
        let length = u32::try_from(front.len() - start).expect("a commit is small");
        items.push((item, RecordPlace { offset, length, extent: None }));
    }
    let commit_header = CommitHeader {
        salt: target.salt,
        offset: target.offset,
        records: records.iter().filter(|(start, end, _)| start < end).count() as u32,
        records_length: u32::try_from(front.len() - COMMIT_HEADER).expect("a commit is small"),
        bodies_length: bodies_length(&items, &records),
        clean: false,
    };
    let at = u32::try_from(commit_header.bodies_at()).expect("offsets are 32 bits");
    let at = finish(&mut items, &records, &mut front, target, at);
    commit_header.write(&mut front);
    let end = u32::try_from(commit_header.end()).expect("offsets are 32 bits");
    let padding = (end - at) as usize;
    Batch {
        slot: target.slot,
        sequence: target.sequence,
        offset: target.offset,
        header,
        end,
        items,
        spare: CommitBuffers { front, records },
        padding,
    }
}

/// Bytes of records and bodies for which a commit of so many has room.
fn room(bytes: usize) -> usize {
    bytes - COMMIT_HEADER - limits::BLOCK as usize
}

/// Says where the bodies lie, from `at` on, and completes the records. Where the bodies end.
fn finish<T: Tickets>(
    items: &mut [(Item<T>, RecordPlace)],
    records: &[(usize, usize, Option<usize>)],
    front: &mut [u8],
    target: Target,
    mut at: u32,
) -> u32 {
    for ((item, place), (start, end, extent_at)) in items.iter_mut().zip(records) {
        if let Some(extent_at) = extent_at {
            let body = item.body();
            let length = u32::try_from(body.len()).expect("a commit is small");
            let crc = crc32c::crc32c(body);
            let extent = Extent { sequence: target.sequence, slot: target.slot, offset: at, length, crc };
            record::patch_extent(front, *extent_at, &extent);
            place.extent = Some(extent);
            at += length;
        }
        if start < end {
            record::finish(front, *start, *end, target.salt, place.offset);
        }
    }
    at
}

/// A commit header without records: it vouches for all before it.
pub(in crate::spool) fn closing<T: Tickets>(
    target: Target,
    header: Option<Vec<u8>>,
    clean: bool,
    mut spare: CommitBuffers,
) -> Batch<T> {
    let Target { salt, offset, .. } = target;
    let commit_header = CommitHeader { salt, offset, records: 0, records_length: 0, bodies_length: 0, clean };
    spare.records.clear();
    spare.front.clear();
    spare.front.resize(COMMIT_HEADER, 0);
    commit_header.write(&mut spare.front);
    Batch {
        slot: target.slot,
        sequence: target.sequence,
        offset,
        header,
        end: u32::try_from(commit_header.end()).expect("offsets are 32 bits"),
        items: Vec::new(),
        spare,
        padding: limits::BLOCK as usize - COMMIT_HEADER,
    }
}

fn bodies_length<T: Tickets>(
    items: &[(Item<T>, RecordPlace)],
    records: &[(usize, usize, Option<usize>)],
) -> u32 {
    let with_body = items.iter().zip(records).filter(|(_, (_, _, extent_at))| extent_at.is_some());
    let bytes: usize = with_body.map(|((item, _), _)| item.body().len()).sum();
    u32::try_from(bytes).expect("a commit is small")
}

/// Writes one record; returns where the extent of its body is to be filled in.
fn write<T: Tickets>(
    item: &Item<T>,
    front: &mut Vec<u8>,
    target: Target,
    names: &impl Names,
) -> Option<usize> {
    match item {
        Item::Message(message, _) | Item::Own(message, _) => {
            let offset = target.offset + u32::try_from(front.len()).expect("a commit is small");
            let id = MessageId { lane: target.lane, sequence: target.sequence, offset };
            record::start(front, RecordKind::Message);
            let NewMessage { envelope, size, header_length, chunks, body } = message;
            record::write_message(front, envelope, id, *size, *header_length, chunks, !body.is_empty())
        }
        Item::Chunk(..) | Item::Piece(..) => {
            record::start(front, RecordKind::Chunk);
            let at = front.len();
            front.resize(at + 18, 0);
            Some(at)
        }
        Item::Outcome(outcome, _) => {
            // A message that is not live any more needs no outcome.
            let (sequence, offset) = names.name(outcome)?;
            record::start(front, RecordKind::of_outcome(&outcome.disposition));
            record::write_outcome(
                front,
                sequence,
                offset,
                outcome.first,
                outcome.count,
                &outcome.disposition,
            );
            None
        }
        Item::Snapshot(of) => {
            let mut list = Vec::new();
            let kind = names.snapshot(*of, &mut list).filter(|_| of.slot != target.slot)?;
            record::start(front, kind);
            front.extend_from_slice(&list);
            None
        }
        Item::Move(moved, _) => {
            let mut state = Vec::new();
            let held = names.state(moved, &mut state)?;
            record::start(front, RecordKind::Message);
            record::write_moved(front, &moved.fields, (&state, held), &moved.pieces, !moved.body.is_empty())
        }
    }
}
