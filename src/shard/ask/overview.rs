//! What a shard tells of all that it has, for whoever looks at the node as a whole.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::queue::destinations::summary::QueueSums;
use crate::time::UnixMillis;

/// What waits, and the sites of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What waits.
    pub queue: QueueSums,
    /// Connections to the sites of each provider.
    pub connections: Vec<(Box<str>, u64)>,
    /// The sites, as far as there is room for them: each may be one of another shard's as well.
    pub sites: Vec<KnownSite>,
    /// How long the shard worked on this.
    pub worked: Duration,
}

/// That there is a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSite {
    /// Its name, as [`number_of`] has it.
    pub number: u64,
    /// Who runs it.
    pub provider: Option<Box<str>>,
    /// It refused something, and gets less than it might.
    pub narrowed: bool,
}

/// A number for the name of a site: the same on all shards.
pub fn number_of(site: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    site.hash(&mut hasher);
    hasher.finish()
}

/// Which sites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SitesWanted {
    /// Those behind this name.
    pub after: Box<str>,
    /// Those that this provider runs.
    pub provider: Option<Box<str>>,
    /// Those that get less than they might.
    pub narrowed: bool,
}

/// Some of them, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SitePage {
    /// The first of those that are wanted.
    pub rows: Vec<SiteRow>,
    /// There are more.
    pub more: bool,
}

/// A site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteRow {
    /// Its canonical name.
    pub name: Box<str>,
    /// Who runs it.
    pub provider: Option<Box<str>>,
    /// The source that its mail leaves by; empty: the node's own addresses.
    pub source: Box<str>,
    /// Connections of the node to it.
    pub connections: usize,
    /// How many the operator allows.
    pub limit: usize,
    /// How many it takes, where it refused more.
    pub window: Option<usize>,
    /// It refused something, and gets less than it might.
    pub narrowed: bool,
    /// Messages a second that it gets at the most.
    pub rate: Option<f64>,
    /// Groups that are ready there.
    pub ready: usize,
    /// Nothing is begun there before this time.
    pub closed_until: Option<UnixMillis>,
    /// What narrowed its window, where it is narrowed and not closed; else why the last connection that failed did so. Empty: nothing did.
    pub last_error: Box<str>,
    /// It is what narrowed the window.
    pub of_window: bool,
}

impl SiteRow {
    /// The same site, as another shard has it: what is of the node is the same there, the rest comes together.
    pub fn join(&mut self, other: SiteRow) {
        self.ready += other.ready;
        self.closed_until = self.closed_until.max(other.closed_until);
        // What another shard was told that made it narrow says more than what failed here once.
        let says_more = other.of_window && !self.of_window && self.closed_until.is_none();
        if self.last_error.is_empty() || says_more {
            (self.last_error, self.of_window) = (other.last_error, other.of_window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_narrowed_a_site_is_told_by_whichever_shard_heard_it() {
        let row = |last_error: &str, of_window, closed: Option<u64>| SiteRow {
            last_error: last_error.into(),
            of_window,
            closed_until: closed.map(UnixMillis),
            ..SiteRow::default()
        };
        for (one, other, shown) in [
            (row("", false, None), row("451 slow", true, None), "451 slow"),
            (row("lost", false, None), row("451 slow", true, None), "451 slow"),
            (row("451 slow", true, None), row("lost", false, None), "451 slow"),
            (row("refused", false, Some(1)), row("451 slow", true, None), "refused"),
            (row("lost", false, None), row("", false, None), "lost"),
        ] {
            let mut joined = one;
            joined.join(other);
            assert_eq!(&*joined.last_error, shown);
        }
    }
}
