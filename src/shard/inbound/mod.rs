//! The way in: from a connection to a message on disk.

pub mod state;
pub mod listener;
pub mod listeners;
pub mod permit;
mod rates;
pub mod accept;
mod connection;
mod secure;
mod ask;
mod body;
pub mod receive;
pub mod logins;
pub mod authenticate;
pub mod allowance;
pub mod reject;
mod scram;
mod log_in;
pub mod upload;
pub mod turn;
pub mod signers;
pub mod sign;
mod suppress;
pub mod verify;
pub mod admit;
pub mod submission;
pub mod submit;
