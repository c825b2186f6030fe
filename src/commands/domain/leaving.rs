//! Where mail leaves from.

use std::net::IpAddr;

/// An address of ours, and the name that goes with it.
pub struct Leaving {
    pub address: IpAddr,
    pub ehlo: String,
}
