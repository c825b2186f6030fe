//! Logs that are one file with another log, or with a file that something else is in: each would tear the other's lines, and a log that is
//! gone on with where it ends would not find its end.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::limits;
use crate::node::error::{BadFile, FileFlaw, SameFile};
use crate::runtime::beside::{self, Identity};
use crate::runtime::files;
use crate::spool::layout;

/// The logs that are the same file as something named before them, by device and number or by where they would be made.
pub(super) fn clashes(config: &Config) -> Vec<BadFile> {
    let mut seen: Vec<(String, PathBuf, Option<Identity>)> = named(config)
        .map(|(key, path)| {
            let identity = beside::identity(&path);
            (key, path, identity)
        })
        .collect();
    let mut found = Vec::new();
    if let Some(path) = &config.control.socket
        && let Some((other, there)) = of_node(config, path).or_else(|| of_spool(config, path))
    {
        let same = SameFile { path: path.clone(), other, there };
        found.push(BadFile { key: "control.socket".to_owned(), flaw: FileFlaw::Same(same) });
    }
    for log in &config.logs {
        let Some(path) = log.path.as_ref().filter(|_| !log.is_nowhere()) else { continue };
        let key = format!("{}.path", log.section);
        let identity = beside::identity(path);
        // Two that are spelt alike are told by the configuration.
        let is_same = |(of, other, there): &&(String, PathBuf, Option<Identity>)| {
            identity.is_some() && *there == identity && !(of.starts_with("log") && other == path)
        };
        let same = seen.iter().find(is_same).map(|(other, there, _)| (other.clone(), there.clone()));
        if let Some((other, there)) = same.or_else(|| of_spool(config, path)) {
            let same = SameFile { path: path.clone(), other, there };
            found.push(BadFile { key: key.clone(), flaw: FileFlaw::Same(same) });
        }
        seen.push((key, path.clone(), identity));
    }
    found
}

/// The files that a configuration names besides logs, and itself.
fn named(config: &Config) -> impl Iterator<Item = (String, PathBuf)> {
    let mut named = vec![("the configuration".to_owned(), config.places.file().to_owned())];
    for (at, listener) in config.listeners.iter().enumerate() {
        named.extend(
            listener.client_ca.iter().map(|path| (format!("listener[{at}].client_ca"), path.clone())),
        );
        for files in listener.certificates() {
            named.push((format!("listener[{at}].tls_certificate"), files.certificate.clone()));
            named.push((format!("listener[{at}].tls_key"), files.key.clone()));
        }
    }
    let mut name = |key: &str, path: Option<&PathBuf>| {
        named.extend(path.map(|path| (key.to_owned(), path.clone())));
    };
    name("auth.accounts", config.accounts.as_ref());
    name("control.tokens", config.access.tokens.as_ref());
    name("api.tokens", config.api.tokens.as_ref());
    name("dns.hosts", config.dns.hosts.as_ref());
    name("control.socket", config.control.socket.as_ref());
    config.shaping.files.iter().for_each(|path| name("shaping.files", Some(path)));
    for own in layout::NODE_FILES {
        name("node.data_dir", Some(&config.node.data_dir.join(own)));
    }
    named.into_iter()
}

/// Whether a path is that of one of the node's own files.
fn of_node(config: &Config, path: &Path) -> Option<(String, PathBuf)> {
    let mut own = layout::NODE_FILES.iter().map(|own| config.node.data_dir.join(own));
    own.find(|own| own == path).map(|own| ("node.data_dir".to_owned(), own))
}

/// Whether a file lies in the journal or a lane, would make one, is the directory itself or above it, or is another name of one of their files.
fn of_spool(config: &Config, path: &Path) -> Option<(String, PathBuf)> {
    let data_dir = &config.node.data_dir;
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = beside::directory(data_dir);
    // Also where nothing of that is there yet, or by way of a link.
    let is_data_dir = |place: &Path| {
        whole(place) == whole(data_dir) || (there.is_some() && beside::directory(place) == there)
    };
    let is_own = |name: &str| {
        layout::lane_number(name).is_some() || layout::journal_directory(data_dir).ends_with(name)
    };
    let within = path.ancestors().find(|place| {
        let name = place.file_name().and_then(|name| name.to_str());
        name.is_some_and(is_own) && place.parent().is_some_and(is_data_dir)
    });
    let names = files::list(data_dir).unwrap_or_default();
    let lanes = layout::lanes(&names).into_iter().map(|lane| layout::lane_directory(data_dir, lane));
    let mut places = std::iter::once(layout::journal_directory(data_dir)).chain(lanes);
    let place = if whole(data_dir).starts_with(whole(path)) {
        data_dir.clone()
    } else if let Some(within) = within {
        within.to_owned()
    } else {
        places.find(|place| beside::is_in(path, place, limits::SEGMENTS_MAX))?
    };
    Some(("node.data_dir".to_owned(), place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// What is told of these logs, where `lane-000/00000.seg`, `accounts` and `file` are there.
    fn told(scratch: &Path, logs: &[&str]) -> Vec<String> {
        let at = |name: &str| scratch.join(name).display().to_string();
        let logs: String = logs.iter().map(|log| format!("[[log]]\npath = \"{}\"\n", at(log))).collect();
        let text = format!(
            "[node]\nhostname = \"mx1.example.net\"\ndata_dir = \"{}\"\n[auth]\naccounts = \"{}\"\n{logs}",
            at("spool"),
            at("accounts")
        );
        let mut config = Config::parse(&text, &scratch.join("relevo.toml")).unwrap();
        // What a start, a reload and a check all do.
        let bad = crate::node::files::fill(&mut config, Default::default()).bad;
        let same = bad.iter().filter(|bad| matches!(bad.flaw, FileFlaw::Same(_)));
        same.map(|bad| format!("{} {}", bad.told(&config.places).key, bad)).collect()
    }

    #[test]
    fn a_log_that_is_another_file_too_is_told_with_both_keys() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::create_dir_all(at("spool/lane-000")).unwrap();
        std::fs::create_dir_all(at("spool/journal")).unwrap();
        for name in ["file", "accounts", "relevo.toml", "spool/lane-000/00000.seg", "spool/node", "other"] {
            std::fs::write(at(name), b"").unwrap();
        }
        symlink("file", at("link")).unwrap();
        std::fs::hard_link(at("file"), at("hard")).unwrap();
        std::fs::hard_link(at("spool/lane-000/00000.seg"), at("segment")).unwrap();
        symlink(scratch.path(), at("here")).unwrap();
        symlink("new", at("dangling")).unwrap();
        for (logs, key, other) in [
            (&["file", "link"][..], "log[1].path", "log[0].path"),
            (&["file", "other", "hard"], "log[2].path", "log[0].path"),
            (&["new", "here/new"], "log[1].path", "log[0].path"),
            (&["new", "dangling"], "log[1].path", "log[0].path"),
            (&["accounts"], "log[0].path", "auth.accounts"),
            (&["here/relevo.toml"], "log[0].path", "the configuration"),
            (&["spool/node"], "log[0].path", "node.data_dir"),
            (&["segment"], "log[0].path", "node.data_dir"),
            (&["spool/journal/log"], "log[0].path", "node.data_dir"),
            (&["here/spool/lane-000/log"], "log[0].path", "node.data_dir"),
            (&["spool/lane-007/log"], "log[0].path", "node.data_dir"),
            (&["here/spool/lane-007"], "log[0].path", "node.data_dir"),
            (&["spool"], "log[0].path", "node.data_dir"),
        ] {
            let told = told(scratch.path(), logs);
            assert!(
                told.len() == 1 && told[0].starts_with(key) && told[0].contains(other),
                "{logs:?} {told:?}"
            );
        }
        assert_eq!(
            told(scratch.path(), &["file", "other", "new", "spool/log", "lane-007"]),
            Vec::<String>::new()
        );
        std::fs::remove_dir_all(at("spool")).unwrap();
        for log in ["spool", "spool/lane-000/log", "spool/journal/log", "spool/lane-007"] {
            assert_eq!(told(scratch.path(), &[log]).len(), 1, "{log}");
        }
        assert!(told(scratch.path(), &["spool/log"]).is_empty());
    }
}
