//! What an overview of the node costs at the most, and how many may watch.

use std::time::Duration;

/// Domains, providers and classes that an overview names; the rest is one row, `other`.
pub const SUMMARY_NAMES: usize = 64;
/// Domains, and sites, that a shard tells apart while it sums up: the smaller half of the domains is put together when there are more.
pub const SUMMARY_KEPT: usize = 4_096;
/// Ages by which queued recipients are told apart, seconds; what is older is told last.
pub const SUMMARY_AGES: [u32; 5] = [60, 600, 3_600, 21_600, 86_400];
/// The least time between two sums of the queues.
pub const SUMMARY_PAUSE: Duration = Duration::from_secs(10);
/// The same where nobody has asked for as long.
pub const SUMMARY_UNASKED: Duration = Duration::from_secs(60);
/// And so many times as long as the last one took: a shard with mail to move gives it a fiftieth of its time ([`super::ASK_SHARE`]), and this
/// makes that a thousandth.
pub const SUMMARY_SHARE: u32 = 20;
/// And so many times as long as a shard worked on it.
pub const SUMMARY_WORK: u32 = 200;
/// Rows of a page of sites.
pub const SITE_ROWS: usize = 256;
/// Seconds over which rates are told.
pub const RATES_SECONDS: usize = 5;
/// Seconds of the past that are kept one by one.
pub const HISTORY_SECONDS: usize = 3_600;
/// Minutes of the past that are kept.
pub const HISTORY_MINUTES: usize = 1_440;
/// How often an overview is made.
pub const OVERVIEW_EACH: Duration = Duration::from_secs(1);
/// Bytes of the events written last in which the texts of classes are looked for, once a second.
pub const CLASS_TEXTS_READ: usize = 64 * 1024;

/// Lines of what was said to the operator that an overview keeps.
pub const SAID_KEPT: usize = 24;
/// Those of one kind among them.
pub const SAID_ALIKE: usize = 4;
/// And those that `relevo status` prints.
pub const STATUS_SAID: usize = 8;
/// For how long they are told.
pub const SAID_FOR: Duration = Duration::from_secs(3 * 3_600);

/// Streams of events at one time: each has a connection, and what it is behind by.
pub const STREAMS_MAX: usize = 32;
/// How soon somebody who found no place may come again, seconds.
pub const STREAM_AGAIN: &str = "10";
/// How long the connection of one may take nothing before it is ended.
pub const STREAM_STANDS: Duration = Duration::from_secs(10);
/// How often it is looked whether it does.
pub const STREAM_LOOK: Duration = Duration::from_secs(1);
/// A stream in which nothing happens says so after this: what stands between may think it dead.
pub const STREAM_COMMENT: Duration = Duration::from_secs(15);
/// How often what the journal took is passed on to streams.
pub const STREAM_ROUND: Duration = Duration::from_millis(100);
/// Batches of the journal that wait for that ([`super::JOURNAL_BATCH`] each at the most).
pub const STREAM_BATCHES: usize = 8;
/// Batches by which a reader may be behind before it loses some.
pub const STREAM_BEHIND: usize = 16;
/// Bytes that are handed to a connection at once.
pub const STREAM_PIECE: usize = 64 * 1024;
/// How long a stop waits until streams have said that it comes.
pub const STREAM_BYE: Duration = Duration::from_millis(200);

/// What a look at a site counts as, where all of them are gone through: it lies in several places of memory.
pub const SITE_LOOK_COST: usize = 8;

/// Seconds of the past that `relevo top` draws, at the most.
pub const TOP_PAST: usize = 240;
/// Bytes that may be typed there: a reason, and a little.
pub const TOP_TYPED: usize = 200;
/// How long keys are waited for at once; so often it is looked whether the command is to end.
pub const TOP_TICK: Duration = Duration::from_millis(250);
/// Ticks from one question to the next: a second.
pub const TOP_TICKS: u32 = 4;
/// Tenants that it lists, those with most mail.
pub const TOP_TENANTS: usize = 64;
/// Questions from one for tenants to the next.
pub const TOP_TENANTS_TURNS: usize = 10;
/// From which rate of bounces on a tenant stands out.
pub const TOP_BOUNCES: f64 = 0.05;
/// Rows that a page key moves by.
pub const TOP_PAGE: usize = 10;
/// A terminal of fewer columns has no room for all columns of a view.
pub const TOP_WIDE: u16 = 96;
/// One of fewer lines has none for what went before.
pub const TOP_TALL: u16 = 28;
/// Columns of what stands in front of all else.
pub const TOP_POPUP: u16 = 90;
/// Lines of one screen as text.
pub const TOP_LINES: u16 = 400;
/// A shard that works for so much of its time has little left.
pub const TOP_BUSY: f64 = 0.9;
