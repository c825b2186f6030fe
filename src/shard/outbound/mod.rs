//! The way out: from a message on disk to the next hop's answer.

pub mod state;
pub mod site;
pub mod shown;
pub mod address;
pub mod opening;

pub mod handoff;
pub mod dispatch;
pub mod asking;
pub mod resolve;
pub mod servers;
pub mod unanswered;
pub mod tend;
pub mod pump;
pub mod line;
pub mod sites;
pub mod lend;
pub mod loan;
pub mod borrow;
pub mod deliver;
pub mod connect;
pub mod session;
pub mod manners;
pub mod work;
pub mod attempt;
pub mod tally;
pub mod transact;
pub mod eight_bit;
pub mod body;
pub mod settle;
