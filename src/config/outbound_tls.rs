//! `[tls]`: what domains say of TLS to their hosts, and whether that is obeyed.

use crate::config::literal::{boolean, port};
use crate::config::section::Section;

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Policies of domains are fetched and obeyed (MTA-STS, RFC 8461).
    pub mta_sts: bool,
    /// Port that policies are fetched from; 443 but in tests.
    pub mta_sts_port: u16,
}

pub(super) fn read(section: &Section<'_>) -> TlsConfig {
    let tls = TlsConfig {
        mta_sts: section.read("mta_sts", true, boolean),
        mta_sts_port: section.read("mta_sts_port", 443, |value| port(value, 443)),
    };
    section.finish();
    tls
}
