//! Messages with lines over 998 bytes where a listener says `long_lines = "fold"`: those of the header section are folded, and text that has some is
//! encoded, before anybody looks at the message. What somebody signed is not changed, nor what is too large to be in memory whole; then
//! it is refused at its end, as it still has them.

use crate::mail::fold;
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::encode::encode;
use crate::shard::inbound::upload::Upload;
use crate::smtp::data::Summary;

/// Changes what is in memory of a message whose header section came whole. `ended`: and so did the message.
pub(super) async fn fold<R: Runtime>(
    connection: &mut Connection<R>,
    upload: &mut Upload,
    summary: Summary,
    ended: bool,
) {
    let shard = &connection.shard;
    let length = usize::try_from(summary.header_length).unwrap_or(usize::MAX).min(upload.body.len());
    let section = &upload.body[..length];
    if fold::is_signed(section, summary.mailbox_line) {
        return;
    }
    let before = upload.body.capacity();
    if summary.long_header > 0
        && let Some(folded) = fold::fold(section, summary.mailbox_line)
    {
        let grown = folded.len() - length;
        upload.body.splice(..length, folded);
        connection.session.header_is_folded();
        connection.session.header_grew(grown as i64);
        shard.gather(upload.body.capacity() - before);
    }
    if summary.long_body > 0
        && ended
        && let Some(encoded) = encode(shard, &upload.body).await
    {
        shard.gather(encoded.capacity());
        let old = std::mem::replace(&mut upload.body, encoded);
        shard.ungather(old.capacity());
        shard.give_body(old);
        connection.session.rescan(&mut upload.body);
        shard.instruments.counters.messages_encoded.add(1);
    }
}
