//! TOML to [`Config`]: every error found at once, in the order of the lines, each with file, line, key, value, problem and fix.

use std::path::Path;

use toml::de::DeTable;

use crate::config::section::{Reader, Section};
use crate::config::{Config, ConfigError, read, syntax};

impl Config {
    /// Reads a configuration. All errors are reported, not only the first.
    pub fn parse(text: &str, file: &Path) -> Result<Config, Vec<ConfigError>> {
        let (config, errors) = Config::examine(text, file);
        match config {
            Some(config) if errors.is_empty() => Ok(config),
            _ => Err(errors),
        }
    }

    /// Reads what can be read, with defaults in place of what is wrong: what else may be wrong can be looked for all the same.
    /// No configuration: the file is no TOML.
    pub fn examine(text: &str, file: &Path) -> (Option<Config>, Vec<ConfigError>) {
        let reader = Reader::new(text, file);
        let config = DeTable::parse(text).ok().map(|table| {
            let root = Section::new(&reader, Some(table.get_ref()), String::new(), 0);
            let mut config = read::config(&root);
            root.finish();
            reader.explain_unknown();
            config.places = root.places();
            config
        });
        if config.is_none() {
            for error in syntax::errors(text) {
                reader.fail(error.at, "", "", error.problem, error.fix);
            }
        }
        (config, reader.into_errors())
    }

    /// What an empty file means.
    pub fn embedded() -> Config {
        Config::parse("", Path::new("(built-in defaults)")).expect("an empty configuration is valid")
    }
}

#[cfg(test)]
mod tests;
