//! Why the mail of a domain waits: its queue is counted a slice at a time, and it is looked up where it leads where that is not known now.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::limits;
use crate::queue::destinations::known::{DomainBacklog, DomainState, domains};
use crate::route::egress::EgressKey;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::answer::rest;
use crate::shard::ask::Reply;
use crate::shard::ask::why::{DomainWait, NoWay, SiteState};
use crate::shard::outbound::why::{by_source, cause, hop_of, site_state};
use crate::time::UnixMillis;

pub(super) async fn why<R: Runtime>(shard: &Rc<Shard<R>>, name: Arc<str>, reply: Reply<Vec<DomainWait>>) {
    let found = domains(&shard.outbound.destinations.borrow(), &name, limits::WHY_EGRESSES);
    let mut waits = Vec::new();
    for domain in found {
        let mut waiting = DomainBacklog::default();
        loop {
            let begun = shard.runtime.now();
            if waiting.count(&shard.outbound.destinations.borrow(), domain.key, limits::ASK_LOOKS) {
                break;
            }
            if !reply.is_wanted() {
                return;
            }
            rest::slice(shard, begun).await;
        }
        waits.push((domain.egress, told(shard, &domain, &waiting)));
    }
    if waits.iter().all(|(_, wait)| wait.way.is_some()) {
        reply.answer(waits.into_iter().map(|(_, wait)| wait).collect());
        return;
    }
    // What others ask does not wait for name servers. There are no more of these than connections that ask, each for a few seconds.
    let own = shard.clone();
    shard.runtime.spawn(async move {
        let mut all = Vec::new();
        for (egress, mut wait) in waits {
            if wait.way.is_none() {
                let way = way(&own, &name, egress).await;
                later(&mut wait, &way);
                wait.way = Some(way);
            }
            all.push(wait);
        }
        reply.answer(all);
    });
}

fn told<R: Runtime>(shard: &Shard<R>, domain: &DomainState, waiting: &DomainBacklog) -> DomainWait {
    let live = shard.live.get();
    let egress = live.egresses.get(domain.egress);
    let suspended = egress.map(|egress| &egress.source).filter(|source| source.is_suspended());
    let source_down = suspended.map(|source| {
        let (why, look) = source.suspension().told();
        (why, shard.runtime.wall().after(look.since(shard.runtime.now())))
    });
    let hop = domain.site.and_then(|site| hop_of(shard, site));
    // Put off again and again for that, mail is seldom found ready.
    let unasked = waiting.deferred.groups > 0 && domain.site.is_none() && shard.outbound.asking.is_deaf();
    let mut wait = DomainWait {
        egress: egress.map(|egress| (egress.pool.clone(), egress.source.name().into())),
        source_down,
        deferred: waiting.deferred,
        next: waiting.next.map(|at| shard.wall_of(at)),
        suspended: waiting.suspended,
        resumes: waiting.resumes.map(|at| shard.wall_of(at)),
        held: waiting.held,
        released: waiting.released.map(|at| shard.wall_of(at)),
        kept: waiting.kept,
        let_go: waiting.let_go.map(|at| shard.wall_of(at)),
        ready: waiting.ready,
        under_way: domain.under_way,
        cause: (waiting.ready.groups > 0 || unasked).then(|| cause(shard, domain)),
        way: None,
    };
    if let Some(hop) = hop {
        let way = Ok(Box::new(site_state(shard, &hop)));
        later(&mut wait, &way);
        wait.way = Some(way);
    }
    wait
}

/// What is due before its site is tried again waits for that.
fn later(wait: &mut DomainWait, way: &Result<Box<SiteState>, NoWay>) {
    let closed = way.as_ref().ok().and_then(|site| site.closed.as_ref()).map(|(until, ..)| *until);
    wait.next = wait.next.map(|next| next.max(closed.unwrap_or(UnixMillis(0))));
}

/// Where a domain leads, if that is found out soon.
async fn way<R: Runtime>(
    shard: &Rc<Shard<R>>,
    name: &str,
    egress: EgressKey,
) -> Result<Box<SiteState>, NoWay> {
    let mut hop = pin!(shard.outbound.resolver.next_hop(name, egress.tls()));
    let mut late = shard.timers.sleep_until(shard.runtime.now() + limits::WHY_LOOK_UP);
    let found = poll_fn(|context| match hop.as_mut().poll(context) {
        Poll::Ready(found) => Poll::Ready(Some(found)),
        Poll::Pending => Pin::new(&mut late).poll(context).map(|()| None),
    });
    match found.await {
        Some(Ok(hop)) => Ok(Box::new(site_state(shard, &by_source(shard, egress, &hop)))),
        Some(Err(why)) => Err(NoWay::Unroutable(why.to_string().into())),
        None => Err(NoWay::Late),
    }
}
