//! What the sections of shards mean together: for each shard, and for the machine.

use std::collections::BTreeMap;

use crate::config::shard::{Particulars, ShardConfig};
use crate::config::{ConfigError, ListenerConfig, Tuning};
use crate::limits;

/// What it takes to say what holds for each shard.
pub(super) struct Shards<'a> {
    pub(super) sections: &'a [ShardConfig],
    pub(super) listeners: &'a [ListenerConfig],
    pub(super) tuning: &'a Tuning,
}

impl Shards<'_> {
    /// What is wrong in `[[shard]]` when there are so many shards and, if they are known, the process may use these processors.
    pub(super) fn judge(&self, shards: usize, cores: Option<&[usize]>) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for (at, shard) in self.sections.iter().enumerate() {
            let earlier = &self.sections[..at];
            if shard.index >= shards {
                let problem = format!("there is no shard {}: they are 0 to {}", shard.index, shards - 1);
                errors.push(shard.error("index", problem, "write one of these, or raise node.shards"));
            }
            if let Some(other) = earlier.iter().find(|other| other.index == shard.index) {
                let problem =
                    format!("shard {} has a section already, at line {}", shard.index, other.line());
                errors.push(shard.error("index", problem, "write one section for each shard"));
            }
            if let (Some(core), Some(cores)) = (shard.core, cores)
                && !cores.contains(&core)
            {
                let usable: Vec<_> = cores.iter().map(usize::to_string).collect();
                let fix = format!(
                    "write one of {}, or let the process use it (taskset, CPUAffinity= or AllowedCPUs= of systemd, a container's cpuset)",
                    usable.join(", ")
                );
                errors.push(shard.error("core", format!("this process may not use core {core}"), fix));
            }
            errors.extend(self.lane_errors(shard, earlier, shards));
        }
        errors.extend(self.unopened(shards));
        errors
    }

    fn lane_errors(&self, shard: &ShardConfig, earlier: &[ShardConfig], shards: usize) -> Vec<ConfigError> {
        let lanes = shard.lanes.as_deref().unwrap_or_default();
        let problem = |(at, lane): (usize, &u16)| {
            let number = usize::from(*lane);
            if number < shards {
                return Some((format!("lane {lane} is shard {lane}'s own"), "leave it out".to_owned()));
            }
            if lanes[..at].contains(lane) {
                return Some((format!("lane {lane} is listed twice"), "write it once".to_owned()));
            }
            let other = earlier.iter().find(|other| other.lanes.iter().flatten().any(|kept| kept == lane))?;
            let problem = format!("lane {lane} is kept by shard {}, at line {}", other.index, other.line());
            Some((problem, "write it in one section".to_owned()))
        };
        let problems = lanes.iter().enumerate().filter_map(problem);
        problems.map(|(problem, fix)| shard.error("lanes", problem, fix)).collect()
    }

    /// Listeners that no shard opens. A shard that says nothing opens all.
    fn unopened(&self, shards: usize) -> Vec<ConfigError> {
        let all = self.particulars(shards);
        let unopened = |at: &usize| !all.iter().any(|one| one.listeners.get(*at) == Some(&true));
        // All shards have a section then, or one would open it.
        let Some(last) = self.sections.iter().rfind(|shard| shard.listeners.is_some()) else {
            return Vec::new();
        };
        let error = |at: usize| {
            let problem = format!("no shard opens {}", self.listeners[at].address);
            last.error(
                "listeners",
                problem,
                "add it here or to another [[shard]], or remove its [[listener]]",
            )
        };
        (0..self.listeners.len()).filter(unopened).map(error).collect()
    }

    /// What holds for each of so many shards.
    pub(super) fn particulars(&self, shards: usize) -> Vec<Particulars> {
        (0..shards).map(|index| self.particulars_of(index)).collect()
    }

    fn particulars_of(&self, index: usize) -> Particulars {
        let shard = self.sections.iter().find(|shard| shard.index == index);
        let listeners = shard.and_then(|shard| shard.listeners.as_deref());
        let opens = |at: usize| listeners.is_none_or(|listeners| listeners.contains(&at));
        Particulars {
            core: shard.and_then(|shard| shard.core),
            listeners: (0..self.listeners.len()).map(opens).collect(),
            lanes: shard.and_then(|shard| shard.lanes.clone()),
            connections_inbound_max: shard
                .and_then(|shard| shard.connections_inbound_max)
                .unwrap_or(limits::INBOUND_CONNECTIONS_MAX),
            connections_outbound_max: shard
                .and_then(|shard| shard.connections_outbound_max)
                .unwrap_or(limits::OUTBOUND_CONNECTIONS_MAX),
            questions_max: limits::DNS_INFLIGHT_MAX,
            spin: shard.and_then(|shard| shard.spin).unwrap_or(self.tuning.spin),
            commit_delay: shard.and_then(|shard| shard.commit_delay).unwrap_or(self.tuning.commit_delay),
        }
    }

    /// What is allowed and seldom meant: shards that share a core though a section pins one of them.
    pub(super) fn warnings(&self, shards: usize, cores: &[usize]) -> Vec<String> {
        let Some(count) = std::num::NonZeroUsize::new(cores.len()) else { return Vec::new() };
        let mut on: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, one) in self.particulars(shards).iter().enumerate() {
            on.entry(one.core.unwrap_or(cores[index % count])).or_default().push(index);
        }
        let pinned = |core: usize| self.sections.iter().any(|shard| shard.core == Some(core));
        let shared = on.into_iter().filter(|(core, shards)| shards.len() > 1 && pinned(*core));
        shared
            .map(|(core, shards)| {
                let shards: Vec<_> = shards.iter().map(usize::to_string).collect();
                format!("shards {} share core {core}: each gets a part of it", shards.join(", "))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;

    const TWO: &str = "[node]\nshards = 2\n[[listener]]\naddress = \"127.0.0.1:25\"\n[[listener]]\naddress = \"127.0.0.1:26\"\n";

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        let config = Config::parse(&format!("{TWO}{text}"), Path::new("relevo.toml"));
        config.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_written_holds_for_one_shard() {
        let config = parse(
            "[tuning]\nspin = \"10us\"\n[[shard]]\nindex = 1\ncore = 3\nlisteners = [\"127.0.0.1:26\"]\nlanes = [2, 5]\n\
             connections_inbound_max = 100\nconnections_outbound_max = 50\nspin = \"20us\"\ncommit_delay = \"1ms\"\n",
        )
        .unwrap();
        let [zero, one] = &config.particulars(2)[..] else { panic!() };
        let default = Config::embedded().particulars(1).remove(0);
        assert_eq!(
            *zero,
            Particulars { listeners: vec![true, true], spin: Duration::from_micros(10), ..default }
        );
        let expected = Particulars {
            core: Some(3),
            listeners: vec![false, true],
            lanes: Some(vec![2, 5]),
            connections_inbound_max: 100,
            connections_outbound_max: 50,
            questions_max: limits::DNS_INFLIGHT_MAX,
            spin: Duration::from_micros(20),
            commit_delay: Duration::from_millis(1),
        };
        assert_eq!(*one, expected);
        let words = crate::config::describe::describe(&config);
        for wanted in
            ["shard 1: on core 3", "127.0.0.1:26 only", "lanes 2, 5", "at most 100 clients", "20us", "1ms"]
        {
            assert!(words.contains(wanted), "{wanted}: {words}");
        }
        assert!(!words.contains("shard 0:"), "{words}");
    }

    #[test]
    fn every_error_names_line_key_and_fix() {
        for (text, wanted) in [
            ("core = 1", "7: shard[0].index: this key is missing; add index = 0: which shard"),
            ("index = 2", "8: shard[0].index: there is no shard 2: they are 0 to 1; write one of these"),
            (
                "index = 0\n[[shard]]\nindex = 0",
                "10: shard[1].index: shard 0 has a section already, at line 7",
            ),
            ("index = 0\nlanes = [1]", "9: shard[0].lanes: lane 1 is shard 1's own; leave it out"),
            ("index = 0\nlanes = [0]", "9: shard[0].lanes: lane 0 is shard 0's own; leave it out"),
            ("index = 0\nlanes = [2, 2]", "9: shard[0].lanes: lane 2 is listed twice"),
            (
                "index = 0\nlanes = [2]\n[[shard]]\nindex = 1\nlanes = [2]",
                "12: shard[1].lanes: lane 2 is kept by shard 0",
            ),
            (
                "index = 0\nlanes = 2",
                "9: shard[0].lanes: this is a number, not a list of numbers; write lanes = [2]",
            ),
            ("index = 0\nlanes = [256]", "9: shard[0].lanes: 256 is out of range"),
            (
                "index = 0\nlisteners = [\"127.0.0.1:27\"]",
                "9: shard[0].listeners: no [[listener]] has the address 127.0.0.1:27",
            ),
            (
                "index = 0\nlisteners = [\"127.0.0.1:25\"]\n[[shard]]\nindex = 1\nlisteners = []",
                "12: shard[1].listeners: no shard opens 127.0.0.1:26; add it here",
            ),
            (
                "index = 0\nconnections_inbound_max = 0",
                "9: shard[0].connections_inbound_max: 0 is out of range",
            ),
            ("index = 0\nspin = \"1s\"", "9: shard[0].spin: \"1s\" is too long; write spin = \"1ms\""),
            ("index = 0\ncores = 1", "9: shard[0].cores: unknown key; did you mean core = 1?"),
        ] {
            let found = parse(&format!("[[shard]]\n{text}\n")).expect_err(text);
            assert_eq!(found.len(), 1, "{text}: {found:#?}");
            assert!(found[0].starts_with(&format!("relevo.toml:{wanted}")), "{}", found[0]);
        }
    }

    #[test]
    fn the_machine_has_its_say() {
        let config = parse("[[shard]]\nindex = 1\ncore = 0\n").unwrap();
        assert!(config.judge_shards(2, Some(&[0, 1])).is_empty());
        let errors = config.judge_shards(2, Some(&[4, 5]));
        assert!(
            errors[0]
                .to_string()
                .contains("shard[0].core: this process may not use core 0; write one of 4, 5")
        );
        assert_eq!(config.shard_warnings(&[0, 1]), ["shards 0, 1 share core 0: each gets a part of it"]);
        assert!(parse("[[shard]]\nindex = 1\ncore = 1\n").unwrap().shard_warnings(&[0, 1]).is_empty());
        assert!(Config::embedded().shard_warnings(&[0]).is_empty(), "nobody pinned anything");
    }

    #[test]
    fn a_count_that_only_the_start_knows_is_judged_there() {
        let text = "[[shard]]\nindex = 3\n";
        let config = Config::parse(text, Path::new("relevo.toml")).unwrap();
        assert_eq!((config.shard_count(2), config.shard_count(0)), (2, 1));
        assert_eq!(config.judge_shards(4, None), []);
        assert!(
            config.judge_shards(2, None)[0]
                .to_string()
                .starts_with("relevo.toml:2: shard[0].index: there is no")
        );
    }
}
