//! The least `max_age` that mail may meet, by what is known of it at a start: its domain, and not yet where that leads.

use std::collections::HashMap;
use std::time::Duration;

use super::file::Block;
use super::key::Key;
use super::layers::{Shaping, times};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// Of all sections that may be a domain's, seconds.
    of_any: Option<u32>,
    /// Of sections of a domain that say so themselves.
    by_domain: HashMap<Box<str>, u32>,
}

/// The least that sections set, or their rules may.
fn least<'a>(blocks: impl Iterator<Item = &'a Block>) -> Option<u32> {
    let seconds = |age: Duration| u32::try_from(age.as_secs()).unwrap_or(u32::MAX).max(1);
    times(blocks, |key| key == Key::MaxAge).map(seconds).min()
}

impl Ages {
    /// As these files say.
    pub fn of(shaping: &Shaping) -> Ages {
        let wide = shaping.domains.iter().filter(|block| block.mx_rollup);
        let of_any = least(shaping.default.iter().chain(&shaping.providers).chain(wide));
        let says = |block: &&Block| block.settings.iter().any(|set| set.key == Key::MaxAge);
        let own = shaping.domains.iter().filter(says);
        let own = own.filter_map(|block| Some((block.name.clone(), least([block].into_iter())?)));
        let mut by_domain = HashMap::new();
        for (name, age) in own {
            by_domain.entry(name).and_modify(|least: &mut u32| *least = age.min(*least)).or_insert(age);
        }
        Ages { of_any, by_domain }
    }

    /// Nobody gives mail up for its age.
    pub fn is_empty(&self) -> bool {
        self.of_any.is_none() && self.by_domain.is_empty()
    }

    /// The least for mail to this domain, seconds; its name is in lower case.
    pub fn least(&self, domain: &str) -> Option<u32> {
        self.by_domain.get(domain).copied().or(self.of_any)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::shaping::file::File;

    #[test]
    fn the_least_age_is_that_of_what_may_hold() {
        let ages = |text: &str| {
            let (file, findings) = File::read(text, Path::new("a.toml"));
            assert!(findings.errors.is_empty(), "{findings:?}");
            Ages::of(&Shaping::of(vec![file]).0)
        };
        assert!(ages("[default]\nretry_interval = '1h'\n").is_empty());
        let all = ages(
            "[default]\nmax_age = '3d'\n[default.sources.ip1]\nmax_age = '2d'\n\
             ['own.test']\nmax_age = '4d'\n['apart.test']\nmx_rollup = false\nmax_age = '1h'\n",
        );
        let day = 86_400;
        let of = |domain| all.least(domain);
        // Its own says how long, whatever is said of all; another may lead to the hosts of a section that is said of them.
        assert_eq!((of("own.test"), of("apart.test")), (Some(4 * day), Some(3_600)));
        assert_eq!(of("other.test"), Some(2 * day));
        let rule = "[[provider.a.automation]]\nregex = 'a'\nduration = '1h'\naction = {SetConfig={name='max_age', value='5h'}}\n";
        let all = ages(&format!("[provider.a]\nmatch = [{{MXSuffix='.a.test'}}]\nmax_age = '6h'\n{rule}"));
        assert_eq!(all.least("other.test"), Some(5 * 3_600));
    }
}
