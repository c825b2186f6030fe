//! How the open files that a process may have are shared out: what keeps the relay going first, clients with the rest.

use crate::limits;

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

/// What each of `shards` may have of `allowed` open files, with so many segments there are, and so many listeners, each of which has a socket in every
/// shard. Err: how many are needed.
pub fn share(allowed: u64, shards: u64, segments: u64, listeners: u64) -> Result<Shares, u64> {
    let growth = shards * limits::DESCRIPTORS_GROWTH;
    let reserve = limits::DESCRIPTORS_OF_CONTROL
        + shards * (limits::DESCRIPTORS_OF_SHARD + listeners)
        + (segments + growth) * limits::DESCRIPTORS_OF_SEGMENT;
    let needed = limits::DESCRIPTORS_OF_CONTROL
        + shards * (limits::DESCRIPTORS_OF_SHARD + listeners + 4 * limits::CONNECTIONS_LEAST)
        + segments * limits::DESCRIPTORS_OF_SEGMENT;
    if allowed < needed {
        return Err(needed);
    }
    // A start with many segments and few files still works; its lanes grow at the cost of connections that are not there.
    let rest = allowed.saturating_sub(reserve).max(shards * 4 * limits::CONNECTIONS_LEAST) / shards;
    let part = |percent: u64| (rest * percent / 100) as usize;
    let (outbound, questions) = (part(limits::DESCRIPTORS_OUTBOUND), part(limits::DESCRIPTORS_QUESTIONS));
    Ok(Shares { inbound: rest as usize - outbound - questions, outbound, questions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left() {
        let shares = share(1024, 2, 4, 3).expect("enough");
        assert_eq!(shares, Shares { inbound: 242, outbound: 92, questions: 37 });
        let all = 2 * (shares.inbound + shares.outbound + shares.questions) as u64;
        assert!(
            all + limits::DESCRIPTORS_OF_CONTROL
                + 2 * (limits::DESCRIPTORS_OF_SHARD + 3)
                + (4 + 2 * limits::DESCRIPTORS_GROWTH) * limits::DESCRIPTORS_OF_SEGMENT
                <= 1024,
            "{all}"
        );
        let many = share(1 << 20, 8, 1000, 2).expect("enough");
        assert!(many.inbound > 80_000 && many.outbound > 30_000, "{many:?}");
    }

    #[test]
    fn too_few_are_said_before_they_are_missing() {
        let needed = share(10, 1, 20, 1).expect_err("too few");
        assert_eq!(needed, 40 + 64 + 64 + 24 + 1 + 32 + 60);
        assert_eq!(share(needed, 1, 20, 1), Ok(Shares { inbound: 21, outbound: 8, questions: 3 }));
        assert_eq!(share(needed - 1, 1, 20, 1), Err(needed));
        assert_eq!(share(needed, 1, 20, 2), Err(needed + 1), "each listener has a socket");
    }
}
