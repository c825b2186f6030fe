//! Mail that comes back: how much of it is looked at. All of it is by strangers, and none of it is worth more than some milliseconds.

use std::time::Duration;

/// Bytes of a message that are looked at: notifications put what they say in front, and what they return behind it.
pub const INCOMING_FRONT_MAX: usize = 256 * 1024;
/// Parts of it that are looked at.
pub const INCOMING_PARTS_MAX: usize = 48;
/// Parts inside each other: a report in an alternative in a forward in a report.
pub const INCOMING_DEPTH_MAX: usize = 8;
/// Fields of a header section, or of a report, that are looked at.
pub const INCOMING_FIELDS_MAX: usize = 400;
/// Bytes of a field's value that are kept.
pub const INCOMING_VALUE_MAX: usize = 1024;
/// Bytes of what a part says to a human, decoded.
pub const INCOMING_TEXT_MAX: usize = 16 * 1024;
/// Bytes of an address: RFC 5321 4.5.3.1.3, and room for letters of other scripts.
pub const INCOMING_ADDRESS_MAX: usize = 512;
/// Recipients that one message may report: a report of more is of no mail that one transaction sent.
pub const INCOMING_REPORTS_MAX: usize = 200;
/// Addresses of a complaint or of a returned header section that are kept.
pub const INCOMING_ADDRESSES_MAX: usize = 20;
/// Texts of one message that are looked through for their class: each takes up to 200 microseconds.
pub const INCOMING_LOOKS_MAX: usize = 60;
/// Bytes of a text that a class is looked for in.
pub const INCOMING_REASON_MAX: usize = 1200;
/// Bytes of a pattern of notifications, compiled.
pub const SYSTEM_COMPILED_MAX: usize = 1024 * 1024;
/// Bytes that the engine of such a pattern may keep of what it has worked out.
pub const SYSTEM_CACHE_MAX: usize = 256 * 1024;

/// Bytes of the secret that return paths are signed with: fewer can be guessed.
pub const VERP_SECRET_MIN: usize = 16;
/// Days that return paths are good for: bounces come within some, complaints within a week or two.
pub const VERP_DAYS: u16 = 30;
/// Age of a secret at which a start makes another one; return paths by the one before are believed as long as they are good.
pub const VERP_SECRET_AGE: Duration = Duration::from_secs(180 * 86_400);
/// Bytes of a file of secrets.
pub const SECRETS_FILE_MAX: u64 = 4096;
/// Addresses, and domains, that feedback comes to.
pub const FEEDBACK_PLACES_MAX: usize = 1_000;
/// Names of tenants that are known by the mail that they sent: what comes back is compared with each.
pub const KNOWN_TENANTS_MAX: usize = 10_000;
/// How often they are written down.
pub const KNOWN_TENANTS_SAVED: Duration = Duration::from_secs(1);
/// Messages that wait to be read; each holds up to [`INCOMING_FRONT_MAX`].
pub const FEEDBACK_WAITING: usize = 256;
/// How often it is looked whether one was read, or is in the journal.
pub const FEEDBACK_LOOK: Duration = Duration::from_millis(10);
/// How long one that is being read is waited for.
pub const FEEDBACK_READ: Duration = Duration::from_secs(20);
/// How long the journal is waited for.
pub const FEEDBACK_JOURNALED: Duration = Duration::from_secs(20);
/// Until one is taken again that could not be read, or told, now.
pub const FEEDBACK_AGAIN: Duration = Duration::from_secs(1);
/// Messages that were passed on inside each other, or beside each other, that are looked into.
pub const INCOMING_FORWARDS_MAX: usize = 2;
/// Bytes of a reply by which its other lines are found.
pub const INCOMING_FRONT_OF_REPLY: usize = 40;
/// Bytes in which a delimiter of parts is looked for that the header section does not tell.
pub const INCOMING_SNIFF_MAX: usize = 2048;
/// Bytes of a page that are looked at for its text.
pub const INCOMING_PAGE_MAX: usize = 64 * 1024;
/// Bytes of a tag of a page.
pub const INCOMING_TAG_MAX: usize = 1024;

/// Letters of a token that unsubscribes: it stands in a header line.
pub const UNSUBSCRIBE_TOKEN_MAX: usize = 998;
/// Those of the shortest.
pub const UNSUBSCRIBE_TOKEN_MIN: usize = 32;
/// Bytes of the secret that they are sealed with: a key of AES-256.
pub const UNSUBSCRIBE_SECRET: usize = 32;
