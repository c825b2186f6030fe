//! The winning settings as a part of a configuration, each with its reason.

use super::setting::Key;
use super::{Goal, Outcome};
use crate::table::number;

/// Sections in the order of a configuration.
const SECTIONS: [&str; 5] = ["node", "delivery", "spool", "tuning", "shard"];

/// A text that `relevo check` accepts by itself, to be merged into a configuration.
pub fn text(outcome: &Outcome) -> String {
    let mut out = format!("# Found by relevo-tune sweep.\n# {}\n# {}\n", outcome.machine, outcome.load);
    if let Some(whole) = outcome.whole() {
        let words = outcome.goal.words();
        out += &format!(
            "# All together: {} of the {words} with the defaults (spread {}, {} pairs).\n",
            number(whole.decision.median),
            number(whole.decision.spread),
            whole.pairs.len()
        );
    }
    if outcome.unfinished {
        out += "# Time ran out before everything was tried.\n";
    }
    if outcome.best.is_empty() {
        return out + "# Nothing tried was clearly better than the defaults; they stay.\n";
    }
    let sections = outcome.best.sections();
    for section in SECTIONS {
        if section == "shard" {
            shards(&sections, &mut out);
            continue;
        }
        let Some(table) = sections.get(section).and_then(toml::Value::as_table) else { continue };
        out += &format!("\n[{section}]\n");
        for (name, value) in table {
            let key = Key::ALL.into_iter().find(|key| key.place() == (section, name.as_str()));
            let key = match key {
                Some(Key::Shards) if outcome.best.get(Key::Cores).is_some() => Some(Key::Cores),
                key => key,
            };
            if let Some(reason) = key.and_then(|key| reason(outcome, key)) {
                out += &format!("# {reason}\n");
            }
            out += &format!("{name} = {value}\n");
        }
    }
    out
}

fn shards(sections: &toml::Table, out: &mut String) {
    for shard in sections.get("shard").and_then(toml::Value::as_array).into_iter().flatten() {
        *out += "\n[[shard]]\n";
        for (name, value) in shard.as_table().into_iter().flatten() {
            *out += &format!("{name} = {value}\n");
        }
    }
}

fn reason(outcome: &Outcome, key: Key) -> Option<String> {
    let comparison = outcome.reason(key)?;
    let words = match outcome.goal {
        Goal::Rate => "rate",
        goal => goal.words(),
    };
    Some(format!(
        "{} of the {words} with the default, {} (spread {}, {} pairs)",
        number(comparison.decision.median),
        key.default_value(),
        number(comparison.decision.spread),
        comparison.pairs.len()
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sweep::decision::Decision;
    use crate::sweep::setting::Settings;
    use crate::sweep::{Comparison, Measured, Stage};

    /// An outcome in which two settings won.
    pub(in crate::sweep) fn outcome() -> Outcome {
        let one = Measured { rate: 1000.0, accepted: 990.0, cpu_us: 80.0, p50_ms: 2.0, p99_ms: 9.5 };
        let other = Measured { rate: 1100.0, ..one };
        let comparison = |stage, key: Option<Key>, tried: &Settings, median, clear| Comparison {
            stage,
            key,
            base: Settings::default(),
            tried: tried.clone(),
            pairs: vec![(one, other); 3],
            decision: Decision { median, spread: 0.02, clear },
        };
        let default = Settings::default();
        let best = default.with(Key::CommitDelay, "1ms").with(Key::Cores, "0,2");
        Outcome {
            machine: "2 cores <a>".to_owned(),
            load: "50 connections".to_owned(),
            comparisons: vec![
                comparison(Stage::Noise, None, &default, 1.01, false),
                comparison(Stage::Single, Some(Key::Cores), &default.with(Key::Cores, "0,2"), 1.06, true),
                comparison(
                    Stage::Single,
                    Some(Key::CommitDelay),
                    &default.with(Key::CommitDelay, "1ms"),
                    1.10,
                    true,
                ),
                comparison(
                    Stage::Single,
                    Some(Key::CommitDelay),
                    &default.with(Key::CommitDelay, "5ms"),
                    0.7,
                    false,
                ),
                comparison(Stage::Combined, Some(Key::Cores), &best, 1.05, true),
                comparison(Stage::Whole, None, &best, 1.15, true),
            ],
            best,
            ..Outcome::default()
        }
    }

    #[test]
    fn winners_are_written_with_their_reasons() {
        let text = text(&outcome());
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["tuning"]["commit_delay"].as_str(), Some("1ms"));
        assert_eq!(table["node"]["shards"].as_integer(), Some(2));
        assert_eq!(table["shard"].as_array().unwrap().len(), 2);
        for line in [
            "# 1.10 of the rate with the default, 0ms (spread 0.02, 3 pairs)\ncommit_delay = \"1ms\"",
            "# 1.06 of the rate with the default, in turn (spread 0.02, 3 pairs)\nshards = 2",
            "# All together: 1.15 of the rate",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn defaults_need_no_section() {
        let outcome = Outcome { best: Settings::default(), ..outcome() };
        let text = super::text(&outcome);
        assert!(text.parse::<toml::Table>().unwrap().is_empty() && text.contains("they stay"), "{text}");
    }
}
