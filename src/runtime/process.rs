//! What the process as a whole asks of the machine: locks, signals, ports. Used at start and stop, never by a shard.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::RawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::limits;
use crate::runtime::given::{self, At, Taken};
use crate::runtime::os::clock::Clock;
use crate::runtime::{files, output};
use crate::time::{Instant, UnixMillis};

/// A directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    /// The lock file and the directory itself: who removes the file does not let another process in.
    files: (File, File),
    /// The lock file, if this made it.
    made: Option<PathBuf>,
}

/// Directories that this process has locked, by device and number: it would wait for itself if it locked one again.
static OURS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// Whether this process has locked it.
pub(super) fn is_ours(directory: &File) -> bool {
    let ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    directory.metadata().is_ok_and(|found| ours.contains(&(found.dev(), found.ino())))
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        if let Ok(found) = self.files.1.metadata() {
            let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
            ours.retain(|known| *known != (found.dev(), found.ino()));
        }
    }
}

impl DirectoryLock {
    /// Gives the directory back as it was found: a lock file that was not there before is removed.
    pub fn undo(self) {
        if let Some(path) = &self.made {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Taken,
    /// It cannot be made or written.
    Io(io::Error),
}

/// Makes the directory if need be, checks that it can be written, and locks it.
pub fn lock_directory(directory: &Path) -> Result<DirectoryLock, LockError> {
    make_directory(directory).map_err(LockError::Io)?;
    let path = directory.join("lock");
    let (file, made) = open_lock(&path).map_err(|error| match error.kind() {
        // Removed between two looks, by a process that had it a moment ago.
        io::ErrorKind::NotFound => LockError::Taken,
        _ => LockError::Io(error),
    })?;
    flock(&file)?;
    // Whoever removed the file between these two steps had the lock; the next process would lock another file of that name.
    let (locked, named) = (file.metadata(), std::fs::metadata(&path));
    let (Ok(locked), Ok(named)) = (locked, named) else { return Err(LockError::Taken) };
    if (locked.dev(), locked.ino()) != (named.dev(), named.ino()) {
        return Err(LockError::Taken);
    }
    let itself = File::open(directory).map_err(LockError::Io)?;
    match flock(&itself) {
        Err(LockError::Taken) => Err(LockError::Taken),
        // A file system that locks no directories has the file.
        Ok(()) | Err(LockError::Io(_)) => {
            if let Ok(found) = itself.metadata() {
                OURS.lock().unwrap_or_else(PoisonError::into_inner).push((found.dev(), found.ino()));
            }
            Ok(DirectoryLock { files: (file, itself), made: made.then_some(path) })
        }
    }
}

fn flock(file: &File) -> Result<(), LockError> {
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Taken),
        Err(error) => Err(LockError::Io(error.into())),
    }
}

/// Opens a lock file, and says whether it was made.
fn open_lock(path: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().create_new(true).write(true).mode(files::FILE_MODE).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).map(|file| (file, false))
        }
        made => {
            let file = made?;
            file.set_permissions(Permissions::from_mode(files::FILE_MODE))?;
            Ok((file, true))
        }
    }
}

/// Makes a directory and those above it that are missing. Each name is synced: a power cut could take it away, and all mail with it.
fn make_directory(directory: &Path) -> io::Result<()> {
    let parent = match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if directory.is_dir() {
        // Made by a process that was killed before it came to this, or by somebody else long ago: then it may not be ours to open.
        let _ = sync_directory(parent);
        return Ok(());
    }
    make_directory(parent)?;
    files::make_directory(directory)?;
    sync_directory(parent)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Sleeps. For start and stop; shards have timers.
#[expect(clippy::disallowed_methods, reason = "the main thread, which does nothing else while shards run")]
pub fn pause(span: std::time::Duration) {
    std::thread::sleep(span);
}

/// Locks a data directory that is there already; nothing but the lock file may be made in it.
pub fn lock_existing(directory: &Path) -> Result<DirectoryLock, LockError> {
    if std::fs::metadata(directory).map_err(LockError::Io)?.is_dir() {
        lock_directory(directory)
    } else {
        Err(LockError::Io(io::ErrorKind::NotADirectory.into()))
    }
}

/// Opens it, without waiting for whoever may write to what is no file at all.
fn open_small(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// The id in `directory/node`, if there is one.
pub fn read_node_id(directory: &Path) -> io::Result<Option<u64>> {
    let path = directory.join("node");
    let mut text = String::new();
    match open_small(&path) {
        Ok(file) => file.take(limits::LINE_FILE_MAX).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    u64::from_str_radix(text.trim(), 16)
        .map(Some)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display())))
}

/// The node and the lane in `directory/birthplace`, if there is one: an adopted lane's.
pub fn read_origin(directory: &Path) -> io::Result<Option<(u64, u16)>> {
    let path = directory.join("birthplace");
    let mut text = String::new();
    match open_small(&path) {
        Ok(file) => file.take(limits::LINE_FILE_MAX).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let parsed = text
        .trim()
        .split_once(' ')
        .and_then(|(node, lane)| Some((u64::from_str_radix(node, 16).ok()?, lane.parse::<u16>().ok()?)));
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()));
    parsed.ok_or_else(damaged).map(Some)
}

/// Writes `directory/birthplace`.
pub fn write_origin(directory: &Path, node: u64, lane: u16) -> io::Result<()> {
    write_line(directory, "birthplace", &format!("{node:016x} {lane}"))
}

/// Writes a file of one line and syncs it. It gets its name last, so that it is whole or not there.
fn write_line(directory: &Path, name: &str, line: &str) -> io::Result<()> {
    let unfinished = directory.join(format!("{name}.new"));
    let mut file = files::make_file(&unfinished)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    std::fs::rename(&unfinished, directory.join(name))?;
    sync_directory(directory)
}

/// The id in `directory/node`, made at the first start and synced.
pub fn node_id(directory: &Path) -> io::Result<u64> {
    if let Some(id) = read_node_id(directory)? {
        return Ok(id);
    }
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let id = u64::from_ne_bytes(bytes);
    write_line(directory, "node", &format!("{id:016x}"))?;
    Ok(id)
}

/// Whether files there live in memory (tmpfs or ramfs).
pub fn is_memory_file_system(path: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58F6;
    rustix::fs::statfs(path).is_ok_and(|found| matches!(found.f_type as u64, TMPFS | RAMFS))
}

/// Files this process may have open at one time.
pub fn open_files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Asks for as many as this process may have without more rights.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum {
        // If that is refused, there are as many as before.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
}

/// Has the kernel make its table of open files as large as it may become. It grows by doubling otherwise, and where threads
/// share it, whoever opens the file that is one too many waits until every core has passed through the scheduler: 20 ms and more, for a
/// shard with all its connections.
pub fn reserve_open_files() {
    let highest = open_files_max().min(limits::FILES_TABLE).saturating_sub(1);
    let Ok(highest) = RawFd::try_from(highest) else { return };
    // Where that is refused the table grows later.
    if let Ok(file) = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC) {
        let _ = rustix::io::fcntl_dupfd_cloexec(&file, highest);
    }
}

/// Bytes of memory the machine has. The kernel is asked itself: a unit may hide all of /proc but processes.
fn memory_of_machine() -> u64 {
    let found = rustix::system::sysinfo();
    (found.totalram as u64).saturating_mul(found.mem_unit.into())
}

/// The same by the table of the machine, which a container may have of its own.
fn memory_in_table() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))?;
    Some(line.trim().parse::<u64>().ok()? * 1024)
}

/// Bytes of memory this process may have: the machine's, or its control group's if that is less. None where neither is told.
pub fn memory_max() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let number = |text: String| text.trim().parse::<u64>().ok();
    let machine = [Some(memory_of_machine()).filter(|bytes| *bytes > 0), memory_in_table()];
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let (newer, older) = memory_groups(&groups);
    let newer = Path::new(newer).ancestors().map(|group| root.join(group).join("memory.max"));
    let root = root.join("memory");
    let older = Path::new(older).ancestors().map(|group| root.join(group).join("memory.limit_in_bytes"));
    let of_groups = newer.chain(older).filter_map(|path| number(read(&path)?));
    of_groups.chain(machine.into_iter().flatten()).min()
}

/// Where the process is by `/proc/self/cgroup`, below the roots of both versions (cgroups(7)): `0::/system.slice/relevo.service`, `7:memory:/relevo`.
fn memory_groups(text: &str) -> (&str, &str) {
    let path = |line: &'_ str, is_it: &dyn Fn(&str) -> bool| -> Option<usize> {
        let mut words = line.splitn(3, ':').skip(1);
        let (controllers, path) = (words.next()?, words.next()?);
        is_it(controllers).then_some(path.trim_start_matches('/').len())
    };
    let of = |is_it: &dyn Fn(&str) -> bool| {
        let found = text.lines().find_map(|line| Some(&line[line.len() - path(line, is_it)?..]));
        found.unwrap_or_default()
    };
    (
        of(&|controllers| controllers.is_empty()),
        of(&|controllers| controllers.split(',').any(|one| one == "memory")),
    )
}

/// Gives memory that was freed back to the system. The allocator keeps it otherwise, once a small piece that lives lies behind it.
/// Not for a shard: it takes milliseconds.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and touches nothing else.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The number of an interface by its name.
pub fn interface_number(name: &str) -> Option<u32> {
    // A name out of a file is no path.
    let sound = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    let text = sound.then(|| std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")))?;
    text.ok()?.trim().parse().ok()
}

/// Random bytes of the kernel, for salts.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // A few bytes are never short, and never fail once the kernel's pool is ready.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes
}

/// Whether the address can be listened on; port 0 becomes a free port. SO_REUSEPORT would hide another process there.
pub fn probe_port(address: SocketAddr) -> io::Result<SocketAddr> {
    if given::is_there(&At::Network(address)) {
        return Ok(address);
    }
    listen_alone(address)?.local_addr()
}

/// The same beside listeners that this process has open: what overlaps with one of them is in its own way, and only opening it tells whether
/// it can be had.
pub fn probe_beside(address: SocketAddr, open: &[SocketAddr]) -> io::Result<SocketAddr> {
    let overlaps = |open: &SocketAddr| {
        let (one, other) = (open.ip(), address.ip());
        let same = one == other || one.is_unspecified() || other.is_unspecified();
        open.port() == address.port() && open.is_ipv4() == address.is_ipv4() && same
    };
    if open.iter().any(overlaps) { Ok(address) } else { probe_port(address) }
}

/// A listener of an ordinary thread, the only one of its address. As those of shards: what waits of earlier connections is not in the way,
/// and IPv6 is IPv6 alone, so that `[::]` takes nothing from `0.0.0.0`.
pub fn listen_alone(address: SocketAddr) -> io::Result<TcpListener> {
    match given::take_alone(&At::Network(address))? {
        Some(Taken::Shared(fd)) => return Ok(fd.into()),
        Some(Taken::Own(mut all, _)) => {
            return all.pop().map(Into::into).ok_or(io::ErrorKind::NotFound.into());
        }
        None => {}
    }
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_ALONE_BACKLOG)?;
    Ok(socket.into())
}

/// User and group that this process runs as.
pub fn user() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Whether this process may write a file, or in a directory.
pub fn may_write(path: &Path) -> io::Result<()> {
    // The kernel's own trees let root write, and take no file.
    const PROC: u64 = 0x9FA0;
    const SYSFS: u64 = 0x6265_6572;
    if rustix::fs::statfs(path).is_ok_and(|found| matches!(found.f_type as u64, PROC | SYSFS)) {
        return Err(rustix::io::Errno::ROFS.into());
    }
    let wanted = if path.is_dir() {
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK
    } else {
        rustix::fs::Access::WRITE_OK
    };
    Ok(rustix::fs::access(path, wanted)?)
}

/// Whether it may read a file.
pub fn may_read(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, rustix::fs::Access::READ_OK)?)
}

/// Whether it may do both with a file, or list a directory and make files in it.
pub fn may_read_and_write(path: &Path) -> io::Result<()> {
    may_read(path)?;
    may_write(path)
}

/// Signals that are waited for.
const HELD: [libc::c_int; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// Signals that mean nothing here and would end the process, or stop it where standard error is a terminal of somebody else: a slip of the
/// operator, or of a program of theirs, is no reason to stop relaying. A file that grew to its limit (SIGXFSZ) is an error of the write. What a
/// fault raises, and SIGQUIT, which leaves a core, do what they always do.
const IGNORED: [libc::c_int; 9] = [
    libc::SIGXFSZ,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
    libc::SIGTTOU,
    libc::SIGTTIN,
];

/// Holds back the signals that have a meaning from every thread started later, so that [`wait_for_signal`] gets them.
pub fn hold_signals() {
    // SAFETY: the set is initialised by sigemptyset before it is read; the calls touch nothing else.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in HELD {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        for signal in IGNORED.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// The wall clock, for words of the process as a whole.
#[expect(clippy::disallowed_methods, reason = "the runtime is where clocks come from")]
pub fn wall() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How long the machine runs, for waits of the process as a whole: nobody sets it.
pub fn since_boot() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    std::time::Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The time by which shards count.
pub fn shard_time() -> Instant {
    Clock::start().now()
}

/// Ends the process now, with these words if anybody listens: nothing is waited for, flushed or dropped.
pub fn end(code: u8, words: &str) -> ! {
    output::last_words(words);
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code.into()) }
}

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Finish and end.
    Stop,
    /// Read the configuration again.
    Reload,
    /// The log was moved away: open it again.
    Reopen,
    /// Have the binary that is installed now take over.
    Upgrade,
}

/// Waits for a signal held back by [`hold_signals`], at most until `milliseconds` have passed.
pub fn wait_for_signal(milliseconds: u64) -> Option<Signal> {
    // SAFETY: as above; sigtimedwait fills nothing but is given a null pointer for the details.
    let signal = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in HELD {
            libc::sigaddset(&mut set, signal);
        }
        let patience = libc::timespec {
            tv_sec: (milliseconds / 1000) as libc::time_t,
            tv_nsec: (milliseconds % 1000 * 1_000_000) as libc::c_long,
        };
        libc::sigtimedwait(&set, std::ptr::null_mut(), &patience)
    };
    match signal {
        libc::SIGTERM | libc::SIGINT => Some(Signal::Stop),
        libc::SIGHUP => Some(Signal::Reload),
        libc::SIGUSR1 => Some(Signal::Reopen),
        libc::SIGUSR2 => Some(Signal::Upgrade),
        _ => None,
    }
}

/// What this process has used and holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of all threads, seconds.
    pub cpu: f64,
    /// Resident memory, bytes, mapped files included.
    pub resident: u64,
    /// The part of it that is not a file's: what the process itself needs.
    pub anonymous: u64,
}

/// Reads it from the kernel; zeroes where there is no /proc.
pub fn usage() -> Usage {
    // Kept open from the first call on: it is wanted most when there are no descriptors left.
    static STATM: OnceLock<Option<File>> = OnceLock::new();
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let mut text = [0; limits::PROC_LINE_MAX];
    let statm = STATM.get_or_init(|| File::open("/proc/self/statm").ok()).as_ref();
    let read = statm.and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
    let statm = String::from_utf8_lossy(&text[..read]);
    let mut pages = statm.split(' ').skip(1).map(|pages| pages.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    let size = rustix::param::page_size() as u64;
    Usage {
        cpu: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        resident: resident * size,
        anonymous: resident.saturating_sub(shared) * size,
    }
}

/// The calling thread has a smaller share of a core than the shards, where they want it too.
pub fn stand_back() {
    crate::runtime::os::patience::stand_back();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_the_group_of_either_version() {
        let both = "12:cpu,cpuacct:/a\n7:memory:/relevo/one\n1:name=systemd:/init\n0::/system.slice/relevo.service\n";
        assert_eq!(memory_groups(both), ("system.slice/relevo.service", "relevo/one"));
        assert_eq!(memory_groups("0::/\n"), ("", ""));
        assert_eq!(memory_groups("4:cpu,memory:/x:y\n3:memory_other:/z\nnonsense\n"), ("", "x:y"));
        assert_eq!(memory_groups(""), ("", ""));
    }

    #[test]
    fn the_table_of_open_files_is_as_large_as_it_becomes() {
        reserve_open_files();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("Linux tells it");
        assert!(size.trim().parse::<u64>().unwrap() >= open_files_max().min(limits::FILES_TABLE), "{size}");
    }

    #[test]
    fn own_listeners_are_not_in_the_way_of_a_look() {
        let one = listen_alone("127.0.0.1:0".parse().unwrap()).unwrap();
        let open = [one.local_addr().unwrap()];
        let at = |host: &str| format!("{host}:{}", open[0].port()).parse().unwrap();
        for address in ["127.0.0.1", "0.0.0.0"].map(at) {
            assert_eq!(probe_beside(address, &[]).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            assert_eq!(probe_beside(address, &open).unwrap(), address);
        }
        let other = listen_alone("127.0.0.2:0".parse().unwrap()).unwrap().local_addr().unwrap();
        let _taken = listen_alone(other).unwrap();
        assert_eq!(
            probe_beside(other, &open).unwrap_err().kind(),
            io::ErrorKind::AddrInUse,
            "another one is"
        );
        assert_ne!(probe_beside("127.0.0.1:0".parse().unwrap(), &open).unwrap().port(), 0);
    }

    #[test]
    fn a_directory_is_locked_once_and_given_back_as_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        let lock = lock_directory(scratch.path()).unwrap();
        assert!(matches!(lock_existing(scratch.path()), Err(LockError::Taken)));
        std::fs::remove_file(scratch.path().join("lock")).unwrap();
        assert!(matches!(lock_existing(scratch.path()), Err(LockError::Taken)), "the file is not all");
        drop(lock);
        std::fs::remove_file(scratch.path().join("lock")).unwrap();
        lock_existing(scratch.path()).unwrap().undo();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_machines_memory_needs_no_table() {
        let (asked, table) = (memory_of_machine(), memory_in_table().expect("Linux"));
        // A container's own table may tell less.
        assert!(asked >= table && memory_max().unwrap() <= table, "{asked} and {table}");
        assert!(asked < 1 << 50, "{asked} in bytes");
    }

    /// What one client after the other filled, with something that lives behind it, is the system's again.
    #[test]
    fn memory_that_was_freed_is_given_back() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
        };
        let mut pieces: Vec<Vec<u8>> = (0..128 * 1024).map(|_| vec![1; 1000]).collect();
        let last = pieces.pop();
        let before = resident();
        pieces.clear();
        super::give_back_memory();
        let after = resident();
        // Other tests run beside it.
        assert!(after + 80 < before, "{before} MiB, then {after} MiB");
        drop(last);
    }
}
