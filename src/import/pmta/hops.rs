//! Hosts that a `<domain>` sends its mail to.

use std::collections::BTreeSet;

use super::parse::Node;
use crate::import::words::{self, quoted};

/// One of the hosts that mail goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// Its name or address, as sections of shaping files have it.
    pub host: String,
    pub url: String,
}

/// As `to` of a route.
pub(super) fn to(hops: &[Hop]) -> String {
    match hops {
        [one] => quoted(&one.url),
        all => {
            let each: Vec<String> =
                all.iter().map(|hop| format!("{{ to = {} }}", quoted(&hop.url))).collect();
            format!("[{}]", each.join(", "))
        }
    }
}

/// Where a block sends its mail itself.
pub(super) fn of_block(block: &Node) -> Option<Vec<Hop>> {
    let node = block.last("smtp-hosts").or_else(|| block.last("route"))?;
    hops(&node.value)
}

/// `[192.0.2.1]:25, mail.example.com`, `lookup-mx:example.com`: up to 16 hosts.
pub(super) fn hops(text: &str) -> Option<Vec<Hop>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let word = word.trim_start_matches("lookup-mx:").trim_start_matches("lookup:");
        let (host, port) = match word.strip_prefix('[') {
            Some(inner) => {
                let (host, rest) = inner.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => word.split_once(':').map_or((word, None), |(host, port)| (host, Some(port))),
        };
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if !is_address && !words::is_domain(host) {
            return None;
        }
        let name = host.to_ascii_lowercase();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let port: Option<u16> = port.map(str::parse).transpose().ok()?;
        let url = port.map_or(format!("smtp://{host}"), |port| format!("smtp://{host}:{port}"));
        if seen.insert(url.clone()) {
            found.push(Hop { host: name, url });
        }
    }
    (1..=16).contains(&found.len()).then_some(found)
}
