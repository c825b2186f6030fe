//! The suppression list: who gets no mail.

use std::time::Duration;

use super::smtp::PATH_MAX;

/// Entries of the list: places in it are 32 bits, and each is 8 bytes of memory and some 50 on disk.
pub const SUPPRESSION_ENTRIES_MAX: u64 = 400_000_000;
/// Changes that are not in the list's file yet. They are read at a start, and are in memory twice 8 bytes each; more are refused until they
/// are merged.
pub const SUPPRESSION_CHANGES_MAX: usize = 1_000_000;
/// From so many on they are merged into a new file: it is written as a whole, so not for a few.
pub const SUPPRESSION_MERGE_AT: usize = 250_000;
/// Slots that the table of changes begins with.
pub const SUPPRESSION_SLOTS_MIN: usize = 1_024;
/// Entries that are changed by one commit.
pub const SUPPRESSION_BATCH_MAX: usize = 10_000;
/// How long an entry whose time is over may go on to hold mail back before the file is written anew for that alone.
pub const SUPPRESSION_EXPIRED_KEPT: Duration = Duration::from_secs(6 * 3600);
/// Bytes of a note.
pub const SUPPRESSION_NOTE_MAX: usize = 255;
/// Bytes of an entry beside its texts: lengths, reason and times.
pub const SUPPRESSION_RECORD_HEAD: usize = 23;
/// Bytes of what an entry is about: an address, its local part perhaps quoted.
pub const SUPPRESSION_ADDRESS_MAX: usize = 2 * PATH_MAX;
/// Fingerprints that lead to one place of the index, about: more make a look-up read more lines, fewer make an index that no cache holds.
pub const SUPPRESSION_BUCKET: u64 = 64;
/// Places of the index as a power of two: 64 MiB.
pub const SUPPRESSION_INDEX_BITS_MAX: u32 = 24;
/// Fingerprints that are looked at one after the other from where one should be, before the rest is halved.
pub const SUPPRESSION_STEPS: usize = 32;
/// Entries of one block of the book, which is read and checked as a whole: some kilobytes.
pub const SUPPRESSION_BLOCK: usize = 64;
/// Bytes of a block: that many of the longest entries.
pub const SUPPRESSION_BLOCK_BYTES_MAX: usize = 128 * 1024;
/// Bytes that are written, or read, at one time while a file is made.
pub const SUPPRESSION_CHUNK: usize = 1024 * 1024;
/// Entries of an import that are sorted in memory, and their bytes.
pub const SUPPRESSION_RUN_ENTRIES: usize = 1_000_000;
/// Their bytes.
pub const SUPPRESSION_RUN_BYTES: usize = 128 * 1024 * 1024;
/// Sorted parts of one import, each a file that is open while they are merged.
pub const SUPPRESSION_RUNS_MAX: usize = 400;
/// Bytes that are read of each of these at a time.
pub const SUPPRESSION_RUN_CHUNK: usize = 128 * 1024;
/// Bytes of one line that is imported, quotes apart.
pub const SUPPRESSION_LINE_MAX: usize = 8 * 1024;
/// Cells of one line.
pub const SUPPRESSION_CELLS_MAX: usize = 64;
/// Lines of an import that are told to be wrong; more are counted.
pub const SUPPRESSION_WRONG_TOLD: usize = 100;
/// Entries of one page of the list.
pub const SUPPRESSION_PAGE_MAX: usize = 1_000;
/// Entries that are looked at for one page, where a filter leaves most of them out.
pub const SUPPRESSION_LOOKED_MAX: usize = 100_000;
/// How often a mailbox may have to be refused for good before it is listed: more is a list that nobody tends.
pub const HARD_BOUNCES_MAX: u64 = 100;
/// Mailboxes that were refused for good, but not often enough, which are counted; the oldest are forgotten first.
pub const HARD_BOUNCES_KEPT: u64 = 1_000_000;
/// After so long without another such refusal those of before do not count any more.
pub const HARD_BOUNCE_FORGOTTEN: Duration = Duration::from_secs(90 * 86_400);
/// Bytes of events that are read at one time to feed the list: some ten milliseconds of the thread that decides.
pub const SUPPRESSION_FED_BYTES: usize = 8 * 1024 * 1024;
/// Entries that these may give before they are written.
pub const SUPPRESSION_FED_ENTRIES: usize = 1_000;
/// How long its reader may be ahead of what is remembered of it, where it found nothing: a start reads that once more.
pub const SUPPRESSION_PLACE_SAVED: Duration = Duration::from_secs(5);
/// What the thread has to do that makes and reads files of the list.
pub const SUPPRESSION_TASKS: usize = 4;
/// Changes that are kept for other nodes of a cluster while these cannot be told.
pub const SUPPRESSION_UNTOLD_MAX: usize = 1_000_000;
/// Orders of commands to the list that wait.
pub const SUPPRESSION_ORDERS_MAX: usize = 64;
/// Bytes of a list that is imported by one command.
pub const SUPPRESSION_IMPORT_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Pieces of it that wait to be read.
pub const SUPPRESSION_PIECES_MAX: usize = 8;
/// How long one who imports may be silent.
pub const SUPPRESSION_IMPORT_SILENCE: Duration = Duration::from_secs(60);
/// How long a command waits that imports.
pub const SUPPRESSION_IMPORT_WAIT: Duration = Duration::from_secs(6 * 3600);
/// Entries that a command changes with one request.
pub const SUPPRESSION_ASKED_MAX: usize = 1_000;
/// Bytes of the head of the list's file.
pub const SUPPRESSION_HEAD: usize = 4096;
