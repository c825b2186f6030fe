//! Duties towards mail that is submitted (RFC 6409), carried out while its header section is in memory, before rules see it and it is signed.

use crate::config::{AuthorCheck, Duties};
use crate::mail::submission::{self, Submitted, Unfit};
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::upload::Upload;
use crate::smtp::data::Summary;
use crate::smtp::server::OpenTransaction;

/// Does what the listener says, for a client that may relay. The message is refused where it is not fit.
pub(super) fn fulfil<R: Runtime>(
    connection: &mut Connection<R>,
    upload: &mut Upload,
    summary: Summary,
) -> Result<(), Unfit> {
    let Connection { shard, listener, session, .. } = connection;
    let Some(OpenTransaction { account, trusted: true, envelope }) = session.open() else { return Ok(()) };
    let accounts = listener.live.accounts.as_ref().map(|logins| logins.accounts());
    let own = account.and_then(|account| accounts?.own(account)).filter(|own| !own.senders.is_empty());
    let may_send_as = |address: &[u8]| own.is_none_or(|own| own.may_send_as(address));
    let mut duties = listener.config.duties;
    if own.is_none() {
        duties.author = AuthorCheck::Any;
    }
    let length = usize::try_from(summary.header_length).unwrap_or(usize::MAX).min(upload.body.len());
    let section = &upload.body[..length];
    let by = Submitted {
        now: shard.runtime.wall(),
        unique: if duties.add_missing { shard.runtime.random() } else { 0 },
        hostname: &shard.boot.node.hostname,
        sender: &envelope.sender,
        may_send_as: &may_send_as,
    };
    let edit = submission::mend(section, summary.mailbox_line, duties, &by)?;
    if !edit.is_empty() {
        let before = upload.body.capacity();
        let now = edit.apply(&mut upload.body, length, summary.mailbox_line);
        shard.gather(upload.body.capacity() - before);
        session.header_grew(now as i64 - length as i64);
    }
    Ok(())
}

/// Whether there is anything to do.
pub(super) fn are_any(duties: Duties) -> bool {
    duties != Duties::NONE
}
