//! Bounds of mail that gets another tenant, campaign, pool or priority.

/// Bytes of the parameters that a record has by then, those of recipients included: twice what a client may bring.
pub const REBOUND_BYTES_MAX: usize = 128 * 1024;
/// How often a record is written before its recipients stay as they are: each time somebody else moved the message meanwhile.
pub const REBINDS_TRIED: u32 = 8;
