//! One shard: the stages a message passes on its core, in order. Each stage is a verb and a file.
//!
//! This is the only place where the pure core meets the runtime. [`Shard`] is what the tasks share. Its rooms keep their state in a
//! `state` of their own, which knows nothing of the shard; the verbs stand above it.

pub mod start;
pub mod inbox;
pub mod tick;

pub mod inbound;
pub mod store;
pub mod outbound;

#[expect(clippy::module_inception, reason = "`shard::Shard` is the type, and its file has its name")]
mod shard;
mod say;
pub mod message;
pub mod mesh;
pub mod counts;
pub mod assignment;
pub mod wire;
mod records;
pub mod timers;
pub mod promise;
pub mod background;
pub mod memory;
mod turns;

pub use shard::Shard;
