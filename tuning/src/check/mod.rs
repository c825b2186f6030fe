//! What the machine grants, judged for a busy relay. Reads only; the one thing written is a small file for the disk's
//! flush, removed at once.

pub mod finding;

mod disk;
mod interrupts;
mod limits;
mod network;
mod processor;
pub mod sysctl;

use std::path::Path;

pub use disk::existing as existing_directory;
pub use finding::{Finding, Grade};

use crate::machine::Machine;
use crate::table;

/// Everything worth knowing, in the order it is shown. Without a data directory the disk is left out.
pub fn all(machine: &Machine, data_dir: Option<&Path>) -> Vec<Finding> {
    let mut findings = processor::findings(machine);
    findings.extend(limits::findings(machine));
    findings.extend(network::findings(machine));
    findings.extend(interrupts::findings(machine));
    findings.extend(sysctl::SETTINGS.iter().map(|setting| setting.finding(machine)));
    if let Some(data_dir) = data_dir {
        findings.extend(disk::findings(machine, data_dir));
    }
    findings
}

/// Whether nothing is low.
pub fn is_fine(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.grade != Grade::Low)
}

/// A table, with reason and commands below each line that is low.
pub fn text(findings: &[Finding]) -> String {
    let mark = |grade| match grade {
        Grade::Good => "ok",
        Grade::Low => "LOW",
        Grade::Unknown => "?",
    };
    let mut rows = vec![["", "what", "value", "wanted"].map(str::to_owned).to_vec()];
    for Finding { name, value, grade, wanted, .. } in findings {
        rows.push(vec![mark(*grade).to_owned(), name.clone(), value.clone(), wanted.clone()]);
    }
    let mut lines = table::aligned(&rows).into_iter();
    let mut out = lines.next().unwrap_or_default();
    for (finding, line) in findings.iter().zip(lines) {
        out += &line;
        if finding.grade == Grade::Low {
            out += &format!("       {}\n", finding.why);
            for fix in finding.fix.lines() {
                out += &format!("         {fix}\n");
            }
        }
    }
    let low = findings.iter().filter(|finding| finding.grade == Grade::Low).count();
    out += &match low {
        0 => "\nNothing to change.\n".to_owned(),
        _ => format!("\n{low} to change. `relevo-tune apply --dry-run` shows what it can change for you.\n"),
    };
    out
}

#[cfg(test)]
mod tests;
