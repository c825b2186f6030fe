//! Metrics that had another name or unit. The old one stays until the next minor version, and its help says what to use.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::observe::Instruments;

/// A count or level by another name.
struct Renamed {
    old: &'static str,
    /// Without its unit.
    new: &'static str,
    unit: &'static str,
    /// So many of the old unit are one of the new.
    per: f64,
}

const fn renamed(old: &'static str, new: &'static str, unit: &'static str, per: f64) -> Renamed {
    Renamed { old, new, unit, per }
}

const LEVELS: [Renamed; 6] = [
    renamed("busy_percent", "busy", "ratio", 100.0),
    renamed("longest_turn_microseconds", "longest_turn", "seconds", 1e6),
    renamed("client_memory", "client_memory", "bytes", 1.0),
    renamed("session_memory", "session_memory", "bytes", 1.0),
    renamed("bodies_gathered", "bodies_gathered", "bytes", 1.0),
    renamed("spool_bytes_live", "spool_live", "bytes", 1.0),
];

const COUNTS: [Renamed; 2] =
    [renamed("bytes_received", "received", "bytes", 1.0), renamed("bytes_moved", "moved", "bytes", 1.0)];

/// The help of a count or level, which says so where it has another name now.
pub(super) fn marked(old: &str, help: &'static str) -> Cow<'static, str> {
    let level =
        LEVELS.iter().map(|renamed| (renamed, "")).chain(COUNTS.iter().map(|renamed| (renamed, "_total")));
    let mut of = level.filter(|(renamed, _)| renamed.old == old);
    of.next().map_or(Cow::Borrowed(help), |(Renamed { new, unit, .. }, suffix)| {
        format!("Deprecated, see {new}_{unit}{suffix}: {help}").into()
    })
}

/// By their new names.
pub(super) fn encode(
    shards: &[Arc<Instruments>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let label = |shard: usize| [("shard", shard.to_string())];
    let levels: Vec<_> = shards.iter().map(|shard| shard.counters.levels()).collect();
    for Renamed { old, new, unit, per } in &LEVELS {
        let Some(help) = help_of(&levels, old) else { continue };
        let help = if *new == "busy" { "Share of its time that the shard worked of late" } else { help };
        let unit = Unit::Other((*unit).into());
        let mut metric = encoder.encode_descriptor(new, help, Some(&unit), MetricType::Gauge)?;
        for (shard, levels) in levels.iter().enumerate() {
            let value = value_of(levels, old) as f64 / per;
            metric.encode_family(&label(shard))?.encode_gauge(&value)?;
        }
    }
    let counts: Vec<_> = shards.iter().map(|shard| shard.counters.counts()).collect();
    for Renamed { old, new, unit, .. } in &COUNTS {
        let Some(help) = help_of(&counts, old) else { continue };
        let unit = Unit::Other((*unit).into());
        let mut metric = encoder.encode_descriptor(new, help, Some(&unit), MetricType::Counter)?;
        for (shard, counts) in counts.iter().enumerate() {
            let value = value_of(counts, old);
            metric.encode_family(&label(shard))?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
    }
    Ok(())
}

type Values = Vec<(&'static str, &'static str, u64)>;

fn help_of(all: &[Values], name: &str) -> Option<&'static str> {
    all.first()?.iter().find(|(one, ..)| *one == name).map(|(_, help, _)| *help)
}

fn value_of(values: &Values, name: &str) -> u64 {
    values.iter().find(|(one, ..)| *one == name).map_or(0, |(.., value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_renamed_is_there_and_says_so() {
        let shard = Instruments::default();
        let (levels, counts) = ([shard.counters.levels()], [shard.counters.counts()]);
        assert!(LEVELS.iter().all(|renamed| help_of(&levels, renamed.old).is_some()));
        assert!(COUNTS.iter().all(|renamed| help_of(&counts, renamed.old).is_some()));
        assert_eq!(marked("busy_percent", "x"), "Deprecated, see busy_ratio: x");
        assert_eq!(marked("bytes_moved", "x"), "Deprecated, see moved_bytes_total: x");
        assert_eq!(marked("takes_mail", "x"), "x");
    }
}
