//! How much of the mail that waits another configuration would lead elsewhere.
//!
//! Shards count it as they do for `relevo queue count`: a slice at a time, between everything else they do.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::unbounded;

use crate::control::api::shape::LedElsewhere;
use crate::limits;
use crate::queue::select::{Filter, PlacePredicate, ScanPosition};
use crate::runtime::process;
use crate::shard::ask::{Ask, Part, Reply};
use crate::shard::live::LiveConfig;
use crate::shard::mesh::Mesh;

/// Recipients in domains that are led one way now and another by what would be in force; as many as are counted within
/// [`limits::REQUEST_TIME`], and none where shards do not serve.
pub(super) fn count(mesh: &Mesh, serves: bool, (now, then): (Arc<LiveConfig>, LiveConfig)) -> LedElsewhere {
    let judged = PlacePredicate::new(move |place, _| !then.same_route_as(&now, place.domain));
    let filter = Arc::new(Filter { judged: Some(judged), ..Filter::default() });
    let until = process::since_boot() + limits::REQUEST_TIME;
    let mut led = LedElsewhere { recipients: 0, counted: serves };
    let mut place = serves.then(|| (0, ScanPosition::default()));
    while let Some((shard, from)) = place.filter(|(shard, _)| *shard < mesh.shards()) {
        let left = until.saturating_sub(process::since_boot());
        let Some(part) = part(mesh, shard, (&filter, from), left) else {
            led.counted = false;
            break;
        };
        led.recipients += part.tally.recipients;
        place = Some(part.next.map_or((shard + 1, ScanPosition::default()), |from| (shard, from)));
    }
    led
}

/// None: the shard is asked too much already, or did not answer in time.
fn part(
    mesh: &Mesh,
    shard: usize,
    (filter, from): (&Arc<Filter>, ScanPosition),
    left: Duration,
) -> Option<Part> {
    // Dropped behind the wait: then the shard does no more of it.
    let asker = Arc::new(());
    let (tell, told) = unbounded();
    let reply = Reply::new(&asker, move |part| drop(tell.send(part)));
    mesh.asks().ask(shard, Ask::Count(filter.clone(), from, reply)).ok()?;
    told.recv_timeout(left).ok()
}
