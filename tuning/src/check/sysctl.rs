//! The kernel settings that `check` judges and `apply` writes: one table for both.

use super::finding::{Finding, UNREADABLE, grade};
use crate::machine::Machine;

/// What a setting should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// At least.
    Least(u64),
    /// At most.
    Most(u64),
    /// This and nothing else.
    Exactly(u64),
    /// At least as many numbers from the first to the second.
    Range(u64, u64),
}

/// A sysctl and what it should be.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its dotted name.
    pub name: &'static str,
    /// What it should be.
    pub wanted: Wanted,
    /// What goes wrong otherwise.
    pub why: &'static str,
}

/// All of them.
pub const SETTINGS: [Setting; 12] = [
    Setting {
        name: "net.core.somaxconn",
        wanted: Wanted::Least(4096),
        why: "Connections that arrive in a burst are dropped before they are accepted.",
    },
    Setting {
        name: "net.ipv4.tcp_max_syn_backlog",
        wanted: Wanted::Least(4096),
        why: "Handshakes beyond this wait for the client to try again.",
    },
    Setting {
        name: "net.core.netdev_max_backlog",
        wanted: Wanted::Least(1000),
        why: "Packets beyond this, waiting for a core, are dropped.",
    },
    Setting {
        name: "net.ipv4.tcp_fin_timeout",
        wanted: Wanted::Most(30),
        why: "Connections that a peer left half closed keep their memory for so many seconds.",
    },
    Setting {
        name: "net.ipv4.tcp_slow_start_after_idle",
        wanted: Wanted::Most(0),
        why: "A kept connection that was idle starts slowly again with every message.",
    },
    Setting {
        name: "net.ipv4.tcp_tw_reuse",
        // 2, the kernel's own choice, is for loopback alone.
        wanted: Wanted::Exactly(1),
        why: "Ports of closed outgoing connections cannot be used again for a minute.",
    },
    Setting {
        name: "net.ipv4.tcp_max_tw_buckets",
        wanted: Wanted::Least(65_536),
        why: "Closed connections beyond this lose their wait, and late packets of theirs reach new ones.",
    },
    Setting {
        name: "net.ipv4.ip_local_port_range",
        wanted: Wanted::Range(10_240, 60_999),
        why: "It bounds the connections, open and just closed, from one source address to one server.",
    },
    Setting {
        name: "fs.file-max",
        wanted: Wanted::Least(1_000_000),
        why: "All processes together cannot open more files and sockets.",
    },
    Setting {
        name: "fs.nr_open",
        wanted: Wanted::Least(1_048_576),
        why: "No process can be granted more open files than this, the unit's LimitNOFILE included.",
    },
    Setting {
        name: "vm.max_map_count",
        wanted: Wanted::Least(65_530),
        why: "Each spool segment that is mapped takes one of these.",
    },
    Setting {
        name: "vm.swappiness",
        wanted: Wanted::Most(60),
        why: "The relay's own memory is swapped out for pages of old mail, and a shard waits for the disk.",
    },
];

/// Two numbers with a blank between.
fn range(text: &str) -> Option<(u64, u64)> {
    let (low, high) = text.trim().split_once(char::is_whitespace)?;
    Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
}

impl Setting {
    /// Whether this value will do; None when it is no such value.
    pub fn is_fine(&self, value: &str) -> Option<bool> {
        match self.wanted {
            Wanted::Least(least) => value.parse::<u64>().ok().map(|value| value >= least),
            Wanted::Most(most) => value.parse::<u64>().ok().map(|value| value <= most),
            Wanted::Exactly(one) => value.parse::<u64>().ok().map(|value| value == one),
            Wanted::Range(first, last) => {
                let (low, high) = range(value)?;
                Some((high + 1).saturating_sub(low) > last - first)
            }
        }
    }

    /// What is wanted, as the kernel reads it.
    pub fn value(&self) -> String {
        match self.wanted {
            Wanted::Least(value) | Wanted::Most(value) | Wanted::Exactly(value) => value.to_string(),
            Wanted::Range(first, last) => format!("{first} {last}"),
        }
    }

    pub(super) fn finding(&self, machine: &Machine) -> Finding {
        let value = machine.sysctl(self.name);
        let wanted = match self.wanted {
            Wanted::Least(least) => format!("at least {least}"),
            Wanted::Most(most) => format!("at most {most}"),
            Wanted::Exactly(one) => one.to_string(),
            Wanted::Range(first, last) => format!("{} ports", last - first + 1),
        };
        let shown = match (self.wanted, value.as_deref().and_then(range)) {
            (Wanted::Range(..), Some((low, high))) => {
                format!("{low} to {high} ({} ports)", (high + 1).saturating_sub(low))
            }
            _ => value.clone().unwrap_or_else(|| UNREADABLE.to_owned()),
        };
        Finding::new(self.name, grade(value.as_deref().and_then(|value| self.is_fine(value))), shown).wanting(
            wanted,
            self.why,
            format!("sysctl -w {}=\"{}\"", self.name, self.value()),
        )
    }
}
