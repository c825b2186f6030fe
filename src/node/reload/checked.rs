//! The configuration on disk, as `relevo check` sees it.

use std::path::Path;

use crate::check::{self, LookedAt};
use crate::control::api::shape::Finding;
use crate::control::api::shape::check::CheckReport;

/// What is said of it. Ports are left alone: this relay has them.
pub(super) fn report(file: &Path) -> CheckReport {
    let name = file.display().to_string();
    let text = match check::read(file) {
        Ok(text) => text,
        Err(error) => {
            let [key, value, fix] = [(); 3].map(|()| String::new());
            let unread =
                Finding { file: name.clone(), line: None, key, value, problem: error.to_string(), fix };
            return CheckReport { file: name, errors: vec![unread], ..CheckReport::default() };
        }
    };
    let checked = check::check(&text, file, LookedAt::MachineButPorts);
    CheckReport {
        file: name,
        ok: checked.is_fine(),
        errors: checked.errors.iter().map(Finding::from).collect(),
        warnings: checked.warnings.iter().map(Finding::from).collect(),
        summary: checked.description().lines().map(|line| line.trim().to_owned()).collect(),
    }
}
