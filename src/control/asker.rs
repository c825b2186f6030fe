//! Asks shards and waits for what they answer, each time with a bound. The service hands its asks to the shards' own queues itself: a
//! turn through the thread that looks after the shards would add a queue and protect nothing.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::control::Health;
use crate::id::MessageId;
use crate::limits;
use crate::queue::select::{Filter, PageStart, ScanPosition};
use crate::shard::ask::{Ask, Reply};
use crate::shard::mesh::Mesh;

/// The way to all shards.
#[derive(Clone)]
pub(super) struct Asker {
    mesh: Arc<Mesh>,
    health: Arc<Health>,
    start: u32,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskFailure {
    /// The node starts, or stops.
    NotServing,
    /// Too much is asked of this shard already.
    Busy(usize),
    /// It did not answer in time, or not at all.
    Late(usize),
    /// The cursor is of an earlier start of the relay.
    OldCursor,
    /// It is no cursor.
    NoCursor,
}

impl fmt::Display for AskFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskFailure::NotServing => {
                formatter.write_str("the relay is starting or stopping; ask again in a moment")
            }
            AskFailure::Busy(shard) => {
                write!(formatter, "too much is asked of shard {shard} already; ask again in a moment")
            }
            AskFailure::Late(shard) => write!(
                formatter,
                "shard {shard} did not answer within {} s: it is busy or stands still, `relevo status` says which",
                limits::ASK_WAIT.as_secs()
            ),
            AskFailure::OldCursor => {
                formatter.write_str("the relay was started again since that page: begin with the first one")
            }
            AskFailure::NoCursor => {
                formatter.write_str("that is no cursor: give `next` of the page before as it is")
            }
        }
    }
}

impl Asker {
    /// `start` tells cursors of this start from others.
    pub(super) fn new(mesh: Arc<Mesh>, health: Arc<Health>, start: u32) -> Asker {
        Asker { mesh, health, start }
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.mesh.shards()
    }

    /// The shard that knows of a lane.
    pub(super) fn shard_of(&self, lane: u16) -> usize {
        self.mesh.writer(lane)
    }

    /// Asks one shard.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        shard: usize,
        ask: impl FnOnce(Reply<T>) -> Ask,
    ) -> Result<T, AskFailure> {
        if !self.health.is_open() || self.mesh.stopping() {
            return Err(AskFailure::NotServing);
        }
        // Dropped with this future: then nobody waits any more, and the shard does no more of it.
        let asker = Arc::new(());
        let (tell, told) = oneshot::channel();
        let reply = Reply::new(&asker, move |answer| drop(tell.send(answer)));
        self.mesh.asks().ask(shard, ask(reply)).map_err(|_| AskFailure::Busy(shard))?;
        match tokio::time::timeout(limits::ASK_WAIT, told).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if self.mesh.stopping() => Err(AskFailure::NotServing),
            _ => Err(AskFailure::Late(shard)),
        }
    }

    /// Where lanes have a message of this id.
    pub(super) async fn find(&self, id: MessageId) -> Result<Vec<(u16, u32)>, AskFailure> {
        let mut found = Vec::new();
        for shard in 0..self.shards() {
            found.extend(self.ask(shard, |reply| Ask::Find(id, reply)).await?);
        }
        Ok(found)
    }

    /// A filter as shards want it. None: it asks for a message that is not there.
    pub(super) async fn prepared(&self, mut filter: Filter) -> Result<Option<Arc<Filter>>, AskFailure> {
        if let Some(id) = filter.id {
            filter.entries = self.find(id).await?;
            if filter.entries.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(Arc::new(filter)))
    }

    /// Where to go on behind a part of this shard's answer.
    pub(super) fn follow(&self, shard: usize, next: Option<ScanPosition>) -> Option<(usize, ScanPosition)> {
        match next {
            Some(from) => Some((shard, from)),
            None => (shard + 1 < self.shards()).then_some((shard + 1, ScanPosition::default())),
        }
    }

    /// The text of a cursor.
    pub(super) fn cursor(&self, shard: usize, from: ScanPosition) -> String {
        PageStart { start: self.start, shard: u16::try_from(shard).unwrap_or(u16::MAX), from }.to_string()
    }

    /// Shard and place of a cursor; those of the first page without one.
    pub(super) fn place(&self, cursor: Option<&str>) -> Result<(usize, ScanPosition), AskFailure> {
        let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
            return Ok((0, ScanPosition::default()));
        };
        let cursor = PageStart::parse(cursor).ok_or(AskFailure::NoCursor)?;
        if cursor.start != self.start || usize::from(cursor.shard) >= self.shards() {
            return Err(AskFailure::OldCursor);
        }
        Ok((cursor.shard.into(), cursor.from))
    }
}
