//! How a site stands to other shards: while some wait for connections to it, its order goes by what tenants had over the node.

use std::sync::Arc;

use super::keys::SiteKey;
use super::resting::Resting;
use super::shares::Node;
use super::sites::Sites;
use crate::queue::flow::Weights;
use crate::queue::node_shares::{Head, NodeShares};

/// A site, and what is known of tenants.
pub struct OverNode<'a> {
    pub(super) sites: &'a mut Sites,
    pub(super) resting: &'a mut Resting,
    pub(super) weights: &'a Weights,
    pub(super) site: SiteKey,
}

impl OverNode<'_> {
    /// What tenants had over the node counts from now on; None: what they had on this shard.
    pub fn count_for(self, shares: Option<Arc<NodeShares>>) {
        let node = shares.map(|shares| Node { shares, weights: self.weights.clone() });
        self.sites.get_mut(self.site).rings.count_for(node);
    }

    /// Whether what is next is of a tenant that has had mail here for a while, or, where all of it is of one, of more than `few` messages.
    pub fn has_steady(self, few: usize, now: u32) -> bool {
        let OverNode { sites, resting, site, .. } = self;
        let mut rests = |tenant| !resting.is_empty() && resting.meets(tenant, site);
        let state = sites.get_mut(site);
        let ready = state.ready(now);
        state.rings.is_steady(&mut rests, ready, few)
    }

    /// Whether mail of several flows waits, or did a moment ago.
    pub fn has_several(self) -> bool {
        self.sites.get_mut(self.site).rings.are_several()
    }

    /// Whose mail waits, where it is of so many flows at most; a tenant that has several comes once for each.
    pub fn tenants(self, most: usize) -> Option<Vec<u32>> {
        let mut tenants: Vec<u32> = self.sites.get_mut(self.site).rings.tenants().take(most + 1).collect();
        let few = tenants.len() <= most;
        tenants.sort_unstable();
        tenants.dedup();
        few.then_some(tenants)
    }

    /// Where it counts: whose mail is next.
    pub fn head(self) -> Option<Head> {
        let OverNode { sites, resting, site, .. } = self;
        let mut rests = |tenant| !resting.is_empty() && resting.meets(tenant, site);
        sites.get_mut(site).rings.head(&mut rests)
    }
}
