//! Which shard keeps which lane: made once at the start, looked up ever after.
//!
//! Lane *i* is the own lane of shard *i* and takes its new mail. Lanes beyond the number of shards are left from a time with more of
//! them, or were adopted; they are assigned in turn, unless the configuration says who keeps them.

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    lanes: Box<[LaneOwner]>,
    shards: usize,
}

/// One lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LaneOwner {
    shard: u16,
    /// Its place among the lanes of that shard; the own one is the first.
    place: u16,
}

impl Assignment {
    /// So many lanes (at least one a shard), those beyond the own ones assigned in turn.
    pub fn in_turn(shards: usize, lanes: usize) -> Assignment {
        Assignment::chosen(&vec![None; shards], lanes)
    }

    /// One entry a shard: the lanes it is to keep besides its own, or None for its part of those that nobody asked for. Where all shards
    /// say what they keep, the rest is shared out among all. Of what is asked for twice the first has it; lanes that are not there
    /// are passed over.
    pub fn chosen(chosen: &[Option<Vec<u16>>], lanes: usize) -> Assignment {
        let shards = chosen.len().max(1);
        let lanes = lanes.max(shards);
        let chooser = |lane: usize| {
            let has = |chosen: &Option<Vec<u16>>| {
                chosen.iter().flatten().any(|chosen| usize::from(*chosen) == lane)
            };
            chosen.iter().position(has)
        };
        let mut open: Vec<usize> =
            (0..shards).filter(|shard| !matches!(chosen.get(*shard), Some(Some(_)))).collect();
        if open.is_empty() {
            open = (0..shards).collect();
        }
        let mut count = vec![0u16; shards];
        let mut next = 0;
        let mut assign = |lane: usize| {
            let shard = if lane < shards {
                lane
            } else if let Some(chooser) = chooser(lane) {
                chooser
            } else {
                next += 1;
                open[(next - 1) % open.len()]
            };
            count[shard] += 1;
            LaneOwner { shard: shard as u16, place: count[shard] - 1 }
        };
        Assignment { lanes: (0..lanes).map(&mut assign).collect(), shards }
    }

    /// Shards.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Lanes.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The shard that keeps a lane.
    pub fn writer(&self, lane: u16) -> usize {
        usize::from(self.lanes[usize::from(lane)].shard)
    }

    /// Where a lane stands among those of its shard.
    pub fn place(&self, lane: u16) -> usize {
        usize::from(self.lanes[usize::from(lane)].place)
    }

    /// The lanes of a shard, by their places.
    pub fn kept(&self, shard: usize) -> impl Iterator<Item = u16> + '_ {
        let lanes = self.lanes.iter().enumerate();
        lanes.filter(move |(_, kept)| usize::from(kept.shard) == shard).map(|(lane, _)| lane as u16)
    }

    /// The most lanes one shard keeps.
    pub fn most(&self) -> usize {
        self.lanes.iter().map(|kept| usize::from(kept.place) + 1).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every lane is kept once, its place is where its shard's list has it, and own lanes come first.
    #[track_caller]
    fn check(assignment: &Assignment, expected: &[&[u16]]) {
        let kept: Vec<Vec<u16>> =
            (0..assignment.shards()).map(|shard| assignment.kept(shard).collect()).collect();
        assert_eq!(kept, expected);
        assert_eq!(kept.iter().map(Vec::len).sum::<usize>(), assignment.lanes());
        assert_eq!(assignment.most(), kept.iter().map(Vec::len).max().unwrap());
        for (shard, lanes) in kept.iter().enumerate() {
            assert_eq!(usize::from(lanes[0]), shard);
            for (place, lane) in lanes.iter().enumerate() {
                assert_eq!((assignment.writer(*lane), assignment.place(*lane)), (shard, place));
            }
        }
    }

    #[test]
    fn lanes_are_assigned_in_turn() {
        check(&Assignment::in_turn(2, 2), &[&[0], &[1]]);
        check(&Assignment::in_turn(2, 5), &[&[0, 2, 4], &[1, 3]]);
        check(&Assignment::in_turn(3, 0), &[&[0], &[1], &[2]]);
    }

    #[test]
    fn a_shard_keeps_what_it_asks_for() {
        check(&Assignment::chosen(&[Some(vec![3, 2]), None], 5), &[&[0, 2, 3], &[1, 4]]);
        check(&Assignment::chosen(&[Some(vec![]), None, None], 7), &[&[0], &[1, 3, 5], &[2, 4, 6]]);
        // Nobody is left who says nothing.
        check(&Assignment::chosen(&[Some(vec![4]), Some(vec![])], 6), &[&[0, 2, 4, 5], &[1, 3]]);
        // What is not there, and another's own, is passed over; a configuration that says so was refused before.
        check(&Assignment::chosen(&[Some(vec![9, 1]), Some(vec![2])], 4), &[&[0, 3], &[1, 2]]);
    }
}
