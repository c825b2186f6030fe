//! Towards clients: sessions, lines, paths, recipients.

use std::time::Duration;

/// Longest command line, CRLF included (RFC 5321 4.5.3.1.4 asks for 512; parameters of extensions add to it).
pub const COMMAND_LINE_MAX: usize = 2048;
/// Longest line in an AUTH exchange, CRLF included (RFC 4954 section 4).
pub const AUTH_LINE_MAX: usize = 12_288;
/// Longest header of the PROXY protocol's version 1, CRLF included (section 2.1 of its description).
pub const PROXY_V1_MAX: usize = 107;
/// Longest header of its version 2: addresses and what a proxy says beside them. Receivers must take 536 bytes (section 2.2); those with a name of a
/// certificate and an identifier in them stay below 1 KiB.
pub const PROXY_V2_MAX: usize = 4096;
/// Longest text line accepted inside a message, CRLF excluded. RFC 5321 4.5.3.1.6 says 998; real mail is longer,
/// and refusing it bounces what every other relay passes, so the default is far above and only stops abuse.
pub const TEXT_LINE_MAX: usize = 65_536;
/// Recipients of one transaction (RFC 5321 4.5.3.1.8 asks for at least 100); one more is answered 452.
pub const RECIPIENTS_MAX: usize = 1_000;
/// Longest local part. RFC 5321 4.5.3.1.1 says 64; return paths that carry another address (VERP, SRS) and reply tokens are
/// longer, and every large server takes them.
pub const LOCAL_PART_MAX: usize = 255;
/// Longest domain as text: the 255 octets of RFC 1035 2.3.4 count a length for each label and the root.
pub const DOMAIN_MAX: usize = 253;
/// Bytes of one part of a domain name (RFC 1035 2.3.4).
pub const LABEL_MAX: usize = 63;
/// Longest path, angle brackets included. RFC 5321 4.5.3.1.3 says 256, too few for such local parts; this is what fits with
/// `MAIL FROM:` in the 512 octets of a command line that every next hop takes (4.5.3.1.4), parameters apart.
pub const PATH_MAX: usize = 500;

/// Errors in a row, with no message delivered between them, before a session is closed with 421.
pub const COMMAND_ERRORS_MAX: u32 = 20;
/// Commands without a message between them (NOOP, RSET, VRFY, HELP, EHLO, MAIL) before a session is closed with 421: far more than
/// a client that delivers has use for, and what a loop of them costs ends with it.
pub const COMMANDS_WITHOUT_MAIL_MAX: u32 = 100;
/// RCPT commands of one transaction, taken or not, before a session is closed with 421: a client that does not read the 452 for
/// one too many is still told the rest of its list, within reason.
pub const RECIPIENTS_OFFERED_MAX: u32 = 10 * RECIPIENTS_MAX as u32;
/// Bytes of a line that are passed over in search of its end before a session is closed with 421.
pub const LINE_SKIPPED_MAX: usize = 64 * 1024;
/// Recipients refused in a row, before one is accepted, to a client that may relay: a bad stretch of a list is no attack, and is
/// as long as a transaction that every server takes (RFC 5321 4.5.3.1.8).
pub const RECIPIENTS_REFUSED_MAX: u32 = 100;
/// Bytes of a message of SCRAM that a client sends: a name, escaped, two nonces and a proof are far below.
pub const SCRAM_MESSAGE_MAX: usize = 2048;
/// Failed AUTH attempts before a session is closed with 421.
pub const AUTH_FAILURES_MAX: u32 = 3;

/// Bytes of replies held for a client that pipelines and does not read.
pub const REPLY_BACKLOG_MAX: usize = 64 * 1024;

/// Default connections of one client at one time: far more than a mail server opens, far fewer than would starve others.
pub const CONNECTIONS_PER_CLIENT_DEFAULT: u64 = 100;

/// Refusals that a session keeps from one receive; more are counted.
pub const REFUSALS_HELD: usize = 16;
/// Recipients of a refused message that are recorded: enough to find it by.
pub const REFUSED_RECIPIENTS_MAX: usize = 20;
/// Bytes of a refused path that are recorded: more than RFC 5321 4.5.3.1.3 gives a path.
pub const REFUSED_PATH_MAX: usize = 320;

/// Bytes of a body looked at in one go; no line in them is too long.
pub const PLAIN_AT_ONCE: usize = 32 * 1024;

/// How many times the size of a message the bytes of BDAT are read and dropped that make it too large, before the session ends instead: a client
/// that did not look at SIZE hears what is wrong, and one that says an absurd size is not waited for.
pub const PORTIONS_SKIPPED_TIMES: u64 = 2;
/// Portions of a message (BDAT) of any size, the empty ones counted.
pub const PORTIONS_FREE: u64 = 1_000;
/// Bytes for which a message may have one portion more: clients send them in 4 KiB and more.
pub const PORTION_LEAST: u64 = 1024;

/// Bytes of the words in the greeting: with the name the line has its bound (RFC 5321 4.5.3.1.5).
pub const BANNER_MAX: usize = 200;

/// Recipients that are looked through one by one for a new one; above, an order is kept, or a thousand long ones would cost a
/// million comparisons.
pub const RECIPIENTS_UNORDERED: usize = 32;
/// Bytes of a transaction without sender and recipients: envelope, scanner, and what the allocator adds.
pub const TRANSACTION_OVERHEAD: usize = 512;
/// Bytes the allocator adds to a text with memory of its own.
pub const ALLOCATED: usize = 16;

/// Recipients, and what is known of each, that need no memory of their own.
pub const RECIPIENTS_INLINE: usize = 4;

/// How long accepting pauses when the process is out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of replies up to which they are not worth a count.
pub const REPLIES_SMALL: usize = 4096;

/// Bytes of a text in memory beside the text, and what the allocator adds.
pub const TEXT_OVERHEAD: usize = 64;
/// The least that a bound on recipients may be (RFC 5321 4.5.3.1.8).
pub const RECIPIENTS_LEAST: u64 = 100;
/// Bytes that an idle session's buffer of replies may have: a few replies, for each of a hundred thousand sessions.
pub const REPLIES_KEPT_ROOM: usize = 1024;
