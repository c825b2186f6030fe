//! What a message may be, beside its size.

/// Bytes of a header section, unless a listener says otherwise: some hundred times what mail has, so that only an attack meets it.
pub const HEADER_SIZE_DEFAULT: u64 = 1 << 20;
/// The least that a listener may say: a line is taken up to [`TEXT_LINE_MAX`](super::TEXT_LINE_MAX), and RFC 5321 4.5.3.1.7 wants 64 KiB of a message taken.
pub const HEADER_SIZE_LEAST: u64 = 64 * 1024;
/// The most: what nobody reads whole takes memory on its way out.
pub const HEADER_SIZE_MOST: u64 = 16 << 20;
/// Fields of a header section, unless a listener says otherwise.
pub const HEADER_FIELDS_DEFAULT: u64 = 10_000;
/// The least: a message that has been through a hundred relays has some hundreds.
pub const HEADER_FIELDS_LEAST: u64 = 500;
/// The most: `X:` and its line end are five bytes.
pub const HEADER_FIELDS_MOST: u64 = HEADER_SIZE_MOST / 5;
/// Bytes of a text line that every server takes, its CRLF not counted (RFC 5321 4.5.3.1.6).
pub const TEXT_LINE_PROPER: usize = 998;
