//! The spool of one lane: an append-only log of messages and outcomes in preallocated, recycled segments.
//!
//! Pure: it lays out bytes, mints ids, keeps the index and folds a lane's records at start-up. `shard::store::persist` does the
//! writing and the waiting.
//!
//! A message exists when the commit that holds its record is synced. [`Durable`](crate::id::Durable) is the proof, and
//! the reply 250 can be made from nothing else.

pub mod allot;
pub mod asked;
pub mod batch;
mod commit;
pub mod compact;
pub mod disposition;
pub mod files;
pub mod fold;
mod headed;
pub mod index;
pub mod inspect;
pub mod lane;
pub mod layout;
mod missing;
mod parameters;
pub mod rebind;
pub mod record;
mod salvage;
pub mod segment;
mod segments;
pub mod since;
mod slot;
mod survey;
mod torn;
#[cfg(test)]
mod tests;
mod trouble;

pub use lane::Lane;
