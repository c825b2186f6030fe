//! How the open files that a process may have are shared out: what keeps the relay going first, clients with the rest.

/// What is open besides: the log, control, HTTP, standard streams, the lock, and files that are read for a moment.
const CONTROL: u64 = 64;
/// Of each shard: rings, bells, sets, listeners, questions to name servers.
const SHARD: u64 = 24;
/// Of each segment: for the map, for writing, and the runtime's.
const SEGMENT: u64 = 3;
/// Segments that each lane may grow by before it eats into what connections have.
const GROWTH: u64 = 8;
/// The part of the rest (in percent) for connections to next hops: mail that was taken must leave.
const OUTBOUND: u64 = 25;
/// The part for questions to name servers, each of which has a socket of its own.
const QUESTIONS: u64 = 10;
/// Fewest connections of a shard, of each kind.
const LEAST: u64 = 8;

/// Connections of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// From clients.
    pub inbound: usize,
    /// To next hops.
    pub outbound: usize,
    /// Questions to name servers.
    pub questions: usize,
}

/// What each of `shards` may have of `allowed` open files, with so many segments there are. Err: how many are needed.
pub fn share(allowed: u64, shards: u64, segments: u64) -> Result<Shares, u64> {
    let growth = shards * GROWTH;
    let reserve = CONTROL + shards * SHARD + (segments + growth) * SEGMENT;
    let needed = CONTROL + shards * (SHARD + 4 * LEAST) + segments * SEGMENT;
    if allowed < needed {
        return Err(needed);
    }
    // A start with many segments and few files still works; its lanes grow at the cost of connections that are not there.
    let rest = allowed.saturating_sub(reserve).max(shards * 4 * LEAST) / shards;
    let part = |percent: u64| (rest * percent / 100) as usize;
    let (outbound, questions) = (part(OUTBOUND), part(QUESTIONS));
    Ok(Shares { inbound: rest as usize - outbound - questions, outbound, questions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left() {
        let shares = share(1024, 2, 4).expect("enough");
        assert_eq!(shares, Shares { inbound: 278, outbound: 106, questions: 42 });
        let all = 2 * (shares.inbound + shares.outbound + shares.questions) as u64;
        assert!(all + CONTROL + 2 * SHARD + (4 + 2 * GROWTH) * SEGMENT <= 1024, "{all}");
        let many = share(1 << 20, 8, 1000).expect("enough");
        assert!(many.inbound > 80_000 && many.outbound > 30_000, "{many:?}");
    }

    #[test]
    fn too_few_are_said_before_they_are_missing() {
        let needed = share(10, 1, 20).expect_err("too few");
        assert_eq!(needed, 64 + 24 + 32 + 60);
        assert_eq!(share(needed, 1, 20), Ok(Shares { inbound: 21, outbound: 8, questions: 3 }));
        assert_eq!(share(needed - 1, 1, 20), Err(needed));
    }
}
