//! Beside tend: recipients that were put on the suppression list while their mail waited. It is asked about mail that did not come a moment ago: that
//! was asked about then.

use crate::mail::parameters::Key;
use crate::names::ends::End;
use crate::queue::outcome::Ended;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::tally::Tally;
use crate::spool::record::MessageView;

/// Ends in `tally` those of its recipients that get no mail any more. What has no sender tells somebody of his own mail, and goes on.
pub(in crate::shard) fn sort_out<R: Runtime>(shard: &Shard<R>, view: &MessageView<'_>, tally: &mut Tally) {
    if shard.suppression.is_empty() || view.sender.is_empty() || tally.left.is_empty() {
        return;
    }
    if shard.runtime.planted(Defect::SuppressedTried) {
        return;
    }
    let mut left = std::mem::take(&mut tally.left);
    // The last is the next.
    left.reverse();
    let message = view.parameters();
    for (first, count) in left {
        let recipients = view.recipients().enumerate().skip(first.into()).take(count.into());
        for (ordinal, (address, domain_at)) in recipients {
            // No more than 65,535.
            let ordinal = ordinal as u16;
            let own = view.has_own_parameters().then(|| view.parameters_of(ordinal));
            let tenant = own.as_ref().unwrap_or(&message).get(Key::Tenant);
            match shard.suppression.find(address, domain_at, tenant) {
                Some(_) => tally.merge(ordinal, 1, Ended::Local(End::Suppressed)),
                None => tally.later(ordinal, 1),
            }
        }
    }
    tally.left.reverse();
}
