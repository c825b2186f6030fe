//! The machine's files that say where names are: read again when they change, as a network that comes and goes rewrites them.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{DnsConfig, value};
use crate::control::say::say;
use crate::dns::latest::{Latest, ResolverFiles};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::files::{self, Stamp};
use crate::runtime::process;

/// Where the machine names its name servers.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The files, and what they said.
#[derive(Debug)]
pub struct Files {
    /// Name servers; None: others are configured.
    servers: Option<Watched>,
    hosts: Option<Watched>,
    known: ResolverFiles,
    latest: Arc<Latest>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// As it was when it was read; None: it was not read here.
    stamp: Option<Stamp>,
    /// As it was at the last look.
    seen: Option<Stamp>,
    /// It is not as it was when it was read, and may be half written.
    unsettled: bool,
    /// Looks in a row at which it could not be read.
    failed: u32,
}

/// What a look found out about a file.
#[derive(Debug)]
enum Look {
    /// It says what it said.
    Same,
    /// It says this now.
    Text(String),
    /// It cannot be read, which is news.
    Lost(io::Error),
    /// It can be read again, and says what it said.
    Back,
}

impl Watched {
    fn new(path: &Path) -> Watched {
        Watched { path: path.to_owned(), stamp: None, seen: None, unsettled: false, failed: 0 }
    }

    /// One look. Its text is read if it is not as it was when it was read last, and was left alone from one look to the next and while it
    /// was read: what somebody is writing says less than it will.
    fn look(&mut self) -> Look {
        self.unsettled = false;
        let Some(stamp) = files::stamp(&self.path) else {
            return match files::read_whole(&self.path, limits::HOSTS_FILE_MAX) {
                // It never was there.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.stamp.is_none() => Look::Same,
                Err(error) => self.lost(error),
                Ok(_) => self.lost(io::Error::other("it is no file")),
            };
        };
        if self.stamp == Some(stamp) {
            return self.read();
        }
        self.unsettled = true;
        if self.seen.replace(stamp) != Some(stamp) {
            return Look::Same;
        }
        let bytes = files::read_whole(&self.path, limits::HOSTS_FILE_MAX);
        let after = files::stamp(&self.path);
        if after != Some(stamp) {
            self.seen = after;
            return Look::Same;
        }
        self.unsettled = false;
        match bytes {
            Ok(bytes) => {
                self.stamp = Some(stamp);
                Look::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            Err(error) => self.lost(error),
        }
    }

    /// It could not be read. That is news at the second look: it may be about to be written.
    fn lost(&mut self, error: io::Error) -> Look {
        self.failed = self.failed.saturating_add(1);
        self.unsettled = self.failed < limits::NAMES_LOST_LOOKS;
        if self.failed == limits::NAMES_LOST_LOOKS { Look::Lost(error) } else { Look::Same }
    }

    /// What is to be said of whether it can be read; `kept` says what holds while it cannot.
    fn news(&mut self, look: Look, kept: impl FnOnce() -> String) -> Option<(Level, String)> {
        let path = self.path.display();
        match look {
            Look::Lost(error) => {
                let words = format!("{path} cannot be read any more: {error}; {}", kept());
                return Some((Level::Warning, words));
            }
            Look::Same => return None,
            Look::Text(_) if self.failed < limits::NAMES_LOST_LOOKS => {
                self.failed = 0;
                return None;
            }
            Look::Text(_) | Look::Back => {}
        }
        self.failed = 0;
        Some((Level::Info, format!("{path} can be read again")))
    }

    /// It could be read. News only where it was told that it could not.
    fn read(&mut self) -> Look {
        if std::mem::take(&mut self.failed) >= limits::NAMES_LOST_LOOKS { Look::Back } else { Look::Same }
    }
}

impl Files {
    /// Those that a node goes by which has read them; `servers` is the file of the name servers, if they are the machine's.
    pub fn new(settings: &DnsConfig, servers: Option<&Path>) -> Files {
        Files {
            servers: servers.map(Watched::new),
            hosts: settings.hosts.as_deref().map(Watched::new),
            known: ResolverFiles { servers: settings.servers.clone(), hosts: settings.known.clone() },
            latest: settings.latest.clone(),
        }
    }

    /// One look. A file that is not there or cannot be read, or names no server, changes nothing: it may be about to be written. True: one
    /// changed and may be half written, so that the next look should be soon.
    pub(super) fn look(&mut self) -> bool {
        for (level, words) in self.changes() {
            say(level, format_args!("{words}"));
        }
        [&self.servers, &self.hosts].into_iter().flatten().any(|file| file.unsettled)
    }

    /// Looks, and puts in force what changed. What is to be said of it.
    fn changes(&mut self) -> Vec<(Level, String)> {
        let (before, mut said) = (self.known.clone(), Vec::new());
        if let Some(file) = &mut self.servers {
            let look = file.look();
            if let Look::Text(text) = &look {
                let servers = value::name_servers(text, process::interface_number);
                if !servers.is_empty() && servers != before.servers {
                    let (path, list) = (file.path.display(), in_words(&servers));
                    said.push((Level::Info, format!("{path} changed: the name servers are {list} now")));
                    self.known.servers = servers;
                }
            }
            let kept = || format!("the name servers stay {}", in_words(&before.servers));
            said.extend(file.news(look, kept));
        }
        if let Some(file) = &mut self.hosts {
            let look = file.look();
            if let Look::Text(text) = &look {
                let hosts = value::hosts(text);
                if hosts != *before.hosts {
                    let (path, names) = (file.path.display(), hosts.len());
                    said.push((Level::Info, format!("{path} changed: it has {names} names of hosts now")));
                    self.known.hosts = Arc::new(hosts);
                }
            }
            let kept = || format!("the {} names of hosts that it had stay in force", before.hosts.len());
            said.extend(file.news(look, kept));
        }
        if self.known != before {
            self.latest.publish(self.known.clone());
        }
        said
    }
}

fn in_words(servers: &[SocketAddr]) -> String {
    let list: Vec<_> = servers.iter().map(ToString::to_string).collect();
    list.join(", ")
}

/// The files that are looked at, which others take the place of when the configuration says so. One that hangs is left to itself.
#[derive(Clone, Debug)]
pub struct Current(Arc<Mutex<Arc<Mutex<Files>>>>);

impl Current {
    /// These.
    pub fn new(files: Files) -> Current {
        Current(Arc::new(Mutex::new(Arc::new(Mutex::new(files)))))
    }

    /// Others.
    pub fn replace(&self, files: Files) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Mutex::new(files));
    }

    fn get(&self) -> Arc<Mutex<Files>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks now and then, where a file system that hangs holds up nobody.
#[derive(Debug)]
pub(super) struct Looks {
    files: Current,
    /// A file is to be looked at again soon.
    soon: Arc<AtomicBool>,
    last: Duration,
}

impl Looks {
    pub(super) fn new(files: Current) -> Looks {
        Looks { files, soon: Arc::new(AtomicBool::new(true)), last: Duration::ZERO }
    }

    pub(super) fn look(&mut self, now: Duration) {
        let soon = self.soon.load(Ordering::Relaxed);
        let apart = if soon { limits::NAMES_SETTLE } else { limits::NAMES_LOOKED_AT };
        if now < self.last + apart {
            return;
        }
        self.last = now;
        let (files, soon) = (self.files.get(), self.soon.clone());
        tokio::task::spawn_blocking(move || {
            // One that still hangs is not joined by others.
            if let Ok(mut files) = files.try_lock() {
                soon.store(files.look(), Ordering::Relaxed);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// A directory with room for both files, and a configuration that has them.
    fn machine() -> (tempfile::TempDir, [PathBuf; 2], DnsConfig) {
        let scratch = tempfile::tempdir().unwrap();
        let [resolv, hosts] = ["resolv.conf", "hosts"].map(|name| scratch.path().join(name));
        let text = "[node]\nhostname = \"mx1.example.net\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[dns]\nhosts = \"";
        let text = format!("{text}{}\"\n", hosts.display());
        let mut dns = Config::parse(&text, Path::new("relevo.toml")).unwrap().dns;
        dns.servers = vec!["192.0.2.1:53".parse().unwrap()];
        (scratch, [resolv, hosts], dns)
    }

    #[test]
    fn what_changes_is_read_again() {
        let (scratch, [resolv, hosts], dns) = machine();
        let mut files = Files::new(&dns, Some(&resolv));
        let mut seen = 0;
        let mut told = |files: &mut Files| {
            // What changed is read at the next look.
            while files.look() {}
            let (changes, known) = dns.latest.newer(seen)?;
            seen = changes;
            Some((
                known.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                known.hosts.len(),
            ))
        };
        assert_eq!(told(&mut files), None, "there are none");
        std::fs::write(&resolv, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(told(&mut files), None, "as it was");
        std::fs::write(&resolv, "nameserver 192.0.2.2\nnameserver 192.0.2.1\n").unwrap();
        std::fs::write(&hosts, "192.0.2.9 smart.example\n").unwrap();
        assert_eq!(told(&mut files), Some(("192.0.2.2:53 192.0.2.1:53".to_owned(), 1)));
        assert_eq!(told(&mut files), None);
        // Written anew beside it, and moved there, as resolvers do; of the same length.
        std::fs::write(scratch.path().join("new"), "nameserver 192.0.2.3\nnameserver 192.0.2.1\n").unwrap();
        std::fs::rename(scratch.path().join("new"), &resolv).unwrap();
        assert_eq!(told(&mut files), Some(("192.0.2.3:53 192.0.2.1:53".to_owned(), 1)));
        std::fs::write(&resolv, "# about to be written\n").unwrap();
        assert_eq!(told(&mut files), None);
        std::fs::remove_file(&resolv).unwrap();
        std::fs::remove_file(&hosts).unwrap();
        assert_eq!(told(&mut files), None);
        std::fs::write(&hosts, "").unwrap();
        assert_eq!(told(&mut files), Some(("192.0.2.3:53 192.0.2.1:53".to_owned(), 0)));
        let before = dns.latest.newer(0).unwrap().0;
        // Somebody is still writing: at each look there is more of it.
        for text in [
            "192.0.2.9 smart.exam",
            "192.0.2.9 smart.example\n192.0.2.8 o",
            "192.0.2.9 smart.example\n192.0.2.8 other\n",
        ] {
            std::fs::write(&hosts, text).unwrap();
            assert!(files.look(), "to be looked at again");
            assert_eq!(dns.latest.newer(before), None, "it may be half written");
        }
        assert_eq!(told(&mut files).map(|(_, names)| names), Some(2));
        // Name servers of the configuration are the operator's.
        std::fs::write(&resolv, "nameserver 192.0.2.7\n").unwrap();
        std::fs::write(&hosts, "").unwrap();
        let mut files = Files::new(&dns, None);
        assert_eq!(told(&mut files), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_of_once() {
        let (_scratch, [resolv, hosts], dns) = machine();
        let mut files = Files::new(&dns, Some(&resolv));
        std::fs::write(&resolv, "nameserver 192.0.2.3\nnameserver 192.0.2.1\n").unwrap();
        std::fs::write(&hosts, "192.0.2.9 smart.example\n192.0.2.8 other\n").unwrap();
        while files.look() {}
        let mut heard = || (0..4).flat_map(|_| files.changes()).map(|(_, words)| words).collect::<Vec<_>>();
        std::fs::remove_file(&hosts).unwrap();
        let words = heard();
        assert!(
            matches!(&words[..], [one] if one.contains("hosts cannot be read any more: No such file")),
            "{words:?}"
        );
        assert!(words[0].ends_with("; the 2 names of hosts that it had stay in force"), "{words:?}");
        assert_eq!(heard(), [""; 0]);
        std::fs::write(&hosts, "192.0.2.9 smart.example\n192.0.2.8 other\n").unwrap();
        let words = heard();
        assert!(matches!(&words[..], [one] if one.ends_with("hosts can be read again")), "{words:?}");
        assert_eq!(heard(), [""; 0]);
        std::fs::remove_file(&resolv).unwrap();
        std::fs::create_dir(&resolv).unwrap();
        let words = heard();
        assert!(
            words[0].contains("Is a directory") && words[0].ends_with("stay 192.0.2.3:53, 192.0.2.1:53"),
            "{words:?}"
        );
        std::fs::remove_dir(&resolv).unwrap();
    }
}
