//! Two processes of one relay, the older of which starts the newer and hands over to it: what they say to each other, on a socket that nobody else has.
//!
//! The older one hands over its listening sockets first, and then waits; the newer one says when it has got ready what needs no lock. Then the older one
//! stops, and says so; the newer one says when it serves. Whichever ends before it said its last word is noticed by the other, as the socket ends.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::given::{self, At, Owner, Socket};
use super::process;
use crate::limits;

/// In the environment of a process that takes over: from which.
const PREDECESSOR: &str = "RELEVO_PREDECESSOR";
/// What of a supervisor's is for one process alone.
const OF_ONE: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", WATCHED];
const WATCHED: &str = "WATCHDOG_PID";
/// How a message begins that has sockets.
const SOCKETS: &str = "sockets\n";

/// What is said.
pub mod words {
    /// By the older one: these were all sockets.
    pub const ALL: &str = "all";
    /// By the newer one: all that needs no lock is ready.
    pub const PREPARED: &str = "prepared";
    /// By the older one, with the microseconds of the machine's clock since which it takes nobody in: it has let go of everything. Behind
    /// that why it is this process once more.
    pub const YOURS: &str = "yours";
    /// By the newer one: it takes mail.
    pub const SERVING: &str = "serving";
}

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// A word.
    Word(String),
    /// Sockets, which are given from now on.
    Sockets,
    /// Nothing in this time.
    Silence,
    /// The other process is no more.
    Gone,
}

/// One end of it.
#[derive(Debug)]
pub struct Line(OwnedFd);

impl Line {
    fn pair() -> io::Result<(Line, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&ours, Timeout::Send, Some(limits::SUCCESSION_SAY))?;
        Ok((Line(ours), theirs))
    }

    /// Says a word.
    pub fn say(&self, word: &str) -> io::Result<()> {
        self.send(word.as_bytes(), &[])
    }

    /// Hands over sockets.
    pub fn hand(&self, sockets: &[Socket]) -> io::Result<()> {
        let mut told: Vec<&Socket> = Vec::new();
        for socket in sockets {
            if told.iter().any(|other| alike(other, socket)) {
                continue;
            }
            told.push(socket);
            let all: Vec<_> = sockets.iter().filter(|other| alike(other, socket)).collect();
            for some in all.chunks(limits::SOCKETS_AT_ONCE) {
                let descriptors: Vec<_> = some.iter().map(|one| one.descriptor.as_fd()).collect();
                self.send(&written(socket), &descriptors)?;
            }
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        const ROOM: usize = rustix::cmsg_space!(ScmRights(limits::SOCKETS_AT_ONCE));
        let mut space = [MaybeUninit::uninit(); ROOM];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Hears what the other says within this time.
    pub fn hear(&self, patience: Duration) -> io::Result<Heard> {
        let span = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        let mut set = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut set, Some(&span)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Heard::Silence),
            ready => ready?,
        };
        const ROOM: usize = rustix::cmsg_space!(ScmRights(limits::SOCKETS_AT_ONCE));
        let mut space = [MaybeUninit::uninit(); ROOM];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; limits::SUCCESSION_MESSAGE_MAX];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let heard = match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Ok(heard) => heard,
            Err(rustix::io::Errno::AGAIN) => return Ok(Heard::Silence),
            Err(rustix::io::Errno::CONNRESET) => return Ok(Heard::Gone),
            Err(error) => return Err(error.into()),
        };
        bytes.truncate(heard.bytes);
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(all) = message {
                descriptors.extend(all);
            }
        }
        if bytes.is_empty() {
            return Ok(Heard::Gone);
        }
        let strange =
            || io::Error::new(io::ErrorKind::InvalidData, "the other process says what nobody understands");
        let Some(told) = bytes.strip_prefix(SOCKETS.as_bytes()) else {
            return String::from_utf8(bytes).map(Heard::Word).map_err(|_| strange());
        };
        let (at, owner) = read(told).ok_or_else(strange)?;
        for descriptor in descriptors {
            given::add(Socket { at: at.clone(), owner: owner.clone(), descriptor });
        }
        Ok(Heard::Sockets)
    }
}

/// Whether one message is for both.
fn alike(one: &Socket, other: &Socket) -> bool {
    one.at == other.at && one.owner == other.owner
}

/// Whose it is, then where it listens: a path ends the message.
fn written(socket: &Socket) -> Vec<u8> {
    let owner = match &socket.owner {
        Owner::Supervisor(name) => format!("supervisor {}", name.replace('\n', " ")),
        Owner::Relay(Some((device, number))) => format!("relay {device} {number}"),
        Owner::Relay(None) => "relay".to_owned(),
    };
    let mut bytes = format!("{SOCKETS}{owner}\n").into_bytes();
    match &socket.at {
        At::Network(address) => bytes.extend_from_slice(address.to_string().as_bytes()),
        At::Path(path) => {
            bytes.extend_from_slice([b"unix:", path.as_os_str().as_bytes()].concat().as_slice())
        }
    }
    bytes
}

fn read(told: &[u8]) -> Option<(At, Owner)> {
    let end = told.iter().position(|byte| *byte == b'\n')?;
    let (owner, at) = (std::str::from_utf8(&told[..end]).ok()?, &told[end + 1..]);
    let owner = match owner.split_once(' ') {
        None if owner == "relay" => Owner::Relay(None),
        Some(("supervisor", name)) => Owner::Supervisor(name.to_owned()),
        Some(("relay", file)) => {
            let (device, number) = file.split_once(' ')?;
            Owner::Relay(Some((device.parse().ok()?, number.parse().ok()?)))
        }
        _ => return None,
    };
    let at = match at.strip_prefix(b"unix:") {
        Some(path) => At::Path(PathBuf::from(OsString::from_vec(path.to_vec()))),
        None => At::Network(std::str::from_utf8(at).ok()?.parse().ok()?),
    };
    Some((at, owner))
}

/// The way to the process that this one takes over from, if there is one: it is asked for once. Standard input is nobody's then.
pub fn predecessor() -> Option<io::Result<Line>> {
    let from: u32 = std::env::var(PREDECESSOR).ok()?.parse().ok()?;
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    if from != std::process::id() && Some(from) != parent {
        // Of a process that is no more, by way of others.
        return None;
    }
    let line = || {
        let line = std::io::stdin().as_fd().try_clone_to_owned()?;
        let nobody = File::open("/dev/null")?;
        // SAFETY: both are open; who reads standard input from now on finds its end.
        if unsafe { libc::dup2(nobody.as_raw_fd(), 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        set_socket_timeout(&line, Timeout::Send, Some(limits::SUCCESSION_SAY))?;
        Ok(Line(line))
    };
    Some(line())
}

/// The program that this process was started as, by its name then: what is there now may be another one.
pub fn program() -> io::Result<PathBuf> {
    let named = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if named.components().count() > 1 {
        return std::path::absolute(named);
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|directory| directory.join(&named)).find(|place| place.is_file())
    });
    on_path.filter(|_| !named.as_os_str().is_empty()).map_or_else(std::env::current_exe, std::path::absolute)
}

/// Asks a program something and waits for its end, within a bound or until `over` says so. What it printed; an error is what it complained of.
pub fn ask(
    program: &Path,
    arguments: &[OsString],
    patience: Duration,
    over: &mut dyn FnMut() -> bool,
) -> Result<String, String> {
    let failed = |error: io::Error| format!("{}: {error}", program.display());
    let paper = || rustix::fs::memfd_create("relevo-asked", MemfdFlags::CLOEXEC).map(File::from);
    let (said, complained) = (paper().map_err(|e| failed(e.into()))?, paper().map_err(|e| failed(e.into()))?);
    let copy = |file: &File| file.try_clone().map(Stdio::from);
    let mut command = Command::new(program);
    command.args(arguments).env_remove(PREDECESSOR).stdin(Stdio::null());
    command.stdout(copy(&said).map_err(failed)?).stderr(copy(&complained).map_err(failed)?);
    let mut child = command.spawn().map_err(failed)?;
    let until = process::since_boot() + patience;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if over() || process::since_boot() >= until => {
                end(&mut child);
                return Err(format!("{} did not end within {} s", program.display(), patience.as_secs()));
            }
            None => process::pause(limits::SUCCESSION_LOOK),
        }
    };
    let read = |file: &File| {
        let mut bytes = vec![0; limits::UPGRADE_WORDS as usize];
        let count = file.read_at(&mut bytes, 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
    };
    if status.success() {
        return Ok(read(&said));
    }
    let words = read(&complained);
    Err(if words.is_empty() { format!("{}: {status}", program.display()) } else { words })
}

/// Ends a process that was started here, and buries it.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Asks it to end in order.
pub fn ask_to_end(child: &Child) {
    if let Ok(raw) = i32::try_from(child.id())
        && let Some(pid) = rustix::process::Pid::from_raw(raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Sends this process the signal that begins it.
pub fn ask_for() -> io::Result<()> {
    Ok(rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR2)?)
}

/// Starts a program as this one was, which is to take over from this process.
pub fn start(program: &Path) -> io::Result<(Child, Line)> {
    let (line, theirs) = Line::pair()?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).stdin(Stdio::from(theirs));
    for name in OF_ONE {
        command.env_remove(name);
    }
    let child = command.env(PREDECESSOR, std::process::id().to_string()).spawn()?;
    Ok((child, line))
}

/// Begins this very program anew, in this process, with these sockets: for who has let go of everything, and nobody has taken over. Comes back
/// with the error alone.
pub fn begin_anew(sockets: &[Socket], since: Duration, why: &str) -> io::Error {
    let begun = || {
        let (line, theirs) = Line::pair()?;
        line.hand(sockets)?;
        line.say(words::ALL)?;
        line.say(&format!("{} {} {why}", words::YOURS, since.as_micros()))?;
        let mut command = Command::new("/proc/self/exe");
        let mut arguments = std::env::args_os();
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments).stdin(Stdio::from(theirs));
        for name in OF_ONE.into_iter().filter(|name| *name != WATCHED) {
            command.env_remove(name);
        }
        command.env(PREDECESSOR, std::process::id().to_string());
        Ok(command.exec())
    };
    begun().unwrap_or_else(|error| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn far_end(theirs: OwnedFd) -> Line {
        Line(theirs)
    }

    #[test]
    fn what_one_says_the_other_hears() {
        let (ours, theirs) = Line::pair().unwrap();
        let theirs = far_end(theirs);
        assert!(matches!(theirs.hear(Duration::ZERO).unwrap(), Heard::Silence));
        ours.say(words::PREPARED).unwrap();
        ours.say("yours 12").unwrap();
        for wanted in ["prepared", "yours 12"] {
            assert!(
                matches!(theirs.hear(Duration::from_secs(5)).unwrap(), Heard::Word(word) if word == wanted)
            );
        }
        drop(ours);
        assert!(matches!(theirs.hear(Duration::from_secs(5)).unwrap(), Heard::Gone));
        assert!(theirs.say("all").is_err(), "and no signal");
    }

    #[test]
    fn sockets_arrive_as_what_they_were() {
        let _alone = given::TESTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let listener = process::listen_alone("127.0.0.8:0".parse().unwrap()).unwrap();
        let at = At::Network(listener.local_addr().unwrap());
        let descriptor = OwnedFd::from(listener);
        let socket = |owner: &Owner| Socket {
            at: at.clone(),
            owner: owner.clone(),
            descriptor: descriptor.try_clone().unwrap(),
        };
        let (ours, theirs) = Line::pair().unwrap();
        let all: Vec<_> = (0..200).map(|_| socket(&Owner::Relay(None))).collect();
        ours.hand(&all).unwrap();
        ours.say(words::ALL).unwrap();
        let theirs = far_end(theirs);
        let mut messages = 0;
        while let Heard::Sockets = theirs.hear(Duration::from_secs(5)).unwrap() {
            messages += 1;
        }
        assert_eq!(messages, 2, "no more in one than the kernel lets pass");
        given::share_among(1);
        assert!(matches!(given::take(&at).unwrap(), Some(given::Taken::Own(all, None)) if all.len() == 200));
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let file = || OwnedFd::from(File::open("/dev/null").unwrap());
        for (at, owner) in [
            (At::Network("[::1]:25".parse().unwrap()), Owner::Relay(None)),
            (At::Path("/run/a b\nc".into()), Owner::Relay(Some((3, 4)))),
            (At::Network("0.0.0.0:587".parse().unwrap()), Owner::Supervisor("smtp in".into())),
        ] {
            let bytes = written(&Socket { at: at.clone(), owner: owner.clone(), descriptor: file() });
            assert_eq!(read(&bytes[SOCKETS.len()..]), Some((at, owner)));
        }
        for strange in ["", "relay", "relay\n25", "relay 1\n0.0.0.0:25", "other x\n0.0.0.0:25", "relay\n"] {
            assert_eq!(read(strange.as_bytes()), None, "{strange:?}");
        }
    }

    #[test]
    fn a_program_is_asked_within_a_bound() {
        let sh = |script: &str, patience: u64, over: bool| {
            let arguments = ["-c", script].map(OsString::from);
            ask(Path::new("/bin/sh"), &arguments, Duration::from_millis(patience), &mut || over)
        };
        assert_eq!(sh("echo well; echo no >&2", 9000, false), Ok("well".to_owned()));
        assert_eq!(sh("echo well; echo no >&2; exit 1", 9000, false), Err("no".to_owned()));
        assert!(sh("exit 3", 9000, false).unwrap_err().contains("exit status: 3"));
        assert!(sh("exec sleep 60", 50, false).unwrap_err().contains("did not end"));
        assert!(sh("exec sleep 60", 9000, true).unwrap_err().contains("did not end"));
        assert!(ask(Path::new("/nowhere/relevo"), &[], Duration::ZERO, &mut || false).is_err());
    }
}
