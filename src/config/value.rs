//! The small languages inside configuration strings: durations, sizes, networks, patterns.
//!
//! Each parser says what the value should look like, or why it will not do ([`BadValue`]).

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::limits;
use crate::mail::address::{self, international};

/// An address prefix, as in `127.0.0.0/8` or `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The prefix; bits past `bits` are zero.
    pub address: IpAddr,
    /// Length of the prefix.
    pub bits: u8,
}

impl std::fmt::Display for Network {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// Whether `address` is inside. An IPv4-mapped IPv6 address is judged as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// A pattern of recipient domains. Exact beats suffix, a longer suffix beats a shorter one, `*` comes last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// `example.com`, lower case.
    Exact(String),
    /// `*.example.com` (stored as `example.com`): every name below it, not itself.
    Suffix(String),
    /// `*`
    Any,
}

/// `bare_newlines` of a listener: a CR or LF in a message that is not part of a CRLF. Either way only CRLF.CRLF ends a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareNewlines {
    /// 550 5.6.11 after the dot.
    #[default]
    Refuse,
    /// Stored, and sent on, as CRLF.
    Normalise,
}

/// `private_networks` of `[delivery]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateNetworks {
    /// An MX there is no host to deliver to.
    #[default]
    Refuse,
    /// An MX there is as good as any.
    Allow,
}

/// Why a text is no value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// It is not understood; how it is written.
    Syntax(&'static str),
    /// It is understood and cannot be used; why, and what to do.
    Unusable(&'static str),
    /// A time that is longer than any key takes.
    TooLong,
}

impl BadValue {
    /// How a value is written, or why this one cannot be used.
    pub(super) fn grammar(self) -> &'static str {
        match self {
            BadValue::Syntax(words) | BadValue::Unusable(words) => words,
            BadValue::TooLong => "at most 366d",
        }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if matches!(self, BadValue::Syntax(_)) { "write " } else { "" };
        write!(formatter, "{verb}{}", self.grammar())
    }
}

impl Error for BadValue {}

/// `30s`, `1m`, `2h`, `5d`, `100ms`, `20us`, or several in a row: `1h30m`.
pub fn duration(text: &str) -> Result<Duration, BadValue> {
    const FIX: BadValue = BadValue::Syntax("a number with a unit: 100ms, 30s, 5m, 2h, 5d");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(FIX);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(FIX)?;
        let number: u64 = rest[..digits].parse().map_err(|_| FIX)?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let micros: u64 = match &rest[..letters] {
            "us" => 1,
            "ms" => 1000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return Err(FIX),
        };
        rest = &rest[letters..];
        let span = number.checked_mul(micros).ok_or(BadValue::TooLong)?;
        total = total.saturating_add(Duration::from_micros(span));
    }
    if total <= limits::CONFIG_TIME_MAX { Ok(total) } else { Err(BadValue::TooLong) }
}

/// The shortest way to write a duration: one unit where that is exact, else several: `1h30m`. Below a microsecond nothing is said.
pub fn show_duration(span: Duration) -> String {
    let mut left = span.as_micros() as u64;
    let units: [(u64, &str); 6] = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1000, "ms"),
        (1, "us"),
    ];
    if left == 0 {
        return "0ms".to_owned();
    }
    // Above a few of the larger unit, or where one unit alone says it.
    if left < 60_000_000
        && let Some((unit, name)) = units[3..].iter().find(|(unit, _)| left.is_multiple_of(*unit))
    {
        return format!("{}{name}", left / unit);
    }
    let mut shown = String::new();
    for (unit, name) in units {
        if left >= unit {
            shown += &format!("{}{name}", left / unit);
            left %= unit;
        }
    }
    shown
}

/// Bytes: `64MiB`, `50MB`, `10k`, `4096`.
pub fn size(text: &str) -> Result<u64, BadValue> {
    const FIX: BadValue =
        BadValue::Syntax("bytes as a number, or with a unit: 4096, 64KiB, 50MB, 64MiB, 1GiB");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| FIX)?;
    let unit = match text[digits..].trim_start() {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "kB" | "KB" => 1000,
        "M" | "MiB" => 1 << 20,
        "MB" => 1_000_000,
        "G" | "GiB" => 1 << 30,
        "GB" => 1_000_000_000,
        "T" | "TiB" => 1 << 40,
        "TB" => 1_000_000_000_000,
        _ => return Err(FIX),
    };
    number.checked_mul(unit).ok_or(FIX)
}

/// The shortest way to write a size.
pub fn show_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 7] = [
        (1 << 40, "TiB"),
        (1_000_000_000_000, "TB"),
        (1 << 30, "GiB"),
        (1_000_000_000, "GB"),
        (1 << 20, "MiB"),
        (1_000_000, "MB"),
        (1 << 10, "KiB"),
    ];
    let whole = UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map_or(bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit))
}

/// `10.0.0.0/8`, `::1`.
pub fn network(text: &str) -> Result<Network, BadValue> {
    const FIX: BadValue = BadValue::Syntax("an address or a prefix: 10.0.0.0/8, 192.0.2.7, 2001:db8::/32");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| FIX)?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| FIX)?;
    if address.is_ipv6() && address.to_canonical().is_ipv4() {
        return Err(BadValue::Syntax("IPv4 networks as such: 10.0.0.0/8"));
    }
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(widest);
    if bits > widest {
        return Err(FIX);
    }
    let network = Network { address, bits };
    if network.contains(address) {
        Ok(network)
    } else {
        Err(BadValue::Unusable("bits after the prefix are set; write the network's first address"))
    }
}

/// `exact`, `*.suffix`, `*`.
pub fn pattern(text: &str) -> Result<DomainPattern, BadValue> {
    const FIX: BadValue = BadValue::Syntax("a domain, \"*.domain\" for all below it, or \"*\" for all");
    let literal = |text: &str| address::is_literal(text.as_bytes()).then(|| text.to_ascii_lowercase());
    let named = |domain| international::domain_of(domain).or_else(|| literal(domain)).ok_or(FIX);
    if text == "*" {
        Ok(DomainPattern::Any)
    } else if let Some(suffix) = text.strip_prefix("*.") {
        Ok(DomainPattern::Suffix(named(suffix)?))
    } else {
        Ok(DomainPattern::Exact(named(text)?))
    }
}

/// What no host answers at.
pub(super) const NOBODYS: BadValue = BadValue::Unusable("no host has this address; write that of one host");

pub(super) fn is_nobodys(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let never = match address {
        // 0/8 is "this network" and 240/4 is reserved (RFC 6890).
        IpAddr::V4(address) => address.octets()[0] == 0 || address.octets()[0] >= 240,
        // ::a.b.c.d was given up (RFC 4291 section 2.5.5.1).
        IpAddr::V6(address) => address.segments()[..6] == [0; 6] && !address.is_loopback(),
    };
    never || address.is_unspecified() || is_shared(address)
}

/// What an IPv6 socket does not reach: it is for IPv6 alone.
pub(super) const MAPPED: BadValue =
    BadValue::Unusable("this is an IPv4 address within an IPv6 one; write the IPv4 address as such");

pub(super) fn is_mapped(address: IpAddr) -> bool {
    address.to_canonical() != address
}

/// Groups and broadcast: no connection comes of them.
fn is_shared(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Where to listen: port 0 is any that is free.
pub fn listening(text: &str) -> Result<SocketAddr, BadValue> {
    match socket(text, None)? {
        address if is_shared(address.ip().to_canonical()) => Err(BadValue::Unusable(
            "nobody can connect to a group or broadcast address; write an address of this machine",
        )),
        address if is_mapped(address.ip()) => {
            Err(BadValue::Unusable("IPv4 has listeners of its own; write the IPv4 address as such"))
        }
        address => Ok(address),
    }
}

/// Where HTTP is served: somewhere its clients can know of.
pub fn http(text: &str) -> Result<SocketAddr, BadValue> {
    let address = listening(text)?;
    if address.port() == 0 {
        Err(BadValue::Unusable("nobody finds port 0; write address:port, or \"\" for none"))
    } else {
        Ok(address)
    }
}

/// A name server, its port 53 unless it is given.
pub fn name_server(text: &str) -> Result<SocketAddr, BadValue> {
    match socket(text, Some(53))? {
        server if server.port() == 0 => {
            Err(BadValue::Unusable("nobody answers at port 0; name servers do at 53"))
        }
        server if is_mapped(server.ip()) => Err(MAPPED),
        server if is_nobodys(server.ip()) => Err(NOBODYS),
        server => Ok(server),
    }
}

/// Whether one address takes connections that are for the other too. IPv6 listeners take no IPv4 here.
pub(super) fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    wide != narrow
        && wide.port() == narrow.port()
        && wide.port() != 0
        && wide.ip().is_unspecified()
        && wide.is_ipv4() == narrow.is_ipv4()
}

/// An address with a port, or one to which `port` is added.
pub fn socket(text: &str, port: Option<u16>) -> Result<SocketAddr, BadValue> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    match (text.parse(), port) {
        (Ok(address), Some(port)) => Ok(SocketAddr::new(address, port)),
        (_, Some(_)) => Err(BadValue::Syntax(
            "an address, with a port where it is not the usual one: 192.0.2.53, [2001:db8::53]:5353",
        )),
        (_, None) => Err(BadValue::Syntax("address:port, as in 127.0.0.1:2525, 0.0.0.0:25 or [::]:25")),
    }
}

/// Name servers in the text of a resolv.conf. `interface` gives the number of an interface by its name, for addresses of one link
/// (`fe80::1%eth0`, RFC 4007 section 11); one whose link is not known is passed over, as nothing can be sent to it. The first few count.
pub fn name_servers(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.split_whitespace().next());
    let server = |address: &str| {
        let Some((address, zone)) = address.split_once('%') else { return socket(address, Some(53)).ok() };
        let scope = zone.parse().ok().or_else(|| interface(zone))?;
        Some(SocketAddrV6::new(address.parse().ok()?, 53, 0, scope).into())
    };
    addresses.filter_map(server).take(limits::NAME_SERVERS_MAX).collect()
}

/// Hosts in the text of a hosts file (hosts(5)): all addresses of each name, names in lower case. What is no address, as an IPv6
/// address of one link, is passed over; so is what is above the bounds.
pub fn hosts(text: &str) -> HashMap<Box<str>, Vec<IpAddr>> {
    let mut known: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        for name in words {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into_boxed_str();
            if name.len() > limits::DOMAIN_MAX
                || known.len() >= limits::HOSTS_NAMES_MAX && !known.contains_key(&name)
            {
                continue;
            }
            let addresses = known.entry(name).or_default();
            if addresses.len() < limits::HOST_ADDRESSES_KEPT && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        for wrong in ["", "1", "m", "1x", "1m2", "99999999999999999999s", "400d", "366d1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("20us"), Ok(Duration::from_micros(20)));
        for (micros, shown) in
            [(0, "0ms"), (20, "20us"), (1000, "1ms"), (1500, "1500us"), (7_200_000_000, "2h")]
        {
            assert_eq!(show_duration(Duration::from_micros(micros)), shown);
        }
        assert_eq!((size("64MiB"), size("50MB"), size("7")), (Ok(64 << 20), Ok(50_000_000), Ok(7)));
        assert!(size("1XB").is_err() && size("99999999TB").is_err());
        for shown in ["64MiB", "64MB", "1536KiB", "2TiB", "1125TB", "4097", "3GB"] {
            assert_eq!(show_size(size(shown).unwrap()), shown);
        }
    }

    #[test]
    fn networks_and_patterns() {
        assert!(network("10.0.0.0/8").unwrap().contains("10.2.3.4".parse().unwrap()));
        assert!(!network("0.0.0.0/0").unwrap().contains("::1".parse().unwrap()));
        assert!(network("10.0.0.1/8").is_err() && network("10.0.0.0/33").is_err() && network("x").is_err());
        assert_eq!(pattern("*.Example.com"), Ok(DomainPattern::Suffix("example.com".into())));
        assert!(pattern("*x").is_err());
        let text = "search a\nnameserver 192.0.2.1\n nameserver fe80::1%eth0\n#nameserver 1.1.1.1";
        let interface = |name: &str| (name == "eth0").then_some(2);
        let servers: Vec<_> = name_servers(text, interface).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[fe80::1%2]:53"]);
        assert!(name_servers("nameserver fe80::1%wlan7\n", interface).is_empty());
        let many: String = (0..200).map(|number| format!("nameserver 192.0.2.{number}\n")).collect();
        assert_eq!(name_servers(&many, interface).len(), limits::NAME_SERVERS_MAX);
    }

    #[test]
    fn hosts_files() {
        let text = "# comment\n127.0.0.1\tlocalhost\n192.0.2.1 Smart.Example smart # smart2\r\n\
                    2001:db8::1   smart.example.\n192.0.2.1 smart\nfe80::1%eth0 link\nno address\n192.0.2.2\n::1 localhost";
        let known = hosts(text);
        let of = |name: &str| known.get(name).cloned().unwrap_or_default();
        let addresses = |all: &[&str]| all.iter().map(|one| one.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(of("smart.example"), addresses(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(of("smart"), addresses(&["192.0.2.1"]));
        assert_eq!(of("localhost"), addresses(&["127.0.0.1", "::1"]));
        assert_eq!(known.len(), 3, "{known:?}");
        let many: String = (0..30_000).map(|number| format!("192.0.2.1 h{number} again\n")).collect();
        assert_eq!(hosts(&many).len(), limits::HOSTS_NAMES_MAX);
        let many: String = (0..300).map(|number| format!("2001:db8::{number:x} a\n")).collect();
        assert_eq!(hosts(&many)["a"].len(), limits::HOST_ADDRESSES_KEPT);
    }
}
