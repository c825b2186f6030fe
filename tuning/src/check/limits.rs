//! What this process, and so a relay started the same way, may take.

use super::finding::{Finding, Grade, UNREADABLE, grade};
use crate::machine::Machine;

/// Open files for one process: a socket a connection in, one a connection out, and the spool.
pub const FILES: u64 = 65_536;
/// Memory a ring of io_uring may lock on kernels before 5.12, bytes for each core.
const LOCKED_PER_CORE: u64 = 512 * 1024;

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let cores = (machine.processors().len() as u64).max(1);
    let limits = machine.read("/proc/self/limits").unwrap_or_default();
    let mut findings = vec![
        finding(
            "open files (nofile)",
            limit(&limits, "Max open files"),
            FILES,
            "Every connection in and out takes one; at the limit no more are accepted.",
            format!(
                "systemd: LimitNOFILE={FILES} in the unit\nshell:   ulimit -Hn {FILES}; ulimit -n {FILES}   (as root)"
            ),
        ),
        finding(
            "locked memory (memlock)",
            limit(&limits, "Max locked memory"),
            cores * LOCKED_PER_CORE,
            "Each shard's io_uring locks memory; below this a shard cannot start.",
            format!(
                "systemd: LimitMEMLOCK=infinity in the unit\nshell:   ulimit -Hl {0}; ulimit -l {0}   (as root)",
                cores * LOCKED_PER_CORE / 1024
            ),
        ),
    ];
    if machine.is_here() {
        findings.push(io_uring(machine));
    }
    findings
}

/// Soft and hard limit of one line of /proc/self/limits; `u64::MAX` is unlimited.
fn limit(text: &str, name: &str) -> Option<(u64, u64)> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut values = rest.split_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((values.next()??, values.next()??))
}

fn number(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}

fn finding(name: &str, limits: Option<(u64, u64)>, wanted: u64, why: &str, fix: String) -> Finding {
    let value = limits.map_or(UNREADABLE.to_owned(), |(soft, hard)| {
        format!("{} (hard limit {})", number(soft), number(hard))
    });
    // The hard limit decides: a process may raise its soft limit to that.
    Finding::new(name, grade(limits.map(|(_, hard)| hard >= wanted)), value).wanting(
        format!("at least {wanted}"),
        why,
        fix,
    )
}

fn io_uring(machine: &Machine) -> Finding {
    let mut parameters = [0u8; 120];
    // SAFETY: the second argument points to 120 zeroed bytes, the size of `struct io_uring_params`, which the call
    // may read and write; no entry of it names other memory.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1u32, parameters.as_mut_ptr()) };
    let error = std::io::Error::last_os_error();
    if ring >= 0 {
        // SAFETY: the descriptor was just made here and is owned by nothing else.
        unsafe { libc::close(ring as libc::c_int) };
        return Finding::shown("io_uring", "works");
    }
    let (why, fix) = match (error.raw_os_error(), machine.sysctl("kernel.io_uring_disabled").as_deref()) {
        (Some(libc::ENOSYS), _) => {
            ("This kernel has none; 5.11 or newer is needed.", "install a newer kernel")
        }
        (_, Some("1" | "2")) => {
            ("It is switched off on this machine.", "sysctl -w kernel.io_uring_disabled=0")
        }
        _ => (
            "It is forbidden here, most likely by a container's seccomp profile.",
            "docker run --security-opt seccomp=PROFILE   (one that allows io_uring_setup, io_uring_enter, io_uring_register)",
        ),
    };
    Finding::new("io_uring", Grade::Low, error.to_string()).wanting("works", why, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_their_line() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max locked memory         8388608              unlimited            bytes     \n\
                    Max open files            1024                 4096                 files     \n";
        assert_eq!(limit(text, "Max open files"), Some((1024, 4096)));
        assert_eq!(limit(text, "Max locked memory"), Some((8_388_608, u64::MAX)));
        assert_eq!(limit(text, "Max colours"), None);
        let low = finding("files", Some((1024, 4096)), 65_536, "why", "fix".to_owned());
        assert_eq!((low.grade, low.value.as_str()), (Grade::Low, "1024 (hard limit 4096)"));
    }
}
