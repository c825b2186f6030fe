//! Why a domain or a host leads nowhere.

use std::net::IpAddr;

use crate::mail::address;
use crate::route::gate::GateRefusal;
use crate::route::{Host, HostAddress};

/// Why a domain or a host leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unroutable {
    /// For good, or just now.
    pub permanent: bool,
    /// RFC 3463 status.
    pub status: (u8, u16, u16),
    /// In words.
    pub text: String,
    /// It leads back to this relay: what the DNS prefers less leads there too, sooner or later (RFC 5321 section 5.1).
    pub loops: bool,
}

impl std::fmt::Display for Unroutable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

pub(super) fn never(detail: (u16, u16), text: String) -> Unroutable {
    Unroutable { permanent: true, status: (5, detail.0, detail.1), text, loops: false }
}

/// It is a number. Where it is an address as it is written in mail too, its mailboxes may be written so.
pub(super) fn no_domain(domain: &str) -> Unroutable {
    let literal = format!("[{domain}]");
    let advice = match address::is_literal(literal.as_bytes()) {
        true => format!("; a mailbox at an address is written user@{literal}"),
        false => String::new(),
    };
    never((1, 2), format!("{domain} is no domain{advice}"))
}

pub(in crate::shard::outbound) fn not_now(text: String) -> Unroutable {
    Unroutable { permanent: false, status: (4, 4, 3), text, loops: false }
}

/// The gate refused the only address of a host, or all of them.
pub(super) fn refused(host: &Host, address: IpAddr, refusal: GateRefusal) -> Unroutable {
    let (subject, detail) = refusal.detail();
    let permanent = refusal.is_permanent(host.named_by);
    let text = if matches!(host.at, HostAddress::Address(_)) {
        format!("{address} {refusal}")
    } else {
        format!("the host {} has the address {address}, which {refusal}", host.name)
    };
    let class = if permanent { 5 } else { 4 };
    Unroutable { permanent, status: (class, subject, detail), text, loops: refusal == GateRefusal::Loop }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_where_it_helps() {
        let words = no_domain("192.0.2.1").text;
        assert_eq!(words, "192.0.2.1 is no domain; a mailbox at an address is written user@[192.0.2.1]");
        for numeric in ["0177.0.0.1", "0x7f.1", "127.0.1", "017700000001", "256.1.1.1"] {
            assert!(address::is_numeric(numeric));
            assert_eq!(no_domain(numeric).text, format!("{numeric} is no domain"));
        }
    }
}
