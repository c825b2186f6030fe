//! The keys of `[cluster]` by which nodes look at each other.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::hook::HookUrl;
use crate::config::literal::{Fix, Wrong, list, path, quoted, text};
use crate::config::section::Section;
use crate::config::value::{self, BadValue};
use crate::config::{Network, Password};
use crate::limits;
use toml::de::DeValue;

/// How this node and the others of its cluster are found and asked.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetConfig {
    /// The cluster.
    pub name: Box<str>,
    /// Where others ask this node, as it says to Redis; None: it does not say.
    pub advertise: Option<HookUrl>,
    /// Where nodes are, as the operator knows; this one may be among them.
    pub nodes: Vec<HookUrl>,
    /// Where the token goes without TLS, and to nodes that only Redis names.
    pub networks: Vec<Network>,
    /// Where the token stands that other nodes are asked with.
    pub token_file: Option<PathBuf>,
    /// What stands there; empty until it was read, and where there is no file.
    pub token: Password,
}

impl FleetConfig {
    /// Whether the operator names the network of this address.
    pub fn names(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

const USUAL: &str = "http://10.0.0.5:8025";

/// What the keys say; which of them stand there is judged by [`judge`].
pub(super) fn read(section: &Section<'_>, name: &str) -> FleetConfig {
    let advertise = section.read("advertise", None, |value| {
        let words = text(value, USUAL)?;
        if words.is_empty() { Ok(None) } else { place(words).map(Some).map_err(|_| wrong(words)) }
    });
    let nodes: Vec<HookUrl> =
        section.read("nodes", Vec::new(), |value: &DeValue<'_>| list(value, place, meant, USUAL));
    let networks =
        section.read("networks", Vec::new(), |value| list(value, value::network, |_| None, "10.0.0.0/24"));
    let token_file = section.read("token_file", None, |value| path(value, "/etc/relevo/cluster.token"));
    FleetConfig { name: name.into(), advertise, nodes, networks, token_file, token: Password::default() }
}

/// Says what does not fit together.
pub(super) fn judge(section: &Section<'_>, fleet: &FleetConfig, has_redis: bool) {
    let FleetConfig { nodes, networks, token_file, .. } = fleet;
    if fleet.advertise.is_some() && !has_redis {
        let fix = Fix::Do("name this node in nodes of the others, or say where Redis is in redis".to_owned());
        section.fail("advertise", "", "nobody is told, as there is no redis", fix);
    }
    for (key, most, count) in [
        ("nodes", limits::FLEET_NODES_MAX, nodes.len()),
        ("networks", limits::FLEET_NETWORKS_MAX, networks.len()),
    ] {
        if count > most {
            section.fail(key, "", &format!("there are more than {most}"), Fix::Do("remove some".to_owned()));
        }
        if count > 0 && token_file.is_none() && section.lacks("token_file") {
            let fix = Fix::Do("make a token for it on each node by `relevo token add cluster --role read`, and name the file that has it in token_file".to_owned());
            section.fail(key, "", "other nodes are asked with a token, and there is none", fix);
        }
    }
    if let Some((_, twice)) = nodes.iter().enumerate().find(|(at, url)| nodes[..*at].contains(url)) {
        let fix = Fix::Do("remove one of the two".to_owned());
        section.fail("nodes", "", &format!("{} is there twice", bare(twice)), fix);
    }
    let is_open = |url: &&HookUrl| {
        let address = url.host.parse::<IpAddr>();
        !url.tls
            && match address {
                Ok(address) => !address.to_canonical().is_loopback() && !fleet.names(address),
                Err(_) => *url.host != *"localhost" && networks.is_empty(),
            }
    };
    if let Some(open) = nodes.iter().find(is_open) {
        let fix = Fix::Do("write https://, or name its network in networks, as [\"10.0.0.0/24\"]".to_owned());
        let words = format!(
            "the token would go to {} without TLS, which it does in networks that are named only",
            bare(open)
        );
        section.fail("nodes", "", &words, fix);
    }
}

/// `http://10.0.0.5:8025`: nothing behind the port.
pub fn place(words: &str) -> Result<HookUrl, BadValue> {
    const WRONG: BadValue =
        BadValue::Syntax("where a control.http is: http://10.0.0.5:8025, or https://host");
    HookUrl::parse(words).filter(|url| *url.path == *"/").ok_or(WRONG)
}

/// As it was written, without a path.
pub fn bare(url: &HookUrl) -> String {
    format!("{}://{}", if url.tls { "https" } else { "http" }, url.authority())
}

fn meant(words: &str) -> Option<String> {
    place(&format!("http://{words}")).ok().map(|url| bare(&url))
}

fn wrong(words: &str) -> Wrong {
    let meant = meant(words).unwrap_or_else(|| USUAL.to_owned());
    Wrong::write(
        format!("{} is not where a control.http is", quoted(words)),
        quoted(&meant),
        ", or https://host",
    )
}
