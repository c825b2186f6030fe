//! Decisions that outlast the process: what is suspended, and the file that keeps it.

use std::time::Duration;

/// Suspensions in force at one time: each shard has them in memory, a few hundred bytes each.
pub const SUSPENSIONS_MAX: usize = 10_000;
/// Of these, such that are of no whole domain or site: each is looked at for each group that is taken.
pub const SUSPENSIONS_WIDE_MAX: usize = 256;
/// Pages of the file of decisions, 4 KiB each.
pub const STORE_PAGES_MAX: u32 = 64 * 1024;
/// Windows that are kept: one for each source and site that mail went to of late.
pub const WINDOWS_KEPT: usize = 100_000;
/// Bytes of what one window is called, and of what is kept of it.
pub const WINDOW_BYTES_MAX: usize = 1_024;
/// How often those that changed are written: what a kill loses of a window is learned again in as little.
pub const WINDOWS_WRITTEN: Duration = Duration::from_secs(30);
/// Groups of suspended domains that are put aside in one turn.
pub const SUSPENDED_LOOKS: usize = 512;
/// Orders about suspensions that wait for their turn: more than there are connections that ask.
pub const ORDERS_MAX: usize = 64;
/// How long an order waits for its answer: the disk may be slow.
pub const ORDER_WAIT: Duration = Duration::from_secs(10);
/// How long what could not be written waits before it is tried again.
pub const STORE_AGAIN: Duration = Duration::from_secs(30);
/// Replies that rules act on and that control has not heard of yet; more are only counted. It looks ten times a second.
pub const NOTICED_MAX: usize = 8_192;
/// Characters of a reply that a suspension keeps.
pub const NOTICED_TEXT_MAX: usize = 512;
/// What rules with a threshold count at one time, one for each rule and what it would act on; beyond it those that were counted last the
/// longest ago are forgotten. A kilobyte each.
pub const THRESHOLDS_MAX: usize = 4_096;
/// Moments of which a threshold remembers how many replies came in them: it is exact to one part in so many of its time.
pub const THRESHOLD_MOMENTS: u32 = 64;
/// A rule that acts again while what it did holds prolongs that, once one part in so many of its time is over.
pub const PROLONGED_AFTER: u32 = 10;
/// How long a site rests on the shard that heard why, until control has told all shards.
pub const SUSPENDED_AT_ONCE: Duration = Duration::from_secs(2);
