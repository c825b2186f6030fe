//! Beside transact: replies whose words say something else than their codes.

use smallvec::SmallVec;

use crate::limits;
use crate::runtime::{Defect, Runtime};
use crate::shard::outbound::work::Run;
use crate::smtp::client::Transaction;

/// Some receivers' codes say the opposite of their words: a rate that was exceeded is no bad address. What the rules of the site say comes
/// first, and then what is known of all replies.
pub(super) async fn correct<R: Runtime>(run: &Run<'_, R>, hop: &str, transaction: &mut Transaction<'_>) {
    let shard = run.shard;
    if shard.runtime.planted(Defect::ClassIgnored) {
        return;
    }
    let mut corrections = SmallVec::<[(usize, bool); 1]>::new();
    let mut looked_at = 0;
    for (number, reply) in transaction.correctable() {
        let (permanent, looks) = judge(run, &reply.describe(), hop);
        corrections.extend(permanent.map(|permanent| (number, permanent)));
        looked_at += looks;
        // A hop may have new words for each of a hundred recipients.
        if looked_at >= limits::CLASSIFIED_AT_ONCE.into() {
            looked_at = 0;
            shard.runtime.yield_now().await;
        }
    }
    for (number, permanent) in corrections {
        transaction.correct(number, permanent);
    }
}

/// Whether a reply is final, where its code is not to be believed; and how much was looked through for it.
fn judge<R: Runtime>(run: &Run<'_, R>, reply: &str, hop: &str) -> (Option<bool>, u64) {
    let shard = run.shard;
    let mut looks = 0;
    if let Some(answers) = &run.site.policy.borrow().answers
        && !shard.runtime.planted(Defect::RulesUnasked)
    {
        looks = 1;
        if let (_, Some(permanent)) = answers.judge(reply.as_bytes(), false) {
            return (Some(permanent), looks);
        }
    }
    let mut judge = shard.outbound.judge.borrow_mut();
    let before = judge.looks();
    let permanent = judge.permanent(reply, hop);
    (permanent, looks + judge.looks() - before)
}
