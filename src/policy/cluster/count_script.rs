//! What is asked of whoever keeps counts for all nodes, and what is answered.

use super::script::short;
use crate::limits;

/// The script that keeps counts.
pub const COUNTS: &str = include_str!("counts.lua");

/// A count: whose, and which of its periods.
pub type CountKey = (Box<str>, u32);

/// What a node asks of one count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountAsk {
    /// Which.
    pub key: CountKey,
    /// All of it.
    pub most: u32,
    /// What the node should have been granted in all.
    pub want: u32,
    /// What it has been: it may be used by now.
    pub held: u32,
    /// The number of the question: one that is sent later has a larger one.
    pub turn: u64,
    /// In how many milliseconds it is of no use any more.
    pub kept: u64,
    /// What is known beside the number.
    pub marks: Marks,
}

/// What nodes know of a day of warm-up: the worst that any of them does holds for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// How many days the plan is behind.
    pub behind: u32,
    /// What the provider said, as a number.
    pub said: u32,
}

impl Marks {
    /// The worse of both.
    pub fn join(self, other: Marks) -> Marks {
        Marks { behind: self.behind.max(other.behind), said: self.said.max(other.said) }
    }
}

/// What is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountGrant {
    /// What the node was granted in all.
    pub granted: u32,
    /// What all nodes were.
    pub total: u32,
    /// What is known beside that.
    pub marks: Marks,
}

/// What is answered to a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountAnswer {
    /// For how many milliseconds nothing is given, as what was granted before was forgotten.
    pub grace: u64,
    /// Since when it is known what is granted.
    pub began: u64,
    /// In the order of the questions.
    pub grants: Vec<CountGrant>,
}

impl CountAsk {
    /// Its name there, behind what the cluster has before all its names.
    pub fn name(&self) -> String {
        let (name, number) = &self.key;
        format!("count:{}:{number}", short(name))
    }

    /// The words of the command that are about it.
    pub fn words(&self) -> [String; 7] {
        let CountAsk { key: _, most, want, held, turn, kept, marks: Marks { behind, said } } = self;
        let small = |number: &u32| number.to_string();
        [
            small(most),
            small(want),
            small(held),
            turn.to_string(),
            kept.to_string(),
            small(behind),
            small(said),
        ]
    }
}

/// Reads the numbers of an answer to so many questions. None: it is no such answer.
pub fn read(numbers: &[i64], asked: usize) -> Option<CountAnswer> {
    let [grace, began, rest @ ..] = numbers else { return None };
    if rest.len() != 4 * asked || asked > limits::CLUSTER_BATCH {
        return None;
    }
    let small = |number: &i64| u64::try_from(*number).ok().map(|number| number.min(u32::MAX.into()) as u32);
    let grants = rest.chunks_exact(4).map(|four| {
        let [granted, total, behind, said] = four else { return None };
        let marks = Marks { behind: small(behind)?, said: small(said)? };
        Some(CountGrant { granted: small(granted)?, total: small(total)?, marks })
    });
    let (grace, began) = (u64::try_from(*grace).ok()?, u64::try_from(*began).ok()?);
    Some(CountAnswer { grace, began, grants: grants.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_what_is_none_is_not() {
        let answer = read(&[0, 7, 5, 9, 1, 2, 0, 1 << 40, 0, 0], 2).expect("two");
        assert_eq!((answer.grace, answer.began, answer.grants[0].total), (0, 7, 9));
        assert_eq!(answer.grants[0].marks, Marks { behind: 1, said: 2 });
        assert_eq!(answer.grants[1].total, u32::MAX);
        for bad in [&[][..], &[0], &[0, 0, 1, 1, 0], &[0, 0, -1, 0, 0, 0], &[0, 0, 1, 1, 1, 1, 1, 1, 1, 1]] {
            assert_eq!(read(bad, 1), None);
        }
    }
}
