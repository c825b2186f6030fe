//! The directory of the keys that sign mail: `DOMAIN/SELECTOR.pem`. A start, a reload, `relevo check` and `relevo dkim` read it by [`read`].

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::DkimConfig;
use crate::config::dkim::NamedKey;
use crate::limits;
use crate::mail::address::{self, international};
use crate::mail::dkim::key::Algorithm;
use crate::node::error::{BadFile, BadKey, FileFlaw, KeyTrouble};
use crate::node::secret;
use crate::policy::signing::{KeyFile, Signing, Written};
use crate::runtime::{files, process};
use crate::time::UnixMillis;

/// What came of reading it.
#[derive(Debug, Default)]
pub struct Keys {
    /// The keys that can sign.
    pub files: Vec<KeyFile>,
    /// Those that cannot, and what else stands in the way; the first ones.
    pub bad: Vec<BadFile>,
    /// What is not as it should be, and what to do: the first ones.
    pub doubts: Vec<(String, String)>,
    /// Those that are not told.
    untold: usize,
}

impl Keys {
    fn fail(&mut self, path: &Path, trouble: KeyTrouble) {
        self.fail_at("dkim.keys", path, trouble);
    }

    fn fail_at(&mut self, key: &str, path: &Path, trouble: KeyTrouble) {
        if self.bad.len() < limits::CONFIG_ERRORS_TOLD {
            let flaw = FileFlaw::Key(BadKey { path: path.to_owned(), trouble });
            self.bad.push(BadFile { key: key.to_owned(), flaw });
        }
    }

    fn doubt(&mut self, problem: String, fix: String) {
        if self.doubts.len() < limits::CONFIG_ERRORS_TOLD {
            self.doubts.push((problem, fix));
        } else {
            self.untold += 1;
        }
    }
}

/// Reads it, and looks whether each key can sign. What is as it was when `known` was read is not read again.
pub fn read(config: &DkimConfig, known: Option<&Signing>) -> Keys {
    let mut keys = Keys::default();
    let Some(directory) = &config.keys else { return keys };
    let names = match names(directory, limits::DKIM_DOMAINS_MAX) {
        Ok(Some(names)) => names,
        Ok(None) => {
            keys.fail(directory, KeyTrouble::ManyDomains);
            return keys;
        }
        Err(error) => {
            keys.fail(directory, KeyTrouble::Directory(error));
            return keys;
        }
    };
    let known = known.map(Signing::files).unwrap_or_default();
    let known: HashMap<(&str, &str), &KeyFile> =
        known.iter().map(|file| ((&*file.domain, &*file.selector), file)).collect();
    for name in names {
        read_domain(&mut keys, &known, &directory.join(&name), &name);
    }
    missing(&mut keys, directory, &config.named);
    sleeping(&mut keys, &config.named, process::wall());
    if keys.files.is_empty() && keys.bad.is_empty() {
        let fix = "make one: relevo dkim keygen example.com";
        keys.doubt(
            format!("{}: there is no key in it: nothing is signed", directory.display()),
            fix.to_owned(),
        );
    }
    if keys.untold > 0 {
        let words = format!("{}: {} more of the kind", directory.display(), keys.untold);
        keys.doubts.push((words, "mend those above first".to_owned()));
    }
    keys
}

/// Names in a directory, sorted, without those that are hidden. None: there are more than so many.
fn names(directory: &Path, most: usize) -> io::Result<Option<Vec<String>>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if names.len() == most {
            return Ok(None);
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(Some(names))
}

fn read_domain(keys: &mut Keys, known: &HashMap<(&str, &str), &KeyFile>, directory: &Path, name: &str) {
    let at = directory.display();
    match fs::metadata(directory) {
        Ok(of) if !of.is_dir() => {
            let fix = format!("move it into the directory of its domain, or out of {}", above(directory));
            return keys.doubt(format!("{at}: this is not the directory of a domain, and is not read"), fix);
        }
        Ok(_) => {}
        Err(error) => return keys.fail(directory, KeyTrouble::Unreadable(error)),
    }
    if let Some(doubt) = doubt_of_name(name, "domain") {
        let fix = doubt.fix(directory, name);
        return keys.doubt(format!("{at}: {doubt}: its keys sign nothing", doubt = doubt.problem), fix);
    }
    let names = match names(directory, limits::DKIM_DOMAIN_KEYS_MAX) {
        Ok(Some(names)) => names,
        Ok(None) => return keys.fail(directory, KeyTrouble::ManyKeys),
        Err(error) => return keys.fail(directory, KeyTrouble::Unreadable(error)),
    };
    let domain: Arc<str> = name.into();
    let before = keys.files.len();
    for name in names {
        read_key(keys, known, &domain, &directory.join(&name));
    }
    let found = &keys.files[before..];
    if !found.is_empty() && found.iter().all(|file| file.algorithm == Algorithm::Ed25519Sha256) {
        let problem = format!("{at}: it has no RSA key, and many receivers know no other");
        keys.doubt(problem, format!("make one beside it: relevo dkim keygen {domain} --algorithm rsa"));
    }
}

/// What is wrong with the name of a domain or a selector.
struct BadName {
    problem: String,
    /// A name that would do.
    instead: Option<String>,
}

impl BadName {
    fn fix(&self, path: &Path, name: &str) -> String {
        match &self.instead {
            Some(instead) => {
                let place = path.display().to_string();
                let place = place.strip_suffix(name).unwrap_or_default();
                format!("rename it: mv {place}{name} {place}{instead}")
            }
            None => format!("rename it, or move it out of {}", above(path)),
        }
    }
}

/// What is wrong with the name of a domain or a selector, if anything is. They are compared as they stand: in small letters.
fn doubt_of_name(name: &str, what: &str) -> Option<BadName> {
    let small = name.to_ascii_lowercase();
    if !address::is_domain(name.as_bytes()) || (what == "domain" && address::is_numeric(name)) {
        let labels = international::domain_of(name).filter(|_| !name.is_ascii());
        let more = if labels.is_some() { " (files have it in A-labels)" } else { "" };
        return Some(BadName { problem: format!("its name is no {what}{more}"), instead: labels });
    }
    let problem = || format!("its name, a {what}, is to be in small letters");
    (small != name).then(|| BadName { problem: problem(), instead: Some(small) })
}

fn above(path: &Path) -> String {
    path.parent().unwrap_or(Path::new("/")).display().to_string()
}

fn read_key(keys: &mut Keys, known: &HashMap<(&str, &str), &KeyFile>, domain: &Arc<str>, path: &Path) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let at = path.display();
    let Some(selector) = name.strip_suffix(".pem") else {
        let fix = format!("name it SELECTOR.pem if it is one, else move it out of {}", above(path));
        return keys.doubt(format!("{at}: this is not the file of a key, and is not read"), fix);
    };
    if let Some(bad) = doubt_of_name(selector, "selector") {
        let fix = bad
            .instead
            .as_ref()
            .map(|instead| BadName { problem: String::new(), instead: Some(format!("{instead}.pem")) });
        let fix = fix.unwrap_or(BadName { problem: String::new(), instead: None }).fix(path, &name);
        return keys.doubt(format!("{at}: {}: it signs nothing", bad.problem), fix);
    }
    let of = match fs::metadata(path) {
        Ok(of) => of,
        Err(error) => return keys.fail(path, KeyTrouble::Unreadable(error)),
    };
    if let Some((problem, fix)) = secret::doubt(path, &of).filter(|_| of.is_file()) {
        keys.doubt(problem, fix);
    }
    let written = written(&of);
    if let Some(file) =
        known.get(&(&**domain, selector)).filter(|file| file.written == written && of.is_file())
    {
        return keys.files.push((*file).clone());
    }
    match files::read_whole(path, limits::DKIM_KEY_FILE_MAX) {
        Ok(bytes) => match KeyFile::new(domain, selector, written, &String::from_utf8_lossy(&bytes)) {
            Ok(file) => keys.files.push(file),
            Err(flaw) => keys.fail(path, KeyTrouble::Flaw(flaw)),
        },
        Err(error) => keys.fail(path, KeyTrouble::Unreadable(error)),
    }
}

fn written(of: &Metadata) -> Written {
    let ns = of.mtime().max(0).unsigned_abs().saturating_mul(1_000_000_000);
    Written { at_ns: ns.saturating_add(of.mtime_nsec().unsigned_abs()), size: of.size(), inode: of.ino() }
}

/// Keys that the configuration names and that are not there.
fn missing(keys: &mut Keys, directory: &Path, named: &[NamedKey]) {
    let there: std::collections::HashSet<(&str, &str)> =
        keys.files.iter().map(|file| (&*file.domain, &*file.selector)).collect();
    let path = |key: &NamedKey| directory.join(&*key.domain).join(format!("{}.pem", key.selector));
    let lacking: Vec<(usize, PathBuf)> = named
        .iter()
        .enumerate()
        .filter(|(_, key)| !there.contains(&(&*key.domain, &*key.selector)))
        .map(|(at, key)| (at, path(key)))
        // What is there and cannot be used was told.
        .filter(|(_, path)| !path.exists())
        .take(limits::CONFIG_ERRORS_TOLD)
        .collect();
    for (at, path) in lacking {
        keys.fail_at(&format!("dkim.key[{at}].selector"), &path, KeyTrouble::Missing);
    }
}

/// Domains none of whose keys signs now, because of what the configuration says of them.
fn sleeping(keys: &mut Keys, named: &[NamedKey], now: UnixMillis) {
    let mut awake: HashMap<&str, bool> = HashMap::new();
    for key in named {
        *awake.entry(&key.domain).or_default() |= key.from <= now && now < key.until;
    }
    let mut asleep: Vec<&str> =
        awake.into_iter().filter(|(_, awake)| !awake).map(|(domain, _)| domain).collect();
    asleep.sort_unstable();
    for domain in asleep {
        let problem =
            format!("no key of {domain} signs now: its [[dkim.key]] sections name none for this time");
        keys.doubt(
            problem,
            "name one for it, or remove these sections: then its newest key signs".to_owned(),
        );
    }
}

#[cfg(test)]
mod tests;
