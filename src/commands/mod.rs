//! Commands that are more than a line in `main`.

pub mod check;
pub mod output;
pub mod password;
pub mod spool;
mod words;
