//! When a message is tried again that has a say in that itself: by what a rule set for it, by its tenant, or by its domain's route, in this
//! order. Asked once a deferral is known, when the record is at hand; for all other mail its site has said it by then.

use crate::queue::outcome::Deferral;
use crate::queue::{Group, schedule};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::tally;
use crate::spool::record::MessageView;

/// Puts off what was put off by the site's times to when it is due by its own, if it has any.
pub(super) fn by_its_own<R: Runtime>(
    shard: &Shard<R>,
    (view, max_age): (&MessageView<'_>, Option<u32>),
    (group, first): (&Group, u16),
    deferral: &mut Deferral,
) {
    let live = shard.live.get();
    // A last try goes on for as long as it takes who cannot be reached now.
    if group.is_last_try() || shard.runtime.planted(Defect::ScheduleForgotten) {
        return;
    }
    let said = live.tenants.retry(&view.parameters_of(first), &live.config.retry);
    let domain = || {
        let (address, domain_at) = view.recipients().nth(usize::from(first))?;
        let domain = std::str::from_utf8(address.get(domain_at..)?).ok()?;
        live.table.has_retries().then(|| domain.to_ascii_lowercase())
    };
    let retry = match &said {
        Some(said) => said,
        None => match domain().as_deref().and_then(|domain| live.table.retry(domain)) {
            Some(by_route) => by_route,
            None => return,
        },
    };
    let now = shard.seconds_up();
    let next = schedule::next_attempt(retry, deferral.attempts, now, shard.runtime.random());
    deferral.next = next.min(tally::given_up_at(shard, max_age, group, now));
}
