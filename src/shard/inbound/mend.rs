//! What duties change in a header section, or refuse a message for, by whatever way it came.

use crate::config::{AuthorCheck, Duties};
use crate::mail::submission::{self, Submitted, Unfit};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::live::LiveConfig;
use crate::smtp::data::Summary;

/// Does these duties for mail of an account and a sender. How many bytes its header section is longer then.
pub(super) fn mend<R: Runtime>(
    shard: &Shard<R>,
    (live, mut duties): (&LiveConfig, Duties),
    (account, sender): (Option<&str>, &[u8]),
    (summary, body): (&Summary, &mut Vec<u8>),
) -> Result<i64, Unfit> {
    let accounts = live.accounts.as_ref().map(|logins| logins.accounts());
    let own = account.and_then(|account| accounts?.own(account)).filter(|own| !own.senders.is_empty());
    let may_send_as = |address: &[u8]| own.is_none_or(|own| own.may_send_as(address));
    if own.is_none() {
        duties.author = AuthorCheck::Any;
    }
    let length = usize::try_from(summary.header_length).unwrap_or(usize::MAX).min(body.len());
    let by = Submitted {
        now: shard.runtime.wall(),
        unique: if duties.add_missing { shard.runtime.random() } else { 0 },
        hostname: &shard.boot.node.hostname,
        sender,
        may_send_as: &may_send_as,
    };
    let edit = submission::mend((body, length), summary.mailbox_line, duties, &by)?;
    if edit.is_empty() {
        return Ok(0);
    }
    let before = body.capacity();
    let now = edit.apply(body, length, summary.mailbox_line);
    shard.gather(body.capacity() - before);
    Ok(now as i64 - length as i64)
}

/// Whether there is anything to do.
pub(super) fn are_any(duties: Duties) -> bool {
    duties != Duties::NONE
}
