//! Captured mail, kept apart from the path of mail: what shards capture is in a file of its own, for developers to look at.

pub(in crate::control) mod desk;
mod find;
mod keeper;
pub(in crate::control) mod show;
mod store;
mod summary;
pub mod wanted;

pub use keeper::Keeper;
pub(in crate::control) use keeper::start;
pub use store::Bounds;
