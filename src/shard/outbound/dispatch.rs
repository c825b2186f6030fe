//! The home shard's queues, and what they ask for.

use std::rc::Rc;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::queue::Group;
use crate::queue::destinations::moves::{move_on, waiting};
use crate::queue::destinations::{DomainKey, Effect};
use crate::queue::fair::{self, Behalf};
use crate::queue::flow::Strand;
use crate::route::egress::{EgressKey, seed_of};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::asking;
use crate::shard::outbound::pump::pump;

/// Queues a group of this shard's own domain.
/// `client` is who brought it, a hash.
pub(in crate::shard) fn enqueue<R: Runtime>(
    shard: &Rc<Shard<R>>,
    (domain, strand): (&str, Strand),
    group: Group,
    client: u32,
) {
    let now = shard.seconds();
    let effect = shard.outbound.destinations.borrow_mut().push_for((domain, strand), group, now, client);
    match effect {
        Some(Effect::Resolve(key, name)) => {
            let message = group.key ^ u32::from(group.location.lane) << 22;
            let behalf = Behalf::new(client, message, &name);
            ask(shard, key, name, behalf);
        }
        Some(effect) => carry_out(shard, effect),
        None => {}
    }
}

/// Carries out what the queues ask for.
pub(in crate::shard) fn carry_out<R: Runtime>(shard: &Rc<Shard<R>>, effect: Effect) {
    match effect {
        Effect::Resolve(key, name) => {
            // What was tried before is the client's as ever, and all of it one message: what is new goes before it.
            let client = shard.outbound.destinations.borrow().client(key);
            let behalf = Behalf::new(client, fair::TRIED_BEFORE, &name);
            ask(shard, key, name, behalf);
        }
        Effect::Pump(site) => drop(pump(shard, site)),
    }
}

/// It is to be found out where a domain leads. What of it should leave by another source goes on to that meanwhile.
fn ask<R: Runtime>(shard: &Rc<Shard<R>>, key: DomainKey, name: Rc<str>, behalf: Behalf) {
    if is_astray(shard, key) {
        let own = shard.clone();
        shard.runtime.spawn_vital("another source", async move {
            own.runtime.yield_now().await;
            leave_by_another(&own, key).await;
        });
    }
    asking::ask(shard, key, name, behalf);
}

/// Whether the mail of a domain should leave by another source than it waits for.
pub(super) fn is_astray<R: Runtime>(shard: &Shard<R>, key: DomainKey) -> bool {
    let egress = shard.outbound.destinations.borrow().egress(key);
    let live = shard.live.get();
    // Nearly always there are no sources.
    !(egress.plain() == EgressKey::NODE && live.egresses.is_empty())
        && live.egresses.instead(egress, 0).is_some()
}

/// What waits in a domain goes on by other sources, where its own does not work or is no more.
pub(super) async fn leave_by_another<R: Runtime>(shard: &Rc<Shard<R>>, key: DomainKey) {
    let egress = shard.outbound.destinations.borrow().egress(key);
    let mut moved = 0;
    // It may be another's place by now.
    while shard.outbound.destinations.borrow().egress(key) == egress {
        let live = shard.live.get();
        let instead = |group: &Group| live.egresses.instead(egress, seed_of(group));
        let now = shard.seconds();
        let (done, effects) = {
            let queues = &mut *shard.outbound.destinations.borrow_mut();
            let before = waiting(queues, key);
            let slice = move_on(queues, key, now, limits::TURN_MOVED, instead);
            moved += before - waiting(queues, key);
            slice
        };
        for effect in effects {
            carry_out(shard, effect);
        }
        if done || shard.draining.get() {
            break;
        }
        shard.runtime.yield_now().await;
    }
    shard.instruments.counters.groups_moved.add(moved as u64);
    let live = shard.live.get();
    let Some(known) = live.egresses.get(egress).filter(|_| moved > 0 && !live.egresses.is_in_force(egress))
    else {
        return;
    };
    let (pool, source) = (&known.pool, known.source.name());
    let destinations = shard.outbound.destinations.borrow();
    shard.say(
        Level::Warning,
        format_args!(
            "{moved} messages for {} waited for source {source} of pool {pool}, which is no more: they leave by another",
            destinations.name(key)
        ),
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::Location;
    use crate::runtime::sim::World;
    use crate::shard::alone;

    /// A shard that took up a reload hands mail to one that has not: that knows nothing of the source yet.
    #[test]
    fn mail_of_a_source_that_is_not_known_yet_leaves_by_no_other() {
        let world = World::new(1);
        let shard = alone::shard(&world, None);
        let sites_for = |egress| {
            let group = Group::bare(Location { lane: 0, slot: 0, offset: 0 }, 1);
            enqueue(&shard, ("[192.88.99.7]", Strand::from(egress)), group, 1);
            world.run_for(Duration::from_millis(100));
            shard.outbound.sites.borrow().len()
        };
        assert_eq!(sites_for(EgressKey::of_number(7)), 0);
        assert_eq!(sites_for(EgressKey::NODE), 1);
    }
}
