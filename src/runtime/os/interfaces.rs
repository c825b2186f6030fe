//! The addresses of the machine's network interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
    Ok(found)
}

/// Whether what is sent to an address stays on this machine, by the table that the kernel would send it by: of its own addresses it takes the
/// same for both ends. Nothing is sent.
pub(super) fn leads_here(address: IpAddr) -> io::Result<bool> {
    // Any port: nothing goes there.
    const PORT: u16 = 9;
    let to = SocketAddr::new(address, PORT);
    let family = if to.is_ipv4() { net::AddressFamily::INET } else { net::AddressFamily::INET6 };
    let flags = net::SocketFlags::CLOEXEC;
    let socket = match net::socket_with(family, net::SocketType::DGRAM, flags, None) {
        // A machine without this family has no such address.
        Err(Errno::AFNOSUPPORT) => return Ok(false),
        socket => socket?,
    };
    match net::connect(&socket, &to) {
        Ok(()) => {}
        // Of the machine's resources, not of the way there.
        Err(error @ (Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN)) => return Err(error.into()),
        // There is no way there, or a rule forbids it: a connection would not come up.
        Err(_) => return Ok(false),
    }
    let from = SocketAddr::try_from(net::getsockname(&socket)?)?;
    Ok(from.ip().to_canonical() == address.to_canonical())
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
        for elsewhere in ["192.0.2.1", "8.8.8.8", "2001:db8::1", "255.255.255.255"] {
            assert!(!leads_here(elsewhere.parse().unwrap()).unwrap(), "{elsewhere}");
        }
    }
}
