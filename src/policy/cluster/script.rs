//! What is asked of whoever keeps the leases, and what is answered.

use super::Limit;
use super::fair::Others;
use crate::limits;

/// The script that keeps leases.
pub const LEASES: &str = include_str!("leases.lua");
/// The script that keeps which nodes there are.
pub const NODES: &str = include_str!("nodes.lua");

/// What a node asks of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its name.
    pub key: Box<str>,
    /// All of it.
    pub limit: Limit,
    /// What the node should have of it.
    pub want: u64,
    /// What it needs.
    pub need: u64,
    /// Others are told by this.
    pub level: u64,
    /// What it has.
    pub held: u64,
    /// For how long it wants it, in milliseconds.
    pub lasts: u64,
}

impl Ask {
    /// The words of the command that are about it.
    pub fn words(&self) -> [Vec<u8>; 7] {
        let Ask { key, limit, want, need, level, held, lasts } = self;
        let numbers = [limit.most, *want, *need, *level, *held, *lasts];
        let mut words: [Vec<u8>; 7] = Default::default();
        words[0] = key.as_bytes().to_vec();
        for (word, number) in words[1..].iter_mut().zip(numbers) {
            *word = number.to_string().into_bytes();
        }
        words
    }
}

/// What is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// What the node has from now on.
    pub units: u64,
    /// What others have, and need.
    pub others: Others,
}

/// Numbers of an answer: for how many milliseconds nobody gets more than he had, and a grant for each of so many questions. None: it is no such answer.
pub fn read(numbers: &[i64], asked: usize) -> Option<(u64, Vec<Grant>)> {
    let number = |number: &i64| u64::try_from(*number).ok();
    let (grace, rest) = numbers.split_first()?;
    if rest.len() != 5 * asked || asked > limits::CLUSTER_BATCH {
        return None;
    }
    let grants = rest.chunks_exact(5).map(|five| {
        let [units, leased, small, large, nodes] = five else { return None };
        let others = Others {
            leased: number(leased)?,
            small: number(small)?,
            large: number(large)?,
            nodes: number(nodes)?,
        };
        Some(Grant { units: number(units)?, others })
    });
    Some((number(grace)?, grants.collect::<Option<_>>()?))
}

/// A name of a limit that is short enough: of a long one as much as fits, and a number that is its own.
pub fn short(key: &str) -> Box<str> {
    if key.len() <= limits::CLUSTER_KEY_MAX {
        return key.into();
    }
    let hash = |seed: u64| {
        key.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
    };
    let (one, other) = (hash(0xCBF2_9CE4_8422_2325), hash(0x9E37_79B9_7F4A_7C15));
    let room = limits::CLUSTER_KEY_MAX - 34;
    let end = (0..=room).rev().find(|end| key.is_char_boundary(*end)).unwrap_or(0);
    format!("{}#{one:016x}{other:016x}", &key[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_what_is_none_is_not() {
        let (grace, grants) = read(&[0, 5, 3, 2, 1, 2, 0, 0, 0, 0, 0], 2).expect("two");
        assert_eq!((grace, grants[0].units, grants[0].others.nodes, grants[1]), (0, 5, 2, Grant::default()));
        for bad in [&[][..], &[0, 1], &[0, -1, 0, 0, 0, 0], &[0, 1, 2, 3, 4, 5, 6]] {
            assert_eq!(read(bad, 1), None);
        }
    }

    #[test]
    fn long_names_are_short_and_their_own() {
        let long = "mx.example,".repeat(100);
        let other = format!("{long}x");
        assert_eq!(&*short("ip1 mx:a:25"), "ip1 mx:a:25");
        assert!(short(&long).len() <= limits::CLUSTER_KEY_MAX && short(&long) != short(&other));
        assert!(short(&"ä".repeat(400)).len() <= limits::CLUSTER_KEY_MAX);
    }
}
