//! `address` of a listener: on the network, or the path of a Unix socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use toml::de::DeValue;

use crate::config::literal::{Wrong, parsed, quoted};
use crate::config::{guess, value};
use crate::limits;

/// What a path begins with.
const SCHEME: &str = "unix:";

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// At an address and a port.
    Network(SocketAddr),
    /// At a Unix socket with this path.
    Path(Arc<Path>),
}

impl ListenAddress {
    /// On the network.
    pub fn network(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Network(address) => Some(*address),
            ListenAddress::Path(_) => None,
        }
    }

    /// The port there.
    pub fn port(&self) -> Option<u16> {
        self.network().map(|address| address.port())
    }

    /// The address there.
    pub fn ip(&self) -> Option<IpAddr> {
        self.network().map(|address| address.ip())
    }

    /// Another one close to it, as a proposal.
    pub(super) fn next(&self) -> ListenAddress {
        match self {
            ListenAddress::Network(address) => {
                let mut other = *address;
                other.set_port(other.port().wrapping_add(1).max(1));
                other.into()
            }
            ListenAddress::Path(path) => {
                ListenAddress::Path(Path::new(&format!("{}2", path.display())).into())
            }
        }
    }

    /// Whether it is another one each time.
    pub fn is_any_port(&self) -> bool {
        self.port() == Some(0)
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> ListenAddress {
        ListenAddress::Network(address)
    }
}

impl FromStr for ListenAddress {
    type Err = value::BadValue;

    /// As the configuration has it.
    fn from_str(text: &str) -> Result<ListenAddress, value::BadValue> {
        match text.strip_prefix(SCHEME) {
            Some(path) if is_usable(path) => Ok(ListenAddress::Path(Path::new(path).into())),
            Some(_) => {
                Err(value::BadValue::Unusable("a socket's path is absolute, and has 107 bytes at most"))
            }
            None => value::listening(text).map(ListenAddress::Network),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Network(address) => address.fmt(formatter),
            ListenAddress::Path(path) => write!(formatter, "{SCHEME}{}", path.display()),
        }
    }
}

/// A path that the kernel takes as a name, and that means the same wherever the process stands.
fn is_usable(path: &str) -> bool {
    let named = Path::new(path).file_name().is_some() && !path.ends_with('/');
    path.starts_with('/')
        && named
        && path.len() <= limits::SOCKET_PATH_MAX
        && !path.contains(char::is_control)
}

pub(super) fn read(value: &DeValue<'_>, usual: &str) -> Result<ListenAddress, Wrong> {
    match value.as_str() {
        Some(text) if text.starts_with(SCHEME) => text.parse().map_err(|bad: value::BadValue| {
            let problem = format!("{} cannot be used", quoted(text));
            Wrong::write(problem, quoted("unix:/run/relevo/smtp.sock"), &format!(" ({})", bad.grammar()))
        }),
        _ => parsed(value, value::listening, guess::listening, usual).map(ListenAddress::Network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_it_is_read() {
        for text in ["unix:/run/relevo/smtp.sock", "127.0.0.1:25", "[::1]:587"] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.network().is_none(), text.starts_with("unix:"));
        }
        let long = format!("unix:/{}", "x".repeat(limits::SOCKET_PATH_MAX));
        assert!(long[..long.len() - 1].parse::<ListenAddress>().is_ok());
        for text in ["unix:", "unix:/", "unix:smtp.sock", "unix:/run/", "unix:/run/..", "unix:/a\nb", &long] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
