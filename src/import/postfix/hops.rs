//! `transport:nexthop`, as Postfix writes where mail goes.

use super::listeners::port;
use super::parameters::items;
use super::reader::Reader;
use crate::import::words::{self, quoted};

/// A host that mail goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// As it was written, in lower case: other maps name it so.
    pub written: String,
    /// Its name or address, without brackets.
    pub host: String,
    pub port: Option<u16>,
    /// Whether Postfix would look for its MX records.
    pub by_mx: bool,
}

/// Where mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To the MX of its domain.
    Mx,
    /// To hosts, the next where the one before does not answer.
    Hosts(&'static str, Vec<Hop>),
    /// To a Unix socket, by LMTP.
    Socket(String),
    Discard,
    /// Back, with these words.
    Reject(String),
    /// Nowhere that we know: what to do.
    Nowhere(String),
}

/// One next hop.
pub(super) fn hop(text: &str) -> Option<Hop> {
    let text = text.trim();
    let text = text.strip_prefix("inet:").unwrap_or(text);
    let (host, rest, by_mx) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            (host, rest, false)
        }
        None => match text.split_once(':') {
            Some((host, _)) => (host, &text[host.len()..], true),
            None => (text, "", true),
        },
    };
    let host = host.strip_prefix("ipv6:").or_else(|| host.strip_prefix("IPv6:")).unwrap_or(host);
    let port = match rest.strip_prefix(':') {
        Some(name) => Some(port(name)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    let address = host.parse::<std::net::IpAddr>().is_ok();
    if !address && !words::is_domain(host) {
        return None;
    }
    Some(Hop {
        written: text.to_ascii_lowercase(),
        host: host.to_ascii_lowercase(),
        port,
        by_mx: by_mx && !address,
    })
}

impl Hop {
    /// As a route names it.
    pub fn url(&self, scheme: &str) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }
}

impl Target {
    /// `to` of a route.
    pub fn to(&self) -> Option<String> {
        match self {
            Target::Mx => Some(quoted("mx")),
            Target::Discard => Some(quoted("discard")),
            Target::Socket(path) => Some(quoted(&format!("lmtp:{path}"))),
            Target::Hosts(scheme, hops) => match &hops[..] {
                [one] => Some(quoted(&one.url(scheme))),
                hops => {
                    let each = hops.iter().enumerate().map(|(at, hop)| match at {
                        0 => format!("{{ to = {} }}", quoted(&hop.url(scheme))),
                        at => format!("{{ to = {}, order = {at} }}", quoted(&hop.url(scheme))),
                    });
                    Some(format!("[{}]", each.collect::<Vec<_>>().join(", ")))
                }
            },
            Target::Reject(_) | Target::Nowhere(_) => None,
        }
    }
}

/// The client of this name that master.cf has.
pub(super) fn client(reader: &Reader<'_, '_>, name: &str) -> Option<usize> {
    let is_it = |service: &super::services::Service| {
        service.name == name && service.kind == "unix" && matches!(service.command.as_str(), "smtp" | "lmtp")
    };
    reader.services.iter().position(is_it)
}

/// What `transport:nexthop` means, and which service it names.
pub(super) fn target(reader: &Reader<'_, '_>, text: &str) -> (Target, Option<usize>) {
    let (transport, next) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
    let client = self::client(reader, transport);
    let lmtp = transport == "lmtp" || client.is_some_and(|at| reader.services[at].command == "lmtp");
    let known = client.is_some() || matches!(transport, "" | "smtp" | "relay" | "lmtp");
    let target = match transport {
        "discard" => Target::Discard,
        "error" => Target::Reject(next.trim().to_owned()),
        "retry" => Target::Nowhere(
            "mail that is to wait: relevo suspend --domain DOMAIN --for 1d holds it".to_owned(),
        ),
        "local" | "virtual" => Target::Nowhere(
            "there are no mailboxes here: give the domain a [[route]] to a mail store, as lmtp://host or lmtp:/path".to_owned(),
        ),
        _ if !known => Target::Nowhere(format!(
            "{}: a command that takes mail from Postfix; give it an SMTP or LMTP port, and the domain a [[route]] there",
            words::shown(transport)
        )),
        _ if next.trim().is_empty() => Target::Mx,
        _ if next.trim().starts_with("unix:") => {
            let path = next.trim().trim_start_matches("unix:");
            match path.starts_with('/') {
                true => Target::Socket(path.to_owned()),
                false => {
                    let queue = reader.main.expand("$queue_directory");
                    Target::Socket(format!("{queue}/{path}"))
                }
            }
        }
        _ => self::hosts(reader, next, (lmtp, client)),
    };
    (target, client)
}

fn hosts(reader: &Reader<'_, '_>, next: &str, (lmtp, client): (bool, Option<usize>)) -> Target {
    let wrapped = client
        .and_then(|at| reader.services[at].options.get("smtp_tls_wrappermode"))
        .map(|one| one.value.clone())
        .or_else(|| reader.main.get("smtp_tls_wrappermode").map(|(value, _)| value));
    let scheme = match (lmtp, wrapped.is_some_and(|value| words::yes(&value))) {
        (true, _) => "lmtp",
        (false, true) => "smtps",
        (false, false) => "smtp",
    };
    let hops: Option<Vec<Hop>> = items(next).iter().map(|one| hop(one)).collect();
    match hops {
        Some(hops) if !hops.is_empty() && hops.len() <= 16 => Target::Hosts(scheme, hops),
        _ => Target::Nowhere(format!("{}: no host that can be named in a route", words::shown(next))),
    }
}
