//! The lane's memory of its live messages: one small entry each, never an envelope.

mod live;
mod replies;

use crate::id::Location;
use crate::limits;
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::spool::record::Extent;

pub use live::{LiveRange, Ranges};
use live::{LiveRecipients, cut};
use replies::NO_REPLY;
pub use replies::Replies;

/// What is known of a message beside where it lies. Nearly all have one recipient or one history and lie where they came to, which costs
/// nothing beside the entry.
#[derive(Clone, Debug)]
enum EntryState {
    All,
    One(LiveRange),
    None,
    More(Box<More>),
}

/// One live message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file that holds its record.
    pub slot: u16,
    /// Where in it.
    pub offset: u32,
    /// All its recipients.
    pub total: u16,
    /// Bytes of its record and of its body in that file.
    bytes: u32,
    known: EntryState,
}

const _: () = assert!(size_of::<Option<Entry>>() <= 32, "one of these for each message that waits");

/// A file, and the bytes in it that belong to a message.
pub(in crate::spool) type Part = (u16, u32);

/// Bytes of a message in the segment of its record, and elsewhere.
pub(in crate::spool) fn parts(
    slot: u16,
    record: u32,
    extents: impl Iterator<Item = Extent>,
) -> (u32, Vec<Part>) {
    let mut own = record;
    // A few at most, and none for nearly all messages.
    let mut elsewhere: Vec<Part> = Vec::new();
    for extent in extents {
        let bytes = if extent.slot == slot {
            &mut own
        } else {
            let known = elsewhere.iter().position(|(other, _)| *other == extent.slot);
            let place = known.unwrap_or_else(|| {
                elsewhere.push((extent.slot, 0));
                elsewhere.len() - 1
            });
            &mut elsewhere[place].1
        };
        *bytes = bytes.saturating_add(extent.length);
    }
    elsewhere.sort_unstable();
    (own, elsewhere)
}

/// What only large and moved messages have, and those of several histories.
#[derive(Clone, Debug, Default)]
struct More {
    live: LiveRecipients,
    /// Other files that hold pieces of the body.
    elsewhere: Vec<Part>,
    /// Sequence number and offset the message was first stored with, if it lies elsewhere now: its name in outcome records.
    origin: Option<(u32, u32)>,
    /// Slot and offset the rest of the process was told, if it lies elsewhere now.
    told: Option<(u16, u32)>,
}

impl More {
    /// Whether it says more than what is live.
    fn is_needed(&self) -> bool {
        let More { live: _, elsewhere, origin, told } = self;
        !elsewhere.is_empty() || origin.is_some() || told.is_some()
    }
}

impl Entry {
    /// A message nothing has happened to, with its bytes in its own file and those elsewhere.
    pub(in crate::spool) fn new(
        slot: u16,
        offset: u32,
        total: u16,
        bytes: u32,
        elsewhere: Vec<Part>,
    ) -> Entry {
        let mut entry = Entry { slot, offset, total, bytes, known: EntryState::All };
        if !elsewhere.is_empty() {
            entry.more_mut().elsewhere = elsewhere;
        }
        entry
    }

    fn more(&self) -> Option<&More> {
        match &self.known {
            EntryState::More(more) => Some(more),
            _ => None,
        }
    }

    fn more_mut(&mut self) -> &mut More {
        if !matches!(self.known, EntryState::More(_)) {
            let live = self.take_live();
            self.known = EntryState::More(Box::new(More { live, ..More::default() }));
        }
        match &mut self.known {
            EntryState::More(more) => more,
            _ => unreachable!("it was put there"),
        }
    }

    /// What is live, taken out: [`Entry::set_live`] puts it back.
    fn take_live(&mut self) -> LiveRecipients {
        match &mut self.known {
            EntryState::More(more) => std::mem::take(&mut more.live),
            known => match std::mem::replace(known, EntryState::None) {
                EntryState::All => LiveRecipients::All,
                EntryState::One(range) => LiveRecipients::One(range),
                EntryState::None | EntryState::More(_) => LiveRecipients::None,
            },
        }
    }

    fn set_live(&mut self, live: LiveRecipients) {
        match (&mut self.known, live) {
            (EntryState::More(more), live) if more.is_needed() => more.live = live,
            (known, LiveRecipients::All) => *known = EntryState::All,
            (known, LiveRecipients::One(range)) => *known = EntryState::One(range),
            (known, LiveRecipients::None) => *known = EntryState::None,
            (EntryState::More(more), many) => more.live = many,
            (known, many) => *known = EntryState::More(Box::new(More { live: many, ..More::default() })),
        }
    }

    /// Whether this is the message that lies there.
    pub fn lies_at(&self, location: Location) -> bool {
        (self.slot, self.offset) == (location.slot, location.offset)
    }

    /// Whether this is the message that was handed out with this location: a move does not change what others call it.
    pub fn is_told(&self, location: Location) -> bool {
        self.told() == (location.slot, location.offset)
    }

    /// File and offset that it was handed out with.
    pub fn told(&self) -> (u16, u32) {
        self.more().and_then(|more| more.told).unwrap_or((self.slot, self.offset))
    }

    /// Sequence number and offset it was first stored with, if that is not where it lies.
    pub(in crate::spool) fn origin(&self) -> Option<(u32, u32)> {
        self.more().and_then(|more| more.origin)
    }

    /// Notes where a message found in a later place was first stored.
    pub(in crate::spool) fn set_origin(&mut self, origin: (u32, u32)) {
        self.more_mut().origin = Some(origin);
    }

    /// Every file that holds a part of it, its own first.
    pub(in crate::spool) fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        let elsewhere = self.more().into_iter().flat_map(|more| more.elsewhere.iter().copied());
        std::iter::once((self.slot, self.bytes)).chain(elsewhere)
    }

    /// It lies elsewhere from now on; its recipients stay as they are.
    pub(in crate::spool) fn move_to(
        &mut self,
        (slot, offset): (u16, u32),
        bytes: u32,
        elsewhere: Vec<Part>,
        origin: (u32, u32),
    ) {
        let from = (self.slot, self.offset);
        let more = self.more_mut();
        more.told.get_or_insert(from);
        more.origin = Some(origin);
        more.elsewhere = elsewhere;
        (self.slot, self.offset, self.bytes) = (slot, offset, bytes);
    }

    /// The live ranges.
    pub fn live(&self) -> Ranges<'_> {
        match &self.known {
            EntryState::All => Ranges::one(LiveRange::all(self.total)),
            EntryState::One(range) => Ranges::one(*range),
            EntryState::None => Ranges::many(&[]),
            EntryState::More(more) => more.live.ranges(self.total),
        }
    }

    /// Whether no recipient is live.
    pub fn is_dead(&self) -> bool {
        match &self.known {
            EntryState::None => true,
            EntryState::More(more) => matches!(more.live, LiveRecipients::None),
            EntryState::All | EntryState::One(_) => false,
        }
    }

    /// Takes note of an outcome. Ordinals that are not live (any more) are passed over, so that an outcome read twice counts
    /// once. Returns how many recipients are finally settled by it.
    pub fn apply(&mut self, first: u16, count: u16, disposition: &Stored, replies: &mut Replies) -> u16 {
        let about = (first, first.saturating_add(count));
        let before = self.take_live();
        let (live, touched) = match before {
            LiveRecipients::Many(mut ranges) => {
                // Only these: a message may have thousands, and hears of each in an outcome of its own.
                let from = ranges.partition_point(|range| range.first + range.count <= about.0);
                let to = ranges.partition_point(|range| range.first < about.1).max(from);
                let mut kept = Vec::new();
                let touched = cut(&ranges[from..to], about, disposition, replies, |range| kept.push(range));
                ranges.splice(from..to, kept);
                (LiveRecipients::of(ranges), touched)
            }
            before => {
                let mut live = LiveRecipients::None;
                let ranges = before.ranges(self.total);
                let touched = cut(&ranges, about, disposition, replies, |range| live.push(range));
                (live, touched)
            }
        };
        self.set_live(live);
        if disposition.is_end() { touched } else { 0 }
    }

    /// Replaces what is known by a snapshot.
    pub(in crate::spool) fn replace(&mut self, ranges: &[(u16, u16, Stored)], replies: &mut Replies) {
        self.forget(replies);
        let mut live = LiveRecipients::None;
        for (first, count, disposition) in ranges {
            let known = LiveRange { first: *first, count: *count, ..LiveRange::all(0) };
            match disposition {
                Stored::Deferred(StoredDeferral { attempts, next, reply, late }) => {
                    let reply = if *attempts == 0 { NO_REPLY } else { replies.keep(reply) };
                    live.push(LiveRange { attempts: *attempts, reply, next: *next, late: *late, ..known });
                }
                Stored::Held(hold) => {
                    let reply = replies.keep(&hold.text());
                    let (attempts, late) = (hold.attempts, hold.late);
                    live.push(LiveRange { attempts, reply, next: hold.until, late, held: true, ..known });
                }
                _ => {}
            }
        }
        live.trim();
        self.set_live(live);
    }

    /// Lets go of the texts of a message that is gone.
    pub fn forget(&mut self, replies: &mut Replies) {
        for range in self.live().iter() {
            replies.release(range.reply);
        }
    }
}

/// The entries, by key. Keys are reused.
#[derive(Debug, Default)]
pub struct Index {
    blocks: Vec<Box<[Option<Entry>]>>,
    /// Keys were given out below this.
    end: u32,
    free: Vec<u32>,
}

impl Index {
    /// Adds an entry.
    pub fn insert(&mut self, entry: Entry) -> u32 {
        let key = self.free.pop().unwrap_or_else(|| {
            let key = self.end;
            self.end = self.end.checked_add(1).expect("bounded by the queue's bound");
            if self.blocks.len() * limits::INDEX_BLOCK <= key as usize {
                self.blocks.push((0..limits::INDEX_BLOCK).map(|_| None).collect());
            }
            key
        });
        self.blocks[key as usize / limits::INDEX_BLOCK][key as usize % limits::INDEX_BLOCK] = Some(entry);
        key
    }

    /// An entry.
    pub fn get(&self, key: u32) -> Option<&Entry> {
        self.blocks.get(key as usize / limits::INDEX_BLOCK)?[key as usize % limits::INDEX_BLOCK].as_ref()
    }

    /// An entry to change.
    pub fn get_mut(&mut self, key: u32) -> Option<&mut Entry> {
        self.blocks.get_mut(key as usize / limits::INDEX_BLOCK)?[key as usize % limits::INDEX_BLOCK].as_mut()
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: u32) -> Option<Entry> {
        let entry = self.blocks.get_mut(key as usize / limits::INDEX_BLOCK)?
            [key as usize % limits::INDEX_BLOCK]
            .take()?;
        self.free.push(key);
        if self.is_empty() {
            // Memory follows the queue.
            self.blocks.truncate(1);
            self.free = Vec::new();
            self.end = 0;
        }
        Some(entry)
    }

    /// Live messages.
    pub fn len(&self) -> usize {
        self.end as usize - self.free.len()
    }

    /// Whether nothing is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places for entries, taken or free: keys are below this.
    pub(in crate::spool) fn places(&self) -> u32 {
        self.end
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        let all = self.blocks.iter().flat_map(|block| block.iter()).enumerate();
        all.filter_map(|(key, entry)| Some((key as u32, entry.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferred(attempts: u16, text: &str) -> Stored {
        Stored::Deferred(StoredDeferral { attempts, next: 9, reply: text.into(), late: false })
    }

    fn ranges(entry: &Entry) -> Vec<(u16, u16, u16)> {
        entry.live().iter().map(|range| (range.first, range.count, range.attempts)).collect()
    }

    #[test]
    fn outcomes_cut_ranges_and_count_once() {
        let mut replies = Replies::default();
        let mut entry = Entry::new(0, 4096, 10, 0, Vec::new());
        assert_eq!(entry.apply(3, 2, &Stored::Delivered, &mut replies), 2);
        assert_eq!(ranges(&entry), [(0, 3, 0), (5, 5, 0)]);
        assert_eq!(entry.apply(3, 2, &Stored::Delivered, &mut replies), 0, "the same again");
        assert_eq!(entry.apply(4, 3, &deferred(1, "451 later"), &mut replies), 0);
        assert_eq!(ranges(&entry), [(0, 3, 0), (5, 2, 1), (7, 3, 0)]);
        assert_eq!(replies.text(entry.live()[1].reply), "451 later");
        assert_eq!(entry.apply(0, 6, &Stored::Bounced(None), &mut replies), 4);
        assert_eq!(ranges(&entry), [(6, 1, 1), (7, 3, 0)]);
        assert!(!entry.is_dead());
        assert_eq!(entry.apply(0, u16::MAX, &Stored::Expired(None), &mut replies), 4);
        assert!(entry.is_dead());
        assert!(replies.by_text.is_empty(), "texts go with their last user");
    }

    /// Against a list of all recipients: whatever is cut out of whatever, each has the history that was its own last.
    #[test]
    fn any_outcomes_leave_what_a_list_would_say() {
        const TOTAL: u16 = 300;
        let mut seed = 1u64;
        let mut random = |below: u16| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u16 % below
        };
        for _ in 0..200 {
            let (mut entry, mut replies) = (Entry::new(0, 0, TOTAL, 0, Vec::new()), Replies::default());
            let mut list = vec![Some(0); usize::from(TOTAL)];
            for attempts in 1..200 {
                let first = random(TOTAL);
                let count = 1 + random(if attempts % 5 == 0 { 80 } else { 3 });
                let last = (first + count).min(TOTAL);
                let settles = random(3) == 0;
                let disposition =
                    if settles { Stored::Delivered } else { deferred(attempts, &format!("45{}", random(9))) };
                let touched =
                    list[usize::from(first)..usize::from(last)].iter_mut().filter(|one| one.is_some());
                let touched = touched.map(|one| *one = (!settles).then_some(attempts)).count();
                let settled = entry.apply(first, count, &disposition, &mut replies);
                assert_eq!(usize::from(settled), if settles { touched } else { 0 });
                let live = entry.live();
                let said = live.iter().flat_map(|range| {
                    (range.first..range.first + range.count).map(|place| (place, range.attempts))
                });
                let listed =
                    (0..).zip(&list).filter_map(|(place, one)| one.map(|attempts| (place, attempts)));
                assert!(said.eq(listed), "after {first} + {count}: {live:?}");
                assert_eq!(entry.is_dead(), list.iter().all(Option::is_none));
            }
            entry.forget(&mut replies);
            assert!(replies.by_text.is_empty(), "texts of nobody: {:?}", replies.by_text);
        }
    }

    #[test]
    fn a_split_range_keeps_its_text_for_both_parts() {
        let mut replies = Replies::default();
        let mut entry = Entry::new(0, 4096, 9, 0, Vec::new());
        entry.apply(0, 9, &deferred(1, "450 a"), &mut replies);
        entry.apply(4, 1, &Stored::Delivered, &mut replies);
        entry.apply(0, 4, &Stored::Delivered, &mut replies);
        assert_eq!(replies.text(entry.live()[0].reply), "450 a");
        entry.forget(&mut replies);
        assert!(replies.by_text.is_empty());
    }

    #[test]
    fn a_message_of_one_recipient_needs_no_memory_of_its_own() {
        let mut replies = Replies::default();
        let mut entry = Entry::new(0, 4096, 1, 0, Vec::new());
        for attempt in 1..4 {
            entry.apply(0, 1, &deferred(attempt, "451 later"), &mut replies);
            assert!(matches!(entry.known, EntryState::One(_)));
        }
        assert_eq!((ranges(&entry), replies.texts[0].1), (vec![(0, 1, 3)], 1));
        entry.apply(0, 1, &Stored::Delivered, &mut replies);
        assert!(entry.is_dead() && entry.live().is_empty() && replies.by_text.is_empty());
        // Many become one again.
        let mut entry = Entry::new(0, 4096, 3, 0, Vec::new());
        entry.apply(1, 1, &Stored::Delivered, &mut replies);
        assert_eq!(ranges(&entry), [(0, 1, 0), (2, 1, 0)]);
        entry.apply(2, 1, &Stored::Delivered, &mut replies);
        assert!(matches!(entry.known, EntryState::One(_)));
    }

    /// What few messages have costs memory as long as they have it, and no longer.
    #[test]
    fn what_was_moved_is_known_by_its_names_whatever_is_live_of_it() {
        let mut replies = Replies::default();
        let mut entry = Entry::new(1, 4096, 3, 10, vec![(2, 20)]);
        entry.apply(0, 1, &deferred(1, "451 later"), &mut replies);
        entry.move_to((5, 8192), 30, Vec::new(), (7, 4096));
        assert_eq!(ranges(&entry), [(0, 1, 1), (1, 2, 0)], "a move changes nothing of that");
        for settled in 1..4 {
            entry.apply(settled - 1, 1, &Stored::Delivered, &mut replies);
            assert_eq!((entry.live().len(), entry.is_dead()), (usize::from(settled < 3), settled == 3));
            assert_eq!((entry.told(), entry.origin()), ((1, 4096), Some((7, 4096))));
            assert_eq!(entry.parts().collect::<Vec<_>>(), [(5, 30)]);
        }
        let mut entry = Entry::new(1, 4096, 3, 10, Vec::new());
        entry.apply(1, 1, &Stored::Delivered, &mut replies);
        assert!(matches!(entry.known, EntryState::More(_)));
        entry.apply(2, 1, &Stored::Delivered, &mut replies);
        assert!(matches!(entry.known, EntryState::One(_)));
        assert!(replies.by_text.is_empty());
    }

    #[test]
    fn keys_stay_while_the_table_grows_and_are_used_again() {
        let mut index = Index::default();
        let entry = |offset| Entry::new(7, offset, 1, 0, Vec::new());
        let keys: Vec<u32> = (0..5000).map(|offset| index.insert(entry(offset))).collect();
        assert_eq!((index.len(), index.places()), (5000, 5000));
        for key in keys.iter().filter(|key| *key % 3 == 0) {
            assert_eq!(index.remove(*key).unwrap().offset, *key);
            assert!(index.get(*key).is_none() && index.remove(*key).is_none());
        }
        let left: Vec<u32> = index.iter().map(|(key, entry)| key + 7 * (entry.offset - key)).collect();
        assert_eq!(left, keys.iter().copied().filter(|key| key % 3 != 0).collect::<Vec<_>>());
        let again = index.insert(entry(9));
        assert!(again % 3 == 0 && again < 5000 && index.get(again).unwrap().offset == 9);
        assert_eq!(
            (index.places(), index.get(5000).is_none(), index.get(u32::MAX).is_none()),
            (5000, true, true)
        );
        for key in 0..5000 {
            index.remove(key);
        }
        assert_eq!((index.len(), index.places(), index.blocks.len()), (0, 0, 1));
        assert_eq!(index.insert(entry(1)), 0);
    }
}
