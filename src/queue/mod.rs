//! What waits: groups of recipients, their domains, and the sites these resolve to.

pub mod clock;
pub mod destinations;
pub mod fair;
pub mod flow;
pub mod group;
pub mod lifetimes;
pub mod node_shares;
pub mod outcome;
pub mod schedule;
pub mod select;
pub mod suspension;

pub use clock::Clock;
pub use group::{Group, GroupPhase};
