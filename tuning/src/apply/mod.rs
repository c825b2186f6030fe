//! What `check` asks for, written where it lasts, with what was there before kept for the way back.
//!
//! Three things change: `/etc/sysctl.d/90-relevo.conf` for the next boot, the same settings below `/proc/sys` for now, and a
//! drop-in for the unit. Only what is not yet as it should be is written: a file that is there keeps its other lines, and one in which nothing
//! would change is not touched. The earlier values are synced to `/var/lib/relevo-tune/undo.json` before anything else is written, and what
//! is there already is never written over: the oldest values are the ones to go back to.

mod undo;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::check::sysctl::{SETTINGS, Setting, Wanted};
use crate::machine::Machine;

pub use undo::{Undo, undo};

/// Where the settings are for the next boot.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/90-relevo.conf";
/// Where the unit's limits are.
pub const DROP_IN: &str = "/etc/systemd/system/relevo.service.d/limits.conf";
/// Where the earlier values are.
pub const UNDO_FILE: &str = "/var/lib/relevo-tune/undo.json";

const HEAD: &str = "# Written by relevo-tune apply; `relevo-tune apply --undo` takes it back.\n";

/// Where the unit may be, the one that counts first (systemd.unit(5)).
const UNITS: [&str; 4] = [
    "/etc/systemd/system/relevo.service",
    "/run/systemd/system/relevo.service",
    "/usr/lib/systemd/system/relevo.service",
    "/lib/systemd/system/relevo.service",
];

/// Limits of the unit: name, what is written, and from which number on it is enough.
const LIMITS: [(&str, &str, u64); 2] =
    [("LimitNOFILE", "1048576", 1_048_576), ("LimitMEMLOCK", "infinity", u64::MAX)];

/// Something that could not be read or written.
#[derive(Debug)]
pub struct Failure {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl Failure {
    fn new(path: &Path, why: impl fmt::Display) -> Failure {
        Failure { path: path.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.path.display(), self.why)
    }
}

/// What would be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Files with their text.
    pub files: Vec<(&'static str, String)>,
    /// Settings of the running kernel that are to change: name, now, then.
    pub sysctls: Vec<(&'static str, String, String)>,
}

/// A setting as it should be on this machine: what is better already stays.
fn wanted(setting: &Setting, now: &str) -> String {
    match (setting.is_fine(now), setting.wanted) {
        (Some(true), _) => now.to_owned(),
        (_, Wanted::Range(first, last)) => {
            // Only widened: somebody may have a reason for either end.
            let mut ends = now.split_whitespace().filter_map(|end| end.parse::<u64>().ok());
            let (low, high) = (ends.next().unwrap_or(first), ends.next().unwrap_or(last));
            format!("{} {}", low.min(first), high.max(last))
        }
        _ => setting.value(),
    }
}

/// What is said of a file that is no text, and is left alone for that.
const STRANGE: &str = "cannot be read as UTF-8 text, so it stays as it is; move it away, or mend it";

/// The section of a unit that limits stand in.
const SERVICE: &str = "[Service]";

/// A file as it is; nothing where there is none.
fn earlier(machine: &Machine, path: &str) -> String {
    std::fs::read_to_string(machine.path(path)).unwrap_or_default()
}

/// What is said of a file that is there and cannot be read, and which is left alone for that: what is in it would be lost.
fn strange(machine: &Machine, path: &str) -> Option<String> {
    unread(&std::fs::read_to_string(machine.path(path)).err()?)
}

fn unread(error: &io::Error) -> Option<String> {
    match error.kind() {
        // There is none, or its directory is no directory: who writes will hear of that.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => None,
        io::ErrorKind::InvalidData => Some(STRANGE.to_owned()),
        _ => Some(format!("cannot be read ({error}), so it stays as it is{}", hint(error))),
    }
}

/// How the lines of a text end.
fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// The text with a line in place of those that set the same; all others, and the ends of all, stay as they are.
fn with_line(text: &str, sets: impl Fn(&str) -> bool, line: &str) -> String {
    let replaced = text.split_inclusive('\n').map(|whole| {
        let found = whole.trim_end_matches(['\r', '\n']);
        if sets(found) { format!("{line}{}", &whole[found.len()..]) } else { whole.to_owned() }
    });
    replaced.collect()
}

/// The text with a setting in it: in place of the line that sets it, or behind the others.
fn with_setting(text: &str, setting: &Setting, value: &str) -> String {
    let line = format!("{} = {value}", setting.name);
    let sets = |line: &str| line.split_once('=').is_some_and(|(name, _)| name.trim() == setting.name);
    if text.lines().any(sets) {
        return with_line(text, sets, &line);
    }
    let (head, new) = (if text.is_empty() { HEAD } else { "" }, line_end(text));
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { new };
    format!("{text}{end}{head}# {}{new}{line}{new}", setting.why)
}

/// What a unit or a drop-in sets a limit to, as a number; the last line counts.
fn limit_in(text: &str, name: &str) -> Option<u64> {
    let mut lines =
        text.lines().filter_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix('='));
    let value = lines.next_back()?.trim().rsplit(':').next()?.trim().to_owned();
    if value == "infinity" { Some(u64::MAX) } else { value.parse().ok() }
}

/// The drop-in with the limits that the unit and it do not have yet. Without a unit all are: one may be installed later.
fn drop_in(machine: &Machine) -> String {
    let unit = UNITS.iter().find_map(|path| machine.read(path)).unwrap_or_default();
    let mut text = earlier(machine, DROP_IN);
    for (name, value, enough) in LIMITS {
        let now = limit_in(&text, name).or_else(|| limit_in(&unit, name));
        if now.is_some_and(|now| now >= enough) {
            continue;
        }
        let line = format!("{name}={value}");
        let sets = |found: &str| {
            found.trim().strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let new = line_end(&text);
        if text.lines().any(sets) {
            text = with_line(&text, sets, &line);
        } else if text.lines().any(|line| line.trim() == SERVICE) {
            text = with_line(&text, |line| line.trim() == SERVICE, &format!("{SERVICE}{new}{line}"));
        } else {
            let head = if text.is_empty() { HEAD } else { "" };
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { new };
            text += &format!("{end}{head}{SERVICE}{new}{line}{new}");
        }
    }
    text
}

/// Lines that go and lines that come, as comments. Nothing of a file that is new: all of it comes.
fn difference(before: &str, after: &str) -> String {
    if before.is_empty() {
        return String::new();
    }
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("#  - {line}\n"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("#  + {line}\n"));
    gone.chain(come).collect()
}

impl Plan {
    /// What this machine needs. Settings this kernel does not have are left out, and so is what is right already.
    pub fn of(machine: &Machine) -> Plan {
        let mut text = earlier(machine, SYSCTL_FILE);
        let mut sysctls = Vec::new();
        for setting in &SETTINGS {
            let Some(now) = machine.sysctl(setting.name) else { continue };
            let value = wanted(setting, &now);
            if value != now {
                text = with_setting(&text, setting, &value);
                sysctls.push((setting.name, now, value));
            }
        }
        let files = vec![(SYSCTL_FILE, text), (DROP_IN, drop_in(machine))];
        // A file that is not there and would be empty is none.
        Plan { files: files.into_iter().filter(|(_, text)| !text.is_empty()).collect(), sysctls }
    }

    /// Files whose text differs from what is there.
    fn changed<'a>(&'a self, machine: &'a Machine) -> impl Iterator<Item = &'a (&'static str, String)> {
        self.files.iter().filter(|(path, text)| {
            strange(machine, path).is_none()
                && std::fs::read_to_string(machine.path(path)).ok().as_deref() != Some(text.as_str())
        })
    }

    /// Files that are left alone, with what is said of them.
    fn strange<'a>(&'a self, machine: &'a Machine) -> impl Iterator<Item = (PathBuf, String)> + 'a {
        self.files.iter().filter_map(|(path, _)| Some((machine.path(path), strange(machine, path)?)))
    }

    /// The files and commands, as somebody would do it by hand.
    pub fn script(&self, machine: &Machine) -> String {
        let mut out = String::new();
        for (path, text) in self.changed(machine) {
            let path = machine.path(path);
            let before = std::fs::read_to_string(&path).unwrap_or_default();
            if before.is_empty() {
                out += &format!("mkdir -p {}\n", path.parent().unwrap_or(Path::new("/")).display());
            }
            out += &difference(&before, text);
            out += &format!("cat > {} <<'END'\n{text}END\n", path.display());
        }
        for (path, words) in self.strange(machine) {
            out += &format!("# {}: {words}\n", path.display());
        }
        for (name, now, value) in &self.sysctls {
            out += &format!("sysctl -w {name}=\"{value}\"   # was {now}\n");
        }
        if self.changed(machine).any(|(path, _)| *path == DROP_IN) {
            out += "systemctl daemon-reload   # then, when it suits: systemctl restart relevo\n";
        }
        if out.is_empty() { "# nothing to change\n".to_owned() } else { out }
    }

    /// Writes it all. What fails is returned; the rest is done.
    pub fn carry_out(&self, machine: &Machine) -> Vec<Failure> {
        let strange = self.strange(machine);
        let mut failures: Vec<_> = strange.map(|(path, words)| Failure::new(&path, words)).collect();
        let changed: Vec<_> = self.changed(machine).collect();
        if changed.is_empty() && self.sysctls.is_empty() {
            return failures;
        }
        if let Err(failure) = undo::remember(machine, self, &changed) {
            // Without a way back nothing is changed.
            return vec![failure];
        }
        for (path, text) in changed {
            let path = machine.path(path);
            if let Err(error) = write(&path, text) {
                failures.push(Failure::new(&path, error));
            }
        }
        for (name, _, value) in &self.sysctls {
            if let Err(error) = machine.set_sysctl(name, value) {
                let path = machine.sysctl_path(name);
                failures.push(Failure::new(&path, format!("{error}{}", hint(&error))));
            }
        }
        failures
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "; run it as root",
        Some(libc::EROFS) => "; in a container, change it on the host",
        _ => "",
    }
}

/// A file is there whole or not at all, and stays over a power cut.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let explain = |error: io::Error| {
        let hint = hint(&error);
        io::Error::new(error.kind(), format!("{error}{hint}"))
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).map_err(explain)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = directory.join(name);
    let mut file = std::fs::File::create(&new).map_err(explain)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(explain)?;
    std::fs::rename(&new, path).map_err(explain)?;
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
