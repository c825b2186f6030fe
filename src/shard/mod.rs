//! One shard: the stages a message passes on its core, in order. Each stage is a verb and a file.
//!
//! This is the only place where the pure core meets the runtime. `Shard` is what the tasks share. Its rooms keep their state in a
//! `state` of their own, which knows nothing of the shard; the verbs stand above it.

pub mod start;
mod inbox;
mod swap;
mod suspend;
mod suppression;
mod tick;
mod tell;

pub mod inbound;
mod store;
mod outbound;

#[expect(clippy::module_inception, reason = "`shard::Shard` is the type, and its file has its name")]
mod shard;
pub mod live;
mod say;
pub mod message;
mod event;
mod handed;
mod dialogues;
mod progress;
pub mod mesh;
pub mod stages;
pub mod capturing;
pub mod reading;
pub mod verifying;
pub mod hooking;
mod rate_count;
pub mod cluster;
pub mod cluster_counts;
mod cluster_part;
mod tenant_rates;
mod count_guard;
mod counts;
pub mod rates;
mod account_counts;
mod window;
pub mod warm;
pub mod quota;
pub mod assignment;
pub mod parcel;
pub mod ask;
pub mod trace;
pub mod answer;
mod pace;
pub mod wire;
mod records;
pub mod sessions;
pub mod sts;
pub mod timers;
mod promise;
mod background;
mod memory;
mod turns;
#[cfg(test)]
mod alone;

use shard::Shard;
