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

/// What has files open whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedDescriptors {
    /// Shards.
    pub shards: u64,
    /// Segments of the spool.
    pub segments: u64,
    /// Listeners, each of which has a socket in every shard.
    pub listeners: u64,
}

impl FixedDescriptors {
    /// Files that it has open.
    fn files(self) -> u64 {
        limits::DESCRIPTORS_OF_CONTROL
            + self.shards * (limits::DESCRIPTORS_OF_SHARD + self.listeners)
            + self.segments * limits::DESCRIPTORS_OF_SEGMENT
    }

    /// Files that lanes may take beside them while they grow.
    fn growth(self) -> u64 {
        self.shards * limits::DESCRIPTORS_GROWTH * limits::DESCRIPTORS_OF_SEGMENT
    }

    /// Whether this may be had, with listeners that a reload adds to the `started` ones and so many connections of all shards. Err: how many open
    /// files would be needed.
    pub fn fits(self, allowed: u64, started: u64, connections: u64) -> Result<(), u64> {
        let needed = self.files() + self.growth() + connections;
        if self.listeners > started + limits::DESCRIPTORS_LISTENERS && allowed < needed {
            return Err(needed);
        }
        Ok(())
    }
}

/// What each shard may have of `allowed` open files, with room for some more listeners. Err: how many are needed.
pub fn share(allowed: u64, standing: FixedDescriptors) -> Result<Shares, u64> {
    let shards = standing.shards;
    let files =
        FixedDescriptors { listeners: standing.listeners + limits::DESCRIPTORS_LISTENERS, ..standing }
            .files();
    let (reserve, least) = (files + standing.growth(), shards * 4 * limits::CONNECTIONS_LEAST);
    if allowed < files + least {
        return Err(files + least);
    }
    // A start with many segments and few files still works; its lanes grow at the cost of connections that are not there.
    let rest = allowed.saturating_sub(reserve).max(least) / shards;
    let part = |percent: u64| (rest * percent / 100) as usize;
    let (outbound, questions) = (part(limits::DESCRIPTORS_OUTBOUND), part(limits::DESCRIPTORS_QUESTIONS));
    Ok(Shares { inbound: rest as usize - outbound - questions, outbound, questions })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shards: u64, segments: u64, listeners: u64) -> FixedDescriptors {
        FixedDescriptors { shards, segments, listeners }
    }

    #[test]
    fn clients_get_what_is_left() {
        let shares = share(1024, of(2, 4, 3)).expect("enough");
        assert_eq!(shares, Shares { inbound: 183, outbound: 69, questions: 27 });
        let all = 2 * (shares.inbound + shares.outbound + shares.questions) as u64;
        assert!(
            all + limits::DESCRIPTORS_OF_CONTROL
                + 2 * (limits::DESCRIPTORS_OF_SHARD + 3 + limits::DESCRIPTORS_LISTENERS)
                + (4 + 2 * limits::DESCRIPTORS_GROWTH) * limits::DESCRIPTORS_OF_SEGMENT
                <= 1024,
            "{all}"
        );
        let many = share(1 << 20, of(8, 1000, 2)).expect("enough");
        assert!(many.inbound > 80_000 && many.outbound > 30_000, "{many:?}");
    }

    #[test]
    fn too_few_are_said_before_they_are_missing() {
        let needed = share(10, of(1, 20, 1)).expect_err("too few");
        assert_eq!(needed, 40 + 64 + 64 + 104 + 64 + 24 + 1 + 8 + 32 + 60);
        assert_eq!(share(needed, of(1, 20, 1)), Ok(Shares { inbound: 21, outbound: 8, questions: 3 }));
        assert_eq!(share(needed - 1, of(1, 20, 1)), Err(needed));
        assert_eq!(share(needed, of(1, 20, 2)), Err(needed + 1), "each listener has a socket");
    }

    #[test]
    fn what_a_reload_may_add_is_kept_for_it() {
        let allowed = share(0, of(2, 4, 3)).expect_err("too few");
        assert_eq!(of(2, 4, 11).fits(allowed, 3, 1000), Ok(()), "so many were reckoned with");
        let needed = of(2, 4, 12).fits(allowed, 3, 1000).expect_err("one too many");
        assert_eq!(needed, 40 + 64 + 64 + 104 + 64 + 2 * (24 + 12 + 24) + 12 + 1000);
        assert_eq!(of(2, 4, 12).fits(needed, 3, 1000), Ok(()), "connections leave as many");
        assert_eq!(of(2, 4, 12).fits(needed - 1, 3, 1000), Err(needed));
    }
}
