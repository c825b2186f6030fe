//! A spool that an earlier version wrote, without parameters: it is read, it goes on, and its mail moves as it is.
//!
//! `tests/spools/2026-11.spool`, little-endian: distinct blocks of 4096 bytes (count u32, the blocks); then for each file its name (length
//! u16, text), its size (u32), and runs of blocks (count u32; each the block's number u16, how often u16). Written on one shard: five messages
//! of which recipients were delivered, deferred, returned, and found nobody; one of them in two chunks.

use super::*;
use crate::mail::parameters::{Key, MessageParameters};
use crate::spool::batch::Moved;
use crate::spool::segment::FieldReader;

const SPOOL: &[u8] = include_bytes!("../../../tests/spools/2026-11.spool");

/// Its files by name.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut rest = FieldReader(SPOOL);
    let blocks: Vec<&[u8]> = (0..rest.u32().unwrap()).map(|_| rest.bytes(4096).unwrap()).collect();
    let mut files = BTreeMap::new();
    while !rest.0.is_empty() {
        let length = rest.u16().unwrap();
        let name = String::from_utf8(rest.bytes(length.into()).unwrap().to_vec()).unwrap();
        let size = rest.u32().unwrap() as usize;
        let mut file = Vec::new();
        for _ in 0..rest.u32().unwrap() {
            let (block, count) = (rest.u16().unwrap(), rest.u16().unwrap());
            (0..count).for_each(|_| file.extend_from_slice(blocks[usize::from(block)]));
        }
        file.truncate(size);
        files.insert(name, file);
    }
    files
}

/// A lane folded from them.
fn older() -> (Bench, Shape) {
    let files = files();
    let node = std::str::from_utf8(&files["node"]).unwrap();
    let node = u64::from_str_radix(node.trim(), 16).unwrap();
    let shape = Shape { lane: 0, origin: LaneOrigin { node, lane: 0 }, ..SHAPE };
    let segments = files.into_iter().filter_map(|(name, file)| {
        let slot = name.strip_prefix("lane-000/")?.strip_suffix(".seg")?.parse().ok()?;
        Some((slot, file))
    });
    let disk = Disk(RefCell::new(segments.collect()));
    let folded = fold::fold(shape, &disk).unwrap();
    assert!(folded.damage.is_empty() && folded.torn == 0, "{:?}", folded.damage);
    let mut bench = Bench { disk, lane: folded.lane, queue: VecDeque::new(), salt: 1, last: (0, 0, 0) };
    bench.housekeep();
    (bench, shape)
}

/// What there is of each live message, whose place does not matter.
fn contents(bench: &Bench, lane: &Lane) -> Vec<String> {
    let one = |(key, entry): (u32, &crate::spool::index::Entry)| {
        let payload = bench.payload_at(Location { lane: 0, slot: entry.slot, offset: entry.offset });
        let view = MessageView::parse(&payload).unwrap();
        let recipients: Vec<_> =
            view.recipients().map(|(address, _)| String::from_utf8_lossy(address)).collect();
        let live: Vec<_> = entry
            .live()
            .iter()
            .map(|r| (r.first, r.count, r.attempts, r.next, lane.reply(r.reply)))
            .collect();
        let (_, body) = bench.read(lane, key);
        let parameters: Vec<_> = (0..view.count).map(|one| view.named_parameters(one)).collect();
        format!(
            "{} <{}> to {recipients:?} {live:?} at {:?} until {:?} {:?} {} {parameters:?} {:?} {:08x}",
            view.id,
            String::from_utf8_lossy(view.sender),
            view.arrival,
            view.expiry,
            view.origin(),
            view.size,
            view.at_once().map(|(_, first, count)| (first, count)).collect::<Vec<_>>(),
            crc32c::crc32c(&body),
        )
    };
    let mut all: Vec<String> = lane.entries().map(one).collect();
    all.sort();
    all
}

/// Writes all messages again elsewhere, as a compaction does.
fn move_all(bench: &mut Bench) {
    let all: Vec<_> = bench.lane.entries().map(|(key, entry)| (key, entry.slot, entry.offset)).collect();
    for (key, slot, offset) in all {
        let location = Location { lane: 0, slot, offset };
        let payload = bench.payload_at(location);
        let pieces: Vec<_> = MessageView::parse(&payload).unwrap().extents().collect();
        let (_, sequence) = bench.lane.segment(slot).unwrap();
        let moved = Moved::new((key, location, sequence), &payload, pieces, Vec::new(), Vec::new()).unwrap();
        bench.queue.push_back(Item::Move(moved, ()));
    }
    let moved =
        bench.commit().iter().filter(|done| matches!(done, DurableItem::Moved { to: Some(_), .. })).count();
    assert_eq!(moved, bench.lane.entries().count());
}

#[test]
fn mail_of_an_older_version_is_read_and_moves() {
    let (mut bench, shape) = older();
    let found = contents(&bench, &bench.lane);
    assert_eq!(found.len(), 5, "{found:#?}");
    let two = found.iter().find(|one| one.contains("<m2@sender.example> to")).expect("it waits");
    // Ordinals follow the domains: d@hard and a@good have their end.
    assert!(
        two.contains("[\"a@good.example\", \"d@hard.example\", \"c@nobody.example\", \"b@soft.example\""),
        "{two}"
    );
    assert!(
        two.contains("[(2, 1, 1, ") && two.contains("451 4.7.1 try later") && two.contains("[[], [],"),
        "{two}"
    );
    assert!(found.iter().any(|one| one.contains("<> to [\"m5@sender.example\"]")), "its notification waits");
    assert!(found.iter().any(|one| one.contains(" 300820 ")), "the one in chunks");
    move_all(&mut bench);
    assert_eq!(contents(&bench, &bench.lane), found);
    let folded = fold::fold(shape, &bench.disk).unwrap();
    assert!(folded.damage.is_empty(), "{:?}", folded.damage);
    assert_eq!(contents(&bench, &folded.lane), found);
}

#[test]
fn mail_with_parameters_lies_beside_it() {
    let (mut bench, shape) = older();
    let before = contents(&bench, &bench.lane);
    let mut new = message("new@x.example", 4, b"body".to_vec());
    let mut parameters = MessageParameters::default();
    parameters.message.set(Key::Tenant, "shop").unwrap();
    let mut own = crate::mail::parameters::Parameters::default();
    own.set(Key::Campaign, "spring").unwrap();
    let number = parameters.number(own.borrowed()).unwrap();
    new.envelope.recipients[1].parameters = number;
    new.envelope.recipients[3].at_once = Some(crate::names::ends::End::Discarded);
    new.envelope.parameters = Some(Box::new(parameters));
    bench.store(new);
    let stored = contents(&bench, &bench.lane);
    assert_eq!(stored.len(), before.len() + 1);
    let new = stored.iter().find(|one| one.contains("new@x.example")).unwrap();
    let shown = "[[(\"tenant\", \"shop\")], [(\"tenant\", \"shop\"), (\"campaign\", \"spring\")], \
                 [(\"tenant\", \"shop\")], [(\"tenant\", \"shop\")]] [(3, 1)]";
    assert!(new.contains(shown), "{new}");
    for _ in 0..2 {
        move_all(&mut bench);
        assert_eq!(contents(&bench, &bench.lane), stored);
        bench.lane = fold::fold(shape, &bench.disk).unwrap().lane;
        bench.housekeep();
        assert_eq!(contents(&bench, &bench.lane), stored);
    }
}
