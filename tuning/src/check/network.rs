//! Network cards and what the kernel remembers of connections.

use super::finding::{Finding, Grade, grade};
use crate::machine::Machine;

/// Connections the kernel tracks: 30,000 in and out, and those that closed within the last minutes.
const TRACKED: u64 = 131_072;

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let mut findings = queues(machine);
    findings.extend(tracking(machine));
    let control = machine.sysctl("net.ipv4.tcp_congestion_control");
    // Shown, not judged: which one is best depends on the network, and both usual ones are safe.
    findings.extend(control.map(|value| Finding::shown("net.ipv4.tcp_congestion_control", value)));
    findings
}

/// Those that are no software: loopback, bridges and tunnels have no device.
pub(super) fn cards(machine: &Machine) -> Vec<String> {
    let has_device = |card: &String| machine.path(&format!("/sys/class/net/{card}/device")).exists();
    machine.list("/sys/class/net").into_iter().filter(has_device).collect()
}

/// Receive queues of each card: with one queue, one core takes all packets.
fn queues(machine: &Machine) -> Vec<Finding> {
    let cores = machine.processors().len();
    let mut findings = Vec::new();
    for card in cards(machine) {
        let names = machine.list(&format!("/sys/class/net/{card}/queues"));
        let received: Vec<&String> = names.iter().filter(|name| name.starts_with("rx-")).collect();
        // Receive packet steering spreads in software what one queue takes in.
        let steered = received.iter().any(|queue| {
            let mask = machine.read(&format!("/sys/class/net/{card}/queues/{queue}/rps_cpus"));
            mask.is_some_and(|mask| mask.chars().any(|digit| !matches!(digit, '0' | ',')))
        });
        let wanted = cores.min(8);
        let fine = received.len() >= wanted || steered;
        let value = format!("{}{}", received.len(), if steered { ", steered (RPS)" } else { "" });
        let mask =
            if cores >= 64 { "ffffffff,ffffffff".to_owned() } else { format!("{:x}", (1u64 << cores) - 1) };
        findings.push(
            Finding::new(format!("receive queues of {card}"), grade(Some(fine || cores < 2)), value).wanting(
                format!("at least {wanted}"),
                "One queue's packets are all taken by one core, whose shard then has less of it.",
                format!(
                    "ethtool -L {card} combined {wanted}   (if the card has so many)\necho {mask} > /sys/class/net/{card}/queues/rx-0/rps_cpus   (else, in software)"
                ),
            ),
        );
    }
    findings
}

fn tracking(machine: &Machine) -> Option<Finding> {
    const NAME: &str = "net.netfilter.nf_conntrack_max";
    let Some(most) = machine.sysctl(NAME).and_then(|text| text.parse::<u64>().ok()) else {
        return Some(Finding::shown("connection tracking", "not loaded"));
    };
    let now = machine.sysctl("net.netfilter.nf_conntrack_count").and_then(|text| text.parse::<u64>().ok());
    let value = format!("{} of {most}", now.map_or("?".to_owned(), |now| now.to_string()));
    let fine = most >= TRACKED && now.is_none_or(|now| now < most / 4 * 3);
    let grade = if fine { Grade::Good } else { Grade::Low };
    Some(Finding::new("connection tracking", grade, value).wanting(
        format!("at least {TRACKED}, a quarter free"),
        "At the limit the firewall drops new connections, in and out.",
        format!("sysctl -w {NAME}={TRACKED}\nor leave mail out: nft add rule … tcp dport 25 notrack"),
    ))
}
