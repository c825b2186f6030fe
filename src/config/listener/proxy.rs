//! `proxy_from`, `proxy_tls`, `xclient_from` and `handover_from` of a listener: whose word is taken for who a client is, and for what its mail was before.

use std::net::IpAddr;

use crate::config::literal::{Fix, boolean, list};
use crate::config::section::Section;
use crate::config::{Network, guess, value};

/// Balancers in front of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// `proxy_from`: networks whose connections begin with a header of the PROXY protocol, and are those that it says. Default: none.
    pub from: Vec<Network>,
    /// `proxy_tls`: what it says of TLS is taken for TLS.
    pub tls: bool,
    /// `xclient_from`: networks of gateways, which say by XCLIENT for whom they are there. Default: none.
    pub xclient: Vec<Network>,
    /// `handover_from`: networks of nodes of the same operator, whose mail goes on as it was there when they are emptied. Default: none.
    pub handover: Vec<Network>,
}

impl ProxyConfig {
    /// Whether what connects from there is a proxy.
    pub fn is_at(&self, address: IpAddr) -> bool {
        self.from.iter().any(|network| network.contains(address))
    }

    /// Whether a client there may say for whom it is there.
    pub fn may_introduce(&self, address: IpAddr) -> bool {
        self.xclient.iter().any(|network| network.contains(address))
    }
}

pub(super) fn read(section: &Section<'_>) -> ProxyConfig {
    let networks = |key: &'static str| {
        section.read(key, Vec::new(), |value| list(value, value::network, guess::network, "10.0.0.10/32"))
    };
    let (from, xclient) = (networks("proxy_from"), networks("xclient_from"));
    let handover = networks("handover_from");
    let tls = section.read("proxy_tls", false, boolean);
    if tls && from.is_empty() {
        let fix = "name the addresses of your balancers in proxy_from, or remove it";
        section.fail("proxy_tls", "", "there is no proxy here", Fix::Do(fix.to_owned()));
    }
    ProxyConfig { from, tls, xclient, handover }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(keys: &str) -> Result<ProxyConfig, String> {
        let text = format!("[[listener]]\naddress = \"127.0.0.1:25\"\n{keys}\n");
        let config = Config::parse(&text, Path::new("relevo.toml"));
        config
            .map(|config| config.listeners[0].proxy.clone())
            .map_err(|mut wrong| wrong.remove(0).to_string())
    }

    #[test]
    fn nobody_is_a_proxy_who_is_not_named() {
        let at = |config: &ProxyConfig, address: &str| config.is_at(address.parse().unwrap());
        let none = read("").unwrap();
        assert_eq!(none, ProxyConfig::default());
        assert!(!at(&none, "127.0.0.1") && !at(&none, "::1"), "nor is this machine");
        let two = read("proxy_from = [\"10.0.0.10\", \"fd00::/64\"]\nproxy_tls = true").unwrap();
        assert!(at(&two, "10.0.0.10") && at(&two, "::ffff:10.0.0.10") && at(&two, "fd00::9") && two.tls);
        assert!(!at(&two, "10.0.0.11") && !at(&two, "fd00:1::9"));
        let gateways = read("xclient_from = [\"10.0.0.10\"]").unwrap();
        let address = "10.0.0.10".parse().unwrap();
        assert!(gateways.may_introduce(address) && !gateways.is_at(address));
        assert!(!two.may_introduce(address) && !none.may_introduce("127.0.0.1".parse().unwrap()));
        let nodes = read("handover_from = [\"10.0.0.0/24\"]").unwrap();
        assert!(nodes.handover.len() == 1 && !nodes.may_introduce(address) && !nodes.is_at(address));
        assert!(none.handover.is_empty(), "nor is this machine a node");
        let error = read("proxy_tls = true").unwrap_err();
        assert!(error.contains("there is no proxy here"), "{error}");
        assert!(read("proxy_from = [\"balancer.example\"]").is_err(), "a name says nothing of who connects");
    }
}
