//! What cannot be stored: whoever waits for it is told why.

use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::reject;
use crate::shard::store::writer::Waiters;
use crate::smtp::server::NotStored;
use crate::spool::batch::{ClientItem, Item};

/// What a client brought is given up.
pub(super) fn refuse<R: Runtime>(shard: &Shard<R>, incoming: ClientItem<Waiters>, why: NotStored) {
    match incoming {
        ClientItem::Message(message, session) => {
            reject::of_message(shard, &message.envelope, why);
            session.fulfil(Err(why));
        }
        ClientItem::Chunk(_, session) => session.fulfil(Err(why)),
    }
}

/// The same of all that somebody waits for who can try again: a client, and the compactor with a piece of a body. Gives back what is to wait.
pub(super) fn refuse_or_keep<R: Runtime>(
    shard: &Shard<R>,
    item: Item<Waiters>,
    why: NotStored,
) -> Option<Item<Waiters>> {
    match item.unless_incoming() {
        Err(incoming) => refuse(shard, incoming, why),
        Ok(Item::Piece(_, compactor)) => compactor.fulfil(Err(why)),
        Ok(item) => return Some(item),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Location, MessageId};
    use crate::mail::envelope::Envelopes;
    use crate::queue::outcome::Stored;
    use crate::runtime::sim::World;
    use crate::shard::alone;
    use crate::shard::inbound::submission::Submission;
    use crate::shard::promise::promise;
    use crate::shard::store::writer::NoticeSubject;
    use crate::spool::batch::{NewMessage, Outcome};

    fn message() -> NewMessage {
        let envelope = Envelopes::default().take();
        Submission { envelope, size: 1, header_length: 0, chunks: Vec::new(), body: vec![b'x'] }
            .into_message()
    }

    /// A session and the compactor hear of it; a bounce and an outcome are not lost for a write that failed, nor is the credit.
    #[test]
    fn who_can_try_again_is_told_and_all_else_waits() {
        let world = World::new(1);
        let shard = alone::shard(&world, None);
        let refuse = |item| refuse_or_keep(&shard, item, NotStored::Disk);
        let (session, stored) = promise();
        assert!(refuse(Item::Message(message(), session)).is_none());
        assert!(matches!(world.block_on(stored), Err(NotStored::Disk)));
        for is_piece in [false, true] {
            let (waits, stored) = promise();
            let body = vec![b'x'];
            assert!(
                refuse(if is_piece { Item::Piece(body, waits) } else { Item::Chunk(body, waits) }).is_none()
            );
            assert_eq!(world.block_on(stored), Err(NotStored::Disk));
        }
        let parent = MessageId { lane: 0, sequence: 1, offset: 4096 };
        let about = Box::new(NoticeSubject { parent, records: b"what failed".to_vec() });
        let kept = refuse(Item::Own(message(), about));
        assert!(matches!(kept, Some(Item::Own(_, about)) if about.records == b"what failed"));
        let location = Location { lane: 0, slot: 0, offset: 4096 };
        let outcome = Outcome { key: 1, location, first: 0, count: 1, disposition: Stored::Delivered };
        let kept = refuse(Item::Outcome(outcome, Some((7, None))));
        assert!(matches!(kept, Some(Item::Outcome(_, Some((7, None))))));
    }
}
