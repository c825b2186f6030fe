//! A body that is still coming in. What is gathered in memory is bounded; large bodies go to the spool in pieces.

use crate::config::{BareNewlines, Retry};
use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::envelope::Envelope;
use crate::policy::acceptance::Acceptance;
use crate::policy::reason::Reason;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::inbound::admit::Admission;
use crate::shard::inbound::submission::Submission;
use crate::shard::promise::promise;
use crate::smtp::data::Summary;
use crate::smtp::server::NotStored;
use crate::spool::record::Extent;
use crate::time::UnixMillis;

/// A message that came whole, and as such is one that may be taken.
pub struct Whole {
    /// Its envelope, complete.
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
        if let Some(admission) = &mut self.admission {
            if let Some(signing) = &mut admission.signing {
                signing.read(shard, &body);
            }
            if let Some(unverified) = &mut admission.verifying {
                unverified.read(&body);
            }
        }
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
        if !shard.runtime.planted(Defect::MemoryKept) {
            shard.ungather(self.body.capacity() + self.places());
        }
        shard.own().lane_mut().drop_chunks(&self.chunks);
        if let Some(admission) = self.admission.take() {
            admission.signing.into_iter().for_each(|signing| signing.abandon(shard));
            admission.verifying.into_iter().for_each(|unverified| unverified.abandon(shard));
        }
        self.body = Vec::new();
        self.chunks = Vec::new();
    }

    /// Until when delivery of a message that came whole now is tried.
    pub fn expires(&mut self, now: UnixMillis, retry: &Retry) -> UnixMillis {
        let said = self.admission.as_mut().map(|admission| admission.expires(now, retry.expire));
        said.unwrap_or_else(|| now.after(retry.expire))
    }

    /// Whether another node hands it over.
    pub(super) fn is_handed_over(&self) -> bool {
        self.admission.as_ref().is_some_and(Admission::is_handed_over)
    }

    /// Whether it is to be verified before it is stored.
    pub(super) fn is_unverified(&self) -> bool {
        self.admission.as_ref().is_some_and(|admission| admission.verifying.is_some())
    }

    /// Verifies a message that ended well. The reply with which it is refused, if it is.
    pub(super) async fn verify<R: Runtime>(
        &mut self,
        shard: &Shard<R>,
        envelope: &mut Envelope,
    ) -> Option<(Box<str>, Reason)> {
        let unverified = self.admission.as_mut()?.verifying.take()?;
        if self.failed.is_some() {
            unverified.abandon(shard);
            return None;
        }
        unverified.finish(shard, envelope, &self.body).await
    }

    /// The reply with which a message that ended well is refused by a rule or an instruction, and why; it is to be abandoned then. None: it is not.
    pub(super) fn refusal(
        &mut self,
        acceptance: &Acceptance,
        summary: &Summary,
    ) -> Option<(Box<str>, Reason)> {
        let admission = self.admission.as_mut()?;
        admission.settle(acceptance, summary);
        admission.refusal()
    }

    /// Stores a message that ended well and that nobody refuses. What is waited for ends when it is on stable storage, or will not be. No `async fn`: the
    /// message would lie in every session.
    pub fn store<'a, R: Runtime>(
        mut self,
        shard: &'a Shard<R>,
        Whole { mut envelope, mut summary }: Whole,
    ) -> impl Future<Output = Result<Durable<MessageId>, NotStored>> + use<'a, R> {
        let mut signing = None;
        if let Some(mut admission) = self.admission.take() {
            admission.complete(&mut envelope, &mut summary);
            signing = admission.signing.take();
        }
        // The lane has them next, for a moment.
        shard.ungather(self.places());
        let Summary { size, header_length, .. } = summary;
        let Upload { chunks, body, failed, .. } = self;
        let submission = Submission { envelope, size, header_length, chunks, body };
        let storing = match (failed, signing) {
            (None, None) => Storing::Begun(submission.of_client(shard)),
            // In memory of its own, as what a session that signs nothing has no room for.
            (None, Some(signing)) => Storing::Signing(Box::pin(signing.store(shard, submission))),
            (Some(why), signing) => {
                signing.into_iter().for_each(|signing| signing.abandon(shard));
                submission.give_up(shard, why);
                Storing::Failed(why)
            }
        };
        async move {
            match storing {
                Storing::Begun(stored) => stored.await,
                Storing::Signing(stored) => stored.await,
                Storing::Failed(why) => Err(why),
            }
        }
    }
}

/// A message on its way to the spool.
enum Storing<B, S> {
    Begun(B),
    Signing(std::pin::Pin<Box<S>>),
    Failed(NotStored),
}
