//! What goes wrong on the network.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::runtime::sim::base::Base;

/// What goes wrong on the network. Probabilities are between 0 and 1, and 0 in a new world.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Least latency of a connection, one way; each connection keeps the one it draws. Default 50 us.
    pub latency_min: Duration,
    /// Most latency of a connection. Default 500 us.
    pub latency_max: Duration,
    /// That a new connection is reset after a random number of bytes of one of its directions.
    pub cut: f64,
    /// That a new connection goes deaf after a random number of bytes: nothing arrives any more, and nobody is told.
    pub half_open: f64,
    /// That a piece of data (and all that follows it) is late by up to `delay_max`.
    pub delay: f64,
    /// See `delay`. Default 2 s.
    pub delay_max: Duration,
    /// That a send or a receive takes fewer bytes than it could.
    pub short: f64,
    /// That a wait for readiness ends though nothing is ready.
    pub spurious: f64,
    /// That a datagram is lost, in each direction.
    pub datagram_loss: f64,
    /// That a datagram is late by up to `delay_max`, and others overtake it.
    pub datagram_reorder: f64,
    /// That a datagram arrives twice.
    pub datagram_duplicate: f64,
    /// Addresses that refuse connections and datagrams, whoever listens there.
    pub refuse: BTreeSet<SocketAddr>,
    /// Addresses that never answer a connection attempt or a datagram.
    pub blackhole: BTreeSet<SocketAddr>,
    /// Addresses that no machine has: nobody connects from them, and there is no way to them.
    pub absent: BTreeSet<IpAddr>,
    /// No node has a way to any IPv6 address: how many connections were asked for. Default None: they have.
    pub no_ipv6: Option<usize>,
    /// That no node is told its own addresses, as where netlink is refused.
    pub no_addresses: bool,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            latency_min: Duration::from_micros(50),
            latency_max: Duration::from_micros(500),
            cut: 0.0,
            half_open: 0.0,
            delay: 0.0,
            delay_max: Duration::from_secs(2),
            short: 0.0,
            spurious: 0.0,
            datagram_loss: 0.0,
            datagram_reorder: 0.0,
            datagram_duplicate: 0.0,
            refuse: BTreeSet::new(),
            blackhole: BTreeSet::new(),
            absent: BTreeSet::new(),
            no_ipv6: None,
            no_addresses: false,
        }
    }
}

/// What a part of the network acts under.
#[derive(Clone, Copy)]
pub(in crate::runtime::sim) struct Conditions<'a> {
    pub base: &'a Base,
    pub faults: &'a Faults,
}

impl Conditions<'_> {
    /// Whether a wait ends though nothing is ready.
    pub fn spurious(self) -> bool {
        // Never certain, or nothing else would ever run the clock forward for long.
        self.base.random().chance(self.faults.spurious.min(0.9))
    }

    /// How much of so many bytes a call takes.
    pub fn shorten(self, count: usize) -> usize {
        let random = &mut *self.base.random();
        if random.chance(self.faults.short) { 1 + random.index(count) } else { count }
    }
}
