//! Relaying by network. Default deny: an empty list allows nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Network;

/// What `relay_from` is unless configured: the machine itself.
pub const LOOPBACK: [Network; 2] = [
    Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
    Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
];

/// Whether a client at `address` may relay without authenticating.
pub fn may_relay(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(networks: &[Network], address: &str) -> bool {
        may_relay(networks, address.parse().unwrap())
    }

    #[test]
    fn an_empty_list_allows_nobody() {
        assert!(!check(&[], "127.0.0.1") && !check(&[], "::1"));
    }

    #[test]
    fn loopback_is_the_machine_itself_in_every_spelling() {
        for address in ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"] {
            assert!(check(&LOOPBACK, address), "{address}");
        }
        for address in
            ["128.0.0.1", "126.255.255.255", "::2", "::", "0.0.0.0", "::127.0.0.1", "::ffff:128.0.0.1"]
        {
            assert!(!check(&LOOPBACK, address), "{address}");
        }
    }

    #[test]
    fn a_family_is_not_the_other() {
        let all4 = Network { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 0 };
        let all6 = Network { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), bits: 0 };
        assert!(check(&[all4], "203.0.113.9") && !check(&[all4], "2001:db8::1"));
        assert!(check(&[all6], "2001:db8::1") && !check(&[all6], "203.0.113.9"));
        // A mapped address is an IPv4 client on a dual-stack socket.
        assert!(check(&[all4], "::ffff:203.0.113.9") && !check(&[all6], "::ffff:203.0.113.9"));
    }
}
