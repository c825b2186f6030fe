//! Cores, memory and how the kernel drives them.

use super::finding::{Finding, Grade, UNREADABLE, grade};
use crate::machine::{Machine, numbers};

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![cores(machine)];
    if machine.is_here() {
        let usable = std::thread::available_parallelism().map_or(1, usize::from);
        findings.push(Finding::shown("cores for this process", usable.to_string()));
    }
    findings.push(nodes(machine));
    findings.push(governor(machine));
    findings.push(Finding::shown("memory", memory(machine).unwrap_or_else(|| UNREADABLE.to_owned())));
    let kernel = machine.sysctl("kernel.osrelease").unwrap_or_else(|| UNREADABLE.to_owned());
    findings.push(Finding::shown("kernel", kernel));
    findings.push(huge_pages(machine));
    findings
}

/// Two threads of one core are not two cores: a shard on each may be slower than one on the core.
fn cores(machine: &Machine) -> Finding {
    let (threads, cores) = (machine.processors().len(), machine.cores().len());
    let found = match (threads, cores) {
        (0, _) => Finding::new("cores", Grade::Unknown, UNREADABLE),
        (threads, cores) if threads > cores => Finding::shown(
            "cores",
            format!("{cores}, with {threads} threads (SMT); `sweep` tries both counts"),
        ),
        (threads, _) => Finding::shown("cores", format!("{threads}, one thread each")),
    };
    found.wanting(
        "a shard for each",
        "Two threads of one core (SMT) share it: a shard on each may be slower than one shard on the core.",
        "node.shards in the configuration; relevo-tune sweep --only shards says which count is faster",
    )
}

fn nodes(machine: &Machine) -> Finding {
    let nodes = machine.read("/sys/devices/system/node/online").map(|text| numbers(&text).len());
    let found = match nodes {
        None | Some(0 | 1) => Finding::shown("NUMA nodes", "1"),
        Some(count) => Finding::shown("NUMA nodes", count.to_string()),
    };
    found.wanting(
        "1, or a relay on each",
        "Shards on different nodes read each other's memory more slowly.",
        "numactl --cpunodebind=0 --membind=0 relevo run …   (one relay a node, if one node is enough)",
    )
}

fn governor(machine: &Machine) -> Finding {
    let mut governors: Vec<String> = Vec::new();
    for cpu in machine.processors() {
        governors.extend(machine.read(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor")));
    }
    governors.sort();
    governors.dedup();
    let found = if governors.is_empty() {
        Finding::shown("CPU governor", "none (virtual machine, or the firmware decides)")
    } else {
        let fine = governors.iter().all(|governor| governor == "performance" || governor == "schedutil");
        Finding::new("CPU governor", grade(Some(fine)), governors.join(", "))
    };
    found.wanting(
        "performance",
        "Cores run slowly until they were busy for a while, which every burst of mail pays for.",
        "cpupower frequency-set -g performance",
    )
}

fn memory(machine: &Machine) -> Option<String> {
    let text = machine.read("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
    Some(format!("{:.1} GiB", kibibytes as f64 / 1024.0 / 1024.0))
}

fn huge_pages(machine: &Machine) -> Finding {
    let text = machine.read("/sys/kernel/mm/transparent_hugepage/enabled");
    let chosen = text.as_deref().and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned()));
    // Shown, not judged: with `always` an idle connection's memory is rounded up now and then, and no more.
    Finding::shown("transparent huge pages", chosen.unwrap_or_else(|| "none".to_owned()))
}
