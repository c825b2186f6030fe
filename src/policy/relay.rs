//! Relaying by network. Default deny: an empty list allows nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Network;

/// What `relay_from` is unless configured: the machine itself.
pub const LOOPBACK: [Network; 2] = [
    Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
    Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
];

/// How a connection comes here, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client itself.
    Direct,
    /// Through a proxy on this machine.
    ProxyHere,
    /// Through one that is elsewhere.
    Proxy,
    /// From a proxy that has not said whose it is, or only looks whether we are there.
    Unnamed,
}

impl Way {
    /// Through a proxy that said whose connection it is.
    pub fn through(proxy: IpAddr) -> Way {
        if proxy.to_canonical().is_loopback() { Way::ProxyHere } else { Way::Proxy }
    }

    /// Whether a client that came this way, from `address` as it is known, may relay without authenticating. The loopback addresses of a proxy that is
    /// elsewhere are those of another machine, and what a proxy does not name is nobody.
    pub fn may_relay(self, networks: &[Network], address: IpAddr) -> bool {
        self.is_in(networks, address)
    }

    /// Whether it is one of these networks', as far as this machine can know.
    pub fn is_in(self, networks: &[Network], address: IpAddr) -> bool {
        match self {
            Way::Unnamed => false,
            Way::Proxy if address.to_canonical().is_loopback() => false,
            Way::Direct | Way::ProxyHere | Way::Proxy => may_relay(networks, address),
        }
    }

    /// Through a gateway at `address`, which came this way itself and says for whom.
    pub fn on_behalf(self, gateway: IpAddr) -> Way {
        match self {
            Way::Direct | Way::ProxyHere => Way::through(gateway),
            Way::Proxy | Way::Unnamed => Way::Proxy,
        }
    }
}

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
    fn another_machines_loopback_is_not_ours() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [&LOOPBACK[..], &[Network { address: address("10.0.0.0"), bits: 8 }]].concat();
        let may = |proxy: &str, client: &str| Way::through(address(proxy)).may_relay(&own, address(client));
        for client in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!may("10.0.0.9", client) && !may("2001:db8::9", client), "{client}");
            for proxy in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                assert!(may(proxy, client), "{client} of this machine, by its own proxy");
            }
        }
        assert!(may("10.0.0.9", "10.1.1.1") && may("127.0.0.1", "10.1.1.1"));
        // A proxy that may relay itself gives that to nobody.
        assert!(!may("10.0.0.9", "192.0.2.1") && !may("127.0.0.1", "192.0.2.1"));
        for client in ["127.0.0.1", "10.0.0.9", "192.0.2.1"] {
            assert!(!Way::Unnamed.may_relay(&own, address(client)));
        }
        assert!(Way::Direct.may_relay(&own, address("127.0.0.1")));
    }

    /// What is here of a client behind a gateway depends on all that are between.
    #[test]
    fn a_gateway_is_a_proxy_too() {
        let [here, there] = ["127.0.0.1", "10.0.0.9"].map(|text| text.parse::<IpAddr>().unwrap());
        for (way, gateway, then) in [
            (Way::Direct, here, Way::ProxyHere),
            (Way::Direct, there, Way::Proxy),
            (Way::ProxyHere, here, Way::ProxyHere),
            (Way::ProxyHere, there, Way::Proxy),
            (Way::Proxy, here, Way::Proxy),
            (Way::Proxy, there, Way::Proxy),
        ] {
            assert_eq!(way.on_behalf(gateway), then, "{way:?} {gateway}");
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
