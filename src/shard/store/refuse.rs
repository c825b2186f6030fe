//! What cannot be stored: whoever waits for it is told why.

use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::reject;
use crate::shard::store::writer::Ticket;
use crate::smtp::server::NotStored;
use crate::spool::batch::Item;

/// An item of the queue is given up.
pub(super) fn refuse<R: Runtime>(shard: &Shard<R>, item: Item, ticket: Ticket, why: NotStored) {
    match ticket {
        Ticket::Message(session) => {
            if let Item::Message(message) = item {
                reject::of_message(shard, &message.envelope, why);
            }
            session.fulfil(Err(why));
        }
        Ticket::Chunk(session) => session.fulfil(Err(why)),
        Ticket::Bounce(_) | Ticket::Credit(_) | Ticket::Moves(_) | Ticket::Nobody => {}
    }
}
