//! Bounds of mail that an operator holds.

/// Seconds by which a hold must last longer than one that is in force, to take its place: clocks are told in whole seconds.
pub const HOLD_APART: u32 = 2;
