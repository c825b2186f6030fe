//! Keeps the suppression list: its file (`book`, `write`), what changed since in `control.db`, imports (`runs`), and what shards look into.
//!
//! All of it blocks, so that only a thread of its own may call it. A change is on disk before it is seen, and seen before whoever asked for it is
//! answered. A new file is made beside the old one by a [`Job`], on whatever thread; at whatever point that ends, the old one or the new one is there,
//! and with what changed since both say the same. docs/suppression.md has the format and the order.

mod book;
pub mod feed;
mod keeper;
mod numbers;
mod runs;
mod trouble;
mod write;

pub use book::{Book, ListFile};
pub use keeper::{Added, KeepError, Keeper, Page, others};
pub use numbers::{ADDED, ListNumbers};
pub use runs::Runs;
pub use trouble::Trouble;
pub use write::{Job, Made, Step};

/// Where the files are, in the data directory.
pub const DIRECTORY: &str = crate::spool::layout::SUPPRESSION;
/// The list's file there.
const FILE: &str = "list";
/// The one that is being made.
const NEW: &str = "list.new";
/// In front of the number of a sorted part of an import.
const RUN: &str = "run-";
/// An operator makes it to say: go on without what is lost.
const LOST: &str = "lost";

#[cfg(test)]
mod tests;
