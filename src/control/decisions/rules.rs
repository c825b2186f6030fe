//! What rules of shaping files want suspended, by the replies that shards heard. Pure.

use std::time::Duration;

use super::book::SuspensionRequest;
use crate::observe::families::FamilyInfo;
use crate::queue::select::Pattern;
use crate::queue::suspension::{Effect, Scope};
use crate::shaping::automation::{Noticed, Thresholds};
use crate::shaping::key::Key;
use crate::shaping::rule::{Action, Trigger};
use crate::shaping::value::Value;
use crate::time::UnixMillis;

/// Suspensions by rules, by what they do.
pub(in crate::control) const FIRED: FamilyInfo = FamilyInfo {
    name: "automation_fired",
    help: "Times that a rule for replies suspended, returned or set something",
    label: "action",
    values: &[
        "Suspend",
        "SuspendTenant",
        "SuspendCampaign",
        "Bounce",
        "BounceTenant",
        "BounceCampaign",
        "SetConfig",
        "SetDomainConfig",
        "Fallback",
    ],
};

/// The place of an action among the values of [`FIRED`].
fn place(action: &Action) -> usize {
    match action {
        Action::Suspend => 0,
        Action::SuspendTenant => 1,
        Action::SuspendCampaign => 2,
        Action::Bounce => 3,
        Action::BounceTenant => 4,
        Action::BounceCampaign => 5,
        Action::Set { domain: false, .. } => 6,
        Action::Set { domain: true, .. } => 7,
    }
}

/// What is wanted for a reply now: each with the place of its action and for how long.
pub(super) fn wanted(
    noticed: &Noticed,
    thresholds: &mut Thresholds,
    (clock, wall): (Duration, UnixMillis),
) -> Vec<(usize, Duration, SuspensionRequest)> {
    let rule = &noticed.rule;
    let Some(lasts) = rule.duration else { return Vec::new() };
    let mut all = Vec::new();
    let suspends = rule.actions.contains(&Action::Suspend);
    // A rule that names one needs no word more.
    let fallback = (!suspends && rule.fallback_source.is_some()).then_some(&Action::Suspend);
    for (number, action) in rule.actions.iter().chain(fallback).enumerate() {
        let Some((place, effect, scope)) = meant(noticed, action) else { continue };
        if let Trigger::Threshold(rate) = &rule.trigger {
            let what = format!("{} {number} {scope}", rule.place);
            if !thresholds.reach(&what, rate, clock) {
                continue;
            }
        }
        let by = rule.place.to_string().into();
        let wanted =
            SuspensionRequest { effect, scope, until: wall.after(lasts), by, reason: noticed.reply.clone() };
        all.push((place, lasts, wanted));
    }
    all
}

/// What an action does to which mail; None: it is of a tenant or campaign, and the message has none, or there was none yet.
fn meant(noticed: &Noticed, action: &Action) -> Option<(usize, Effect, Scope)> {
    let site = || Scope { site: Some(Pattern::Whole(noticed.site.clone())), ..Scope::default() };
    let domain = || Scope { domain: Some(Pattern::Whole(noticed.domain.clone())), ..Scope::default() };
    // An empty name in a scope means all mail that has none: no reply is about that.
    let of_tenant = || noticed.whose.clone().filter(|(tenant, _)| !tenant.is_empty());
    let of_campaign = || noticed.whose.clone().filter(|(_, campaign)| !campaign.is_empty());
    let tenant = || of_tenant().map(|(tenant, _)| Scope { tenant: Some(tenant), ..domain() });
    let campaign = || {
        let (tenant, campaign) = of_campaign()?;
        Some(Scope { tenant: Some(tenant), campaign: Some(campaign), ..domain() })
    };
    let (effect, scope) = match action {
        Action::Suspend => {
            if let Some(name) = &noticed.fallback {
                // The last of them.
                let place = FIRED.values.len() - 1;
                return Some((place, Effect::Set(Key::FallbackSource, Value::Source(name.clone())), site()));
            }
            (Effect::Wait, site())
        }
        Action::SuspendTenant => (Effect::Wait, tenant()?),
        Action::SuspendCampaign => (Effect::Wait, campaign()?),
        Action::Bounce => (Effect::Return, domain()),
        Action::BounceTenant => (Effect::Return, tenant()?),
        Action::BounceCampaign => (Effect::Return, campaign()?),
        Action::Set { key, value, .. } => {
            // Other limits are of sites, whichever of their domains a reply is about.
            let whole = noticed.rule.provider.clone().filter(|_| key.is_of_providers());
            let source = (!noticed.source.is_empty()).then(|| noticed.source.clone());
            let of_provider = |name| Scope { provider: Some(name), source, ..Scope::default() };
            (Effect::Set(*key, value.clone()), whole.map_or_else(site, of_provider))
        }
    };
    Some((place(action), effect, scope))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::shaping::file::File;
    use crate::shaping::layers::{Shaping, ShapingQuery};

    fn noticed(rule: &str) -> Noticed {
        let text = format!("[[default.automation]]\nregex = '^4'\n{rule}\nduration = '1h'\n");
        let (file, findings) = File::read(&text, Path::new("a.toml"));
        assert!(findings.errors.is_empty(), "{findings:?}");
        let shaping = Shaping::of(vec![file]).0;
        let asked = ShapingQuery { domain: "a.example", hosts: &[], source: "", beside: &[] };
        let held = shaping.effective(asked);
        Noticed {
            rule: Arc::clone(held.rules[0].1),
            domain: "a.example".into(),
            site: "ip1 mx:10 mx.a.example:25,".into(),
            source: "ip1".into(),
            whose: Some(("shop".into(), "sale".into())),
            reply: "421 no".into(),
            fallback: held.rules[0].1.fallback_source.clone(),
        }
    }

    fn all(noticed: &Noticed, thresholds: &mut Thresholds, seconds: u64) -> Vec<String> {
        let clock = Duration::from_secs(seconds);
        let found = wanted(noticed, thresholds, (clock, UnixMillis(1_000)));
        let words = |(place, lasts, wanted): (usize, Duration, SuspensionRequest)| {
            assert_eq!((lasts, wanted.until), (Duration::from_secs(3600), UnixMillis(3_601_000)));
            assert_eq!((&*wanted.by, &*wanted.reason), ("a.toml:1", "421 no"));
            format!("{}: {} {}", FIRED.values[place], wanted.effect, wanted.scope)
        };
        found.into_iter().map(words).collect()
    }

    #[test]
    fn each_action_means_its_mail() {
        let site = "site=ip1 mx:10 mx.a.example:25,";
        for (action, wanted) in [
            ("'Suspend'", format!("Suspend: wait {site}")),
            ("'SuspendTenant'", "SuspendTenant: wait domain=a.example tenant=shop".to_owned()),
            (
                "'SuspendCampaign'",
                "SuspendCampaign: wait domain=a.example tenant=shop campaign=sale".to_owned(),
            ),
            ("'Bounce'", "Bounce: return domain=a.example".to_owned()),
            ("'BounceTenant'", "BounceTenant: return domain=a.example tenant=shop".to_owned()),
            (
                "'BounceCampaign'",
                "BounceCampaign: return domain=a.example tenant=shop campaign=sale".to_owned(),
            ),
            (
                "{SetConfig={name='connection_limit',value=1}}",
                format!("SetConfig: connection_limit = 1 {site}"),
            ),
            (
                "{SetDomainConfig={name='max_age',value='1h'}}",
                format!("SetDomainConfig: max_age = 1h {site}"),
            ),
            ("'Suspend'\nfallback_source = 'rest'", format!("Fallback: fallback_source = rest {site}")),
            ("[]\nfallback_source = 'rest'", format!("Fallback: fallback_source = rest {site}")),
        ] {
            let noticed = noticed(&format!("action = {action}"));
            assert_eq!(all(&noticed, &mut Thresholds::default(), 0), [wanted]);
            let (of_tenant, of_campaign) = (action.contains("Tenant"), action.contains("Campaign"));
            for (whose, nothing) in [
                (None, of_tenant || of_campaign),
                (Some(("", "")), of_tenant || of_campaign),
                (Some(("shop", "")), of_campaign),
                (Some(("", "sale")), of_tenant),
            ] {
                let whose = whose.map(|(tenant, campaign): (&str, &str)| (tenant.into(), campaign.into()));
                let other = Noticed { whose, ..noticed.clone() };
                assert_eq!(
                    all(&other, &mut Thresholds::default(), 0).is_empty(),
                    nothing,
                    "{action} {other:?}"
                );
            }
        }
    }

    #[test]
    fn what_a_rule_sets_of_a_provider_is_set_of_all_its_sites() {
        let rule = |key: &str, value: &str| {
            let text = format!(
                "[provider.big]\nmatch = [{{MXSuffix='.a.example'}}]\n[[provider.big.automation]]\nregex = '^4'\nduration = '1h'\n\
                 action = {{SetConfig={{name='{key}',value='{value}'}}}}\n"
            );
            let (file, findings) = File::read(&text, Path::new("a.toml"));
            assert!(findings.errors.is_empty(), "{findings:?}");
            file.providers[0].rules[0].clone()
        };
        let told = |key: &str, value: &str, source: &str| {
            let other = noticed("action = 'Suspend'");
            let noticed = Noticed { rule: rule(key, value), source: source.into(), ..other };
            let found = wanted(&noticed, &mut Thresholds::default(), Default::default());
            found.into_iter().map(|(_, _, one)| format!("{} {}", one.effect, one.scope)).collect::<Vec<_>>()
        };
        let limit = "provider_connection_limit";
        assert_eq!(told(limit, "2", "ip1"), [format!("{limit} = 2 provider=big source=ip1")]);
        assert_eq!(told(limit, "2", ""), [format!("{limit} = 2 provider=big")]);
        let rate = "provider_max_message_rate";
        assert_eq!(told(rate, "3/min", "ip1"), [format!("{rate} = 3/min provider=big source=ip1")]);
        let of_site = told("connection_limit", "2", "ip1");
        assert_eq!(of_site, ["connection_limit = 2 site=ip1 mx:10 mx.a.example:25,"]);
    }

    #[test]
    fn a_threshold_counts_for_each_site_and_tenant() {
        let one = noticed("trigger = {Threshold='3/h'}\naction = ['Suspend', 'SuspendTenant']");
        let other = Noticed { whose: Some(("other".into(), "".into())), ..one.clone() };
        let mut thresholds = Thresholds::default();
        let mut count = |of: &Noticed, seconds| all(of, &mut thresholds, seconds).len();
        assert_eq!([count(&one, 1), count(&one, 2), count(&other, 3)], [0, 0, 1], "the site has three");
        assert_eq!(count(&one, 4), 1, "and now the tenant");
        assert_eq!([count(&other, 3_700), count(&other, 3_701), count(&other, 3_702)], [0, 0, 2]);
    }
}
