//! `[pickup]`: a directory that programs of this machine drop mail into.

use std::path::PathBuf;

use crate::config::literal::{Fix, Wrong, bytes, path, quoted, text};
use crate::config::section::Section;
use crate::limits;

/// `[pickup]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickupConfig {
    /// Where files are dropped.
    pub directory: PathBuf,
    /// Where those go that cannot be taken, in the same file system.
    pub bad: PathBuf,
    /// The account whose mail it is; None: nobody's.
    pub account: Option<String>,
    /// Bytes that a file may have.
    pub message_size_max: u64,
}

const USUAL: &str = "/var/spool/relevo/pickup";

pub(super) fn read(section: &Section<'_>) -> Option<PickupConfig> {
    let directory = section.read("directory", None, |value| place(value, USUAL));
    let bad = section.read("bad", None, |value| place(value, "/var/spool/relevo/bad"));
    let account = section.read("account", None, |value| {
        let name = text(value, "app")?;
        Ok((!name.is_empty()).then(|| name.to_owned()))
    });
    let usual = limits::MESSAGE_SIZE_DEFAULT;
    let message_size_max = section.read("message_size_max", usual, |value| {
        bytes(value, limits::MESSAGE_SIZE_LEAST..=limits::MESSAGE_SIZE_MOST, usual)
    });
    if bad.is_some() && bad == directory {
        let fix = Fix::Do("name another directory, or leave it out".to_owned());
        section.fail("bad", "", "what cannot be taken would be taken again", fix);
    }
    section.finish();
    let directory = directory?;
    let bad = bad.unwrap_or_else(|| directory.join("bad"));
    Some(PickupConfig { directory, bad, account, message_size_max })
}

/// A directory with all of its path, as the relay works in a directory of its own; None: empty.
fn place(value: &toml::de::DeValue<'_>, usual: &str) -> Result<Option<PathBuf>, Wrong> {
    let written = path(value, usual)?;
    let Some(path) = written.filter(|path| !path.as_os_str().is_empty()) else { return Ok(None) };
    if !path.is_absolute() {
        let problem = format!("{} does not begin with /", path.display());
        return Err(Wrong::write(problem, quoted(usual), ""));
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::config::Config;

    fn read(text: &str) -> Result<Option<PickupConfig>, String> {
        let parsed =
            Config::parse(&format!("[pickup]\n{text}"), Path::new("a.toml")).map(|config| config.pickup);
        parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_directory_is_read() {
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("directory = \"\"\nbad = \"/bad\"\n").unwrap(), None);
        let usual = read("directory = \"/drop\"\n").unwrap().unwrap();
        assert_eq!(
            (usual.bad.to_str(), usual.account, usual.message_size_max),
            (Some("/drop/bad"), None, 50 << 20)
        );
        let all = "directory = \"/drop\"\nbad = \"/bad\"\naccount = \"app\"\nmessage_size_max = \"1MiB\"\n";
        let all = read(all).unwrap().unwrap();
        assert_eq!(
            (all.bad.to_str(), all.account.as_deref(), all.message_size_max),
            (Some("/bad"), Some("app"), 1 << 20)
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, wanted) in [
            ("directory = \"drop\"\n", "drop does not begin with /"),
            (
                "directory = \"/drop\"\nbad = \"/drop\"\n",
                "pickup.bad: what cannot be taken would be taken again",
            ),
            ("directory = \"/drop\"\nmessage_size_max = \"1KiB\"\n", "pickup.message_size_max"),
            ("directry = \"/drop\"\n", "directory"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
