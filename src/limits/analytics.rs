//! Bounds of what is counted of mail that went out.

use std::time::Duration;

/// Rows by name that a minute has in each roll-up; what is more goes into `other` of its tenant, of which there are a quarter as many.
pub const ANALYTICS_MINUTE_ROWS: usize = 256;
/// The same of an hour.
pub const ANALYTICS_HOUR_ROWS: usize = 512;
/// The same of a day.
pub const ANALYTICS_DAY_ROWS: usize = 512;
/// Steps of roll-ups of which it is known how many rows they have.
pub const ANALYTICS_KNOWN_STEPS: usize = 128;
/// Keys that wait to be written before they are at once.
pub const ANALYTICS_PENDING: usize = 8192;
/// Bytes of a name.
pub const ANALYTICS_NAME: usize = 128;
/// Bytes of the journal that are read at once: a question waits for these.
pub const ANALYTICS_READ: usize = 4 * 1024 * 1024;
/// How often it is written.
pub const ANALYTICS_WRITTEN: Duration = Duration::from_secs(3);
/// How often it is seen whether there is something to count.
pub const ANALYTICS_ROUND: Duration = Duration::from_millis(500);
/// Different texts that are kept of a class, the latest.
pub const ANALYTICS_TEXTS: usize = 16;
/// Texts of a class that wait to be written.
pub const ANALYTICS_TEXTS_PENDING: usize = 64;
/// Bytes of a text.
pub const ANALYTICS_TEXT: usize = 400;
/// Bytes of what a text is known by.
pub const ANALYTICS_FORM: usize = 160;
/// How long minutes are kept.
pub const ANALYTICS_MINUTES: Duration = Duration::from_secs(2 * 86_400);
/// How long hours are.
pub const ANALYTICS_HOURS: Duration = Duration::from_secs(31 * 86_400);
/// How long days are.
pub const ANALYTICS_DAYS: Duration = Duration::from_secs(400 * 86_400);
/// The longest time that is summed up by minutes: more is by hours.
pub const ANALYTICS_BY_MINUTES: Duration = Duration::from_secs(3 * 3600);
/// Pages of SQLite, 4 KiB each: 1 GiB.
pub const ANALYTICS_PAGES_MAX: u32 = 262_144;
/// Keys whose numbers are known without asking.
pub const ANALYTICS_KNOWN: usize = 16_384;
/// How long what cannot be written is kept in memory; then it is forgotten, and told.
pub const ANALYTICS_UNWRITTEN: Duration = Duration::from_secs(60);
/// Names that an answer sums up; what else there is goes into one.
pub const ANALYTICS_NAMES: usize = 65_536;
/// Rows of a page.
pub const ANALYTICS_ROWS: usize = 256;
/// Questions at one time: each reads some hundred thousand rows at the most.
pub const ANALYTICS_ASKED: usize = 1;
/// Events that are known by their ids: what a start tells again of these was counted.
pub const ANALYTICS_REPEATED: usize = 524_288;
/// How often what is too old is forgotten.
pub const ANALYTICS_FORGOTTEN: Duration = Duration::from_secs(3600);
/// Parameters of a question of `/api/stats` that are looked at.
pub const STATS_PARAMETERS: usize = 64;
