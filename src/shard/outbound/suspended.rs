//! Beside tend: mail that is suspended. What queues know is put aside there; what only a record tells is noticed when a connection comes to it,
//! once for each suspension. What is to go back does, one group after the other.

use std::rc::Rc;

use crate::limits;
use crate::mail::parameters::{Key, Parameters};
use crate::queue::destinations::PutAside;
use crate::queue::outcome::{Ended, Failure};
use crate::queue::select::Place;
use crate::queue::suspension::{Effect, Found, Suspension, Whose};
use crate::queue::{Group, GroupPhase};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::settle;
use crate::shard::outbound::tally::{Span, Tally};
use crate::shard::outbound::tend::Pace;
use crate::spool::record::MessageView;

/// Puts aside what is noted, until nothing is; what that asks for is carried out by `carry_out`.
pub(in crate::shard) async fn put_aside<R: Runtime>(
    shard: &Rc<Shard<R>>,
    carry_out: impl Fn(&Rc<Shard<R>>, crate::queue::destinations::Effect),
) {
    let mut pace = Pace::new(usize::MAX, usize::MAX);
    while !shard.draining.get() {
        pace.rest(&shard.runtime).await;
        let given = pace.left().min(limits::SUSPENDED_LOOKS);
        let mut looks = given;
        let next = shard.outbound.destinations.borrow_mut().put_aside(shard.seconds(), &mut looks);
        pace.looked(given - looks);
        match next {
            PutAside::Expired(domain, group, suspension) => {
                pace.settled();
                let words =
                    format!("its delivery was suspended until its time was over: {}", suspension.reason);
                settle::whole_now(shard, &shard.own_job(domain, group), settle::too_late(&words)).await;
            }
            PutAside::Returned(domain, group, suspension) => {
                pace.settled();
                settle::whole_now(shard, &shard.own_job(domain, group), returned(&suspension)).await;
            }
            PutAside::Over(effect) => effect.into_iter().for_each(|effect| carry_out(shard, effect)),
            PutAside::Unfinished => shard.runtime.yield_now().await,
            PutAside::Starved | PutAside::Nothing => return,
        }
    }
}

/// How mail ends that goes back for a suspension.
fn returned(suspension: &Suspension) -> Ended {
    // RFC 3463 3.8: refused for a reason of policy, which is ours.
    let words = format!("returned by this relay, as {} says: {}", suspension.by, suspension.reason);
    Ended::Bounced(Failure::unattempted((5, 7, 1), words))
}

/// Which recipients of a group an attempt is made for: those that are not suspended. What is to go back is settled in `tally`, what waits is noted
/// there.
pub(in crate::shard) fn sort_out<R: Runtime>(
    shard: &Shard<R>,
    site: Option<&str>,
    group: &Group,
    view: &MessageView<'_>,
    tally: &mut Tally,
) {
    let destinations = shard.outbound.destinations.borrow();
    let held = destinations.held();
    if held.is_empty() || shard.runtime.planted(Defect::SuspensionForgotten) {
        tally.left.push((group.first, group.count));
        return;
    }
    let domain =
        view.recipients().nth(group.first.into()).map(|(address, _)| domain(address)).unwrap_or_default();
    let place = Place { domain: &domain, site };
    let now = shard.seconds();
    let found = |ordinal: u16| {
        let parameters = view.parameters_of(ordinal);
        held.of(place, whose(&parameters), now)
    };
    let mut note = |(first, count): Span, found: Option<Found<'_>>| match found {
        None => tally.later(first, count),
        Some(Found { suspension, .. }) if suspension.effect == Effect::Return => {
            tally.merge(first, count, returned(suspension));
        }
        Some(Found { until, .. }) => {
            let standing = GroupPhase::Suspended;
            tally.waits.push(Group { first, count, standing, not_before: until, ..*group });
        }
    };
    match view.alike(group.first, group.count) {
        None => note((group.first, group.count), found(group.first)),
        Some(_) => {
            for ordinal in group.first..group.first.saturating_add(group.count) {
                note((ordinal, 1), found(ordinal));
            }
        }
    }
    // The last is the next.
    tally.left.reverse();
}

/// The domain of an address, in lower case.
pub(super) fn domain(address: &[u8]) -> String {
    let at = address.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    String::from_utf8_lossy(&address[at..]).to_ascii_lowercase()
}

/// Whose mail has these parameters.
pub(in crate::shard) fn whose<'a>(parameters: &'a Parameters<&'a str>) -> Whose<'a> {
    let of = |key| parameters.get(key).unwrap_or_default();
    Whose { tenant: of(Key::Tenant), campaign: of(Key::Campaign), pool: of(Key::Pool) }
}
