//! Why a node does not start: who or what is at fault, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::{BadPassword, ConfigError, KeyLines, value};
use crate::control;
use crate::inspect::SpoolError;
use crate::inspect::barred::Barred;
use crate::limits;
use crate::node::tokens::BadTokens;
use crate::policy::accounts::AccountsError;
use crate::policy::descriptors::FixedDescriptors;
use crate::policy::signing::KeyFileFlaw;
use crate::policy::tls;
use crate::runtime::os::probe;
use crate::shard::inbound::listener::ListenError;
use crate::shard::start;

/// Why a node does not start. All that is said names the culprit and the fix.
#[derive(Debug)]
pub enum StartError {
    /// The secret that a key needs cannot be had, or made, there.
    Secret(&'static str, PathBuf, io::Error),
    /// The configuration does not fit the machine.
    Config(Box<ConfigError>),
    /// The machine does not let shards run as they are configured.
    Machine(probe::MachineRefusal),
    /// Too few files may be open.
    FewFiles(FewFiles),
    /// A thread cannot be started.
    Thread(io::Error),
    /// Another process has the data directory.
    InUse(PathBuf),
    /// The data directory cannot be locked.
    DataDir(PathBuf, io::Error),
    /// Something in it is in the way.
    Barred(Barred),
    /// The node's id cannot be read or written there.
    NodeId(PathBuf, io::Error),
    /// There is mail and no id: what is to be done.
    LostNode(String),
    /// The lanes cannot be looked at.
    Spool(SpoolError),
    /// There are more lanes than numbers for them.
    TooManyLanes,
    /// A lane cannot be read.
    Lane(PathBuf, io::Error),
    /// A listener's port cannot be had.
    Port(ListenError),
    /// A file that the configuration names cannot be used.
    File(Box<BadFile>),
    /// TLS towards next hops cannot be set up.
    TlsClient(rustls::Error),
    /// Control does not start.
    Control(control::StartError),
    /// The thread of a shard does not start.
    Shard(usize, io::Error),
    /// A shard says that it cannot start.
    Refused(start::StartError),
    /// A shard says nothing.
    Silent,
    /// The process that was to hand over does not: why.
    Handover(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Secret(key, path, error) => {
                write!(formatter, "the secret for {key}, {}: {error}", path.display())
            }
            StartError::Config(error) => write!(formatter, "{error}"),
            StartError::Machine(refusal) => write!(formatter, "{refusal}"),
            StartError::FewFiles(few) => write!(formatter, "{few}"),
            StartError::Thread(error) => write!(formatter, "cannot start a thread: {error}"),
            StartError::InUse(path) => write!(
                formatter,
                "{} is in use by another relevo process; stop that one, or set node.data_dir to another directory",
                path.display()
            ),
            StartError::DataDir(path, error) => write!(
                formatter,
                "{}: {error}; make node.data_dir a directory that this user may write",
                path.display()
            ),
            StartError::Barred(barred) => write!(formatter, "{barred}"),
            StartError::NodeId(path, error) => write!(formatter, "{}: {error}", path.display()),
            StartError::LostNode(words) => formatter.write_str(words),
            StartError::Spool(error) => write!(formatter, "{error}"),
            StartError::TooManyLanes => formatter.write_str("too many lanes"),
            StartError::Lane(path, error) => formatter.write_str(&start::unopened(path, error)),
            StartError::Port(error) => write!(formatter, "{error}"),
            StartError::File(bad) => write!(formatter, "{bad}"),
            StartError::TlsClient(error) => write!(formatter, "{error}"),
            StartError::Control(error) => write!(formatter, "{error}"),
            StartError::Shard(index, error) => write!(formatter, "cannot start shard {index}: {error}"),
            StartError::Refused(error) => write!(formatter, "{error}"),
            StartError::Silent => formatter.write_str("a shard did not start"),
            StartError::Handover(words) => write!(formatter, "nothing was handed over: {words}"),
        }
    }
}

impl From<probe::MachineRefusal> for StartError {
    fn from(refusal: probe::MachineRefusal) -> StartError {
        StartError::Machine(refusal)
    }
}

impl From<FewFiles> for StartError {
    fn from(few: FewFiles) -> StartError {
        StartError::FewFiles(few)
    }
}

impl From<Box<BadFile>> for StartError {
    fn from(bad: Box<BadFile>) -> StartError {
        StartError::File(bad)
    }
}

impl From<control::StartError> for StartError {
    fn from(error: control::StartError) -> StartError {
        StartError::Control(error)
    }
}

/// Too few files may be open for the segments and shards that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FewFiles {
    /// Where the segments are.
    pub data_dir: PathBuf,
    /// What has files open whoever connects.
    pub standing: FixedDescriptors,
    /// Files that these need.
    pub needed: u64,
    /// Files that may be open.
    pub allowed: u64,
}

/// What to do where fewer files may be open than are needed.
pub(super) fn more_files(needed: u64) -> String {
    let enough = needed.max(1 << 16);
    format!("raise it: `ulimit -n {enough}`, or LimitNOFILE={enough} in the systemd unit")
}

impl fmt::Display for FewFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FewFiles {
            data_dir,
            standing: FixedDescriptors { shards, segments, listeners },
            needed,
            allowed,
        } = self;
        let of_listeners = if *listeners == 1 { "listener" } else { "listeners" };
        write!(
            formatter,
            "{}: {segments} spool segments and {shards} shards with {listeners} {of_listeners} need {needed} open files, and only {allowed} are \
             allowed (RLIMIT_NOFILE); {}",
            data_dir.display(),
            more_files(*needed)
        )
    }
}

/// A reload adds more listeners than there are open files for, beside the connections that the start reckoned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManyListeners {
    /// What would have files open; those listeners that go are open until the new ones are.
    pub standing: FixedDescriptors,
    /// Files that these need, with the connections.
    pub needed: u64,
    /// Files that may be open.
    pub allowed: u64,
}

impl fmt::Display for ManyListeners {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ManyListeners { standing: FixedDescriptors { shards, listeners, .. }, needed, allowed } = self;
        write!(
            formatter,
            "{listeners} listeners on {shards} shards, those that go included, need {needed} open files beside all connections there may be, \
             and only {allowed} are allowed (RLIMIT_NOFILE); set LimitNOFILE={needed} or more in the systemd unit and restart, or add fewer"
        )
    }
}

/// A file that the configuration names cannot be used.
#[derive(Debug)]
pub struct BadFile {
    /// The key that names it.
    pub key: String,
    /// Why not.
    pub flaw: FileFlaw,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum FileFlaw {
    /// It is a certificate or a key.
    Tls(tls::Unusable),
    /// It has accounts.
    Accounts(BadAccounts),
    /// It has tokens.
    Tokens(BadTokens),
    /// It has hosts.
    Hosts(UnreadableHosts),
    /// It shapes: this is wrong in it, at line 0 with all of it.
    Shaping(Box<ConfigError>),
    /// It is a log, and this, under another name.
    Same(SameFile),
    /// It is a key that signs mail, or a directory of them.
    Key(BadKey),
    /// It has a password for a smart host.
    Password(PathBuf, PasswordFlaw),
}

/// Why a file has no password that can be used. Never shows any of it.
#[derive(Debug)]
pub enum PasswordFlaw {
    /// It cannot be read.
    Unreadable(io::Error),
    /// What is in it is none.
    Bad(BadPassword),
}

impl fmt::Display for PasswordFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordFlaw::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(formatter, "{error}; let the relay's user read it, and nobody else but root")
            }
            PasswordFlaw::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
                write!(formatter, "{error}; put the password there, in one line, for the relay's user alone")
            }
            PasswordFlaw::Unreadable(error) => {
                write!(formatter, "{error}; name a file with the password alone")
            }
            PasswordFlaw::Bad(bad) => write!(formatter, "{bad}; put the password there, in one line"),
        }
    }
}

/// A key that signs mail cannot be used, or a directory of them.
#[derive(Debug)]
pub struct BadKey {
    /// Where it is.
    pub path: PathBuf,
    /// Why not.
    pub trouble: KeyTrouble,
}

/// Why a key cannot be used.
#[derive(Debug)]
pub enum KeyTrouble {
    /// The directory of all of them cannot be read.
    Directory(io::Error),
    /// The directory of a domain cannot be read, or a file.
    Unreadable(io::Error),
    /// It is not there, though the configuration names it.
    Missing,
    /// What is in it is no key that can sign.
    Flaw(KeyFileFlaw),
    /// There are too many domains.
    ManyDomains,
    /// There are too many files of one domain.
    ManyKeys,
}

impl fmt::Display for BadKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match &self.trouble {
            KeyTrouble::Directory(error) | KeyTrouble::Unreadable(error) if denied(error) => {
                write!(formatter, "{path}: {error}; let the relay's user read it, and nobody else but root")
            }
            KeyTrouble::Directory(error) if error.kind() == io::ErrorKind::NotFound => write!(
                formatter,
                "{path}: {error}; make it and a key in it: relevo dkim keygen example.com --keys {path}"
            ),
            KeyTrouble::Directory(error) => {
                write!(formatter, "{path}: {error}; set dkim.keys to the directory of the keys")
            }
            KeyTrouble::Unreadable(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                write!(formatter, "{path}: {error}; that is no key: name the file with the private key alone")
            }
            KeyTrouble::Unreadable(error) => {
                write!(formatter, "{path}: {error}; make it readable, or move it elsewhere")
            }
            KeyTrouble::Missing => {
                write!(
                    formatter,
                    "{path}: there is no such file; put the key there, or name another selector"
                )
            }
            KeyTrouble::Flaw(flaw) => write!(formatter, "{path}: {flaw}; {}", flaw.fix()),
            KeyTrouble::ManyDomains => write!(
                formatter,
                "{path}: there are more than {} domains in it; keep the others elsewhere",
                limits::DKIM_DOMAINS_MAX
            ),
            KeyTrouble::ManyKeys => write!(
                formatter,
                "{path}: there are more than {} files in it; move old keys elsewhere",
                limits::DKIM_DOMAIN_KEYS_MAX
            ),
        }
    }
}

/// A log that is written over another file, or into one that another log writes.
#[derive(Debug, PartialEq, Eq)]
pub struct SameFile {
    /// Where the log is.
    pub path: PathBuf,
    /// What names the other one.
    pub other: String,
    /// Where that is.
    pub there: PathBuf,
}

impl fmt::Display for SameFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SameFile { path, other, there } = self;
        let (path, there) = (path.display(), there.display());
        write!(formatter, "{path} is the same file as {there} ({other}); name a file of its own")
    }
}

impl BadFile {
    /// Whether no key that signs mail could be read because of it.
    pub fn is_of_all_keys(&self) -> bool {
        use KeyTrouble::{Directory, ManyDomains};
        matches!(&self.flaw, FileFlaw::Key(BadKey { trouble: Directory(_) | ManyDomains, .. }))
    }

    /// The same as an error of the configuration.
    pub fn told(&self, places: &KeyLines) -> ConfigError {
        match &self.flaw {
            // It says where itself.
            FileFlaw::Shaping(error) if error.line > 0 => (**error).clone(),
            FileFlaw::Same(same) => places.told(&self.key, &same.to_string()),
            _ => places.told(&self.key, &self.to_string()),
        }
    }
}

impl fmt::Display for BadFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flaw {
            FileFlaw::Tls(unusable) => write!(formatter, "{unusable}"),
            FileFlaw::Accounts(bad) => write!(formatter, "{bad}"),
            FileFlaw::Tokens(bad) => write!(formatter, "{bad}"),
            FileFlaw::Hosts(unreadable) => write!(formatter, "{unreadable}"),
            FileFlaw::Shaping(error) => write!(formatter, "{error}"),
            FileFlaw::Same(same) => write!(formatter, "{}: {same}", self.key),
            FileFlaw::Key(bad) => write!(formatter, "{bad}"),
            FileFlaw::Password(path, flaw) => write!(formatter, "{}: {flaw}", path.display()),
        }
    }
}

/// Why a file of accounts cannot be used.
#[derive(Debug)]
pub struct BadAccounts {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub flaw: AccountsFlaw,
}

/// What is wrong with a file of accounts.
#[derive(Debug)]
pub enum AccountsFlaw {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is no text.
    NotUtf8,
    /// A line of it makes no sense.
    Line(AccountsError),
}

impl fmt::Display for BadAccounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.flaw)
    }
}

impl fmt::Display for AccountsFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FIX: &str = "set auth.accounts to a readable file";
        match self {
            AccountsFlaw::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(formatter, "{error}; let the relay's user read it, and nobody else but root")
            }
            AccountsFlaw::Unreadable(error) => write!(formatter, "{error}; {FIX}"),
            AccountsFlaw::NotUtf8 => write!(formatter, "this is not UTF-8; {FIX}"),
            AccountsFlaw::Line(error) => write!(formatter, "{error}"),
        }
    }
}

/// The file of hosts cannot be read.
#[derive(Debug)]
pub struct UnreadableHosts {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for UnreadableHosts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {}; set dns.hosts to a readable file of at most {}, or to \"\" for none",
            self.path.display(),
            self.error,
            value::show_size(limits::HOSTS_FILE_MAX)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::accounts::Problem;

    /// The operator reads what is wrong, where, and what to do, in this order: `relevo check` cuts at the last semicolon.
    #[test]
    fn errors_name_the_culprit_and_the_fix() {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let path = PathBuf::from("/srv/x");
        let few = FewFiles {
            data_dir: path.clone(),
            standing: FixedDescriptors { shards: 1, segments: 20, listeners: 30 },
            needed: 1 << 20,
            allowed: 179,
        };
        let line = AccountsFlaw::Line(AccountsError { line: 3, problem: Problem::NoColon });
        let line = BadAccounts { path: path.clone(), flaw: line }.to_string();
        assert!(line.starts_with("/srv/x: ") && line.contains('3'), "{line}");
        let of = |flaw| StartError::from(Box::new(BadFile { key: String::new(), flaw }));
        let (address, error) = ("127.0.0.1:25".parse().unwrap(), io::ErrorKind::AddrInUse.into());
        let taken = ListenError { address, error };
        for (error, culprit, fix) in [
            (
                StartError::from(few),
                "/srv/x: 20 spool segments and 1 shards with 30 listeners need 1048576",
                "LimitNOFILE=1048576",
            ),
            (
                StartError::InUse(path.clone()),
                "/srv/x is in use by",
                "set node.data_dir to another directory",
            ),
            (StartError::DataDir(path.clone(), gone()), "/srv/x: ", "a directory that this user may write"),
            (StartError::Port(taken), "cannot listen on 127.0.0.1:25: ", "stop it"),
            (
                of(FileFlaw::Accounts(BadAccounts { path: path.clone(), flaw: AccountsFlaw::NotUtf8 })),
                "/srv/x: this is not UTF-8",
                "set auth.accounts to a readable file",
            ),
            (
                of(FileFlaw::Hosts(UnreadableHosts { path: path.clone(), error: gone() })),
                "/srv/x: ",
                "set dns.hosts to a readable file",
            ),
            (
                of(FileFlaw::Shaping(Box::new(ConfigError {
                    file: path.clone(),
                    line: 3,
                    key: "default.max_age".to_owned(),
                    value: String::new(),
                    problem: "\"x\" is no time".to_owned(),
                    fix: "write max_age = \"5d\"".to_owned(),
                }))),
                "/srv/x:3: default.max_age: \"x\" is no time",
                "write max_age",
            ),
        ] {
            let words = error.to_string();
            let (problem, remedy) = words.rsplit_once("; ").expect("a fix");
            assert!(problem.starts_with(culprit) && remedy.contains(fix), "{words}");
        }
    }
}
