//! What is said outside of the shards.

use std::fmt;

use crate::observe::diagnostics::{self, Level};
use crate::runtime::process;

/// Says something that no shard says.
#[track_caller]
pub fn say(level: Level, words: fmt::Arguments<'_>) {
    diagnostics::process().say(process::wall(), level, words);
}
