//! Recipients that were found by reading records: what a filter asks that no queue knows.
//!
//! Each is called by its message's place in the lane's index and by where that was said to lie when it was handed out. Places in the index
//! are used again, and both together are not: so what has left since is never taken for what came in its place.

use crate::limits;
use crate::queue::Group;

/// Recipients of one message, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The message's entry in the index of its lane.
    pub key: u32,
    /// Where it was handed out as lying: the file, and where in it.
    pub slot: u16,
    /// See `slot`.
    pub offset: u32,
    /// First ordinal.
    pub first: u16,
    /// How many.
    pub count: u16,
}

const _: () = assert!(size_of::<Run>() <= 16, "there may be limits::FOUND_MAX of them");

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundRecipients {
    /// By number.
    lanes: Vec<Runs>,
    length: usize,
}

/// Those of one lane, by key and ordinal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Runs {
    runs: Vec<Run>,
    /// Where those of each block of keys begin, and at last where all end: keys are dense, so a look finds its block at once.
    blocks: Vec<u32>,
}

impl Runs {
    fn new(mut runs: Vec<Run>) -> Runs {
        runs.sort_unstable_by_key(|run| (run.key, run.first));
        let block = |run: &Run| run.key / limits::FOUND_BLOCK;
        let mut blocks = Vec::with_capacity(runs.last().map_or(0, |last| block(last) as usize + 2));
        for (at, run) in (0u32..).zip(&runs) {
            while blocks.len() <= block(run) as usize {
                blocks.push(at);
            }
        }
        blocks.push(u32::try_from(runs.len()).unwrap_or(u32::MAX));
        Runs { runs, blocks }
    }

    fn of(&self, key: u32) -> &[Run] {
        let block = (key / limits::FOUND_BLOCK) as usize;
        let Some([from, to]) = self.blocks.get(block..block + 2) else { return &[] };
        let runs = &self.runs[*from as usize..*to as usize];
        let from = runs.partition_point(|run| run.key < key);
        let runs = &runs[from..];
        &runs[..runs.partition_point(|run| run.key == key)]
    }
}

impl FoundRecipients {
    /// What was found in a lane, in any order.
    pub fn add(&mut self, lane: u16, runs: Vec<Run>) {
        let at = usize::from(lane);
        if self.lanes.len() <= at {
            self.lanes.resize_with(at + 1, Runs::default);
        }
        self.length += runs.len();
        self.lanes[at] = Runs::new(runs);
    }

    /// Runs.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// What was found of a group: first ordinal, count.
    pub fn of<'a>(&'a self, group: &Group) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        let place = (group.location.slot, group.location.offset);
        let (first, end) = (u32::from(group.first), u32::from(group.first) + u32::from(group.count));
        let runs =
            self.lanes.get(usize::from(group.location.lane)).map_or(&[][..], |lane| lane.of(group.key));
        let from = runs.partition_point(|run| u32::from(run.first) + u32::from(run.count) <= first);
        let runs = runs[from..].iter().take_while(move |run| u32::from(run.first) < end);
        runs.filter(move |run| (run.slot, run.offset) == place).filter_map(move |run| {
            let from = u32::from(run.first).max(first);
            let to = (u32::from(run.first) + u32::from(run.count)).min(end);
            (from < to).then(|| (from as u16, (to - from) as u16))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Location;

    fn run(key: u32, first: u16, count: u16) -> Run {
        Run { key, slot: 3, offset: key * 10, first, count }
    }

    fn of(found: &FoundRecipients, lane: u16, key: u32, (first, count): (u16, u16)) -> Vec<(u16, u16)> {
        let location = Location { lane, slot: 3, offset: key * 10 };
        found.of(&Group { first, count, ..Group::bare(location, key) }).collect()
    }

    #[test]
    fn what_was_found_is_found_again_and_nothing_else() {
        let far = limits::FOUND_BLOCK * 9 + 1;
        let mut found = FoundRecipients::default();
        found.add(2, vec![run(far, 0, 5), run(7, 20, 10), run(7, 2, 3), run(6, 0, u16::MAX), run(0, 0, 1)]);
        assert_eq!((found.len(), found.is_empty()), (5, false));
        assert_eq!(of(&found, 2, 0, (0, 1)), [(0, 1)]);
        assert_eq!(of(&found, 2, 6, (60_000, 100)), [(60_000, 100)]);
        assert_eq!(of(&found, 2, 7, (0, 100)), [(2, 3), (20, 10)]);
        assert_eq!(of(&found, 2, 7, (4, 17)), [(4, 1), (20, 1)], "only what is in both");
        assert_eq!(of(&found, 2, 7, (5, 15)), []);
        assert_eq!(of(&found, 2, far, (0, 9)), [(0, 5)]);
        for (lane, key) in [(0, 7), (3, 7), (2, 1), (2, 8), (2, far - 1), (2, far + 1), (2, u32::MAX / 20)] {
            assert_eq!(of(&found, lane, key, (0, 100)), [], "{lane} {key}");
        }
        // Its place in the index is another message's by now.
        let location = Location { lane: 2, slot: 4, offset: 70 };
        let other = Group { count: 100, ..Group::bare(location, 7) };
        assert_eq!(found.of(&other).count(), 0);
        assert_eq!(FoundRecipients::default().of(&other).count(), 0);
    }
}
