//! The way back.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::{DROP_IN, Failure, Plan, SYSCTL_FILE, UNDO_FILE, write};
use crate::check::sysctl::SETTINGS;
use crate::machine::Machine;

/// What was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// Settings of the kernel, by name.
    pub sysctls: BTreeMap<String, Change>,
    /// Texts of files, by path; none: there was no file.
    pub files: BTreeMap<String, Option<String>>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What it was.
    pub before: String,
    /// What it was set to. If it is something else by now, somebody else changed it, and it stays.
    pub after: String,
}

fn load(machine: &Machine) -> Result<Option<Undo>, Failure> {
    let path = machine.path(UNDO_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::new(&path, format!("{error}; it is not as relevo-tune wrote it: repair or move it"))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(&path, error)),
    }
}

/// Notes what a plan is about to change, unless an earlier one noted it already.
pub(super) fn remember(
    machine: &Machine,
    plan: &Plan,
    changed: &[&(&'static str, String)],
) -> Result<(), Failure> {
    let mut undo = load(machine)?.unwrap_or_default();
    for (name, now, value) in &plan.sysctls {
        let change = Change { before: now.clone(), after: value.clone() };
        undo.sysctls.entry((*name).to_owned()).or_insert(change).after.clone_from(value);
    }
    for (path, _) in changed {
        if !undo.files.contains_key(*path) {
            let place = machine.path(path);
            let before = match fs::read_to_string(&place) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(Failure::new(&place, error)),
            };
            undo.files.insert((*path).to_owned(), before);
        }
    }
    let path = machine.path(UNDO_FILE);
    let text = serde_json::to_string_pretty(&undo).map_err(|error| Failure::new(&path, error))?;
    write(&path, &text).map_err(|error| Failure::new(&path, error))
}

/// Puts everything back: what was done, in words, and what could not be done. Without anything to undo both are empty.
pub fn undo(machine: &Machine) -> (Vec<String>, Vec<Failure>) {
    let undo = match load(machine) {
        Ok(Some(undo)) => undo,
        Ok(None) => return (Vec::new(), Vec::new()),
        Err(failure) => return (Vec::new(), vec![failure]),
    };
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for (name, Change { before, after }) in &undo.sysctls {
        // The file of undos is data: nothing but what `apply` sets is touched on its word.
        if !SETTINGS.iter().any(|setting| setting.name == name) {
            failures.push(Failure::new(
                &machine.sysctl_path(name),
                "relevo-tune never set this, and leaves it alone",
            ));
            continue;
        }
        match machine.sysctl(name) {
            Some(now) if now == *before => {}
            Some(now) if now != *after => {
                done.push(format!("{name} stays {now}: somebody set it after relevo-tune did"));
            }
            _ => match machine.set_sysctl(name, before) {
                Ok(()) => done.push(format!("{name} = {before}")),
                Err(error) => failures.push(Failure::new(&machine.sysctl_path(name), error)),
            },
        }
    }
    for (name, before) in &undo.files {
        let path = machine.path(name);
        if name != SYSCTL_FILE && name != DROP_IN {
            failures.push(Failure::new(&path, "relevo-tune never wrote this file, and leaves it alone"));
            continue;
        }
        let result = match before {
            Some(text) => write(&path, text),
            None => fs::remove_file(&path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        match result {
            Ok(()) if before.is_some() => done.push(format!("{}: as it was", path.display())),
            Ok(()) => done.push(format!("{}: removed", path.display())),
            Err(error) => failures.push(Failure::new(&path, error)),
        }
    }
    if failures.is_empty() {
        let path = machine.path(UNDO_FILE);
        if let Err(error) = fs::remove_file(&path) {
            failures.push(Failure::new(&path, error));
        }
        // Only if it is empty: the unit may have other drop-ins.
        if let Some(directory) = machine.path(DROP_IN).parent() {
            let _ = fs::remove_dir(directory);
        }
    }
    (done, failures)
}
