//! Beside sites: who sends to a site in place of its source. That is the fallback of a rule for replies as long as the rule holds there, and that of
//! the site's section while the source does not work. Nothing is begun by the source meanwhile; `overflow` moves what waits.

use crate::queue::destinations::SiteKey;
use crate::queue::select::Place;
use crate::route::SitePolicy;
use crate::runtime::{Defect, Runtime};
use crate::shaping::key::Key;
use crate::shard::Shard;
use crate::shard::live::LiveConfig;
use crate::shard::outbound::site::Site;

/// Who sends to a site in place of its source, as its policy says.
pub(super) fn by(site: &Site, policy: &SitePolicy) -> Option<Box<str>> {
    let fails = || site.hop.borrow().by.as_ref().is_some_and(|source| source.is_suspended());
    policy.sent_by.clone().or_else(|| policy.fallback.clone().filter(|_| fails()))
}

/// Takes up who does. Whether there is somebody.
pub(super) fn take_up<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site, policy: &SitePolicy) -> bool {
    let by = by(site, policy);
    let elsewhere = by.is_some();
    if site.sent_by.replace(by).is_some() || elsewhere {
        let mut sites = shard.outbound.sources.elsewhere.borrow_mut();
        if elsewhere && !shard.runtime.planted(Defect::FallbackForgotten) {
            sites.insert(key);
        } else {
            sites.remove(&key);
        }
    }
    elsewhere
}

/// Sources that a rule has others send for at the hosts of this site: what they are handed would come back.
pub(super) fn resting<R: Runtime>(shard: &Shard<R>, live: &LiveConfig, site: &Site) -> Vec<Box<str>> {
    let destinations = shard.outbound.destinations.borrow();
    let held = destinations.held();
    if !held.sets() {
        return Vec::new();
    }
    let hop = site.hop.borrow();
    let hosts = hop.site.strip_prefix(hop.source()).map_or(&*hop.site, str::trim_start);
    let rests = |source: &str| {
        let name = format!("{source} {hosts}");
        let place = Place { domain: &hop.label, site: Some(&name) };
        held.settings(place).iter().any(|(key, _)| *key == Key::FallbackSource)
    };
    live.egresses
        .sources()
        .map(|source| source.name())
        .filter(|source| rests(source))
        .map(Box::from)
        .collect()
}
