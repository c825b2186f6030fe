//! relevo: a bulk-mail relay, one shard a core, every message on disk before its 250.
//!
//! Modules are declared in the order a message meets them; ARCHITECTURE.md is the map with the reasons.
//! Core modules (`smtp` … `dns`) are pure: bytes, events and `now` in; bytes, events and decisions out.
//! `runtime` owns every system call and knows no mail. `shard` is where the two meet.

pub mod config;
pub mod limits;

pub mod dns;
pub mod mail;
pub mod policy;
pub mod queue;
pub mod route;
pub mod smtp;
pub mod spool;

pub mod check;
pub mod control;
pub mod inspect;
pub mod node;
pub mod observe;
pub mod runtime;
pub mod shard;
pub mod time;
