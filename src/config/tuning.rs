//! `[tuning]`: how shards use the machine. Nothing here changes what happens to mail, only what it costs.

use std::time::Duration;

use toml::de::DeValue;

use crate::config::literal::{Wrong, at_most, integer, word};
use crate::config::section::Section;
use crate::limits;

/// `[tuning]`
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Which implementation of the runtime the shards run on.
    pub runtime: RuntimeChoice,
    /// How long an idle shard looks for work before it sleeps; at most [`limits::SPIN_MAX`].
    pub spin: Duration,
    /// Entries of each shard's io_uring, a power of two.
    pub ring_depth: usize,
    /// How long a commit waits for more clients before it starts; at most [`limits::COMMIT_DELAY_MAX`].
    pub commit_delay: Duration,
}

/// `runtime` of `[tuning]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// glommio; epoll where the kernel refuses io_uring.
    Auto,
    /// glommio, on io_uring, or no start.
    Glommio,
    /// Plain epoll, no io_uring.
    Epoll,
}

impl RuntimeChoice {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            RuntimeChoice::Auto => "auto",
            RuntimeChoice::Glommio => "glommio",
            RuntimeChoice::Epoll => "epoll",
        }
    }
}

pub(super) fn read(section: &Section<'_>) -> Tuning {
    let runtime = section.read("runtime", RuntimeChoice::Auto, |value| {
        let all = [RuntimeChoice::Auto, RuntimeChoice::Glommio, RuntimeChoice::Epoll];
        word(value, all.map(|choice| (choice.name(), choice)))
    });
    let spin = section.read("spin", Duration::ZERO, |value| at_most(value, limits::SPIN_MAX));
    let ring_depth = section.read("ring_depth", limits::RING_DEPTH_DEFAULT, ring_depth) as usize;
    let commit_delay =
        section.read("commit_delay", Duration::ZERO, |value| at_most(value, limits::COMMIT_DELAY_MAX));
    section.finish();
    Tuning { runtime, spin, ring_depth, commit_delay }
}

fn ring_depth(value: &DeValue<'_>) -> Result<u64, Wrong> {
    let range = limits::RING_DEPTH_MIN..=limits::RING_DEPTH_MAX;
    let depth = integer(value, range, limits::RING_DEPTH_DEFAULT)?;
    if depth.is_power_of_two() {
        Ok(depth)
    } else {
        let problem = format!("{depth} is no power of two");
        Err(Wrong::write(problem, depth.next_power_of_two().to_string(), ""))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_written_is_what_is_set() {
        let text =
            "[tuning]\nruntime = \"epoll\"\nspin = \"20us\"\nring_depth = 1024\ncommit_delay = \"2ms\"\n";
        let tuning = Config::parse(text, Path::new("relevo.toml")).expect(text).tuning;
        assert_eq!((tuning.runtime, tuning.spin), (RuntimeChoice::Epoll, Duration::from_micros(20)));
        assert_eq!((tuning.ring_depth, tuning.commit_delay), (1024, Duration::from_millis(2)));
        let tuning = Config::embedded().tuning;
        assert_eq!((tuning.runtime, tuning.spin), (RuntimeChoice::Auto, Duration::ZERO));
    }

    #[test]
    fn what_is_out_of_bounds_has_a_fix() {
        for (line, wanted) in [
            (
                "runtime = \"tokio\"",
                "tuning.runtime: \"tokio\" cannot be understood; write runtime = \"auto\", or \"glommio\"",
            ),
            (
                "spin = \"2ms\"",
                "tuning.spin: \"2ms\" is too long; write spin = \"1ms\", or another time from 0ms to 1ms",
            ),
            ("spin = 20", "tuning.spin: 20 has no unit: ms, s, m, h or d, in quotes; write spin = \"20us\""),
            ("ring_depth = 100", "tuning.ring_depth: 100 is no power of two; write ring_depth = 128"),
            (
                "ring_depth = 16",
                "tuning.ring_depth: 16 is out of range; write ring_depth = 32, or another number from 32 to 4096",
            ),
            (
                "commit_delay = \"51ms\"",
                "tuning.commit_delay: \"51ms\" is too long; write commit_delay = \"50ms\"",
            ),
            ("spinn = \"1us\"", "tuning.spinn: unknown key; did you mean spin = \"1us\"?"),
        ] {
            let errors = Config::parse(&format!("[tuning]\n{line}\n"), Path::new("relevo.toml"));
            let errors: Vec<_> = errors.expect_err(line).iter().map(ToString::to_string).collect();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].starts_with(&format!("relevo.toml:2: {wanted}")), "{}", errors[0]);
        }
    }
}
