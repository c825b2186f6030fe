//! The DNS as a mail relay needs it: questions, what answers mean, and a cache by TTL. Pure; `shard::resolve` does the asking.

pub mod cache;
pub mod message;

use std::net::IpAddr;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
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
    /// Preference and host, unordered; a host of "." is the null MX (RFC 7505).
    Mx(Vec<(u16, String)>),
    /// Addresses, in the order they came.
    Addresses(Vec<IpAddr>),
    /// The name exists and has nothing of this kind.
    NoData,
    /// There is no such name.
    NoDomain,
}

/// A result and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What there is, or why nobody could say.
    pub answer: Result<Answer, String>,
    /// For how long that may be believed.
    pub ttl: Duration,
}

/// No positive answer is believed for longer, whatever its TTL says.
pub const TTL_MAX: Duration = Duration::from_secs(86_400);
/// None is asked for again sooner.
pub const TTL_MIN: Duration = Duration::from_secs(5);
/// A negative answer is believed at most this long (RFC 2308 section 5).
pub const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3 * 3600);
/// A failure is remembered this long, so that a dead zone is not asked for by every message (RFC 2308 section 7).
pub const FAILURE_TTL: Duration = Duration::from_secs(10);
