//! Beside ledger: what a node should have of a limit, by what it needs and what others do.

/// What others need of a limit, as far as it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// What they have leased.
    pub leased: u64,
    /// What those need together who need no more than the level that was asked by.
    pub small: u64,
    /// How many need more.
    pub large: u64,
    /// How many there are.
    pub nodes: u64,
}

impl Others {
    /// Whether any of them needs anything.
    pub fn need_any(&self) -> bool {
        self.large > 0 || self.small > 0
    }
}

/// What a node should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fair {
    /// Nobody gets more who needs more: the level that the next question is by.
    pub level: u64,
    /// What this node should have.
    pub part: u64,
}

/// Whoever needs little has it, and an even part where that is more: a need that grows finds some. The others have the same, as much as is left. What
/// nobody needs is nobody's: a node that begins finds it free, and needs not wait until another one has heard of it.
///
/// The level is found step by step, one each time that others are asked: who needs less than it is known only for the last one.
pub fn fair(most: u64, need: u64, others: Others, nodes: u64) -> Fair {
    let need = need.min(most);
    if others.large == 0 && others.small + need <= most {
        let even = most / nodes.max(others.nodes + 1);
        return Fair { level: most, part: need.max(even.min(most - others.small)) };
    }
    let nodes = others.nodes + 1;
    let rest = most.saturating_sub(others.small);
    let level = (rest / (others.large + 1)).max(most / nodes);
    if need <= level {
        return Fair { level, part: need };
    }
    // What the division leaves is for whoever finds it free.
    let left = rest.saturating_sub(level * (others.large + 1)) > 0;
    let free = most.saturating_sub(others.leased) > level;
    Fair { level, part: level + u64::from(left && free) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(small: u64, large: u64, nodes: u64) -> Others {
        Others { leased: 0, small, large, nodes }
    }

    #[test]
    fn who_needs_little_has_it_and_the_rest_is_even() {
        assert_eq!(fair(1000, 200, Others::default(), 1).part, 1000, "the only node");
        assert_eq!(fair(1000, 100, Others::default(), 5).part, 200, "what nobody needs is nobody's");
        assert_eq!(fair(1000, 300, Others::default(), 5).part, 300);
        assert_eq!(fair(1000, 1000, Others::default(), 5).part, 1000);
        assert_eq!(fair(1000, 100, others(900, 0, 1), 5).part, 100);
        assert_eq!(fair(1000, 1000, others(100, 2, 3), 5), Fair { level: 300, part: 300 });
        assert_eq!(fair(1000, 100, others(0, 3, 3), 5).part, 100);
        assert_eq!(fair(10, 10, Others { leased: 6, ..others(0, 2, 2) }, 3).part, 4, "the last of ten");
        assert_eq!(fair(10, 10, Others { leased: 7, ..others(0, 2, 2) }, 3).part, 3);
        let taken = Others { leased: 2, ..others(0, 4, 4) };
        assert_eq!(fair(2, 2, taken, 5), Fair { level: 0, part: 0 }, "they take turns");
        // Two that need nearly all were counted among those that need little.
        assert_eq!(fair(1000, 1000, others(1800, 0, 2), 3).level, 333);
    }
}
