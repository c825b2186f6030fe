//! Sites that take no connection: what waits for them is told so, and given up in time.

use std::cmp::Reverse;

use super::{Destinations, DomainKey, SiteKey, domain};
use crate::queue::Group;

impl Destinations {
    /// The site as a whole failed (no host took a connection): nothing is started before `until`.
    pub fn close_site(&mut self, site: SiteKey, until: u32) {
        let state = &mut self.sites[site.0 as usize];
        state.closed_until = until;
        state.failures = state.failures.saturating_add(1);
        state.looked = (0, 0);
        self.site_due.push(Reverse((until, site)));
    }

    /// Sites that there are keys for, those in use and those that are free.
    pub fn site_slots(&self) -> usize {
        self.sites.len()
    }

    /// The key of one of them.
    pub fn site_at(&self, slot: usize) -> SiteKey {
        SiteKey(slot as u32)
    }

    /// Tells one that waits for a closed site that it could not be reached, and was not told so or is to be told again: an attempt
    /// more, and when this is said next (`next`, by attempts; not before the site is tried again). It stays where it is, so that it
    /// goes out as soon as the site opens. A credit is taken. Goes on where it was last, around the ring once at most, with no more
    /// than `looks`.
    pub fn tell(
        &mut self,
        site: SiteKey,
        now: u32,
        looks: &mut usize,
        next: impl FnOnce(u16) -> u32,
    ) -> Option<(DomainKey, Group)> {
        let state = &mut self.sites[site.0 as usize];
        let (mut place, mut within) = state.looked;
        for _ in 0..=state.ring.places() {
            let Some(turn) = state.ring.get(place) else {
                (place, within) = (0, 0);
                continue;
            };
            let domain = domain::at_mut(&mut self.domains, turn);
            if domain.as_ref().is_none_or(|domain| domain.ready.is_empty()) {
                *looks = looks.saturating_sub(1);
            }
            let mut waiting = domain.map(|domain| &mut domain.ready);
            while let Some(group) = waiting.as_mut().and_then(|ready| ready.get_mut(within)) {
                let credit = self.credits.get_mut(usize::from(group.location.lane));
                let credit = credit.filter(|credit| **credit > 0);
                let wants = group.not_before <= now && !group.is_expired(now);
                if *looks == 0 || (wants && credit.is_none()) {
                    state.looked = (place, within);
                    return None;
                }
                *looks -= 1;
                within += 1;
                let Some(credit) = credit.filter(|_| wants) else { continue };
                *credit -= 1;
                let next = next(group.attempts.saturating_add(1));
                group.told(next.max(state.closed_until).max(now.saturating_add(1)));
                state.looked = (place, within);
                return Some((turn.key, *group));
            }
            (place, within) = (place + 1, 0);
            if *looks == 0 {
                state.looked = (place, within);
                return None;
            }
        }
        state.looked = (0, 0);
        None
    }

    /// While a site is closed, or waits, its oldest groups may expire: one at the head of a domain, its credit taken. Goes on where it
    /// was last, to the end of the ring at most, with no more than `looks`.
    pub fn expire(&mut self, site: SiteKey, now: u32, looks: &mut usize) -> Option<(DomainKey, Group)> {
        let state = &mut self.sites[site.0 as usize];
        while let Some(turn) = state.ring.get(state.aged) {
            if *looks == 0 {
                return None;
            }
            *looks -= 1;
            if let Some(domain) = domain::at_mut(&mut self.domains, turn)
                && let Some(group) = domain.ready.front().copied()
                && group.is_expired(now)
                && let Some(credit) = self.credits.get_mut(usize::from(group.location.lane))
                && *credit > 0
            {
                *credit -= 1;
                domain.ready.pop_front();
                domain.active += 1;
                state.ready -= 1;
                self.crowd -= 1;
                return Some((turn.key, group));
            }
            state.aged += 1;
        }
        state.aged = 0;
        None
    }
}
