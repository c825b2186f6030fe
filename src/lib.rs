//! relevo: a bulk-mail relay, one shard a core, every message on disk before its 250.
//!
//! Modules are declared in the order a message meets them; ARCHITECTURE.md is the map with the reasons.
//! Core modules (`smtp` … `dns`) are pure: bytes, events and `now` in; bytes, events and decisions out.
//! `runtime` owns every system call and knows no mail. `shard` is where the two meet.

pub mod id;
pub mod time;
pub mod limits;
pub mod names;
pub mod config;

pub mod smtp;
pub mod mail;
pub mod policy;
pub mod shaping;
pub mod spool;
pub mod queue;
pub mod route;
pub mod dns;
pub mod templates;

pub mod runtime;
pub mod observe;

pub mod shard;

pub mod control;
pub mod lookup;
pub mod inspect;
pub mod import;
pub mod check;
pub mod node;
