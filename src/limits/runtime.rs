//! The machine: rings, threads, sockets.

use std::time::Duration;

/// Looks at whether another who starts just now has done with the directory of a Unix socket.
pub const SOCKET_LOCK_TRIES: u32 = 50;
/// Between two of them.
pub const SOCKET_LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Longest time an idle shard may look for work before it sleeps: above this it burns a core and gains nothing.
pub const SPIN_MAX: Duration = Duration::from_millis(1);
/// Entries of a shard's io_uring, which only files, timers and one poll use; a power of two in this range.
pub const RING_DEPTH_DEFAULT: u64 = 128;
/// Fewest entries: a handful of timers, files and polls at one time.
pub const RING_DEPTH_MIN: u64 = 32;
/// Most entries a kernel gives to a ring by default is 32,768; nothing here needs an eighth of it.
pub const RING_DEPTH_MAX: u64 = 4096;

/// Turns of a busy shard before the others that it rang for are woken: their wakes are one system call then.
pub const RUNG_TURNS_MAX: u32 = 8;

/// How long what is neither a file nor a pipe (a terminal) may say nothing.
pub const TERMINAL_PATIENCE: Duration = Duration::from_secs(2);
/// How long a pipe's writer may take for its next byte: a program that asks a service for a secret needs seconds, and says nothing meanwhile.
pub const PIPE_PATIENCE: Duration = Duration::from_secs(30);

/// Files for which the kernel is to have a table at once: half a megabyte of its memory.
pub const FILES_TABLE: u64 = 1 << 16;
/// Connections the kernel may queue for a listener of an ordinary thread, where people and scrapers come.
pub const LISTEN_ALONE_BACKLOG: i32 = 128;

/// Rounds of a busy shard before glommio's own rings get a turn (syncs to start, and finished ones).
pub const RINGS_ROUNDS: u32 = 16;
/// Turns the other tasks get before the sockets are looked at again, if they still have something to do.
pub const LOOK_TURNS: u32 = 16;
/// A turn given to glommio: longer than it takes to make a timer, shorter than its way to its rings.
pub const RINGS_TURN: Duration = Duration::from_micros(1);
/// How late a sleeper may be while glommio is parked.
pub const PARKED_PULSE: Duration = Duration::from_millis(10);

/// How long tasks that never pause may run before glommio looks at its rings by itself. Long, because the loop around it says when it has
/// to, and because each time may meet the defect that the watchdog is for.
pub const PREEMPT_AFTER: Duration = Duration::from_millis(100);

/// How often the watchdog looks while any shard is awake; a stuck one is woken after one to two of these.
pub const WATCHDOG_LOOK: Duration = Duration::from_millis(10);
/// How often it looks while all of them rightly sleep.
pub const WATCHDOG_REST: Duration = Duration::from_millis(100);

/// How long an idle thread that computes keeps its memory for the next piece of work.
pub const COMPUTE_MEMORY_KEPT: Duration = Duration::from_secs(2);
/// How often it is looked whether a piece of work has waited too long for such a thread.
pub const COMPUTE_LOOK: Duration = Duration::from_millis(200);
/// How soon again at a thread that could not be looked at.
pub const COMPUTE_LOOK_AGAIN: Duration = Duration::from_millis(1);

/// io_uring needs about this much locked memory for a shard's rings on older kernels.
pub const MEMLOCK_PER_SHARD: u64 = 512 * 1024;
/// Descriptors one shard needs before any connection.
pub const DESCRIPTORS_BASE: u64 = 512;

/// Events of sockets taken in one system call.
pub const EVENTS_AT_ONCE: usize = 256;

/// A yield of the core takes less if nobody wants it.
pub const YIELD_TO_NOBODY: Duration = Duration::from_micros(5);

/// Bytes of a new segment zeroed in one write.
pub const ZEROES_AT_ONCE: usize = 1024 * 1024;

/// Connections the kernel may queue for one listener of a shard.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Polls of a task shorter than this many ticks are not looked at any closer: 30 to 100 us.
pub const POLL_SHORT: u64 = 100_000;

/// Tasks polled before the sockets and the clock are looked at again.
pub const POLLS_AT_ONCE: usize = 128;

/// Wakes by other threads that are remembered one by one; if more come before the executor looks, it wakes all tasks.
pub const FOREIGN_WAKES_MAX: usize = 4096;
/// Bytes of a line of numbers in /proc: seven of them, or three, of at most 20 digits.
pub const PROC_LINE_MAX: usize = 160;
/// Random numbers that a shard draws from the kernel at once: a call of the kernel costs as much as hundreds of them.
pub const RANDOM_POOL: usize = 256;
