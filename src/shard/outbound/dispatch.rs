//! The home shard's queues, and what they ask for.

use std::rc::Rc;

use crate::queue::Group;
use crate::queue::destinations::Effect;
use crate::queue::fair::{self, Behalf};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::asking;
use crate::shard::outbound::pump::pump;

/// Queues a group of this shard's own domain.
/// `client` is who brought it, a hash.
pub(in crate::shard) fn enqueue<R: Runtime>(shard: &Rc<Shard<R>>, domain: &str, group: Group, client: u32) {
    let now = shard.seconds();
    let effect = shard.outbound.destinations.borrow_mut().push_for(domain, group, now, client);
    match effect {
        Some(Effect::Resolve(key, name)) => {
            let message = group.key ^ u32::from(group.location.lane) << 22;
            let behalf = Behalf::new(client, message, &name);
            asking::ask(shard, key, name, behalf);
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
            asking::ask(shard, key, name, behalf);
        }
        Effect::Pump(site) => drop(pump(shard, site)),
    }
}
