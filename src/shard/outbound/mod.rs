//! The way out: from a message on disk to the next hop's answer.
//!
//! The files stand in message order. Who uses whom is another order, in which none looks back: the states; `borrow`, `warm`, `sites` and `adapt`;
//! `source`; `egress`; `settle`;
//! `lend`, `pump`; `tend`, `suspended`, `unanswered`; `asking`, `dispatch`, `overflow`, `handoff` and `loan`; `line`; `session`, `greet`, `connect`, `work`, `transact`,
//! `attempt`, `local` and `deliver`. So `pump` only begins a connection, and `deliver` opens what was begun.

pub mod state;
pub mod site;
pub mod shown;
pub mod address;
pub mod bucket;
pub mod provider;
pub mod opening;

pub mod egress;
pub mod handoff;
pub mod hop_error;
pub mod dispatch;
pub mod asking;
pub mod resolve;
pub mod servers;
pub mod unanswered;
pub mod tend;
pub mod suspended;
mod suppressed;
pub mod reroute;
pub mod pump;
mod tenants;
pub mod why;
pub mod line;
pub mod elsewhere;
pub mod warm;
pub mod overflow;
pub mod sites;
pub mod rates;
pub mod adapt;
pub mod known_keys;
mod lend;
pub mod loan;
pub mod borrow;
pub mod deliver;
mod local;
mod login;
mod feedback;
pub mod return_path;
pub mod tenant_tags;
pub mod connect;
mod greet;
pub mod source;
pub(in crate::shard) mod spare;
pub mod watch;
pub mod session;
mod sessions;
pub mod manners;
pub mod work;
pub mod attempt;
pub mod tally;
mod asked;
pub mod transact;
pub mod meanings;
pub mod node_order;
mod notice;
pub mod eight_bit;
pub mod body;
pub mod again;
pub mod settle;
pub mod settled;
mod report;
