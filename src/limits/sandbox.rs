//! Captured mail.

/// Bytes of a search that are read.
pub const SANDBOX_SEARCH_MAX: usize = 1024;
/// Things that one search may ask for: each is a condition in the database.
pub const SANDBOX_SEARCH_WORDS: usize = 32;
