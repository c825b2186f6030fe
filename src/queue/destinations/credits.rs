//! How many attempts may still begin for the mail of each lane.

use super::domains::Domains;
use super::effect::Effect;
use super::keys::SiteKey;
use super::sites::Sites;
use crate::limits;

/// Outcome credits of each lane that this shard holds.
#[derive(Debug)]
pub(super) struct Credits {
    of: Vec<u32>,
    /// Some were given back unused, of which nobody was told.
    back: bool,
}

impl Credits {
    pub(super) fn new(credits: Vec<u32>) -> Credits {
        Credits { of: credits, back: false }
    }

    /// Takes one. False: all are out.
    pub(super) fn take(&mut self, lane: u16) -> bool {
        let credit = self.of.get_mut(usize::from(lane)).filter(|credit| **credit > 0);
        credit.map(|credit| *credit -= 1).is_some()
    }

    /// Whether there is one.
    pub(super) fn has(&self, lane: u16) -> bool {
        self.of.get(usize::from(lane)).is_some_and(|credit| *credit > 0)
    }

    /// So many come home.
    pub(super) fn give(&mut self, lane: u16, count: u32) {
        if let Some(credit) = self.of.get_mut(usize::from(lane)) {
            *credit += count;
        }
    }

    /// One comes home unused: [`came_back`] says who may take it.
    pub(super) fn give_back(&mut self, lane: u16) {
        self.give(lane, 1);
        self.back = true;
    }

    /// How many are out, given how many there were at first.
    pub(super) fn out(&self, initial: u32) -> u32 {
        self.of.iter().map(|credit| initial.saturating_sub(*credit)).sum()
    }
}

/// Whether no connection of a site would get work now, as the credits of its lanes are all out.
pub(super) fn is_starved((domains, sites, credits): (&Domains, &mut Sites, &Credits), site: SiteKey) -> bool {
    let takes = |turn| {
        // Behind one that left, or whose mail was taken out, there may be others.
        let first = domains.of(turn).and_then(|domain| domain.ready.front());
        first.is_none_or(|group| credits.has(group.location.lane))
    };
    if sites.get(site).rings.some().take(limits::STARVED_LOOKED_AT).any(takes) {
        return false;
    }
    sites.starve(site);
    true
}

/// Where some came home unused: sites that found none, which are asked again.
pub(super) fn came_back(credits: &mut Credits, sites: &mut Sites) -> Vec<Effect> {
    let back = std::mem::take(&mut credits.back);
    let starved = if back { sites.take_starved() } else { Vec::new() };
    starved.into_iter().map(Effect::Pump).collect()
}
