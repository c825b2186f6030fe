//! Bounds of mail that an operator holds.

use std::time::Duration;

/// Seconds by which a hold must last longer than one that is in force, to take its place: clocks are told in whole seconds.
pub const HOLD_APART: u32 = 2;
/// Longest hold that is asked for with an end; without one it lasts until the mail is let go or given up.
pub const HOLD_MAX: Duration = Duration::from_secs(366 * 86_400);
