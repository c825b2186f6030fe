//! Beside transact: what the refusals of a transaction mean.

use smallvec::SmallVec;

use crate::limits;
use crate::mail::classify::{Class, Judged};
use crate::runtime::{Defect, Runtime};
use crate::shaping::window::Narrows;
use crate::shard::outbound::warm;
use crate::shard::outbound::work::Run;
use crate::smtp::client::{Transaction, blame};
use crate::smtp::reply::Reply;

/// What a reply to a message is about, if its class says that there is too much of it.
fn part_of(class: Class, reply: &Reply, transaction: &Transaction<'_>) -> Option<Narrows> {
    let of_mailbox = !transaction.is_put_off() && matches!(reply.enhanced, Some((_, 1 | 2, _)));
    match class {
        _ if of_mailbox || blame::speaks_of_the_session(reply) => None,
        Class::Throttled => Some(Narrows::Messages),
        Class::TooManyConnections => Some(Narrows::Connections),
        // A host that goes before it looked at anything has too many of us.
        _ if reply.code == 421 && transaction.is_unbegun() => Some(Narrows::Connections),
        _ => None,
    }
}

/// What of a site there is too much of, by a reply of a transaction that is made anew over another connection.
pub(super) fn too_much<R: Runtime>(
    run: &Run<'_, R>,
    hop: &str,
    transaction: &Transaction<'_>,
) -> Option<(Narrows, String)> {
    let (_, reply) = transaction.to_be_judged().next()?;
    let words = reply.describe();
    let class = judge_one(run, &words, hop).0.class;
    let part = part_of(class, reply, transaction);
    warm::hears(run.site, class, part.is_some());
    Some((part?, words))
}

/// Has each reply that refused somebody, or put him off, judged by its words. What the rules of the site say comes first, and then what is
/// known of all replies. What of the site there is too much of, if a reply says so.
pub(super) async fn judge<R: Runtime>(
    run: &Run<'_, R>,
    hop: &str,
    transaction: &mut Transaction<'_>,
) -> Option<(Narrows, String)> {
    let mut too_much = None;
    let mut meanings = SmallVec::<[(usize, Judged); 1]>::new();
    let mut looked_at = 0;
    for (number, reply) in transaction.to_be_judged() {
        let words = reply.describe();
        let (judged, looks) = judge_one(run, &words, hop);
        let part = part_of(judged.class, reply, transaction);
        warm::hears(run.site, judged.class, part.is_some());
        too_much = too_much.or(part.map(|part| (part, words)));
        meanings.push((number, judged));
        looked_at += looks;
        // A hop may have new words for each of a hundred recipients.
        if looked_at >= limits::CLASSIFIED_AT_ONCE.into() {
            looked_at = 0;
            run.shard.runtime.yield_now().await;
        }
    }
    for (number, judged) in meanings {
        transaction.judge(number, judged);
    }
    too_much
}

/// What a reply means, and how much was looked through for it.
fn judge_one<R: Runtime>(run: &Run<'_, R>, reply: &str, hop: &str) -> (Judged, u64) {
    let shard = run.shard;
    let (mut known, mut looks) = {
        let mut judge = shard.outbound.judge.borrow_mut();
        let before = judge.looks();
        (judge.judge_surely(reply, hop), judge.looks() - before)
    };
    if let Some(answers) = &run.site.policy.borrow().answers
        && !shard.runtime.planted(Defect::RulesUnasked)
    {
        looks += 1;
        let (class, permanent) = answers.judge(reply.as_bytes(), false);
        known.class = class.unwrap_or(known.class);
        known.permanent = permanent.or(known.permanent);
    }
    (known, looks)
}
