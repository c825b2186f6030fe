//! Duties towards mail that is submitted (RFC 6409), carried out while its header section is in memory, before rules see it and it is signed.

use crate::mail::submission::Unfit;
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::mend;
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
    let by = (&**listener.live, listener.config.duties);
    let grown = mend::mend(shard, by, (account, &envelope.sender), (&summary, &mut upload.body))?;
    if grown != 0 {
        session.header_grew(grown);
    }
    Ok(())
}
