//! Where interrupts of cards go, and where the relay's memory is: packets that one core takes for all, or that come from another node of memory, cost
//! every message a little.

use std::fs;

use super::finding::{Finding, Grade, grade};
use super::network::cards;
use crate::machine::{Machine, numbers};

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let cards = cards(machine);
    let mut findings: Vec<Finding> = cards.iter().filter_map(|card| spread(machine, card)).collect();
    findings.extend(cards.iter().filter_map(|card| distance(machine, card)));
    findings.extend(placement(machine));
    findings
}

/// An interrupt of a card, and the processors that take it.
struct Interrupt {
    number: usize,
    processors: Vec<usize>,
}

/// Those of a card: by what the kernel lists for its device, else by their names.
fn interrupts(machine: &Machine, card: &str) -> Vec<Interrupt> {
    let device = format!("/sys/class/net/{card}/device");
    let listed = machine.list(&format!("{device}/msi_irqs"));
    let mut found: Vec<usize> = listed.iter().filter_map(|number| number.parse().ok()).collect();
    if found.is_empty() {
        // A virtual card's interrupts have the name of its device, as in `virtio0-input.0`.
        let link = fs::read_link(machine.path(&device)).ok();
        let device = link.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
        let is_its = |word: &str| {
            let of = |name: &str| {
                word.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            (of(card) || device.is_some_and(of)) && !word.ends_with("-config")
        };
        let text = machine.read("/proc/interrupts").unwrap_or_default();
        found = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(_, rest)| rest.split_whitespace().any(is_its))
            .filter_map(|(number, _)| number.trim().parse().ok())
            .collect();
    }
    let taken = |number: usize| {
        let read = |name: &str| machine.read(&format!("/proc/irq/{number}/{name}"));
        let of = read("effective_affinity_list").filter(|text| !text.is_empty());
        let processors = numbers(&of.or_else(|| read("smp_affinity_list"))?);
        (!processors.is_empty()).then_some(Interrupt { number, processors })
    };
    found.into_iter().filter_map(taken).collect()
}

/// With several queues each should have a core of its own.
fn spread(machine: &Machine, card: &str) -> Option<Finding> {
    let interrupts = interrupts(machine, card);
    let cores = machine.processors().len();
    let mut taken: Vec<usize> = interrupts.iter().flat_map(|one| one.processors.iter().copied()).collect();
    taken.sort_unstable();
    taken.dedup();
    if interrupts.is_empty() {
        return None;
    }
    let fine = taken.len() >= interrupts.len().min(cores).min(2);
    let value = format!("{} on {} of {cores} processors ({})", interrupts.len(), taken.len(), ranges(&taken));
    let numbers: Vec<String> = interrupts.iter().map(|one| one.number.to_string()).collect();
    let fix = format!(
        "systemctl enable --now irqbalance   (it spreads them, and follows the load)\n\
         n=0; for irq in {}; do echo $((n++ % {cores})) > /proc/irq/$irq/smp_affinity_list; done   (or by hand, till the next boot)",
        numbers.join(" ")
    );
    let found = Finding::new(format!("interrupts of {card}"), grade(Some(fine)), value);
    Some(found.wanting(
        "on several processors",
        "One core takes the packets of all queues, and the shard there falls behind the others.",
        fix,
    ))
}

/// Nodes of memory with their processors; one alone is none.
fn nodes(machine: &Machine) -> Vec<(usize, Vec<usize>)> {
    let online =
        machine.read("/sys/devices/system/node/online").map(|text| numbers(&text)).unwrap_or_default();
    let of = |node: usize| {
        let text = machine.read(&format!("/sys/devices/system/node/node{node}/cpulist"))?;
        Some((node, numbers(&text)))
    };
    let nodes: Vec<_> = online.into_iter().filter_map(of).collect();
    if nodes.len() > 1 { nodes } else { Vec::new() }
}

/// Packets lie in the memory of the card's node: whoever takes them should be there.
fn distance(machine: &Machine, card: &str) -> Option<Finding> {
    let nodes = nodes(machine);
    let own: usize = machine.read(&format!("/sys/class/net/{card}/device/numa_node"))?.parse().ok()?;
    let (_, near) = nodes.iter().find(|(node, _)| *node == own)?;
    let interrupts = interrupts(machine, card);
    let far: Vec<&Interrupt> =
        interrupts.iter().filter(|one| !one.processors.iter().any(|cpu| near.contains(cpu))).collect();
    let value = match (interrupts.len(), far.len()) {
        (0, _) => format!("node {own}"),
        (all, 0) => format!("node {own}, and there all {all} interrupts"),
        (all, far) => format!("node {own}, and {far} of {all} interrupts on another"),
    };
    let numbers: Vec<String> = far.iter().map(|one| one.number.to_string()).collect();
    let fix = format!(
        "for irq in {}; do echo {} > /proc/irq/$irq/smp_affinity_list; done",
        numbers.join(" "),
        ranges(near)
    );
    let found = Finding::new(format!("memory node of {card}"), grade(Some(far.is_empty())), value);
    Some(found.wanting(
        format!("interrupts on processors {}", ranges(near)),
        "Each packet is fetched from the other node's memory.",
        fix,
    ))
}

/// A relay that runs: on one node, or on several, where shards read each other's memory.
fn placement(machine: &Machine) -> Option<Finding> {
    let nodes = nodes(machine);
    if nodes.is_empty() {
        return None;
    }
    let of_relay = |pid: &String| machine.read(&format!("/proc/{pid}/comm")).as_deref() == Some("relevo");
    let processes = machine.list("/proc").into_iter();
    let pid = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).find(of_relay)?;
    let status = machine.read(&format!("/proc/{pid}/status"))?;
    let allowed = numbers(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?);
    let over: Vec<usize> = nodes
        .iter()
        .filter(|(_, processors)| processors.iter().any(|cpu| allowed.contains(cpu)))
        .map(|(node, _)| *node)
        .collect();
    let value =
        format!("process {pid} may run on node{} {}", if over.len() > 1 { "s" } else { "" }, ranges(&over));
    let grade = if over.len() == 1 { Grade::Good } else { Grade::Low };
    let (first, processors) = nodes.first()?;
    Some(Finding::new("nodes of the relay", grade, value).wanting(
        "one, or a relay on each",
        "Shards on different nodes read each other's memory, and what the kernel gives them, more slowly.",
        format!(
            "systemctl edit relevo, and write: [Service], CPUAffinity={}, NUMAPolicy=bind, NUMAMask={first}\n\
             or, where all cores are needed: a relay on each node behind a balancer",
            ranges(processors)
        ),
    ))
}

/// As the kernel writes lists: `0-3,8`.
fn ranges(list: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for number in list {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let word = |(first, last): (usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.into_iter().map(word).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_as_they_are_read() {
        for text in ["0-3,8,10-11", "5", ""] {
            assert_eq!(ranges(&numbers(text)), text);
        }
    }
}
