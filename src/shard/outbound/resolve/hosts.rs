//! What the machine's own table says of hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::DnsConfig;
use crate::dns::latest::ResolverFiles;
use crate::route::Host;
use crate::route::gate::NamedBy;

/// What the machine's files said when a configuration was read.
pub(super) fn files(dns: &DnsConfig) -> ResolverFiles {
    ResolverFiles { servers: dns.servers.clone(), hosts: dns.known.clone() }
}

/// Of one that a route names. Strangers' names are not looked up there.
pub(super) fn known(files: &ResolverFiles, host: &Host) -> Option<Vec<IpAddr>> {
    if host.named_by == NamedBy::Stranger {
        return None;
    }
    let name = host.name.strip_suffix('.').unwrap_or(&host.name).to_ascii_lowercase();
    let mut known = match files.hosts.get(&*name) {
        Some(known) => known.clone(),
        None if name == "localhost" => {
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
        }
        None => return None,
    };
    known.sort_by_key(IpAddr::is_ipv6);
    Some(known)
}
