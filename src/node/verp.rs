//! The secret that return paths are signed with: the node's own, in its data directory, and made there when it is first wanted.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use crate::config::{Config, ConfigError};
use crate::limits;
use crate::mail::bounce::verp::Verp;
use crate::node::files::Filled;
use crate::runtime::{files, process};
use crate::spool::layout;
use crate::time::UnixMillis;

/// The current secret and the one before, each with when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Secrets {
    current: (u64, Vec<u8>),
    previous: Option<(u64, Vec<u8>)>,
}

/// What signs return paths by this configuration, if anything does. A start, `changes`, makes another secret where the current one is old.
pub(super) fn load(config: &Config, changes: bool) -> io::Result<Option<Verp>> {
    let Some(domain) = &config.feedback.verp_domain else { return Ok(None) };
    let path = config.node.data_dir.join(layout::VERP_SECRET);
    let known = match files::read_whole(&path, limits::VERP_FILE_MAX) {
        Ok(text) => Some(read(&text).ok_or_else(|| io::Error::other(SENSELESS))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let now = process::wall();
    let is_old = |made: u64| UnixMillis(made * 1000).after(limits::VERP_SECRET_AGE) < now;
    let secrets = match known {
        Some(known) if !(changes && is_old(known.current.0)) => known,
        known => {
            let fresh: [u8; 32] = process::random_bytes();
            let current = (now.0 / 1000, fresh.to_vec());
            let secrets = Secrets { current, previous: known.map(|known| known.current) };
            write(&path, &secrets)?;
            secrets
        }
    };
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

const SENSELESS: &str = "it is no file of secrets; remove it to have another made: bounces of mail that left before are not believed then";

/// A line each: when it was made, in seconds since 1970, and the secret in hexadecimal digits.
fn read(text: &[u8]) -> Option<Secrets> {
    let mut lines =
        std::str::from_utf8(text).ok()?.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            let (made, digits) = line.trim().split_once(' ')?;
            let pairs = digits.as_bytes().chunks(2).map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2)
            });
            let secret: Option<Vec<u8>> = pairs.collect();
            Some((made.parse().ok()?, secret.filter(|secret| secret.len() >= limits::VERP_SECRET_MIN)?))
        });
    let current = lines.next()??;
    let previous = lines.next().map_or(Some(None), |line| line.map(Some))?;
    Some(Secrets { current, previous })
}

/// Beside the old one, then in its place.
fn write(path: &Path, secrets: &Secrets) -> io::Result<()> {
    let mut text = String::new();
    for (made, secret) in std::iter::once(&secrets.current).chain(&secrets.previous) {
        let _ = write!(text, "{made} ");
        secret.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
        text.push('\n');
    }
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let mut file = files::make_file(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
