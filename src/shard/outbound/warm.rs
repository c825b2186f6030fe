//! Beside sites: what a source in warm-up has left at a site's provider, and what that says against it.

use std::sync::Arc;

use crate::mail::classify::Class;
use crate::queue::destinations::SiteKey;
use crate::route::{Hop, SitePolicy};
use crate::runtime::Runtime;
use crate::shaping::warmup::Complaint;
use crate::shard::Shard;
use crate::shard::live::LiveConfig;
use crate::shard::outbound::site::Site;
use crate::shard::warm::WarmCount;

/// Whose volume the mail of a site counts for: a provider of the shaping files, or else the site itself, whoever sends to it.
pub(super) fn provider<'a>(hop: &'a Hop, policy: &'a SitePolicy) -> &'a str {
    let site = || hop.site.strip_prefix(hop.source()).map_or(&*hop.site, str::trim_start);
    policy.provider.as_deref().unwrap_or_else(site)
}

/// Takes up whether the source of a site is in warm-up. True: that is something else than before.
pub(super) fn take_up<R: Runtime>(
    shard: &Shard<R>,
    live: &LiveConfig,
    site: &Site,
    policy: &SitePolicy,
) -> bool {
    if live.warmups.is_empty() && site.warm.borrow().is_none() {
        return false;
    }
    let hop = site.hop.borrow();
    let plan = live.warmups.get(hop.source());
    let count = plan.map(|plan| shard.mesh.warm().get((hop.source(), provider(&hop, policy)), plan));
    let before = site.warm.replace(count.clone());
    before.as_ref().map(Arc::as_ptr) != count.as_ref().map(Arc::as_ptr)
}

/// A site may begin nothing. Where its day is over, others are looked for that take its mail.
pub(super) fn heed<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    let Some(count) = &*site.warm.borrow() else { return };
    if is_over(shard, count) && site.overflows_at.get() <= shard.timers.recent() {
        shard.outbound.sources.over.borrow_mut().insert(key);
    }
}

/// Whether the day's volume is used.
pub(super) fn is_over<R: Runtime>(shard: &Shard<R>, count: &WarmCount) -> bool {
    count.is_over(shard.runtime.wall().day())
}

/// A site said this of a message, or of a connection; `too_much`: of all that it gets, not of one mailbox.
pub(super) fn hears(site: &Site, class: Class, too_much: bool) {
    let complaint = match class {
        Class::Throttled if too_much => Complaint::Throttled,
        Class::Blocklisted | Class::Reputation => Complaint::Blocked,
        _ => return,
    };
    if let Some(count) = &*site.warm.borrow() {
        count.complains(complaint);
    }
}
