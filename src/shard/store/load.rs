//! Getting at a stored message: from the map while its pages are known to be in memory, else read and checked.

use std::io;
use std::rc::Rc;

use crate::id::{Location, MessageId};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::{Runtime, SegmentMap};
use crate::shard::Shard;
use crate::spool::record::{self, Extent, MessageView};
use crate::spool::segment::Header;

/// A message record, in the map or read.
pub enum StoredRecord {
    /// In the map.
    Mapped(SegmentMap, u32),
    /// Read.
    Read(Vec<u8>, u32),
}

pub(in crate::shard) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the spool record is damaged")
}

impl StoredRecord {
    /// The record of a message that was just written.
    pub fn mapped<R: Runtime>(shard: &Shard<R>, location: Location) -> io::Result<StoredRecord> {
        let map = shard.map(location.lane, location.slot).ok_or_else(damaged)?;
        Ok(StoredRecord::Mapped(map, location.offset))
    }

    /// The record of any message, read without touching the map.
    pub async fn read<R: Runtime>(shard: &Shard<R>, location: Location) -> io::Result<StoredRecord> {
        let map = shard.map(location.lane, location.slot).ok_or_else(damaged)?;
        let offset = u64::from(location.offset);
        let room = (map.len() as u64).saturating_sub(offset) as usize;
        let mut bytes = shard.runtime.read(&map, offset, limits::LOADED_FIRST.min(room)).await?;
        let length = record::claimed_length(&bytes).ok_or_else(damaged)?;
        if length > limits::COMMIT_BYTES_MAX || length > room {
            return Err(damaged());
        }
        if length > bytes.len() {
            bytes = shard.runtime.read(&map, offset, length).await?;
        }
        Ok(StoredRecord::Read(bytes, location.offset))
    }

    /// The same, blocking: at start only.
    pub fn read_now<R: Runtime>(shard: &Shard<R>, location: Location) -> io::Result<StoredRecord> {
        let map = shard.map(location.lane, location.slot).ok_or_else(damaged)?;
        let offset = u64::from(location.offset);
        let room = (map.len() as u64).saturating_sub(offset) as usize;
        let mut bytes = shard.runtime.read_now(&map, offset, limits::LOADED_FIRST.min(room))?;
        let length = record::claimed_length(&bytes).ok_or_else(damaged)?;
        if length > limits::COMMIT_BYTES_MAX || length > room {
            return Err(damaged());
        }
        if length > bytes.len() {
            bytes = shard.runtime.read_now(&map, offset, length)?;
        }
        Ok(StoredRecord::Read(bytes, location.offset))
    }

    /// The message.
    pub fn view(&self) -> io::Result<MessageView<'_>> {
        MessageView::parse(self.payload()?).map_err(|_| damaged())
    }

    /// The payload of its record.
    pub fn payload(&self) -> io::Result<&[u8]> {
        let (bytes, offset) = match self {
            StoredRecord::Mapped(map, offset) => {
                let start = u64::from(*offset);
                let header = map.slice(start, record::HEADER).ok_or_else(damaged)?;
                let length = record::claimed_length(header).ok_or_else(damaged)?;
                (map.slice(start, length).ok_or_else(damaged)?, *offset)
            }
            StoredRecord::Read(bytes, offset) => (&bytes[..], *offset),
        };
        let record = record::read_known(bytes, u64::from(offset)).map_err(|_| damaged())?;
        if record.kind != record::RecordKind::Message as u8 {
            return Err(damaged());
        }
        Ok(record.payload)
    }

    /// The first `wanted` bytes of the body, or fewer if it has fewer. The lane is where the message lies now, which for
    /// an adopted one is not where it was first stored.
    pub async fn body_prefix<R: Runtime>(
        &self,
        shard: &Rc<Shard<R>>,
        lane: u16,
        view: &MessageView<'_>,
        wanted: usize,
    ) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        for extent in view.extents() {
            if body.len() >= wanted {
                break;
            }
            body.extend_from_slice(&read_extent(shard, lane, extent).await?);
        }
        body.truncate(wanted);
        Ok(body)
    }
}

/// Reads one piece of a body and checks it.
pub async fn read_extent<R: Runtime>(shard: &Shard<R>, lane: u16, extent: Extent) -> io::Result<Vec<u8>> {
    let map = shard.map(lane, extent.slot).ok_or_else(damaged)?;
    let bytes = shard.runtime.read(&map, u64::from(extent.offset), extent.length as usize).await?;
    check(&bytes, extent)?;
    Ok(bytes)
}

/// Whether these bytes are that piece as it was written.
pub(in crate::shard) fn check(bytes: &[u8], extent: Extent) -> io::Result<()> {
    if crc32c::crc32c(bytes) == extent.crc {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a body in the spool is damaged (CRC)"))
}

/// A word for the operator about a stored message that is not what was written. Called by its id, or by its place where that
/// cannot be told.
pub(in crate::shard) fn report_unreadable<R: Runtime>(
    shard: &Shard<R>,
    id: Option<MessageId>,
    place: Location,
    words: &str,
) {
    shard.instruments.counters.messages_unreadable.add(1);
    let Location { lane, slot, offset } = place;
    let place = format!("lane {lane} segment {slot:05} offset {offset}");
    match id {
        Some(id) => shard.say(Level::Error, format_args!("message {id} ({place}): {words}")),
        None => shard.say(Level::Error, format_args!("a message ({place}): {words}")),
    }
}

/// The id of a message of any lane whose record cannot be read: what is left of it may say so, else the place does where it was
/// first stored.
pub(in crate::shard) async fn name<R: Runtime>(shard: &Shard<R>, place: Location) -> Option<MessageId> {
    let map = shard.map(place.lane, place.slot)?;
    let block = shard.runtime.read(&map, 0, limits::BLOCK as usize).await.ok()?;
    let header = Header::decode(&block).ok()?;
    let origin = MessageId { lane: header.origin.lane, sequence: header.sequence, offset: place.offset };
    let room = (map.len() as u64).saturating_sub(place.offset.into()).min(limits::COMMIT_BYTES_MAX as u64);
    let bytes = shard.runtime.read(&map, place.offset.into(), room as usize).await.unwrap_or_default();
    Some(record::claimed_id(&bytes).filter(|id| id.lane == origin.lane).unwrap_or(origin))
}
