//! What is told of a reload, and of what is in force.

use std::path::Path;

use crate::config::ConfigError;
use crate::control::api::shape::{Reloaded, SuspendedSource};
use crate::limits;
use crate::shard::live::LiveConfig;

/// Another one is under way.
pub(super) fn under_way(file: &Path) -> ConfigError {
    ConfigError {
        file: file.to_owned(),
        line: 0,
        key: String::new(),
        value: String::new(),
        problem: "it is being read again already".to_owned(),
        fix: "ask again in a moment".to_owned(),
    }
}

/// Sources that send nothing now, and why.
pub(super) fn suspended(live: &LiveConfig) -> Vec<SuspendedSource> {
    let suspended = live.egresses.sources().filter(|source| source.is_suspended()).map(|source| {
        let (source, why) = (source.name().to_owned(), source.suspension().why.into());
        SuspendedSource { source, why }
    });
    suspended.take(limits::SOURCES_NAMED).collect()
}

/// What is to be known of the last reload until another is well.
pub(super) fn standing(done: &Reloaded, by: &str) -> Vec<String> {
    let Some(first) = done.errors.first().filter(|_| !done.ok) else { return Vec::new() };
    let more = match done.errors.len() {
        1 => String::new(),
        errors => format!("; and {} more: relevo reload --dry-run tells all", errors - 1),
    };
    vec![format!(
        "the last reload, by {by}, was refused, and the configuration before it is in force: {first}{more}"
    )]
}
