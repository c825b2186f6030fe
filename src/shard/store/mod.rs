//! The lane: what writes it, reads it and keeps it small.

pub mod state;
pub mod writer;
pub mod refuse;
pub mod at_once;
pub mod persist;
pub mod grow;
pub mod secure;
pub mod retell;
pub mod compact;
pub mod rebind;
pub mod places;
pub mod maps;
pub mod load;
