//! What `--version` says besides the version: the commit and its date. Outside of a repository (a tarball, a package) that is what
//! RELEVO_COMMIT and SOURCE_DATE_EPOCH say, or "unknown".
//!
//! A release build follows each commit. A debug build does not: all of it would be compiled again for one line, so that line says
//! "or later".

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["RELEVO_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let debug = std::env::var("PROFILE").as_deref() == Ok("debug");
    let (commit, date) = found(!debug).unwrap_or_default();
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let commit = match (set("RELEVO_COMMIT"), commit) {
        (Some(commit), _) => commit,
        (None, commit) if commit.is_empty() => "unknown".to_owned(),
        (None, commit) if debug => format!("{commit} or later"),
        (None, commit) => commit,
    };
    let date = match set("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => day(seconds),
        None if date.is_empty() => "date unknown".to_owned(),
        None => date,
    };
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=RELEVO_VERSION={version} (commit {commit}, {date})");
}

/// Commit and date of the repository these sources are in, if they are: a directory they were only unpacked into does not count.
fn found(follow: bool) -> Option<(String, String)> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&here).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if !top.join("src/smtp").is_dir() || !top.join("loadtest").is_dir() {
        return None;
    }
    if follow {
        // The file that says which branch is checked out, and those in which the branch may be.
        let branch = git(&["symbolic-ref", "-q", "HEAD"]);
        let names = ["HEAD".to_owned(), "packed-refs".to_owned()].into_iter().chain(branch);
        for path in names.filter_map(|name| git(&["rev-parse", "--git-path", &name])) {
            let path = here.join(path);
            // One that is not there would make every build a new one.
            if Path::new(&path).exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
    let line = git(&["log", "-1", "--format=%h %cs", "--abbrev=7"])?;
    let (commit, date) = line.split_once(' ')?;
    Some((commit.to_owned(), date.to_owned()))
}

/// The day of a time in seconds since 1970 (days to civil dates, the months counted from March).
fn day(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) =
        if month < 10 { (era * 400 + year, month + 3) } else { (era * 400 + year + 1, month - 9) };
    format!("{year:04}-{month:02}-{day:02}")
}
