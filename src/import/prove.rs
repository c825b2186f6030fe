//! What was made, as `relevo check` reads it: a line that it refuses becomes a comment, and what it is from is told to have no equivalent.

use std::path::Path;

use super::draft::{Draft, Spot};
use super::imported::{Imported, TITLE, Terms};
use super::ledger::Ledger;
use super::words::quoted;
use crate::config::{Config, ConfigError};
use crate::limits;
use crate::shaping::check::check;
use crate::shaping::file::File;
use crate::shaping::layers::Shaping;

/// The last steps of every reader: files are named, what would be refused is taken out, what nobody knew is called so.
pub(super) fn finish(mut imported: Imported, terms: &Terms) -> Imported {
    if !imported.shaping.is_empty() {
        let path = quoted(&format!("{}/shaping.toml", terms.at));
        imported.relevo.set("[shaping]", "files", &format!("[{path}]"), &[]);
    }
    if imported.accounts.is_some() {
        let path = quoted(&format!("{}/accounts.toml", terms.at));
        imported.relevo.set("[auth]", "accounts", &path, &[]);
    }
    prove(&mut imported);
    let mut listeners = imported.relevo.sections.iter().filter(|one| one.head == "[[listener]]").peekable();
    if listeners.peek().is_some() && listeners.all(|one| one.off.is_some()) {
        let words = "No [[listener]] is left: each stands in relevo.toml as a comment, with why. Without one relevo listens at 127.0.0.1:2525, for this machine alone; write one before you use it.";
        imported.notes.push(words.to_owned());
    }
    imported.ledger.close();
    imported
}

/// Takes out what would be refused, until nothing is.
fn prove(imported: &mut Imported) {
    settle(&mut imported.relevo, &mut imported.ledger, refused_configuration);
    settle(&mut imported.shaping, &mut imported.ledger, refused_shaping);
}

/// Errors of a configuration.
pub fn refused_configuration(text: &str) -> Vec<ConfigError> {
    Config::examine(text, Path::new("relevo.toml")).1
}

/// Errors of a shaping file, over the shipped one.
pub fn refused_shaping(text: &str) -> Vec<ConfigError> {
    let (file, mut findings) = File::read(text, Path::new("shaping.toml"));
    if findings.errors.is_empty() {
        let (shaping, found) = Shaping::of(vec![crate::shaping::file::shipped(), file]);
        findings.append(found);
        if findings.errors.is_empty() {
            findings.append(check(&shaping));
        }
    }
    findings.errors
}

fn settle(draft: &mut Draft, ledger: &mut Ledger, refused: fn(&str) -> Vec<ConfigError>) {
    for _ in 0..limits::IMPORT_ROUNDS_MAX {
        let (text, spots) = draft.render(TITLE, ledger);
        let errors = refused(&text);
        let mut changed = false;
        for error in errors {
            let spot = spots.get(error.line.saturating_sub(1)).copied().flatten();
            changed |= spot.is_some_and(|spot| take_out(draft, ledger, spot, &error));
        }
        if !changed {
            return;
        }
    }
}

/// Whether anything was left to take out there. A key that is missed has the whole section go.
fn take_out(
    draft: &mut Draft,
    ledger: &mut Ledger,
    Spot { section, line }: Spot,
    error: &ConfigError,
) -> bool {
    let Some(section) = draft.sections.get_mut(section).filter(|section| section.off.is_none()) else {
        return false;
    };
    let why = super::words::shown(&error.problem);
    let words = format!("relevo refuses it: {why}");
    let is_all =
        |at: usize| section.lines.iter().enumerate().all(|(other, line)| other == at || line.off.is_some());
    // Without it those might relay who are not to.
    let is_door = |at: usize| section.lines.get(at).is_some_and(|line| line.key == "relay_from");
    if let Some(at) = line.filter(|at| !is_all(*at) && !is_door(*at)) {
        let line = &mut section.lines[at];
        if line.off.is_none() {
            line.off = Some(why);
            line.from.iter().for_each(|id| ledger.withdraw(*id, &words));
            return true;
        }
    }
    section.off = Some(why);
    let of_lines = section.lines.iter().flat_map(|line| &line.from);
    section.from.iter().chain(of_lines).for_each(|id| ledger.withdraw(*id, &words));
    true
}
