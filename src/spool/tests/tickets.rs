//! Who waits for an item has the answer to that item, whatever becomes of it.

use super::*;
use crate::spool::batch::{ClientItem, Moved, Tickets};

/// A type for each kind: an answer to another kind would not compile. The values tell one of a kind from the other.
#[derive(Debug)]
struct NamedTickets;

impl Tickets for NamedTickets {
    type Message = u8;
    type Notification = u16;
    type Chunk = u32;
    type Piece = u64;
    type Outcome = char;
    type Move = &'static str;
}

fn lane(segments_max: usize) -> Lane {
    let mut lane = Lane::new(Shape { segments_max, ..SHAPE });
    while let Some(slot) = lane.wants_segment() {
        lane.segment_created(slot, true);
    }
    lane
}

fn new(number: u8) -> NewMessage {
    message(&format!("m{number}@x.example"), 1, vec![number; 10])
}

/// Two of each kind that a commit may begin with.
fn two_of_each() -> VecDeque<Item<NamedTickets>> {
    let nothing = Location { lane: 3, slot: 0, offset: 0 };
    let outcome =
        || Outcome { key: 9, location: nothing, first: 0, count: 1, disposition: Stored::Delivered };
    VecDeque::from([
        Item::Chunk(vec![1; 10], 10),
        Item::Message(new(1), 1),
        Item::Own(new(2), 100),
        Item::Piece(vec![2; 10], 1000),
        Item::Outcome(outcome(), 'a'),
        Item::Message(new(3), 2),
        Item::Chunk(vec![3; 10], 20),
        Item::Outcome(outcome(), 'b'),
        Item::Own(new(4), 200),
        Item::Piece(vec![4; 10], 2000),
    ])
}

/// The kind of an item and who waits for it.
fn waits(item: &Item<NamedTickets>) -> String {
    match item {
        Item::Message(message, ticket) => format!("message {} {ticket}", message.body[0]),
        Item::Own(message, ticket) => format!("own {} {ticket}", message.body[0]),
        Item::Chunk(body, ticket) => format!("chunk {} {ticket}", body[0]),
        Item::Piece(body, ticket) => format!("piece {} {ticket}", body[0]),
        Item::Outcome(_, ticket) => format!("outcome {ticket}"),
        Item::Snapshot(_) => "snapshot".to_owned(),
        Item::Move(_, ticket) => format!("move {ticket}"),
    }
}

fn begin(lane: &mut Lane, queue: &mut VecDeque<Item<NamedTickets>>) -> Batch<NamedTickets> {
    match lane.begin(queue, 7) {
        Begin::Commit(batch) => batch,
        other => panic!("{other:?}"),
    }
}

const ALL: [&str; 10] = [
    "chunk 1 10",
    "message 1 1",
    "own 2 100",
    "piece 2 1000",
    "outcome a",
    "message 3 2",
    "chunk 3 20",
    "outcome b",
    "own 4 200",
    "piece 4 2000",
];

#[test]
fn what_is_durable_comes_back_with_who_waits_for_it() {
    let (mut lane, mut queue, mut all) = (lane(9), two_of_each(), Vec::new());
    let batch = begin(&mut lane, &mut queue);
    assert!(queue.is_empty());
    // The first byte of a body tells which it is.
    let bytes: Vec<u8> = batch.parts().iter().flat_map(|part| part.to_vec()).collect();
    let from = batch.offset;
    let place_of = |extent: &Extent| bytes[(extent.offset - from) as usize];
    lane.done(batch, Synced::pretended(), |_, done| {
        all.push(match done {
            DurableItem::Message(stored, ticket) => format!("message {} {ticket}", stored.message.body[0]),
            DurableItem::Own(stored, ticket) => format!("own {} {ticket}", stored.message.body[0]),
            DurableItem::Chunk(extent, ticket) => format!("chunk {} {ticket}", place_of(extent.get())),
            DurableItem::Piece(extent, ticket) => format!("piece {} {ticket}", place_of(extent.get())),
            DurableItem::Outcome { settled, ticket, .. } => {
                assert_eq!(settled, 0, "of a message that there is not");
                format!("outcome {ticket}")
            }
            other => panic!("{other:?}"),
        });
    });
    assert_eq!(all, ALL);
}

#[test]
fn what_failed_comes_back_with_who_waits_for_it() {
    let (mut lane, mut queue) = (lane(9), two_of_each());
    let batch = begin(&mut lane, &mut queue);
    let back: Vec<_> = lane.failed(batch).iter().map(waits).collect();
    assert_eq!(back, ALL);
}

#[test]
fn only_what_clients_bring_is_refused() {
    let mut lane = lane(3);
    let mut queue = VecDeque::new();
    // Full, up to the reserve.
    loop {
        queue.push_back(Item::Message(message("a@x.example", 1, vec![0; 200_000]), 0));
        match lane.begin(&mut queue, 9) {
            Begin::Commit(batch) => lane.done(batch, Synced::pretended(), |_, _| {}),
            Begin::Refused(_) => break,
            other => panic!("{other:?}"),
        }
    }
    queue = two_of_each();
    queue[0] = Item::Chunk(vec![1; 250_000], 10);
    let Begin::Refused(refused) = lane.begin(&mut queue, 9) else { panic!("there is no room") };
    let refused: Vec<_> = refused
        .into_iter()
        .map(|one| match one {
            ClientItem::Message(message, ticket) => format!("message {} {ticket}", message.body[0]),
            ClientItem::Chunk(body, ticket) => format!("chunk {} {ticket}", body[0]),
        })
        .collect();
    assert_eq!(refused, ["chunk 1 10", "message 1 1", "message 3 2", "chunk 3 20"]);
    let left: Vec<_> = queue.iter().map(waits).collect();
    assert_eq!(left, ["own 2 100", "piece 2 1000", "outcome a", "outcome b", "own 4 200", "piece 4 2000"]);
}

/// One that was settled before it could move is told to whoever waits all the same.
#[test]
fn a_move_that_is_void_is_answered() {
    let mut bench = Bench::new();
    let key = bench.store(new(1));
    let entry = bench.lane.entry(key).unwrap().clone();
    let location = Location { lane: 3, slot: entry.slot, offset: entry.offset };
    let (_, sequence) = bench.lane.segment(entry.slot).unwrap();
    let payload = bench.payload_at(location);
    bench.settle(key, 0, 1, Stored::Delivered);
    bench.commit();
    let moved = Moved::new((key, location, sequence), &payload, Vec::new(), Vec::new(), vec![1; 10]).unwrap();
    let mut queue = VecDeque::from([Item::<NamedTickets>::Move(moved, "compactor")]);
    let batch = begin(&mut bench.lane, &mut queue);
    let mut told = Vec::new();
    bench.lane.done(batch, Synced::pretended(), |_, done| match done {
        DurableItem::Moved { to: None, ticket, .. } => told.push(ticket),
        other => panic!("{other:?}"),
    });
    assert_eq!(told, ["compactor"]);
}
