//! `[shaping]`: which files say how much a destination gets.

use std::path::PathBuf;

use crate::config::literal::{Wrong, list, quoted};
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::limits;

/// `[shaping]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapingConfig {
    /// `defaults`: the shipped file lies below all others.
    pub defaults: bool,
    /// `files`, each over those before it.
    pub files: Vec<PathBuf>,
}

pub(super) fn read(section: &Section<'_>) -> ShapingConfig {
    const USUAL: &str = "/etc/relevo/shaping.toml";
    let defaults = section.read("defaults", true, crate::config::literal::boolean);
    let files = section.read("files", Vec::new(), |value| {
        let files = list(value, path, |_| None, USUAL)?;
        if files.len() > limits::SHAPING_FILES_MAX {
            let problem = format!("there are more than {} files", limits::SHAPING_FILES_MAX);
            return Err(Wrong::act(problem, "put several together"));
        }
        for (at, file) in files.iter().enumerate() {
            if files[..at].contains(file) {
                let problem = format!("{} is there twice", quoted(&file.display().to_string()));
                return Err(Wrong::act(problem, "name each file once: what it says would count twice"));
            }
        }
        Ok(files)
    });
    section.finish();
    ShapingConfig { defaults, files }
}

fn path(text: &str) -> Result<PathBuf, BadValue> {
    if text.trim().is_empty() { Err(BadValue::Syntax("the path of a shaping file")) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn shaping(text: &str) -> Result<ShapingConfig, String> {
        let config = Config::parse(text, Path::new("relevo.toml"));
        config.map(|config| config.shaping).map_err(|errors| errors[0].to_string())
    }

    #[test]
    fn the_shipped_file_lies_below_those_that_are_named() {
        assert_eq!(shaping(""), Ok(ShapingConfig { defaults: true, files: Vec::new() }));
        let named = shaping("[shaping]\ndefaults = false\nfiles = [\"/a.toml\", \"b.toml\"]\n");
        assert_eq!(
            named,
            Ok(ShapingConfig { defaults: false, files: vec!["/a.toml".into(), "b.toml".into()] })
        );
    }

    #[test]
    fn what_is_wrong_with_it_is_told() {
        let many: Vec<String> = (0..=limits::SHAPING_FILES_MAX).map(|at| format!("\"/{at}\"")).collect();
        let many = format!("files = [{}]", many.join(", "));
        for (text, wanted) in [
            (
                "defaults = \"no\"",
                "2: shaping.defaults: this is a text, not true or false; write defaults = false",
            ),
            ("files = \"/a.toml\"", "write files = [\"/a.toml\"]"),
            ("files = [\"\"]", "write files = [\"/etc/relevo/shaping.toml\"]"),
            ("files = [\"/a\", \"/a\"]", "\"/a\" is there twice"),
            (many.as_str(), "more than 32 files"),
            ("file = \"/a\"", "did you mean files = \"/a\"?"),
        ] {
            let error = shaping(&format!("[shaping]\n{text}\n")).expect_err(text);
            assert!(
                error.starts_with("relevo.toml:2: shaping.") && error.contains(wanted),
                "{text}: {error}"
            );
        }
    }
}
