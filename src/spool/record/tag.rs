//! The tags of the fields of a message record.

/// The bit that forbids to pass over a field.
pub const CRITICAL_TAG: u16 = 0x8000;

pub const CORE: u16 = 1 | CRITICAL_TAG;
pub const SENDER: u16 = 2 | CRITICAL_TAG;
pub const RECIPIENTS: u16 = 3 | CRITICAL_TAG;
pub const EXTENTS: u16 = 4 | CRITICAL_TAG;
pub const HELO: u16 = 5;
pub const CLIENT: u16 = 6;
pub const TLS: u16 = 7;
pub const ACCOUNT: u16 = 8;
pub const STATE: u16 = 9 | CRITICAL_TAG;
pub const PARAMETERS: u16 = 10;
// What the next hop must be told of a message and of a recipient.
pub const ASKED: u16 = 11 | CRITICAL_TAG;
pub const RECIPIENTS_ASKED: u16 = 12 | CRITICAL_TAG;
pub const RECIPIENT_PARAMETERS: u16 = 13;
// Those of ends are in `names::ends`.
pub const CRITICAL_PARAMETERS: u16 = 16 | CRITICAL_TAG;
pub const SIGNATURES: u16 = 17 | CRITICAL_TAG;
// One byte: the number of a `TlsWish`. 18 is one of those of ends.
pub const TLS_WISH: u16 = 19 | CRITICAL_TAG;
// One byte: the bits of a `Utf8`.
pub const UTF8: u16 = 20 | CRITICAL_TAG;
// What another node brought along: when it came, and how far delivery was. A version that does not know it begins anew.
pub const HANDOVER: u16 = 22;
// As `STATE`, where some recipients are held.
pub const LATER_STATE: u16 = 21 | CRITICAL_TAG;
