//! Commands that are more than a line in `main`.

pub mod account;
pub mod check;
mod client;
pub mod dkim;
pub mod domain;
mod edited;
pub mod log;
mod export;
pub mod install;
pub mod output;
pub mod password;
mod progress;
pub mod queue;
pub mod reload;
pub mod shaping;
pub mod spool;
pub mod status;
pub mod suppress;
pub mod suspend;
mod table;
pub mod token;
pub mod top;
pub mod trace;
pub mod upgrade;
pub mod warmup;
pub mod why;
mod words;
