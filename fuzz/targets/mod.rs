//! The bodies of the fuzz targets: plain functions of bytes that panic when something that must hold does not.
//!
//! Compiled twice: by the fuzz crate, for libFuzzer, and by `tests/corpora.rs`, for the ordinary `cargo test`. So the two
//! cannot drift apart. How to run and how to add one: `fuzz/README.md`.

mod accounts;
mod admit;
mod cluster;
mod command;
mod config;
mod data;
mod dkim;
mod dns;
mod fold;
mod handover;
mod hook;
mod import;
mod incoming;
mod input;
mod lane;
mod lines;
mod mail;
mod merge;
mod needle;
mod pickup;
mod policy;
mod proxy;
mod record;
mod reply;
mod resp;
mod rolled;
mod server;
mod seven_bit;
mod shaping;
mod suppression;
mod tokens;

pub use accounts::accounts;
pub use admit::admit;
pub use cluster::cluster;
pub use command::command;
pub use config::config;
pub use data::data;
pub use dkim::dkim;
pub use dns::{cache, dns};
pub use fold::fold;
pub use handover::handover;
pub use hook::hook;
pub use import::{import_kumo, import_pmta, import_postfix};
pub use incoming::incoming;
pub use lines::lines;
pub use mail::{address, bounce};
pub use merge::merge;
pub use needle::needle;
pub use pickup::pickup;
pub use policy::policy;
pub use proxy::proxy;
pub use record::record;
pub use reply::{client, reply};
pub use resp::resp;
pub use rolled::rolled;
pub use server::server;
pub use seven_bit::seven_bit;
pub use shaping::shaping;
pub use suppression::suppression;
pub use tokens::tokens;

/// A target: its name, which is also that of its corpus directory and its binary; its body; and how many mutated inputs the
/// ordinary test run tries (what a few seconds allow without optimisation).
pub type Target = (&'static str, fn(&[u8]), u32);

/// All targets.
#[allow(dead_code, reason = "the binaries name their one target; the table is for tests/corpora.rs")]
pub const ALL: [Target; 34] = [
    ("record", record, 2000),
    ("fold", fold, 400),
    ("command", command, 4000),
    ("server", server, 1000),
    ("reply", reply, 2000),
    ("client", client, 4000),
    ("data", data, 2000),
    ("admit", admit, 1000),
    ("handover", handover, 2000),
    ("dns", dns, 4000),
    ("cache", cache, 2000),
    ("config", config, 2000),
    ("address", address, 4000),
    ("proxy", proxy, 4000),
    ("bounce", bounce, 2000),
    ("seven_bit", seven_bit, 3000),
    ("shaping", shaping, 2000),
    ("dkim", dkim, 2000),
    ("incoming", incoming, 600),
    ("suppression", suppression, 4000),
    ("accounts", accounts, 2000),
    ("lines", lines, 2000),
    ("tokens", tokens, 2000),
    ("resp", resp, 4000),
    ("needle", needle, 4000),
    ("rolled", rolled, 1000),
    ("hook", hook, 3000),
    ("policy", policy, 3000),
    ("cluster", cluster, 3000),
    ("pickup", pickup, 3000),
    ("merge", merge, 3000),
    ("import_postfix", import_postfix, 400),
    ("import_pmta", import_pmta, 400),
    ("import_kumo", import_kumo, 400),
];
