//! The machine as files tell it, below a root, so that a test can show another machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where `/proc`, `/sys`, `/etc` and `/var` are.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::at("/")
    }
}

impl Machine {
    /// One whose files are below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Machine {
        Machine { root: root.into() }
    }

    /// Whether this is the machine the process runs on, so that the kernel may be asked too.
    pub fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The place of an absolute path below the root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file without blanks around it; None when it cannot be read.
    pub fn read(&self, path: &str) -> Option<String> {
        Some(fs::read_to_string(self.path(path)).ok()?.trim().to_owned())
    }

    /// A number in a file.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// The file of a sysctl by its dotted name.
    pub fn sysctl_path(&self, name: &str) -> PathBuf {
        self.path(&format!("/proc/sys/{}", name.replace('.', "/")))
    }

    /// A sysctl; several words are one blank apart.
    pub fn sysctl(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.sysctl_path(name)).ok()?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Sets a sysctl until the next boot.
    pub fn set_sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        // Not created: below /proc/sys a file is there or the kernel does not know the setting.
        let mut file = fs::OpenOptions::new().write(true).truncate(true).open(self.sysctl_path(name))?;
        io::Write::write_all(&mut file, format!("{value}\n").as_bytes())
    }

    /// The names in a directory, sorted.
    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Processors the kernel runs on.
    pub fn processors(&self) -> Vec<usize> {
        self.read("/sys/devices/system/cpu/online").map(|text| numbers(&text)).unwrap_or_default()
    }

    /// Processors with the threads of their core, each core once.
    pub fn cores(&self) -> Vec<Vec<usize>> {
        let siblings = |cpu: &usize| {
            let text = self.read(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"));
            text.map_or_else(|| vec![*cpu], |text| numbers(&text))
        };
        let mut cores: Vec<Vec<usize>> = self.processors().iter().map(siblings).collect();
        cores.sort();
        cores.dedup();
        cores
    }
}

/// `0-3,8,10-11` as the kernel writes lists of processors and nodes.
pub fn numbers(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            found.extend(first..=last.min(first + 65_535));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(numbers("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(numbers("0"), [0]);
        assert!(numbers("").is_empty() && numbers("x-y").is_empty());
    }
}
