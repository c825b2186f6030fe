//! The relay under test: a command that is started, watched, killed and started again, or one that runs already.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::sys;

/// How long a relay may take until it greets.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end when asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long a look whether it greets may take.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of its output shown when it fails.
const WORDS_MAX: usize = 2000;

/// What a relay is to know, passed to its command as environment variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// `LOAD_LISTEN`: where it is to take mail.
    pub listen: SocketAddr,
    /// `LOAD_DNS`: the name server it is to ask.
    pub dns: SocketAddr,
    /// `LOAD_MX_PORT`: where the hosts of the simulated internet listen.
    pub mx_port: u16,
    /// `LOAD_DIR`: a directory of its own, kept over a kill.
    pub directory: PathBuf,
    /// `LOAD_SHARDS`: threads it may use, 0: all.
    pub shards: usize,
}

/// How to get at a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A shell command that runs it in the foreground.
    Command(String),
    /// It runs already: where, and its process, if its cost is to be measured.
    Running(SocketAddr, Option<u32>),
}

/// What a relay used up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time, seconds.
    pub cpu: f64,
    /// Memory of its own (neither files nor what it shares), bytes.
    pub anonymous: u64,
    /// All memory it has in use, mapped files included, bytes.
    pub resident: u64,
}

/// A relay.
pub struct Relay {
    target: Target,
    surroundings: Surroundings,
    child: Option<Child>,
    /// Processor time of earlier lives.
    before: f64,
    started: Instant,
}

impl Relay {
    /// Starts it, or looks at the running one, and waits until it greets.
    pub fn start(target: Target, surroundings: Surroundings) -> io::Result<Relay> {
        let mut relay = Relay { target, surroundings, child: None, before: 0.0, started: Instant::now() };
        relay.spawn()?;
        while !relay.greets()? {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(relay)
    }

    /// Where it takes mail.
    pub fn address(&self) -> SocketAddr {
        match self.target {
            Target::Running(address, _) => address,
            Target::Command(_) => self.surroundings.listen,
        }
    }

    /// Whether it can be killed and started again.
    pub fn is_ours(&self) -> bool {
        matches!(self.target, Target::Command(_))
    }

    /// Starts the command. [`Relay::greets`] says when it is ready.
    pub fn spawn(&mut self) -> io::Result<()> {
        self.started = Instant::now();
        let Target::Command(command) = &self.target else { return Ok(()) };
        let Surroundings { listen, dns, mx_port, directory, shards } = &self.surroundings;
        let output = fs::OpenOptions::new().create(true).append(true).open(self.output())?;
        let child = Command::new("sh")
            .arg("-c")
            .arg(command)
            .env("LOAD_LISTEN", listen.to_string())
            .env("LOAD_DNS", dns.to_string())
            .env("LOAD_MX_PORT", mx_port.to_string())
            .env("LOAD_DIR", directory)
            .env("LOAD_SHARDS", shards.to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C is for us; it is told to end in order.
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot run a shell: {error}")))?;
        self.child = Some(child);
        Ok(())
    }

    fn output(&self) -> PathBuf {
        self.surroundings.directory.join("output.txt")
    }

    /// The end of what it printed.
    pub fn words(&self) -> String {
        let text = fs::read(self.output()).unwrap_or_default();
        let from = text.len().saturating_sub(WORDS_MAX);
        String::from_utf8_lossy(&text[from..]).trim().to_owned()
    }

    /// Whether it greets by now. An error: it ended, or takes too long.
    pub fn greets(&mut self) -> io::Result<bool> {
        self.check()?;
        let greeted = TcpStream::connect_timeout(&self.address(), LOOK).and_then(|mut stream| {
            stream.set_read_timeout(Some(LOOK))?;
            let mut code = [0; 3];
            stream.read_exact(&mut code)?;
            Ok(code == *b"220")
        });
        if greeted.unwrap_or(false) {
            return Ok(true);
        }
        if self.started.elapsed() > START_PATIENCE {
            let text = format!("the relay does not greet at {}: {}", self.address(), self.words());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        Ok(false)
    }

    /// An error if it ended by itself.
    pub fn check(&mut self) -> io::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        match child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                self.child = None;
                Err(io::Error::other(format!("the relay ended by itself, {status}: {}", self.words())))
            }
        }
    }

    /// Its process, where that is known; of a command, the shell that may have become it.
    pub fn pid(&self) -> Option<u32> {
        match &self.target {
            Target::Running(_, pid) => *pid,
            Target::Command(_) => self.child.as_ref().map(Child::id),
        }
    }

    /// What it used in all its lives. None when its process is not known.
    pub fn usage(&self) -> Option<Usage> {
        let mut usage = self.pid().map_or(Usage::default(), |pid| Processes::read().usage(pid));
        usage.cpu += self.before;
        (self.is_ours() || self.pid().is_some()).then_some(usage)
    }

    /// SIGKILL, for it and all it started.
    pub fn kill(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let processes = Processes::read();
        self.before += processes.usage(child.id()).cpu;
        for pid in processes.family(child.id()) {
            // One may have ended by itself just now.
            let _ = sys::signal(pid, libc::SIGKILL);
        }
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits. None: it runs on, because it is not ours. The error says that it had to be killed.
    pub fn stop(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        // The shell of a command does not always pass a signal on.
        let family = Processes::read().family(child.id());
        for pid in &family {
            // One may have ended by itself just now.
            let _ = sys::signal(*pid, libc::SIGTERM);
        }
        let (since, mut ended) = (Instant::now(), None);
        while since.elapsed() < STOP_PATIENCE {
            ended = match ended {
                None => child.try_wait()?,
                some => some,
            };
            if let Some(status) = ended
                && !family.iter().any(|pid| Processes::is_alive(*pid))
            {
                self.child = None;
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for pid in family.into_iter().filter(|pid| Processes::is_alive(*pid)) {
            let _ = sys::signal(pid, libc::SIGKILL);
        }
        self.kill()?;
        let text = format!("the relay did not end within {} s of SIGTERM", STOP_PATIENCE.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// All processes of the machine at one moment.
struct Processes(HashMap<u32, Process>);

struct Process {
    parent: u32,
    ticks: u64,
}

impl Processes {
    fn read() -> Processes {
        let mut all = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(process) = Processes::stat(&entry.path()) {
                all.insert(pid, process);
            }
        }
        Processes(all)
    }

    /// Whether it runs; one that ended and was not waited for does not.
    fn is_alive(pid: u32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Parent, and processor time with that of children waited for (proc_pid_stat(5), fields 4 and 14 to 17).
    fn stat(directory: &Path) -> Option<Process> {
        let text = fs::read_to_string(directory.join("stat")).ok()?;
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let ticks = (11..15).filter_map(number).sum();
        Some(Process { parent: number(1)? as u32, ticks })
    }

    /// A process and all below it.
    fn family(&self, root: u32) -> Vec<u32> {
        let mut found = vec![root];
        let mut at = 0;
        while at < found.len() {
            let parent = found[at];
            found.extend(self.0.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        found
    }

    fn usage(&self, root: u32) -> Usage {
        let mut usage = Usage::default();
        for pid in self.family(root) {
            let ticks = self.0.get(&pid).map_or(0, |process| process.ticks);
            usage.cpu += ticks as f64 / sys::ticks_per_second();
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                line.split_ascii_whitespace().next()?.parse::<u64>().ok()
            };
            usage.anonymous += field("RssAnon:").unwrap_or(0) * 1024;
            usage.resident += field("VmRSS:").unwrap_or(0) * 1024;
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(name: &str) -> Surroundings {
        let directory = std::env::temp_dir().join(format!("relevo-load-relay-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        Surroundings { listen: nowhere, dns: nowhere, mx_port: 25, directory, shards: 2 }
    }

    #[test]
    fn a_relay_that_ends_says_why() {
        let surroundings = surroundings("ends");
        let target = Target::Command("echo \"no $LOAD_SHARDS shards\" >&2; exit 3".to_owned());
        let error = Relay::start(target, surroundings.clone()).err().unwrap().to_string();
        assert!(error.contains("no 2 shards") && error.contains('3'), "{error}");
        fs::remove_dir_all(surroundings.directory).unwrap();
    }

    #[test]
    fn all_it_started_is_counted_and_killed() {
        let surroundings = surroundings("family");
        let command = "(while :; do :; done) & echo $! > $LOAD_DIR/pid; sleep 100; true";
        let target = Target::Command(command.to_owned());
        let mut relay = Relay {
            target,
            surroundings: surroundings.clone(),
            child: None,
            before: 0.0,
            started: Instant::now(),
        };
        relay.spawn().unwrap();
        let since = Instant::now();
        while relay.usage().unwrap().cpu < 0.05 {
            assert!(since.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(relay.usage().unwrap().resident > 0);
        relay.kill().unwrap();
        let pid = fs::read_to_string(surroundings.directory.join("pid")).unwrap();
        let since = Instant::now();
        loop {
            let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "{state}");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(relay.usage().unwrap().cpu >= 0.05, "earlier lives count");
        fs::remove_dir_all(surroundings.directory).unwrap();
    }
}
