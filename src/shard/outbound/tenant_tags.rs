//! Whose mail something was that came back: return paths have a tag of the tenant, not its name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::mail::bounce::verp::{Sent, Tag, Verp};

/// Tenants, by the tags that return paths have of them. It goes on where it ended: names come one by one.
#[derive(Default)]
pub struct TenantTags {
    /// The configuration whose secret made them.
    generation: u64,
    /// Names that are in it.
    known: usize,
    names: HashMap<Tag, Arc<str>>,
}

impl TenantTags {
    /// None: nobody's, or nobody knows. Of the known tenants it asks for those behind the ones it has.
    pub fn of(
        &mut self,
        (verp, generation): (&Verp, u64),
        sent: &Sent,
        behind: impl FnOnce(usize) -> Vec<Arc<str>>,
    ) -> Option<Arc<str>> {
        if self.generation != generation {
            *self = TenantTags { generation, ..TenantTags::default() };
        }
        for name in behind(self.known) {
            self.known += 1;
            for tag in verp.tags_of_tenant(&name) {
                self.names.insert(tag, name.clone());
            }
        }
        self.names.get(&sent.tenant_tag()).cloned()
    }
}
