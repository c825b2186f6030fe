//! A relay elsewhere, as a command asks it: HTTP, under TLS by the authorities of this machine, or without.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::runtime::authorities;

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    has_tls: bool,
    /// Without brackets.
    host: String,
    port: u16,
    authority: String,
}

/// A connection to it.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

impl Remote {
    /// That of `http://host:port` or `https://host:port`; None: it is no such URL.
    pub fn parse(url: &str) -> Option<Remote> {
        let (has_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return None,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<IpAddr>().is_ok())?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => {
                if has_tls {
                    443
                } else {
                    80
                }
            }
            None => return None,
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return None;
        }
        Some(Remote { has_tls, host: host.to_owned(), port, authority: authority.to_owned() })
    }

    /// As the Host field names it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether others read what is said to it.
    pub fn is_open(&self) -> bool {
        let is_here = self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        !self.has_tls && !is_here
    }

    /// Connects, and sees to it that it is who it is to be.
    pub async fn connect(&self) -> io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        if !self.has_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(verifying()?));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

fn verifying() -> io::Result<ClientConfig> {
    let trusted = authorities::trusted().map_err(|none| io::Error::other(none.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(trusted);
    if usable == 0 {
        return Err(io::Error::other(
            "this machine trusts no authority: install the package ca-certificates",
        ));
    }
    let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_it_is() {
        for (url, host, port, is_open) in [
            ("http://127.0.0.1:8025", "127.0.0.1", 8025, false),
            ("http://localhost/", "localhost", 80, false),
            ("http://[::1]:8025", "::1", 8025, false),
            ("https://relay.example.net", "relay.example.net", 443, false),
            ("http://relay.example.net:8025", "relay.example.net", 8025, true),
            ("http://localhost.example.net", "localhost.example.net", 80, true),
        ] {
            let remote = Remote::parse(url).expect(url);
            assert_eq!((&*remote.host, remote.port, remote.is_open()), (host, port, is_open), "{url}");
        }
        for url in [
            "",
            "relay.example.net",
            "ftp://x",
            "http://",
            "http://x:0",
            "http://x:99999",
            "http://u@x",
            "http://x/control",
            "http://[x]",
            "http://x y",
        ] {
            assert_eq!(Remote::parse(url), None, "{url}");
        }
    }
}
