//! The suppression list as a shard looks into it. What control changes is seen at once: each look is at the table that all shards share, behind a
//! look at one number that says whether it is still that one.

use std::cell::RefCell;
use std::sync::Arc;

use crate::policy::suppression::Hit;
use crate::policy::suppression::shared::{Shared, Taken};

/// What this shard has taken up of it.
pub(in crate::shard) struct SuppressionView {
    shared: Arc<Shared>,
    taken: RefCell<Taken>,
}

impl SuppressionView {
    /// Of the list of the node.
    pub(in crate::shard) fn new(shared: &Arc<Shared>) -> SuppressionView {
        SuppressionView { shared: shared.clone(), taken: RefCell::new(Taken::new(shared)) }
    }

    /// Whether nobody is listed.
    #[inline]
    pub(in crate::shard) fn is_empty(&self) -> bool {
        let mut taken = self.taken.borrow_mut();
        taken.look(&self.shared);
        taken.list().is_empty()
    }

    /// Why a recipient, whose domain begins there, gets no mail of this tenant. None: he does.
    #[inline]
    pub(in crate::shard) fn find(
        &self,
        recipient: &[u8],
        domain_at: usize,
        tenant: Option<&str>,
    ) -> Option<Hit> {
        let mut taken = self.taken.borrow_mut();
        taken.look(&self.shared);
        taken.list().find(recipient, domain_at, tenant)
    }
}
