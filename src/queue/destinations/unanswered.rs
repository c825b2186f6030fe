//! Domains of which it is asked for long where they lead: what waits for that is told so, and given up in time.

use super::credits::Credits;
use super::domains::Domains;
use super::keys::DomainKey;
use crate::queue::Group;

/// What is to be said of a group. A credit of its lane is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// That it waits, and when this is said next. It stays where it is.
    Waits(DomainKey, Group),
    /// That it is given up.
    Expired(DomainKey, Group),
}

/// Which group is looked at next, by the places of domain and group.
#[derive(Debug, Default)]
pub(super) struct Sweep(usize, usize);

impl Sweep {
    /// The next group whose domain is asked for, in vain, since `patience` seconds and that was not told so or is to be told again (`next`,
    /// by attempts), or that is too old. Goes on where it was last, to the end of all domains at most, with no more than `looks`.
    pub(super) fn next(
        &mut self,
        (domains, credits): (&mut Domains, &mut Credits),
        (now, patience): (u32, u32),
        looks: &mut usize,
        next: impl FnOnce(u16) -> u32,
    ) -> Option<Unanswered> {
        while let Some((key, domain)) = domains.at(self.0) {
            if *looks == 0 {
                return None;
            }
            *looks -= 1;
            let within = self.1;
            let domain = domain.filter(|domain| domain.resolving && domain.site().is_none());
            let Some(domain) = domain.filter(|domain| within < domain.ready.len()) else {
                *self = Sweep(self.0 + 1, 0);
                continue;
            };
            self.1 += 1;
            let group = &mut domain.ready[within];
            let expired = group.is_expired(now);
            let waits = domain.since.saturating_add(patience) <= now && group.not_before <= now;
            if !(expired || waits) || !credits.take(group.location.lane) {
                continue;
            }
            if !expired {
                group.told(next(group.attempts.saturating_add(1)).max(now.saturating_add(1)));
                return Some(Unanswered::Waits(key, *group));
            }
            // The first takes its place, which was looked at before, and all stand one place further in front then.
            self.1 = within;
            let first = domain.ready.front().copied();
            let group = domain.ready.swap_remove_front(within)?;
            domain.active += 1;
            domains.displaced(key, first);
            return Some(Unanswered::Expired(key, group));
        }
        *self = Sweep::default();
        None
    }
}
