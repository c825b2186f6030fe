//! What ages of queued mail are told by.

use crate::queue::lifetimes::Times;
use crate::runtime::Runtime;
use crate::shard::Shard;

/// Now, and how long mail lives.
pub(super) fn times<R: Runtime>(shard: &Shard<R>) -> Times<'_> {
    Times { now: shard.seconds(), lifetimes: shard.mesh.lifetimes() }
}
