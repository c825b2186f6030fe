//! What a `[[warmup]]` may say and hardly means.

use crate::config::literal::quoted;
use crate::config::nearest::nearest;
use crate::config::{Config, ConfigError, WarmupConfig};

pub(super) fn judge(config: &Config, found: &mut Vec<ConfigError>) {
    for (at, plan) in config.warmups.iter().enumerate() {
        let key = |key: &str| format!("warmup[{at}].{key}");
        let names = || config.sources.iter().map(|source| &*source.name);
        if !names().any(|name| name == &*plan.source) {
            let problem = format!("no [[source]] is called {}: this plan does nothing", quoted(&plan.source));
            let close = nearest(&plan.source, names(), 2).or(names().next());
            found.push(match close {
                Some(close) => config.places.propose(&key("source"), problem, &quoted(close), ""),
                None => config.places.remark(&key("source"), problem, "add a [[source]] of this name"),
            });
        }
        if let Some(down) = plan.plan.windows(2).find(|two| two[1].volume < two[0].volume) {
            let problem = format!(
                "day {} has fewer messages than day {}: {}/d and {}/d",
                down[1].day, down[0].day, down[1].volume, down[0].volume
            );
            found.push(config.places.remark(&key("plan"), problem, "have volumes grow from day to day"));
        }
        found.extend(overflow(config, plan).map(|(problem, fix)| {
            config.places.remark(&key("overflow"), format!("{problem}: what is more waits for midnight"), fix)
        }));
    }
}

/// Why nobody takes what is more than the day's volume, though somebody is named for it.
fn overflow(config: &Config, plan: &WarmupConfig) -> Option<(String, String)> {
    let wanted = plan.overflow.as_deref()?;
    let source = |place: &usize| Some(&*config.sources.get(*place)?.name);
    let alone = config.sources.iter().filter(|source| *source.name == *wanted).map(|source| &*source.name);
    let pool = config.pools.iter().find(|pool| *pool.name == *wanted);
    let members = pool.iter().flat_map(|pool| &pool.members).filter_map(|(place, _)| source(place));
    let mut members = alone.chain(members).peekable();
    if members.peek().is_none() {
        let problem = format!("no [[pool]] and no [[source]] is called {}", quoted(wanted));
        return Some((problem, "name a pool of sources that are warm, or leave it out".to_owned()));
    }
    let is_cold = |name: &str| config.warmups.iter().any(|other| *other.source == *name);
    let warm = members.any(|name| name != &*plan.source && !is_cold(name));
    let words = || {
        (format!("{} has no source without a plan", quoted(wanted)), format!("add one to {}", quoted(wanted)))
    };
    (!warm).then(words)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn warnings(text: &str) -> String {
        let source =
            |name: &str| format!("[[source]]\nname = \"{name}\"\naddress = \"192.0.2.{}\"\n", &name[2..]);
        let sources: String = ["ip1", "ip2"].map(source).concat();
        let text = format!(
            "{sources}[[pool]]\nname = \"bulk\"\nsources = [\"ip1\"]\n[[warmup]]\nstart = 2026-12-01\n{text}"
        );
        let config = Config::parse(&text, Path::new("relevo.toml")).expect("a configuration");
        let mut found = Vec::new();
        judge(&config, &mut found);
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_does_nothing_is_told() {
        for (text, wanted) in [
            ("source = \"ip1\"", ""),
            ("source = \"ip1\"\noverflow = \"ip2\"", ""),
            ("source = \"ip2\"\noverflow = \"bulk\"", ""),
            (
                "source = \"ip3\"",
                "no [[source]] is called \"ip3\": this plan does nothing; write source = \"ip1\"",
            ),
            ("source = \"ip1\"\noverflow = \"bulk\"", "\"bulk\" has no source without a plan"),
            ("source = \"ip1\"\noverflow = \"bulky\"", "no [[pool]] and no [[source]] is called \"bulky\""),
            (
                "source = \"ip1\"\nplan = [{ day = 1, per_provider = 9 }, { day = 2, per_provider = 8 }]",
                "day 2 has fewer messages than day 1: 8/d and 9/d",
            ),
        ] {
            let told = warnings(&format!("{text}\n"));
            assert!(told.contains(wanted) && told.is_empty() == wanted.is_empty(), "{text}: {told}");
        }
    }
}
