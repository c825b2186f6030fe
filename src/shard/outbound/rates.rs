//! Beside pump: rates. What may begin at a site now, by its own rates and those of its providers, and who wakes it when more may.
//!
//! The buckets are the node's, one number each: what is taken is taken of all shards at once, and no time anywhere holds more than a rate
//! allows. A site that finds its bucket empty holds nothing meanwhile: no job is taken from its queue, and its connections are idle. It is
//! pumped when there is something in it again, a little apart from other shards that wait for the same.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::runtime::{Defect, Runtime};
use crate::shaping::pace::Pace;
use crate::shaping::window::Narrows;
use crate::shard::Shard;
use crate::shard::outbound::bucket::{self, Bucket, RateKind, Token};
use crate::shard::outbound::site::Site;
use crate::shard::outbound::{node_order, sites, warm};
use crate::time::Instant;

/// Of so many that a site could begin as many as may now. Where none may, it is pumped when one may.
pub(super) fn allowed<R: Runtime>(
    shard: &Rc<Shard<R>>,
    (key, site): (SiteKey, &Rc<Site>),
    what: RateKind,
    many: usize,
) -> usize {
    let Some(buckets) = buckets(shard, site, what).filter(|_| many > 0) else { return many };
    match bucket::free(&shard.runtime, &buckets) {
        Ok(free) => free.min(many),
        Err(until) => {
            warm::heed(shard, key, site);
            want(shard, (key, site), &buckets, what);
            if what == RateKind::Messages {
                node_order::waits_for_rate(shard, key, site);
            }
            wait(shard, (key, site), until);
            0
        }
    }
}

/// Takes the right to begin one; `Ok(None)`: there is no rate. `Err`: none may begin now, and the site is pumped when one may.
pub(super) fn take<R: Runtime>(
    shard: &Rc<Shard<R>>,
    (key, site): (SiteKey, &Rc<Site>),
    what: RateKind,
) -> Result<Option<Token<R>>, ()> {
    let Some(buckets) = buckets(shard, site, what) else { return Ok(None) };
    Token::take(&shard.runtime, &buckets).map(Some).map_err(|until| {
        warm::heed(shard, key, site);
        want(shard, (key, site), &buckets, what);
        wait(shard, (key, site), until);
    })
}

/// Other nodes hear that more is wanted, if that is so.
fn want<R: Runtime>(shard: &Shard<R>, (key, site): (SiteKey, &Site), buckets: &[Bucket], what: RateKind) {
    bucket::want(buckets, shard.runtime.now(), |count| {
        // How many connections what waits will need is not known, nor what waits at other sites of a provider.
        (what == RateKind::Messages && Arc::ptr_eq(count, &site.count)).then(|| {
            let ready = shard.outbound.destinations.borrow().ready(key, shard.seconds());
            // As much waits at the others.
            (ready + site.borrowed.waiting()) * shard.mesh.shards()
        })
    });
}

/// Takes the right to the next transaction of a site. Where several shards wait for it, it is for the one whose mail is behind.
pub(super) fn take_next<R: Runtime>(
    shard: &Rc<Shard<R>>,
    (key, site): (SiteKey, &Rc<Site>),
) -> Result<Option<Token<R>>, ()> {
    let Some(buckets) = buckets(shard, site, RateKind::Messages) else { return Ok(None) };
    if let Some(late) = bucket::late(&buckets)
        && node_order::leaves_rate(shard, key, site, late)
    {
        look_again(shard, (key, site), shard.runtime.now() + late / 4);
        return Err(());
    }
    let taken = take(shard, (key, site), RateKind::Messages);
    match taken {
        Ok(_) => node_order::has_rate(shard, site),
        Err(()) => node_order::waits_for_rate(shard, key, site),
    }
    taken
}

fn buckets<R: Runtime>(shard: &Shard<R>, site: &Site, what: RateKind) -> Option<Rc<[Bucket]>> {
    site.buckets(what).filter(|_| !shard.runtime.planted(Defect::RateUncounted))
}

/// The site is pumped then. There is one such task a site, unless another is to be earlier.
fn wait<R: Runtime>(shard: &Rc<Shard<R>>, (key, site): (SiteKey, &Rc<Site>), (when, pace): (Instant, Pace)) {
    // Who comes so late loses nothing, and of several shards not always the same is first.
    let apart = pace.late() / 4;
    let at = when + Duration::from_nanos(shard.runtime.random() % apart.max(1));
    if site.wakes_at.get().is_some_and(|earlier| earlier <= at) {
        return;
    }
    if let Some(window) = site.count.window().filter(|window| window.pace() == Some(pace)) {
        window.wants(Narrows::Messages);
    }
    shard.instruments.counters.rate_waits.add(1);
    look_again(shard, (key, site), at);
}

/// The site is pumped then, unless it is earlier.
fn look_again<R: Runtime>(shard: &Rc<Shard<R>>, (key, site): (SiteKey, &Rc<Site>), at: Instant) {
    if site.wakes_at.get().is_some_and(|earlier| earlier <= at) {
        return;
    }
    site.wakes_at.set(Some(at));
    let (own, site) = (shard.clone(), site.clone());
    shard.runtime.spawn_vital("rate", async move {
        own.runtime.sleep_until(at).await;
        if site.wakes_at.get() == Some(at) {
            site.wakes_at.set(None);
            if own.outbound.destinations.borrow().ready(key, own.seconds()) == 0 {
                node_order::waits_no_more(&own, &site);
            }
            sites::later(&own, [key]);
        }
    });
}

/// The rights of a connection that is begun: each time that it asks a host for one is one of the rate.
pub struct Rights<'a, R: Runtime> {
    shard: &'a Rc<Shard<R>>,
    site: &'a Site,
    first: RefCell<Option<Token<R>>>,
}

impl<'a, R: Runtime> Rights<'a, R> {
    /// The first was taken when it was begun.
    pub(super) fn new(shard: &'a Rc<Shard<R>>, site: &'a Site, first: Option<Token<R>>) -> Rights<'a, R> {
        Rights { shard, site, first: RefCell::new(first) }
    }

    /// The name of the site.
    pub(super) fn site(&self) -> String {
        self.site.hop.borrow().site.clone()
    }

    /// Takes one more, if that may be within [`limits::RATE_WAIT_MAX`].
    pub(super) async fn take(&self) -> bool {
        if let Some(first) = self.first.take() {
            first.spend();
            return true;
        }
        let Some(buckets) = buckets(self.shard, self.site, RateKind::Connections) else { return true };
        let end = self.shard.runtime.now() + limits::RATE_WAIT_MAX;
        loop {
            match Token::take(&self.shard.runtime, &buckets) {
                Ok(token) => {
                    token.spend();
                    return true;
                }
                Err((when, _)) if when > end => return false,
                Err((when, _)) => {
                    bucket::want(&buckets, self.shard.runtime.now(), |_| None);
                    self.shard.timers.sleep_until(when).await;
                }
            }
        }
    }
}
