//! What mail that waits is rebound to: its tenant, campaign, pool and priority.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answers::{Api, Problem};
use crate::config::literal::quoted;
use crate::mail::parameters::{self, Key};
use crate::spool::rebind::Changes;

/// What may be set, by its name.
const KEYS: [Key; 4] = [Key::Tenant, Key::Campaign, Key::Pool, Key::Priority];

/// What is asked for. A pool is one of the configuration in force, or a source: its mail would leave by the default else.
pub(super) fn changes(api: &Api, set: &BTreeMap<String, String>) -> Result<Arc<Changes>, Problem> {
    let changes = checked(set).map_err(Problem::Wrong)?;
    let pool = changes.iter().find(|(key, _)| *key == Key::Pool);
    let strange = |name: &&str| api.reload.as_ref().is_some_and(|reload| !reload.has_pool(name));
    match pool.map(|(_, name)| &**name).filter(strange) {
        Some(name) => Err(Problem::Wrong(format!(
            "no [[pool]] and no [[source]] of the configuration in force is called {}",
            quoted(name)
        ))),
        None => Ok(changes),
    }
}

fn checked(set: &BTreeMap<String, String>) -> Result<Arc<Changes>, String> {
    if set.is_empty() {
        return Err("say what it is to have: tenant, campaign, pool or priority".to_owned());
    }
    let mut changes = Vec::new();
    for (name, value) in set {
        let Some(key) = KEYS.into_iter().find(|key| key.name() == name) else {
            let words = "mail is rebound to another tenant, campaign, pool or priority, not to another ";
            return Err(format!("{words}{}", quoted(name)));
        };
        parameters::check(key, value).map_err(|problem| format!("the {name} {problem}"))?;
        changes.push((key, value.as_str().into()));
    }
    Ok(changes.into())
}

/// The same in words: `pool=rest tenant=shop`.
pub(super) fn words(set: &BTreeMap<String, String>) -> String {
    let words: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let asked = |pairs: &[(&str, &str)]| {
            checked(&pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
        };
        let found = asked(&[("tenant", "shop"), ("priority", "low")]).unwrap();
        assert_eq!(*found, [(Key::Priority, "low".into()), (Key::Tenant, "shop".into())]);
        let refused = |pairs: &[(&str, &str)]| asked(pairs).unwrap_err();
        assert!(refused(&[]).contains("say what it is to have"));
        assert!(
            refused(&[("envid", "1")]).ends_with("not to another \"envid\""),
            "{}",
            refused(&[("envid", "1")])
        );
        assert_eq!(refused(&[("priority", "soon")]), "the priority must be high, normal or low");
        assert_eq!(refused(&[("tenant", "")]), "the tenant is empty");
        assert_eq!(refused(&[("campaign", "a\nb")]), "the campaign has a control character in it");
        assert!(refused(&[("pool", &"p".repeat(5_000))]).contains("is longer than"));
    }
}
