use std::fs;

use super::*;

/// A machine made of files.
fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::at(directory.path());
    for (path, text) in files {
        let path = machine.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (directory, machine)
}

fn find<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.name == name).unwrap_or_else(|| panic!("no {name}"))
}

const SMALL: &[(&str, &str)] = &[
    ("/sys/devices/system/cpu/online", "0-3\n"),
    ("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2\n"),
    ("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,3\n"),
    ("/sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2\n"),
    ("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n"),
    ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
    ("/sys/devices/system/node/online", "0-1\n"),
    ("/sys/class/net/eth0/device/vendor", "0x1af4\n"),
    ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("/sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n"),
    ("/sys/class/net/lo/queues/rx-0/rps_cpus", "0\n"),
    ("/proc/self/limits", "Max open files            1024                 524288               files\n"),
    ("/proc/sys/net/core/somaxconn", "128\n"),
    ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("/proc/sys/net/ipv4/tcp_tw_reuse", "2\n"),
    ("/proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
    ("/proc/sys/net/netfilter/nf_conntrack_count", "7\n"),
    ("/proc/meminfo", "MemTotal:       24684096 kB\nMemFree: 1 kB\n"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
];

#[test]
fn another_machine_is_read_from_its_files() {
    let (_directory, machine) = machine(SMALL);
    let findings = all(&machine, None);
    for (name, grade, value) in [
        ("cores", Grade::Good, "2, with 4 threads (SMT)"),
        ("NUMA nodes", Grade::Good, "2"),
        ("CPU governor", Grade::Low, "powersave"),
        ("memory", Grade::Good, "23.5 GiB"),
        ("transparent huge pages", Grade::Good, "madvise"),
        ("receive queues of eth0", Grade::Low, "1"),
        ("open files (nofile)", Grade::Good, "1024 (hard limit 524288)"),
        ("locked memory (memlock)", Grade::Unknown, "cannot be read"),
        ("net.core.somaxconn", Grade::Low, "128"),
        ("net.ipv4.ip_local_port_range", Grade::Low, "32768 to 60999 (28232 ports)"),
        ("net.ipv4.tcp_tw_reuse", Grade::Low, "2"),
        ("net.ipv4.tcp_max_tw_buckets", Grade::Unknown, "cannot be read"),
        ("connection tracking", Grade::Low, "7 of 65536"),
    ] {
        let finding = find(&findings, name);
        assert_eq!(finding.grade, grade, "{finding:?}");
        assert!(finding.value.starts_with(value), "{finding:?}");
    }
    assert!(!findings.iter().any(|finding| finding.name.contains(" lo")), "loopback is no card");
    assert!(!is_fine(&findings));
    let text = text(&findings);
    assert!(text.contains("LOW") && text.contains("sysctl -w net.core.somaxconn=\"4096\""), "{text}");
}

#[test]
fn steering_does_for_a_card_with_one_queue() {
    let mut files = SMALL.to_vec();
    files.push(("/sys/class/net/eth0/queues/rx-0/rps_cpus", "f\n"));
    let (_directory, machine) = machine(&files);
    let findings = all(&machine, None);
    assert_eq!(find(&findings, "receive queues of eth0").grade, Grade::Good);
}

/// Two cards with an interrupt for each queue: those of one go to one core, those of the other to the other node.
#[test]
fn interrupts_have_cores_and_nodes_of_their_own() {
    let mut files = SMALL.to_vec();
    files.extend([
        ("/sys/devices/system/node/node0/cpulist", "0-1\n"),
        ("/sys/devices/system/node/node1/cpulist", "2-3\n"),
        ("/sys/class/net/eth1/device/msi_irqs/40", "msix\n"),
        ("/sys/class/net/eth1/device/msi_irqs/41", "msix\n"),
        ("/sys/class/net/eth1/device/numa_node", "1\n"),
        ("/proc/irq/40/smp_affinity_list", "0-3\n"),
        ("/proc/irq/40/effective_affinity_list", "0\n"),
        ("/proc/irq/41/smp_affinity_list", "1\n"),
        ("/proc/interrupts", "            CPU0       CPU1       CPU2       CPU3\n 30:     900     0     0     0   PCI-MSI 65537-edge      eth0-rx-0\n\
          31:     700     0     0     0   PCI-MSI 65538-edge      eth0-rx-1\n 32:       1     0     0     0   PCI-MSI 65539-edge      eth01\nNMI:  0 0 0 0  Non-maskable interrupts\n"),
        ("/proc/irq/30/smp_affinity_list", "0\n"),
        ("/proc/irq/31/smp_affinity_list", "0\n"),
        ("/proc/irq/32/smp_affinity_list", "3\n"),
        ("/proc/77/comm", "relevo\n"),
        ("/proc/77/status", "Name:\trelevo\nCpus_allowed_list:\t0-3\n"),
    ]);
    let (_directory, one) = machine(&files);
    let findings = all(&one, None);
    for (name, grade, value) in [
        ("interrupts of eth0", Grade::Low, "2 on 1 of 4 processors (0)"),
        ("interrupts of eth1", Grade::Good, "2 on 2 of 4 processors (0-1)"),
        ("memory node of eth1", Grade::Low, "node 1, and 2 of 2 interrupts on another"),
        ("nodes of the relay", Grade::Low, "process 77 may run on nodes 0-1"),
    ] {
        let finding = find(&findings, name);
        assert_eq!((finding.grade, &*finding.value), (grade, value), "{finding:?}");
    }
    assert!(find(&findings, "interrupts of eth0").fix.contains("in 30 31;"));
    assert!(find(&findings, "memory node of eth1").fix.contains("in 40 41; do echo 2-3 >"));
    // Mended.
    for (path, text) in [
        ("/proc/irq/31/smp_affinity_list", "1\n"),
        ("/proc/irq/40/effective_affinity_list", "2\n"),
        ("/proc/irq/41/smp_affinity_list", "3\n"),
        ("/proc/77/status", "Cpus_allowed_list:\t2-3\n"),
    ] {
        fs::write(one.path(path), text).unwrap();
    }
    for name in ["interrupts of eth0", "interrupts of eth1", "memory node of eth1", "nodes of the relay"] {
        assert_eq!(find(&all(&one, None), name).grade, Grade::Good, "{name}");
    }
    // On one node there is nothing to say of nodes.
    fs::write(one.path("/sys/devices/system/node/online"), "0\n").unwrap();
    assert!(
        !all(&one, None)
            .iter()
            .any(|finding| finding.name.contains("node of") || finding.name.contains("nodes of"))
    );
}

#[test]
fn every_low_one_says_why_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let findings = all(&Machine::default(), Some(directory.path()));
    assert!(findings.len() >= 20, "{}", findings.len());
    for finding in findings.iter().filter(|finding| finding.grade == Grade::Low) {
        assert!(
            !finding.why.is_empty() && !finding.fix.is_empty() && !finding.wanted.is_empty(),
            "{finding:?}"
        );
    }
    let json = serde_json::to_value(&findings).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(findings.len()));
    assert!(json[0]["grade"].is_string());
    assert!(find(&findings, "flush of 4 KiB (fdatasync)").value.contains("p99"));
}

#[test]
fn ranges_count_their_ports() {
    let setting = sysctl::SETTINGS.iter().find(|setting| setting.name.ends_with("port_range")).unwrap();
    assert_eq!(setting.is_fine("10240 65535"), Some(true));
    assert_eq!(setting.is_fine(&setting.value()), Some(true), "what is written is enough");
    assert_eq!(setting.is_fine("32768 60999"), Some(false));
    assert_eq!(setting.is_fine("x"), None);
    for setting in sysctl::SETTINGS {
        assert_eq!(setting.is_fine(&setting.value()), Some(true), "{}", setting.name);
    }
}
