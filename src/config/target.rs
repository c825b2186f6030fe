//! Where a route leads, as text: `mx`, an end (`discard`), `smtp://host:port`, `smtps://host`, `lmtp://host:port`, `lmtp:/path`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::config::value::{BadValue, MAPPED, NOBODYS, is_mapped, is_nobodys};
use crate::limits;
use crate::mail::address::{self, international};
use crate::names::ends::End;

/// What is spoken with a host of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// SMTP (RFC 5321), with STARTTLS where it is offered.
    Smtp,
    /// SMTP under TLS from the first byte.
    Smtps,
    /// LMTP (RFC 2033): a mail store, which answers for each recipient.
    Lmtp,
}

impl Scheme {
    fn of(name: &str) -> Option<Scheme> {
        [Scheme::Smtp, Scheme::Smtps, Scheme::Lmtp].into_iter().find(|scheme| scheme.name() == name)
    }

    /// As it is written before `://`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Smtp => "smtp",
            Scheme::Smtps => "smtps",
            Scheme::Lmtp => "lmtp",
        }
    }

    /// The port where none is given. LMTP has none assigned; 24 is the one for private mail systems, and 25 is forbidden to it.
    pub fn port(self) -> u16 {
        match self {
            Scheme::Smtp => 25,
            Scheme::Smtps => 465,
            Scheme::Lmtp => 24,
        }
    }
}

/// Where a route sends its mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteTarget {
    /// The MX hosts of the domain (RFC 5321 section 5).
    Mx,
    /// Nowhere: it ends here, as with `discard`.
    Local(End),
    /// One host, by name or address literal (`smtp://[::1]:2525`).
    Host {
        /// What is spoken there.
        scheme: Scheme,
        /// Name or address in lower case, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `lmtp:/path`: a Unix socket where LMTP is spoken.
    Socket(PathBuf),
}

impl RouteTarget {
    /// A host that speaks SMTP.
    pub fn smtp(host: impl Into<String>, port: u16) -> RouteTarget {
        RouteTarget::Host { scheme: Scheme::Smtp, host: host.into(), port }
    }

    /// One host that is written so: where mail can be led beside the configuration.
    pub fn host(text: &str) -> Result<RouteTarget, BadValue> {
        let syntax =
            BadValue::Syntax("a host like smtp://relay.example.net:25, smtps://host or lmtp://host:port");
        target(text).ok().filter(|target| matches!(target, RouteTarget::Host { .. })).ok_or(syntax)
    }

    /// Whether it is LMTP that is spoken there.
    pub fn speaks_lmtp(&self) -> bool {
        matches!(self, RouteTarget::Socket(_) | RouteTarget::Host { scheme: Scheme::Lmtp, .. })
    }
}

impl fmt::Display for RouteTarget {
    /// As it is written, the port always.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteTarget::Mx => formatter.write_str("mx"),
            RouteTarget::Local(end) => formatter.write_str(end.wanted().unwrap_or(end.word())),
            RouteTarget::Host { scheme, host, port } if host.contains(':') => {
                write!(formatter, "{}://[{host}]:{port}", scheme.name())
            }
            RouteTarget::Host { scheme, host, port } => {
                write!(formatter, "{}://{host}:{port}", scheme.name())
            }
            RouteTarget::Socket(path) => write!(formatter, "lmtp:{}", path.display()),
        }
    }
}

/// One of the places that a route leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Where.
    pub target: RouteTarget,
    /// Its share of the connections to all of its order.
    pub weight: u16,
    /// Those of a lower order are asked before it.
    pub order: u16,
}

impl Choice {
    /// The only one.
    pub fn only(target: RouteTarget) -> Vec<Choice> {
        vec![Choice { target, weight: 1, order: 0 }]
    }
}

/// Reads a target.
pub fn target(text: &str) -> Result<RouteTarget, BadValue> {
    static GRAMMAR: LazyLock<String> = LazyLock::new(|| {
        let ends: String = End::wants().map(|end| format!("{end:?}, ")).collect();
        format!(
            "\"mx\", {ends}\"smtp://host:port\", \"smtps://host\", \"lmtp://host:port\" or \"lmtp:/path\", an IPv6 address in brackets"
        )
    });
    let syntax = || BadValue::Syntax(&GRAMMAR);
    if text == "mx" {
        return Ok(RouteTarget::Mx);
    }
    if let Some(end) = End::wanted_by(text) {
        return Ok(RouteTarget::Local(end));
    }
    if let Some(path) = text.strip_prefix("lmtp:")
        && !path.starts_with("//")
    {
        return socket(path);
    }
    let (scheme, place) = text.split_once("://").ok_or_else(syntax)?;
    let scheme = Scheme::of(scheme).ok_or_else(syntax)?;
    if place.contains('@') {
        return Err(BadValue::Unusable(
            "the relay does not log in to next hops, so there is no place for a name and password; let it in by its address there",
        ));
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(syntax)?;
            host.parse::<Ipv6Addr>().map_err(|_| syntax())?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(syntax)?) };
            (host, port)
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(syntax)?,
        None => scheme.port(),
    };
    if host.parse().is_ok_and(is_mapped) {
        return Err(MAPPED);
    }
    if host.parse().is_ok_and(is_nobodys) {
        return Err(NOBODYS);
    }
    let host = match host.parse::<IpAddr>() {
        Ok(_) => host.to_ascii_lowercase(),
        Err(_) => international::domain_of(host).ok_or_else(syntax)?,
    };
    if host.parse::<IpAddr>().is_err() && address::is_numeric(&host) {
        return Err(BadValue::Unusable(
            "this is no address and no name; write an IPv4 address as four numbers from 0 to 255",
        ));
    }
    if scheme == Scheme::Lmtp && port == Scheme::Smtp.port() {
        return Err(BadValue::Unusable(
            "LMTP is never spoken at port 25 (RFC 2033 section 5); name the port of the mail store",
        ));
    }
    Ok(RouteTarget::Host { scheme, host, port })
}

/// The path of a Unix socket.
fn socket(path: &str) -> Result<RouteTarget, BadValue> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains(char::is_control) {
        return Err(BadValue::Syntax("the whole path of a socket, as in \"lmtp:/run/dovecot/lmtp\""));
    }
    if path.len() > limits::SOCKET_PATH_MAX {
        return Err(BadValue::Unusable(
            "the kernel takes no path of a socket that is longer than 107 bytes; make a shorter one",
        ));
    }
    Ok(RouteTarget::Socket(path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let host = |scheme, host: &str, port| Ok(RouteTarget::Host { scheme, host: host.into(), port });
        for (text, scheme, name, port) in [
            ("smtp://Mail.example", Scheme::Smtp, "mail.example", 25),
            ("smtp://[::1]:2526", Scheme::Smtp, "::1", 2526),
            ("smtp://127.0.0.1:26", Scheme::Smtp, "127.0.0.1", 26),
            ("smtps://mail.example", Scheme::Smtps, "mail.example", 465),
            ("smtps://[::1]", Scheme::Smtps, "::1", 465),
            ("lmtp://store.example", Scheme::Lmtp, "store.example", 24),
            ("lmtp://store.example:2424", Scheme::Lmtp, "store.example", 2424),
        ] {
            let read = target(text);
            assert_eq!(read, host(scheme, name, port), "{text}");
            let again = read.expect("a target").to_string();
            assert_eq!(target(&again), host(scheme, name, port), "{text} is shown as {again}");
        }
        assert_eq!(target("lmtp:/run/dovecot/lmtp"), Ok(RouteTarget::Socket("/run/dovecot/lmtp".into())));
        assert_eq!(target("mx"), Ok(RouteTarget::Mx));
        assert_eq!(target("discard"), Ok(RouteTarget::Local(End::Discarded)));
    }

    #[test]
    fn what_is_no_target() {
        let long = format!("lmtp:/{}", "x".repeat(limits::SOCKET_PATH_MAX));
        for wrong in [
            "",
            "smtp://",
            "smtp://a:0",
            "smtp://a:x",
            "smtp://a:",
            "http://a",
            "smtp://[::1",
            "smtp://[::1]25",
            "lmtp://a:25",
            "lmtp:run/socket",
            "lmtp:/run/",
            "lmtp:",
            "lmtp:///run/socket",
            "smtps:/run/socket",
            "lmtp:/run/a\nb",
            // No address, though it looks like one, and no host's.
            "smtp://192.168.1.300:25",
            "smtp://127.1",
            "smtp://user:password@mail.example",
            "smtps://2130706433",
            "lmtp://0x7f000001:24",
            "smtp://010.0.0.1",
            "smtp://0.0.0.1",
            "smtp://240.0.0.1",
            "smtp://[::127.0.0.1]",
            "Discard",
            &long,
        ] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
        assert!(target(&long[..long.len() - 1]).is_ok());
    }
}
