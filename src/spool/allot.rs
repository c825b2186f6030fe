//! How large each lane may grow where a bound holds for all of them.

/// Bytes that each lane may have, of `most` for all, given those that its files have: they are never deleted, so what is there stays. The
/// first `growing` lanes take new mail and share what is left; lanes of shards that are gone, and adopted ones, only empty.
pub fn allot(most: u64, growing: usize, there: &[u64]) -> Vec<u64> {
    let mut shares: Vec<Option<u64>> =
        there.iter().enumerate().map(|(lane, bytes)| (lane >= growing).then_some(*bytes)).collect();
    loop {
        let taken: u64 = shares.iter().flatten().sum();
        let open = shares.iter().filter(|share| share.is_none()).count() as u64;
        let share = most.saturating_sub(taken) / open.max(1);
        let mut settled = true;
        for (lane, bytes) in shares.iter_mut().zip(there) {
            if lane.is_none() && *bytes > share {
                *lane = Some(*bytes);
                settled = false;
            }
        }
        if settled {
            return shares.into_iter().map(|lane| lane.unwrap_or(share)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_share_what_there_is() {
        assert_eq!(allot(100, 2, &[0, 0]), [50, 50]);
        assert_eq!(allot(100, 2, &[50, 10]), [50, 50]);
        // One shard had it all, and now there are two: the first keeps what it has.
        assert_eq!(allot(100, 2, &[90, 0]), [90, 10]);
        assert_eq!(allot(100, 3, &[90, 6, 0]), [90, 6, 4]);
        // A lane of a shard that is gone.
        assert_eq!(allot(100, 1, &[20, 30]), [70, 30]);
        assert_eq!(allot(100, 2, &[60, 10, 30]), [60, 10, 30]);
        // More is there than may be: nobody grows, but for the few segments that a lane has in any case.
        assert_eq!(allot(100, 2, &[0, 70, 60]), [0, 70, 60]);
        for most in [0, 7, 99, 1000] {
            for there in [[0, 0, 0], [9, 1, 0], [50, 50, 50]] {
                let shares = allot(most, 2, &there);
                assert!(
                    shares.iter().sum::<u64>() <= most.max(there.iter().sum()),
                    "{most} {there:?}: {shares:?}"
                );
                assert!(shares.iter().zip(there).all(|(share, there)| *share >= there));
            }
        }
    }
}
