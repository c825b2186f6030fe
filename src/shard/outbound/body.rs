//! A body on its way out: from the mapped segment to the socket, in one vectored write where nothing must be stuffed.

use std::io::IoSlice;
use std::rc::Rc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::limits;
use crate::mail::seven_bit::{Plan, Rewriter, Survey, Unfit};
use crate::runtime::{Runtime, SegmentMap};
use crate::shard::Shard;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::session::Connection;
use crate::shard::store::load;
use crate::smtp::client;
use crate::spool::record::{Extent, MessageView};
use crate::time::Instant;

/// The end of the data.
const DOT: &[u8] = b".\r\n";

/// The new header, the body as it lies in the spool, and what goes behind it: the final dot, and perhaps the next message's
/// commands.
pub(super) async fn send<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    view: &MessageView<'_>,
    (lane, resident): (u16, bool),
    headers: &[u8],
    behind: &[u8],
) -> Result<(), HopError> {
    let until = shard.timers.recent() + patience(view.size);
    // What lies behind the final dot.
    let ahead = behind.len().saturating_sub(DOT.len());
    let mut extents = view.extents().peekable();
    let mut line_start = true;
    let mut front = headers;
    if extents.peek().is_none() {
        let mut parts = [IoSlice::new(headers), IoSlice::new(behind)];
        return connection.send_body(shard, &mut parts, ahead, until).await;
    }
    while let Some(extent) = extents.next() {
        let piece = piece(shard, lane, extent, resident).await?;
        let bytes = piece.bytes()?;
        let (back, ahead): (&[u8], _) = if extents.peek().is_none() { (behind, ahead) } else { (b"", 0) };
        if view.needs_stuffing {
            send_stuffed(shard, connection, [front, bytes, back], line_start, (ahead, until)).await?;
        } else {
            let mut parts = [IoSlice::new(front), IoSlice::new(bytes), IoSlice::new(back)];
            connection.send_body(shard, &mut parts, ahead, until).await?;
        }
        front = b"";
        line_start = bytes.last() == Some(&b'\n');
    }
    Ok(())
}

/// What must be done to a body for a hop that takes no 8-bit text.
pub(super) enum Surveyed {
    /// Nothing: it has no 8-bit text after all.
    SevenBit,
    /// It is encoded like this.
    Encode(Plan),
    /// It cannot be.
    Unfit(Unfit),
}

/// Looks through a body for that.
pub(super) async fn survey<R: Runtime>(
    shard: &Rc<Shard<R>>,
    view: &MessageView<'_>,
    (lane, resident): (u16, bool),
) -> Result<Surveyed, HopError> {
    let mut survey = Survey::default();
    for extent in view.extents() {
        let piece = piece(shard, lane, extent, resident).await?;
        for bytes in piece.bytes()?.chunks(limits::ENCODED_AT_ONCE) {
            survey.read(bytes);
            shard.runtime.yield_now().await;
        }
    }
    Ok(match survey.finish() {
        Ok(plan) if plan.is_empty() => Surveyed::SevenBit,
        Ok(plan) => Surveyed::Encode(plan),
        Err(why) => Surveyed::Unfit(why),
    })
}

/// The same as [`send`], with the body encoded on the way.
pub(super) async fn send_encoded<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    view: &MessageView<'_>,
    (lane, resident): (u16, bool),
    headers: &[u8],
    (behind, plan): (&[u8], &Plan),
) -> Result<(), HopError> {
    // Base64 makes four bytes of three, quoted-printable three of one.
    let until = shard.timers.recent() + patience(view.size * 3);
    let mut rewriter = Rewriter::new(plan);
    let (mut out, mut line_start) = (Vec::new(), true);
    let mut front = headers;
    for extent in view.extents() {
        let piece = piece(shard, lane, extent, resident).await?;
        for bytes in piece.bytes()?.chunks(limits::ENCODED_AT_ONCE) {
            out.clear();
            rewriter.write(bytes, &mut out);
            send_stuffed(shard, connection, [front, &out, b""], line_start, (0, until)).await?;
            front = b"";
            line_start = out.last().map_or(line_start, |last| *last == b'\n');
            shard.runtime.yield_now().await;
        }
    }
    out.clear();
    rewriter.finish(&mut out);
    let ahead = behind.len().saturating_sub(DOT.len());
    send_stuffed(shard, connection, [front, &out, behind], line_start, (ahead, until)).await
}

/// How long all of a body may take.
fn patience(size: u64) -> Duration {
    limits::client::BODY + Duration::from_secs(size / limits::client::BODY_RATE)
}

/// A piece of a body, in the map or read.
enum Piece {
    Mapped(SegmentMap, Extent),
    Read(Vec<u8>),
}

impl Piece {
    fn bytes(&self) -> Result<&[u8], HopError> {
        match self {
            Piece::Mapped(map, extent) => map
                .slice(u64::from(extent.offset), extent.length as usize)
                .ok_or_else(|| HopError::Spool(load::damaged())),
            Piece::Read(bytes) => Ok(bytes),
        }
    }
}

async fn piece<R: Runtime>(
    shard: &Shard<R>,
    lane: u16,
    extent: Extent,
    resident: bool,
) -> Result<Piece, HopError> {
    // A damaged body must not be ended with a dot: the connection is given up instead. One that came in a moment ago is checked too: a
    // body is read once more by that, and memory goes wrong as well.
    if resident && let Some(map) = shard.map(lane, extent.slot) {
        let piece = Piece::Mapped(map, extent);
        load::check(piece.bytes()?, extent).map_err(HopError::Spool)?;
        return Ok(piece);
    }
    let bytes = load::read_extent(shard, lane, extent).await.map_err(HopError::Spool)?;
    Ok(Piece::Read(bytes))
}

async fn send_stuffed<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    [front, body, back]: [&[u8]; 3],
    line_start: bool,
    (ahead, until): (usize, Instant),
) -> Result<(), HopError> {
    let mut pieces = std::iter::once(front)
        .chain(client::stuff(body, line_start))
        .chain(std::iter::once(back))
        .filter(|piece| !piece.is_empty())
        .peekable();
    while pieces.peek().is_some() {
        let mut slices = SmallVec::<[IoSlice<'_>; limits::SLICES]>::new();
        slices.extend(pieces.by_ref().take(limits::SLICES).map(IoSlice::new));
        // Only the last of them has the dot.
        let ahead = if pieces.peek().is_none() { ahead } else { 0 };
        connection.send_body(shard, &mut slices, ahead, until).await?;
    }
    Ok(())
}
