//! What a supervisor is told that started this process, as systemd wants it (sd_notify(3)): that it serves, reads its configuration again, stops,
//! and how it is. Where there is none (`NOTIFY_SOCKET` is not set) nothing is told, and nothing else differs. Never by a shard.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, sendmsg_addr, sendto, socket_with,
};

use crate::limits;
use crate::runtime::process;

/// The way to the supervisor, and what it knows.
#[derive(Debug)]
pub struct Supervisor {
    socket: OwnedFd,
    address: SocketAddrUnix,
    /// It wants to hear that the process lives within this time; None: it does not.
    patience: Option<Duration>,
    told: Mutex<Told>,
}

/// What was told last.
#[derive(Debug, Default)]
struct Told {
    stage: Stage,
    state: String,
    at: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Starting,
    Serving,
    Stopping,
}

/// That of this process, if there is one; what it is told before the first call is nothing.
pub fn supervisor() -> Option<&'static Supervisor> {
    static OURS: OnceLock<Option<Supervisor>> = OnceLock::new();
    let variable = |name| std::env::var_os(name);
    OURS.get_or_init(|| {
        Supervisor::find(variable("NOTIFY_SOCKET")?, variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"))
    })
    .as_ref()
}

impl Supervisor {
    /// By what systemd puts into the environment. None: the address is none of a Unix socket, or there are no sockets.
    fn find(at: OsString, micros: Option<OsString>, watched: Option<OsString>) -> Option<Supervisor> {
        let address = match at.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name).ok()?,
            [b'/', ..] => SocketAddrUnix::new(at.as_bytes()).ok()?,
            _ => return None,
        };
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
        // It waits for a supervisor that is busy, and does not hang with one that does.
        set_socket_timeout(&socket, Timeout::Send, Some(limits::NOTIFY_PATIENCE)).ok()?;
        let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
        let ours = watched.is_none_or(|pid| number(pid) == Some(u64::from(std::process::id())));
        let patience = micros.and_then(number).filter(|micros| ours && *micros > 0);
        let patience = patience.map(Duration::from_micros);
        Some(Supervisor { socket, address, patience, told: Mutex::default() })
    }

    /// It serves from now on.
    pub fn ready(&self) {
        let mut told = self.told();
        told.stage = Stage::Serving;
        self.send("READY=1", SendFlags::NOSIGNAL);
    }

    /// It reads its configuration again until what this gives is dropped.
    pub fn reloading(&self) -> Reloading<'_> {
        let told = self.told();
        if told.stage == Stage::Serving {
            let micros = process::since_boot().as_micros();
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"), SendFlags::NOSIGNAL);
        }
        drop(told);
        Reloading(self)
    }

    /// It stops from now on.
    pub fn stopping(&self) {
        let mut told = self.told();
        told.stage = Stage::Stopping;
        self.send("STOPPING=1", SendFlags::NOSIGNAL);
    }

    /// Another process of ours is the one that serves, as which it is known from now on. Waits until that was heard, within a bound: of a process that
    /// is no more nobody would know whose word it was.
    pub fn succeeded_by(&self, process: u32) {
        self.told().stage = Stage::Stopping;
        self.send(&format!("MAINPID={process}\nREADY=1"), SendFlags::NOSIGNAL);
        let Ok((ours, theirs)) = std::io::pipe() else { return };
        let descriptors = [theirs.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let words = [std::io::IoSlice::new(b"BARRIER=1")];
        let sent = sendmsg_addr(&self.socket, &self.address, &words, &mut control, SendFlags::NOSIGNAL);
        drop(theirs);
        if sent.is_ok() {
            let seconds = limits::SUPERVISOR_BARRIER.as_secs() as i64;
            // It is closed when all before was heard.
            let mut set = [PollFd::new(&ours, PollFlags::IN)];
            let _ = poll(&mut set, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 }));
        }
    }

    /// How it is, as often as somebody looks: told when `state` changes and a few times in the time in which the supervisor wants to hear that
    /// the process lives. That it does is told only where it `lives`. Never waits.
    pub fn look(&self, now: Duration, lives: bool, state: &str, details: &str) {
        // Who has it waits for the supervisor.
        let Ok(mut told) = self.told.try_lock() else { return };
        let pause = self.patience.map_or(limits::NOTIFY_PAUSE, |patience| patience / limits::NOTIFY_BEATS);
        let due = told.at.is_none_or(|at| now.saturating_sub(at) >= pause.min(limits::NOTIFY_PAUSE));
        if !due && told.state == state {
            return;
        }
        let beat = if lives && self.patience.is_some() { "WATCHDOG=1\n" } else { "" };
        let words: String = format!("{state}{details}").chars().take(limits::NOTIFY_WORDS).collect();
        let words = words.replace(char::is_control, " ");
        if self.send(&format!("{beat}STATUS={words}"), SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            told.at = Some(now);
            state.clone_into(&mut told.state);
        }
    }

    /// Whether it was taken. What is not is lost: the supervisor then does what it does with a process that says nothing.
    fn send(&self, words: &str, flags: SendFlags) -> bool {
        sendto(&self.socket, words.as_bytes(), flags, &self.address).is_ok()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A configuration is being read again.
#[derive(Debug)]
pub struct Reloading<'a>(&'a Supervisor);

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        let told = self.0.told();
        if told.stage == Stage::Serving {
            self.0.send("READY=1", SendFlags::NOSIGNAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn supervised(micros: Option<&str>, pid: Option<&str>) -> (Supervisor, UnixDatagram, tempfile::TempDir) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("notify");
        let theirs = UnixDatagram::bind(&path).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let ours = Supervisor::find(path.into(), micros.map(Into::into), pid.map(Into::into)).unwrap();
        (ours, theirs, scratch)
    }

    fn heard(theirs: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 4096];
        let count = theirs.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..count].to_vec()).unwrap())
    }

    #[test]
    fn what_it_does_is_told_in_its_order() {
        let (ours, theirs, _scratch) = supervised(None, None);
        drop(ours.reloading());
        assert_eq!(heard(&theirs), None, "a reload in a start makes nothing ready");
        ours.ready();
        assert_eq!(heard(&theirs).unwrap(), "READY=1");
        let reload = ours.reloading();
        let words = heard(&theirs).unwrap();
        let micros = words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("systemd 253 wants the time");
        let now = process::since_boot().as_micros();
        assert!(now - micros.parse::<u128>().unwrap() < 60_000_000, "{words}");
        drop(reload);
        assert_eq!(heard(&theirs).unwrap(), "READY=1");
        let reload = ours.reloading();
        heard(&theirs).unwrap();
        ours.stopping();
        assert_eq!(heard(&theirs).unwrap(), "STOPPING=1");
        drop(reload);
        assert_eq!(heard(&theirs), None, "it stops, whatever ends meanwhile");
    }

    #[test]
    fn who_takes_over_is_told_and_a_supervisor_that_hears_nothing_holds_nobody_up() {
        let (ours, theirs, _scratch) = supervised(None, None);
        ours.ready();
        heard(&theirs).unwrap();
        let hears = std::thread::Builder::new().spawn(move || {
            theirs.set_nonblocking(false).unwrap();
            let mut bytes = [0; 100];
            let count = theirs.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..count], b"MAINPID=77\nREADY=1");
            // What came with it is closed where nobody takes it.
            let count = theirs.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..count], b"BARRIER=1");
            theirs
        });
        let began = process::since_boot();
        ours.succeeded_by(77);
        assert!(process::since_boot() - began < limits::SUPERVISOR_BARRIER, "it was heard");
        let theirs = hears.unwrap().join().unwrap();
        drop(ours.reloading());
        theirs.set_nonblocking(true).unwrap();
        assert_eq!(heard(&theirs), None, "it is another's to say how it is");
    }

    #[test]
    fn only_what_lives_says_so_and_often_enough() {
        let (ours, theirs, _scratch) = supervised(Some("9000000"), None);
        let look = |second, lives, state| {
            ours.look(Duration::from_secs(second), lives, state, ": 5 recipients\nwait");
            heard(&theirs)
        };
        assert_eq!(look(0, true, "takes mail").unwrap(), "WATCHDOG=1\nSTATUS=takes mail: 5 recipients wait");
        assert_eq!(look(1, true, "takes mail"), None);
        assert_eq!(look(2, true, "refuses").unwrap(), "WATCHDOG=1\nSTATUS=refuses: 5 recipients wait");
        assert_eq!(look(4, true, "refuses"), None);
        assert!(look(5, true, "refuses").unwrap().starts_with("WATCHDOG=1\n"), "a third of its patience");
        assert_eq!(look(9, false, "stands still").unwrap(), "STATUS=stands still: 5 recipients wait");
        assert_eq!(look(12, false, "stands still").unwrap(), "STATUS=stands still: 5 recipients wait");
        assert!(look(15, true, "refuses").unwrap().starts_with("WATCHDOG=1\n"));
    }

    #[test]
    fn nobody_is_told_that_it_lives_who_does_not_want_to_hear_it() {
        for (micros, pid) in
            [(None, None), (Some("0"), None), (Some("x"), None), (Some("9000000"), Some("1"))]
        {
            let (ours, theirs, _scratch) = supervised(micros, pid);
            ours.look(Duration::ZERO, true, "takes mail", "");
            assert_eq!(heard(&theirs).unwrap(), "STATUS=takes mail", "{micros:?} {pid:?}");
        }
        let own = std::process::id().to_string();
        let (ours, theirs, _scratch) = supervised(Some("9000000"), Some(&own));
        ours.look(Duration::ZERO, true, "takes mail", "");
        assert!(heard(&theirs).unwrap().starts_with("WATCHDOG=1\n"));
    }

    #[test]
    fn addresses_are_paths_or_abstract_names_and_a_supervisor_that_is_gone_holds_up_nobody() {
        for address in ["", "vsock:2:1234", "relative/path"] {
            assert!(Supervisor::find(address.into(), None, None).is_none(), "{address}");
        }
        assert!(Supervisor::find("@relevo-notify-test".into(), None, None).is_some());
        let (ours, theirs, scratch) = supervised(Some("3000000"), None);
        // It takes no more than its queue holds.
        for second in 0..2000 {
            ours.look(Duration::from_secs(second), true, "takes mail", "");
        }
        drop(theirs);
        drop(scratch);
        ours.look(Duration::from_secs(3000), true, "takes mail", "");
        ours.ready();
    }
}
