//! Quotas of accounts and tenants, by the calendar.

use std::time::Duration;

/// Recipients in a period that one may have.
pub const QUOTA_MAX: u64 = 1_000_000_000;
/// Counts are reserved in blocks: one part in so many of the smallest quota of whoever it is, which is what a kill wastes.
pub const QUOTA_BLOCK_PART: u32 = 100;
/// Recipients of a block at most, but for messages that have more: it lasts as long as it takes to get the next.
pub const QUOTA_BLOCK_MAX: u32 = 1_000;
/// The next block is asked for when one part in so many of a block is left.
pub const QUOTA_LOW_PART: u32 = 2;
/// Of each length of a period the latest so many that were counted in are remembered: the clock may be set back by as many.
pub const QUOTA_PERIODS_KEPT: usize = 4;
/// Accounts and tenants whose counts are known at one time. Of others the file of decisions knows.
pub const QUOTAS_KNOWN: usize = 110_000;
/// Periods of them in the file of decisions; beyond it those that were written the longest ago are forgotten.
pub const QUOTA_ROWS_MAX: usize = 800_000;
/// Blocks that are asked for and not reserved yet.
pub const QUOTAS_ASKED: usize = 4_096;
/// Blocks that a reload took back and that control has not heard of yet, of each; more are wasted.
pub const QUOTA_SPARES: usize = 8;
/// What a message that is refused or counted waits for a block at most.
pub const QUOTA_WAIT: Duration = Duration::from_secs(2);
/// How soon it looks for it, and then at twice the time.
pub const QUOTA_LOOK: Duration = Duration::from_millis(1);
/// At the latest after this.
pub const QUOTA_LOOK_MAX: Duration = Duration::from_millis(20);
/// Accounts and tenants whose counts are looked up when a configuration comes into force, so that they are shown before mail comes.
pub const QUOTAS_SHOWN: usize = 1_000;
/// Series of metrics that tell how much of a quota is used: those that are used the most.
pub const QUOTA_GAUGES_MAX: usize = 64;
/// Percent of a quota at which it is told.
pub const QUOTA_WARNED: u64 = 80;

const _: () = assert!(QUOTA_MAX < u32::MAX as u64, "they are counted in 32 bits");
