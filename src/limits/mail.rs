//! Messages: header sections, parameters, parts, notifications.

/// Received fields after which a message is taken to loop (RFC 5321 6.3 asks for at least 100).
pub const HOPS_MAX: u32 = 100;
/// Bytes of header section examined for trace fields and kept for a bounce.
pub const HEADER_MAX: usize = 256 * 1024;
/// Bytes of a parameter of a message (tenant, campaign, pool): names, which stand in every event.
pub const PARAMETER_MAX: usize = 256;
/// Bytes of the metadata of a message, which come back in every event of it.
pub const METADATA_MAX: usize = 16 * 1024;
/// Bytes of all parameters of one message, those that some of its recipients have in place of it included.
pub const PARAMETERS_BYTES_MAX: usize = 64 * 1024;

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
