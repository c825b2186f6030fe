//! What a reload changes, in words.

use std::collections::HashMap;

use crate::config::{Config, ListenAddress};
use crate::policy::signing::{KeyFile, Signing};
use crate::shard::live::LiveConfig;

/// Where it listens.
pub(super) fn addresses(config: &Config) -> Vec<ListenAddress> {
    config.listeners.iter().map(|listener| listener.address.clone()).collect()
}

/// Of these sections, and of what their files hold.
pub(super) fn told(before: &LiveConfig, now: &LiveConfig, changed: &[&str]) -> Vec<String> {
    let (old, new) = (addresses(&before.config), addresses(&now.config));
    let words = |verb: &str, some: &[ListenAddress], without: &[ListenAddress]| {
        let left = some.iter().filter(|address| !without.contains(address));
        let list: Vec<String> = left.map(ToString::to_string).collect();
        (!list.is_empty()).then(|| format!("{verb} {}", list.join(", ")))
    };
    let sections = changed.iter().map(|section| format!("{section} changed"));
    let listens =
        words("listens on", &new, &old).into_iter().chain(words("no longer listens on", &old, &new));
    let keys = keys(before.signing.as_deref(), now.signing.as_deref());
    listens.chain(sections).chain(keys).collect()
}

/// Keys that sign mail: how many are new, gone, or another under the same name.
fn keys(before: Option<&Signing>, now: Option<&Signing>) -> Option<String> {
    let [before, now] = [before, now].map(|signing| signing.map(Signing::files).unwrap_or_default());
    let name = |file: &KeyFile| (file.domain.clone(), file.selector.clone());
    let mut gone: HashMap<_, &KeyFile> = before.iter().map(|file| (name(file), file)).collect();
    let (mut new, mut other) = (0, 0);
    for file in now {
        match gone.remove(&name(file)) {
            None => new += 1,
            Some(old) => other += usize::from(!old.has_same_key_as(file)),
        }
    }
    let counts = [(new, "new"), (gone.len(), "gone"), (other, "replaced")];
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!parts.is_empty()).then(|| format!("keys that sign mail: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DkimConfig;
    use crate::mail::dkim::PrivateKey;
    use crate::mail::dkim::key::Algorithm;
    use crate::policy::signing::Written;

    #[test]
    fn keys_that_changed_are_counted() {
        let [one, other] =
            [(); 2].map(|()| PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap().to_pem().unwrap());
        let signing = |files: &[(&str, &str)]| {
            let file = |(selector, text): &(&str, &str)| {
                KeyFile::new(&"d.example".into(), selector, Written::default(), text).unwrap()
            };
            Signing::new(&DkimConfig::default(), files.iter().map(file).collect())
        };
        let before = signing(&[("a", &one), ("b", &one), ("c", &one)]);
        let now = signing(&[("a", &one), ("b", &other), ("d", &one), ("e", &one)]);
        let words = |before, now| keys(before, now).unwrap_or_default();
        assert_eq!(words(Some(&before), Some(&now)), "keys that sign mail: 2 new, 1 gone, 1 replaced");
        assert_eq!(words(None, Some(&before)), "keys that sign mail: 3 new");
        assert_eq!(words(Some(&before), None), "keys that sign mail: 3 gone");
        assert_eq!(words(Some(&before), Some(&before)), "");
    }
}
