//! Beside sites: what a site refuses narrows what it gets, on all shards ([`crate::shaping::window`]).
//!
//! A refusal at the greeting is about connections, and so is a connection that fails while others stand. A reply to a message is about what
//! its class says. What is said of one mailbox, or of one connection that has carried enough, is about neither.

use std::rc::Rc;

use crate::limits;
use crate::mail::classify::Class;
use crate::observe::diagnostics::Level;
use crate::observe::repeat::more;
use crate::runtime::{Defect, Runtime};
use crate::shaping::window::Narrows;
use crate::shard::Shard;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::session::Connection;
use crate::shard::outbound::site::Site;
use crate::shard::outbound::work::Run;
use crate::shard::outbound::{meanings, warm};
use crate::shard::window::Narrowed;
use crate::shard::wire::WireError;
use crate::smtp::client::{Transaction, blame};
use crate::time::Instant;

/// A message goes over another connection at once. Where this one has carried enough that is remembered, and where there is too much of
/// something the other is not begun before there may be.
pub(super) fn leaves<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    reused: bool,
    transaction: &Transaction<'_>,
) {
    let refusal = transaction.to_be_judged().next();
    if reused && refusal.is_some_and(|(_, reply)| blame::speaks_of_the_session(reply)) {
        let until = run.shard.timers.recent() + limits::client::FEW_RECIPIENTS;
        run.site.shown.messages.set((run.done.saturating_sub(1).max(1), until));
    }
    if let Some((part, why)) = meanings::too_much(run, &connection.hop, transaction) {
        // What an old connection is refused that is about connections is about this one.
        if part == Narrows::Messages || !reused {
            refused_by(run, part, &why);
        }
    }
}

pub(super) fn refused_by<R: Runtime>(run: &Run<'_, R>, part: Narrows, why: &str) {
    let begun = match part {
        Narrows::Connections => run.begun,
        Narrows::Messages => run.begun_at,
    };
    refused(run.shard, run.site, part, begun, why);
}

/// A site refused a message, or the connection it came over, begun then.
fn refused<R: Runtime>(shard: &Rc<Shard<R>>, site: &Site, part: Narrows, begun: Instant, why: &str) {
    if !is_adaptive(shard, site) {
        return;
    }
    let now = shard.runtime.now();
    let window = shard.mesh.narrow(&site.receiver.name, &site.count);
    let narrowed = match part {
        // This one is none of those that it takes.
        Narrows::Connections => {
            window.refused_connection(begun, site.count.standing().saturating_sub(1), now)
        }
        Narrows::Messages => window.refused_message(begun, now),
    };
    narrowed.inspect(|narrowed| tell(shard, site, narrowed, why));
}

/// No session came up over a connection begun then.
pub(super) fn refused_session<R: Runtime>(
    shard: &Rc<Shard<R>>,
    site: &Site,
    error: &HopError,
    begun: Instant,
) {
    let standing = site.count.standing();
    let of_us = match error {
        HopError::Refused(reply) => {
            let class = shard.outbound.judge.borrow_mut().judge_surely(&reply.describe(), "").class;
            warm::hears(site, class, true);
            reply.code == 421 || matches!(class, Class::Throttled | Class::TooManyConnections)
        }
        // Where none stands it may be anything, and the site rests.
        HopError::Connect(..)
        | HopError::Ungreeted(_)
        | HopError::Wire(WireError::TimedOut | WireError::Lost(_)) => standing > 0,
        _ => false,
    };
    if of_us && is_adaptive(shard, site) {
        let window = shard.mesh.narrow(&site.receiver.name, &site.count);
        let narrowed = window.refused_connection(begun, standing, shard.runtime.now());
        narrowed.inspect(|narrowed| tell(shard, site, narrowed, &error.to_string()));
    }
}

fn is_adaptive<R: Runtime>(shard: &Shard<R>, site: &Site) -> bool {
    site.policy.borrow().adaptive && !shard.runtime.planted(Defect::WindowDeaf)
}

fn tell<R: Runtime>(shard: &Shard<R>, site: &Site, narrowed: &Narrowed, why: &str) {
    shard.instruments.families.narrowed.add(narrowed.part as usize, 1);
    *site.narrowed_by.borrow_mut() = why.chars().take(limits::ROW_TEXT_MAX).collect::<String>().into();
    let Some(times) = narrowed.say else { return };
    let (label, to, times) = (&site.hop.borrow().label, narrowed.to, more(times));
    match narrowed.part {
        Narrows::Connections => {
            let most = site.policy.borrow().connections;
            let words = format_args!("{label}: it gets {to} of {most} connections for now: {why}{times}");
            shard.say(Level::Info, words);
        }
        Narrows::Messages => {
            let words = format_args!("{label}: it gets {to:.2} messages a second for now: {why}{times}");
            shard.say(Level::Info, words);
        }
    }
}
