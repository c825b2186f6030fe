//! Merges: one text for many recipients, each with values of its own.

/// Parts of one text.
pub const MERGE_PARTS_MAX: usize = 64;
/// Bytes of all parts of a merge: they lie in memory until the last of them has come.
pub const MERGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Variables of one recipient.
pub const MERGE_VARIABLES_MAX: usize = 128;
/// Bytes of the name of one.
pub const MERGE_NAME_MAX: usize = 64;
/// Bytes of all names and values of a merge, which lie in memory as its parts do: two KiB for each of a thousand recipients.
pub const MERGE_VALUES_MAX: usize = 2 * 1024 * 1024;
/// What a variable has in memory beside its name and its value.
pub const MERGE_VARIABLE_OVERHEAD: usize = 64;
/// XDFN commands of one merge, whatever they say: many for each recipient.
pub const MERGE_DEFINITIONS_MAX: u32 = 64 * 1024;
/// Longest command line of a merge, CRLF included: the lines of XDFN have the values in them.
pub const MERGE_LINE_MAX: usize = 12_288;
/// Messages of a merge that are on their way to the disk at one time, so that a commit has many of them.
pub const MERGE_AT_ONCE: usize = 32;
/// Bytes of their text up to which one more is begun.
pub const MERGE_RENDERED_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one of its messages, however often a value stands in the text: it is made in memory.
pub const MERGE_MESSAGE_MAX: usize = 8 * 1024 * 1024;
/// Letters of a reply that is told within another.
pub const MERGE_REPLY_SHOWN: usize = 200;
