//! Beside resolve: what becomes of mail whose domain waits for long to be asked for, or for an answer. It is told so, and given up in time.
//! It stays where it is: all of it goes as soon as name servers answer.
//!
//! One task a shard at most, at the pace of [`super::tend`].

use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::Unanswered;
use crate::queue::schedule;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::settle;
use crate::shard::outbound::tend::Pace;

/// A second is over.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    let waits = shard.outbound.asking.waits_since();
    let patience = patience(shard);
    let long = waits.is_some_and(|since| shard.runtime.now().since(since).as_secs() >= patience.into());
    // What is too old is given up sooner, if there is nobody to tell.
    if waits.is_none() || shard.draining.get() || !(long || shard.outbound.asking.is_deaf()) {
        return;
    }
    if shard.outbound.asking.tells.replace(true) {
        return;
    }
    let own = shard.clone();
    shard.runtime.spawn_vital("unanswered", async move {
        tell(&own, patience).await;
        own.outbound.asking.tells.set(false);
    });
}

/// Longer than a look-up of the MX and of the addresses of a host takes that nobody answers, seconds: that one ends by itself.
fn patience<R: Runtime>(shard: &Shard<R>) -> u32 {
    let policy = shard.live.get();
    let dns = &policy.config.dns;
    let look_up = dns.timeout.as_secs().saturating_mul(3 * u64::from(dns.attempts));
    u32::try_from(look_up.max(limits::RESOLVE_PATIENCE.as_secs())).unwrap_or(u32::MAX)
}

async fn tell<R: Runtime>(shard: &Rc<Shard<R>>, patience: u32) {
    let room = limits::TOLD_AT_ONCE.saturating_sub(shard.outbound.settling.get());
    let mut pace = Pace::new(limits::TELL_LOOKS, room);
    while !pace.is_over() && !shard.draining.get() {
        pace.rest(&shard.runtime).await;
        let now = shard.seconds();
        let given = pace.left();
        let mut looks = given;
        let next = |attempts| {
            schedule::next_attempt(&shard.live.get().config.retry, attempts, now, shard.runtime.random())
        };
        let found = shard.outbound.destinations.borrow_mut().unanswered(now, patience, &mut looks, next);
        pace.looked(given - looks);
        // Without the domain: so many texts of last replies are not kept.
        let words = if shard.outbound.asking.is_deaf() {
            "no name server answers: the domain cannot be looked up"
        } else {
            "the domain waits to be looked up: many others are before it, or its name servers do not answer"
        };
        match found {
            Some(Unanswered::Waits(domain, group)) => {
                let job = shard.own_job(domain, group);
                // RFC 3463 3.5: routing cannot be determined, as no directory server answers.
                settle::told(shard, &job, ((4, 4, 3), words), ("", settle::Way::default(), None)).await;
            }
            Some(Unanswered::Expired(domain, group)) => {
                let never = if group.attempts == 0 { "never tried: " } else { "" };
                let words = &format!("{never}{words}");
                settle::whole_now(shard, &shard.own_job(domain, group), settle::too_late(words)).await;
            }
            None if looks > 0 => return,
            None => continue,
        }
        pace.settled();
    }
}
