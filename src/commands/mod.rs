//! Commands that are more than a line in `main`.

pub mod spool;
mod words;
