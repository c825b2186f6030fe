//! What waits in one domain goes on by another egress: its source does not work, or is no more.

use super::domain::Deferred;
use super::keys::{DomainKey, SiteKey};
use super::rings::Place;
use super::{Destinations, Effect};
use crate::queue::Group;
use crate::queue::flow::Strand;
use crate::route::egress::EgressKey;

/// A slice of it: so many groups of a domain are queued by the egress that `instead` says, as long as it says one. True: nothing is left that
/// should go. Effects are to be carried out.
pub fn move_on(
    queues: &mut Destinations,
    key: DomainKey,
    now: u32,
    most: usize,
    instead: impl Fn(&Group) -> Option<EgressKey>,
) -> (bool, Vec<Effect>) {
    let mut effects = Vec::new();
    for _ in 0..most {
        let Some(domain) = queues.domains.get_mut(key) else { return (true, effects) };
        let (name, client, flow) = (domain.name.clone(), domain.client, domain.flow());
        let first = domain.deferred.peek().map(|Deferred(group)| *group).or(domain.ready.front().copied());
        let Some((group, egress)) = first.and_then(|group| Some((group, instead(&group)?))) else {
            queues.rest(key);
            return (true, effects);
        };
        let mut due = group;
        if domain.deferred.pop().is_none() {
            domain.ready.pop_front();
            // It may have been told that it waits, which its new site does not make it do.
            due.not_before = 0;
            if let Some(site) = domain.site().filter(|_| domain.in_ring) {
                queues.sites.lose(site, 1);
            }
        }
        queues.queued = queues.queued.saturating_sub(usize::from(due.count));
        let effect = queues.push_for((&name, Strand { egress, flow }), due, now, client);
        effects.extend(effect.filter(|effect| effects.last() != Some(effect)));
    }
    (false, effects)
}

/// Where to go on in the rings of a site.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position(Place);

/// What became of a slice of a site's mail.
#[derive(Debug, Default)]
pub struct Slice {
    /// Groups that go on by another.
    pub moved: usize,
    /// Where to go on; None: that was all.
    pub next: Option<Position>,
    /// To be carried out.
    pub effects: Vec<Effect>,
}

/// A slice of what a site has ready, from a position on: what `instead` says another egress of is queued by that, so many groups at most of so many
/// domains.
pub fn overflow(
    queues: &mut Destinations,
    (site, Position(mut place)): (SiteKey, Position),
    now: u32,
    (looks, most): (usize, usize),
    instead: impl Fn(EgressKey, &Group) -> Option<EgressKey>,
) -> Slice {
    let mut slice = Slice::default();
    for _ in 0..looks {
        let Some((found, turn)) = queues.sites.get(site).rings.get(place) else { return slice };
        while let Some(domain) = queues.domains.of_mut(turn) {
            let next = domain.ready.front().and_then(|group| Some((*group, instead(domain.egress, group)?)));
            let Some((mut group, egress)) = next else { break };
            if slice.moved >= most {
                slice.next = Some(Position(found));
                return slice;
            }
            let (name, client, flow) = (domain.name.clone(), domain.client, domain.flow());
            domain.ready.pop_front();
            // Its new site does not make it wait.
            group.not_before = 0;
            queues.sites.lose(site, 1);
            queues.queued = queues.queued.saturating_sub(usize::from(group.count));
            let effect = queues.push_for((&name, Strand { egress, flow }), group, now, client);
            slice.effects.extend(effect.filter(|effect| slice.effects.last() != Some(effect)));
            slice.moved += 1;
        }
        place = found.next();
    }
    slice.next = Some(Position(place));
    slice
}

/// The domain in a slot.
pub fn domain_at(queues: &mut Destinations, slot: usize) -> Option<DomainKey> {
    queues.domains.at(slot).and_then(|(key, domain)| domain.map(|_| key))
}

/// What kept a site closed is over: it is tried now. Where it fails again, its next pause is longer all the same.
pub fn hurry(queues: &mut Destinations, site: SiteKey) {
    queues.sites.hurry(site);
}

/// Groups of a domain that wait.
pub fn waiting(queues: &Destinations, key: DomainKey) -> usize {
    queues.domains.get(key).map_or(0, |domain| domain.deferred.len() + domain.ready.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Location;
    use crate::queue::destinations::Take;

    #[test]
    fn all_that_waits_goes_on_by_the_other() {
        let mut queues = Destinations::new(vec![9]);
        let (one, other) = (EgressKey::of_number(1), EgressKey::of_number(2));
        let group = |key, not_before| Group {
            not_before,
            ..Group::bare(Location { lane: 0, slot: 0, offset: 0 }, key)
        };
        let asked = queues.push_for(("d.example", one.into()), group(1, 0), 10, 7);
        let Some(Effect::Resolve(key, _)) = asked else { panic!("{asked:?}") };
        let site = queues.resolved(key, "one d").expect("it has mail");
        for (number, not_before) in [(2, 0), (3, 50), (4, 60)] {
            queues.push_for(("d.example", one.into()), group(number, not_before), 10, 7);
        }
        queues.push_for(("d.example", Strand::default()), group(5, 70), 10, 7);
        assert!(matches!(queues.take(site, 10), Take::Job(_, first) if first.key == 1));
        let moved = move_on(&mut queues, key, 10, 2, |_| Some(other));
        assert_eq!(moved, (false, vec![]), "nothing of that is due");
        let (done, effects) = move_on(&mut queues, key, 10, 9, |_| Some(other));
        let [Effect::Resolve(to, name)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!((done, &**name, queues.egress(*to), queues.queued()), (true, "d.example", other, 5));
        assert_eq!((queues.ready(site, 10), queues.take(site, 10)), (0, Take::Nothing));
        let new = queues.resolved(*to, "other d").expect("it has mail");
        assert!(matches!(queues.take(new, 10), Take::Job(_, second) if second.key == 2));
        // What is under way comes back to where it was; what stays where it is stays.
        queues.attempted(key, &group(1, 0), &[group(1, 40)], 10);
        assert_eq!(move_on(&mut queues, key, 10, 9, |_| None), (true, vec![]));
        assert_eq!(queues.tick(45, 9).len(), 1);
        assert_eq!((queues.tick(80, 9).len(), queues.queued()), (2, 5));
    }

    #[test]
    fn what_is_ready_goes_on_by_the_other_and_what_waits_stays() {
        let mut queues = Destinations::new(vec![99]);
        let (one, other) = (EgressKey::of_number(1), EgressKey::of_number(2));
        let group = |key, not_before| Group {
            not_before,
            ..Group::bare(Location { lane: 0, slot: 0, offset: 0 }, key)
        };
        let mut site = None;
        for name in ["a.example", "b.example", "c.example"] {
            let Some(Effect::Resolve(key, _)) = queues.push_for((name, one.into()), group(1, 0), 10, 7)
            else {
                panic!("it is asked for");
            };
            site = queues.resolved(key, "one").or(site);
            queues.push_for((name, one.into()), group(2, 0), 10, 7);
            queues.push_for((name, one.into()), group(3, 50), 10, 7);
        }
        let site = site.expect("they have mail");
        let nobody = overflow(&mut queues, (site, Position::default()), 10, (2, 9), |_, _| None);
        assert_eq!((nobody.moved, nobody.next.is_some(), queues.ready(site, 10)), (0, true, 6));
        let some = overflow(&mut queues, (site, Position::default()), 10, (9, 3), |_, _| Some(other));
        assert_eq!((some.moved, some.next.is_some(), queues.ready(site, 10)), (3, true, 3));
        let rest =
            overflow(&mut queues, (site, some.next.expect("there is more")), 10, (9, 9), |_, _| Some(other));
        assert_eq!((rest.moved, rest.next.is_none(), queues.ready(site, 10)), (3, true, 0));
        assert_eq!((queues.queued(), queues.take(site, 10)), (9, Take::Nothing));
        // What was deferred is taken by the first when it is due.
        for effect in queues.tick(50, 9) {
            let Effect::Resolve(key, _) = effect else { panic!("{effect:?}") };
            queues.resolved(key, "one");
        }
        assert!(matches!(queues.take(site, 50), Take::Job(_, third) if third.key == 3));
        for effect in some.effects.into_iter().chain(rest.effects) {
            let Effect::Resolve(key, _) = effect else { panic!("{effect:?}") };
            let to = queues.resolved(key, "other").expect("it has mail");
            assert!(matches!(queues.take(to, 50), Take::Job(..)));
        }
    }
}
