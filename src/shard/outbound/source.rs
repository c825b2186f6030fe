//! Beside connect: a stream to a host by a source: from its address, or through its proxy.
//!
//! What is the source's fault, its address that is not on this machine or its proxy that does not answer, is told apart from what is the
//! host's: that says nothing of the host, and no other host would fare better.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{Proxy, ProxyKind};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::route::Endpoint;
use crate::route::egress::Source;
use crate::route::gate::AdmittedAddress;
use crate::runtime::{Defect, Runtime, Stream};
use crate::shard::Shard;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::wire::{Wire, WireError};
use crate::time::Instant;

/// Why a source has no way to an address; None: it has one, as far as can be told.
fn no_way(source: &Source, to: &Endpoint) -> Option<HopError> {
    let to = to.ip()?;
    let by_proxy = matches!(&source.config.proxy, Some(Proxy { kind: ProxyKind::Socks5, .. }));
    let lacks =
        !by_proxy && source.config.addresses().next().is_some() && source.config.towards(to).is_none();
    let kind = if to.is_ipv4() { "IPv4" } else { "IPv6" };
    lacks.then(|| {
        HopError::NoAddress(format!("source {} has no address of {kind}, and {to} is one", source.name()))
    })
}

/// Connects to a host by a source; None: by the node's own addresses. When that took too long the stream is given up.
pub(super) async fn connect<R: Runtime>(
    shard: &Shard<R>,
    source: Option<&Source>,
    to: &Endpoint,
    patience: Duration,
) -> Result<Wire<R>, HopError> {
    let refused = |error| HopError::Connect(to.clone(), error);
    let address = match to {
        Endpoint::Network(address) => address.address(),
        Endpoint::Socket(path) => {
            return ready(shard, shard.runtime.connect_path(path), patience).await.map_err(refused);
        }
    };
    let Some(source) = source else {
        return ready(shard, shard.runtime.connect(None, address), patience).await.map_err(refused);
    };
    if let Some(why) = source.held() {
        return Err(HopError::Source(why.into()));
    }
    if let Some(error) = no_way(source, to) {
        return Err(error);
    }
    let by = source.config.towards(address.ip());
    match &source.config.proxy {
        Some(proxy) => through(shard, (source, proxy), by, (to, address), patience).await,
        None => {
            if let Some(by) = by.filter(|by| source.is_missing(*by) && source.has_beside(*by)) {
                return Err(HopError::NoAddress(gone(source, by)));
            }
            let stream = shard.runtime.connect(by, address);
            if let (Err(error), Some(by)) = (&stream, by)
                && error.kind() == io::ErrorKind::AddrNotAvailable
                && !shard.runtime.has_address(by).unwrap_or(true)
            {
                note_address(shard, source, by, false);
                let words = gone(source, by);
                // It is no source for these hosts, and one for the others.
                let works = source.has_beside(by);
                return Err(if works { HopError::NoAddress(words) } else { HopError::Source(words) });
            }
            ready(shard, stream, patience).await.map_err(refused)
        }
    }
}

/// What is said of a source whose address is not here.
pub(super) fn gone(source: &Source, by: IpAddr) -> String {
    format!("source {}: {by} is no address of this machine", source.name())
}

/// An address of a source is on this machine, or not: that is said once where the source works by another one meanwhile.
pub(super) fn note_address<R: Runtime>(shard: &Shard<R>, source: &Source, address: IpAddr, is_here: bool) {
    if !source.set_missing(address, !is_here) || !source.has_beside(address) {
        return;
    }
    let name = source.name();
    if is_here {
        shard.say(Level::Info, format_args!("source {name}: {address} is an address of this machine again"));
    } else {
        let kind = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let why = gone(source, address);
        shard.say(Level::Error, format_args!("{why}: until it is, the source connects to no host of {kind}"));
    }
}

/// What is said of a source whose proxy does not work.
fn dead(source: &Source, proxy: &Proxy, why: impl fmt::Display) -> HopError {
    HopError::Source(format!("source {}: its proxy {proxy}: {why}", source.name()))
}

/// A connection by a source ended before the host greeted: what that was, the host's fault or that of the source's proxy.
pub(super) fn unheard<R: Runtime>(
    shard: &Shard<R>,
    source: &Source,
    (site, to): (&str, &Endpoint),
    (begun, error): (Instant, HopError),
) -> HopError {
    let silent = |to| source.unheard(site, to, (begun, shard.runtime.now()));
    match (&source.config.proxy, to) {
        (Some(proxy), Endpoint::Network(to))
            if !shard.runtime.planted(Defect::SilenceUncounted) && silent(*to) =>
        {
            mute(source, proxy)
        }
        _ => error,
    }
}

/// What is said of a source whose proxy takes connections, and no more.
fn mute(source: &Source, proxy: &Proxy) -> HopError {
    dead(source, proxy, "it takes connections, and no host greets through it")
}

/// Whether a host greets through the proxy of a source that was silent.
pub(super) async fn is_heard<R: Runtime>(
    shard: &Shard<R>,
    (source, proxy): (&Source, &Proxy),
    to: AdmittedAddress,
) -> Result<(), HopError> {
    let (address, to) = (to.address(), Endpoint::Network(to));
    let by = source.config.towards(address.ip());
    let mut wire = match through(shard, (source, proxy), by, (&to, address), limits::PROXY_LOOK).await {
        Err(HopError::Connect(..)) => return Err(mute(source, proxy)),
        result => result?,
    };
    wire.limit(&shard.timers, limits::PROXY_LOOK);
    let heard = read(&mut wire, &mut [0]).await;
    wire.close();
    heard.map_err(|_| mute(source, proxy))
}

/// Waits until a connection is there.
async fn ready<R: Runtime>(
    shard: &Shard<R>,
    stream: io::Result<R::Stream>,
    patience: Duration,
) -> io::Result<Wire<R>> {
    let wire = Wire::<R>::new(stream?, &shard.timers);
    wire.limit(&shard.timers, patience);
    wire.writable().await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    wire.stream().take_error()?;
    Ok(wire)
}

/// Whether the proxy of a source takes connections.
pub(super) async fn is_there<R: Runtime>(
    shard: &Shard<R>,
    source: &Source,
    proxy: &Proxy,
    patience: Duration,
) -> Result<(), HopError> {
    let stream = shard.runtime.connect(None, proxy.at);
    let mut wire = ready(shard, stream, patience).await.map_err(|error| dead(source, proxy, error))?;
    if proxy.kind == ProxyKind::Socks5 {
        greet(&mut wire, proxy).await.map_err(|why| dead(source, proxy, why))?;
    }
    wire.close();
    Ok(())
}

async fn through<R: Runtime>(
    shard: &Shard<R>,
    (source, proxy): (&Source, &Proxy),
    by: Option<IpAddr>,
    (to, address): (&Endpoint, SocketAddr),
    patience: Duration,
) -> Result<Wire<R>, HopError> {
    let stream = shard.runtime.connect(None, proxy.at);
    let mut wire = ready(shard, stream, patience).await.map_err(|error| dead(source, proxy, error))?;
    match proxy.kind {
        ProxyKind::Haproxy => {
            let header = header(by.map(|by| SocketAddr::new(by, 0)), address);
            wire.send(&header).await.map_err(|error| dead(source, proxy, error))?;
        }
        ProxyKind::Socks5 => {
            greet(&mut wire, proxy).await.map_err(|why| dead(source, proxy, why))?;
            match ask(&mut wire, address).await {
                Ok(()) => {}
                Err(ProxyFailure::Host(kind)) => return Err(HopError::Connect(to.clone(), kind.into())),
                Err(ProxyFailure::Proxy(why)) => return Err(dead(source, proxy, why)),
            }
        }
    }
    Ok(wire)
}

/// The header of the PROXY protocol, version 2 (section 2.2 of its description): a connection from one of the proxy's addresses to a host.
fn header(by: Option<SocketAddr>, to: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    let (family, length) = if to.is_ipv4() { (0x11, 12u16) } else { (0x21, 36) };
    header.push(family);
    header.extend_from_slice(&length.to_be_bytes());
    // One of its own choice, where it was told none.
    let none = if to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0u16; 8]) };
    let by = by.unwrap_or(SocketAddr::new(none, 0));
    for end in [by, to] {
        octets(end.ip(), &mut header);
    }
    for end in [by, to] {
        header.extend_from_slice(&end.port().to_be_bytes());
    }
    header
}

fn octets(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
}

/// Why a proxy does not connect.
enum ProxyFailure {
    /// It cannot reach the host.
    Host(io::ErrorKind),
    /// For reasons of its own.
    Proxy(String),
}

/// Why a proxy takes no request.
enum NoGreeting {
    /// The connection broke.
    Broken(WireError),
    Refused,
    NoLogins,
    WantsLogin,
    NotSocks,
}

impl From<WireError> for NoGreeting {
    fn from(error: WireError) -> NoGreeting {
        NoGreeting::Broken(error)
    }
}

impl fmt::Display for NoGreeting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            NoGreeting::Broken(error) => return error.fmt(formatter),
            NoGreeting::Refused => "it refuses the user and password",
            NoGreeting::NoLogins => "it takes no user and password",
            NoGreeting::WantsLogin => "it wants a user and password",
            NoGreeting::NotSocks => "it does not speak SOCKS5",
        })
    }
}

/// How to authenticate (RFC 1928 section 3), and that (RFC 1929 section 2).
async fn greet<R: Runtime>(wire: &mut Wire<R>, proxy: &Proxy) -> Result<(), NoGreeting> {
    let (none, password) = (0, 2);
    let method = if proxy.login.is_some() { password } else { none };
    wire.send(&[5, 1, method]).await?;
    let mut chosen = [0; 2];
    read(wire, &mut chosen).await?;
    match (chosen, &proxy.login) {
        ([5, chosen], None) if chosen == none => Ok(()),
        ([5, chosen], Some(login)) if chosen == password => {
            let mut said = vec![1];
            for part in [&login.user, &login.password] {
                said.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                said.extend_from_slice(part.as_bytes());
            }
            wire.send(&said).await?;
            let mut answer = [0; 2];
            read(wire, &mut answer).await?;
            if answer[1] == 0 { Ok(()) } else { Err(NoGreeting::Refused) }
        }
        ([5, _], Some(_)) => Err(NoGreeting::NoLogins),
        ([5, _], None) => Err(NoGreeting::WantsLogin),
        _ => Err(NoGreeting::NotSocks),
    }
}

/// CONNECT (RFC 1928 sections 4 to 6).
async fn ask<R: Runtime>(wire: &mut Wire<R>, to: SocketAddr) -> Result<(), ProxyFailure> {
    let mut asked = vec![5, 1, 0, if to.is_ipv4() { 1 } else { 4 }];
    octets(to.ip(), &mut asked);
    asked.extend_from_slice(&to.port().to_be_bytes());
    let broken = |error: WireError| match error {
        // It waits for the host as we do for it.
        WireError::TimedOut => ProxyFailure::Host(io::ErrorKind::TimedOut),
        error => ProxyFailure::Proxy(error.to_string()),
    };
    wire.send(&asked).await.map_err(broken)?;
    let mut answer = [0; 4];
    read(wire, &mut answer).await.map_err(broken)?;
    let [version, code, _, kind] = answer;
    if version != 5 {
        return Err(ProxyFailure::Proxy("it does not speak SOCKS5".to_owned()));
    }
    match code {
        0 => {}
        3 => return Err(ProxyFailure::Host(io::ErrorKind::NetworkUnreachable)),
        4 => return Err(ProxyFailure::Host(io::ErrorKind::HostUnreachable)),
        5 => return Err(ProxyFailure::Host(io::ErrorKind::ConnectionRefused)),
        6 => return Err(ProxyFailure::Host(io::ErrorKind::TimedOut)),
        2 => return Err(ProxyFailure::Proxy("its rules do not allow the connection".to_owned())),
        8 => return Err(ProxyFailure::Proxy(format!("it does not connect to addresses like {to}"))),
        other => return Err(ProxyFailure::Proxy(format!("it failed (SOCKS5 reply {other})"))),
    }
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => {
            let mut length = [0];
            read(wire, &mut length).await.map_err(broken)?;
            usize::from(length[0])
        }
        _ => return Err(ProxyFailure::Proxy("it does not speak SOCKS5".to_owned())),
    };
    // The address that it connects from, and the port: of no use to us.
    let mut bound = [0; u8::MAX as usize + 2];
    read(wire, &mut bound[..length + 2]).await.map_err(broken)
}

/// Receives so many bytes, and no more: the greeting of the host may be behind them.
async fn read<R: Runtime>(wire: &mut Wire<R>, mut buffer: &mut [u8]) -> Result<(), WireError> {
    while !buffer.is_empty() {
        wire.readable().await?;
        match wire.try_recv(buffer) {
            Ok(0) => return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(received) => buffer = &mut buffer[received..],
            Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_from_where_to_where() {
        let four = header(Some("192.0.2.1:0".parse().unwrap()), "198.51.100.2:25".parse().unwrap());
        assert_eq!(four[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
        assert_eq!(four[16..], [192, 0, 2, 1, 198, 51, 100, 2, 0, 0, 0, 25]);
        let six = header(Some("[2001:db8::1]:0".parse().unwrap()), "[2001:db8::2]:25".parse().unwrap());
        assert_eq!((six[13], six[14..16].to_vec(), six.len()), (0x21, vec![0, 36], 16 + 36));
        assert_eq!((six[16 + 15], six[16 + 31], six[51]), (1, 2, 25));
    }
}
