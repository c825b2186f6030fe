//! `[sandbox]`: how much of captured mail is kept.

use crate::config::literal::{bytes, integer};
use crate::config::section::Section;
use crate::limits;

/// `[sandbox]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxConfig {
    /// `keep`: messages of one inbox.
    pub keep: u64,
    /// `size_max`: bytes of one inbox.
    pub size_max: u64,
}

impl Default for SandboxConfig {
    fn default() -> SandboxConfig {
        SandboxConfig { keep: limits::SANDBOX_KEEP, size_max: limits::SANDBOX_SIZE }
    }
}

pub(super) fn read(section: &Section<'_>) -> SandboxConfig {
    let usual = SandboxConfig::default();
    let config = SandboxConfig {
        keep: section
            .read("keep", usual.keep, |value| integer(value, 1..=limits::SANDBOX_KEEP_MOST, usual.keep)),
        size_max: section.read("size_max", usual.size_max, |value| {
            bytes(value, limits::SANDBOX_SIZE_LEAST..=limits::SANDBOX_SIZE_MOST, usual.size_max)
        }),
    };
    section.finish();
    config
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::SandboxConfig;
    use crate::config::Config;

    #[test]
    fn how_much_is_kept_is_read() {
        let read = |text: &str| {
            let parsed = Config::parse(&format!("[sandbox]\n{text}"), Path::new("relevo.toml"));
            parsed.map(|config| config.sandbox).map_err(|errors| errors[0].to_string())
        };
        assert_eq!(read(""), Ok(SandboxConfig::default()));
        assert_eq!(read("keep = 5\nsize_max = \"1MiB\"\n"), Ok(SandboxConfig { keep: 5, size_max: 1 << 20 }));
        for (text, wanted) in [
            ("keep = 0\n", "sandbox.keep"),
            ("size_max = \"1KiB\"\n", "sandbox.size_max"),
            ("kept = 5\n", "unknown key"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
