//! Domains of which it is asked for long where they lead: what waits for that is told so, and given up in time.

use super::{Destinations, DomainKey};
use crate::queue::Group;

/// What is to be said of a group. A credit of its lane is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// That it waits, and when this is said next. It stays where it is.
    Waits(DomainKey, Group),
    /// That it is given up.
    Expired(DomainKey, Group),
}

impl Destinations {
    /// The next group whose domain is asked for, in vain, since `patience` seconds and that was not told so or is to be told again (`next`,
    /// by attempts), or that is too old. Goes on where it was last, to the end of all domains at most, with no more than `looks`.
    pub fn unanswered(
        &mut self,
        now: u32,
        patience: u32,
        looks: &mut usize,
        next: impl FnOnce(u16) -> u32,
    ) -> Option<Unanswered> {
        let (mut slot, mut within) = self.listened;
        while let Some(place) = self.domains.get_mut(slot) {
            if *looks == 0 {
                self.listened = (slot, within);
                return None;
            }
            *looks -= 1;
            let domain = place.as_mut().filter(|domain| domain.resolving && domain.site.is_none());
            let Some(domain) = domain.filter(|domain| within < domain.ready.len()) else {
                (slot, within) = (slot + 1, 0);
                continue;
            };
            let key = DomainKey(slot as u32);
            let group = &mut domain.ready[within];
            within += 1;
            let expired = group.is_expired(now);
            let waits = domain.since.saturating_add(patience) <= now && group.not_before <= now;
            let credit = self.credits.get_mut(usize::from(group.location.lane));
            let Some(credit) = credit.filter(|credit| **credit > 0 && (expired || waits)) else { continue };
            *credit -= 1;
            if !expired {
                group.told(next(group.attempts.saturating_add(1)).max(now.saturating_add(1)));
                self.listened = (slot, within);
                return Some(Unanswered::Waits(key, *group));
            }
            // The first takes its place, which was looked at before, and all stand one place further in front then.
            let group = domain.ready.swap_remove_front(within - 1)?;
            domain.active += 1;
            self.listened = (slot, within - 1);
            return Some(Unanswered::Expired(key, group));
        }
        self.listened = (0, 0);
        None
    }
}
