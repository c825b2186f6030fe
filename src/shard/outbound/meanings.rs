//! Beside transact: what the refusals of a transaction mean.

use smallvec::SmallVec;

use crate::limits;
use crate::mail::classify::Judged;
use crate::runtime::{Defect, Runtime};
use crate::shard::outbound::work::Run;
use crate::smtp::client::Transaction;

/// Has each reply that refused somebody, or put him off, judged by its words. What the rules of the site say comes first, and then what is
/// known of all replies.
pub(super) async fn judge<R: Runtime>(run: &Run<'_, R>, hop: &str, transaction: &mut Transaction<'_>) {
    let mut meanings = SmallVec::<[(usize, Judged); 1]>::new();
    let mut looked_at = 0;
    for (number, reply) in transaction.to_be_judged() {
        let (judged, looks) = judge_one(run, &reply.describe(), hop);
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
