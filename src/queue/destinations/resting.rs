//! Tenants whose rate lets no message of theirs begin now: they are passed over wherever they have mail, and these sites are told of when it does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::keys::SiteKey;

#[derive(Debug, Default)]
struct Tenant {
    rests: bool,
    /// Where its mail was passed over, and is to be looked at again.
    sites: BTreeSet<SiteKey>,
    /// The last of them that was.
    last: Option<SiteKey>,
}

#[derive(Debug, Default)]
pub(super) struct Resting {
    tenants: BTreeMap<u32, Tenant>,
    /// Those that are to be woken, and nobody was told so yet.
    new: Vec<u32>,
}

impl Resting {
    /// Nobody does.
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// A tenant with mail at a site is met there. True: it is passed over.
    pub(super) fn meets(&mut self, tenant: u32, site: SiteKey) -> bool {
        let Some(known) = self.tenants.get_mut(&tenant).filter(|known| known.rests) else { return false };
        known.sites.insert(site);
        true
    }

    /// Its mail at a site may not go now.
    pub(super) fn rest(&mut self, tenant: u32, site: SiteKey) {
        let known = self.tenants.entry(tenant).or_insert_with(|| {
            self.new.push(tenant);
            Tenant::default()
        });
        known.rests = true;
        known.sites.insert(site);
    }

    /// One that just began to rest.
    pub(super) fn take_new(&mut self) -> Option<u32> {
        self.new.pop()
    }

    /// Its mail may go: at most so many of its sites, in turn, and whether there are more, of which is to be asked again.
    pub(super) fn resume(&mut self, tenant: u32, most: usize) -> (Vec<SiteKey>, bool) {
        let Some(known) = self.tenants.get_mut(&tenant) else { return (Vec::new(), false) };
        known.rests = false;
        let (behind, before) = match known.last {
            Some(last) => ((Bound::Excluded(last), Bound::Unbounded), Some(..=last)),
            None => ((Bound::Unbounded, Bound::Unbounded), None),
        };
        let before = before.into_iter().flat_map(|before| known.sites.range(before));
        let sites: Vec<SiteKey> = known.sites.range(behind).chain(before).take(most).copied().collect();
        for site in &sites {
            known.sites.remove(site);
        }
        known.last = sites.last().copied();
        let more = !known.sites.is_empty();
        if !more {
            self.tenants.remove(&tenant);
        }
        (sites, more)
    }
}
