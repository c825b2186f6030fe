//! Between receive and persist: what is to be stored, wherever it comes from. No other place makes a new message.

use crate::id::{Durable, MessageId};
use crate::mail::envelope::Envelope;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::reject;
use crate::shard::store::writer::NoticeSubject;
use crate::smtp::server::NotStored;
use crate::spool::batch::NewMessage;
use crate::spool::record::Extent;

/// A message that is to be stored: admitted, or our own.
#[derive(Debug)]
pub struct Submission {
    /// Its envelope, with its parameters.
    pub envelope: Box<Envelope>,
    /// Bytes of the whole body.
    pub size: u64,
    /// Bytes of its header section.
    pub header_length: u64,
    /// Pieces of the body that are stored already.
    pub chunks: Vec<Extent>,
    /// The rest of it, or all.
    pub body: Vec<u8>,
}

impl Submission {
    /// A message of our own, all of it in memory.
    pub(in crate::shard) fn composed(envelope: Envelope, body: Vec<u8>) -> Submission {
        let header = memchr::memmem::find(&body, b"\r\n\r\n").map_or(0, |end| end + 4);
        let (size, header_length) = (body.len() as u64, header as u64);
        Submission { envelope: Box::new(envelope), size, header_length, chunks: Vec::new(), body }
    }

    /// As the lane takes it.
    pub(in crate::shard) fn into_message(self) -> NewMessage {
        let Submission { envelope, size, header_length, chunks, body } = self;
        let header_length = u32::try_from(header_length).unwrap_or(u32::MAX);
        NewMessage { envelope, size, header_length, chunks, body }
    }

    /// Stores what a client brought, whose body was counted as it came in: ends when it is on stable storage, or will not be.
    pub(in crate::shard) fn of_client<R: Runtime>(
        self,
        shard: &Shard<R>,
    ) -> impl Future<Output = Result<Durable<MessageId>, NotStored>> {
        let (fulfil, stored) = shard.inbound.promises.make();
        let length = self.body.capacity();
        let chunks = self.chunks.clone();
        shard.own().push_message(self.into_message(), fulfil);
        // No `async fn`: the message would lie in every session.
        async move {
            let result = shard.inbound.promises.wait(stored).await;
            if result.is_err() {
                shard.ungather(length);
                shard.own().lane_mut().drop_chunks(&chunks);
            }
            result
        }
    }

    /// Queues a message of our own, which is about one of this lane, before what depends on it.
    pub(in crate::shard) fn of_ours<R: Runtime>(
        self,
        shard: &Shard<R>,
        lane: u16,
        about: Box<NoticeSubject>,
    ) {
        shard.gather(self.body.capacity());
        shard.writer(lane).push_own(shard.runtime.now(), self.into_message(), about);
    }

    /// A client's message cannot be stored: that is recorded, and what was stored of it goes.
    pub(in crate::shard) fn give_up<R: Runtime>(self, shard: &Shard<R>, why: NotStored) {
        reject::of_message(shard, &self.envelope, why);
        shard.ungather(self.body.capacity());
        shard.own().lane_mut().drop_chunks(&self.chunks);
    }
}
