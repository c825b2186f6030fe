//! Names of domains and sites within one shard.

/// Names a domain of this shard while it has mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainKey(pub(super) u32);

impl DomainKey {
    /// Where the next domain is.
    pub fn next(self) -> u32 {
        self.0 + 1
    }

    /// Its own place.
    pub fn place(self) -> u32 {
        self.0
    }
}

/// Names a site of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteKey(pub(super) u32);
