//! Captured mail.

use std::time::Duration;

/// Bytes of a search that are read.
pub const SANDBOX_SEARCH_MAX: usize = 1024;
/// Things that one search may ask for: each is a condition in the database.
pub const SANDBOX_SEARCH_WORDS: usize = 32;

/// Messages that wait to be kept, of all shards.
pub const CAPTURES_WAITING: usize = 2048;
/// Bytes of messages that all shards hold in memory for that; a larger one waits until it is alone.
pub const CAPTURES_BYTES: usize = 64 << 20;
/// Groups that one task hands over before it waits for what became of them: they come into one commit.
pub const CAPTURES_AT_ONCE: usize = 128;
/// How often it is looked whether they were kept.
pub const CAPTURE_LOOK: Duration = Duration::from_millis(2);
/// How long that is waited for, before they are handed over again.
pub const CAPTURE_KEPT: Duration = Duration::from_secs(20);
/// Until it is asked again where too much waits.
pub const CAPTURE_AGAIN: Duration = Duration::from_millis(100);
/// Messages of one commit of the sandbox.
pub const SANDBOX_COMMIT: usize = 512;
/// Bytes of one: with the next message it may be more.
pub const SANDBOX_COMMIT_BYTES: usize = 16 << 20;
/// Messages of an inbox where the configuration says nothing.
pub const SANDBOX_KEEP: u64 = 10_000;
/// Messages of an inbox at most.
pub const SANDBOX_KEEP_MOST: u64 = 1_000_000;
/// Bytes of an inbox where the configuration says nothing.
pub const SANDBOX_SIZE: u64 = 1 << 30;
/// Fewer would hold hardly a message.
pub const SANDBOX_SIZE_LEAST: u64 = 1 << 20;
/// Bytes of an inbox at most.
pub const SANDBOX_SIZE_MOST: u64 = 64 << 30;
/// Pages of 4 KiB of the file, of all inboxes: then a tenth of all goes, the oldest.
pub const SANDBOX_PAGES_MAX: u32 = 32 << 20;
/// How long a reader of the file may keep it from being written.
pub const SANDBOX_BUSY: Duration = Duration::from_secs(5);
/// Bytes of the text of a message that are searched.
pub const SANDBOX_INDEXED: usize = 64 * 1024;
/// Bytes of it that a list shows.
pub const SANDBOX_SNIPPET: usize = 250;
/// People of one header field that are shown and found.
pub const SANDBOX_PEOPLE: usize = 1000;
/// Bytes of a subject, a name or an address that are shown and found.
pub const SANDBOX_LINE: usize = 998;
/// Questions about captured mail that are answered at once.
pub const SANDBOX_ASKED: usize = 4;
/// Messages of a page of a list where none are said.
pub const SANDBOX_PAGE: u64 = 50;
/// Messages of a page.
pub const SANDBOX_PAGE_MOST: u64 = 1000;
/// Messages that are named at once.
pub const SANDBOX_IDS: usize = 10_000;
/// Bytes of what is asked for.
pub const SANDBOX_BODY_MAX: usize = 1 << 20;
/// Tags that are listed.
pub const SANDBOX_TAGS: usize = 1000;
/// Tags of a message.
pub const SANDBOX_TAGS_OF_ONE: usize = 100;
/// Letters of a tag.
pub const SANDBOX_TAG: usize = 100;
/// Parts of a message that are listed.
pub const SANDBOX_PARTS: usize = 1000;
/// Header fields of a message that are listed.
pub const SANDBOX_FIELDS: usize = 1000;
/// Bytes of images that its HTML shows.
pub const SANDBOX_IMAGES: usize = 16 << 20;
