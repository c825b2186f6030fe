//! The DNS as a mail relay needs it: questions, what answers mean, and a cache by TTL. Pure; `shard::outbound::resolve` does the asking.

pub mod cache;
mod failure;
mod gather;
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
    /// Texts.
    Txt,
    /// Names of an address.
    Ptr,
    /// What certificate a server has (RFC 6698).
    Tlsa,
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
    /// Texts, each of the strings of one record in a row, at most [`crate::limits::DNS_TEXTS_KEPT`].
    Texts(Vec<Vec<u8>>),
    /// Names of an address, in lower case, at most [`crate::limits::DNS_NAMES_KEPT`].
    Names(Vec<String>),
    /// Certificates of a server, at most [`crate::limits::DNS_ASSOCIATIONS_KEPT`].
    Associations(Vec<TlsAssociation>),
    /// The name exists and has nothing of this kind.
    NoData,
    /// There is no such name.
    NoDomain,
}

/// What one TLSA record says (RFC 6698 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsAssociation {
    /// Whose certificate it is, and who must vouch for it.
    pub usage: u8,
    /// Which part of the certificate.
    pub selector: u8,
    /// How that is hashed.
    pub matching: u8,
    /// The part, or its hash.
    pub data: Box<[u8]>,
}

/// A result and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupResult {
    /// What there is, or why nobody could say.
    pub answer: Result<Answer, LookupError>,
    /// For how long that may be believed.
    pub ttl: Duration,
    /// The server calls it authentic (RFC 4035 section 3.2.3), and is believed.
    pub secure: bool,
}
