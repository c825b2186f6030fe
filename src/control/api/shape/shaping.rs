//! What shaping files say of a domain, as JSON: for commands that read files, and for who asks the relay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::shaping::key::Key;
use crate::shaping::layers::{Effective, EffectiveSetting, Layer};
use crate::shaping::rule::Rule;

/// What holds for a domain, and which line says so.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ShapingShown {
    /// Of the recipients.
    pub domain: String,
    /// The hosts it leads to, as they were given: providers are known by them.
    pub hosts: Vec<String>,
    /// Who sends; empty: any.
    pub source: String,
    /// By key.
    pub settings: BTreeMap<String, ShapingSetting>,
    /// Whose hosts they are.
    pub providers: Vec<ShapingProvider>,
    /// What replies change.
    pub rules: Vec<ShapingRule>,
}

/// The value of a key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ShapingSetting {
    /// As a file would say it.
    pub value: String,
    /// Which file says it; the shipped one has a name of its own.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The section.
    pub section: String,
    /// It is of the source alone.
    pub of_source: bool,
}

/// A provider, with the limits of all of its sites together.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ShapingProvider {
    /// Its name.
    pub name: String,
    /// By key.
    pub limits: BTreeMap<String, ShapingSetting>,
}

/// A rule for replies.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ShapingRule {
    /// The section.
    pub section: String,
    /// The file.
    pub file: String,
    /// The line.
    pub line: usize,
    /// What a reply has in it.
    pub regex: Vec<String>,
    /// When: `Immediate`, or so many in a time.
    pub trigger: String,
    /// What it does.
    pub action: Vec<String>,
    /// For how long, seconds.
    pub duration_s: Option<u64>,
    /// What such a reply is about.
    pub class: Option<String>,
    /// Whether it is final, where the rule says so.
    pub permanent: Option<bool>,
    /// By which source mail goes instead.
    pub fallback_source: Option<String>,
}

impl ShapingShown {
    /// Of what holds.
    pub fn of(held: &Effective<'_>, domain: &str, hosts: &[String], source: &str) -> ShapingShown {
        let provider = |provider: &crate::shaping::layers::Provided<'_>| ShapingProvider {
            name: provider.block.name.to_string(),
            limits: settings(&provider.limits),
        };
        ShapingShown {
            domain: domain.to_owned(),
            hosts: hosts.to_vec(),
            source: source.to_owned(),
            settings: settings(&held.settings),
            providers: held.providers.iter().map(provider).collect(),
            rules: held.rules.iter().map(|(layer, rule)| of_rule(layer, rule)).collect(),
        }
    }
}

fn settings(all: &BTreeMap<Key, EffectiveSetting<'_>>) -> BTreeMap<String, ShapingSetting> {
    let one = |EffectiveSetting { setting, layer }: &EffectiveSetting<'_>| {
        let shown = ShapingSetting {
            value: setting.value.to_string(),
            file: setting.place.file.display().to_string(),
            line: setting.place.line,
            section: layer.to_string(),
            of_source: layer.of_source,
        };
        (setting.key.name().to_owned(), shown)
    };
    all.values().map(one).collect()
}

fn of_rule(layer: &Layer<'_>, rule: &Rule) -> ShapingRule {
    ShapingRule {
        section: layer.to_string(),
        file: rule.place.file.display().to_string(),
        line: rule.place.line,
        regex: rule.patterns.iter().map(|pattern| pattern.written().to_owned()).collect(),
        trigger: rule.trigger.to_string(),
        action: rule.actions.iter().map(ToString::to_string).collect(),
        duration_s: rule.duration.map(|duration| duration.as_secs()),
        class: rule.class.map(|class| class.word().to_owned()),
        permanent: rule.permanent,
        fallback_source: rule.fallback_source.as_ref().map(ToString::to_string),
    }
}
