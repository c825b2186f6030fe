//! A port for a server that is started in a moment.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;

use crate::random::Random;

const CHOICE: RangeInclusive<u16> = 10_000..=31_999;
const TRIES: u64 = 200;

/// An address of the loopback at which nobody listens; the port is free on every address. It is none of those the kernel gives to whoever
/// asks for any: until the server starts somebody's connection would have it, and a connection to it while nobody listens may even meet itself.
pub fn free() -> io::Result<SocketAddr> {
    free_from(RandomState::new().build_hasher().finish())
}

fn free_from(seed: u64) -> io::Result<SocketAddr> {
    let given =
        fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().and_then(|range| given(&range));
    let mut last = io::ErrorKind::AddrInUse.into();
    for attempt in 0..TRIES {
        let draw = Random::for_item(seed, attempt).below(CHOICE.len());
        let port = CHOICE.start() + draw as u16;
        // Where it is all of them, one is as good as another.
        if given.as_ref().is_some_and(|given| given.contains(&port) && !holds_all(given)) {
            continue;
        }
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            Ok(_) => return Ok((Ipv4Addr::LOCALHOST, port).into()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn given(range: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = range.split_whitespace().map(|end| end.parse().ok());
    Some(ends.next()??..=ends.next()??)
}

fn holds_all(given: &RangeInclusive<u16>) -> bool {
    given.contains(CHOICE.start()) && given.contains(CHOICE.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_and_none_of_the_kernel_s() {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let given = given(&range).unwrap();
        let mut held = Vec::new();
        for seed in 0..50 {
            // One seed for two: what is taken is passed over.
            let address = free_from(seed / 2).unwrap();
            assert!(holds_all(&given) || !given.contains(&address.port()), "{address} of {range}");
            // On another address than the one that is told.
            held.push(TcpListener::bind((Ipv4Addr::new(127, 0, 0, 3), address.port())).unwrap());
        }
    }
}
