//! The one gate that every address passes before mail is sent to it, however the address was found.
//!
//! What the DNS says is a stranger's word: it must not lead to this machine, to nowhere, or into networks only we can reach. What the
//! operator's routes say is the operator's own; only a route back into one of our listeners is refused, as it would never end.
//! Forms of IPv6 that stand for an IPv4 address are judged as that address too: a translator on the way would make it one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Config, PrivateNetworks};
use crate::limits;

/// Who named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The DNS, for a domain that a client named; or the client itself, in an address literal.
    Stranger,
    /// A route of the configuration.
    Operator,
}

/// Why nothing is sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateRefusal {
    /// One of our own listeners is there: the mail would come back to us (RFC 5321 section 5.1).
    Loop,
    /// It is this machine.
    ThisMachine,
    /// No host can be there: unspecified, reserved, multicast, broadcast, or of this link only.
    Nowhere,
    /// A network that is not part of the public Internet.
    Private,
}

impl GateRefusal {
    /// Subject and detail of the RFC 3463 status.
    pub fn detail(self) -> (u16, u16) {
        match self {
            GateRefusal::Loop | GateRefusal::ThisMachine => (4, 6),
            GateRefusal::Nowhere | GateRefusal::Private => (4, 4),
        }
    }

    /// Whether mail is returned for it. What a route says is the operator's fault and is mended by him: mail waits for that, and nothing is sent.
    pub fn is_permanent(self, named_by: NamedBy) -> bool {
        named_by == NamedBy::Stranger
    }
}

impl fmt::Display for GateRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            GateRefusal::Loop => "leads back to this relay: the mail would loop",
            GateRefusal::ThisMachine => "is this machine",
            GateRefusal::Nowhere => "is no address of a host",
            GateRefusal::Private => {
                "is in a private network, and this relay sends mail there by explicit route only"
            }
        })
    }
}

/// An address that passed the gate. Only [`Gate::admit`] makes one, and connections for mail are opened to nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdmittedAddress(SocketAddr);

impl AdmittedAddress {
    /// Where it is.
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

/// What the gate goes by.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// The machine's addresses, sorted.
    own: Vec<IpAddr>,
    /// These are all of them.
    complete: bool,
    listeners: Vec<SocketAddr>,
    allow_own: bool,
    private: PrivateNetworks,
    /// A planted defect: it stands open.
    open: bool,
}

/// Where clouds tell a machine its secrets; never a mail host, even where private networks are allowed.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
/// The same for IPv6.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Where connections over the network come in: no next hop of ours is reached at a Unix socket by its address.
fn own_listeners(settings: &Config) -> impl Iterator<Item = SocketAddr> {
    settings.listeners.iter().filter_map(|listener| listener.address.network())
}

impl Gate {
    /// The gate of a configuration whose listeners have their ports; it knows no own addresses yet.
    pub fn new(settings: &Config) -> Gate {
        Gate {
            own: Vec::new(),
            complete: false,
            listeners: own_listeners(settings).map(canonical).collect(),
            allow_own: settings.delivery.allow_loopback_mx,
            private: settings.delivery.private_networks,
            open: false,
        }
    }

    /// Whether both let the same addresses pass on the same machine.
    pub fn same_rules_as(&self, other: &Gate) -> bool {
        let Gate { own: _, complete: _, listeners, allow_own, private, open: _ } = self;
        *listeners == other.listeners && *allow_own == other.allow_own && *private == other.private
    }

    /// What the configuration says is what it says to another; what is known of the machine stays.
    pub fn configure(&mut self, other: &Gate) {
        self.listeners.clone_from(&other.listeners);
        (self.allow_own, self.private) = (other.allow_own, other.private);
    }

    /// The machine's addresses are these now.
    pub fn learn(&mut self, mut own: Vec<IpAddr>) {
        self.complete = own.len() < limits::OWN_ADDRESSES_MAX;
        own.iter_mut().for_each(|address| *address = address.to_canonical());
        own.sort_unstable();
        own.dedup();
        own.truncate(limits::OWN_ADDRESSES_MAX);
        self.own = own;
    }

    /// Whether all of the machine's addresses are known. If not, each that is to be judged is first asked for, with what it may stand for
    /// ([`Gate::in_question`]), and told by [`Gate::learn_one`] if it is the machine's.
    pub fn knows_all(&self) -> bool {
        self.complete
    }

    /// An address and those it may stand for, as far as they are not known to be the machine's.
    pub fn in_question(&self, address: IpAddr) -> Vec<IpAddr> {
        let address = address.to_canonical();
        let inner = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(embedded(address)),
        };
        let inner = inner.into_iter().flatten().map(IpAddr::V4);
        [address].into_iter().chain(inner).filter(|one| !self.is_own(*one)).collect()
    }

    /// This address is the machine's, among others that nobody knows.
    pub fn learn_one(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        if self.own.len() >= limits::OWN_ADDRESSES_MAX {
            self.own.pop();
        }
        if let Err(place) = self.own.binary_search(&address) {
            self.own.insert(place, address);
        }
    }

    /// For a test that proves that its like would be noticed: everything passes.
    pub fn plant_open(&mut self) {
        self.open = true;
    }

    /// Judges one address.
    pub fn admit(&self, to: SocketAddr, named_by: NamedBy) -> Result<AdmittedAddress, GateRefusal> {
        let to = canonical(to);
        if self.open {
            return Ok(AdmittedAddress(to));
        }
        if self.is_listener(to) {
            return Err(GateRefusal::Loop);
        }
        self.judge(to.ip(), named_by)?;
        if let IpAddr::V6(address) = to.ip() {
            for inner in embedded(address) {
                let inner = IpAddr::V4(inner);
                if self.is_listener(SocketAddr::new(inner, to.port())) {
                    return Err(GateRefusal::Loop);
                }
                self.judge(inner, named_by)?;
            }
            // The translators there are a network's own, with prefixes of any length (RFC 8215): what it stands for is not known.
            let local = matches!(address.segments(), [0x64, 0xff9b, 1, ..]);
            if local && named_by == NamedBy::Stranger && self.private == PrivateNetworks::Refuse {
                return Err(GateRefusal::Private);
            }
        }
        Ok(AdmittedAddress(to))
    }

    /// Whether one of our own listeners has this port.
    pub fn listens_on(&self, port: u16) -> bool {
        self.listeners.iter().any(|listener| listener.port() == port)
    }

    /// Whether a connection there would reach one of our own listeners.
    fn is_listener(&self, to: SocketAddr) -> bool {
        let here = self.is_own(to.ip()) || to.ip().is_loopback() || to.ip().is_unspecified();
        self.listeners.iter().any(|listener| {
            let same_family = listener.is_ipv4() == to.is_ipv4();
            // To connect to the unspecified address is to connect to the loopback.
            let reached = listener.ip() == to.ip()
                || listener.ip().is_unspecified() && here
                || to.ip().is_unspecified() && listener.ip().is_loopback();
            listener.port() == to.port() && same_family && reached
        })
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own.binary_search(&address).is_ok()
    }

    fn judge(&self, address: IpAddr, named_by: NamedBy) -> Result<(), GateRefusal> {
        if is_nowhere(address) {
            return Err(GateRefusal::Nowhere);
        }
        if named_by == NamedBy::Operator {
            return Ok(());
        }
        if address.is_loopback() || self.is_own(address) {
            return if self.allow_own { Ok(()) } else { Err(GateRefusal::ThisMachine) };
        }
        if is_of_this_link(address) || is_metadata(address) || is_unassigned(address) {
            return Err(GateRefusal::Nowhere);
        }
        if self.private == PrivateNetworks::Refuse && is_private(address) {
            return Err(GateRefusal::Private);
        }
        Ok(())
    }
}

fn canonical(to: SocketAddr) -> SocketAddr {
    SocketAddr::new(to.ip().to_canonical(), to.port())
}

/// Nobody can be reached there by TCP, whoever says so.
fn is_nowhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // 0/8 "this network" and 240/4 (RFC 6890), broadcast included; multicast.
            let first = address.octets()[0];
            first == 0 || first >= 224
        }
        IpAddr::V6(address) => {
            let segments = address.segments();
            // IPv4-compatible addresses (::a.b.c.d, :: included) were given up by RFC 4291 section 2.5.5.1.
            let compatible = segments[..6] == [0; 6] && address != Ipv6Addr::LOCALHOST;
            address.is_multicast() || compatible
        }
    }
}

/// 169.254.0.0/16 and fe80::/10: the same address is another host on each link.
fn is_of_this_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Outside of 2000::/3, of what is translated and of what is private there are no hosts (IANA's registry of IPv6 address space).
fn is_unassigned(address: IpAddr) -> bool {
    let IpAddr::V6(v6) = address else { return false };
    let segments = v6.segments();
    let translated = matches!(segments, [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..])
        || segments[..5] == [0, 0, 0, 0, 0xffff];
    segments[0] & 0xe000 != 0x2000 && !translated && !is_private(address)
}

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => METADATA_V4.contains(&address),
        IpAddr::V6(address) => METADATA_V6.contains(&address),
    }
}

/// RFC 1918, RFC 6598 (shared), RFC 2544 (benchmarks), 192.0.0.0/24 (RFC 6890); RFC 4193 and the site-local fec0::/10;
/// 2001:2::/48 (benchmarks, RFC 5180).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            address.is_private()
                || a == 100 && b & 0xc0 == 64
                || a == 198 && b & 0xfe == 18
                || [a, b, c] == [192, 0, 0]
        }
        IpAddr::V6(address) => {
            let segments = address.segments();
            segments[0] & 0xfe00 == 0xfc00
                || segments[0] & 0xffc0 == 0xfec0
                || matches!(segments, [0x2001, 2, 0, ..])
        }
    }
}

/// The IPv4 addresses an IPv6 address may stand for.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let segments = address.segments();
    let bits = address.to_bits();
    let v4 = |bits: u128| Ipv4Addr::from_bits(bits as u32);
    let low = v4(bits);
    let found = match segments {
        // ::a.b.c.d, and ::ffff:0:a.b.c.d of stateless translators (RFC 2765).
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => [Some(low), None],
        // NAT64 (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => [Some(low), None],
        // Its local prefix (RFC 8215): a /96 of it, or the /48 itself, which has eight bits of nothing in the middle.
        [0x64, 0xff9b, 1, ..] => {
            let middle = v4((bits >> 64 & 0xffff) << 16 | bits >> 40 & 0xffff);
            let low = Some(low).filter(|low| !low.is_unspecified() || middle.is_unspecified());
            [low, Some(middle).filter(|middle| !middle.is_unspecified())]
        }
        // 6to4 (RFC 3056).
        [0x2002, ..] => [Some(v4(bits >> 80)), None],
        // Teredo (RFC 4380): the server, and the client with its bits turned.
        [0x2001, 0, ..] => [Some(v4(bits >> 64)), Some(v4(!bits))],
        // ISATAP (RFC 5214), under any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [Some(low), None],
        _ => [None, None],
    };
    let none = address == Ipv6Addr::LOCALHOST || address == Ipv6Addr::UNSPECIFIED;
    found.into_iter().flatten().filter(move |_| !none)
}

#[cfg(test)]
mod tests;
