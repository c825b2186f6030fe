//! Sites that take no connection: what waits for them is told so, and given up in time.

use super::credits::Credits;
use super::domains::Domains;
use super::keys::{DomainKey, SiteKey};
use super::rings::Place;
use super::sites::Sites;
use crate::queue::Group;

/// The next group that waits for a closed site and was not told so, or is to be told again. A credit is taken. Goes on where it was last, around
/// the ring once at most, with no more than `looks`.
pub(super) fn tell(
    (domains, sites, credits): (&mut Domains, &mut Sites, &mut Credits),
    site: SiteKey,
    now: u32,
    looks: &mut usize,
    next: impl FnOnce(u16) -> u32,
) -> Option<(DomainKey, Group)> {
    let site = sites.get_mut(site);
    let (mut place, mut within) = site.looked;
    let (from, mut around) = (place, false);
    loop {
        let found = site.rings.get(place).filter(|(found, _)| !around || *found < from);
        let Some((found, turn)) = found else {
            if std::mem::replace(&mut around, true) {
                break;
            }
            (place, within) = (Place::default(), 0);
            continue;
        };
        if found != place {
            (place, within) = (found, 0);
        }
        let domain = domains.of_mut(turn);
        if domain.as_ref().is_none_or(|domain| domain.ready.is_empty()) {
            *looks = looks.saturating_sub(1);
        }
        let mut waiting = domain.map(|domain| &mut domain.ready);
        while let Some(group) = waiting.as_mut().and_then(|ready| ready.get_mut(within)) {
            let wants = group.not_before <= now && !group.is_expired(now);
            if *looks == 0 || (wants && !credits.take(group.location.lane)) {
                site.looked = (place, within);
                return None;
            }
            *looks -= 1;
            within += 1;
            if !wants {
                continue;
            }
            let next = next(group.attempts.saturating_add(1));
            group.told(next.max(site.closed_until).max(now.saturating_add(1)));
            site.looked = (place, within);
            return Some((turn.key, *group));
        }
        (place, within) = (place.next(), 0);
        if *looks == 0 {
            site.looked = (place, within);
            return None;
        }
    }
    site.looked = Default::default();
    None
}

/// The next group that is too old, wherever it stands in its domain. Its credit is taken. Goes on where it was last, to the end of the ring at most,
/// with no more than `looks`.
pub(super) fn expire(
    (domains, sites, credits): (&mut Domains, &mut Sites, &mut Credits),
    key: SiteKey,
    looks: &mut usize,
    is_too_old: impl Fn(&Group) -> bool,
) -> Option<(DomainKey, Group)> {
    let site = sites.get_mut(key);
    while let Some((place, turn)) = site.rings.get(site.aged.0) {
        if place != site.aged.0 {
            site.aged = (place, 0);
        }
        if *looks == 0 {
            return None;
        }
        *looks -= 1;
        let within = site.aged.1;
        let Some(domain) = domains.of_mut(turn).filter(|domain| within < domain.ready.len()) else {
            site.aged = (place.next(), 0);
            continue;
        };
        site.aged.1 += 1;
        let group = domain.ready[within];
        if !is_too_old(&group) || !credits.take(group.location.lane) {
            continue;
        }
        // The first takes its place, and all stand one place further in front then.
        site.aged.1 = within;
        let first = domain.ready.front().copied();
        domain.ready.swap_remove_front(within);
        domain.active += 1;
        domains.displaced(turn.key, first);
        sites.lose(key, 1);
        return Some((turn.key, group));
    }
    site.aged = Default::default();
    None
}
