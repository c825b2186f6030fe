//! A body that is still coming in. What is gathered in memory is bounded; large bodies go to the spool in pieces.

use crate::config::BareNewlines;
use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::envelope::Envelope;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::inbound::admit::Admission;
use crate::shard::inbound::submission::Submission;
use crate::shard::promise::promise;
use crate::smtp::data::Summary;
use crate::smtp::server::NotStored;
use crate::spool::record::Extent;

/// A message that ended well and is to be stored.
pub struct Persisted {
    /// Its envelope.
    pub envelope: Box<Envelope>,
    /// What the scanner found.
    pub summary: Summary,
}

/// A body on its way in.
#[derive(Default)]
pub struct Upload {
    /// The most that one look at the input brings.
    piece: usize,
    /// Bytes that came.
    pub(super) size: u64,
    pub(super) body: Vec<u8>,
    chunks: Vec<Extent>,
    /// What rules and instructions made of it, once that is decided.
    pub(super) admission: Option<Admission>,
    /// Why what came is not kept.
    failed: Option<NotStored>,
}

impl Upload {
    /// Nothing yet. Where line ends are normalised a body may grow while it is scanned.
    pub fn new(bare: BareNewlines) -> Upload {
        let piece = if bare == BareNewlines::Normalise { 2 * limits::SCRATCH } else { limits::SCRATCH };
        Upload { piece, ..Upload::default() }
    }

    /// More canonical bytes.
    pub fn push<R: Runtime>(&mut self, shard: &Shard<R>, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if self.failed.is_some() {
            return;
        }
        let before = self.body.capacity();
        if before == 0 {
            self.body = shard.body_buffer();
        }
        self.body.extend_from_slice(bytes);
        // What is allocated counts, not what of it is used.
        let grown = self.body.capacity() - before;
        if grown > 0 {
            shard.gather(grown);
        }
    }

    /// Whether what is gathered must go to the spool before more is read.
    pub fn wants_chunk<R: Runtime>(&self, shard: &Shard<R>) -> bool {
        let (length, pool) = (self.body.len(), shard.mesh.memory());
        if length < limits::CHUNK_MIN {
            return false;
        }
        let large = limits::SCRATCH / 4;
        let least = (self.size / limits::CHUNKS_OF_SMALL).clamp(limits::CHUNK_MIN as u64, large as u64);
        length + self.piece > limits::BODY_GATHER_MAX
            || (length >= large && shard.inbound.memory.is_short(pool))
            || (length as u64 >= least && shard.inbound.memory.is_full(pool))
    }

    /// Stores what is gathered as a chunk. After a failure nothing more is kept.
    pub async fn store_chunk<R: Runtime>(&mut self, shard: &Shard<R>) {
        let body = std::mem::take(&mut self.body);
        let length = body.capacity();
        let (fulfil, stored) = promise();
        shard.own().push_chunk(body, fulfil);
        let stored = stored.await;
        shard.ungather(length);
        match stored {
            Ok(extent) => {
                let before = self.places();
                self.chunks.push(extent);
                shard.gather(self.places() - before);
            }
            Err(why) => self.failed = Some(why),
        }
    }

    /// Bytes of what is known of its chunks.
    fn places(&self) -> usize {
        self.chunks.capacity() * size_of::<Extent>()
    }

    /// The message was refused, or its client went away.
    pub fn abandon<R: Runtime>(&mut self, shard: &Shard<R>) {
        shard.ungather(self.body.capacity() + self.places());
        shard.own().lane.borrow_mut().drop_chunks(&self.chunks);
        self.body = Vec::new();
        self.chunks = Vec::new();
    }

    /// Stores the message: ends when it is on stable storage, or will not be.
    pub async fn store<R: Runtime>(
        self,
        shard: &Shard<R>,
        message: Persisted,
    ) -> Result<Durable<MessageId>, NotStored> {
        // The lane has them next, for a moment.
        shard.ungather(self.places());
        let Persisted { envelope, summary: Summary { size, header_length, .. } } = message;
        let Upload { chunks, body, failed, .. } = self;
        let submission = Submission { envelope, size, header_length, chunks, body };
        match failed {
            None => submission.of_client(shard).await,
            Some(why) => {
                submission.give_up(shard, why);
                Err(why)
            }
        }
    }
}
