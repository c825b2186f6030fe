//! Next hops are left alone while the node is about to hand over: what is under way ends, and nothing more is begun.

use std::rc::Rc;

use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::sites;

/// Where nothing came of it all sites go on.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    let rests = shard.mesh.stages().rests();
    if shard.outbound.rests.replace(rests) && !rests {
        let all: Vec<_> = shard.outbound.sites.borrow().keys().copied().collect();
        sites::later(shard, all);
    }
}
