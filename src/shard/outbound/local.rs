//! Beside deliver: mail that ends at this relay. No connection is opened for it, and nobody is asked.

use std::rc::Rc;

use crate::names::ends::End;
use crate::queue::destinations::SiteKey;
use crate::queue::outcome::Ended;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::site::{Site, Work};
use crate::shard::outbound::work::GroupUnderWay;
use crate::shard::outbound::{pump, settle};

/// All that is ready ends as the operator wants it. `proven` hears of each that did.
pub(super) async fn end<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    site: &Rc<Site>,
    end: End,
    proven: impl Fn(),
) {
    while !shard.draining.get() {
        match pump::take(shard, key, site) {
            Work::Expired(job) => settle::expired(shard, &job),
            Work::Job(job) => {
                let under_way = GroupUnderWay::new(shard, site, job);
                let told = || {
                    assert!(!shard.runtime.planted(Defect::PanicOverReturn), "as planted");
                    under_way.settled();
                };
                settle::whole_by(shard, &job, ended(end), ("", settle::Way::default(), told)).await;
                proven();
            }
            Work::Nothing => return,
        }
    }
}

/// How the recipients of a group end.
fn ended(end: End) -> Ended {
    match end {
        // It is recorded, and nobody is told.
        End::Discarded | End::Suppressed | End::Captured => Ended::Local(end),
    }
}
