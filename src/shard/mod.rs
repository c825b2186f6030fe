//! One shard: the stages a message passes on its core, in order. Each stage is a verb and a file.
//!
//! This is the only place where the pure core meets the runtime.

pub mod mesh;
pub mod resolve;
pub mod timers;
pub mod wire;
