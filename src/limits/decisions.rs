//! Decisions that outlast the process: what is suspended, and the file that keeps it.

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
