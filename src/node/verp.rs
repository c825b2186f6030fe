//! The secret that return paths are signed with: the node's own, in its data directory, and made there when it is first wanted.

use std::io;

use crate::config::{Config, ConfigError};
use crate::limits;
use crate::mail::bounce::verp::Verp;
use crate::node::files::Filled;
use crate::node::secrets;
use crate::runtime::process;
use crate::spool::layout;

/// What signs return paths by this configuration, if anything does. A start, `changes`, makes another secret where the current one is old.
pub(super) fn load(config: &Config, changes: bool) -> io::Result<Option<Verp>> {
    let Some(domain) = &config.feedback.verp_domain else { return Ok(None) };
    let path = config.node.data_dir.join(layout::VERP_SECRET);
    let secrets = secrets::load(&path, changes.then_some(limits::VERP_SECRET_AGE))?;
    let previous = secrets.previous.as_ref().map(|(_, secret)| &secret[..]);
    let id = process::read_node_id(&config.node.data_dir)?.unwrap_or_default();
    let node = format!("{id:016x}");
    Verp::new(domain, &node, &secrets.current.1, previous, limits::VERP_DAYS)
        .map(Some)
        .map_err(io::Error::other)
}

/// Puts it where what files hold is. What is wrong with it, as an error of the configuration.
pub(super) fn put_into(filled: &mut Filled, config: &Config) -> Option<ConfigError> {
    match load(config, false) {
        Ok(verp) => {
            filled.contents.verp = verp;
            None
        }
        Err(error) => {
            let path = config.node.data_dir.join(layout::VERP_SECRET);
            Some(config.places.remark(
                "bounces.verp_domain",
                format!("{}: {error}", path.display()),
                "mend the file",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::id::MessageId;
    use crate::mail::bounce::verp::Copy;

    #[test]
    fn a_secret_is_made_once_and_changed_when_it_is_old() {
        let scratch = tempfile::tempdir().unwrap();
        let text = format!(
            "[node]\nhostname = \"mx1.example.net\"\ndata_dir = \"{}\"\n[bounces]\nverp_domain = \"b.example.net\"\n",
            scratch.path().display()
        );
        let config = Config::parse(&text, Path::new("relevo.toml")).unwrap();
        let path = scratch.path().join(layout::VERP_SECRET);
        let load = |changes| super::load(&config, changes).unwrap().unwrap();
        let id = MessageId { lane: 1, sequence: 2, offset: 4096 };
        let copy = Copy { id, ordinal: 0, recipient: b"ada@b.example", tenant: "" };
        let first = load(true).write(&copy, process::wall());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(true).write(&copy, process::wall()), first, "it is kept");
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, secret) = text.split_once(' ').unwrap();
        std::fs::write(&path, format!("1000000000 {secret}")).unwrap();
        assert_eq!(load(false).write(&copy, process::wall()), first, "a reload changes nothing");
        let changed = load(true);
        assert_ne!(changed.write(&copy, process::wall()), first);
        assert!(changed.read(first.as_bytes(), process::wall()).is_ok(), "what is out is believed");
        for senseless in ["", "x", "1 2", "1 00", "1 zz", &format!("1 {}\nx\n", "00".repeat(32))] {
            std::fs::write(&path, senseless).unwrap();
            assert!(super::load(&config, true).is_err(), "{senseless:?}");
        }
    }
}
