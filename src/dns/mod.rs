//! The DNS as a mail relay needs it: questions, what answers mean, and a cache by TTL. Pure; `shard::outbound::resolve` does the asking.

pub mod cache;
mod failure;
pub mod latest;
pub mod message;
mod packed;
pub mod servers;

pub use failure::{LookupError, ServerError};

use std::net::IpAddr;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueryType {
    /// Mail exchangers.
    Mx,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// MX records.
    Mx {
        /// Preference and host, the preferred first; a host of "." is the null MX (RFC 7505). At most
        /// [`crate::limits::MX_HOSTS_KEPT`] of at most [`crate::limits::MX_NAMES_MAX`] bytes in all.
        hosts: Vec<(u16, String)>,
        /// There were more.
        cut: bool,
    },
    /// Addresses, in the order they came, at most [`crate::limits::HOST_ADDRESSES_KEPT`].
    Addresses(Vec<IpAddr>),
    /// The name exists and has nothing of this kind.
    NoData,
    /// There is no such name.
    NoDomain,
}

/// A result and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupResult {
    /// What there is, or why nobody could say.
    pub answer: Result<Answer, LookupError>,
    /// For how long that may be believed.
    pub ttl: Duration,
}
