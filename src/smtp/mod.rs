//! The protocol (RFC 5321 and its extensions), sans IO: bytes in, bytes and decisions out.
//!
//! `server` and `client` mirror each other: each is a session state machine that a shard stage drives.

pub mod client;
pub mod command;
pub mod data;
pub mod extensions;
pub mod proxy;
pub mod reply;
pub mod scram;
pub mod server;
pub mod words;
pub mod xclient;
