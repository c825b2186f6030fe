//! Names of addresses (RFC 1035 3.5, RFC 3596 2.5).

use std::net::IpAddr;

/// Where the PTR record of an address is.
pub fn name(address: IpAddr) -> String {
    let zone = if address.to_canonical().is_ipv4() { "in-addr" } else { "ip6" };
    format!("{}.{zone}.arpa", labels(address))
}

/// The labels of an address, the last of its bytes (of IPv6, of its half bytes) first: lists have it so, too (RFC 5782 2.1, 2.4).
pub fn labels(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let digits: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            digits.join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_backwards() {
        for (address, wanted) in [
            ("192.0.2.10", "10.2.0.192.in-addr.arpa"),
            ("::ffff:192.0.2.10", "10.2.0.192.in-addr.arpa"),
            (
                "4321:0:1:2:3:4:567:89ab",
                "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa",
            ),
        ] {
            assert_eq!(name(address.parse().unwrap()), wanted);
        }
    }
}
