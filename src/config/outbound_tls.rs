//! `[tls]`: what domains say of TLS to their hosts, and whether that is obeyed.

use std::net::SocketAddr;

use crate::config::literal::{boolean, list, port};
use crate::config::section::Section;
use crate::config::{guess, value};

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Policies of domains are fetched and obeyed (MTA-STS, RFC 8461).
    pub mta_sts: bool,
    /// Port that policies are fetched from; 443 but in tests.
    pub mta_sts_port: u16,
    /// Certificates that the DNS names for hosts are obeyed (DANE, RFC 7672).
    pub dane: bool,
    /// Name servers that validate DNSSEC, on a way that nobody else is on: what they call authentic is believed.
    pub trust_ad: Vec<SocketAddr>,
}

pub(super) fn read(section: &Section<'_>) -> TlsConfig {
    let usual = value::name_server("127.0.0.1").into_iter().collect();
    let tls = TlsConfig {
        mta_sts: section.read("mta_sts", true, boolean),
        mta_sts_port: section.read("mta_sts_port", 443, |value| port(value, 443)),
        dane: section.read("dane", true, boolean),
        trust_ad: section.read("trust_ad", usual, |value| {
            list(value, value::name_server, guess::name_server, "127.0.0.1")
        }),
    };
    section.finish();
    tls
}
