//! How much of our mail a destination gets, and what its replies change about that: files in KumoMTA's shaping format.
//!
//! [`mod@file`] reads one file, [`layers`] puts several over each other and says what holds for a domain, a site and a source, with the line
//! that says so; [`check`] finds what can never take effect. All of it is pure: text in, values and findings out.

pub mod key;
pub mod value;
pub mod pace;
pub mod rated;
pub mod window;
pub mod pattern;
mod reading;
pub mod provider;
pub mod rule;
pub mod file;
pub mod layers;
pub mod ages;
pub mod answers;
pub mod automation;
pub mod warmup;
pub mod check;

#[cfg(test)]
mod tests;

pub use reading::{FileLine, Findings};
