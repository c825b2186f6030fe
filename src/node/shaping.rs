//! The shaping files that a configuration or a command names, read and put over each other.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::limits;
use crate::runtime::files;
use crate::shaping::Findings;
use crate::shaping::check;
use crate::shaping::file::{self, File};
use crate::shaping::layers::Shaping;

/// What came of it.
pub struct Shaped {
    /// What could be understood.
    pub shaping: Shaping,
    /// What is wrong.
    pub findings: Findings,
}

impl Shaped {
    /// Whether a file could not be read at all.
    pub fn is_unread(&self) -> bool {
        self.findings.errors.iter().any(|error| error.line == 0)
    }
}

/// Reads files in their order, over the shipped one if that is wanted.
pub fn read(defaults: bool, paths: &[PathBuf]) -> Shaped {
    let (mut all, mut findings) = (Vec::new(), Findings::default());
    all.extend(defaults.then(file::shipped));
    for path in paths {
        match text(path) {
            Ok(text) => {
                let (file, found) = File::read(&text, path);
                findings.append(found);
                all.push(file);
            }
            Err(error) => findings.errors.push(*error),
        }
    }
    let (shaping, found) = Shaping::of(all);
    findings.append(found);
    findings.append(check::check(&shaping));
    Shaped { shaping, findings: findings.of_files(paths) }
}

fn text(path: &Path) -> Result<String, Box<ConfigError>> {
    let wrong = |line, problem: String, fix: &str| {
        let (file, fix) = (path.to_owned(), fix.to_owned());
        Box::new(ConfigError { file, line, key: String::new(), value: String::new(), problem, fix })
    };
    let bytes = files::read_whole(path, limits::SHAPING_FILE_MAX)
        .map_err(|error| wrong(0, error.to_string(), "name a shaping file that can be read"))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(line, "this is not UTF-8".to_owned(), "save the file as UTF-8")
    })
}
