//! How TLS is used with next hops: `tls` of a route. What `enable_tls` of shaping files says is one of the same levels (`route::site`).

use toml::de::DeValue;

use crate::config::literal::{Wrong, word};

/// What mail asks of the connection that it goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsLevel {
    /// Never, but where a route wants it from the first byte.
    Off,
    /// Where it is offered (RFC 7435), with any certificate; else, and where it breaks, plain text.
    Opportunistic,
    /// Mail waits where there is none. Any certificate will do.
    Required,
    /// Mail waits where there is none with a certificate that is valid for the host.
    Verified,
}

impl TlsLevel {
    /// All of them, from the least on.
    pub const ALL: [TlsLevel; 4] =
        [TlsLevel::Off, TlsLevel::Opportunistic, TlsLevel::Required, TlsLevel::Verified];

    /// As a route has it.
    pub fn name(self) -> &'static str {
        match self {
            TlsLevel::Off => "off",
            TlsLevel::Opportunistic => "opportunistic",
            TlsLevel::Required => "require",
            TlsLevel::Verified => "verify",
        }
    }

    /// Mail that is sent so goes …
    pub fn words(self) -> &'static str {
        match self {
            TlsLevel::Off => "in plain text",
            TlsLevel::Opportunistic => "under TLS where it is offered",
            TlsLevel::Required => "under TLS only",
            TlsLevel::Verified => "only under TLS, to hosts with a valid certificate",
        }
    }

    /// Whether mail waits where there is none.
    pub fn is_required(self) -> bool {
        self >= TlsLevel::Required
    }

    pub(super) fn read(value: &DeValue<'_>) -> Result<TlsLevel, Wrong> {
        word(value, TlsLevel::ALL.map(|level| (level.name(), level)))
    }
}
