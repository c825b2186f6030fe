//! Sites that take no connection: what waits for them is told so, and given up in time.

use std::cmp::Reverse;

use super::{Destinations, DomainKey, SiteKey};
use crate::queue::Group;

/// What may be done for closed sites in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Groups looked at.
    pub looks: usize,
    /// Groups told.
    pub told: usize,
}

impl Destinations {
    /// The site as a whole failed (no host took a connection): nothing is started before `until`.
    pub fn close_site(&mut self, site: SiteKey, until: u32) {
        let state = &mut self.sites[site.0 as usize];
        state.closed_until = until;
        state.failures = state.failures.saturating_add(1);
        state.looked = (0, 0);
        self.site_due.push(Reverse((until, site)));
    }

    /// Every site that is closed now.
    pub fn closed_sites(&self, now: u32) -> Vec<SiteKey> {
        let sites = self.sites.iter().enumerate();
        sites.filter(|(_, site)| site.closed_until > now).map(|(key, _)| SiteKey(key as u32)).collect()
    }

    /// Tells what waits for a closed site that it could not be reached, and was not told so or is to be told again: an attempt
    /// more, and when this is said next (`next`, by attempts; not before the site is tried again). It stays where it is, so that it
    /// goes out as soon as the site opens. A credit is taken for each. Goes on where the last round ended.
    pub fn tell(
        &mut self,
        site: SiteKey,
        now: u32,
        round: &mut Round,
        mut next: impl FnMut(u16) -> u32,
    ) -> Vec<(DomainKey, Group)> {
        let state = &mut self.sites[site.0 as usize];
        let mut told = Vec::new();
        let (mut place, mut within) = state.looked;
        // Around the ring once at most.
        for _ in 0..=state.ring.len() {
            let domain = state.ring.get(place).and_then(|key| self.domains.get_mut(key.0 as usize)?.as_mut());
            let Some(domain) = domain else {
                (place, within) = (0, 0);
                continue;
            };
            while let Some(group) = domain.ready.get_mut(within) {
                let credit = self.credits.get_mut(usize::from(group.location.lane));
                let credit = credit.filter(|credit| **credit > 0 && round.told > 0);
                let wants = group.not_before <= now && !group.is_expired(now);
                if round.looks == 0 || (wants && credit.is_none()) {
                    state.looked = (place, within);
                    return told;
                }
                round.looks -= 1;
                within += 1;
                let Some(credit) = credit.filter(|_| wants) else { continue };
                round.told -= 1;
                *credit -= 1;
                group.attempts = group.attempts.saturating_add(1);
                group.not_before = next(group.attempts).max(state.closed_until).max(now.saturating_add(1));
                group.last_try = false;
                told.push((state.ring[place], *group));
            }
            (place, within) = (place + 1, 0);
        }
        state.looked = (0, 0);
        told
    }

    /// While a site is closed its oldest groups may expire: those at the heads of its domains, at most `bound`, each with
    /// its credit taken.
    pub fn expire(&mut self, site: SiteKey, now: u32, bound: usize) -> Vec<(DomainKey, Group)> {
        let state = &mut self.sites[site.0 as usize];
        let mut expired = Vec::new();
        for key in &state.ring {
            let Some(Some(domain)) = self.domains.get_mut(key.0 as usize) else { continue };
            while expired.len() < bound && domain.ready.front().is_some_and(|group| group.is_expired(now)) {
                let Some(group) = domain.ready.front().copied() else { break };
                match self.credits.get_mut(usize::from(group.location.lane)) {
                    Some(credit) if *credit > 0 => *credit -= 1,
                    _ => break,
                }
                domain.ready.pop_front();
                domain.active += 1;
                state.ready -= 1;
                self.crowd -= 1;
                expired.push((*key, group));
            }
        }
        expired
    }
}
