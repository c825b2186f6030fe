//! What ages of queued mail are told by.

use crate::queue::destinations::walk::Times;
use crate::runtime::Runtime;
use crate::shard::Shard;

/// Now, and how long mail lives.
pub(super) fn times<R: Runtime>(shard: &Shard<R>) -> Times {
    let lifetime = shard.policy.get().retry.expire.as_secs();
    Times { now: shard.seconds(), lifetime: u32::try_from(lifetime).unwrap_or(u32::MAX) }
}
