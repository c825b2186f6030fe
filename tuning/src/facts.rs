//! What the machine says about itself, and what a relay needs of it.

use std::fs;

/// Whether a limit is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    Good,
    Low,
    /// It could not be read.
    Unknown,
}

/// One limit.
pub struct Finding {
    pub name: &'static str,
    pub value: String,
    pub grade: Grade,
    /// What goes wrong when it is low.
    pub why: &'static str,
    /// Commands that raise it.
    pub fix: String,
}

/// A number below /proc/sys and what it should be.
struct Setting {
    name: &'static str,
    wanted: u64,
    /// Whether less is better.
    at_most: bool,
    why: &'static str,
}

const SETTINGS: [Setting; 8] = [
    Setting {
        name: "net.core.somaxconn",
        wanted: 4096,
        at_most: false,
        why: "Connections that arrive in a burst are dropped before they are accepted.",
    },
    Setting {
        name: "net.ipv4.tcp_max_syn_backlog",
        wanted: 4096,
        at_most: false,
        why: "Handshakes beyond this wait for the client to try again.",
    },
    Setting {
        name: "net.core.netdev_max_backlog",
        wanted: 1000,
        at_most: false,
        why: "Packets beyond this, waiting for a core, are dropped.",
    },
    Setting {
        name: "net.ipv4.tcp_fin_timeout",
        wanted: 30,
        at_most: true,
        why: "Connections that a peer left half closed keep their memory for so many seconds.",
    },
    Setting {
        name: "net.ipv4.tcp_slow_start_after_idle",
        wanted: 0,
        at_most: true,
        why: "A kept connection that was idle starts slowly again with every message.",
    },
    Setting {
        name: "net.ipv4.tcp_tw_reuse",
        wanted: 1,
        at_most: false,
        why: "Ports of closed outgoing connections cannot be used again for a minute.",
    },
    Setting {
        name: "fs.file-max",
        wanted: 1_000_000,
        at_most: false,
        why: "All processes together cannot open more files and sockets.",
    },
    Setting {
        name: "vm.max_map_count",
        wanted: 65_530,
        at_most: false,
        why: "Each spool segment that is mapped takes one of these.",
    },
];

/// Open files for one process: a socket a connection in, one a connection out, and the spool.
const FILES: u64 = 65_536;
/// Memory a ring of io_uring may lock on kernels before 5.12, bytes for each core.
const LOCKED_PER_CORE: u64 = 512 * 1024;
/// Ports for outgoing connections from one address to one server.
const PORTS: u64 = 50_000;

/// Everything worth knowing.
pub fn all() -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut findings = vec![
        good("cores for this process", cores.to_string()),
        good("memory", memory().unwrap_or_else(|| "unknown".to_owned())),
        good("kernel", read("kernel.osrelease").unwrap_or_else(|| "unknown".to_owned())),
        open_files(),
        locked_memory(cores),
        io_uring(),
        ports(),
    ];
    findings.extend(SETTINGS.iter().map(setting));
    findings.push(congestion());
    findings
}

fn good(name: &'static str, value: String) -> Finding {
    Finding { name, value, grade: Grade::Good, why: "", fix: String::new() }
}

/// A sysctl by its dotted name.
fn read(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    Some(text.trim().to_owned())
}

fn setting(setting: &Setting) -> Finding {
    let text = read(setting.name);
    let value = text.as_deref().and_then(|text| text.parse().ok());
    Finding {
        name: setting.name,
        grade: grade(value, setting.wanted, setting.at_most),
        value: text.unwrap_or_else(|| "cannot be read".to_owned()),
        why: setting.why,
        fix: format!("sysctl -w {}={}", setting.name, setting.wanted),
    }
}

fn grade(value: Option<u64>, wanted: u64, at_most: bool) -> Grade {
    match value {
        None => Grade::Unknown,
        Some(value) if value == wanted || (value < wanted) == at_most => Grade::Good,
        Some(_) => Grade::Low,
    }
}

fn memory() -> Option<String> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
    Some(format!("{:.1} GiB", kibibytes as f64 / 1024.0 / 1024.0))
}

/// Soft and hard limit of this process; `u64::MAX` is unlimited.
fn limit(resource: libc::__rlimit_resource_t) -> Option<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that the call fills.
    (unsafe { libc::getrlimit(resource, &mut limit) } == 0).then_some((limit.rlim_cur, limit.rlim_max))
}

fn number(value: u64) -> String {
    if value == libc::RLIM_INFINITY { "unlimited".to_owned() } else { value.to_string() }
}

fn limit_finding(
    name: &'static str,
    limits: Option<(u64, u64)>,
    wanted: u64,
    why: &'static str,
    fix: String,
) -> Finding {
    Finding {
        name,
        value: limits.map_or("cannot be read".to_owned(), |(soft, hard)| {
            format!("{} (hard limit {})", number(soft), number(hard))
        }),
        // The hard limit decides: a process may raise its soft limit to that.
        grade: grade(limits.map(|(_, hard)| hard), wanted, false),
        why,
        fix,
    }
}

fn open_files() -> Finding {
    limit_finding(
        "open files (nofile)",
        limit(libc::RLIMIT_NOFILE),
        FILES,
        "Every connection in and out takes one; at the limit no more are accepted.",
        format!(
            "systemd: LimitNOFILE={FILES} in the unit\nshell:   ulimit -Hn {FILES}; ulimit -n {FILES}   (as root)"
        ),
    )
}

fn locked_memory(cores: u64) -> Finding {
    let wanted = cores * LOCKED_PER_CORE;
    limit_finding(
        "locked memory (memlock)",
        limit(libc::RLIMIT_MEMLOCK),
        wanted,
        "Each shard's io_uring locks memory; below this a shard cannot start.",
        format!(
            "systemd: LimitMEMLOCK=infinity in the unit\nshell:   ulimit -Hl {0}; ulimit -l {0}   (as root)",
            wanted / 1024
        ),
    )
}

fn io_uring() -> Finding {
    let mut parameters = [0u8; 120];
    // SAFETY: the second argument points to 120 zeroed bytes, the size of `struct io_uring_params`, which the call
    // may read and write; no entry of it names other memory.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1u32, parameters.as_mut_ptr()) };
    let error = std::io::Error::last_os_error();
    if ring >= 0 {
        // SAFETY: the descriptor was just made here and is owned by nothing else.
        unsafe { libc::close(ring as libc::c_int) };
        return good("io_uring", "works".to_owned());
    }
    let (why, fix) = match (error.raw_os_error(), read("kernel.io_uring_disabled").as_deref()) {
        (Some(libc::ENOSYS), _) => {
            ("This kernel has none; 5.8 or newer is needed.", "install a newer kernel")
        }
        (_, Some("1" | "2")) => {
            ("It is switched off on this machine.", "sysctl -w kernel.io_uring_disabled=0")
        }
        _ => (
            "It is forbidden here, most likely by a container's seccomp profile.",
            "docker run --security-opt seccomp=PROFILE   (one that allows io_uring_setup, io_uring_enter, io_uring_register)",
        ),
    };
    Finding { name: "io_uring", value: error.to_string(), grade: Grade::Low, why, fix: fix.to_owned() }
}

fn ports() -> Finding {
    let text = read("net.ipv4.ip_local_port_range");
    let range = text.as_deref().and_then(|text| {
        let (low, high) = text.split_once(char::is_whitespace)?;
        Some((low.trim().parse::<u64>().ok()?, high.trim().parse::<u64>().ok()?))
    });
    let count = range.map(|(low, high)| (high + 1).saturating_sub(low));
    Finding {
        name: "ephemeral ports",
        value: range
            .zip(count)
            .map_or("cannot be read".to_owned(), |((low, high), count)| format!("{low} to {high} ({count})")),
        grade: grade(count, PORTS, false),
        why: "They bound the connections, open and just closed, from one source address to one server.",
        fix: "sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"".to_owned(),
    }
}

fn congestion() -> Finding {
    // Shown, not judged: which one is best depends on the network, and both are safe.
    let value = read("net.ipv4.tcp_congestion_control").unwrap_or_else(|| "unknown".to_owned());
    good("net.ipv4.tcp_congestion_control", value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades() {
        for (value, wanted, at_most, expected) in [
            (Some(5), 5, false, Grade::Good),
            (Some(4), 5, false, Grade::Low),
            (Some(6), 5, false, Grade::Good),
            (Some(0), 0, true, Grade::Good),
            (Some(1), 0, true, Grade::Low),
            (Some(20), 30, true, Grade::Good),
            (Some(u64::MAX), 5, false, Grade::Good),
            (None, 5, false, Grade::Unknown),
        ] {
            assert_eq!(grade(value, wanted, at_most), expected, "{value:?} for {wanted}");
        }
    }

    #[test]
    fn every_low_one_has_a_fix() {
        let findings = all();
        assert!(findings.len() >= 14);
        for finding in findings.iter().filter(|finding| finding.grade == Grade::Low) {
            assert!(!finding.why.is_empty() && !finding.fix.is_empty(), "{}", finding.name);
        }
    }
}
