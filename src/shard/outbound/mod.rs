//! The way out: from a message on disk to the next hop's answer.

pub mod handoff;
pub mod dispatch;
pub mod lend;
pub mod address;
pub mod opening;
pub mod asking;
pub mod resolve;
pub mod tend;
pub mod unanswered;
pub mod connect;
pub mod session;
pub mod deliver;
pub mod attempt;
pub mod settle;
pub mod transact;
pub mod body;
pub mod eight_bit;
pub mod shown;
pub mod servers;
