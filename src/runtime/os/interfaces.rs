//! The addresses of the machine's network interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net;

use crate::limits;

/// All of them, loopback included; of more than [`limits::OWN_ADDRESSES_MAX`] the first. Waits for the kernel: not on a shard's thread.
pub(super) fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is written by the call and freed below, once, if it says that it was made.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: `next` is null or points to an entry of the list, which lives until it is freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: an entry's address is null or that of a socket address of the kind its family says.
        found.extend(unsafe { read(entry.ifa_addr) });
        if found.len() >= limits::OWN_ADDRESSES_MAX {
            break;
        }
        next = entry.ifa_next;
    }
    // SAFETY: made above, and nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
    // Here, and not where they are needed in order.
    found.sort_unstable();
    Ok(found)
}

/// Whether the table that the kernel would send it by has a way to an address. Nothing is sent. It has one where that cannot be asked.
pub(super) fn knows_way(to: IpAddr) -> bool {
    let socket = match socket_for(to) {
        Ok(Some(socket)) => socket,
        // The kernel has no such addresses.
        Ok(None) => return false,
        Err(_) => return true,
    };
    !matches!(net::connect(&socket, &at(to)), Err(Errno::NETUNREACH | Errno::ADDRNOTAVAIL))
}

/// Any port: nothing goes there.
fn at(address: IpAddr) -> SocketAddr {
    const PORT: u16 = 9;
    SocketAddr::new(address, PORT)
}

/// Whether what is sent to an address stays on this machine, by the table that the kernel would send it by: of its own addresses it takes the
/// same for both ends. Nothing is sent. For a second address of a network it takes the first one for the other end; but that it is ours it
/// says to who would have it for his own.
pub(super) fn leads_here(address: IpAddr) -> io::Result<bool> {
    let to = at(address);
    let Some(socket) = socket_for(address)? else { return Ok(false) };
    match net::connect(&socket, &to) {
        Ok(()) => {}
        // Of the machine's resources, not of the way there.
        Err(error @ (Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN)) => return Err(error.into()),
        // There is no way there, or a rule forbids it: a connection would not come up.
        Err(_) => return Ok(false),
    }
    let from = SocketAddr::try_from(net::getsockname(&socket)?)?;
    if from.ip().to_canonical() == address.to_canonical() {
        return Ok(true);
    }
    Ok(may_be_ours(address)? && !may_be_ours(NOBODYS)?)
}

/// Of class E: no machine has it, and the kernel lets it be bound to only where it does so for any address (net.ipv4.ip_nonlocal_bind).
const NOBODYS: IpAddr = IpAddr::V4(Ipv4Addr::new(255, 255, 255, 254));

/// Whether the kernel lets somebody here have an IPv4 address, a unicast one: these alone have a first and a second.
fn may_be_ours(address: IpAddr) -> io::Result<bool> {
    let IpAddr::V4(v4) = address.to_canonical() else { return Ok(false) };
    if v4.is_multicast() { Ok(false) } else { may_be_bound(IpAddr::V4(v4)) }
}

/// Whether the kernel lets somebody here have an address.
pub(super) fn may_be_bound(address: IpAddr) -> io::Result<bool> {
    let Some(socket) = socket_for(address)? else { return Ok(false) };
    match net::bind(&socket, &SocketAddr::new(address, 0)) {
        Ok(()) => Ok(true),
        // No port is free: it has ports, so it is ours.
        Err(Errno::ADDRINUSE) => Ok(true),
        Err(error @ (Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN)) => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// A socket of the address's family; none on a machine without it, which has no such address.
fn socket_for(address: IpAddr) -> io::Result<Option<OwnedFd>> {
    let family = if address.is_ipv4() { net::AddressFamily::INET } else { net::AddressFamily::INET6 };
    match net::socket_with(family, net::SocketType::DGRAM, net::SocketFlags::CLOEXEC, None) {
        Err(Errno::AFNOSUPPORT) => Ok(None),
        socket => Ok(Some(socket?)),
    }
}

/// # Safety
/// `address` is null or points to a socket address that is as long as its family says.
unsafe fn read(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: as promised by the caller; every socket address begins with its family.
    let family = i32::from(unsafe { address.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: the family says that it is one; it may lie unaligned.
            let address = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: the same.
            let address = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_among_them() {
        let found = addresses().unwrap();
        assert!(found.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{found:?}");
    }

    #[test]
    fn what_stays_here_is_told_by_the_kernel() {
        // Those of one link would need its number.
        let one_link =
            |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80);
        for address in addresses().unwrap().into_iter().filter(|address| !one_link(address)) {
            assert!(leads_here(address).unwrap(), "{address}");
        }
        assert!(knows_way(Ipv4Addr::LOCALHOST.into()));
        for elsewhere in ["192.0.2.1", "8.8.8.8", "2001:db8::1", "255.255.255.255"] {
            assert!(!leads_here(elsewhere.parse().unwrap()).unwrap(), "{elsewhere}");
        }
        // What is sent to these comes from 127.0.0.1, as it comes from the first address of a network that has several here.
        for second in ["127.0.0.5", "127.255.255.254", "::ffff:127.0.0.5"] {
            assert!(leads_here(second.parse().unwrap()).unwrap(), "{second}");
        }
        for neither in ["224.0.0.1", "240.0.0.1", "2001:db8::1"] {
            assert!(!may_be_ours(neither.parse().unwrap()).unwrap(), "{neither}");
        }
    }
}
