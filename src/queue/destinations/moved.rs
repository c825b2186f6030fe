//! Domains that are asked for again while their mail is under way: its hosts may be others by now.

use std::ops::Range;

use super::{Destinations, DomainKey, Effect, domain};
use crate::limits;

impl Destinations {
    /// Domains that there are keys for, those in use and those that are free.
    pub fn domain_slots(&self) -> usize {
        self.domains.len()
    }

    /// Those of these slots whose mail has gone on for long by the site that was found once: they are to be asked for again, and their
    /// mail goes on meanwhile. What waits for a closed site is asked for when that opens.
    pub fn resolve_busy(&mut self, now: u32, slots: Range<usize>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let end = slots.end.min(self.domains.len());
        for domain in self.domains[slots.start.min(end)..end].iter_mut().enumerate() {
            let (place, Some(domain)) = domain else { continue };
            let key = DomainKey((slots.start + place) as u32);
            let Some(site) = domain.site else { continue };
            let busy = domain.active > 0 || domain.in_ring;
            let closed = self.sites[site.0 as usize].closed_until > now;
            let old = domain.since.saturating_add(limits::RESOLVED_AGAIN) <= now;
            if busy && old && !closed && domain.is_first_asked(now) {
                effects.push(Effect::Resolve(key, domain.name.clone()));
            }
        }
        effects
    }

    /// Nobody could say where the domain leads now. True: its mail goes on to the site it has.
    pub fn goes_on(&mut self, key: DomainKey) -> bool {
        let Some(domain) = self.domain_mut(key) else { return false };
        if domain.site.is_none() {
            return false;
        }
        domain.resolving = false;
        self.rest(key);
        self.release_if_empty(key);
        true
    }

    /// The domain leads to its site no more: what waits there waits for the answer where it leads.
    pub fn leave_site(&mut self, key: DomainKey) {
        let Some(Some(domain)) = self.domains.get_mut(key.0 as usize) else { return };
        let Some(site) = domain.site else { return };
        if std::mem::take(&mut domain.in_ring) {
            let state = &mut self.sites[site.0 as usize];
            state.ready -= domain.ready.len();
            self.crowd -= domain.ready.len();
            if state.ring.leave(|turn| domain::at(&self.domains, turn).is_some()) {
                (state.looked, state.aged) = ((0, 0), 0);
            }
        }
        self.lead(key, None);
    }
}
