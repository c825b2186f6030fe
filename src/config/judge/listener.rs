//! What would start and should not: who may relay where, and what a listener takes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::config::literal::{quoted, quoted_list};
use crate::config::value::show_size;
use crate::config::{Config, ConfigError, Kind, ListenerConfig, Network};
use crate::limits;

/// Each listener, in order.
pub(super) fn judge(config: &Config, shards: usize, found: &mut Vec<ConfigError>) {
    for (at, listener) in config.listeners.iter().enumerate() {
        judge_relaying(config, at, listener, found);
        judge_kind(config, at, listener, found);
        judge_proxies(config, at, listener, found);
        judge_nodes(config, at, listener, found);
        judge_listener(config, at, listener, shards, found);
    }
}

/// Who may relay, against who can reach the listener.
fn judge_relaying(config: &Config, at: usize, listener: &ListenerConfig, found: &mut Vec<ConfigError>) {
    let key = format!("listener[{at}].relay_from");
    let reachable = listener.address.ip().is_some_and(|address| !address.to_canonical().is_loopback());
    let wide: Vec<_> = listener.relay_from.iter().filter(|network| is_everybody(network)).collect();
    if reachable && !wide.is_empty() {
        let names: Vec<_> = wide.iter().map(ToString::to_string).collect();
        let problem = format!(
            "OPEN RELAY: {} {} strangers relay through {}; spammers find such a relay within hours, and then receivers block its address",
            names.join(" and "),
            if names.len() == 1 { "lets" } else { "let" },
            listener.address
        );
        let kept = listener.relay_from.iter().filter(|network| !is_everybody(network));
        let kept: Vec<_> = kept.map(ToString::to_string).collect();
        let ours = ["127.0.0.0/8", "::1", "10.0.0.0/8"].map(str::to_owned).to_vec();
        let kept = if listener.relay_from.iter().all(|one| is_everybody(one) || is_loopback(one)) {
            ours
        } else {
            kept
        };
        let more = " with the networks of your own clients, or give them accounts";
        found.push(config.places.propose(&key, problem, &quoted_list(&kept), more));
    }
    let here = listener.relay_from.iter().all(is_loopback);
    let accounts = config.accounts.is_some() && listener.has_tls();
    if reachable && here && !accounts && listener.gateway.domains.is_empty() {
        let problem = format!(
            "{} is open to others, and only this machine may relay there: they get 550 5.7.1",
            listener.address
        );
        let more = " with the networks of your clients, or set auth.accounts and a certificate";
        found.push(config.places.propose(&key, problem, "[\"127.0.0.0/8\", \"::1\", \"10.0.0.0/8\"]", more));
    }
}

/// What clients of a port expect of it.
fn judge_kind(config: &Config, at: usize, listener: &ListenerConfig, found: &mut Vec<ConfigError>) {
    let usual = Kind::ALL.into_iter().find(|kind| Some(kind.port()) == listener.address.port());
    let Some(usual) = usual.filter(|usual| *usual != listener.kind) else { return };
    let others = !listener.relay_from.is_empty() || !listener.gateway.domains.is_empty();
    if usual == Kind::Submission && listener.kind == Kind::Relay && !others {
        return;
    }
    let problem = match usual {
        Kind::Relay => "other servers send to port 25, and cannot log in".to_owned(),
        Kind::Submission if listener.kind.is_tls_first() => {
            "clients of port 587 say STARTTLS, and wait for a greeting without TLS (RFC 6409)".to_owned()
        }
        Kind::Submission => {
            "port 587 is for those who log in, and here others are let in too (RFC 6409)".to_owned()
        }
        Kind::Submissions => {
            "clients of port 465 begin with TLS, and are greeted without (RFC 8314)".to_owned()
        }
    };
    let more = ", or use another port";
    found.push(config.places.propose(&format!("listener[{at}].kind"), problem, &quoted(usual.word()), more));
}

/// Whose word is taken for what mail was before, against who may relay.
fn judge_nodes(config: &Config, at: usize, listener: &ListenerConfig, found: &mut Vec<ConfigError>) {
    let nodes = &listener.proxy.handover;
    let wide: Vec<_> =
        nodes.iter().filter(|network| is_everybody(network)).map(ToString::to_string).collect();
    if !wide.is_empty() {
        let problem = format!(
            "whoever may relay from {} has his mail pass rules, quotas and signing by, and says whose it is",
            wide.join(" and ")
        );
        let key = format!("listener[{at}].handover_from");
        found.push(config.places.propose(
            &key,
            problem,
            "[\"10.0.0.0/24\"]",
            " with the addresses of your nodes",
        ));
    }
}

/// Whose word is taken for who a client is, against who can reach the listener.
fn judge_proxies(config: &Config, at: usize, listener: &ListenerConfig, found: &mut Vec<ConfigError>) {
    let proxy = &listener.proxy;
    for (name, networks, whose) in
        [("proxy_from", &proxy.from, "balancers"), ("xclient_from", &proxy.xclient, "gateways")]
    {
        let wide: Vec<_> = networks.iter().filter(|network| is_everybody(network)).collect();
        if wide.is_empty() {
            continue;
        }
        let names: Vec<_> = wide.iter().map(ToString::to_string).collect();
        let problem = format!(
            "OPEN RELAY: whoever connects from {} says himself from which address, also one of relay_from",
            names.join(" and ")
        );
        let more = format!(" with the addresses of your {whose}");
        let key = format!("listener[{at}].{name}");
        found.push(config.places.propose(&key, problem, "[\"10.0.0.10/32\"]", &more));
    }
}

fn judge_listener(
    config: &Config,
    at: usize,
    listener: &ListenerConfig,
    shards: usize,
    found: &mut Vec<ConfigError>,
) {
    let key = |name: &str| format!("listener[{at}].{name}");
    if listener.connections_per_client > listener.connections_max {
        let problem = format!(
            "{} connections of one client are more than the {} of all",
            listener.connections_per_client, listener.connections_max
        );
        let literal = listener.connections_max.to_string();
        let more = " or less, so that one client cannot take all";
        found.push(config.places.propose(&key("connections_per_client"), problem, &literal, more));
    }
    let size = listener.message_size_max;
    if size < limits::MESSAGE_SIZE_SMALL {
        let problem =
            format!("messages over {} are refused: most mail with a picture is larger", show_size(size));
        found.push(config.places.propose(&key("message_size_max"), problem, "\"50MiB\"", ", what is usual"));
    } else if size > limits::MESSAGE_SIZE_DOUBTED {
        let problem = format!("{} is more than any large receiver takes (25 to 150 MB)", show_size(size));
        found.push(config.places.propose(&key("message_size_max"), problem, "\"150MiB\"", " or less"));
    }
    if let Some(room) = room_of_lane(config, shards)
        && size > room
    {
        let problem = format!(
            "a message of {} never fits: of spool.size_max {} each of {shards} shards has {} for mail",
            show_size(size),
            show_size(config.spool.size_max),
            show_size(room)
        );
        let fitting = show_size((room >> 20 << 20).max(limits::SEGMENT_SIZE_MIN));
        found.push(config.places.propose(
            &key("message_size_max"),
            problem,
            &quoted(&fitting),
            ", or raise spool.size_max",
        ));
    }
    if listener.auth.is_some_and(|auth| !auth.is_empty())
        && (config.accounts.is_none() || listener.tls.is_none())
    {
        let problem = "nobody can log in here: that takes auth.accounts and a certificate";
        let fix = "set both, or leave auth out";
        found.push(config.places.remark(&key("auth"), problem, fix));
    }
    let Some(address) = listener.address.network() else { return };
    if address.port() == 0 {
        let problem = "port 0 is another free port at each start";
        let usual = SocketAddr::new(address.ip(), 25).to_string();
        found.push(config.places.propose(&key("address"), problem, &quoted(&usual), ""));
    }
    let v4 = |other: &ListenerConfig| {
        other.address.network().is_some_and(|other| other.port() == address.port() && other.is_ipv4())
    };
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !config.listeners.iter().any(v4) {
        let problem = format!("{} takes IPv6 clients only", listener.address);
        let fix =
            format!("add another [[listener]] with address = \"0.0.0.0:{}\" for the others", address.port());
        found.push(config.places.remark(&key("address"), problem, fix));
    }
}

/// What each lane has for mail of clients, by `size_max`; None: as much as the disk has.
fn room_of_lane(config: &Config, shards: usize) -> Option<u64> {
    let spool = &config.spool;
    let segments = (spool.size_max / spool.segment_size) as usize / shards.max(1);
    let segments = segments.max(limits::SEGMENTS_RESERVED + 2) - limits::SEGMENTS_RESERVED;
    // One of them is being filled, and its header and a commit header take a little.
    (spool.size_max > 0).then(|| segments as u64 * (spool.segment_size - (1 << 20)))
}

fn is_loopback(network: &Network) -> bool {
    match network.address {
        IpAddr::V4(address) => address.is_loopback() && network.bits >= 8,
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST && network.bits == 128,
    }
}

/// Whether it is so wide that most of it must be strangers: an IPv4 /8 of public addresses, an IPv6 prefix wider than a provider gets.
fn is_everybody(network: &Network) -> bool {
    match network.address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            let private = network.bits == 8 && matches!(first, 10 | 127);
            network.bits <= 8 && !private
        }
        // fc00::/7 and fe80::/10 are nobody else's.
        IpAddr::V6(address) => {
            let head = address.segments()[0];
            let private = (network.bits >= 7 && head & 0xfe00 == 0xfc00)
                || (network.bits >= 10 && head & 0xffc0 == 0xfe80);
            network.bits < 29 && !private
        }
    }
}
