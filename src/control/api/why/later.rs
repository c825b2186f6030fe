//! What will hold mail up when its time comes: it waits for its next try or for the hour of its sender, and is suspended beyond that.

use crate::control::api::queue::told_as;
use crate::queue::select::{GroupState, Place};
use crate::queue::suspension::{Suspension, Suspensions, Whose};
use crate::shard::ask;
use crate::shard::ask::why::{DomainWait, SiteState};
use crate::time::UnixMillis;

/// Mail that waits for a point of time.
#[derive(Clone, Debug)]
pub(super) struct DueMail {
    state: GroupState,
    at: UnixMillis,
    site: Option<Box<str>>,
    /// Its tenant, campaign and pool.
    whose: [String; 3],
}

impl DueMail {
    /// A row that waits so.
    pub(super) fn of(row: &ask::Row, whose: &[String; 3]) -> Option<DueMail> {
        let waits =
            matches!(row.seen.state, GroupState::Deferred | GroupState::Held) && !row.seen.group.is_kept();
        let at = row.next.filter(|_| waits)?;
        Some(DueMail { state: row.seen.state, at, site: row.seen.site.clone(), whose: whose.clone() })
    }
}

/// Of some mail of a domain that waits for a point of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Later {
    /// When the first is due that nothing holds up then.
    pub free: Option<UnixMillis>,
    /// Of what is suspended then: when the first of it goes on, and by what it is.
    pub suspended: Option<(UnixMillis, String)>,
}

impl Later {
    /// Of the mail in this state among these, in queues of their domain of which this is known.
    pub(super) fn of(
        state: GroupState,
        (domain, all): (&str, &[DueMail]),
        waits: &[DomainWait],
        suspensions: &Suspensions,
    ) -> Later {
        let mut later = Later::default();
        let sites: Vec<&SiteState> =
            waits.iter().filter_map(|wait| wait.way.as_ref()?.as_deref().ok()).collect();
        // By whichever of several it leaves: where one sends, it is not held up for sure.
        let down = waits.iter().map(|wait| wait.source_down.as_ref());
        let down = down.collect::<Option<Vec<_>>>().unwrap_or_default();
        let down = down.into_iter().min_by_key(|(_, until)| *until);
        for due in all.iter().filter(|due| due.state == state) {
            let by_source = down.filter(|(_, until)| *until > due.at);
            let by_source = by_source.map(|(why, until)| (*until, why.to_string()));
            let held = held(suspensions, domain, due, &sites).map(|one| (one.until, told_as(one)));
            match held.into_iter().chain(by_source).max_by_key(|(until, _)| *until) {
                None => later.free = Some(later.free.map_or(due.at, |first| first.min(due.at))),
                Some(held) => {
                    let first = later.suspended.take();
                    later.suspended = first.into_iter().chain([held]).min_by_key(|(until, _)| *until);
                }
            }
        }
        later
    }
}

/// The suspension that is still in force when this is due; of several the one that lasts longest.
fn held<'a>(
    all: &'a Suspensions,
    domain: &str,
    due: &DueMail,
    sites: &[&SiteState],
) -> Option<&'a Suspension> {
    let [tenant, campaign, pool] = &due.whose;
    let whose = Whose { tenant, campaign, pool };
    let runs = |name: &str| {
        let of_site = |site: &&SiteState| site.providers.iter().any(|provider| *provider.name == *name);
        sites.iter().any(of_site)
    };
    let site = due.site.as_deref().or_else(|| sites.first().map(|site| &*site.name));
    all.beyond(Place { domain, site }, whose, due.at, runs)
}
