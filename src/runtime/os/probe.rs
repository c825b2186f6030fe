//! What the machine must grant before shards start: each refusal has words and a fix.

use std::io;

use super::patience;

use crate::limits;

/// A refusal: what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineRefusal {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl std::fmt::Display for MachineRefusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}; {}", self.problem, self.fix)
    }
}

/// Looks whether `shards` shards may run on io_uring. Raises the soft limit to the hard one first.
pub fn check_ring(shards: usize) -> Result<(), MachineRefusal> {
    check_memlock(shards)?;
    check_io_uring()?;
    register_membarrier();
    Ok(())
}

/// Looks whether enough files may be open. Raises the soft limit to the hard one first.
pub fn check_files() -> Result<(), MachineRefusal> {
    let limit = raise(rustix::process::Resource::Nofile);
    if limit < limits::DESCRIPTORS_BASE * 2 {
        return Err(MachineRefusal {
            problem: format!("only {limit} open files are allowed (RLIMIT_NOFILE)"),
            fix: "raise it: `ulimit -n 65536`, or LimitNOFILE=65536 in the systemd unit".into(),
        });
    }
    Ok(())
}

/// Looks whether threads may stand back for others.
pub fn check_patience() -> Result<(), MachineRefusal> {
    match patience::refusal() {
        None => Ok(()),
        Some((call, error)) => Err(MachineRefusal {
            problem: format!(
                "the kernel refuses {call}: {error}; passwords are hashed at the cost of mail where cores are short"
            ),
            fix: "allow sched_setscheduler and setpriority: SystemCallFilter= of deploy/relevo.service does, and in a container a seccomp \
                  profile that permits them"
                .into(),
        }),
    }
}

fn check_memlock(shards: usize) -> Result<(), MachineRefusal> {
    let limit = raise(rustix::process::Resource::Memlock);
    let wanted = limits::MEMLOCK_PER_SHARD * shards as u64;
    if limit < wanted {
        return Err(MachineRefusal {
            problem: format!(
                "only {} KiB may be locked (RLIMIT_MEMLOCK), {shards} shards need {} KiB",
                limit / 1024,
                wanted / 1024
            ),
            fix: "raise it: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the systemd unit".into(),
        });
    }
    Ok(())
}

/// Raises a soft limit to its hard limit; returns what is in force.
fn raise(resource: rustix::process::Resource) -> u64 {
    let limits = rustix::process::getrlimit(resource);
    let wanted = rustix::process::Rlimit { current: limits.maximum, maximum: limits.maximum };
    let _ = rustix::process::setrlimit(resource, wanted);
    rustix::process::getrlimit(resource).current.unwrap_or(u64::MAX)
}

fn check_io_uring() -> Result<(), MachineRefusal> {
    // A zeroed io_uring_params is 120 bytes; the kernel fills it in.
    let mut parameters = [0u8; 120];
    // SAFETY: the second argument points to 120 writable bytes, the size of struct io_uring_params.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    if fd >= 0 {
        // SAFETY: the descriptor was just opened and is not used again.
        unsafe { libc::close(fd as libc::c_int) };
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let fix = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "run on Linux 5.11 or newer, or set runtime = \"epoll\" in [tuning]; some sandboxes (gVisor) have no io_uring at all"
        }
        Some(libc::EPERM | libc::EACCES) => {
            "allow it: sysctl kernel.io_uring_disabled=0, and in a container a seccomp profile that permits io_uring_setup, \
             io_uring_enter and io_uring_register; or do without it: runtime = \"epoll\" in [tuning]"
        }
        Some(libc::ENOMEM) => "raise RLIMIT_MEMLOCK: `ulimit -l unlimited`",
        _ => "see dmesg and `man io_uring_setup` for this error",
    };
    Err(MachineRefusal { problem: format!("the kernel refuses io_uring: {error}"), fix: fix.into() })
}

/// Registering before any thread exists spares the first park of each shard about 15 ms.
fn register_membarrier() {
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
    // SAFETY: membarrier takes plain integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) };
}

/// The cores this process may run on.
pub fn cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    let cores: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
    if cores.is_empty() { vec![0] } else { cores }
}
