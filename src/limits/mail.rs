//! Messages: header sections, parameters, parts, notifications.

use std::time::Duration;

use super::control::CONFIG_TIME_MAX;
use super::memory::{BODY_GATHER_MAX, SCRATCH};
use super::outbound::REPLY_TEXT_MAX;
use super::smtp::DOMAIN_MAX;

/// Received fields after which a message is taken to loop (RFC 5321 6.3 asks for at least 100).
pub const HOPS_MAX: u32 = 100;
/// Bytes of header section examined for trace fields and kept for a bounce.
pub const HEADER_MAX: usize = 256 * 1024;
/// Bytes of a parameter of a message (tenant, campaign, pool): names, which stand in every event.
pub const PARAMETER_MAX: usize = 256;
/// Bytes of what a message was called first: the id of a node, a slash, and its own.
pub const ORIGIN_MAX: usize = 33;
/// Bytes of the metadata of a message, which come back in every event of it.
pub const METADATA_MAX: usize = 16 * 1024;
/// Objects and lists inside each other in metadata. Readers of the log stop at 64 or 100, and it is one level down in its event.
pub const METADATA_DEPTH_MAX: usize = 32;
/// Bytes of all parameters of one message, those that some of its recipients have in place of it included.
pub const PARAMETERS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of parameters in the events of one outcome: each set that some recipients have in place of the message's is told with the rest of the
/// message's, its metadata too. Encoded in one turn.
pub const PARAMETERS_TOLD_MAX: usize = 1024 * 1024;

/// Bytes of what a node says of a message that it hands over: metadata in the letters that take most, three times as long as they are, all else, and
/// the last reply.
pub const HANDOVER_MAX: usize = 64 * 1024;
/// Bytes of one line of that.
pub const HANDOVER_LINE: usize = 900;
/// Bytes of a header section with that in front: the next node looks at it while all of it is in memory.
pub const HANDOVER_SECTION_MAX: usize = 112 * 1024;
const _: () = assert!(HANDOVER_SECTION_MAX < BODY_GATHER_MAX - 2 * SCRATCH);
const _: () = assert!(3 * (METADATA_MAX + 8 * PARAMETER_MAX + 2 * REPLY_TEXT_MAX) + 2048 < HANDOVER_MAX);
/// Attempts that a record tells.
pub const ATTEMPTS_TOLD_MAX: u16 = u16::MAX >> 1;

/// Bytes of ENVID as MAIL has it (RFC 3461 4.4).
pub const ENVID_MAX: usize = 100;
/// Bytes of ORCPT as RCPT has it (RFC 3461 4.2).
pub const ORCPT_MAX: usize = 500;
/// Bytes of ORCPT of all recipients of one message, in memory: they are in its record, also when it moves. A list of a thousand subscribers has a
/// tenth of it; who has more is told 452 and sends the rest in another transaction (RFC 5321 4.5.3.1.10).
pub const ORCPT_BYTES_MAX: usize = 256 * 1024;

/// Longest time that mail may be held before it goes (RFC 4865): as long as any time that a configuration may ask for.
pub const HOLD_MAX: Duration = CONFIG_TIME_MAX;

/// Parts of a message that is encoded for a hop without 8BITMIME; one with more is returned as it would be without the encoding.
pub const PARTS_MAX: usize = 1_000;
/// Parts and messages inside each other, in such a message.
pub const PARTS_DEPTH_MAX: usize = 32;
/// Bytes of a Content-Type field that are read there, and of the start of any line.
pub const MIME_FIELD_MAX: usize = 16 * 1024;
/// Bytes that are encoded before they are sent and others have a turn.
pub const ENCODED_AT_ONCE: usize = 16 * 1024;

/// Failed recipients a bounce lists in its part for humans; the part for machines lists all of them.
pub const BOUNCE_LISTED_MAX: usize = 100;

/// Notifications that a shard makes in a second: what others can have written to third parties ends here, and bounces of bulk mail wait no longer
/// than these many take the disk.
pub const REPORTS_A_SECOND: u32 = 2_000;
/// Of these, those to one domain that tell of no failure; more are left out. Who wants to know of each delivery of bulk mail has the log.
pub const REPORTS_TO_DOMAIN_A_SECOND: u32 = 50;
/// How long a notification of a failure waits where there are more.
pub const REPORT_WAIT: Duration = Duration::from_millis(200);
/// How often it waits before it is made in any case.
pub const REPORT_WAITS_MAX: u32 = 50;

/// Bytes that a notification keeps of what a next hop said: its code and enhanced code, and the text a reply is cut to.
pub const DSN_TEXT_MAX: usize = REPLY_TEXT_MAX + 32;
/// Bytes that it keeps of a next hop's name.
pub const DSN_NAME_MAX: usize = DOMAIN_MAX;
/// Bytes of a Message-ID that a notification repeats: it stays within a line.
pub const MESSAGE_ID_MAX: usize = 250;

/// Recipients that a spare envelope has room for.
pub const SPARE_RECIPIENTS: usize = 16;

/// Bytes kept of a text from outside that goes into a comment of a trace field.
pub const TRACE_COMMENT_MAX: usize = 128;

/// Bytes of a line that may delimit parts of a binary message: the longest boundary, its hyphens, and some blanks (RFC 2046 5.1.1).
pub const DELIMITER_LINE_MAX: usize = MIME_BOUNDARY_MAX + 56;
/// Longest boundary of parts: RFC 2046 5.1.1 says 70, and some are longer.
pub const MIME_BOUNDARY_MAX: usize = 200;

/// Bytes of a reply that its class is judged by: what is kept of it, with its codes.
pub const CLASS_TEXT_MAX: usize = REPLY_TEXT_MAX + 32;
/// Digits in a row that are an id and no code: receivers' own codes have fewer.
pub const CLASS_NUMBER_MASKED: usize = 6;
/// Letters and digits in a row that are an id and no code.
pub const CLASS_ID_MASKED: usize = 12;
/// Bytes of an IP address in a reply: the longest of IPv6, and a colon behind it.
pub const CLASS_ADDRESS_MAX: usize = 40;
/// Bytes of a pattern of replies, compiled.
pub const CLASS_COMPILED_MAX: usize = 1024 * 1024;
/// Bytes that a shard keeps of what the engine of a pattern has worked out. Nearly all keep 10 KiB or less.
pub const CLASS_CACHE_MAX: usize = 1024 * 1024;
/// Texts whose class a shard keeps: each receiver has a few texts that make up nearly all it says.
pub const CLASSIFIED_KEPT: usize = 256;
/// New texts that a shard looks through in a second for their class: each takes 25 to 200 microseconds.
pub const CLASSIFIED_A_SECOND: u32 = 500;
/// New texts that are looked through in one turn.
pub const CLASSIFIED_AT_ONCE: u32 = 4;
/// Bytes of the words of a notification beside what it repeats: what memory is taken for, not a bound.
pub const DSN_WORDS_ROOM: usize = 2048;
/// The same for each recipient of it, named in both of its parts.
pub const DSN_RECIPIENT_ROOM: usize = 512;
/// Bytes of a usual trace field: what memory is taken for.
pub const TRACE_FIELD_ROOM: usize = 320;

/// Bits of an RSA key that signs: RFC 8301 wants 1024 at least and asks for this many; the library that signs refuses less, too.
pub const DKIM_RSA_BITS_MIN: usize = 2048;
/// The most that receivers must know (RFC 8301).
pub const DKIM_RSA_BITS_MAX: usize = 4096;
/// Names of header fields that are signed: what a list may have. The usual one has 30.
pub const DKIM_NAMES_MAX: usize = 100;
/// Bytes of such a name: a line of `h=` holds it.
pub const DKIM_NAME_MAX: usize = 76;
/// Bytes of the longest line that all hops must take, CRLF included (RFC 5321 4.5.3.1.6).
pub const LINE_OF_ALL: usize = 1000;
/// Addresses of a From field that are looked at; one with more has nobody's signature but the relay's.
pub const AUTHORS_MAX: usize = 16;
/// Seconds that a signature with an end holds beyond the time at which its message is given up: for the last attempt.
pub const SIGNATURE_OUTLASTS: u64 = 86_400;
/// Keys that a shard keeps read: some 3 KiB each.
pub const SIGNERS_KEPT: usize = 4_096;
/// Header fields of these names in one message, so that `h=` stays short; most have 10 to 20.
pub const DKIM_FIELDS_MAX: usize = 250;
/// Shortest time that a signature may hold: mail may wait for days and be looked at later; what is shorter is for those who mean it.
pub const DKIM_LIFETIME_MIN: Duration = Duration::from_secs(3600);
/// One that suits most: beyond the days that mail is tried.
pub const DKIM_LIFETIME_USUAL: Duration = Duration::from_secs(7 * 86_400);
/// Signatures of one message: of its own domain and of the relay's, each of RSA and of Ed25519.
pub const SIGNATURES_MAX: usize = 4;
/// Keys that a configuration names: those of domains where not the newest is to sign. Its reader looks through the file for each of them.
pub const DKIM_NAMED_MAX: usize = 5_000;
/// Domains that have keys. Each key takes some 2 KiB of memory.
pub const DKIM_DOMAINS_MAX: usize = 200_000;
/// Keys of one domain: the two that sign, those that follow, and some that were.
pub const DKIM_DOMAIN_KEYS_MAX: usize = 64;
/// Bytes of the file of a key: one of 4096 bits has 3.3 KiB.
pub const DKIM_KEY_FILE_MAX: u64 = 64 * 1024;
/// Bytes of a date in a Received field that is hidden: RFC 5322 3.3 has 31, and a comment.
pub const HIDDEN_DATE_MAX: usize = 48;
