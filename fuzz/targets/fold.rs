//! Recovery: a history of a lane, then damage to its files, then the fold.

use std::collections::{BTreeMap, BTreeSet};

use relevo::id::Location;
use relevo::queue::outcome::{Hold, Stored, StoredDeferral};
use relevo::spool::batch::{Item, NewMessage, Outcome};
use relevo::spool::fold::{Folded, fold as recover};
use relevo::spool::lane::{DurableItem, Lane, StoredMessage};
use relevo::spool::record::{self, Extent, HEADER};
use relevo::spool::segment::COMMIT_HEADER;

use super::input::Input;
use super::lane::{Bench, Disk, SHAPE, SIZE, message};

/// Sequence number of the segment and offset of the record: what a message is called for ever.
type Place = (u32, u32);
/// Attempts, next time and last reply of a recipient that is still to be delivered to.
type Tried = (u16, u32, String);
/// A message, recipient by recipient; None is settled for good.
type Recipients = Vec<Option<Tried>>;

const OPERATIONS_MAX: usize = 48;
const MUTATIONS_MAX: usize = 8;

/// A history and what must come of it.
struct History {
    bench: Bench,
    live: BTreeMap<Place, Recipients>,
    ever: BTreeSet<Place>,
    chunks: Vec<Extent>,
    /// A commit failed, and no header on disk says yet that it is void.
    void: bool,
}

/// Bytes are a list of operations on a lane, then a list of mutations of its files. Without mutations the fold finds what a
/// plain map knows; with them it never panics, reads within bounds, invents no mail and loses none in silence.
pub fn fold(data: &[u8]) {
    let mut input = Input(data);
    let mut history = History {
        bench: Bench::new(),
        live: BTreeMap::new(),
        ever: BTreeSet::new(),
        chunks: Vec::new(),
        void: false,
    };
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            15 => break,
            operation => history.operate(operation, &mut input),
        }
    }
    history.commit();
    if !history.restart() {
        return;
    }
    history.damage(&mut input);
}

impl History {
    fn operate(&mut self, operation: u8, input: &mut Input<'_>) {
        match operation {
            0..=3 => self.store(input),
            4..=8 => self.settle(input),
            9 | 10 => self.commit(),
            11 => self.fail(input),
            12 => {
                self.bench.queue.push_back(Item::Chunk(vec![input.byte(); 1 + input.below(8000)], ()));
                self.commit();
            }
            13 => {
                let chunks = std::mem::take(&mut self.chunks);
                self.bench.lane.drop_chunks(&chunks);
            }
            _ => {
                self.commit();
                let _ = self.restart();
            }
        }
    }

    fn store(&mut self, input: &mut Input<'_>) {
        let flags = input.byte();
        let body = vec![flags; input.below(9000)];
        let mut new = message(b"a@x.example", usize::from(flags % 6) + 1, body);
        if flags & 0x40 != 0 {
            new.chunks = std::mem::take(&mut self.chunks);
        }
        // One of the relay's own may use the reserve.
        let is_own = flags & 0x80 != 0;
        self.bench.queue.push_back(if is_own { own(new) } else { Item::Message(new, ()) });
        if flags & 0x20 != 0 {
            self.commit();
        }
    }

    fn settle(&mut self, input: &mut Input<'_>) {
        let entries: Vec<_> = self.bench.lane.entries().map(|(key, entry)| (key, entry.clone())).collect();
        let Some((key, entry)) = entries.get(input.below(entries.len().max(1))) else { return };
        let location = Location { lane: SHAPE.lane, slot: entry.slot, offset: entry.offset };
        let (first, count) = (u16::from(input.byte() % 7), u16::from(input.byte() % 7) + 1);
        let choice = input.byte();
        let disposition = match choice % 5 {
            0 => Stored::Bounced(None),
            1 => Stored::Expired(None),
            2 => {
                let reply = ["", "451 a", "450 b", "421 c"][usize::from(choice >> 3) % 4].into();
                Stored::Deferred(StoredDeferral {
                    attempts: u16::from(choice) + 1,
                    next: u32::from(input.word()),
                    reply,
                    late: choice & 64 != 0,
                })
            }
            3 if choice & 128 != 0 => {
                let words = ["", "by user 0: a", "by token b"][usize::from(choice >> 3) % 3];
                Stored::Held(Box::new(Hold::new(u32::from(input.word()), words)))
            }
            _ => Stored::Delivered,
        };
        let outcome = Outcome { key: *key, location, first, count, disposition };
        self.bench.queue.push_back(Item::Outcome(outcome, ()));
    }

    fn commit(&mut self) {
        let (live, ever, chunks, void) = (&mut self.live, &mut self.ever, &mut self.chunks, &mut self.void);
        self.bench.commit(|lane, done| {
            *void = false;
            match done {
                DurableItem::Message(StoredMessage { id, location, message, .. }, ())
                | DurableItem::Own(StoredMessage { id, location, message, .. }, ()) => {
                    let place = (id.get().sequence, id.get().offset);
                    assert_eq!(place, (lane.segment(location.slot).expect("a segment").1, location.offset));
                    let fresh = vec![Some((0, 0, String::new())); message.envelope.recipients.len()];
                    live.insert(place, fresh);
                    ever.insert(place);
                }
                DurableItem::Chunk(extent, ()) => chunks.push(*extent.get()),
                DurableItem::Outcome { outcome, settled, .. } => note(live, lane, &outcome, settled),
                // Nothing is moved here.
                DurableItem::Snapshot | DurableItem::Piece(..) | DurableItem::Moved { .. } => {}
            }
        });
    }

    /// A commit whose write or sync fails, when some of it is on disk, or all, or nothing.
    fn fail(&mut self, input: &mut Input<'_>) {
        let Some(mut batch) = self.bench.begin() else { return };
        let written = input.byte();
        let header = batch.header.take_if(|_| written & 1 != 0);
        if let Some(header) = header {
            self.bench.disk.write(batch.slot, 0, &header);
        }
        let bytes: Vec<u8> = batch.parts().iter().flat_map(|part| part.to_vec()).collect();
        let whole = written & 2 != 0;
        let part = if whole { bytes.len() } else { bytes.len() * usize::from(written) / 512 };
        self.bench.disk.write(batch.slot, batch.offset, &bytes[..part]);
        // It may rise again if the header that voids it is destroyed: then it is mail somebody did send.
        let mut at = COMMIT_HEADER;
        while let Some(length) = record::claimed_length(&bytes[at..]).filter(|length| *length > HEADER) {
            self.ever.insert((batch.sequence, batch.offset + at as u32));
            at += length.min(bytes.len() - at);
        }
        for item in self.bench.lane.failed(batch) {
            if matches!(item, Item::Outcome(..)) {
                self.bench.queue.push_back(item);
            }
        }
        self.void = true;
        self.bench.housekeep();
    }

    /// The process ends and begins again. False: nothing can be said of the lane, because it had no room to void a commit.
    fn restart(&mut self) -> bool {
        if self.void {
            self.bench.queue.push_back(own(message(b"", 1, Vec::new())));
            self.commit();
        }
        if self.void {
            return false;
        }
        let folded = recover(SHAPE, &self.bench.disk).expect("a lane of our own");
        assert!(folded.damage.is_empty() && folded.torn == 0, "{:?} {}", folded.damage, folded.torn);
        assert_eq!(state(&folded.lane), self.live);
        assert_eq!(state(&self.bench.lane), self.live);
        self.go_on(folded);
        true
    }

    fn go_on(&mut self, folded: Folded) {
        self.bench.lane = folded.lane;
        // What was not part of a message is garbage now, and what was queued is gone.
        self.chunks.clear();
        self.bench.queue.clear();
        self.bench.housekeep();
    }

    fn damage(&mut self, input: &mut Input<'_>) {
        let repair = input.byte() & 1 != 0;
        let mut gentle = true;
        let mut touched = false;
        for _ in 0..MUTATIONS_MAX {
            if input.is_empty() {
                break;
            }
            touched = true;
            gentle &= mutate(&self.bench.disk, input);
        }
        if !touched {
            return;
        }
        if repair {
            self.bench.disk.0.borrow_mut().values_mut().for_each(|file| mend(file));
        }
        let Ok(folded) = recover(SHAPE, &self.bench.disk) else { return };
        let found = state(&folded.lane);
        if !repair {
            assert!(found.keys().all(|place| self.ever.contains(place)), "mail nobody sent");
            let newest = self.live.keys().chain(&self.ever).map(|(sequence, _)| *sequence).max();
            let lost = self.live.keys().find(|place| !found.contains_key(place) && Some(place.0) != newest);
            assert!(lost.is_none() || !gentle || !folded.damage.is_empty(), "{lost:?} was lost in silence");
        }
        self.go_on(folded);
        self.live = found;
        // Life goes on: everything is settled, half of it at first, and found so.
        for round in 0..2 {
            for (key, entry) in
                self.bench.lane.entries().map(|(key, entry)| (key, entry.clone())).collect::<Vec<_>>()
            {
                let location = Location { lane: SHAPE.lane, slot: entry.slot, offset: entry.offset };
                let count = if round == 0 { entry.total.div_ceil(2) } else { entry.total };
                let outcome = Outcome { key, location, first: 0, count, disposition: Stored::Delivered };
                self.bench.queue.push_back(Item::Outcome(outcome, ()));
            }
            self.commit();
            if !repair && let Ok(folded) = recover(SHAPE, &self.bench.disk) {
                assert_eq!(state(&folded.lane), state(&self.bench.lane), "round {round}");
            }
        }
    }
}

/// A message of the relay's own.
fn own(mut message: NewMessage) -> Item {
    message.envelope.origin.client = None;
    Item::Own(message, ())
}

/// What an outcome means to the map.
fn note(live: &mut BTreeMap<Place, Recipients>, lane: &Lane, outcome: &Outcome, settled: u16) {
    let place = (lane.segment(outcome.location.slot).expect("a segment").1, outcome.location.offset);
    let Some(recipients) = live.get_mut(&place) else { return assert_eq!(settled, 0) };
    let mut finally = 0;
    let range = usize::from(outcome.first)..usize::from(outcome.first) + usize::from(outcome.count);
    for (_, recipient) in recipients.iter_mut().enumerate().filter(|(number, _)| range.contains(number)) {
        let Some(tried) = recipient else { continue };
        match &outcome.disposition {
            Stored::Deferred(StoredDeferral { attempts, next, reply, late: _ }) => {
                *tried = (*attempts, *next, reply.to_string())
            }
            // The history stays, with the words of who holds it in front.
            Stored::Held(hold) => {
                let (attempts, _, text) = &*tried;
                let said = text.split_once('\n').map_or(&**text, |(_, said)| said);
                let text = if hold.until > 0 { format!("{}\n{said}", hold.words) } else { said.to_owned() };
                *tried = (*attempts, hold.until, text);
            }
            Stored::Delivered | Stored::Bounced(_) | Stored::Expired(_) | Stored::Local(_) => {
                *recipient = None;
                finally += 1;
            }
        }
    }
    assert_eq!(settled, finally);
    if recipients.iter().all(Option::is_none) {
        live.remove(&place);
    }
}

/// What a lane knows, in the terms of the map.
fn state(lane: &Lane) -> BTreeMap<Place, Recipients> {
    let mut state = BTreeMap::new();
    for (_, entry) in lane.entries() {
        let (_, sequence) = lane.segment(entry.slot).expect("a message lies in a segment");
        let mut recipients = vec![None; usize::from(entry.total)];
        let mut next = 0;
        for range in entry.live().iter() {
            assert!(range.first >= next && range.count > 0, "ranges overlap: {:?}", entry.live());
            next = range.first.checked_add(range.count).expect("ordinals are 16 bits");
            assert!(next <= entry.total, "more recipients than there are: {:?}", entry.live());
            let tried = (range.attempts, range.next, lane.reply(range.reply).to_owned());
            recipients[usize::from(range.first)..usize::from(next)].fill(Some(tried));
        }
        assert!(state.insert((sequence, entry.offset), recipients).is_none(), "two messages in one place");
    }
    assert_eq!(state.len(), lane.messages());
    state
}

/// Damages one file. True: some bytes of it became others, and nothing else.
fn mutate(disk: &Disk, input: &mut Input<'_>) -> bool {
    const BLOCK: usize = 4096;
    let mut files = disk.0.borrow_mut();
    let slots: Vec<u16> = files.keys().copied().collect();
    let Some(slot) = slots.get(input.below(slots.len().max(1))).copied() else { return true };
    let (kind, place) = (input.byte() % 8, usize::from(input.word()));
    let file = files.get_mut(&slot).expect("it is listed");
    let block = place % (SIZE as usize / BLOCK) * BLOCK;
    match kind {
        0 | 1 => {
            if let Some(byte) = file.get_mut(place) {
                *byte ^= input.byte() | 1;
            }
        }
        2 => {
            let value = input.take(4);
            if let Some(bytes) = file.get_mut(place..place + value.len()) {
                bytes.copy_from_slice(value);
            }
        }
        3 => {
            if let Some(bytes) = file.get_mut(block..block + BLOCK) {
                bytes.fill(0);
            }
        }
        4 => file.truncate(place),
        5 => drop(files.remove(&slot)),
        6 => {
            let copy = file.clone();
            files.insert(u16::from(input.byte()) % 32, copy);
        }
        _ => {
            let (other, from) = (slots[input.below(slots.len())], input.below(16) * BLOCK);
            let piece = files.get(&other).and_then(|file| file.get(from..from + BLOCK)).map(<[u8]>::to_vec);
            let target = files.get_mut(&slot).and_then(|file| file.get_mut(block..block + BLOCK));
            if let (Some(piece), Some(target)) = (piece, target) {
                target.copy_from_slice(&piece);
            }
        }
    }
    // A segment whose header block is blank was never used, as far as anybody can tell.
    kind <= 2 || kind == 3 && block > 0
}

/// Makes every CRC of a segment right again, so that the damage reaches what lies behind them.
fn mend(file: &mut [u8]) {
    const BLOCK: usize = 4096;
    fn seal(bytes: &mut [u8], at: usize) {
        let crc = crc32c::crc32c(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
    let long = |bytes: &[u8], at: usize| -> usize {
        let mut number = [0; 4];
        number.copy_from_slice(&bytes[at..at + 4]);
        u32::from_le_bytes(number) as usize
    };
    if let Some(header) = file.get_mut(..64)
        && header.starts_with(b"RELEVOSG")
    {
        seal(header, 60);
    }
    for block in (BLOCK..file.len()).step_by(BLOCK) {
        let Some(commit_header) = file.get_mut(block..block + 48) else { return };
        if !commit_header.starts_with(b"RVCM") {
            continue;
        }
        seal(commit_header, 44);
        let (mut at, end) = (block + 48, block + 48 + long(commit_header, 24));
        while at + 24 <= end.min(file.len()) {
            let length = 24 + long(file, at + 4);
            let Some(record) = file.get_mut(at..at.saturating_add(length)) else { break };
            let crc = crc32c::crc32c_append(crc32c::crc32c(&record[..16]), &record[20..]);
            record[16..20].copy_from_slice(&crc.to_le_bytes());
            at += length;
        }
    }
}
